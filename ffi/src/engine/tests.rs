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

#[test]
fn a_store_of_a_newer_server_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    let mut given = options(dir.path());
    given.server_version = 90_704;
    given.newest_server_version = 90_799;
    let engine = Engine::open(convert(&given).unwrap()).unwrap();
    engine.raise_user_version(90_704).unwrap();
    engine.close().unwrap();
    let error = Engine::open(convert(&options(dir.path())).unwrap())
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = error.to_string();
    assert!(
        text.contains("written under MySQL 9.7.4, and this server is 8.0.36"),
        "{text}"
    );
    // A patch release back, within a series.
    given.server_version = 90_702;
    Engine::open(convert(&given).unwrap())
        .unwrap()
        .close()
        .unwrap();
}
