//! The manifest: the one sequence of edits that says which objects are the database.
//!
//! Edit n is the object `manifest/<n>`, created with put-if-absent, so that of two writers only one can write it; the other learns that it was fenced.
//! Every 64th object holds the full version, from which a load begins. `CURRENT` names the last of these, so that a load need not list them
//! all; it believes nothing that `CURRENT` says, and checks by a listing that nothing comes after what it read.
//!
//! A commit: the edit is applied to the version in memory and every rule of [`Rule`] is checked; the object is put; a listing shows that it is the newest, since
//! the place of a writer that slept may have been taken and trimmed meanwhile; the version is replaced. A crash
//! before the put leaves nothing, after it the edit. When the put fails with an answer that leaves open whether it happened, [`Manifest::commit`]
//! looks; if it cannot, it returns the error, the edit may or may not be in the manifest, and the objects it names must stay. The next
//! commit finds out: an object with this writer's own number in it is adopted, any other means that this writer was superseded.

mod apply;
mod edit;
mod format;
mod invariants;
#[cfg(test)]
mod tests;
mod version;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

pub use edit::{FileMeta, LEVELS, VersionEdit, first_file_of_epoch, parse_sst_key, sst_key};
pub use format::VERSION as FORMAT_VERSION;
pub use format::{ManifestObject, ObjectKind, decode_files, encode_files};
pub use invariants::Rule;
pub use version::Version;

use crate::env::{failpoint, unique_u128};
use crate::format::number::parse_number;
use crate::object_store::ObjectStore;
use crate::{Error, ErrorKind, Result, ResultExt};

/// The object that names a recent full version.
pub const CURRENT_KEY: &str = "CURRENT";
/// What the keys of manifest objects begin with.
pub const MANIFEST_PREFIX: &str = "manifest/";

/// Every object whose id is a multiple of this holds the full version.
const FULL_EVERY: u64 = 64;
/// Objects listed at a time.
const LIST_PAGE: usize = 1000;
/// How often a load begins anew when objects vanish under it.
const LOAD_ATTEMPTS: u32 = 5;

/// The manifest, open for commits.
pub struct Manifest {
    store: Arc<dyn ObjectStore>,
    current: Arc<Version>,
    /// Id of the next object.
    next_id: u64,
    nonce: u128,
    /// Whether this writer's epoch is in the manifest.
    attached: bool,
    fenced: Option<String>,
}

/// The key of a manifest object.
pub fn manifest_key(id: u64) -> String {
    format!("{MANIFEST_PREFIX}{id:020}")
}

/// The id of the manifest object that a key names, if it names one.
pub fn parse_manifest_key(key: &str) -> Option<u64> {
    parse_number(key.strip_prefix(MANIFEST_PREFIX)?)
}

impl Manifest {
    /// Reads the newest version. A store without any manifest gives an empty one.
    ///
    /// It writes nothing. To write, a caller commits an edit with the next epoch first, which fences the writer before it. Objects are read one after the
    /// other; of a store that is far away [`Manifest::load_at_once`] is faster.
    pub fn load(store: Arc<dyn ObjectStore>) -> Result<(Self, Version)> {
        Self::load_by(store, 1)
    }

    /// The same by three round trips as a rule: the hint, then a full version with all edits that may follow before the next one, then a listing that shows no more.
    /// Each object is asked for by a thread of its own.
    pub fn load_at_once(store: Arc<dyn ObjectStore>) -> Result<(Self, Version)> {
        Self::load_by(store, FULL_EVERY)
    }

    fn load_by(store: Arc<dyn ObjectStore>, at_once: u64) -> Result<(Self, Version)> {
        let (version, next_id) = load_newest(&*store, at_once)?.unwrap_or_default();
        let manifest = Self {
            store,
            current: Arc::new(version.clone()),
            next_id,
            nonce: unique_u128()?,
            attached: false,
            fenced: None,
        };
        Ok((manifest, version))
    }

    /// The newest version committed here or found by the load.
    pub fn current(&self) -> Arc<Version> {
        Arc::clone(&self.current)
    }

    /// Goes on as the writer `nonce`, of which it is not known whether it has attached.
    pub fn resume(&mut self, nonce: u128) {
        self.nonce = nonce;
    }

    /// The number by which this writer knows its own objects.
    pub fn nonce(&self) -> u128 {
        self.nonce
    }

    /// The id that the next commit's object will have.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Publishes an edit and returns the version after it.
    ///
    /// [`ErrorKind::Internal`] if it breaks a [`Rule`]; [`ErrorKind::Fenced`] if another writer attached, from then on for good; any other error leaves open
    /// whether the edit was published.
    pub fn commit(&mut self, edit: &VersionEdit) -> Result<Arc<Version>> {
        loop {
            if let Some(message) = &self.fenced {
                return Err(Error::new(ErrorKind::Fenced, message.clone()));
            }
            if !self.attached && edit.epoch.is_none() {
                return Err(Rule::EpochRises.broken("this writer has not taken an epoch"));
            }
            let next = self.current.apply(edit)?;
            let id = self.next_id;
            let full = id.is_multiple_of(FULL_EVERY);
            let object = ManifestObject {
                kind: if full {
                    ObjectKind::Full
                } else {
                    ObjectKind::Edit
                },
                id,
                nonce: self.nonce,
                epoch: next.epoch,
                edit: if full { next.to_edit() } else { edit.clone() },
            };
            let bytes = object.encode();
            if self.publish(id, &bytes)? {
                self.check_newest(id)?;
                self.advance(next, edit);
                failpoint::hit("manifest.after_put")?;
                if full || edit.epoch.is_some() {
                    self.write_hint(id);
                }
                return Ok(self.current());
            }
            // What was adopted may be this very edit, by which the writer attached.
            let epoch = edit.epoch.as_ref().map(|(epoch, _)| *epoch);
            if epoch == Some(self.current.epoch) {
                self.check_newest(id)?;
                return Ok(self.current());
            }
        }
    }

    /// Makes sure that nothing comes after the object `id`, which was put: where a writer has slept while others went on and trimmed, its place
    /// is free again, and means nothing.
    fn check_newest(&mut self, id: u64) -> Result<()> {
        let key = manifest_key(id);
        let later = self
            .store
            .list(MANIFEST_PREFIX, &key, 1)
            .context(|| format!("commit manifest {id}"))?;
        let Some(later) = later.first() else {
            return Ok(());
        };
        let message = format!(
            "commit manifest {id}: fenced by the writer of {}",
            later.key
        );
        self.fenced = Some(message.clone());
        Err(Error::new(ErrorKind::Fenced, message))
    }

    /// Puts the object; `false` if an earlier edit of this writer turned out to be there and was adopted instead.
    fn publish(&mut self, id: u64, bytes: &[u8]) -> Result<bool> {
        let key = manifest_key(id);
        let what = || format!("commit manifest {id}");
        failpoint::hit("manifest.before_put")?;
        let failure = match self.store.put_if_absent(&key, bytes) {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        let found = match self.store.get(&key) {
            Ok(found) => found,
            Err(error) if failure.kind() == ErrorKind::AlreadyExists => {
                return Err(error.context(what()));
            }
            Err(_) => return Err(failure.context(what())),
        };
        if found == bytes {
            return Ok(true);
        }
        let object = self
            .decode_other(&found, id)
            .map_err(|error| error.context(what()))?;
        if object.nonce == self.nonce {
            let adopted = step(&self.current, &object)?;
            self.advance(adopted, &object.edit);
            return Ok(false);
        }
        Err(self.note_fence(id, &object).context(what()))
    }

    /// Whether another writer has attached since: [`ErrorKind::Fenced`] if so. One request.
    pub fn look_for_successor(&mut self) -> Result<()> {
        let id = self.next_id;
        match self.store.get(&manifest_key(id)) {
            Ok(found) => {
                let object = self.decode_other(&found, id)?;
                match object.nonce == self.nonce {
                    true => Ok(()),
                    false => Err(self.note_fence(id, &object)),
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What stands where this writer's next object would. Sound bytes of a version that is not known here are a later release's, which has taken over.
    fn decode_other(&mut self, bytes: &[u8], id: u64) -> Result<ManifestObject> {
        decode(bytes, id).map_err(|error| {
            if error.kind() != ErrorKind::Invalid {
                return error;
            }
            let has = manifest_key(id);
            let error = error.message();
            let message =
                format!("fenced by a writer of another release, which has {has}: {error}");
            self.fenced = Some(message.clone());
            Error::new(ErrorKind::Fenced, message)
        })
    }

    fn note_fence(&mut self, id: u64, object: &ManifestObject) -> Error {
        let writer = match &object.edit.epoch {
            Some((_, writer)) => format!("writer {writer}"),
            None => "another writer".to_owned(),
        };
        let message = format!(
            "fenced by epoch {}, {writer}, which has {}",
            object.epoch,
            manifest_key(id)
        );
        self.fenced = Some(message.clone());
        Error::new(ErrorKind::Fenced, message)
    }

    fn advance(&mut self, next: Version, edit: &VersionEdit) {
        self.attached |= edit.epoch.is_some();
        self.current = Arc::new(next);
        self.next_id += 1;
    }

    /// Points CURRENT to the full version at or below `id`. Failing to costs the next load a listing and nothing else.
    fn write_hint(&self, id: u64) {
        let base = id / FULL_EVERY * FULL_EVERY;
        if let Err(error) = self
            .store
            .put(CURRENT_KEY, format!("{base:020}\n").as_bytes())
        {
            tracing::warn!("write the hint {CURRENT_KEY}: {error}");
        }
    }

    /// Whether the last commit wrote a full version, so that there may be something to [`Manifest::trim`].
    pub fn trim_is_due(&self) -> bool {
        self.next_id % FULL_EVERY == 1 && self.next_id > FULL_EVERY
    }

    /// The key of the last full version but one, where `next_id` is the id of the next object: what is below is not needed.
    pub fn first_kept(next_id: u64) -> String {
        let last = next_id.saturating_sub(1);
        manifest_key((last / FULL_EVERY).saturating_sub(1) * FULL_EVERY)
    }

    /// Deletes the objects below the last full version but one, where `next_id` is the id of the next object; returns how many.
    pub fn trim(store: &dyn ObjectStore, next_id: u64) -> Result<u64> {
        let end = Self::first_kept(next_id);
        let mut deleted = 0;
        let mut after = String::new();
        loop {
            let page = store
                .list(MANIFEST_PREFIX, &after, LIST_PAGE)
                .context(|| "trim manifest")?;
            // In any order: a load that finds a gap looks for the newest full version, which is above all of these.
            let keys = page.iter().map(|meta| &meta.key);
            let old: Vec<String> = keys.take_while(|key| **key < end).cloned().collect();
            for result in store.delete_many(&old) {
                result.context(|| "trim manifest")?;
                deleted += 1;
            }
            if old.len() < page.len() {
                return Ok(deleted);
            }
            match page.last() {
                Some(last) if page.len() == LIST_PAGE => after.clone_from(&last.key),
                _ => return Ok(deleted),
            }
        }
    }
}

fn decode(bytes: &[u8], id: u64) -> Result<ManifestObject> {
    ManifestObject::decode(bytes, id).context(|| format!("read manifest {id}"))
}

impl ManifestObject {
    /// Whether it stands alone.
    pub fn is_full(&self) -> bool {
        self.kind == ObjectKind::Full
    }

    /// The version after it, where `version` is the one before. [`ErrorKind::Corruption`] if it does not follow from that.
    pub fn step(&self, version: &Version) -> Result<Version> {
        step(version, self)
    }
}

/// The version after `object`, which follows `version`.
fn step(version: &Version, object: &ManifestObject) -> Result<Version> {
    let from = match object.kind {
        ObjectKind::Full => &Version::default(),
        ObjectKind::Edit => version,
    };
    let next = from
        .apply(&object.edit)
        .map_err(|error| Error::corruption(format!("read manifest {}: {error}", object.id)))?;
    if next.epoch != object.epoch {
        return Err(Error::corruption(format!(
            "read manifest {}: it says epoch {}, its edits give {}",
            object.id, object.epoch, next.epoch
        )));
    }
    Ok(next)
}

/// The id in CURRENT, rounded down to that of a full version.
fn read_hint(store: &dyn ObjectStore) -> Result<Option<u64>> {
    let hint = match store.get(CURRENT_KEY) {
        Ok(hint) => hint,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.context("read manifest hint")),
    };
    let id = std::str::from_utf8(&hint)
        .ok()
        .and_then(|text| parse_number(text.trim_end()));
    Ok(id.map(|id| id / FULL_EVERY * FULL_EVERY))
}

/// The id of the newest full version by listing.
fn newest_full(store: &dyn ObjectStore) -> Result<Option<u64>> {
    let mut newest = None;
    let mut after = String::new();
    loop {
        let page = store
            .list(MANIFEST_PREFIX, &after, LIST_PAGE)
            .context(|| "list manifest")?;
        for meta in &page {
            newest = newest.max(parse_number(&meta.key[MANIFEST_PREFIX.len()..]));
        }
        match page.last() {
            Some(last) if page.len() == LIST_PAGE => after.clone_from(&last.key),
            _ => return Ok(newest.map(|id: u64| id / FULL_EVERY * FULL_EVERY)),
        }
    }
}

/// The newest version and the id after its object; `None` for a store that never had any.
fn load_newest(store: &dyn ObjectStore, at_once: u64) -> Result<Option<(Version, u64)>> {
    if let Some(base) = read_hint(store)?
        && let Ok(loaded) = load_from(store, base, at_once)?
    {
        return Ok(Some(loaded));
    }
    let mut gap = String::new();
    for _ in 0..LOAD_ATTEMPTS {
        let loaded = match newest_full(store)? {
            Some(base) => load_from(store, base, at_once)?.map(Some),
            None => refuse_orphans(store)?.map(|()| None),
        };
        match loaded {
            Ok(loaded) => return Ok(loaded),
            // A writer may have begun meanwhile, or have gone on by a hundred edits and trimmed: look again.
            Err(cause) => gap = cause,
        }
    }
    Err(Error::corruption(format!("load manifest: {gap}")))
}

/// Reads the full version `base` and all edits after it, and makes sure that nothing comes after those; the inner error says what is missing.
///
/// As many objects are asked for at the same time as `at_once` says, and taken in their order, up to the first that is not there: what comes behind it, or went
/// wrong there, does not count. A writer that goes on meanwhile may fill the place and those behind it, so the place is looked at once more before it is
/// called a gap.
fn load_from(
    store: &dyn ObjectStore,
    base: u64,
    at_once: u64,
) -> Result<Result<(Version, u64), String>> {
    let mut version = Version::default();
    let mut id = base;
    let mut last = None;
    loop {
        let fetched = match last.take() {
            Some(object) => vec![Ok(object)],
            None => fetch(store, id..id.saturating_add(at_once)),
        };
        let mut ended = false;
        for bytes in fetched {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    ended = true;
                    break;
                }
                Err(error) => return Err(error.context(format_args!("read manifest {id}"))),
            };
            let object = decode(&bytes, id)?;
            if object.kind == ObjectKind::Edit && id.is_multiple_of(FULL_EVERY) {
                return Err(Error::corruption(format!(
                    "read manifest {id}: an edit, where a full version belongs"
                )));
            }
            version = step(&version, &object)?;
            id += 1;
        }
        if !ended {
            continue;
        }
        let missing = manifest_key(id);
        let Some(later) = store.list(MANIFEST_PREFIX, &missing, 1)?.into_iter().next() else {
            break;
        };
        last = match store.get(&missing) {
            Ok(object) => Some(object),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Err(format!("there is {}, but not {missing}", later.key)));
            }
            Err(error) => return Err(error.context(format_args!("read manifest {id}"))),
        };
    }
    if id == base {
        return Ok(Err(format!("{} is not there", manifest_key(id))));
    }
    Ok(Ok((version, id)))
}

/// Asks for these objects, each by a thread of its own; the answers are in the order of the ids.
fn fetch(store: &dyn ObjectStore, ids: Range<u64>) -> Vec<Result<Bytes>> {
    if ids.end - ids.start <= 1 {
        return ids.map(|id| store.get(&manifest_key(id))).collect();
    }
    std::thread::scope(|scope| {
        let ask = |id| scope.spawn(move || store.get(&manifest_key(id)));
        let asked: Vec<_> = ids.map(ask).collect();
        let panicked = |_| Err(Error::new(ErrorKind::Internal, "a thread panicked"));
        asked
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(panicked))
            .collect()
    })
}

/// A store that holds SSTs but no manifest is damaged, not new: taking it for new would make garbage of them.
fn refuse_orphans(store: &dyn ObjectStore) -> Result<Result<(), String>> {
    Ok(match store.list("sst/", "", 1)?.first() {
        None => Ok(()),
        Some(orphan) => Err(format!("there is {}, but no manifest", orphan.key)),
    })
}
