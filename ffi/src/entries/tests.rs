//! Every entry of the bridge, and every drop of a handle, with a panic in it: C++ is answered, the engine takes no writes any more, and reads go on.
//!
//! `unsafe` is here to call what C++ calls, and to stand in for what it hands over.

use std::collections::BTreeMap;
use std::path::Path;

use smartengine::failpoint::{Action, arm};

use super::*;

/// An engine as the plugin has it, with a committed row, a transaction that has begun, and a reader.
struct Session {
    engine: *mut EngineHandle,
    txn: Option<Box<TxnHandle>>,
    reader: Option<Box<ReaderHandle>>,
    entry: Entry,
    key: Vec<u8>,
    _dir: tempfile::TempDir,
}

const NOTHING: Bytes = Bytes {
    data: std::ptr::null(),
    size: 0,
};
const PLAIN: ReadSpec = ReadSpec {
    lock: LockMode::None,
    wait: LockWait::Wait,
    row_index: 0,
};

fn bytes(slice: &[u8]) -> Bytes {
    Bytes {
        data: slice.as_ptr(),
        size: slice.len(),
    }
}

pub fn options(dir: &Path) -> EngineOptions {
    EngineOptions {
        data_dir: dir.to_str().unwrap().to_owned(),
        wal_dir: String::new(),
        accept_lost_log: false,
        store_url: String::new(),
        persistent_cache_size: 0,
        persistent_cache_dir: String::new(),
        store_endpoint: String::new(),
        store_region: String::new(),
        store_path_style: PathStyle::Auto,
        store_ca_file: String::new(),
        store_request_timeout_ms: 1000,
        store_deadline_ms: 1000,
        store_max_connections: 4,
        block_size: 4096,
        block_cache_size: 1 << 20,
        memtable_size: 1 << 20,
        total_memtable_size: 4 << 20,
        total_wal_size: 64 << 20,
        compaction_threads: 1,
        level0_file_num_compaction_trigger: 4,
        rate_limiter_bytes_per_sec: 0,
        compression_per_level: String::new(),
        max_row_locks: 1000,
        transaction_memory: 1 << 20,
        flush_log_at_trx_commit: 1,
        disable_auto_compactions: false,
        wal_upload_interval_ms: 200,
        wal_upload_size: 1 << 20,
        wal_upload_threads: 1,
        max_unuploaded_wal: 1 << 30,
        store_wait_timeout: 1,
        gc_grace_period: 1,
        writer: "test".to_owned(),
        server_version: 80_036,
        newest_server_version: 80_099,
    }
}

fn dynamic_options() -> DynamicOptions {
    DynamicOptions {
        block_cache_size: 1 << 20,
        memtable_size: 1 << 20,
        total_memtable_size: 4 << 20,
        level0_file_num_compaction_trigger: 4,
        rate_limiter_bytes_per_sec: 0,
        flush_log_at_trx_commit: 1,
        max_row_locks: 1000,
        transaction_memory: 1 << 20,
        disable_auto_compactions: false,
        pause_background_work: false,
        wal_upload_interval_ms: 200,
        wal_upload_size: 1 << 20,
        max_unuploaded_wal: 1 << 30,
        store_wait_timeout: 1,
    }
}

fn put(txn: &mut TxnHandle, key: &[u8]) -> Status {
    let op = WriteOp {
        kind: OpKind::Put,
        key: bytes(key),
        value: bytes(b"value"),
    };
    txn_apply(txn, &[op])
}

impl Session {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine_open(&options(dir.path()));
        assert!(!engine.is_null(), "{}", last_error());
        // SAFETY: it is open until `end`.
        let handle = unsafe { &*engine };
        let mut first = 0;
        assert_eq!(engine_allocate_indexes(handle, 1, &mut first), Status::OK);
        let key = [&first.to_be_bytes()[..], b"row"].concat();
        let mut txn = txn_begin(handle, Isolation::RepeatableRead);
        assert_eq!(put(&mut txn, &key), Status::OK);
        assert_eq!(txn_commit(&mut txn, true), Status::OK);
        txn_restart(&mut txn, Isolation::RepeatableRead);
        Self {
            engine,
            txn: Some(txn),
            reader: Some(reader_create(handle)),
            entry: Entry {
                key: NOTHING,
                value: NOTHING,
                row_key: NOTHING,
                row: NOTHING,
                unlocked: false,
                own_row: false,
            },
            key,
            _dir: dir,
        }
    }

    fn engine(&self) -> &'static EngineHandle {
        // SAFETY: it is open until `end`, and no test keeps this longer.
        unsafe { &*self.engine }
    }

    fn txn(&mut self) -> &mut TxnHandle {
        self.txn.as_mut().unwrap()
    }

    /// The arguments of a read.
    fn read(&mut self) -> (&mut ReaderHandle, &mut TxnHandle, &mut Entry, &[u8]) {
        let (reader, txn) = (self.reader.as_mut().unwrap(), self.txn.as_mut().unwrap());
        (reader, txn, &mut self.entry, &self.key)
    }

    /// No writes, and reads as before; then the engine is closed.
    fn end(mut self, entry: &str) {
        let closed = self.engine.is_null();
        if !closed {
            let engine = self.engine();
            let mut txn = txn_begin(engine, Isolation::RepeatableRead);
            assert_eq!(put(&mut txn, &self.key), Status::OK);
            let refused = txn_commit(&mut txn, true);
            assert_eq!(refused.code, Code::ReadOnly, "{entry}");
            assert!(
                last_error().contains("a defect"),
                "{entry}: {}",
                last_error()
            );
            assert_eq!(engine_check_writes(engine).code, Code::ReadOnly, "{entry}");
            txn_restart(&mut txn, Isolation::RepeatableRead);
            let mut reader = reader_create(engine);
            let key = self.key.clone();
            let read = reader_get(&mut reader, &mut txn, &key, &PLAIN, &mut self.entry);
            assert_eq!(read, Status::OK, "{entry}: {}", last_error());
            drop((txn, reader));
        }
        (self.txn, self.reader) = (None, None);
        if !closed {
            // SAFETY: it is not used after this.
            let status = unsafe { engine_close(self.engine) };
            assert!(
                status == Status::OK || status.code == Code::ReadOnly,
                "{entry}: {status:?}"
            );
        }
    }
}

/// A failure is what the status says.
fn panicked(status: Status) {
    assert_eq!(status.code, Code::Panic);
}

/// An answer that is no status is empty.
fn empty<T: Default + std::fmt::Debug>(answer: T) {
    assert_eq!(format!("{answer:?}"), format!("{:?}", T::default()));
}

/// A handle that could not be made is refused by whatever is called with it.
fn refused(status: Status) {
    assert_eq!(status.code, Code::Internal);
    assert!(
        last_error().contains("could not be made"),
        "{}",
        last_error()
    );
}

type Call = fn(&mut Session);

/// A call of each entry, to which a panic comes.
const CALLS: &[(&str, Call)] = &[
    ("last_error", |_| empty(last_error())),
    // SAFETY: 0 is no sink.
    ("set_log_sink", |_| unsafe { set_log_sink(0) }),
    ("failpoint", |_| panicked(failpoint("catalog.replayed"))),
    ("crc32c", |_| empty(crc32c(b"123456789"))),
    ("engine_open", |s| {
        let dir = s._dir.path().join("other");
        assert!(engine_open(&options(&dir)).is_null());
        assert!(!dir.exists());
    }),
    // SAFETY: what is not closed stays open.
    ("engine_close", |s| {
        panicked(unsafe { engine_close(s.engine) })
    }),
    ("engine_set_options", |s| {
        panicked(engine_set_options(s.engine(), &dynamic_options()))
    }),
    ("engine_allocate_indexes", |s| {
        panicked(engine_allocate_indexes(s.engine(), 1, &mut 0))
    }),
    ("engine_drop_indexes", |s| {
        panicked(engine_drop_indexes(s.engine(), &[9]))
    }),
    ("engine_retain_indexes", |s| {
        panicked(engine_retain_indexes(s.engine(), &[9], &mut 0))
    }),
    ("engine_unnamed_indexes", |s| {
        panicked(engine_unnamed_indexes(s.engine(), &[9], &mut 0))
    }),
    ("engine_range_stats", |s| {
        empty(engine_range_stats(s.engine(), b"\0\0\0\x01", b"\0\0\0\xff"))
    }),
    ("engine_flush", |s| panicked(engine_flush(s.engine()))),
    ("engine_compact", |s| panicked(engine_compact(s.engine()))),
    ("engine_sync_wal", |s| {
        panicked(engine_sync_wal(s.engine(), false))
    }),
    ("engine_syncs_each_commit", |s| {
        empty(engine_syncs_each_commit(s.engine()))
    }),
    ("engine_recovered_last_key", |s| {
        empty(engine_recovered_last_key(s.engine(), 1))
    }),
    ("txn_holds_nothing", |s| empty(txn_holds_nothing(s.txn()))),
    ("engine_visible", |s| empty(engine_visible(s.engine()))),
    ("engine_check_writes", |s| {
        panicked(engine_check_writes(s.engine()))
    }),
    ("engine_log_end", |s| empty(engine_log_end(s.engine()))),
    ("engine_want_uploaded", |s| {
        engine_want_uploaded(s.engine(), 1)
    }),
    ("engine_wait_uploaded", |s| {
        panicked(engine_wait_uploaded(s.engine(), 1, 1, &mut false))
    }),
    ("engine_stats", |s| empty(engine_stats(s.engine()))),
    ("engine_status_text", |s| {
        empty(engine_status_text(s.engine()))
    }),
    ("engine_transactions", |s| {
        assert!(engine_transactions(s.engine()).is_empty())
    }),
    ("engine_locks", |s| {
        assert!(engine_locks(s.engine(), 10).is_empty())
    }),
    ("engine_object_store", |s| {
        assert!(engine_object_store(s.engine()).is_empty())
    }),
    ("engine_server_version", |s| {
        empty(engine_server_version(s.engine()))
    }),
    ("engine_raise_server_version", |s| {
        panicked(engine_raise_server_version(s.engine(), 80_036))
    }),
    ("server_version_refusal", |_| {
        assert!(server_version_refusal(90_704, 80_036, 80_099).is_empty())
    }),
    ("engine_counter", |s| {
        panicked(engine_counter(s.engine(), b"\0\0\0\0c", &mut 0))
    }),
    ("engine_interrupt", |s| engine_interrupt(s.engine(), 1)),
    // SAFETY: the panic comes before the address is looked at.
    ("engine_observe_waits", |s| unsafe {
        engine_observe_waits(s.engine(), 1)
    }),
    ("engine_prepared", |s| {
        assert!(engine_prepared(s.engine()).is_empty())
    }),
    ("engine_detach", |s| {
        panicked(engine_detach(s.engine(), s.txn.take().unwrap()))
    }),
    ("engine_decide", |s| {
        panicked(engine_decide(s.engine(), b"x", true))
    }),
    ("engine_note_in_coordinator", |s| {
        panicked(engine_note_in_coordinator(s.engine(), b"x"))
    }),
    ("txn_begin", |s| {
        let mut txn = txn_begin(s.engine(), Isolation::RepeatableRead);
        refused(txn_commit(&mut txn, true));
        empty(txn_id(&txn));
        refused(engine_detach(s.engine(), txn));
    }),
    ("txn_id", |s| empty(txn_id(s.txn()))),
    ("txn_start_statement", |s| txn_start_statement(s.txn())),
    ("txn_take_snapshot", |s| {
        panicked(txn_take_snapshot(s.txn()))
    }),
    ("txn_set_label", |s| txn_set_label(s.txn(), 1)),
    ("txn_set_lock_wait_timeout", |s| {
        txn_set_lock_wait_timeout(s.txn(), 1)
    }),
    ("txn_has_writes", |s| empty(txn_has_writes(s.txn()))),
    ("txn_snapshot", |s| empty(txn_snapshot(s.txn()))),
    ("txn_saw_newer", |s| empty(txn_saw_newer(s.txn()))),
    ("txn_apply", |s| {
        let key = s.key.clone();
        panicked(put(s.txn(), &key));
    }),
    ("txn_raise_counter", |s| {
        panicked(txn_raise_counter(s.txn(), b"\0\0\0\0c", 5))
    }),
    ("txn_savepoint", |s| empty(txn_savepoint(s.txn()))),
    ("txn_rollback_to", |s| panicked(txn_rollback_to(s.txn(), 0))),
    ("txn_commit", |s| panicked(txn_commit(s.txn(), true))),
    ("txn_rollback", |s| panicked(txn_rollback(s.txn()))),
    ("txn_log_end", |s| empty(txn_log_end(s.txn()))),
    ("txn_prepare", |s| {
        panicked(txn_prepare(s.txn(), b"x", true))
    }),
    ("txn_note_in_coordinator", |s| {
        panicked(txn_note_in_coordinator(s.txn(), true))
    }),
    ("txn_restart", |s| {
        txn_restart(s.txn(), Isolation::ReadCommitted)
    }),
    ("reader_create", |s| {
        let mut reader = reader_create(s.engine());
        let (_, txn, entry, _) = s.read();
        refused(reader_next(&mut reader, txn, entry));
    }),
    ("reader_get", |s| {
        let (reader, txn, entry, key) = s.read();
        panicked(reader_get(reader, txn, key, &PLAIN, entry));
    }),
    ("reader_open", |s| {
        let (reader, txn, _, key) = s.read();
        panicked(reader_open(reader, txn, key, b"\0\0\0\xff", &PLAIN));
    }),
    ("reader_seek", |s| {
        let (reader, txn, entry, key) = s.read();
        panicked(reader_seek(reader, txn, Seek::First, key, entry));
    }),
    ("reader_next", |s| {
        let (reader, txn, entry, _) = s.read();
        panicked(reader_next(reader, txn, entry));
    }),
    ("reader_prev", |s| {
        let (reader, txn, entry, _) = s.read();
        panicked(reader_prev(reader, txn, entry));
    }),
    ("reader_fetch_row", |s| {
        let (reader, txn, entry, _) = s.read();
        panicked(reader_fetch_row(reader, txn, &PLAIN, entry));
    }),
    ("reader_set_wait", |s| {
        let (reader, txn, ..) = s.read();
        reader_set_wait(reader, txn, LockWait::NoWait);
    }),
    ("reader_unlock_row", |s| {
        let (reader, txn, ..) = s.read();
        reader_unlock_row(reader, txn);
    }),
    ("reader_close", |s| reader_close(s.read().0)),
];

/// The failure point of each handle's drop, and a drop.
const DROPS: &[(&str, &str, Call)] = &[
    ("EngineHandle", "ffi.drop_engine", |s| {
        (s.txn, s.reader) = (None, None);
        let engine = std::mem::replace(&mut s.engine, std::ptr::null_mut());
        // SAFETY: it is not used after this.
        drop(unsafe { Box::from_raw(engine) });
    }),
    ("TxnHandle", "ffi.drop_txn", |s| {
        let key = s.key.clone();
        assert_eq!(put(s.txn(), &key), Status::OK);
        s.txn = None;
    }),
    ("ReaderHandle", "ffi.drop_reader", |s| s.reader = None),
];

fn check(point: &str, call: Call) {
    let mut session = Session::new();
    let armed = arm(point, Action::Panic, 1);
    call(&mut session);
    assert_eq!(armed.hits(), 1, "{point} was not passed: it has no guard");
    drop(armed);
    session.end(point);
}

#[test]
fn a_panic_in_any_entry_or_drop_is_answered_and_stops_writes() {
    let calls: BTreeMap<&str, Call> = CALLS.iter().copied().collect();
    let declared: Vec<&str> = ENTRIES.to_vec();
    for name in &declared {
        let call = calls.get(name).unwrap_or_else(|| {
            panic!("bridge.rs declares {name}: the test has to call it, in CALLS")
        });
        check(&format!("ffi.{name}"), *call);
    }
    assert_eq!(
        calls.len(),
        declared.len(),
        "CALLS has what bridge.rs has not"
    );
    for handle in HANDLES {
        let drop = DROPS.iter().find(|(name, ..)| name == handle);
        let (_, point, call) = drop.unwrap_or_else(|| {
            panic!("bridge.rs declares {handle}: the test has to drop it, in DROPS")
        });
        check(point, *call);
    }
}
