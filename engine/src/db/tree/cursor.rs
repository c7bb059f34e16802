//! Range reads: the newest visible version of each key of a range, in both directions.
//!
//! Going forward, the merged iterator stands on the entry that is shown, so nothing is copied but the key that is to be passed over next.
//! Going backward, versions of a key come oldest first, so the newest visible one is copied while its key is walked; the iterator then
//! stands before that key.
//!
//! Of a key's versions a few are stepped over, since a step costs less than a seek. Then what is looked for is sought: the newest visible
//! version, or the end of all versions. So a row that was updated a million times costs what a row with a few versions does.

use std::sync::Arc;

use super::Tree;
use super::state::{LiveFile, State, open_together};
use crate::Result;
use crate::iter::{InternalIterator, LevelFiles, LevelIter, MergingIterator};
use crate::memtable::MemIter;
use crate::sst::{IterOptions, SstIter};
use crate::txn::batch::{Batch, OwnIter};
use crate::txn::snapshots::SnapshotGuard;
use crate::types::{
    INDEX_ID_LEN, KeyRef, OWN_WRITE_SEQ, SeqNo, ValueKind, decode_internal, user_key_of,
};

/// A sorted level's files as [`LevelIter`] wants them.
pub struct OpenFiles {
    pub files: Vec<Arc<LiveFile>>,
    pub options: IterOptions,
}

impl LevelFiles for OpenFiles {
    type Iter = SstIter;

    fn len(&self) -> usize {
        self.files.len()
    }

    fn smallest(&self, i: usize) -> KeyRef<'_> {
        self.files[i].meta.smallest.as_ref()
    }

    fn largest(&self, i: usize) -> KeyRef<'_> {
        self.files[i].meta.largest.as_ref()
    }

    fn open(&self, i: usize) -> Result<SstIter> {
        Ok(self.files[i].reader()?.iter(self.options))
    }

    fn open_next(&self, i: usize, forward: bool) -> Result<SstIter> {
        let mut iter = self.open(i)?;
        if self.files[i].is_distant() {
            iter.continue_scan(forward);
        }
        Ok(iter)
    }

    #[inline]
    fn look_ahead(&self, i: usize, iter: &mut SstIter) {
        let Some(forward) = iter.take_end_ahead() else {
            return;
        };
        let next = if forward {
            Some(i + 1)
        } else {
            i.checked_sub(1)
        };
        if let Some(next) = next.and_then(|next| self.files.get(next)) {
            LiveFile::open_ahead(next);
        }
    }
}

/// One sorted run of entries. The variants differ much in size, but a cursor has few of them.
#[allow(clippy::large_enum_variant)]
pub enum Source {
    Own(OwnIter),
    Memory(MemIter),
    File(SstIter),
    Level(LevelIter<OpenFiles>),
}

macro_rules! each_source {
    ($self:expr, $source:ident => $call:expr) => {
        match $self {
            Source::Own($source) => $call,
            Source::Memory($source) => $call,
            Source::File($source) => $call,
            Source::Level($source) => $call,
        }
    };
}

impl InternalIterator for Source {
    fn valid(&self) -> bool {
        each_source!(self, source => source.valid())
    }

    fn seek_to_first(&mut self) -> Result<()> {
        each_source!(self, source => source.seek_to_first())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        each_source!(self, source => source.seek_to_last())
    }

    fn seek(&mut self, target: KeyRef<'_>) -> Result<()> {
        each_source!(self, source => source.seek(target))
    }

    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()> {
        each_source!(self, source => source.seek_for_prev(target))
    }

    fn next(&mut self) -> Result<()> {
        each_source!(self, source => source.next())
    }

    fn next_key(&mut self) -> Result<()> {
        each_source!(self, source => source.next_key())
    }

    fn skip_to(&mut self, target: KeyRef<'_>) -> Result<()> {
        each_source!(self, source => source.skip_to(target))
    }

    fn prev(&mut self) -> Result<()> {
        each_source!(self, source => source.prev())
    }

    fn key(&self) -> &[u8] {
        each_source!(self, source => source.key())
    }

    fn value(&self) -> &[u8] {
        each_source!(self, source => source.value())
    }
}

impl Source {
    /// Whether it stands on a write that was rolled back since it came there.
    fn is_undone(&self) -> bool {
        matches!(self, Self::Own(iter) if iter.is_dead())
    }
}

/// All runs that may hold keys of [lower, upper), newest first.
pub fn sources(
    state: &State,
    batch: Option<&Batch>,
    lower: &[u8],
    upper: &[u8],
    options: &IterOptions,
) -> Result<Vec<Source>> {
    let mut all = Vec::new();
    if let Some(batch) = batch {
        all.push(Source::Own(batch.view().iter(lower, upper)));
    }
    for table in state.memtables() {
        if !table.is_empty() {
            all.push(Source::Memory(table.iter()));
        }
    }
    let newest = state.files.levels[0].iter();
    let newest: Vec<_> = newest
        .filter(|file| file.overlaps(lower, upper))
        .cloned()
        .collect();
    // Those that the cursor reads from the start on, at once.
    let single = (1..state.files.levels.len()).filter_map(|level| {
        match state.files.files_between(level, lower, upper) {
            [file] => Some(file),
            _ => None,
        }
    });
    open_together(newest.iter().chain(single));
    for file in newest {
        all.push(Source::File(file.reader()?.iter(*options)));
    }
    for level in 1..state.files.levels.len() {
        let files = state.files.files_between(level, lower, upper);
        match files {
            [] => {}
            [file] => all.push(Source::File(file.reader()?.iter(*options))),
            _ => all.push(Source::Level(LevelIter::new(OpenFiles {
                files: files.to_vec(),
                options: *options,
            }))),
        }
    }
    Ok(all)
}

/// So many versions of a key are stepped over, either way, before what is looked for is sought.
const FEW_VERSIONS: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before any seek, or past an end.
    Nowhere,
    /// The merged iterator stands on the entry shown.
    Forward,
    /// The entry shown is in `key` and `value`; the merged iterator stands before all its versions.
    Backward,
}

/// A cursor over the keys of a range as one snapshot sees them, together with a transaction's own writes.
///
/// It starts nowhere; a seek places it. `key` and `value` are good until the next call that moves it. It keeps its snapshot, and the files and
/// memtables it reads, until it is dropped. Of the transaction's writes it shows those made before the last seek and not rolled back; ones
/// made later may show as well where it has not passed yet.
///
/// ```
/// # fn main() -> smartengine::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use smartengine::{Engine, Isolation, Options, View};
/// let engine = Engine::open(Options::new(dir.path()))?;
/// let hours = engine.create_index()?;
/// let mut txn = engine.begin(Isolation::RepeatableRead);
/// for hour in [6, 12, 18, 22] {
///     txn.insert(&hours.key([hour]), format!("{hour} o'clock").as_bytes())?;
/// }
/// // The daytime, backwards.
/// let mut cursor = txn.cursor(&hours.range([7]..[20]), View::Snapshot)?;
/// let mut seen = Vec::new();
/// cursor.seek_to_last()?;
/// while cursor.valid() {
///     seen.push(String::from_utf8_lossy(cursor.value()).into_owned());
///     cursor.prev()?;
/// }
/// assert_eq!(seen, ["18 o'clock", "12 o'clock"]);
/// # drop((cursor, txn));
/// # engine.close()
/// # }
/// ```
pub struct Cursor {
    merged: MergingIterator<Source>,
    snapshot: SeqNo,
    lower: Vec<u8>,
    upper: Vec<u8>,
    place: Place,
    key: Vec<u8>,
    value: Vec<u8>,
    seq: SeqNo,
    _guard: Option<Arc<SnapshotGuard>>,
}

impl Cursor {
    /// Over [lower, upper), as `guard` sees it, with the writes of `batch`.
    pub(crate) fn new(
        tree: &Tree,
        guard: Arc<SnapshotGuard>,
        batch: Option<&Batch>,
        lower: &[u8],
        upper: &[u8],
    ) -> Result<Self> {
        let state = tree.state();
        let merged = MergingIterator::new(sources(
            &state,
            batch,
            lower,
            upper,
            &IterOptions::default(),
        )?);
        Ok(Self {
            merged,
            snapshot: guard.seq(),
            lower: lower.to_vec(),
            upper: upper.to_vec(),
            place: Place::Nowhere,
            key: Vec::new(),
            value: Vec::new(),
            seq: 0,
            _guard: Some(guard),
        })
    }

    /// The newest commit that it sees.
    pub fn snapshot(&self) -> SeqNo {
        self.snapshot
    }

    /// Whether it stands on an entry.
    pub fn valid(&self) -> bool {
        self.place != Place::Nowhere
    }

    /// The user key it stands on; empty where it is not valid.
    pub fn key(&self) -> &[u8] {
        match self.place {
            Place::Nowhere => &[],
            Place::Forward => user_key_of(self.merged.key()),
            Place::Backward => &self.key,
        }
    }

    /// The key within its index: what follows the index in [`Cursor::key`].
    pub fn rest(&self) -> &[u8] {
        self.key().get(INDEX_ID_LEN..).unwrap_or_default()
    }

    /// The number of the commit that wrote what it stands on; of an own write one above all commits'. 0 where it is not valid.
    pub fn seq(&self) -> SeqNo {
        match self.place {
            Place::Nowhere => 0,
            Place::Forward => KeyRef::decode(self.merged.key()).seq(),
            Place::Backward => self.seq,
        }
    }

    /// The value it stands on; empty where it is not valid.
    pub fn value(&self) -> &[u8] {
        match self.place {
            Place::Nowhere => &[],
            Place::Forward => self.merged.value(),
            Place::Backward => &self.value,
        }
    }

    /// Whether the transaction's own writes lie elsewhere than where it looks for them.
    #[inline]
    fn is_stale(&self) -> bool {
        matches!(self.merged.sources().first(), Some(Source::Own(own)) if own.is_stale())
    }

    /// Makes it stand nowhere; before a seek it looks where the transaction's own writes are now.
    fn prepare_seek(&mut self) {
        self.place = Place::Nowhere;
        if self.is_stale()
            && let Some(Source::Own(own)) = self.merged.source_mut(0)
        {
            own.renew(&self.lower, &self.upper);
        }
    }

    /// To the first key of the range.
    pub fn seek_to_first(&mut self) -> Result<()> {
        self.prepare_seek();
        self.merged.seek(KeyRef::before(&self.lower))?;
        self.find_forward(false)
    }

    /// To the last key of the range.
    pub fn seek_to_last(&mut self) -> Result<()> {
        self.prepare_seek();
        self.merged.seek_for_prev(KeyRef::before(&self.upper))?;
        self.find_backward()
    }

    /// To the first key at or after `target`.
    pub fn seek(&mut self, target: &[u8]) -> Result<()> {
        if target <= self.lower.as_slice() {
            return self.seek_to_first();
        }
        self.prepare_seek();
        self.merged.seek(KeyRef::before(target))?;
        self.find_forward(false)
    }

    /// To the last key before `target`.
    pub fn seek_before(&mut self, target: &[u8]) -> Result<()> {
        if target >= self.upper.as_slice() {
            return self.seek_to_last();
        }
        self.prepare_seek();
        self.merged.seek_for_prev(KeyRef::before(target))?;
        self.find_backward()
    }

    /// To the next key. A cursor that stands nowhere stays there.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<()> {
        match self.place {
            Place::Nowhere => Ok(()),
            Place::Forward => {
                self.key.clear();
                self.key.extend_from_slice(user_key_of(self.merged.key()));
                self.place = Place::Nowhere;
                if self.is_stale() {
                    self.prepare_seek();
                    self.merged.seek(KeyRef::after(&self.key))?;
                } else {
                    self.merged.next_key()?;
                }
                self.find_forward(true)
            }
            Place::Backward => {
                self.prepare_seek();
                self.merged.seek(KeyRef::after(&self.key))?;
                self.find_forward(true)
            }
        }
    }

    /// To the key before. A cursor that stands nowhere stays there.
    pub fn prev(&mut self) -> Result<()> {
        match self.place {
            Place::Nowhere => Ok(()),
            Place::Forward => {
                self.key.clear();
                self.key.extend_from_slice(user_key_of(self.merged.key()));
                self.prepare_seek();
                self.merged.seek_for_prev(KeyRef::before(&self.key))?;
                self.find_backward()
            }
            Place::Backward => {
                self.place = Place::Nowhere;
                if self.is_stale() {
                    self.prepare_seek();
                    self.merged.seek_for_prev(KeyRef::before(&self.key))?;
                }
                self.find_backward()
            }
        }
    }

    /// Whether the entry with number `seq`, on which the merged iterator stands, is for it to see.
    fn sees(&self, seq: SeqNo) -> bool {
        seq <= self.snapshot
            || (seq >= OWN_WRITE_SEQ && !self.merged.current().is_some_and(Source::is_undone))
    }

    /// From where the merged iterator stands, to the first visible entry; with `passing`, versions of `self.key` are passed over.
    fn find_forward(&mut self, mut passing: bool) -> Result<()> {
        // Of `self.key`, those stepped over.
        let mut versions = 0;
        while self.merged.valid() {
            let (key, kind) = decode_internal(self.merged.key())?;
            if passing && key.user == self.key.as_slice() {
                versions += 1;
                if versions > FEW_VERSIONS {
                    self.merged.skip_to(KeyRef::after(&self.key))?;
                } else {
                    self.merged.next_key()?;
                }
                continue;
            }
            if key.user >= self.upper.as_slice() {
                return Ok(());
            }
            let seq = key.seq();
            let visible = self.sees(seq);
            if visible && kind == ValueKind::Put {
                self.place = Place::Forward;
                return Ok(());
            }
            if visible || passing || key.user != self.key.as_slice() {
                self.key.clear();
                self.key.extend_from_slice(key.user);
                versions = 0;
            }
            passing = visible;
            if visible {
                self.merged.next_key()?;
                continue;
            }
            versions += 1;
            self.pass_unseen(seq, versions > FEW_VERSIONS)?;
        }
        Ok(())
    }

    /// From a version of `self.key` that it does not see to a further one; to the newest that it sees if that is to be `sought`.
    fn pass_unseen(&mut self, seq: SeqNo, sought: bool) -> Result<()> {
        // Own writes come before all commits: behind one that was rolled back there may be one that was not.
        if sought && seq < OWN_WRITE_SEQ {
            self.merged.skip_to(KeyRef::at(&self.key, self.snapshot))
        } else {
            self.merged.next()
        }
    }

    /// From where the merged iterator stands, back to the first key with a visible value.
    fn find_backward(&mut self) -> Result<()> {
        while self.merged.valid() {
            let (key, _) = decode_internal(self.merged.key())?;
            if key.user < self.lower.as_slice() {
                return Ok(());
            }
            self.key.clear();
            self.key.extend_from_slice(key.user);
            let mut newest = None;
            let mut versions = 0;
            while self.merged.valid() {
                versions += 1;
                if versions > FEW_VERSIONS {
                    newest = self.newest_by_seek()?;
                    break;
                }
                let (key, kind) = decode_internal(self.merged.key())?;
                if key.user != self.key.as_slice() {
                    break;
                }
                let seq = key.seq();
                if self.sees(seq) {
                    newest = Some(kind);
                    self.keep_version(seq, kind);
                }
                self.merged.prev()?;
            }
            if newest == Some(ValueKind::Put) {
                self.place = Place::Backward;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Copies the version on which the merged iterator stands.
    fn keep_version(&mut self, seq: SeqNo, kind: ValueKind) {
        self.seq = seq;
        self.value.clear();
        if kind == ValueKind::Put {
            self.value.extend_from_slice(self.merged.value());
        }
    }

    /// Finds the newest visible version of `self.key` from its newest end, then goes before all of them.
    fn newest_by_seek(&mut self) -> Result<Option<ValueKind>> {
        let mut newest = None;
        self.merged.seek(KeyRef::before(&self.key))?;
        while self.merged.valid() {
            let (key, kind) = decode_internal(self.merged.key())?;
            if key.user != self.key.as_slice() {
                break;
            }
            let seq = key.seq();
            if self.sees(seq) {
                newest = Some(kind);
                self.keep_version(seq, kind);
                break;
            }
            self.pass_unseen(seq, true)?;
        }
        self.merged.seek_for_prev(KeyRef::before(&self.key))?;
        Ok(newest)
    }
}

#[cfg(test)]
mod tests;
