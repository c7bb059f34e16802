//! A store seen from outside: what is in it, whether it is sound, and what of it is garbage.
//!
//! Nothing here attaches or writes, so all of it is safe beside a running server. Such a server may remove an object between its listing and its
//! reading; then the manifest is read again, and if that does not name the object any more, it is left out.

mod garbage;
mod verify;

use std::sync::Arc;

pub use garbage::{Garbage, garbage};
pub use verify::{Problem, Progress, Report, verify};

use crate::db::open::identity;
use crate::gc::list_all;
use crate::manifest::{Manifest, Version};
use crate::object_store::{ObjectMeta, ObjectStore};
use crate::remote_wal::{Chunk, ChunkHeader, FENCE_LEN, PARALLEL, fetch, parse_chunk_key};
use crate::{Error, ErrorKind, Result, ResultExt};

/// What a store holds.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The store's own number; `None` if nobody has opened it yet.
    pub number: Option<u128>,
    /// The newest version.
    #[doc(hidden)]
    pub version: Version,
    /// Id of the newest object of the manifest; `None` if there is none.
    pub manifest_id: Option<u64>,
    /// All objects, ascending.
    pub objects: Vec<ObjectMeta>,
    /// The chunks of the log that are needed, and all fences, ascending: the header of each that could be read, and its size.
    #[doc(hidden)]
    pub chunks: Vec<(ChunkHeader, u64)>,
}

/// Reads manifest, listing and the chunks' headers. [`ErrorKind::NotFound`] where there is nothing.
pub fn overview(store: &Arc<dyn ObjectStore>) -> Result<Overview> {
    let number = match store.get(identity::NAME) {
        Ok(bytes) => Some(identity::decode(&bytes).context(|| identity::NAME)?),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let (manifest, version) = Manifest::load_at_once(store.clone())?;
    let objects = list_all(&**store, "")?;
    refuse_nothing(&objects)?;
    let needed: Vec<(u64, u64)> = objects
        .iter()
        .filter_map(|object| Some((parse_chunk_key(&object.key)?, object.size)))
        .filter(|&(id, size)| id >= version.first_chunk || size == FENCE_LEN)
        .collect();
    let mut chunks = Vec::new();
    for batch in needed.chunks(PARALLEL) {
        let ids: Vec<u64> = batch.iter().map(|&(id, _)| id).collect();
        let mut fetched = fetch(&**store, &ids);
        for &(id, size) in batch {
            match fetched.remove(&id) {
                Some(Ok(bytes)) => chunks.push((Chunk::decode(&bytes, id)?.header, size)),
                Some(Err(error)) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    let has_manifest = manifest.next_id() > 0;
    Ok(Overview {
        number,
        manifest_id: has_manifest.then(|| manifest.next_id() - 1),
        version,
        objects,
        chunks,
    })
}

/// A mistyped prefix must not pass for a sound store.
fn refuse_nothing(objects: &[ObjectMeta]) -> Result<()> {
    if objects.is_empty() {
        return Err(Error::new(
            ErrorKind::NotFound,
            "there is no object at all: nobody has opened a store there",
        ));
    }
    Ok(())
}
