//! Reading the chunks that are there, and taking the place after the last of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::format::{
    CHUNK_PREFIX, Chunk, ChunkBuilder, ChunkHeader, ChunkKind, FENCE_LEN, chunk_key,
    parse_chunk_key,
};
use super::{Taken, WINDOW, claim};
use crate::env::failpoint;
use crate::object_store::ObjectStore;
use crate::{Error, ErrorKind, Result, ResultExt};

/// How many chunks are fetched at once, each by a thread of its own.
pub const PARALLEL: usize = 64;
/// Bytes beyond which no more are fetched at once.
const BATCH_BYTES: u64 = 64 << 20;
/// Objects listed at a time.
const LIST_PAGE: usize = 1000;

/// The log in the store, being read.
pub struct ChunkReader {
    store: Arc<dyn ObjectStore>,
    /// Records below this are in files.
    floor: u64,
    /// How many chunks are fetched at once.
    parallel: usize,
    /// Id of the chunk to be read next.
    next: u64,
    /// Where the last chunk ended.
    end: Option<u64>,
    /// Epoch of the last chunk.
    epoch: u64,
    /// Epoch of the writer that reads, if it reads in order to write: a chunk of a later epoch says that it is too late.
    mine: u64,
    /// Ids and ends of those read that hold records.
    chunks: VecDeque<(u64, u64)>,
}

impl ChunkReader {
    /// Begins at the chunk `first`; records below `floor` are passed over.
    pub fn new(store: Arc<dyn ObjectStore>, first: u64, floor: u64) -> Self {
        Self {
            store,
            floor,
            parallel: PARALLEL,
            next: first,
            end: None,
            epoch: 0,
            mine: u64::MAX,
            chunks: VecDeque::new(),
        }
    }

    /// Fetches one chunk after the other, without threads.
    #[must_use]
    pub fn without_threads(mut self) -> Self {
        self.parallel = 1;
        self
    }

    /// From now on this reader's writer has the manifest's epoch: where a chunk of a later one is found, [`ErrorKind::Fenced`].
    pub fn has_epoch(&mut self, epoch: u64) {
        self.mine = epoch;
    }

    /// The log position after the last chunk.
    pub fn end(&self) -> u64 {
        self.end.unwrap_or(self.floor)
    }

    /// Where the log of the writer of `epoch` ended, which another one has superseded: at the first fence after it, or, if nobody put one,
    /// after the last chunk.
    pub fn end_of(&self, epoch: u64) -> Result<u64> {
        let (mut first, mut end) = (u64::MAX, self.end());
        for (id, size) in self.list_after("")? {
            if size != FENCE_LEN {
                continue;
            }
            let header = Chunk::decode(&self.store.get(&chunk_key(id))?, id)?.header;
            if header.epoch > epoch && header.epoch < first {
                (first, end) = (header.epoch, header.start);
            }
        }
        Ok(end)
    }

    /// Reads on through the chunks that are there now, to the first that is not: `apply` gets log position and payload of each record. What a writer that still
    /// writes adds meanwhile is left to a later call, and the last of it to [`ChunkReader::fence`]: a busy writer cannot be caught up with before it knows that
    /// it was superseded.
    ///
    /// A chunk behind a gap was never acknowledged, unless one of those behind says by its durable mark that the missing one had been there:
    /// that is [`ErrorKind::Corruption`], as is a chunk that does not decode or does not follow.
    pub fn read_on(&mut self, apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        while self.read_listed(apply)? {}
        if self.end() < self.floor {
            return Err(Error::corruption(format!(
                "the log in the store ends at position {} with chunk {}, it is needed from {}: chunks are missing",
                self.end(),
                self.next,
                self.floor
            )));
        }
        Ok(())
    }

    /// Reads what one listing shows; returns whether there is more. A long listing is not a picture of one moment: it may show what was put behind a gap that
    /// has been filled since.
    fn read_listed(&mut self, apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<bool> {
        let listed = self.list().context(|| "list the log in the store")?;
        let mut at = listed.partition_point(|&(id, _)| id < self.next);
        let mut fetched = BTreeMap::new();
        loop {
            if !fetched.contains_key(&self.next)
                && listed.get(at).is_some_and(|&(id, _)| id == self.next)
            {
                let batch = self.batch(&listed[at..]);
                at += batch.len();
                fetched = fetch(&*self.store, &batch);
            }
            match fetched.remove(&self.next) {
                Some(Ok(bytes)) => self.take(&bytes, apply)?,
                Some(Err(error)) if error.kind() != ErrorKind::NotFound => {
                    return Err(error.context("read the log in the store"));
                }
                _ => break,
            }
            // A fence jumps over ids.
            at = at.max(listed.partition_point(|&(id, _)| id < self.next));
        }
        let Err(lost) = self.check_gap(&listed) else {
            return Ok(false);
        };
        match self.store.get(&chunk_key(self.next)) {
            Ok(bytes) => self.take(&bytes, apply).map(|()| true),
            Err(_) => Err(lost),
        }
    }

    /// Ids of the chunks to be fetched next, at least one.
    fn batch(&self, listed: &[(u64, u64)]) -> Vec<u64> {
        let mut bytes = 0;
        let fits = |&&(_, size): &&(u64, u64)| {
            let first = bytes == 0;
            bytes += size;
            first || bytes <= BATCH_BYTES
        };
        let batch = listed.iter().take(self.parallel).take_while(fits);
        batch.map(|&(id, _)| id).collect()
    }

    /// Ids and sizes of all chunks from the next one on, ascending.
    fn list(&self) -> Result<Vec<(u64, u64)>> {
        match self.next.checked_sub(1) {
            Some(before) => self.list_after(&chunk_key(before)),
            None => self.list_after(""),
        }
    }

    fn list_after(&self, after: &str) -> Result<Vec<(u64, u64)>> {
        let mut chunks = Vec::new();
        let mut after = after.to_owned();
        loop {
            let page = self.store.list(CHUNK_PREFIX, &after, LIST_PAGE)?;
            let found = page.iter();
            chunks.extend(found.filter_map(|meta| Some((parse_chunk_key(&meta.key)?, meta.size))));
            match page.last() {
                Some(last) if page.len() == LIST_PAGE => after.clone_from(&last.key),
                _ => return Ok(chunks),
            }
        }
    }

    fn check_gap(&self, listed: &[(u64, u64)]) -> Result<()> {
        let lost = |id: u64| {
            Error::corruption(format!(
                "{} is missing, though {} says that it was there; the log in the store is damaged",
                chunk_key(self.next),
                chunk_key(id)
            ))
        };
        let later = listed.partition_point(|&(id, _)| id <= self.next);
        for &(id, _) in &listed[later..] {
            // No writer goes on so far without the acknowledgement of an earlier one.
            if id >= self.next.saturating_add(WINDOW) {
                return Err(lost(id));
            }
            let bytes = match self.store.get(&chunk_key(id)) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error.context("read the log in the store")),
            };
            if Chunk::decode(&bytes, id)?.header.durable > self.end() {
                return Err(lost(id));
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        bytes: &[u8],
        apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let Chunk { header, records } = Chunk::decode(bytes, self.next)?;
        if header.epoch > self.mine {
            return Err(Error::new(
                ErrorKind::Fenced,
                format!(
                    "fenced by epoch {}, which has {}",
                    header.epoch,
                    chunk_key(header.id)
                ),
            ));
        }
        let refuse = |cause: String| {
            Err(Error::corruption(format!(
                "{}: {cause}",
                chunk_key(header.id)
            )))
        };
        if header.epoch < self.epoch {
            return refuse(format!(
                "of epoch {}, after a chunk of epoch {}",
                header.epoch, self.epoch
            ));
        }
        match self.end {
            Some(end) if header.start != end => {
                return refuse(format!(
                    "it begins at position {}, the one before ended at {end}",
                    header.start
                ));
            }
            None if header.start > self.floor => {
                return refuse(format!(
                    "it begins at position {}, the log is needed from {}",
                    header.start, self.floor
                ));
            }
            _ => {}
        }
        for (position, range) in records {
            if position >= self.floor {
                apply(position, &bytes[range]).context(|| chunk_key(header.id))?;
            }
        }
        self.epoch = header.epoch;
        self.end = Some(header.end);
        self.next = header.next;
        // A fence stays for good.
        if header.kind == ChunkKind::Records {
            self.chunks.push_back((header.id, header.end));
        }
        Ok(())
    }

    /// Takes the first free place with a fence: whoever wrote before finds it there and stops. What was written up to that moment is read as by
    /// [`ChunkReader::read_on`].
    ///
    /// [`ErrorKind::Fenced`] if a later writer is there already.
    pub fn fence(
        mut self,
        epoch: u64,
        writer_id: u128,
        apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
    ) -> Result<Taken> {
        self.has_epoch(epoch);
        loop {
            let header = ChunkHeader {
                kind: ChunkKind::Fence,
                id: self.next,
                epoch,
                writer_id,
                start: self.end(),
                end: self.end(),
                // What the writer before it still has on its way ends up in between.
                next: self.next + WINDOW,
                durable: self.end(),
            };
            let bytes = ChunkBuilder::new(0).finish(&header);
            failpoint::hit("remote_wal.before_fence")?;
            match claim(&*self.store, header.id, &bytes).context(|| "fence the log in the store")? {
                None => {
                    failpoint::hit("remote_wal.fenced")?;
                    return Ok(Taken {
                        next_id: header.next,
                        end: header.end,
                        chunks: self.chunks,
                    });
                }
                Some(found) => self.take(&found, apply)?,
            }
        }
    }
}

/// Fetches chunks, each by a thread of its own.
pub fn fetch(store: &dyn ObjectStore, ids: &[u64]) -> BTreeMap<u64, Result<Bytes>> {
    if let [id] = ids {
        return BTreeMap::from([(*id, store.get(&chunk_key(*id)))]);
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = ids
            .iter()
            .map(|&id| (id, scope.spawn(move || store.get(&chunk_key(id)))))
            .collect();
        let joined = running.into_iter().map(|(id, thread)| {
            let panicked = |_| Err(Error::new(ErrorKind::Internal, "a thread panicked"));
            (id, thread.join().unwrap_or_else(panicked))
        });
        joined.collect()
    })
}
