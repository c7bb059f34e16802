//! Every named point on the way of a commit, a flush, a compaction, a drop and an open: the process is killed there, or what it was about fails.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smartengine::failpoint::{Action, ENVIRONMENT_VARIABLE, arm};
use smartengine::internals::env::fs::{FaultFs, PowerLoss};
use smartengine::internals::object_store::{LocalStore, MemoryStore};
use smartengine::{Engine, ErrorKind, Isolation, Options};

use crate::history::{
    self, ROWS, Writer, check_no_garbage, create, in_memory, in_store, make_and_drop_index, small,
};
use crate::{alone, with_others};

/// Each point, and the hits at which to act.
const POINTS: [(&str, &[u64]); 30] = [
    ("commit.appended", &[1, 40]),
    ("prepare.logged", &[1, 30]),
    ("wal.before_append", &[30]),
    ("wal.before_sync", &[1, 50]),
    ("wal.after_sync", &[1, 50]),
    ("wal.between_chunks", &[1]),
    ("wal.before_rotate", &[1]),
    ("flush.written", &[1, 3]),
    ("flush.installed", &[1, 3]),
    ("compaction.written", &[1, 2]),
    ("compaction.before_install", &[1]),
    ("compaction.installed", &[1, 2]),
    ("manifest.before_put", &[1, 6]),
    ("manifest.after_put", &[1, 6]),
    ("local_store.before_publish", &[1, 4]),
    ("local_store.before_sync_dir", &[1, 4]),
    ("drop.before_sync", &[1]),
    ("drop.before_install", &[1]),
    ("drop.installed", &[1]),
    ("open.replayed", &[1]),
    ("open.attached", &[1]),
    ("gc.before_delete", &[1]),
    ("spill.before_create", &[1, 30]),
    ("spill.created", &[1, 30]),
    ("spill.before_write", &[1, 30]),
    ("ingest.written", &[1, 20]),
    ("ingest.logged", &[1, 20]),
    ("ingest.flushed", &[1, 20]),
    ("ingest.before_install", &[1, 20]),
    ("ingest.installed", &[1, 20]),
];

/// Those of an engine that keeps its log in the store as well, and those that do other things there.
const POINTS_IN_STORE: [(&str, &[u64]); 20] = [
    ("remote_wal.before_cut", &[1, 30]),
    ("remote_wal.before_put", &[1, 30]),
    ("remote_wal.after_put", &[1, 30]),
    ("remote_wal.before_fence", &[1]),
    ("remote_wal.fenced", &[1]),
    ("open.replayed", &[1]),
    ("open.attached", &[1]),
    ("open.fenced", &[1]),
    ("commit.appended", &[20]),
    ("prepare.logged", &[10]),
    ("wal.after_sync", &[20]),
    ("flush.written", &[2]),
    ("flush.installed", &[2]),
    ("compaction.installed", &[1]),
    ("manifest.after_put", &[5]),
    ("drop.before_install", &[1]),
    ("drop.installed", &[1]),
    ("gc.before_delete", &[1]),
    ("ingest.logged", &[10]),
    ("ingest.installed", &[10]),
];

const CHILD: &str = "SMARTENGINE_TEST_CHILD";
const CHILD_IN_STORE: &str = "SMARTENGINE_TEST_CHILD_IN_STORE";
const WRITERS: u64 = 2;

/// The options of an engine in this folder, with its store beside it.
fn options(dir: &Path, in_store: bool) -> Options {
    let mut options = small(dir.join("engine"));
    if in_store {
        let store = LocalStore::open(dir.join("store")).unwrap();
        options = history::keep_log_in(options, Arc::new(store));
    }
    options
}

/// A writer whose commits are acknowledged by the disk, or, every second one, by the store, if that keeps the log.
fn writer(id: u64, in_store: bool) -> Writer {
    match in_store && id % 2 == 1 {
        true => Writer::in_store(id),
        false => Writer::new(id),
    }
}

/// Writes until the process is killed, noting each acknowledged commit in a file.
fn write_until_killed(dir: &Path, in_store: bool) {
    let engine = Engine::open(options(dir, in_store)).unwrap();
    std::thread::scope(|scope| {
        for id in 0..WRITERS {
            let (engine, path) = (&engine, dir.join(id.to_string()));
            scope.spawn(move || {
                let mut notes = OpenOptions::new().append(true).open(path).unwrap();
                let writer = writer(id, in_store);
                let before = notes.metadata().unwrap().len();
                writer.acknowledged.store(before, Ordering::Relaxed);
                for _ in 0..400 {
                    writer.write_one(engine).unwrap();
                    notes.write_all(b".").unwrap();
                }
            });
        }
        for _ in 0..40 {
            make_and_drop_index(&engine).unwrap();
            engine.flush().unwrap();
            engine.compact().unwrap();
        }
    });
}

/// Not a test by itself: the process that the others start.
#[test]
fn child() {
    for (variable, in_store) in [(CHILD, false), (CHILD_IN_STORE, true)] {
        if let Some(dir) = std::env::var_os(variable) {
            write_until_killed(Path::new(&dir), in_store);
        }
    }
}

#[test]
fn a_kill_at_any_point_loses_nothing_that_was_acknowledged() {
    kill_at_each(&POINTS, false);
}

/// Every second time the disk is lost as well: then what the store acknowledged has to be there.
#[test]
fn a_kill_at_any_point_loses_nothing_where_the_log_is_in_the_store() {
    kill_at_each(&POINTS_IN_STORE, true);
}

fn kill_at_each(points: &[(&str, &[u64])], in_store: bool) {
    let _guard = with_others();
    let dir = tempfile::tempdir().unwrap();
    let variable = if in_store { CHILD_IN_STORE } else { CHILD };
    for (number, &(point, hits)) in points.iter().enumerate() {
        for hit in hits {
            let dir = dir.path().join(format!("{point}-{hit}"));
            std::fs::create_dir(&dir).unwrap();
            create(options(&dir, in_store)).close().unwrap();
            for id in 0..WRITERS {
                File::create(dir.join(id.to_string())).unwrap();
            }
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["points::child", "--exact"])
                .env(variable, &dir)
                .env(ENVIRONMENT_VARIABLE, format!("{point}=abort@{hit}"))
                .stdout(std::process::Stdio::null())
                .status()
                .unwrap();
            assert_eq!(
                status.signal(),
                Some(libc::SIGKILL),
                "{point}@{hit}: {status}"
            );
            let disk_lost = in_store && number % 2 == 0;
            if disk_lost {
                std::fs::remove_dir_all(dir.join("engine")).unwrap();
            }
            let engine = Engine::open(options(&dir, in_store)).unwrap();
            for id in 0..WRITERS {
                let noted = std::fs::metadata(dir.join(id.to_string())).unwrap().len();
                let least = match disk_lost && id % 2 == 0 {
                    true => 0,
                    false => noted,
                };
                // One may be acknowledged and not noted, and one under way.
                writer(id, in_store).check(&engine, least..=noted + 2);
            }
            check_no_garbage(&engine);
            let mut spilled = std::fs::read_dir(dir.join("engine/spill")).unwrap();
            assert!(spilled.next().is_none(), "{point}@{hit}");
            engine.close().unwrap();
            std::fs::remove_dir_all(&dir).unwrap();
        }
    }
}

/// Fails at the point, or panics there, and goes on as far as the engine lets it.
fn break_at(point: &str, action: Action, log_in_store: bool) {
    let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let opened_with = |fs: &FaultFs, store: Arc<MemoryStore>| match log_in_store {
        true => in_store(fs, store),
        false => in_memory(fs, store),
    };
    let mut options = opened_with(&fs, store.clone());
    // Nobody is to wait for a flush that cannot be.
    options.total_memtable_size = 1 << 30;
    // What is committed by files waits for a flush, and for the store.
    let spared = ["flush.", "compaction.", "remote_wal."];
    if spared.iter().any(|prefix| point.starts_with(prefix)) {
        options.transaction_memory = 1 << 20;
    }
    create(options.clone()).close().unwrap();
    let engine = Engine::open(options.clone()).unwrap();
    let writer = Writer::new(0);
    for _ in 0..5 {
        writer.write_one(&engine).unwrap();
        engine.flush().unwrap();
    }
    let armed = arm(point, action, 1);
    let mut failed = false;
    let attempt = |body: &dyn Fn() -> smartengine::Result<()>| {
        let run = std::panic::AssertUnwindSafe(body);
        std::panic::catch_unwind(run).is_ok_and(|result| result.is_ok())
    };
    for _ in 0..100 {
        failed |= !attempt(&|| writer.write_one(&engine));
        if failed {
            break;
        }
    }
    let works: [&dyn Fn() -> smartengine::Result<()>; 3] = [
        &|| make_and_drop_index(&engine),
        &|| engine.flush(),
        &|| engine.compact(),
    ];
    for work in works {
        failed |= !attempt(work);
    }
    let hits = armed.hits();
    drop(armed);
    // An index is dropped by a thread, where the log is in the store once that is there.
    let dropped_late = point.starts_with("drop.");
    assert!(
        hits > 0 || log_in_store || !dropped_late,
        "{point} was never passed"
    );
    let elsewhere = [
        "local_store.",
        "open.",
        "gc.",
        "remote_wal.before_fence",
        "remote_wal.fenced",
    ];
    // What is sent fails for nobody but the thread that does it.
    let in_background = point.starts_with("remote_wal.");
    if dropped_late || elsewhere.iter().any(|prefix| point.starts_with(prefix)) {
        // Not passed here, or by chance.
    } else if in_background {
        assert!(hits > 0, "{point} was never passed");
    } else {
        assert!(hits > 0, "{point} was never passed");
        // What fails once the work is done and installed is noticed by nobody but the log of errors.
        let too_late = ["flush.installed", "compaction.installed"];
        assert!(failed || too_late.contains(&point), "{point} harmed nobody");
    }
    // Reads go on.
    let expected = *writer.expected().start();
    writer.check(&engine, expected..=expected);
    // What only failed can be done now, unless it is not known what became of it.
    if action == Action::Error && !engine.status().contains("READ ONLY") {
        // A put that failed is tried again soon.
        let patience = Duration::from_secs(20);
        assert!(engine.wait_uploaded(engine.log_end(), patience).unwrap());
        engine.compact().unwrap();
        writer.write_one(&engine).unwrap();
    }
    let expected = *writer.expected().start();
    let found = opened_with(&fs.crash(PowerLoss::All), Arc::new(store.copy()));
    drop(engine);
    let engine = Engine::open(found).unwrap();
    writer.check(&engine, expected..=expected + 1);
    check_no_garbage(&engine);
    drop(engine);
    let engine = Engine::open(options).unwrap();
    writer.check(&engine, expected..=expected + 1);
}

#[test]
fn an_error_at_any_point_is_reported_and_loses_nothing() {
    let _guard = alone();
    for (point, _) in POINTS {
        break_at(point, Action::Error, false);
    }
    for (point, _) in POINTS_IN_STORE {
        break_at(point, Action::Error, true);
    }
}

#[test]
fn a_panic_at_any_point_is_reported_and_leaves_nobody_waiting() {
    let _guard = alone();
    for (point, _) in POINTS {
        break_at(point, Action::Panic, false);
    }
    for (point, _) in POINTS_IN_STORE {
        break_at(point, Action::Panic, true);
    }
}

const ATTACH_POINTS: [&str; 7] = [
    "open.replayed",
    "open.put_aside",
    "open.attached",
    "remote_wal.before_fence",
    "remote_wal.fenced",
    "open.fenced",
    "open.log_removed",
];

/// Attaching breaks off at the point and is done again; on the last writer's own disk, on an empty one, and on one that was superseded.
fn break_attach(point: &str, action: Action) {
    let mut hits = 0;
    for disk in ["own", "empty", "superseded"] {
        let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
        let engine = create(in_store(&fs, store.clone()));
        let writer = Writer::in_store(0);
        for _ in 0..6 {
            writer.write_one(&engine).unwrap();
        }
        // What waits for the store is not synced locally: the log is shorter than the store's.
        let mut found = fs.crash(PowerLoss::All);
        drop(engine);
        if disk == "superseded" {
            let other = Engine::open(in_store(&FaultFs::new(), store.clone())).unwrap();
            writer.write_one(&other).unwrap();
        } else if disk == "empty" {
            found = FaultFs::new();
        }
        let armed = arm(point, action, 1);
        let open = std::panic::AssertUnwindSafe(|| Engine::open(in_store(&found, store.clone())));
        let opened = std::panic::catch_unwind(open);
        let passed = armed.hits();
        drop(armed);
        let broken = opened.is_err() || opened.is_ok_and(|opened| opened.is_err());
        assert_eq!(broken, passed > 0, "{point}, {disk}");
        hits += passed;
        let known = *writer.expected().start();
        let engine = Engine::open(in_store(&found, store.clone())).unwrap();
        writer.check(&engine, known..=known);
        writer.write_one(&engine).unwrap();
        drop(engine);
        let engine = Engine::open(in_store(&FaultFs::new(), store)).unwrap();
        writer.check(&engine, known + 1..=known + 1);
        check_no_garbage(&engine);
    }
    // Whether the local log lacks its end is up to when it is synced.
    let by_chance = point == "open.log_removed";
    assert!(hits > 0 || by_chance, "{point} was never passed");
}

#[test]
fn an_attach_that_breaks_off_anywhere_is_done_again() {
    let _guard = alone();
    for point in ATTACH_POINTS {
        for action in [Action::Error, Action::Panic] {
            break_attach(point, action);
        }
    }
}

#[test]
fn a_panic_of_a_thread_that_sends_the_log_leaves_no_commit_waiting() {
    let _guard = alone();
    let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let engine = create(in_store(&fs, store.clone()));
    let writer = Writer::in_store(0);
    writer.write_one(&engine).unwrap();
    let armed = arm("remote_wal.before_put", Action::Panic, 1);
    let error = writer.write_one(&engine).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    drop((armed, engine));
    let engine = Engine::open(in_store(&fs, store)).unwrap();
    writer.check(&engine, 1..=2);
}

/// Its locks are free then, and what follows may not meet it again after a crash.
#[test]
fn a_prepare_that_fails_when_it_is_logged_is_undone_in_the_log() {
    let _guard = alone();
    let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let options = in_memory(&fs, store.clone());
    let engine = create(options.clone());
    let row = [&ROWS.to_be_bytes()[..], b"row"].concat();
    let prepare = |name: &[u8]| {
        let mut txn = engine.begin(Isolation::ReadCommitted);
        txn.put(&row, name).unwrap();
        let done = txn.prepare(name, true);
        (txn, done)
    };
    let armed = arm("prepare.logged", Action::Error, 1);
    let (mut first, failed) = prepare(b"first");
    assert!(failed.is_err());
    first.rollback().unwrap();
    drop(armed);
    let (second, done) = prepare(b"second");
    done.unwrap();
    let found = in_memory(&fs.crash(PowerLoss::All), Arc::new(store.copy()));
    let reopened = Engine::open(found).unwrap();
    let names: Vec<_> = reopened
        .prepared()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, [Arc::from(&b"second"[..])]);
    drop(second);
}
