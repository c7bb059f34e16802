//! Objects as files below one directory.
//!
//! An object is written to a temporary file in `<root>/.tmp/<writer>/`, synced, and then given its name: by a hard link, which fails if the name is
//! taken, or for [`ObjectStore::put`] by a rename, which replaces. Then the directory of the name is synced. A crash before the link leaves
//! a temporary file and no object; after it, the whole object, which without the last sync a loss of power may still take back whole.
//!
//! Each open store that writes has its own temporary directory and holds a lock in it, so that opening a store clears away what dead writers left
//! and never what a living one is writing. Deletions are not synced: an object that a loss of power brings back is garbage as it was before.

use std::collections::BinaryHeap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::memory::check_range;
use super::{ObjectMeta, ObjectReader, ObjectStore, ObjectWriter, validate_key};
use crate::env::fs::{create_dir_durably, start_writeback, sync_dir};
use crate::env::{failpoint, unique_u128};
use crate::{Error, ErrorKind, Result};

/// The directory of temporary files; keys cannot name it.
const TEMPORARY: &str = ".tmp";
/// The file in a writer's temporary directory that is locked while the writer lives.
const LOCK: &str = "lock";
/// Small appends are gathered up to this many bytes.
const WRITE_BUFFER: usize = 256 << 10;
/// A large object's bytes are sent on their way to the disk whenever there are this many.
const WRITEBACK: u64 = 1 << 20;

/// A store in a local directory.
pub struct LocalStore {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    temporary: Mutex<Option<Temporary>>,
    counter: AtomicU64,
}

/// This store's own directory of temporary files.
struct Temporary {
    dir: PathBuf,
    _lock: File,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What stays behind after a failure here is cleared by the next open.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl LocalStore {
    /// Opens the store in `root`, creating the directory if it is not there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        create_dir_durably(&root)?;
        let shared = Shared {
            root,
            temporary: Mutex::new(None),
            counter: AtomicU64::new(0),
        };
        shared.clear_dead_writers()?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Opens the store in `root`, which has to be there, without touching what is in it.
    pub fn open_existing(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        if !root.is_dir() {
            let missing = io::ErrorKind::NotFound.into();
            return Err(Error::io(format_args!("open {}", root.display()), missing));
        }
        Ok(Self {
            shared: Arc::new(Shared {
                root,
                temporary: Mutex::new(None),
                counter: AtomicU64::new(0),
            }),
        })
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        validate_key(key)?;
        Ok(self.shared.root.join(key))
    }

    fn open_object(&self, key: &str) -> Result<(File, u64)> {
        let path = self.path(key)?;
        let what = || format!("read object {key}");
        let file = File::open(&path).map_err(|error| not_a_directory_is_absent(what(), error))?;
        let metadata = file.metadata().map_err(|error| Error::io(what(), error))?;
        if !metadata.is_file() {
            return Err(Error::io(what(), io::ErrorKind::NotFound.into()));
        }
        Ok((file, metadata.len()))
    }
}

/// An object "a/b" is absent where "a" is an object, though the file system has another word for it.
fn not_a_directory_is_absent(what: String, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotADirectory => Error::new(ErrorKind::NotFound, format!("{what}: {error}")),
        _ => Error::io(what, error),
    }
}

impl Shared {
    fn clear_dead_writers(&self) -> Result<()> {
        let dir = self.root.join(TEMPORARY);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(Error::io(format_args!("list {}", dir.display()), error));
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let alive = OpenOptions::new()
                .write(true)
                .open(path.join(LOCK))
                .is_ok_and(|lock| lock.try_lock().is_err());
            if !alive {
                // Another store being opened may be at the same work.
                let _ = fs::remove_dir_all(&path);
            }
        }
        Ok(())
    }

    /// A new temporary file of this writer.
    fn temporary(&self) -> Result<(File, PathBuf)> {
        let mut guard = self.temporary.lock();
        let mut attempts = 0;
        let temporary = loop {
            if let Some(temporary) = &*guard {
                break temporary;
            }
            match self.make_temporary() {
                Ok(made) => *guard = Some(made),
                // A store being opened may take a directory for dead between its creation and its lock.
                Err(error) if error.kind() == ErrorKind::NotFound && attempts < 10 => attempts += 1,
                Err(error) => return Err(error),
            }
        };
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let path = temporary.dir.join(number.to_string());
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| Error::io(format_args!("create {}", path.display()), error))?;
        Ok((file, path))
    }

    fn make_temporary(&self) -> Result<Temporary> {
        let dir = self
            .root
            .join(TEMPORARY)
            .join(format!("{:032x}", unique_u128()?));
        let refuse = |error| Error::io(format_args!("create {}", dir.display()), error);
        fs::create_dir_all(&dir).map_err(refuse)?;
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(dir.join(LOCK))
            .map_err(refuse)?;
        lock.lock().map_err(refuse)?;
        // It may have been cleared away before the lock was held.
        fs::metadata(dir.join(LOCK)).map_err(refuse)?;
        Ok(Temporary { dir, _lock: lock })
    }

    /// Gives the object in the synced temporary file its name.
    fn publish(&self, temporary: &Path, key: &str, replace: bool) -> Result<()> {
        let path = self.root.join(key);
        let dir = path.parent().unwrap_or(&self.root);
        create_dir_durably(dir)?;
        failpoint::hit("local_store.before_publish")?;
        let named = if replace {
            fs::rename(temporary, &path)
        } else {
            let linked = fs::hard_link(temporary, &path);
            let _ = fs::remove_file(temporary);
            linked
        };
        if let Err(error) = named {
            let failure = Error::io(format_args!("create object {key}"), error);
            if failure.kind() == ErrorKind::AlreadyExists {
                // Who hears this may build on the object that is there: it has to be as durable as one of its own.
                sync_dir(dir)?;
            }
            return Err(failure);
        }
        failpoint::hit("local_store.before_sync_dir")?;
        sync_dir(dir)
    }

    fn store(&self, key: &str, data: &[u8], replace: bool) -> Result<()> {
        validate_key(key)?;
        let (mut file, path) = self.temporary()?;
        let written = file.write_all(data).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(Error::io(format_args!("write object {key}"), error));
        }
        self.publish(&path, key, replace)
            .inspect_err(|_| drop(fs::remove_file(&path)))
    }
}

struct LocalWriter {
    shared: Arc<Shared>,
    key: String,
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    written: u64,
    /// Up to where the bytes are on their way to the disk.
    sent: u64,
}

impl LocalWriter {
    fn error(&self, error: io::Error) -> Error {
        Error::io(format_args!("write object {}", self.key), error)
    }

    fn flush(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.file
            .write_all(data)
            .map_err(|error| self.error(error))?;
        self.written += data.len() as u64;
        if self.written - self.sent >= WRITEBACK {
            start_writeback(&self.file, self.sent, self.written - self.sent);
            self.sent = self.written;
        }
        Ok(())
    }
}

impl ObjectWriter for LocalWriter {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        if self.buffer.len() + data.len() > WRITE_BUFFER {
            self.flush()?;
        }
        if data.len() >= WRITE_BUFFER {
            self.write(data)
        } else {
            self.buffer.extend_from_slice(data);
            Ok(())
        }
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.flush()?;
        self.file.sync_all().map_err(|error| self.error(error))?;
        self.shared.publish(&self.path, &self.key, false)
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        // After `finish` there is nothing to remove.
        let _ = fs::remove_file(&self.path);
    }
}

struct LocalReader {
    key: String,
    file: File,
    size: u64,
}

impl ObjectReader for LocalReader {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        check_range(&self.key, &range, self.size)?;
        let mut data = vec![0; (range.end - range.start) as usize];
        match self.file.read_exact_at(&mut data, range.start) {
            Ok(()) => Ok(data.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::corruption(format!(
                    "read object {}: it ended before byte {}",
                    self.key, range.end
                )))
            }
            Err(error) => Err(Error::io(format_args!("read object {}", self.key), error)),
        }
    }
}

impl ObjectStore for LocalStore {
    fn put(&self, key: &str, data: &[u8]) -> Result<()> {
        self.shared.store(key, data, true)
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
        self.shared.store(key, data, false)
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        validate_key(key)?;
        let (file, path) = self.shared.temporary()?;
        Ok(Box::new(LocalWriter {
            shared: Arc::clone(&self.shared),
            key: key.to_owned(),
            file,
            path,
            buffer: Vec::with_capacity(WRITE_BUFFER),
            written: 0,
            sent: 0,
        }))
    }

    fn get(&self, key: &str) -> Result<Bytes> {
        let (file, size) = self.open_object(key)?;
        let key = key.to_owned();
        LocalReader { key, file, size }.read(0..size)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let (file, size) = self.open_object(key)?;
        let key = key.to_owned();
        LocalReader { key, file, size }.read(range)
    }

    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>> {
        let (file, size) = self.open_object(key)?;
        let key = key.to_owned();
        Ok(Arc::new(LocalReader { key, file, size }))
    }

    fn size(&self, key: &str) -> Result<u64> {
        let what = || format!("read object {key}");
        match fs::metadata(self.path(key)?) {
            Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
            Ok(_) => Err(Error::io(what(), io::ErrorKind::NotFound.into())),
            Err(error) => Err(not_a_directory_is_absent(what(), error)),
        }
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        // The smallest `limit` keys seen so far, the greatest of them on top.
        let mut found = BinaryHeap::new();
        let folder = prefix.rfind('/').map_or("", |slash| &prefix[..slash]);
        if limit > 0 && (folder.is_empty() || validate_key(folder).is_ok()) {
            let walk = Walk {
                prefix,
                after,
                limit,
            };
            walk.visit(&self.shared.root.join(folder), folder, &mut found)?;
        }
        let mut metas = Vec::with_capacity(found.len());
        for key in found.into_sorted_vec() {
            match self.size(&key) {
                Ok(size) => metas.push(ObjectMeta { key, size }),
                // Deleted since it was seen.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(metas)
    }

    fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) => match not_a_directory_is_absent(format!("delete object {key}"), error) {
                absent if absent.kind() == ErrorKind::NotFound => Ok(()),
                failure if path.is_dir() => {
                    drop(failure);
                    Ok(())
                }
                failure => Err(failure),
            },
        }
    }
}

struct Walk<'a> {
    prefix: &'a str,
    after: &'a str,
    limit: usize,
}

impl Walk<'_> {
    fn visit(&self, dir: &Path, folder: &str, found: &mut BinaryHeap<String>) -> Result<()> {
        let refuse = |error| Error::io(format_args!("list {}", dir.display()), error);
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(refuse(error)),
        };
        for entry in entries {
            let entry = entry.map_err(refuse)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let key = if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            };
            if validate_key(&key).is_err() {
                continue;
            }
            if entry.file_type().map_err(refuse)?.is_dir() {
                let below = format!("{key}/");
                if below.starts_with(self.prefix) || self.prefix.starts_with(&below) {
                    self.visit(&entry.path(), &key, found)?;
                }
            } else if key.starts_with(self.prefix) && key.as_str() > self.after {
                found.push(key);
                if found.len() > self.limit {
                    found.pop();
                }
            }
        }
        Ok(())
    }
}
