//! Whether an answer comes from the store.
//!
//! A proxy, a captive portal or a web server at the store's address may answer any request, 200 and 204 included, with anything. Such an answer must not
//! be taken for an object that was stored, for an object's bytes, for an empty listing, or for the absence of an object: a commit that was acknowledged on
//! the first would be lost, and the log would end for good at the last. So each verb's answer counts only with what nobody else can give:
//!
//! - PUT: an ETag, and the CRC-32 that was sent given back, or an ETag that is the MD5 of what was sent; or else, asked again by HEAD, the object's
//!   length and this call's mark.
//! - UploadPart: an ETag, and a request id or the MD5; a part that the store does not have fails the completion.
//! - CompleteMultipartUpload: its document with an ETag, no error in it, and then by HEAD the object's length and the upload's mark.
//! - CreateMultipartUpload, listings, DeleteObjects: the document that S3 names for it, whole to its end (`document.rs`); a listing for the prefix that
//!   was asked for, a deletion with each key named.
//! - GET of a whole object: an ETag, and a request id or a mark or an ETag that is the MD5 of the bytes; the announced length; the checksum that the
//!   store sends, and the CRC-32 in the object's metadata, each where there is one.
//! - GET of a range: an ETag, and exactly the range in Content-Range, of an object that holds it, with as many bytes.
//! - HEAD: an ETag, and a request id or a mark.
//! - DELETE, AbortMultipartUpload: a request id; or else the object, the upload, is asked for and is not there. (To be told of a deletion that did not
//!   happen would cost space and nothing else.)
//! - No such object, key taken, range too far: 404 `NoSuchKey`, 412 `PreconditionFailed`, 416 `InvalidRange`, each in S3's error document.
//!
//! A HEAD that fails has no document: whether there is an object is asked by a GET of its first byte. A request id is `x-amz-request-id`, which S3 and what
//! speaks its protocol send with everything. The usual PUT costs no second request: S3 gives the CRC-32 back, and servers that do not know it have the MD5 as ETag.
//!
//! What does not count is a passing failure: the request is repeated until the call's deadline, and then the store is unavailable.

use aws_smithy_types::base64;
use bytes::Bytes;
use md5::{Digest, Md5};

use super::failure::Failure;

/// What an answer to a PUT says of what was sent.
#[derive(Debug)]
pub(super) enum Proof {
    /// It is stored.
    Given,
    /// The store has to be asked.
    Missing,
    /// This is no answer of the store.
    Refused(Failure),
}

/// The CRC-32 of `data` as S3 writes it.
pub(super) fn crc32_of(data: &[u8]) -> String {
    base64::encode(crc32fast::hash(data).to_be_bytes())
}

/// The MD5 of `data` as Content-MD5 has it.
pub(super) fn md5_base64(data: &[u8]) -> String {
    base64::encode(Md5::digest(data))
}

/// Whether `etag` is the MD5 of `data`.
fn is_md5(etag: &str, data: &[u8]) -> bool {
    let etag = etag.trim_matches('"');
    if etag.len() != 32 {
        return false;
    }
    let digest = Md5::digest(data);
    let mut digits = etag.as_bytes().chunks_exact(2);
    digest.iter().all(|byte| {
        let pair = digits
            .next()
            .and_then(|pair| std::str::from_utf8(pair).ok());
        pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) == Some(*byte)
    })
}

/// What an answer says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Origin<'a> {
    pub etag: Option<&'a str>,
    pub request_id: Option<&'a str>,
    pub mark: Option<&'a str>,
}

impl Origin<'_> {
    pub fn has_etag(&self) -> bool {
        self.etag.is_some_and(|etag| !etag.is_empty())
    }

    /// Whether it is the store's, whatever its body.
    pub fn is_stores(&self) -> bool {
        let named = |value: Option<&str>| value.is_some_and(|value| !value.is_empty());
        self.has_etag() && (named(self.request_id) || named(self.mark))
    }

    /// Whether it is the store's, with this body of a whole object.
    pub fn is_stores_with(&self, body: &Bytes) -> bool {
        self.is_stores() || self.etag.is_some_and(|etag| is_md5(etag, body))
    }

    /// What the answer to a PUT of `data`, with the checksum `crc32`, proves, where the answer has `given` as checksum.
    pub fn proof(&self, data: &[u8], crc32: &str, given: Option<&str>) -> Proof {
        match (self.etag.filter(|etag| !etag.is_empty()), given) {
            (None, _) => Proof::Refused(Failure::foreign("a PUT without an ETag")),
            (Some(_), Some(given)) if given == crc32 => Proof::Given,
            (Some(_), Some(given)) => Proof::Refused(Failure::broken(format!(
                "the server has other bytes than were sent: their CRC-32 is {given}, {crc32} was sent"
            ))),
            (Some(etag), None) if is_md5(etag, data) => Proof::Given,
            (Some(_), None) => Proof::Missing,
        }
    }
}

/// The range and the object's size out of `bytes 0-9/256`.
pub(super) fn parse_content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
}
