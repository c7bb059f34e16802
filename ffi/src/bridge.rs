//! The signatures that C++ sees, and nothing else: bodies are in the sibling files, named by the noun of the function.
//!
//! Rules. A function that can fail returns [`api::Status`]; the message of the last failure on this thread is
//! [`api::last_error`]. No function unwinds, nor does dropping a handle: `build.rs` puts the guard around whatever is declared here.
//! Pointers in a [`api::Bytes`] that Rust hands out stay good until the next call with the same reader; those that C++ passes in are
//! read only during the call. A transaction and its readers belong to one thread at a time; `engine_interrupt` may be called from any thread.

use crate::engine::EngineHandle;
use crate::entries::*;
use crate::reader::ReaderHandle;
use crate::txn::TxnHandle;

#[cxx::bridge(namespace = "smartengine::ffi")]
#[allow(clippy::missing_safety_doc)]
pub mod api {
    /// What happened; each value but `Ok`, `NotFound` and `Panic` is an `ErrorKind` of the engine.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    enum Code {
        Ok,
        /// No such key, or the scan is at its end.
        NotFound,
        Invalid,
        Duplicate,
        LockTimeout,
        LockNotAvailable,
        Deadlock,
        LockLimit,
        Interrupted,
        Corruption,
        ObjectMissing,
        AlreadyExists,
        Unavailable,
        OutOfSpace,
        Fenced,
        ReadOnly,
        Internal,
        /// A panic was caught; the engine takes no writes any more.
        Panic,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Status {
        code: Code,
        /// For `Duplicate`: the place in the slice of `WriteOp` whose key exists.
        op: u32,
    }

    /// Borrowed bytes.
    #[derive(Clone, Copy)]
    struct Bytes {
        data: *const u8,
        size: usize,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    enum OpKind {
        /// Writes a key that is there. The caller holds the row's lock already, or the key ends with a locked row's primary key.
        Put,
        /// Writes a key that is new and ends with a locked row's primary key. Waits while another has locked the gap it goes into.
        Add,
        /// Locks the key exclusively; `Duplicate` if it exists in the newest committed state or among own writes, which stays locked shared;
        /// else writes it.
        Insert,
        /// As `Insert`; a duplicate stays locked exclusively.
        InsertForUpdate,
        /// Removes the key, whether or not it is there; takes no lock.
        Delete,
        /// Locks the key exclusively, then removes it. For a unique key of its own lock: who inserts the same key waits.
        LockDelete,
    }

    #[derive(Clone, Copy)]
    struct WriteOp {
        kind: OpKind,
        key: Bytes,
        value: Bytes,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    enum Isolation {
        ReadUncommitted,
        ReadCommitted,
        RepeatableRead,
        Serializable,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    enum LockMode {
        /// A consistent read from the transaction's snapshot.
        None,
        /// Locks the row, shared, and reads its newest committed version.
        Shared,
        /// Locks the row, exclusively, and reads its newest committed version.
        Exclusive,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    enum LockWait {
        Wait,
        /// `LockNotAvailable` at once where another holds the lock.
        NoWait,
        /// Rows that another holds locked are passed over (`NotFound` for a point read).
        SkipLocked,
        /// A scan shows rows that another holds locked as they were last committed (`Entry::unlocked`); the next step after such a row
        /// reads it again and waits for it, unless `reader_unlock_row` comes before. Point reads wait.
        SemiConsistent,
    }

    #[derive(Clone, Copy)]
    struct ReadSpec {
        lock: LockMode,
        wait: LockWait,
        /// 0: the entries of the index itself are wanted. Otherwise the entries are those of a secondary index, and the row each stands for is
        /// read (and locked) from the primary index of this id.
        row_index: u32,
    }

    /// Where a seek goes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    enum Seek {
        /// To the first entry at or after the key.
        AtOrAfter,
        /// To the last entry before the key.
        Before,
        /// To the first entry of the range.
        First,
        /// To the last entry of the range.
        Last,
    }

    /// An entry that a reader stands on.
    ///
    /// A secondary entry tells where its row is by the start of its value, as engine/src/db/locking_read/locator.rs specifies; what follows belongs to
    /// the plugin.
    #[derive(Clone, Copy)]
    struct Entry {
        /// The entry's key, with its index id.
        key: Bytes,
        /// The entry's value; for a primary index, the row.
        value: Bytes,
        /// With `row_index`: the row's key, with its index id.
        row_key: Bytes,
        /// With `row_index`: the row.
        row: Bytes,
        /// Whether it is shown without the lock asked for.
        unlocked: bool,
        /// With `row_index`, without a lock: the transaction itself wrote the row, so it may not have the columns that the entry says
        /// (only where `txn_saw_newer`).
        own_row: bool,
    }

    /// Whether a bucket stands in the path of a request.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    enum PathStyle {
        /// As it is usual for the endpoint.
        Auto,
        Off,
        On,
    }

    /// Options at open; sizes in bytes, zero is not "default": the plugin passes its variables' values.
    struct EngineOptions {
        data_dir: String,
        wal_dir: String,
        /// Whether a store whose log is not in `wal_dir` is opened without it.
        accept_lost_log: bool,
        store_url: String,
        /// Bytes of a local disk for pieces of the store's objects; 0 for none.
        persistent_cache_size: u64,
        persistent_cache_dir: String,
        /// How the store is reached, where its URL does not say: empty strings say nothing.
        store_endpoint: String,
        store_region: String,
        store_path_style: PathStyle,
        store_ca_file: String,
        store_request_timeout_ms: u64,
        store_deadline_ms: u64,
        store_max_connections: u64,
        block_size: u64,
        block_cache_size: u64,
        memtable_size: u64,
        total_memtable_size: u64,
        total_wal_size: u64,
        compaction_threads: u32,
        level0_file_num_compaction_trigger: u32,
        rate_limiter_bytes_per_sec: u64,
        compression_per_level: String,
        max_row_locks: u64,
        transaction_memory: u64,
        flush_log_at_trx_commit: u32,
        disable_auto_compactions: bool,
        wal_upload_interval_ms: u64,
        wal_upload_size: u64,
        wal_upload_threads: u32,
        max_unuploaded_wal: u64,
        store_wait_timeout: u64,
        gc_grace_period: u64,
        /// What names this writer in the manifest: host, port and process.
        writer: String,
        /// The server's version, as MYSQL_VERSION_ID has it.
        server_version: u32,
        /// The highest version of a server whose store this one takes.
        newest_server_version: u32,
    }

    /// Variables that may change while the engine runs; same units as in `EngineOptions`.
    struct DynamicOptions {
        block_cache_size: u64,
        memtable_size: u64,
        total_memtable_size: u64,
        level0_file_num_compaction_trigger: u32,
        rate_limiter_bytes_per_sec: u64,
        flush_log_at_trx_commit: u32,
        max_row_locks: u64,
        transaction_memory: u64,
        disable_auto_compactions: bool,
        pause_background_work: bool,
        wal_upload_interval_ms: u64,
        wal_upload_size: u64,
        max_unuploaded_wal: u64,
        /// Seconds.
        store_wait_timeout: u64,
    }

    /// A prepared transaction that no session holds.
    struct PreparedTransaction {
        name: Vec<u8>,
        /// Whether `txn_note_in_coordinator` was called for it.
        in_coordinator: bool,
        /// The indexes it writes to.
        indexes: Vec<u32>,
    }

    /// How much a key range holds: estimates from file indexes and memtables.
    #[derive(Clone, Copy, Debug, Default)]
    struct RangeStats {
        entries: u64,
        bytes: u64,
    }

    /// Counters since open, and gauges.
    #[derive(Clone, Debug, Default)]
    struct EngineStats {
        memtable_bytes: u64,
        immutable_memtables: u64,
        block_cache_bytes: u64,
        block_cache_hits: u64,
        block_cache_misses: u64,
        filter_hits: u64,
        filter_misses: u64,
        persistent_cache_bytes: u64,
        persistent_cache_hits: u64,
        persistent_cache_misses: u64,
        persistent_cache_hit_bytes: u64,
        persistent_cache_fetched_bytes: u64,
        persistent_cache_written_bytes: u64,
        persistent_cache_evictions: u64,
        persistent_cache_damaged: u64,
        wal_bytes_written: u64,
        wal_appends: u64,
        wal_syncs: u64,
        wal_group_commits: u64,
        commits: u64,
        rollbacks: u64,
        flushes: u64,
        flush_bytes: u64,
        compactions: u64,
        compaction_read_bytes: u64,
        compaction_write_bytes: u64,
        stall_micros: u64,
        stalls: u64,
        sst_files: u64,
        sst_bytes: u64,
        row_locks: u64,
        lock_waits: u64,
        lock_timeouts: u64,
        deadlocks: u64,
        active_transactions: u64,
        snapshots: u64,
        spilled_transactions: u64,
        spilled_bytes: u64,
        ingested_files: u64,
        ingested_bytes: u64,
        /// Pieces of the log that were sent to the store.
        wal_chunks_uploaded: u64,
        wal_bytes_uploaded: u64,
        /// Bytes of log that are not in the store yet.
        wal_bytes_waiting: u64,
        /// Whether the last attempt to send the log failed.
        wal_upload_failing: u64,
        object_store_put: StoreRequests,
        object_store_get: StoreRequests,
        object_store_list: StoreRequests,
        object_store_delete: StoreRequests,
    }

    /// Requests to the store, of one kind or of several together.
    #[derive(Clone, Copy, Debug, Default)]
    struct StoreRequests {
        requests: u64,
        errors: u64,
        retries: u64,
        bytes_sent: u64,
        bytes_received: u64,
        /// Their latencies together, in microseconds.
        micros: u64,
    }

    /// Requests to the store of one kind.
    struct ObjectStoreRow {
        kind: String,
        all: StoreRequests,
        /// Latencies in microseconds.
        longest: u64,
        p50: u64,
        p99: u64,
    }

    /// A transaction that has locked or written something.
    struct TransactionRow {
        id: u64,
        /// What `txn_set_label` said.
        label: u64,
        /// Seconds since 1970.
        started: u64,
        isolation: Isolation,
        locks: u64,
        writes: u64,
        /// Bytes of memory that its writes take.
        memory: u64,
        /// Seconds since 1970; 0 where it does not wait for a lock.
        waiting_since: u64,
    }

    /// What a lock is on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    enum LockKind {
        /// A key.
        Row,
        /// The keys from `key` up to `end`, without that one; no `end` where it is waited for.
        Gap,
        /// A key that is to be added where another has locked the gap.
        Insertion,
    }

    /// A lock that is held or waited for.
    struct LockRow {
        txn: u64,
        kind: LockKind,
        mode: LockMode,
        /// With their index ids.
        key: Vec<u8>,
        end: Vec<u8>,
        /// The transactions that stand in its way; none for a lock that is held.
        blocked_by: Vec<u64>,
    }

    extern "Rust" {
        type EngineHandle;
        type TxnHandle;
        type ReaderHandle;

        /// The message of the last failure on this thread; outermost context first.
        fn last_error() -> String;
        /// Installs where log lines go: an `extern "C" void(uint8_t level, const uint8_t *text, size_t size)` with level 0 error, 1 warning,
        /// 2 information. It may be called from any thread, until the engine is closed.
        unsafe fn set_log_sink(sink: usize);
        /// Passes a failure point of the plugin's, which the environment may have armed in a test's build; the names are in ffi/src/failpoint.rs.
        fn failpoint(name: &str) -> Status;

        /// The checksum of the plugin's own formats, CRC-32C.
        fn crc32c(bytes: &[u8]) -> u32;

        // Engine (ffi/src/engine.rs).

        /// Opens or creates the store; null where it fails.
        fn engine_open(options: &EngineOptions) -> *mut EngineHandle;
        /// Stops every thread, keeps everything committed and frees the handle. No transaction or reader may be left.
        unsafe fn engine_close(engine: *mut EngineHandle) -> Status;
        fn engine_set_options(engine: &EngineHandle, options: &DynamicOptions) -> Status;
        /// Reserves `count` index ids that were never used; `first` is the lowest.
        fn engine_allocate_indexes(engine: &EngineHandle, count: u32, first: &mut u32) -> Status;
        /// Drops everything in these indexes, for good, in constant time. Called after the dictionary that named them has been committed.
        fn engine_drop_indexes(engine: &EngineHandle, indexes: &[u32]) -> Status;
        /// Drops every index that holds data and is not in `named`; returns how many through `dropped`. For use at start, once recovery is over.
        fn engine_retain_indexes(engine: &EngineHandle, named: &[u32], dropped: &mut u32)
        -> Status;
        /// How many indexes hold rows and are not in `named`.
        fn engine_unnamed_indexes(engine: &EngineHandle, named: &[u32], found: &mut u32) -> Status;
        fn engine_range_stats(engine: &EngineHandle, lower: &[u8], upper: &[u8]) -> RangeStats;
        /// Writes all memtables to the store and waits for it.
        fn engine_flush(engine: &EngineHandle) -> Status;
        /// Compacts everything to the bottom level and waits for it.
        fn engine_compact(engine: &EngineHandle) -> Status;
        /// Makes every commit and prepare so far durable. Where it is for a `group` of commits, only if flush_log_at_trx_commit is 1.
        fn engine_sync_wal(engine: &EngineHandle, group: bool) -> Status;
        /// Whether commits are synced one by one, or a group at a time.
        fn engine_syncs_each_commit(engine: &EngineHandle) -> bool;
        /// The sequence number of the newest commit that a snapshot taken now would see.
        fn engine_visible(engine: &EngineHandle) -> u64;
        /// Fails, and says why, if no writes are taken any more.
        fn engine_check_writes(engine: &EngineHandle) -> Status;
        /// The position in the log after its last record.
        fn engine_log_end(engine: &EngineHandle) -> u64;
        /// Has the log sent to the store up to `position` without delay.
        fn engine_want_uploaded(engine: &EngineHandle, position: u64);
        /// Waits up to `millis` for the log to be in the store up to `position`; `done` says whether it is. At once where the log is not kept there.
        fn engine_wait_uploaded(
            engine: &EngineHandle,
            position: u64,
            millis: u64,
            done: &mut bool,
        ) -> Status;
        fn engine_stats(engine: &EngineHandle) -> EngineStats;
        /// The report for SHOW ENGINE … STATUS.
        fn engine_status_text(engine: &EngineHandle) -> String;
        /// The transactions that have locked or written something, by id.
        fn engine_transactions(engine: &EngineHandle) -> Vec<TransactionRow>;
        /// Up to `limit` locks: first those that are waited for, then gaps, then those on keys.
        fn engine_locks(engine: &EngineHandle, limit: u64) -> Vec<LockRow>;
        /// What the requests to the store came to, by kind.
        fn engine_object_store(engine: &EngineHandle) -> Vec<ObjectStoreRow>;
        /// The highest version of a server that has written to the store; 0 if none has said so.
        fn engine_server_version(engine: &EngineHandle) -> u32;
        /// Has the store say so, durably, before this returns.
        fn engine_raise_server_version(engine: &EngineHandle, version: u32) -> Status;
        /// Why a server of version `own`, which takes the stores of versions up to `newest`, does not take one that `stored` has written to; empty if it does.
        fn server_version_refusal(stored: u32, own: u32, newest: u32) -> String;
        /// A committed counter's value; 0 if it was never raised.
        fn engine_counter(engine: &EngineHandle, key: &[u8], value: &mut u64) -> Status;
        /// Wakes the transaction of this id if it waits for a lock: its call returns `Interrupted`.
        fn engine_interrupt(engine: &EngineHandle, txn_id: u64);
        /// Has `observer`, the address of a `void (uint64_t waiting, uint64_t awaited)`, called with the labels of two transactions when the one is
        /// about to wait for the other. It must not call the engine.
        unsafe fn engine_observe_waits(engine: &EngineHandle, observer: usize);

        // Prepared transactions without a session (ffi/src/prepared.rs).

        /// All of them: after an open, those that wait for the coordinator's decision.
        fn engine_prepared(engine: &EngineHandle) -> Vec<PreparedTransaction>;
        /// The greatest key of an index that was written by a transaction which the open found prepared, decided by now or not; empty if there is none.
        fn engine_recovered_last_key(engine: &EngineHandle, index: u32) -> Vec<u8>;
        /// Takes over a prepared transaction from its session.
        fn engine_detach(engine: &EngineHandle, txn: Box<TxnHandle>) -> Status;
        /// Commits the prepared transaction of this name, or rolls it back; `NotFound` if there is none.
        fn engine_decide(engine: &EngineHandle, name: &[u8], commit: bool) -> Status;
        /// Records that the coordinator knows of the prepared transaction of this name; `NotFound` if there is none.
        fn engine_note_in_coordinator(engine: &EngineHandle, name: &[u8]) -> Status;

        // Transaction (ffi/src/txn.rs).

        fn txn_begin(engine: &EngineHandle, isolation: Isolation) -> Box<TxnHandle>;
        fn txn_id(txn: &TxnHandle) -> u64;
        /// Starts a statement: in READ COMMITTED and below the next read takes a new snapshot.
        fn txn_start_statement(txn: &mut TxnHandle);
        /// Takes the snapshot now (START TRANSACTION WITH CONSISTENT SNAPSHOT).
        fn txn_take_snapshot(txn: &mut TxnHandle) -> Status;
        /// What listings call it by, from its next lock or write on.
        fn txn_set_label(txn: &mut TxnHandle, label: u64);
        fn txn_set_lock_wait_timeout(txn: &mut TxnHandle, millis: u64);
        /// Whether the transaction has written anything.
        fn txn_has_writes(txn: &TxnHandle) -> bool;
        /// Whether it has no writes and no locks, on keys or gaps.
        fn txn_holds_nothing(txn: &TxnHandle) -> bool;
        /// The sequence number of its snapshot, 0 if it has taken none.
        fn txn_snapshot(txn: &TxnHandle) -> u64;
        /// Whether it has locked a row in a version that its snapshot does not see. What it writes to such rows must then be found through every
        /// index: all entries are written anew, and entries of the snapshot that lead to its own rows are compared with them.
        fn txn_saw_newer(txn: &TxnHandle) -> bool;
        /// Does the operations in order, so that each sees what those before it did; on any error none of them is written, and the place of the
        /// one that failed is `op`.
        fn txn_apply(txn: &mut TxnHandle, ops: &[WriteOp]) -> Status;
        /// The counter becomes at least `value` when the transaction ends, by commit or by rollback. That of a prepared one goes with its
        /// decision.
        fn txn_raise_counter(txn: &mut TxnHandle, key: &[u8], value: u64) -> Status;
        /// A place to roll back to; places nest.
        fn txn_savepoint(txn: &mut TxnHandle) -> u64;
        /// Undoes every write since the savepoint; its locks stay.
        fn txn_rollback_to(txn: &mut TxnHandle, savepoint: u64) -> Status;
        /// Commits; with `sync` returns once durable (subject to flush_log_at_trx_commit). The handle can be used for the next transaction
        /// after `txn_restart`.
        fn txn_commit(txn: &mut TxnHandle, sync: bool) -> Status;
        fn txn_rollback(txn: &mut TxnHandle) -> Status;
        /// The position in the log after what the transaction logged last; 0 if it logged nothing.
        fn txn_log_end(txn: &TxnHandle) -> u64;
        /// First phase of a commit: keeps the writes in the log under `name`, to be decided by commit or rollback, here or after a crash.
        fn txn_prepare(txn: &mut TxnHandle, name: &[u8], sync: bool) -> Status;
        /// Records that the coordinator knows of this prepared transaction.
        fn txn_note_in_coordinator(txn: &mut TxnHandle, sync: bool) -> Status;
        /// Makes an ended transaction new, with a new id, keeping its memory.
        fn txn_restart(txn: &mut TxnHandle, isolation: Isolation);

        // Reader (ffi/src/reader.rs): one per handler; it holds what its last entry points into.

        fn reader_create(engine: &EngineHandle) -> Box<ReaderHandle>;
        /// A point read by the full key. With `row_index`, `key` is a unique secondary key.
        fn reader_get(
            reader: &mut ReaderHandle,
            txn: &mut TxnHandle,
            key: &[u8],
            spec: &ReadSpec,
            entry: &mut Entry,
        ) -> Status;
        /// Prepares a scan of [lower, upper); both have the same index id, or `upper` is the next index id. Reads nothing yet.
        fn reader_open(
            reader: &mut ReaderHandle,
            txn: &mut TxnHandle,
            lower: &[u8],
            upper: &[u8],
            spec: &ReadSpec,
        ) -> Status;
        fn reader_seek(
            reader: &mut ReaderHandle,
            txn: &mut TxnHandle,
            seek: Seek,
            key: &[u8],
            entry: &mut Entry,
        ) -> Status;
        /// To the next entry, or to the first where the scan was only opened.
        fn reader_next(reader: &mut ReaderHandle, txn: &mut TxnHandle, entry: &mut Entry)
        -> Status;
        /// To the entry before, or to the last where the scan was only opened.
        fn reader_prev(reader: &mut ReaderHandle, txn: &mut TxnHandle, entry: &mut Entry)
        -> Status;
        /// Reads, and locks as `spec` says, the row of the entry that an open scan with `row_index` 0 stands on.
        fn reader_fetch_row(
            reader: &mut ReaderHandle,
            txn: &mut TxnHandle,
            spec: &ReadSpec,
            entry: &mut Entry,
        ) -> Status;
        /// Changes what an open scan does about rows that others hold.
        fn reader_set_wait(reader: &mut ReaderHandle, txn: &TxnHandle, wait: LockWait);
        /// Gives up the lock of the row read last, if this read took it (a row that the scan rejected).
        fn reader_unlock_row(reader: &mut ReaderHandle, txn: &mut TxnHandle);
        /// Ends a scan and lets go of everything pinned.
        fn reader_close(reader: &mut ReaderHandle);
    }
}
