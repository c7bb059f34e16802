//! Every named point on the way of a commit, a flush, a compaction, a drop and an open: the process is killed there, or what it was about fails.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smartengine::Engine;
use smartengine::env::failpoint::{Action, ENVIRONMENT_VARIABLE, arm};
use smartengine::env::fs::{FaultFs, PowerLoss};
use smartengine::object_store::MemoryStore;

use crate::history::{Writer, check_no_garbage, create, in_memory, make_and_drop_index, small};
use crate::{alone, with_others};

/// Each point, and the hits at which to act.
const POINTS: [(&str, &[u64]); 29] = [
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

const CHILD: &str = "SMARTENGINE_TEST_CHILD";
const WRITERS: u64 = 2;

/// Writes until the process is killed, noting each acknowledged commit in a file.
fn write_until_killed(dir: &Path) {
    let engine = Engine::open(small(dir.join("engine"))).unwrap();
    std::thread::scope(|scope| {
        for id in 0..WRITERS {
            let (engine, path) = (&engine, dir.join(id.to_string()));
            scope.spawn(move || {
                let mut notes = OpenOptions::new().append(true).open(path).unwrap();
                let writer = Writer::new(id);
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
    if let Some(dir) = std::env::var_os(CHILD) {
        write_until_killed(Path::new(&dir));
    }
}

#[test]
fn a_kill_at_any_point_loses_nothing_that_was_acknowledged() {
    let _guard = with_others();
    let dir = tempfile::tempdir().unwrap();
    for (point, hits) in POINTS {
        for hit in hits {
            let dir = dir.path().join(format!("{point}-{hit}"));
            std::fs::create_dir(&dir).unwrap();
            create(small(dir.join("engine"))).close().unwrap();
            for id in 0..WRITERS {
                File::create(dir.join(id.to_string())).unwrap();
            }
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["points::child", "--exact"])
                .env(CHILD, &dir)
                .env(ENVIRONMENT_VARIABLE, format!("{point}=abort@{hit}"))
                .stdout(std::process::Stdio::null())
                .status()
                .unwrap();
            assert_eq!(
                status.signal(),
                Some(libc::SIGKILL),
                "{point}@{hit}: {status}"
            );
            let engine = Engine::open(small(dir.join("engine"))).unwrap();
            for id in 0..WRITERS {
                let noted = std::fs::metadata(dir.join(id.to_string())).unwrap().len();
                // One may be acknowledged and not noted, and one under way.
                Writer::new(id).check(&engine, noted..=noted + 2);
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
fn break_at(point: &str, action: Action) {
    let (fs, store) = (FaultFs::new(), Arc::new(MemoryStore::new()));
    let mut options = in_memory(&fs, store.clone());
    // Nobody is to wait for a flush that cannot be.
    options.total_memtable_size = 1 << 30;
    if point.starts_with("flush.") || point.starts_with("compaction.") {
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
    let in_memory_only = ["local_store.", "open.", "gc."];
    if !in_memory_only
        .iter()
        .any(|prefix| point.starts_with(prefix))
    {
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
        engine.compact().unwrap();
        writer.write_one(&engine).unwrap();
    }
    let expected = *writer.expected().start();
    let found = in_memory(&fs.crash(PowerLoss::All), Arc::new(store.copy()));
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
        break_at(point, Action::Error);
    }
}

#[test]
fn a_panic_at_any_point_is_reported_and_leaves_nobody_waiting() {
    let _guard = alone();
    for (point, _) in POINTS {
        break_at(point, Action::Panic);
    }
}
