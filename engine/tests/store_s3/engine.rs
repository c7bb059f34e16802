//! An engine whose way to its store leads to something that answers everything with a page of its own.

use std::time::Duration;

use faulty_proxy::{Fault, Rule};
use smartengine::{Durability, Engine, ErrorKind, Isolation, Options, View};

use crate::support::{Bucket, Site};

fn options(dir: &tempfile::TempDir, site: &Site) -> Options {
    let mut options = Options::new(dir.path());
    options.store = Some(site.store.clone());
    options.remote_wal = true;
    options
}

fn key(number: u32) -> Vec<u8> {
    [1_u32.to_be_bytes(), number.to_be_bytes()].concat()
}

fn insert(engine: &Engine, number: u32) -> smartengine::Result<()> {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.set_durability(Durability::Object);
    txn.insert(&key(number), b"row")?;
    txn.commit()
}

/// What was acknowledged is there on another machine.
#[test]
fn a_commit_is_not_acknowledged_by_a_login_page() {
    let Some(bucket) = Bucket::find() else { return };
    for fault in [
        Fault::Page { status: 200 },
        Fault::Page { status: 204 },
        Fault::Page { status: 404 },
        Fault::Page { status: 412 },
    ] {
        let site = Site::new(&bucket, 1, "&deadline_ms=300&timeout_ms=300");
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(options(&dir, &site)).unwrap();
        assert_eq!(engine.create_index().unwrap().id(), 1);
        insert(&engine, 1).unwrap();
        site.proxy.add(Rule::always("", fault));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| insert(&engine, 2));
            std::thread::sleep(Duration::from_millis(1200));
            let acknowledged = waiting.is_finished();
            let state = engine.remote_wal().unwrap();
            // Before anything is asserted: the other thread goes on waiting otherwise.
            site.proxy.heal();
            let inserted = waiting.join().unwrap();
            assert!(!acknowledged, "{fault:?}: acknowledged by a page");
            let (_, why) = state.failing.expect("it says why it waits");
            assert!(why.contains("not S3's"), "{why}");
            assert!(state.ended.is_none(), "{fault:?}: it gave up");
            inserted.unwrap();
        });
        insert(&engine, 3).unwrap();
        drop(engine);
        let elsewhere = tempfile::tempdir().unwrap();
        let engine = Engine::open(options(&elsewhere, &site)).unwrap();
        let mut txn = engine.begin(Isolation::ReadCommitted);
        for number in 1..=3 {
            let found = txn.get(&key(number), View::Newest).unwrap();
            assert!(found.is_some(), "{fault:?}: row {number} is lost");
        }
    }
}

/// An open and a read through it fail as those of a store that is away do.
#[test]
fn what_a_login_page_answers_is_neither_damage_nor_emptiness() {
    let Some(bucket) = Bucket::find() else { return };
    let site = Site::new(&bucket, 1, "&deadline_ms=300&timeout_ms=300");
    let dir = tempfile::tempdir().unwrap();
    let mut with_files = options(&dir, &site);
    with_files.block_cache_size = 0;
    let engine = Engine::open(with_files).unwrap();
    assert_eq!(engine.create_index().unwrap().id(), 1);
    for number in 0..100 {
        insert(&engine, number).unwrap();
    }
    engine.flush().unwrap();
    for status in [200, 204, 206, 302, 404, 416] {
        site.proxy.add(Rule::always("", Fault::Page { status }));
        let mut txn = engine.begin(Isolation::ReadCommitted);
        let read = txn.get(&key(1), View::Newest);
        let error = read.expect_err("a page is no block");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{status}: {error}");
        let elsewhere = tempfile::tempdir().unwrap();
        let opened = Engine::open(options(&elsewhere, &site));
        let error = opened.err().expect("a page is no store");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{status}: {error}");
        site.proxy.heal();
        // Where only what is not there decides.
        site.proxy.add(Rule {
            pass: 14,
            ..Rule::always("GET", Fault::Page { status })
        });
        let opened = Engine::open(options(&elsewhere, &site));
        if let Err(error) = opened {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{status}: {error}");
        }
        site.proxy.heal();
    }
    // Nothing came of it.
    drop(engine);
    let again = Engine::open(options(&dir, &site));
    let again = again.unwrap_or_else(|error| panic!("open again: {error}"));
    let mut txn = again.begin(Isolation::ReadCommitted);
    for number in 0..100 {
        assert!(txn.get(&key(number), View::Newest).unwrap().is_some());
    }
}
