//! Which store a log belongs to.
//!
//! A store has a number of its own, drawn when it is first opened, in the object `STORE`; the log's directory has the same in the file `STORE`. A log of
//! another store is never replayed, and a log that is missing is noticed: commits that were acknowledged may have been in it alone.
//!
//! Bytes of both, integers little endian:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic `SESTOREI` |
//! | 8 | 4 | version, 1 |
//! | 12 | 16 | the store's number |
//! | 28 | 4 | CRC-32 of bytes 0 to 28 |
//!
//! A first open writes the object, then the file, and then attaches itself to the manifest. A crash in between leaves a store that nobody has written
//! to yet; the next open takes the number that is there and writes what is missing.

use std::path::Path;

use crate::env::fs::{Fs, read_small_file, replace_file};
use crate::env::unique_u128;
use crate::format::bytes::{Fixed, Frame, Put};
use crate::manifest::Version;
use crate::object_store::ObjectStore;
use crate::{Error, ErrorKind, Result, ResultExt};

/// The key of the object with the number, and the name of the file.
pub const NAME: &str = "STORE";
/// More than any version of the file takes.
const MOST: usize = 4096;
const LEN: usize = 32;
const FRAME: Frame = Frame {
    name: "a store's number",
    magic: *b"SESTOREI",
    versions: 1..=1,
    len: Some(LEN),
};

/// The bytes of a number.
pub fn encode(id: u128) -> [u8; LEN] {
    let mut out = Fixed::new();
    FRAME.put_head(&mut out);
    out.put_u128(id);
    out.put_checksum();
    out.finish()
}

/// The number in these bytes.
pub fn decode(bytes: &[u8]) -> Result<u128> {
    let mut fields = FRAME.open(bytes)?.fields;
    let id = fields.u128("the store's number")?;
    fields.finish("the store's number")?;
    Ok(id)
}

/// The store's number, drawn now if it has none.
fn of_store(store: &dyn ObjectStore) -> Result<u128> {
    for _ in 0..2 {
        match store.get(NAME) {
            Ok(bytes) => return decode(&bytes).context(|| format!("object {NAME}")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match store.put_if_absent(NAME, &encode(unique_u128()?)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!("object {NAME} was written and is not there"),
    ))
}

fn of_log(fs: &dyn Fs, dir: &Path) -> Result<Option<u128>> {
    let bytes = read_small_file(fs, dir, NAME, MOST)?;
    bytes.map(|bytes| decode(&bytes)).transpose()
}

fn note_in_log(fs: &dyn Fs, dir: &Path, id: u128) -> Result<()> {
    replace_file(fs, dir, NAME, &encode(id))
}

/// What may be done about a log that is not where it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingLog {
    /// Nothing: it is refused.
    Refuse,
    /// To go on without it, and without the commits that were in it alone.
    Accept,
    /// To go on: the store has the log as well.
    InStore,
}

/// Makes sure that the log in `dir` is that of `store`, whose manifest says `version`; a store that nobody has written to takes an
/// empty directory for its log, and so does one that was written to where `missing` lets it. Returns the store's number.
pub fn bind(
    store: &dyn ObjectStore,
    version: &Version,
    fs: &dyn Fs,
    dir: &Path,
    missing: MissingLog,
) -> Result<u128> {
    let id = of_store(store)?;
    fs.create_dir_all(dir)?;
    let found = of_log(fs, dir).context(|| format!("{}", dir.join(NAME).display()))?;
    match found {
        Some(found) if found == id => Ok(id),
        Some(found) => Err(Error::invalid(format!(
            "the log in {} belongs to store {found:032x}, not to this one, {id:032x}; nothing was changed: \
             give the store's own log directory",
            dir.display()
        ))),
        None if version.epoch > 0 && missing == MissingLog::Refuse => Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "the store was written to by {}, and its log is not in {}: give the directory where it is, for it may hold commits that \
                 are nowhere else; if it is lost for good, say so (accept_lost_log) to go on without them",
                version.writer,
                dir.display()
            ),
        )),
        None => {
            if version.epoch > 0 && missing == MissingLog::Accept {
                tracing::warn!(
                    "the log is not in {}: going on without it, and without the commits that were in it alone",
                    dir.display()
                );
            }
            note_in_log(fs, dir, id).map(|()| id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::fs::FaultFs;
    use crate::object_store::MemoryStore;

    fn check(store: &MemoryStore, fs: &FaultFs, dir: &str, epoch: u64, lost: bool) -> Result<u128> {
        let version = Version {
            epoch,
            ..Version::default()
        };
        let missing = match lost {
            true => MissingLog::Accept,
            false => MissingLog::Refuse,
        };
        bind(store, &version, fs, Path::new(dir), missing)
    }

    #[test]
    fn version_1_has_these_bytes() {
        let mut golden = b"SESTOREI\x01\0\0\0\x02\x01".to_vec();
        golden.extend([0; 14]);
        golden.extend([0xba, 0x71, 0x6d, 0x65]);
        assert_eq!(encode(0x0102).to_vec(), golden);
        assert_eq!(decode(&golden).unwrap(), 0x0102);
        for at in 0..LEN {
            let mut bad = golden.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad).unwrap_err().kind(), ErrorKind::Corruption);
        }
        assert_eq!(
            decode(&golden[..31]).unwrap_err().kind(),
            ErrorKind::Corruption
        );
    }

    #[test]
    fn a_log_is_bound_to_its_store() {
        let (one, other, fs) = (MemoryStore::new(), MemoryStore::new(), FaultFs::new());
        for epoch in [0, 0, 1, 2] {
            check(&one, &fs, "/one", epoch, false).unwrap();
        }
        let missing = check(&one, &fs, "/elsewhere", 2, false).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        check(&other, &fs, "/other", 0, false).unwrap();
        for lost in [false, true] {
            let foreign = check(&one, &fs, "/other", 2, lost).unwrap_err();
            assert_eq!(foreign.kind(), ErrorKind::Invalid);
        }
        check(&one, &fs, "/elsewhere", 2, true).unwrap();
        check(&one, &fs, "/elsewhere", 2, false).unwrap();
    }
}
