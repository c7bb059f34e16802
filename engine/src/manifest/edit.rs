//! What a manifest object says: files and the changes between two versions.

use crate::format::number::parse_number;
use crate::types::{IndexId, InternalKeyBuf, SeqNo};

/// Levels of the tree; 0 holds flushed memtables, which overlap, and the others are sorted.
pub const LEVELS: usize = 7;

/// One SST, as the manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMeta {
    /// Its number, unique over all writers: `epoch << 40 | counter`.
    pub id: u64,
    /// Size of the object in bytes.
    pub size: u64,
    /// Its first internal key.
    pub smallest: InternalKeyBuf,
    /// Its last internal key.
    pub largest: InternalKeyBuf,
    /// The least sequence number in it.
    pub smallest_seq: SeqNo,
    /// The greatest sequence number in it.
    pub largest_seq: SeqNo,
    /// Entries in it.
    pub entries: u64,
    /// How many of them are deletions.
    pub deletions: u64,
    /// Bytes of keys and values before prefixing and compression.
    pub raw_bytes: u64,
    /// The sequence number of all its entries, whatever the file itself says: it was written without numbers, before its commit had one.
    pub file_seq: Option<SeqNo>,
    /// Bytes behind its data: filter, index and what else is needed to open it. `None` where that was not noted down.
    pub tail: Option<u64>,
}

impl FileMeta {
    /// The description of a file that was written without a sequence number, now that its commit has the number `seq`.
    #[must_use]
    pub fn numbered(mut self, seq: SeqNo) -> Self {
        for key in [&mut self.smallest, &mut self.largest] {
            let renumbered = key.as_ref().trailer_at(seq);
            let user = key.user_key().to_vec();
            key.set(&user, renumbered);
        }
        self.smallest_seq = seq;
        self.largest_seq = seq;
        self.file_seq = Some(seq);
        self
    }
}

/// The difference between two versions. What is `None` or empty stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionEdit {
    /// A writer attached: its epoch, one more than the last, and its name.
    pub epoch: Option<(u64, String)>,
    /// The log position below which everything is in SSTs.
    pub wal_floor: Option<u64>,
    /// Commits up to this one are in SSTs, wholly.
    pub last_seq: Option<SeqNo>,
    /// The last commit whose writes came as files; all of those up to this one are in.
    pub last_ingest_seq: Option<SeqNo>,
    /// No file has this number or a greater one.
    pub next_file: Option<u64>,
    /// No index has this id or a greater one.
    pub index_ceiling: Option<IndexId>,
    /// Files that are added, with their level.
    pub added: Vec<(usize, FileMeta)>,
    /// Files that are removed: level and number. A file moves by being removed at one level and added at another.
    pub deleted: Vec<(usize, u64)>,
    /// Indexes that are dropped, each with the file number from which on files are written without its entries.
    pub dropped_indexes: Vec<(IndexId, u64)>,
    /// Dropped indexes of which no file holds anything any longer.
    pub forgotten_indexes: Vec<IndexId>,
    /// The first chunk of the log in the store that is still needed, where the log is kept there.
    pub first_chunk: Option<u64>,
    /// The number that the attached writer drew.
    pub writer_id: Option<u128>,
    /// The highest version that the program which uses the engine has said it is of.
    pub user_version: Option<u64>,
}

/// The key of an SST's object.
pub fn sst_key(id: u64) -> String {
    format!("sst/{id:020}.sst")
}

/// The number of the SST that an object's key names, if it names one.
pub fn parse_sst_key(key: &str) -> Option<u64> {
    parse_number(key.strip_prefix("sst/")?.strip_suffix(".sst")?)
}

/// The least file number of an epoch. Since epochs only rise, a writer that was superseded never writes to a name that is in use.
pub fn first_file_of_epoch(epoch: u64) -> u64 {
    epoch << FILE_COUNTER_BITS
}

/// Low bits of a file number that count within an epoch.
pub(super) const FILE_COUNTER_BITS: u32 = 40;
