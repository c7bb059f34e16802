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

use crate::env::fs::{Fs, read_small_file, replace_file};
use crate::format::bytes::{Fixed, Frame, Put};
use crate::{Result, ResultExt};

const NAME: &str = "ATTACHED";
/// More than any version of the file takes.
const MOST: usize = 4096;
const LEN: usize = 64;
const FRAME: Frame = Frame {
    name: "a log's owners",
    magic: *b"SEATTACH",
    versions: 1..=1,
    len: Some(LEN),
};

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
    let mut out = Fixed::new();
    FRAME.put_head(&mut out);
    for writer in [owners.writer, owners.attaching] {
        out.put_u64(writer.epoch);
        out.put_u128(writer.number);
    }
    out.put_checksum();
    out.finish()
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
    let mut fields = FRAME.open(bytes)?.fields;
    let mut writer = || {
        Ok(WriterId {
            epoch: fields.u64("a writer's epoch")?,
            number: fields.u128("a writer's number")?,
        })
    };
    let owners = Owners {
        writer: writer()?,
        attaching: writer()?,
    };
    fields.finish("the log's owners")?;
    Ok(owners)
}

/// Whose log the one in `dir` is; nobody's if that was never written.
pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Owners> {
    let owners = match read_small_file(fs, dir, NAME, MOST) {
        Ok(None) => Ok(Owners::default()),
        Ok(Some(bytes)) => decode(&bytes),
        Err(error) => Err(error),
    };
    owners.context(|| dir.join(NAME).display().to_string())
}

/// Writes down, durably, whose log the one in `dir` is.
pub fn write(fs: &dyn Fs, dir: &Path, owners: &Owners) -> Result<()> {
    replace_file(fs, dir, NAME, &encode(owners))
        .context(|| format!("write {}", dir.join(NAME).display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
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
        golden.extend([0x37, 0xeb, 0xc3, 0xb9]);
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
