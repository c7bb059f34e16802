use std::time::Duration;

use super::failure::{Cause, Failure, answered};
use super::retry::delay;
use super::total_of;
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
        (404, "", Cause::Absent, ErrorKind::NotFound),
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
        (403, "", Cause::Refused, ErrorKind::Unavailable),
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
fn the_size_is_read_from_a_range() {
    assert_eq!(total_of("bytes 0-9/256"), Some(256));
    assert_eq!(total_of("bytes 0-9/*"), None);
    assert_eq!(total_of(""), None);
}
