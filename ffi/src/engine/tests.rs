use super::*;
use crate::entries::tests::options;

#[test]
fn a_store_by_url_has_the_log_and_a_local_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut given = options(dir.path());
    let local = convert(&given).unwrap();
    assert!(local.store.is_none() && !local.remote_wal);
    given.store_url = format!("file://{}/bucket", dir.path().display());
    let elsewhere = convert(&given).unwrap();
    assert!(elsewhere.store.is_some() && elsewhere.remote_wal);
    // It is as near as a disk.
    assert_eq!(elsewhere.prefetch, 0);
    let engine = Engine::open(elsewhere).unwrap();
    assert!(engine.remote_wal().is_some());
    engine.close().unwrap();
}

#[test]
fn a_store_that_keeps_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut given = options(dir.path());
    given.store_url = "memory://".to_owned();
    let error = convert(&given).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("keeps nothing"), "{error}");
}
