//! Every object and every log file of a database, damaged in many places: what is read then is right, or an error that says where.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use smartengine::internals::env::Sequence;
use smartengine::internals::env::fs::{FaultFs, Fs, OpenMode, PowerLoss};
use smartengine::internals::object_store::MemoryStore;
use smartengine::object_store::ObjectStore;
use smartengine::{Engine, Error, ErrorKind};

use crate::history::{Writer, create, in_memory};
use crate::with_others;

const WAL: &str = "/engine/wal";

struct Database {
    fs: FaultFs,
    store: MemoryStore,
    /// Transactions in it.
    count: u64,
}

impl Database {
    /// One with files on several levels, and a log with commits that are in no file.
    fn new(closed: bool) -> Self {
        let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
        let mut options = in_memory(&fs, store.clone());
        options.disable_auto_compactions = true;
        create(options.clone()).close().unwrap();
        let engine = Engine::open(options).unwrap();
        let writer = Writer::new(0);
        for part in 0..4 {
            for _ in 0..12 {
                writer.write_one(&engine).unwrap();
            }
            match part {
                0 | 1 => engine.compact().unwrap(),
                2 => engine.flush().unwrap(),
                _ => {}
            }
        }
        if closed {
            engine.pause_background_work(true);
            engine.sync_wal().unwrap();
        }
        // What compaction has let go of is removed a moment later, and harms nobody where it is missing.
        let files = || store.list("sst/", "", 10_000).unwrap().len() as u64;
        while files() > engine.stats().sst_files() {
            std::thread::yield_now();
        }
        let count = *writer.expected().start();
        Self {
            fs: fs.crash(PowerLoss::ProcessOnly),
            store: store.copy(),
            count,
        }
    }

    fn copy(&self) -> Self {
        Self {
            fs: self.fs.crash(PowerLoss::ProcessOnly),
            store: self.store.copy(),
            count: self.count,
        }
    }

    fn read(self) -> Result<u64, Error> {
        let mut options = in_memory(&self.fs, Arc::new(self.store));
        options.disable_auto_compactions = true;
        let engine = Engine::open(options)?;
        let writer = Writer::new(0);
        let (count, rows) = writer.read(&engine)?;
        assert!(rows == writer.rows_after(count));
        Ok(count)
    }

    fn objects(&self) -> Vec<String> {
        let listed = self.store.list("", "", 10_000).unwrap();
        listed.into_iter().map(|meta| meta.key).collect()
    }

    fn logs(&self) -> Vec<String> {
        let all = self.fs.list(Path::new(WAL)).unwrap();
        all.into_iter().filter(|name| name != "LOCK").collect()
    }

    fn change_log(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = Path::new(WAL).join(name);
        let file = self.fs.open(&path, OpenMode::Write).unwrap();
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        change(&mut bytes);
        file.set_len(bytes.len() as u64).unwrap();
        file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
    }
}

/// Places to damage: all of the beginning and the end, and some between.
fn places(len: usize, sequence: &mut Sequence, some: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..len.min(some)).collect();
    all.extend(len.saturating_sub(some)..len);
    all.extend((0..2 * some).map(|_| sequence.below(len as u64) as usize));
    all.sort_unstable();
    all.dedup();
    all
}

/// The error is of the right kind and names what was damaged.
fn assert_names(error: &Error, name: &str, what: &str) {
    assert_eq!(error.kind(), ErrorKind::Corruption, "{what}: {error}");
    // An object is named by its key or by its number.
    let number: String = name.chars().filter(char::is_ascii_digit).collect();
    let number = number.trim_start_matches('0');
    let named =
        error.message().contains(name) || (!number.is_empty() && error.message().contains(number));
    assert!(named || name.starts_with("manifest"), "{what}: {error}");
}

#[test]
fn damaged_objects_give_errors_that_name_them_or_harm_nobody() {
    let _guard = with_others();
    let database = Database::new(false);
    assert_eq!(database.copy().read().unwrap(), database.count);
    let mut sequence = Sequence::new(1);
    let keys = database.objects();
    assert!(keys.iter().filter(|key| key.starts_with("sst/")).count() > 1);
    let mut caught = 0;
    for key in keys {
        let bytes = database.store.get(&key).unwrap();
        let mut check = |damaged: Vec<u8>, what: String| {
            let copy = database.copy();
            copy.store.put(&key, &damaged).unwrap();
            match copy.read() {
                Ok(count) => assert_eq!(count, database.count, "{what}"),
                Err(error) => {
                    assert_names(&error, &key, &what);
                    caught += 1;
                }
            }
        };
        for at in places(bytes.len(), &mut sequence, 12) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << sequence.below(8);
            check(damaged, format!("{key} byte {at}"));
        }
        for at in places(bytes.len(), &mut sequence, 3) {
            check(bytes[..at].to_vec(), format!("{key} cut at {at}"));
        }
        check([&bytes[..], &[0; 100]].concat(), format!("{key} longer"));
    }
    assert!(caught > 100, "{caught}");
}

#[test]
fn a_missing_file_is_named() {
    let _guard = with_others();
    let database = Database::new(false);
    for key in database.objects() {
        let copy = database.copy();
        copy.store.delete(&key).unwrap();
        if !key.starts_with("sst/") {
            continue;
        }
        let error = copy.read().unwrap_err();
        assert!(error.message().contains(&key), "{error}");
        assert!(
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corruption),
            "{error:?}"
        );
    }
}

#[test]
fn damaged_logs_give_errors_that_name_them_or_lose_the_end_at_most() {
    let _guard = with_others();
    let mut sequence = Sequence::new(2);
    let database = Database::new(true);
    let mut caught = 0;
    for name in database.logs() {
        let mut len = 0;
        database.change_log(&name, |bytes| {
            // Behind the records there is nothing but zeros.
            len = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
        });
        if len == 0 {
            continue;
        }
        for at in places(len, &mut sequence, 60) {
            let copy = database.copy();
            let bit = 1 << sequence.below(8);
            copy.change_log(&name, |bytes| bytes[at] ^= bit);
            match copy.read() {
                // Of the last record nothing tells whether it was ever whole.
                Ok(count) => assert!(
                    (database.count - 1..=database.count).contains(&count),
                    "{name} byte {at}: {count} of {}",
                    database.count
                ),
                Err(error) => {
                    assert_names(&error, &name, &format!("{name} byte {at}"));
                    caught += 1;
                }
            }
        }
        for at in places(len, &mut sequence, 5) {
            let copy = database.copy();
            copy.change_log(&name, |bytes| bytes.truncate(at));
            match copy.read() {
                Ok(count) => assert!(count <= database.count),
                Err(error) => {
                    assert_names(&error, &name, &format!("{name} cut at {at}"));
                    caught += 1;
                }
            }
        }
    }
    assert!(caught > 100, "{caught}");
}
