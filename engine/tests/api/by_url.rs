//! A store that is named by its URL brings its log, and is asked what it can do, without a word of the caller's.

use std::path::Path;

use smartengine::object_store::RequestKind;
use smartengine::{Durability, Engine, ErrorKind, Index, Isolation, Options, View};

fn url(dir: &tempfile::TempDir) -> String {
    format!("file://{}/bucket", dir.path().display())
}

fn open(dir: &Path, url: &str) -> Engine {
    Engine::open(Options::at_url(dir, url).unwrap()).unwrap()
}

fn write(engine: &Engine, index: Index, name: &str) -> smartengine::Result<()> {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    txn.set_durability(Durability::Object);
    txn.insert(&index.key(name), b"here")?;
    txn.commit()
}

#[test]
fn what_the_store_acknowledged_survives_the_disk() {
    let bucket = tempfile::tempdir().unwrap();
    let disk = tempfile::tempdir().unwrap();
    let engine = open(disk.path(), &url(&bucket));
    let index = engine.create_index().unwrap();
    write(&engine, index, "a").unwrap();
    // As a kill would, and then the disk is gone as well.
    drop(engine);
    disk.close().unwrap();
    let disk = tempfile::tempdir().unwrap();
    let engine = open(disk.path(), &url(&bucket));
    let mut txn = engine.begin(Isolation::RepeatableRead);
    assert!(txn.get(&index.key("a"), View::Snapshot).unwrap().is_some());
}

#[test]
fn a_second_writer_fences_the_first() {
    let bucket = tempfile::tempdir().unwrap();
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = open(here.path(), &url(&bucket));
    let index = first.create_index().unwrap();
    write(&first, index, "a").unwrap();
    let second = open(there.path(), &url(&bucket));
    let error = write(&first, index, "b").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    write(&second, index, "b").unwrap();
}

#[test]
fn the_store_is_asked_first_whether_it_keeps_writers_apart() {
    let bucket = tempfile::tempdir().unwrap();
    let disk = tempfile::tempdir().unwrap();
    let engine = open(disk.path(), &url(&bucket));
    let stats = engine.object_store_stats();
    let count = |kind| {
        let mut of_kind = stats.iter().filter(|stats| stats.kind == kind);
        of_kind.next().map_or(0, |stats| stats.requests)
    };
    // Two one after the other and five at once; the engine's own are fewer, and it removes nothing.
    let creations = count(RequestKind::PutIfAbsent);
    assert!(creations >= 7, "{creations}");
    assert!(count(RequestKind::Delete) >= 2);
    let left = bucket.path().join("bucket/probe").read_dir();
    assert_eq!(left.map_or(0, Iterator::count), 0);
}

#[test]
fn the_options_of_one_store_in_memory_open_it_again() {
    let disk = tempfile::tempdir().unwrap();
    let options = Options::at_url(disk.path(), "memory://").unwrap();
    let engine = Engine::open(options.clone()).unwrap();
    let index = engine.create_index().unwrap();
    write(&engine, index, "a").unwrap();
    engine.close().unwrap();
    let engine = Engine::open(options).unwrap();
    let mut txn = engine.begin(Isolation::RepeatableRead);
    assert!(txn.get(&index.key("a"), View::Snapshot).unwrap().is_some());
}

#[test]
fn errors_name_the_place_and_no_secret() {
    let bucket = tempfile::tempdir().unwrap();
    let disk = tempfile::tempdir().unwrap();
    drop(open(disk.path(), &url(&bucket)));
    let manifest = bucket.path().join("bucket/manifest");
    for object in manifest.read_dir().unwrap() {
        std::fs::write(object.unwrap().path(), b"noise").unwrap();
    }
    let options = Options::at_url(disk.path(), &url(&bucket)).unwrap();
    let shown = format!("{options:?}");
    assert!(shown.contains(&url(&bucket)), "{shown}");
    let error = Engine::open(options).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corruption);
    assert!(error.message().starts_with(&url(&bucket)), "{error}");

    let local = Options::new(disk.path().join("CURRENT/is/no/directory"));
    std::fs::write(disk.path().join("CURRENT"), b"").unwrap();
    let place = local.data_dir.display().to_string();
    let error = Engine::open(local).err().unwrap();
    assert!(error.message().starts_with(&place), "{error}");

    for secret in [
        "s3://AKIA:hush@bucket/prefix",
        "s3://bucket/prefix?secret_access_key=hush",
        "https://user:hush@host/",
        "file://user:hush@host/b",
        "memory://user:hush@x",
        "user:hush@b",
    ] {
        let error = Options::at_url(disk.path(), secret).expect_err(secret);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    }
}
