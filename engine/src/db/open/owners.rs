//! Whether the local log is the last writer's, where the log is kept in the store as well.
//!
//! The file `ATTACHED` in the log's directory names the writers that have written the log or are about to: the one whose log it is, and the one that is
//! attaching. If the manifest's last writer is one of them, the log may hold commits that are newer than the store's, and they count. Otherwise
//! somebody else has attached since: then what the log holds beyond the store was superseded, and is put aside.
//!
//! Bytes of `ATTACHED`, integers little endian:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic `SEATTACH` |
//! | 8 | 4 | version, 1 |
//! | 12 | 24 | the writer: u64 epoch, 16 bytes of its number |
//! | 36 | 24 | the one that is attaching, likewise; zeros if none is |
//! | 60 | 4 | CRC-32 of bytes 0 to 60 |
//!
//! In order: `ATTACHED` with both writers, the manifest's edit, the fence, the log itself where it has to begin anew, `ATTACHED` with the new writer alone. A
//! crash anywhere leaves the last writer among the two.

use std::path::Path;

use crate::env::fs::{Fs, OpenMode, replace_file};
use crate::format::checksum::crc32;
use crate::{Error, ErrorKind, Result, ResultExt};

const NAME: &str = "ATTACHED";
const MAGIC: &[u8; 8] = b"SEATTACH";
const VERSION: u32 = 1;
const LEN: usize = 64;

/// A writer, as the manifest names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterId {
    pub epoch: u64,
    pub number: u128,
}

/// Whose log the local one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    pub writer: WriterId,
    pub attaching: WriterId,
}

impl Owners {
    /// Whether the log is that of `last`, the manifest's last writer, or there was none.
    pub fn include(&self, last: WriterId) -> bool {
        last.epoch == 0 || [self.writer, self.attaching].contains(&last)
    }
}

fn encode(owners: &Owners) -> [u8; LEN] {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    for writer in [owners.writer, owners.attaching] {
        bytes.extend_from_slice(&writer.epoch.to_le_bytes());
        bytes.extend_from_slice(&writer.number.to_le_bytes());
    }
    let crc = crc32(&[&bytes]);
    bytes.extend_from_slice(&crc.to_le_bytes());
    let mut array = [0; LEN];
    array.copy_from_slice(&bytes);
    array
}

/// Bytes of two writers, for fuzzing.
#[cfg(debug_assertions)]
pub fn sample() -> [u8; LEN] {
    let writer = |epoch, number| WriterId { epoch, number };
    encode(&Owners {
        writer: writer(1, 2),
        attaching: writer(3, 4),
    })
}

/// Whose log it is, by these bytes.
pub fn decode(bytes: &[u8]) -> Result<Owners> {
    let Some(bytes) = bytes.first_chunk::<LEN>().filter(|_| bytes.len() == LEN) else {
        return Err(Error::corruption(format!(
            "{} bytes, {LEN} expected",
            bytes.len()
        )));
    };
    if bytes[..8] != *MAGIC {
        return Err(Error::corruption("not a log's owners (bad magic)"));
    }
    let version = u32::from_le_bytes(std::array::from_fn(|i| bytes[8 + i]));
    if version != VERSION {
        return Err(Error::corruption(format!(
            "format {version} at byte 8, this engine knows {VERSION}"
        )));
    }
    if crc32(&[&bytes[..60]]).to_le_bytes() != bytes[60..] {
        return Err(Error::corruption("checksum mismatch at byte 60"));
    }
    let writer = |at: usize| WriterId {
        epoch: u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i])),
        number: u128::from_le_bytes(std::array::from_fn(|i| bytes[at + 8 + i])),
    };
    Ok(Owners {
        writer: writer(12),
        attaching: writer(36),
    })
}

/// The file's bytes, at most one more than `LEN`; `None` if there is none.
fn read_file(fs: &dyn Fs, path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match fs.open(path, OpenMode::Read) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = vec![0; LEN + 1];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Whose log the one in `dir` is; nobody's if that was never written.
pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Owners> {
    let path = dir.join(NAME);
    let owners = match read_file(fs, &path) {
        Ok(None) => Ok(Owners::default()),
        Ok(Some(bytes)) => decode(&bytes),
        Err(error) => Err(error),
    };
    owners.context(|| path.display().to_string())
}

/// Writes down, durably, whose log the one in `dir` is.
pub fn write(fs: &dyn Fs, dir: &Path, owners: &Owners) -> Result<()> {
    replace_file(fs, dir, NAME, &encode(owners))
        .context(|| format!("write {}", dir.join(NAME).display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::fs::FaultFs;

    const ONE: WriterId = WriterId {
        epoch: 1,
        number: 0x0203,
    };
    const TWO: WriterId = WriterId {
        epoch: 2,
        number: 7,
    };

    #[test]
    fn version_1_has_these_bytes() {
        let owners = Owners {
            writer: ONE,
            attaching: TWO,
        };
        let mut golden = b"SEATTACH\x01\0\0\0\x01\0\0\0\0\0\0\0\x03\x02".to_vec();
        golden.extend([0; 14]);
        golden.extend(b"\x02\0\0\0\0\0\0\0\x07");
        golden.extend([0; 15]);
        golden.extend(crc32(&[&golden]).to_le_bytes());
        assert_eq!(encode(&owners).to_vec(), golden);
        assert_eq!(decode(&golden).unwrap(), owners);
        for at in 0..LEN {
            let mut bad = golden.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad).unwrap_err().kind(), ErrorKind::Corruption);
        }
        assert!(decode(&golden[..LEN - 1]).is_err());
    }

    #[test]
    fn the_last_writer_is_found_among_the_two() {
        let fs = FaultFs::new();
        let dir = Path::new("/wal");
        fs.create_dir_all(dir).unwrap();
        let nobody = read(&fs, dir).unwrap();
        assert!(nobody.include(WriterId::default()) && !nobody.include(ONE));
        for (writer, attaching) in [(WriterId::default(), ONE), (ONE, TWO), (TWO, ONE)] {
            let owners = Owners { writer, attaching };
            write(&fs, dir, &owners).unwrap();
            assert_eq!(read(&fs, dir).unwrap(), owners);
            assert!(owners.include(writer) && owners.include(attaching));
        }
    }
}
