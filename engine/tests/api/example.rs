//! The example program does what it says, over each kind of store.

// Its `main` is for those who run it.
#[allow(dead_code)]
#[path = "../../examples/bank.rs"]
mod bank;

#[test]
fn the_bank_keeps_its_money() {
    let dir = tempfile::tempdir().unwrap();
    let folder = format!("file://{}/bank", dir.path().display());
    assert_eq!(bank::run("memory://").unwrap(), ["alice: 80", "bob: 120"]);
    assert_eq!(bank::run(&folder).unwrap(), ["alice: 80", "bob: 120"]);
    // A store that is there already takes another bank.
    assert_eq!(bank::run(&folder).unwrap(), ["alice: 80", "bob: 120"]);
    #[cfg(feature = "s3")]
    if let Ok(url) = std::env::var("SMARTENGINE_TEST_S3_URL") {
        let (place, parameters) = url.split_once('?').expect("the URL names an endpoint");
        let prefix = dir.path().file_name().unwrap().to_str().unwrap();
        let prefix = prefix.trim_start_matches('.');
        let url = format!("{place}/{prefix}?{parameters}");
        assert_eq!(bank::run(&url).unwrap(), ["alice: 80", "bob: 120"]);
    }
}
