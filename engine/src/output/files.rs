//! A sequence of SSTs being written from one ascending run of entries.

use crate::manifest::{FileMeta, sst_key};
use crate::object_store::ObjectStore;
use crate::sst::{SstBuilder, SstOptions};
use crate::types::{IndexId, index_id_of, user_key_of};
use crate::{Result, ResultExt};

use super::RateLimiter;

/// At an index boundary a file is cut once it has this fraction of the target size, so that many small indexes share a file.
const BOUNDARY_FRACTION: u64 = 8;

/// How often the rate limiter is asked, in bytes.
const LIMIT_STEP: u64 = 256 << 10;

/// What an output needs from its surroundings.
pub trait OutputHost: Sync {
    /// A file id that was never used.
    fn next_file_id(&self) -> u64;
    /// Fails if the work is to stop; called from time to time.
    fn check_stop(&self) -> Result<()>;
}

/// Where and how files are written.
pub struct OutputSpec<'a> {
    /// Receives the objects.
    pub store: &'a dyn ObjectStore,
    /// Names the files.
    pub host: &'a dyn OutputHost,
    /// Asked before bytes are written.
    pub limiter: &'a RateLimiter,
    /// Format and compression.
    pub sst: SstOptions,
    /// Bytes at which a file is cut.
    pub target_size: u64,
}

struct Current {
    id: u64,
    builder: SstBuilder,
    index: Option<IndexId>,
    limited: u64,
}

/// The files written so far and the one being written.
pub struct Output<'a> {
    spec: OutputSpec<'a>,
    current: Option<Current>,
    last_user_key: Vec<u8>,
    done: Vec<FileMeta>,
}

impl<'a> Output<'a> {
    /// Nothing written yet.
    pub fn new(spec: OutputSpec<'a>) -> Self {
        Self {
            spec,
            current: None,
            last_user_key: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Adds the next entry. Versions of one user key stay together: a file ends only between user keys.
    pub fn add(&mut self, internal_key: &[u8], value: &[u8]) -> Result<()> {
        let user_key = user_key_of(internal_key);
        if let Some(current) = &mut self.current {
            let size = current.builder.estimated_size();
            if size >= current.limited + LIMIT_STEP {
                let host = self.spec.host;
                self.spec
                    .limiter
                    .take(size - current.limited, || host.check_stop())?;
                current.limited = size;
            }
            let index = index_id_of(user_key);
            let full = size >= self.spec.target_size
                || (index != current.index && size >= self.spec.target_size / BOUNDARY_FRACTION);
            current.index = index;
            if full && user_key != self.last_user_key {
                self.close_file()?;
            }
        }
        if self.current.is_none() {
            self.current = Some(self.start_file(user_key)?);
        }
        self.last_user_key.clear();
        self.last_user_key.extend_from_slice(user_key);
        match &mut self.current {
            Some(current) => current.builder.add(internal_key, value),
            None => Ok(()),
        }
    }

    fn start_file(&self, user_key: &[u8]) -> Result<Current> {
        let id = self.spec.host.next_file_id();
        let writer = self
            .spec
            .store
            .writer(&sst_key(id))
            .context(|| sst_key(id))?;
        let builder = SstBuilder::new(writer, self.spec.sst.clone());
        Ok(Current {
            id,
            builder,
            index: index_id_of(user_key),
            limited: 0,
        })
    }

    /// Ends the last file.
    pub fn close_file(&mut self) -> Result<()> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        let id = current.id;
        let summary = current.builder.finish().context(|| sst_key(id))?;
        self.done.push(FileMeta {
            id,
            size: summary.size,
            smallest: summary.smallest,
            largest: summary.largest,
            smallest_seq: summary.smallest_seq,
            largest_seq: summary.largest_seq,
            entries: summary.entries,
            deletions: summary.deletions,
            raw_bytes: summary.key_bytes + summary.value_bytes,
            file_seq: None,
            tail: Some(summary.tail),
        });
        Ok(())
    }

    /// Ends the last file and describes all, in key order.
    pub fn finish(mut self) -> Result<Vec<FileMeta>> {
        self.close_file()?;
        Ok(self.done)
    }

    /// Describes the files that are whole, in key order.
    pub fn into_files(self) -> Vec<FileMeta> {
        self.done
    }
}
