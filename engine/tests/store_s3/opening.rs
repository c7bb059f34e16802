//! Opening: what is wrong shows at once and is named, and secrets never are.

use std::time::{Duration, Instant};

use faulty_proxy::{Fault, Rule};
use smartengine::ErrorKind;
use smartengine::object_store::{RequestKind, open_store};

use crate::support::{Bucket, Site};

fn refused(url: &str) -> (ErrorKind, String) {
    let error = open_store(url).err().expect("it opened");
    (error.kind(), error.message().to_owned())
}

#[test]
fn a_bucket_that_is_not_there_is_named() {
    let Some(bucket) = Bucket::find() else { return };
    let url = bucket
        .url(bucket.server, "")
        .replace(&bucket.name, "no-such-bucket-here");
    let (kind, message) = refused(&url);
    assert_eq!(kind, ErrorKind::Invalid, "{message}");
    assert!(
        message.contains("bucket no-such-bucket-here at http://"),
        "{message}"
    );
    assert!(message.contains("make the bucket first"), "{message}");
}

#[test]
fn a_bucket_that_vanishes_is_unavailable_and_no_missing_object() {
    let Some(bucket) = Bucket::find() else { return };
    let site = Site::new(&bucket, 1, "");
    site.proxy.add(Rule::always(
        "GET",
        Fault::Answer {
            status: 404,
            code: "NoSuchBucket",
        },
    ));
    let error = site.store.get("a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("NoSuchBucket"), "{error}");
}

#[test]
fn refusals_advise_and_are_not_repeated() {
    let Some(bucket) = Bucket::find() else { return };
    for (status, code, advice) in [
        (
            403,
            "InvalidAccessKeyId",
            "the credentials that were found are not good",
        ),
        (403, "AccessDenied", "do not allow it"),
        (403, "RequestTimeTooSkewed", "clock"),
        (301, "PermanentRedirect", "another region"),
    ] {
        let site = Site::new(&bucket, 1, "");
        let fault = Fault::Answer { status, code };
        site.proxy.add(Rule::always("", fault));
        let error = site.store.put("a", b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.message().contains(advice), "{error}");
        assert!(error.message().contains(&bucket.name), "{error}");
        assert_eq!(site.counted(RequestKind::Put).requests, 1);
        let (kind, message) = refused(&bucket.url(site.proxy.address(), ""));
        assert_eq!(kind, ErrorKind::Invalid, "{message}");
        assert!(message.contains(advice), "{message}");
    }
}

#[test]
fn a_server_that_is_not_there_is_unavailable_within_the_deadline() {
    let Some(bucket) = Bucket::find() else { return };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let start = Instant::now();
    let (kind, message) = refused(&bucket.url(address, "&deadline_ms=1000"));
    assert_eq!(kind, ErrorKind::Unavailable, "{message}");
    assert!(message.contains("given up after"), "{message}");
    assert!(message.contains("refused"), "{message}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_server_is_trusted_by_the_authority_that_is_named_and_by_no_other() {
    let Ok(url) = std::env::var("SMARTENGINE_TEST_S3_TLS_URL") else {
        eprintln!("SMARTENGINE_TEST_S3_TLS_URL is not set: there is no TLS to test");
        return;
    };
    let store = open_store(&url).unwrap();
    store.put("tls/1", b"over TLS").unwrap();
    assert_eq!(store.get("tls/1").unwrap(), "over TLS");
    let (without, _) = url.split_once("&ca=").expect("the URL names an authority");
    let (kind, message) = refused(without);
    assert_eq!(kind, ErrorKind::Invalid, "{message}");
    assert!(message.contains("certificate"), "{message}");
    assert!(message.contains("ca= in the store's URL"), "{message}");
}

#[test]
fn a_file_that_holds_no_certificates_is_refused() {
    let Some(bucket) = Bucket::find() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for text in ["", "no certificate", broken] {
        std::fs::write(&file, text).unwrap();
        let (kind, message) =
            refused(&bucket.url(bucket.server, &format!("&ca={}", file.display())));
        assert_eq!(kind, ErrorKind::Invalid, "{message}");
        assert!(message.contains("PEM certificates"), "{message}");
    }
    let (kind, _) = refused(&bucket.url(bucket.server, "&ca=/nowhere/ca.pem"));
    assert_eq!(kind, ErrorKind::Invalid);
}
