use std::time::Duration;

use super::answer::{Origin, Proof, crc32_of, parse_content_range};
use super::document::is_whole;
use super::failure::{Cause, Failure, answered};
use super::retry::delay;
use crate::ErrorKind;

#[test]
fn delays_double_up_to_a_limit_and_half_of_each_is_chance() {
    let millis = |attempt, throttled, random| delay(attempt, throttled, random).as_millis();
    assert_eq!((millis(1, false, 0), millis(1, false, 999)), (25, 49));
    assert_eq!((millis(2, false, 0), millis(4, false, 0)), (50, 200));
    assert_eq!((millis(1, true, 0), millis(3, true, 0)), (250, 1000));
    assert_eq!(millis(9, false, 0), 2500);
    assert!(delay(u32::MAX, true, 999) <= Duration::from_secs(5));
}

#[test]
fn answers_mean_what_they_mean_to_a_caller() {
    let kind = |failure: Failure| failure.into_error("read object a", "bucket b").kind();
    for (status, code, cause, expected) in [
        (404, "NoSuchKey", Cause::Absent, ErrorKind::NotFound),
        // Not in S3's words, so that nothing follows from it.
        (404, "", Cause::Passing, ErrorKind::Unavailable),
        (404, "NotFound", Cause::Passing, ErrorKind::Unavailable),
        (412, "", Cause::Passing, ErrorKind::Unavailable),
        (416, "", Cause::Passing, ErrorKind::Unavailable),
        (302, "", Cause::Passing, ErrorKind::Unavailable),
        (307, "", Cause::Passing, ErrorKind::Unavailable),
        (404, "NoSuchBucket", Cause::Refused, ErrorKind::Unavailable),
        (404, "NoSuchUpload", Cause::NoUpload, ErrorKind::Unavailable),
        (
            412,
            "PreconditionFailed",
            Cause::Exists,
            ErrorKind::AlreadyExists,
        ),
        (
            409,
            "ConditionalRequestConflict",
            Cause::Conflict,
            ErrorKind::Unavailable,
        ),
        (416, "InvalidRange", Cause::Range, ErrorKind::Corruption),
        (403, "AccessDenied", Cause::Refused, ErrorKind::Unavailable),
        (403, "", Cause::Passing, ErrorKind::Unavailable),
        (403, "QuotaExceeded", Cause::Full, ErrorKind::OutOfSpace),
        (507, "", Cause::Full, ErrorKind::OutOfSpace),
        (503, "SlowDown", Cause::Throttled, ErrorKind::Unavailable),
        (429, "", Cause::Throttled, ErrorKind::Unavailable),
        (500, "InternalError", Cause::Passing, ErrorKind::Unavailable),
        (503, "", Cause::Passing, ErrorKind::Unavailable),
        (
            400,
            "RequestTimeout",
            Cause::Passing,
            ErrorKind::Unavailable,
        ),
        (
            400,
            "InvalidArgument",
            Cause::Refused,
            ErrorKind::Unavailable,
        ),
        (
            501,
            "NotImplemented",
            Cause::Unsupported,
            ErrorKind::Unavailable,
        ),
    ] {
        let failure = answered(status, Some(code), Some("said"), None);
        assert_eq!(failure.cause, cause, "{status} {code}");
        assert_eq!(kind(failure), expected, "{status} {code}");
    }
}

#[test]
fn what_may_have_been_done_is_ambiguous() {
    let ambiguous = |status, code| answered(status, Some(code), None, None).ambiguous;
    assert!(ambiguous(500, "InternalError"));
    assert!(ambiguous(503, "SlowDown"));
    assert!(!ambiguous(409, "ConditionalRequestConflict"));
    assert!(!ambiguous(412, "PreconditionFailed"));
    assert!(!ambiguous(403, "AccessDenied"));
}

#[test]
fn a_bucket_elsewhere_is_named_with_its_region() {
    let failure = answered(301, Some("PermanentRedirect"), None, Some("eu-west-1"));
    assert!(failure.message.contains("in the region eu-west-1"));
}

#[test]
fn a_range_is_read_from_what_came() {
    assert_eq!(parse_content_range("bytes 0-9/256"), Some((0, 9, 256)));
    for bad in ["bytes 0-9/*", "bytes */256", "0-9/256", "bytes 0-x/256", ""] {
        assert_eq!(parse_content_range(bad), None, "{bad}");
    }
}

#[test]
fn a_put_is_proven_by_its_checksum_or_its_md5_and_else_looked_for() {
    let data = b"hello world";
    // As S3's documentation has it for these bytes.
    let (crc32, md5) = ("DUoRhQ==", "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"");
    assert_eq!(crc32_of(data), crc32);
    let proof = |etag, given| {
        let origin = Origin {
            etag,
            ..Origin::default()
        };
        match origin.proof(data, crc32, given) {
            Proof::Given => "given",
            Proof::Missing => "missing",
            Proof::Refused(failure) => {
                assert!(failure.retryable() && failure.ambiguous);
                "refused"
            }
        }
    };
    for (etag, given, expected) in [
        (Some(md5), None, "given"),
        (Some("\"of-a-cipher\""), Some(crc32), "given"),
        (Some("\"of-a-cipher\""), None, "missing"),
        (
            Some("\"6eb63bbbe01eeed093cb22bb8f5acdc3\""),
            None,
            "missing",
        ),
        (
            Some("5eb63bbb\u{e9}1eeed093cb22bb8f5acdc3"),
            None,
            "missing",
        ),
        (Some(md5), Some("AAAAAA=="), "refused"),
        (Some(""), Some(crc32), "refused"),
        (None, Some(crc32), "refused"),
        (None, None, "refused"),
    ] {
        assert_eq!(proof(etag, given), expected, "{etag:?} {given:?}");
    }
}

#[test]
fn only_what_a_store_says_of_itself_shows_it() {
    let body = bytes::Bytes::from_static(b"hello world");
    let origin = |etag, request_id, mark| Origin {
        etag,
        request_id,
        mark,
    };
    assert!(origin(Some("e"), Some("tx1"), None).is_stores());
    assert!(origin(Some("e"), None, Some("mark")).is_stores());
    assert!(!origin(None, Some("tx1"), Some("mark")).is_stores());
    // As a web server has it.
    assert!(!origin(Some("\"5f3-21\""), None, None).is_stores_with(&body));
    let md5 = Some("\"5EB63BBBE01EEED093CB22BB8F5ACDC3\"");
    assert!(origin(md5, None, None).is_stores_with(&body));
}

#[test]
fn a_document_is_whole_or_it_is_cut_off() {
    let whole = "<?xml version=\"1.0\"?>\n<List xmlns=\"http://s3/\"><Key>a</Key></List>\n";
    assert!(is_whole(whole.as_bytes()));
    for good in [
        "",
        "not a document",
        "<List/>",
        "<?xml?><List a=\"b\"/>\n",
        "<a></a>",
    ] {
        assert!(is_whole(good.as_bytes()), "{good}");
    }
    for end in 1..whole.trim().len() {
        assert!(!is_whole(&whole.as_bytes()[..end]), "{end}");
    }
}
