//! The bucket as one node reaches it: calls are refused, their answers get lost, and puts act when their sender has long given up.
//!
//! Every action is checked: nothing that the newest manifest needs is removed, and all files that a manifest names are there.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smartengine::internals::manifest::{Manifest, Version, parse_sst_key, sst_key};
use smartengine::internals::object_store::MemoryStore;
use smartengine::internals::remote_wal::parse_chunk_key;
use smartengine::object_store::{ObjectMeta, ObjectReader, ObjectStore, ObjectWriter};
use smartengine::{Error, ErrorKind, Result};

use crate::world::{Life, World};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Good,
    /// It does nothing and fails.
    Refused,
    /// It acts and fails.
    Unanswered,
    /// It fails, and acts this much later.
    Late(Duration),
}

/// How a bucket breaks its promises, to see that this is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Of two writers of one key the second wins.
    Overwrites,
    /// One put in a certain number is answered and forgotten.
    Forgets,
}

/// A change to the bucket.
#[derive(Clone)]
pub struct Change {
    pub node: usize,
    /// Whether the node was opening then.
    pub opening: bool,
    pub key: String,
    pub what: ChangeKind,
}

#[derive(Clone)]
pub enum ChangeKind {
    Put(Bytes),
    PutIfAbsent(Bytes),
    Delete,
}

fn newest(objects: &Arc<MemoryStore>) -> Version {
    Manifest::load(objects.clone())
        .unwrap_or_else(|error| panic!("the bucket's manifest: {error}"))
        .1
}

impl World {
    /// Makes a change, whose sender may no longer be there.
    pub fn change(&self, change: &Change) -> Result<()> {
        let key = &*change.key;
        match &change.what {
            ChangeKind::Put(data) => self.objects.put(key, data),
            ChangeKind::PutIfAbsent(data) => {
                match self.defect {
                    Some(Defect::Overwrites) => self.objects.put(key, data)?,
                    Some(Defect::Forgets) if self.below(60) == 0 => {}
                    _ => self.objects.put_if_absent(key, data)?,
                }
                if key.starts_with("manifest/") {
                    self.check_manifest(change);
                }
                Ok(())
            }
            ChangeKind::Delete => {
                self.check_removal(key);
                self.objects.delete(key)
            }
        }
    }

    fn check_manifest(&self, change: &Change) {
        let version = newest(&self.objects);
        if change.opening {
            self.model.lock().attached(change.node, version.epoch);
        }
        for (_, file) in version.files() {
            let key = sst_key(file.id);
            let size = self.objects.size(&key);
            assert_eq!(size.ok(), Some(file.size), "{} names {key}", change.key);
        }
    }

    fn check_removal(&self, key: &str) {
        if let Some(id) = parse_sst_key(key) {
            let version = newest(&self.objects);
            let live = version.files().any(|(_, file)| file.id == id);
            assert!(!live, "{key} is removed, and the newest manifest names it");
        } else if let Some(id) = parse_chunk_key(key) {
            let first = newest(&self.objects).first_chunk;
            assert!(id < first, "{key} is removed, and {first} is needed");
        } else if key.starts_with("manifest/") {
            let before = newest(&self.objects);
            let copy = self.objects.copy();
            copy.delete(key).unwrap();
            let after = newest(&Arc::new(copy));
            assert!(
                before.epoch == after.epoch && before.next_file == after.next_file,
                "{key} is removed, and is needed"
            );
        }
    }
}

/// The bucket, to one node in one of its lives.
pub struct Bucket(pub Life);

impl Bucket {
    fn read<T>(
        &self,
        what: &str,
        key: &str,
        read: impl FnOnce(&MemoryStore) -> Result<T>,
    ) -> Result<T> {
        let world = self.0.alive()?;
        match world.begin_call(&self.0, what, key) {
            Fate::Good => {}
            _ => return Err(unavailable(what, key)),
        }
        let read = read(&world.objects);
        world.end_call(&self.0);
        read
    }

    fn write(&self, what: &str, key: &str, change: ChangeKind) -> Result<()> {
        let world = self.0.alive()?;
        let change = Change {
            node: self.0.node,
            opening: world.is_opening(self.0.node),
            key: key.to_owned(),
            what: change,
        };
        match world.begin_call(&self.0, what, key) {
            Fate::Good => {
                let done = world.change(&change);
                world.end_call(&self.0);
                return done;
            }
            Fate::Unanswered => {
                let _ = world.change(&change);
            }
            Fate::Late(time) => world.change_later(time, change),
            Fate::Refused => {}
        }
        Err(unavailable(what, key))
    }
}

fn unavailable(what: &str, key: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what} {key}: no answer"))
}

struct Writer {
    bucket: Bucket,
    key: String,
    data: Vec<u8>,
}

struct Reader {
    bucket: Bucket,
    key: String,
}

impl ObjectStore for Bucket {
    fn put(&self, key: &str, data: &[u8]) -> Result<()> {
        self.write("put", key, ChangeKind::Put(Bytes::copy_from_slice(data)))
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
        self.write(
            "create",
            key,
            ChangeKind::PutIfAbsent(Bytes::copy_from_slice(data)),
        )
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(Writer {
            bucket: Self(self.0.clone()),
            key: key.to_owned(),
            data: Vec::new(),
        }))
    }

    fn get(&self, key: &str) -> Result<Bytes> {
        self.read("get", key, |objects| objects.get(key))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.read("get", key, |objects| objects.get_range(key, range))
    }

    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>> {
        Ok(Arc::new(Reader {
            bucket: Self(self.0.clone()),
            key: key.to_owned(),
        }))
    }

    fn size(&self, key: &str) -> Result<u64> {
        self.read("size", key, |objects| objects.size(key))
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        self.read("list", prefix, |objects| objects.list(prefix, after, limit))
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.write("delete", key, ChangeKind::Delete)
    }
}

impl ObjectWriter for Writer {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        self.data.extend_from_slice(data);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.bucket.write(
            "create",
            &self.key,
            ChangeKind::PutIfAbsent(self.data.into()),
        )
    }
}

impl ObjectReader for Reader {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.bucket.get_range(&self.key, range)
    }
}
