//! The frame around a persisted format: magic, version and checksum, written and checked in one place.
//!
//! At the head of a file or object, its fields between:
//!
//! ```text
//!  0  8 bytes  magic
//!  8  u32      version
//! 12  …        fields
//!  n  u32      CRC-32 of bytes 0 to n
//! ```
//!
//! At the foot of a file that is written front to back, since only then it is known where its parts are:
//!
//! ```text
//!  0  …        fields
//!  n  u32      version
//!  …  u32      CRC-32 of bytes 0 to n + 4
//!  …  8 bytes  magic
//! ```
//!
//! What is refused, in this order: another magic, as [`ErrorKind::Corruption`](crate::ErrorKind::Corruption), for nothing can be said of such bytes; a checksum
//! that does not match, likewise; a version outside of those that are read, as [`ErrorKind::Invalid`](crate::ErrorKind::Invalid), since the bytes are as
//! somebody wrote them and another release can read them. Every later version has to keep magic, version and checksum where they are, or be told apart
//! by its magic.

use std::ops::RangeInclusive;

use super::reader::{Reader, corrupt};
use super::writer::Put;
use crate::format::checksum::crc32;
use crate::{Error, Result};

const MAGIC_LEN: usize = 8;
const VERSION_LEN: usize = 4;
const CHECKSUM_LEN: usize = 4;

/// What can be done about a file or object that is not what was written.
const ADVICE: &str = "restore it from a copy";

/// What a format's frame says.
#[derive(Debug)]
pub struct Frame {
    /// What the bytes are, with an article, for errors: "a manifest object".
    pub name: &'static str,
    /// The first or the last eight bytes.
    pub magic: [u8; MAGIC_LEN],
    /// The versions that are read; the last of them is written.
    pub versions: RangeInclusive<u32>,
    /// The length of all versions together with the frame, where it is always the same.
    pub len: Option<usize>,
}

/// A frame that was found sound.
#[derive(Clone, Copy, Debug)]
pub struct Framed<'a> {
    /// The version, one of those that are read.
    pub version: u32,
    /// The fields, to be read from the first on. Its positions count from the start of the frame.
    pub fields: Reader<'a>,
}

impl Frame {
    /// Bytes in front of the fields, in a frame at the head.
    pub const HEAD_LEN: usize = MAGIC_LEN + VERSION_LEN;

    /// Bytes behind the fields, in a frame at the head.
    pub const TAIL_LEN: usize = CHECKSUM_LEN;

    /// Bytes behind the fields, in a frame at the foot.
    pub const FOOT_LEN: usize = VERSION_LEN + CHECKSUM_LEN + MAGIC_LEN;

    /// Begins a frame at the head. The fields follow, and [`Put::put_checksum`].
    #[inline]
    pub fn put_head(&self, out: &mut impl Put) {
        out.put(&self.magic);
        out.put_u32(*self.versions.end());
    }

    /// Ends a frame at the foot, behind the fields.
    #[inline]
    pub fn put_foot(&self, out: &mut impl Put) {
        out.put_u32(*self.versions.end());
        out.put_checksum();
        out.put(&self.magic);
    }

    /// Checks a frame at the head, which `bytes` are from its first to its last.
    pub fn open<'a>(&self, bytes: &'a [u8]) -> Result<Framed<'a>> {
        let mut reader = Reader::new(bytes);
        let cut = |_| cut_short(bytes);
        self.check_magic(0, reader.array("the magic").map_err(cut)?)?;
        let version = reader.u32("the format's version").map_err(cut)?;
        let sealed = self.check_len(version, bytes).and_then(|()| {
            match reader.rest().split_last_chunk::<CHECKSUM_LEN>() {
                Some((fields, checksum)) => {
                    let checked = &bytes[..Self::HEAD_LEN + fields.len()];
                    check_sum(checked, *checksum)?;
                    Ok(checked)
                }
                None => Err(cut_short(bytes)),
            }
        });
        let checked = self.check_version(MAGIC_LEN, version, sealed)?;
        let mut fields = Reader::new(checked);
        fields.bytes(Self::HEAD_LEN, "the head")?;
        Ok(Framed { version, fields })
    }

    /// Checks a frame at the foot, which `bytes` are from its first field to its magic.
    pub fn open_foot<'a>(&self, bytes: &'a [u8]) -> Result<Framed<'a>> {
        let cut = || cut_short(bytes);
        let (rest, magic) = bytes.split_last_chunk().ok_or_else(cut)?;
        self.check_magic(rest.len(), *magic)?;
        let (checked, checksum) = rest.split_last_chunk().ok_or_else(cut)?;
        let (fields, version) = checked.split_last_chunk().ok_or_else(cut)?;
        let version = u32::from_le_bytes(*version);
        let sealed = self
            .check_len(version, bytes)
            .and_then(|()| check_sum(checked, *checksum))
            .map(|()| fields);
        let fields = Reader::new(self.check_version(fields.len(), version, sealed)?);
        Ok(Framed { version, fields })
    }

    fn check_magic(&self, at: usize, found: [u8; MAGIC_LEN]) -> Result<()> {
        if found == self.magic {
            return Ok(());
        }
        Err(Error::corruption(format!(
            "not {}: {:016x} at byte {at} instead of the magic {}, {:016x}; {ADVICE}",
            self.name,
            u64::from_be_bytes(found),
            self.magic.escape_ascii(),
            u64::from_be_bytes(self.magic)
        )))
    }

    /// What another version's length is, only that one knows.
    fn check_len(&self, version: u32, bytes: &[u8]) -> Result<()> {
        match self.len.filter(|_| self.versions.contains(&version)) {
            Some(len) if len != bytes.len() => Err(Error::corruption(format!(
                "{} bytes, {len} expected; {ADVICE}",
                bytes.len()
            ))),
            _ => Ok(()),
        }
    }

    /// The bytes that were found sealed, or why they are refused. Damage to the version itself is damage, not another version.
    fn check_version<'a>(
        &self,
        at: usize,
        version: u32,
        sealed: Result<&'a [u8]>,
    ) -> Result<&'a [u8]> {
        if self.versions.contains(&version) {
            return sealed;
        }
        Err(match sealed {
            Ok(_) => unknown_version(version, &self.versions, at),
            Err(damage) => damage.context(unknown(version, &self.versions, at)),
        })
    }
}

fn unknown(version: u32, known: &RangeInclusive<u32>, at: usize) -> String {
    let (oldest, newest) = (known.start(), known.end());
    let known = match oldest == newest {
        true => newest.to_string(),
        false => format!("{oldest} to {newest}"),
    };
    format!("format version {version} at byte {at}, this engine knows {known}")
}

/// The error for a version that is not among those `known`, in bytes that are sound.
#[cold]
pub fn unknown_version(version: u32, known: &RangeInclusive<u32>, at: usize) -> Error {
    let what = unknown(version, known, at);
    Error::invalid(match version > *known.end() {
        true => format!("{what}: use the newer release that wrote it"),
        false => format!("{what}: use an older release"),
    })
}

fn check_sum(checked: &[u8], stored: [u8; CHECKSUM_LEN]) -> Result<()> {
    check_checksum(u32::from_le_bytes(stored), crc32(&[checked]), checked.len())
        .map_err(|error| Error::corruption(format!("{error}; {ADVICE}")))
}

#[cold]
fn cut_short(bytes: &[u8]) -> Error {
    let at = bytes.len();
    Error::corruption(format!("cut short at byte {at}; {ADVICE}"))
}

/// Whether the checksum that is stored at byte `at` is that of what was read.
#[inline]
pub fn check_checksum(stored: u32, computed: u32, at: usize) -> Result<()> {
    if stored == computed {
        return Ok(());
    }
    Err(mismatch(stored, computed, at))
}

#[cold]
fn mismatch(stored: u32, computed: u32, at: usize) -> Error {
    corrupt(
        format_args!("checksum mismatch ({stored:08x} is stored, {computed:08x} was computed)"),
        at,
    )
}
