//! Reading objects, and what is known about them.

use std::ops::Range;

use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use bytes::Bytes;

use super::answer::{Origin, crc32_of, parse_content_range};
use super::failure::{Cause, Failure};
use super::retry::Load;
use super::{CRC32, MARK, PAGE, Remote};
use crate::object_store::memory::check_range;
use crate::object_store::meter::RequestKind;
use crate::object_store::{ObjectMeta, validate_key};
use crate::{Error, Result};

/// No object of any store is this long.
const LONGEST_OBJECT: u64 = 1 << 50;
/// How often an object is asked for again that is there by one answer and not by another.
const HEADS: u32 = 3;

/// What a HEAD says.
pub(super) struct Head {
    pub size: u64,
    pub mark: Option<String>,
}

/// One answer to a listing.
struct Page {
    objects: Vec<ObjectMeta>,
    more: bool,
    token: Option<String>,
}

impl Remote {
    pub async fn get(&self, key: &str) -> Result<Bytes, Failure> {
        let load = Load::empty(RequestKind::Get);
        let length = |body: &Bytes| body.len() as u64;
        self.attempts
            .call(load, length, || async move {
                let request = self.client.get_object().bucket(&self.bucket);
                let request = request
                    .key(self.key(key))
                    .checksum_mode(ChecksumMode::Enabled);
                let mut answer = request.send().await?;
                let body = std::mem::take(&mut answer.body);
                let origin = origin_of(&answer)?;
                let body = collect(body).await?;
                match answer.content_length() {
                    Some(expected) if expected != body.len() as i64 => {
                        Err(short(body.len(), expected))
                    }
                    _ if !origin.is_stores_with(&body) => {
                        Err(Failure::foreign("a GET with nothing that only a store has"))
                    }
                    _ => match answer.metadata().and_then(|all| all.get(CRC32)) {
                        Some(crc32) if *crc32 != crc32_of(&body) => Err(Failure::broken(
                            "other bytes came than were sent: their CRC-32 differs",
                        )),
                        _ => Ok(body),
                    },
                }
            })
            .await
    }

    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end {
            return Err(Error::invalid(format!(
                "read object {key}: range {}..{} ends before it starts",
                range.start, range.end
            )));
        }
        // The protocol has no empty range, and some servers no numbers as large as ours.
        if range.is_empty() || range.end > LONGEST_OBJECT {
            let size = self.size(key).await?;
            check_range(key, &range, size)?;
            return Ok(Bytes::new());
        }
        let result = self.get_part(key, range.clone()).await;
        result.map_err(|failure| {
            if failure.cause == Cause::Range {
                return Error::corruption(format!(
                    "read object {key}: bytes {}..{} asked for, it ends before",
                    range.start, range.end
                ));
            }
            self.error("read", key, failure)
        })
    }

    async fn get_part(&self, key: &str, range: Range<u64>) -> Result<Bytes, Failure> {
        let load = Load {
            expected: range.end - range.start,
            ..Load::empty(RequestKind::Get)
        };
        let length = |body: &Bytes| body.len() as u64;
        let attempt = || self.get_range_once(key, range.clone());
        self.attempts.call(load, length, attempt).await
    }

    /// Whether there is an object: what a HEAD cannot say in a way that only a store can.
    pub async fn is_there(&self, key: &str) -> Result<bool, Failure> {
        found(self.get_part(key, 0..1).await)
    }

    /// The same by one attempt, as part of another request's.
    pub async fn is_there_once(&self, key: &str) -> Result<bool, Failure> {
        let asked = self.get_range_once(key, 0..1);
        found(self.attempts.count(RequestKind::Get, asked).await)
    }

    async fn get_range_once(&self, key: &str, range: Range<u64>) -> Result<Bytes, Failure> {
        let request = self.client.get_object().bucket(&self.bucket);
        let request =
            request
                .key(self.key(key))
                .range(format!("bytes={}-{}", range.start, range.end - 1));
        let mut answer = request.send().await?;
        let body = std::mem::take(&mut answer.body);
        let origin = origin_of(&answer)?;
        let shorter = || match origin.is_stores() {
            true => Failure::new(Cause::Range, "the object is shorter"),
            false => Failure::foreign("a GET with another range than asked for"),
        };
        let wanted = range.end - range.start;
        let Some(content_range) = answer.content_range() else {
            // A server may send the whole object instead.
            let body = collect(body).await?;
            let (start, end) = (range.start as usize, range.end as usize);
            return match origin.is_stores_with(&body) {
                false => Err(Failure::foreign("a GET with nothing that only a store has")),
                true if body.len() < end => Err(shorter()),
                true => Ok(body.slice(start..end)),
            };
        };
        match parse_content_range(content_range) {
            Some((first, _, total)) if first == range.start && total < range.end => {
                return Err(shorter());
            }
            Some((first, last, _)) if first == range.start && last == range.end - 1 => {}
            _ => {
                return Err(Failure::foreign(format!(
                    "bytes {}-{} asked for, {content_range:?} came",
                    range.start,
                    range.end - 1
                )));
            }
        }
        let body = collect(body).await?;
        match body.len() as u64 == wanted {
            true => Ok(body),
            false => Err(short(body.len(), wanted as i64)),
        }
    }

    pub async fn head(&self, key: &str) -> Result<Head, Failure> {
        let load = Load::empty(RequestKind::Head);
        for _ in 0..HEADS {
            let asked = self.attempts.call(load, |_| 0, || self.head_once(key));
            match asked.await {
                // Only the store gives it, in its error document, and a HEAD has none.
                Err(absent) if absent.cause == Cause::Absent => match self.is_there(key).await? {
                    true => {}
                    false => return Err(absent),
                },
                result => return result,
            }
        }
        Err(Failure::foreign(
            "a HEAD that finds no object where a GET does",
        ))
    }

    async fn head_once(&self, key: &str) -> Result<Head, Failure> {
        let request = self.client.head_object().bucket(&self.bucket);
        let answer = request.key(self.key(key)).send().await;
        let answer = answer.map_err(Failure::of_head)?;
        let mark = answer.metadata().and_then(|all| all.get(MARK)).cloned();
        let origin = Origin {
            etag: answer.e_tag(),
            request_id: answer.request_id(),
            mark: mark.as_deref(),
        };
        if !origin.is_stores() {
            return Err(Failure::foreign(
                "a HEAD with nothing that only a store has",
            ));
        }
        let size = answer.content_length();
        let size = size.and_then(|size| size.try_into().ok());
        let size = size.ok_or_else(|| Failure::broken("an answer without a length"))?;
        Ok(Head { size, mark })
    }

    /// Makes sure, as part of a request that was answered, that the object is there as it was sent.
    pub async fn look_again(&self, key: &str, size: u64, mark: &str) -> Result<(), Failure> {
        let asked = self.attempts.count(RequestKind::Head, self.head_once(key));
        match asked.await {
            Ok(head) if head.size == size && head.mark.as_deref() == Some(mark) => Ok(()),
            Ok(_) => Err(Failure::broken(
                "the server says that it stored the object, and has another",
            )),
            Err(failure) => Err(Failure::broken(format!(
                "the server says that it stored the object, and it is not found: {}",
                failure.message
            ))),
        }
    }

    pub async fn size(&self, key: &str) -> Result<u64> {
        let head = self.head(key).await;
        head.map(|head| head.size)
            .map_err(|failure| self.error("read", key, failure))
    }

    async fn page(
        &self,
        prefix: &str,
        after: &str,
        token: Option<&str>,
        limit: usize,
    ) -> Result<Page, Failure> {
        let load = Load::empty(RequestKind::List);
        let prefix = self.key(prefix);
        self.attempts
            .call(
                load,
                |_| 0,
                || {
                    let request = self.client.list_objects_v2().bucket(&self.bucket);
                    let request = request
                        .prefix(&prefix)
                        .set_start_after((!after.is_empty()).then(|| self.key(after)))
                        .set_continuation_token(token.map(str::to_owned))
                        .max_keys(limit.min(PAGE) as i32);
                    async {
                        let answer = request.send().await?;
                        let other = answer.prefix().is_some_and(|given| given != prefix);
                        let mut keys = answer.contents().iter().filter_map(|object| object.key());
                        if other || !keys.all(|key| key.starts_with(&prefix)) {
                            return Err(Failure::foreign("a listing of another prefix"));
                        }
                        let more = answer.is_truncated() == Some(true);
                        let token = answer.next_continuation_token;
                        let objects = answer.contents.unwrap_or_default();
                        let objects = objects.into_iter().filter_map(|object| {
                            let key = object.key?.strip_prefix(&self.prefix)?.to_owned();
                            let size = object.size.and_then(|size| size.try_into().ok())?;
                            Some(ObjectMeta { key, size })
                        });
                        let objects: Vec<ObjectMeta> = objects.collect();
                        if more && objects.is_empty() && token.is_none() {
                            return Err(Failure::foreign(
                                "a listing that goes on and does not say where",
                            ));
                        }
                        Ok(Page {
                            objects,
                            more,
                            token,
                        })
                    }
                },
            )
            .await
    }

    pub async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        let mut found = Vec::new();
        // What begins with the prefix lies together; beyond it there is nothing.
        if after > prefix && !after.starts_with(prefix) {
            return Ok(found);
        }
        let mut after = after.to_owned();
        let mut token = None;
        while found.len() < limit {
            let page = self.page(prefix, &after, token.as_deref(), limit - found.len());
            let page = page
                .await
                .map_err(|failure| failure.into_error(&format!("list {prefix:?}"), &self.name))?;
            let last = page.objects.last().map(|object| object.key.clone());
            // What others keep in the bucket is not ours to name.
            let ours = page
                .objects
                .into_iter()
                .filter(|object| validate_key(&object.key).is_ok());
            found.extend(ours);
            if !page.more {
                break;
            }
            token = match last {
                Some(last) => {
                    after = last;
                    None
                }
                // A page of nothing but what was deleted.
                None => page.token,
            };
        }
        Ok(found)
    }
}

/// What the answer to a GET says of itself. Without an ETag it is nobody's.
fn origin_of(answer: &GetObjectOutput) -> Result<Origin<'_>, Failure> {
    let mark = answer.metadata().and_then(|all| all.get(MARK));
    let origin = Origin {
        etag: answer.e_tag(),
        request_id: answer.request_id(),
        mark: mark.map(String::as_str),
    };
    match origin.has_etag() {
        true => Ok(origin),
        false => Err(Failure::foreign("a GET without an ETag")),
    }
}

/// What a GET of the first byte says of whether there is an object.
fn found(first_byte: Result<Bytes, Failure>) -> Result<bool, Failure> {
    match first_byte {
        Ok(_) => Ok(true),
        Err(failure) => match failure.cause {
            // Of an object without any.
            Cause::Range => Ok(true),
            Cause::Absent => Ok(false),
            _ => Err(failure),
        },
    }
}

async fn collect(body: ByteStream) -> Result<Bytes, Failure> {
    let body = body.collect().await;
    body.map(|body| body.into_bytes())
        .map_err(|error| Failure::broken(format!("the answer broke off: {error}")))
}

fn short(length: usize, expected: i64) -> Failure {
    Failure::broken(format!(
        "{length} bytes came where {expected} were announced"
    ))
}
