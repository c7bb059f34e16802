//! Objects in a bucket of S3, or of a server that speaks its protocol.
//!
//! # What is relied on
//! - A PUT with `If-None-Match: *` creates an object or answers 412, and of several at once one creates it. [`probe_put_if_absent`] asks a store
//!   whether it does. `If-Match` is not used: some servers refuse an ETag that matches.
//! - What a successful PUT, DELETE or CompleteMultipartUpload did is seen by the next GET, HEAD and listing, as S3 has it since 2020.
//!
//! # Answers that are lost
//! GET, HEAD, LIST, DELETE and PUT are repeated until they succeed or the deadline passes. (A PUT that is repeated may replace what another put meanwhile;
//! the engine puts only hints.) For [`put_if_absent`](ObjectStore::put_if_absent) an attempt that timed out or broke off may have
//! created the object, so that the next one is answered 412 by its own success; and something between here and the server may repeat a request and
//! pass on the second answer. So each call gives its object a mark of its own, a number in its metadata that no other call draws. At a 412 the
//! object's mark is asked for: if it is this call's, this call created it; if it is another, another did. Only where a server keeps
//! no metadata are the bytes compared, and only after an attempt that was not answered: the very bytes that were to be written were written by
//! that attempt, or by a writer with the same bytes, and then what lies there is what either meant. (What decides who owns a store, manifest edits and
//! fence records, differs between any two writers.) 409 means that the server is busy with another creation of that key, and decides
//! nothing: it is repeated.
//!
//! Large objects are sent in parts, see `writer.rs`.
//!
//! # Threads
//! A call blocks the thread that makes it, which must not belong to an asynchronous runtime. The store has a few threads for sockets and
//! timers. When nothing is asked of it, it sends nothing.
//!
//! [`probe_put_if_absent`]: super::probe_put_if_absent

mod client;
mod failure;
mod retry;
mod runtime;
#[cfg(test)]
mod tests;
mod writer;

use std::ops::Range;
use std::sync::{Arc, Once};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use self::failure::{Cause, Failure};
use self::retry::{Attempts, Load};
use self::runtime::Blocking;
use self::writer::S3Writer;
use super::meter::{Meter, RequestKind};
use super::url::S3Location;
use super::{ObjectMeta, ObjectReader, ObjectStore, ObjectWriter, validate_key};
use crate::env::unique_u128;
use crate::{Error, ErrorKind, Result, ResultExt};

/// How long opening may take, however long the store's deadline is: a typing error in the endpoint should show soon.
const OPEN_DEADLINE: Duration = Duration::from_secs(20);
/// No object of any store is this long.
const LONGEST_OBJECT: u64 = 1 << 50;
/// The name of the mark in an object's metadata.
const MARK: &str = "smartengine-mark";
/// Keys in one answer to a listing.
const PAGE: usize = 1000;

/// A store in a bucket. See the module's description.
pub struct S3Store {
    inner: Arc<Inner>,
}

struct Inner {
    remote: Arc<Remote>,
    blocking: Blocking,
    /// Has what dead writers left removed.
    leftovers: Once,
}

/// What tasks share: everything but the threads that they run on.
struct Remote {
    client: Client,
    bucket: String,
    prefix: String,
    /// For messages.
    name: String,
    attempts: Attempts,
}

impl S3Store {
    /// Connects to the bucket and looks into it, so that what is wrong with its name, the credentials or their rights shows at once:
    /// [`ErrorKind::Invalid`].
    pub fn open(location: S3Location) -> Result<Self> {
        let S3Location {
            bucket,
            prefix,
            options,
        } = location;
        let place = format!("s3://{bucket}/{}", prefix.trim_end_matches('/'));
        let open = || {
            options.validate()?;
            let blocking = Blocking::new()?;
            let connected = blocking.run(client::connect(&options))??;
            let remote = Arc::new(Remote {
                client: connected.client,
                name: format!("bucket {bucket} at {}", connected.endpoint),
                bucket,
                prefix,
                attempts: Attempts::new(&options),
            });
            blocking.run(remote.look())??;
            Ok(Self {
                inner: Arc::new(Inner {
                    remote,
                    blocking,
                    leftovers: Once::new(),
                }),
            })
        };
        open().context(|| format!("open store {place}"))
    }
}

impl Inner {
    fn run<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.blocking.run(future)?
    }
}

impl Remote {
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn error(&self, what: &str, key: &str, failure: Failure) -> Error {
        failure.into_error(&format!("{what} object {key}"), &self.name)
    }

    /// Whether the bucket is there and may be listed.
    async fn look(&self) -> Result<()> {
        let listed = self.attempts.call_within(
            OPEN_DEADLINE,
            Load::empty(RequestKind::List),
            |_| 0,
            || {
                let request = self.client.list_objects_v2().bucket(&self.bucket);
                let request = request.prefix(&self.prefix).max_keys(1);
                async move { Ok(request.send().await?) }
            },
        );
        match listed.await {
            Ok(_) => Ok(()),
            Err(failure) if !failure.retryable() => Err(Error::invalid(format!(
                "{}: {}",
                self.name, failure.message
            ))),
            Err(failure) => Err(failure.into_error("list", &self.name)),
        }
    }

    /// Sends an object; with a mark, only if its key is free.
    async fn put(&self, key: &str, data: Bytes, mark: Option<&str>) -> Result<(), Failure> {
        let kind = match mark {
            Some(_) => RequestKind::PutIfAbsent,
            None => RequestKind::Put,
        };
        let load = Load {
            sent: data.len() as u64,
            ..Load::empty(kind)
        };
        self.attempts
            .call(
                load,
                |()| 0,
                || {
                    let request = self.client.put_object().bucket(&self.bucket);
                    let mut request = request
                        .key(self.key(key))
                        .content_length(data.len() as i64)
                        .body(ByteStream::from(data.clone()));
                    if let Some(mark) = mark {
                        request = request.if_none_match("*").metadata(MARK, mark);
                    }
                    async move {
                        request.send().await?;
                        Ok(())
                    }
                },
            )
            .await
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<()> {
        let mark = format!("{:032x}", unique_u128());
        let Err(failure) = self.put(key, data.clone(), Some(&mark)).await else {
            return Ok(());
        };
        if failure.cause != Cause::Exists {
            return Err(self.error("create", key, failure));
        }
        let ours = match self.head(key).await {
            Ok(Head {
                mark: Some(found), ..
            }) => found == mark,
            Ok(Head { mark: None, .. }) if failure.after_ambiguous => match self.get(key).await {
                Ok(found) => found == data,
                Err(failure) => return Err(self.undecided(key, failure)),
            },
            Ok(Head { mark: None, .. }) => false,
            Err(failure) => return Err(self.undecided(key, failure)),
        };
        match ours {
            true => Ok(()),
            false => Err(self.error("create", key, failure)),
        }
    }

    /// The error where an object that exists could not be looked at.
    fn undecided(&self, key: &str, failure: Failure) -> Error {
        Error::new(
            ErrorKind::Unavailable,
            format!(
                "create object {key} ({}): it exists, and who created it could not be found out: {}",
                self.name, failure.message
            ),
        )
    }

    async fn get(&self, key: &str) -> Result<Bytes, Failure> {
        let load = Load::empty(RequestKind::Get);
        let length = |body: &Bytes| body.len() as u64;
        self.attempts
            .call(load, length, || async move {
                let request = self.client.get_object().bucket(&self.bucket);
                let answer = request.key(self.key(key)).send().await?;
                let expected = answer.content_length();
                let body = collect(answer.body).await?;
                match expected {
                    Some(expected) if expected != body.len() as i64 => {
                        Err(short(body.len(), expected))
                    }
                    _ => Ok(body),
                }
            })
            .await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end {
            return Err(Error::invalid(format!(
                "read object {key}: range {}..{} ends before it starts",
                range.start, range.end
            )));
        }
        // The protocol has no empty range, and some servers no numbers as large as ours.
        if range.is_empty() || range.end > LONGEST_OBJECT {
            let size = self.size(key).await?;
            super::memory::check_range(key, &range, size)?;
            return Ok(Bytes::new());
        }
        let load = Load {
            expected: range.end - range.start,
            ..Load::empty(RequestKind::Get)
        };
        let length = |body: &Bytes| body.len() as u64;
        let result = self
            .attempts
            .call(load, length, || self.get_range_once(key, range.clone()));
        result.await.map_err(|failure| {
            if failure.cause == Cause::Range {
                return Error::corruption(format!(
                    "read object {key}: bytes {}..{} asked for, it ends before",
                    range.start, range.end
                ));
            }
            self.error("read", key, failure)
        })
    }

    async fn get_range_once(&self, key: &str, range: Range<u64>) -> Result<Bytes, Failure> {
        let request = self.client.get_object().bucket(&self.bucket);
        let request =
            request
                .key(self.key(key))
                .range(format!("bytes={}-{}", range.start, range.end - 1));
        let answer = request.send().await?;
        let total = answer.content_range().and_then(total_of);
        if total.is_some_and(|total| total < range.end) {
            return Err(Failure::new(Cause::Range, "the object is shorter"));
        }
        let whole = answer.content_range().is_none();
        let body = collect(answer.body).await?;
        let wanted = range.end - range.start;
        if !whole && body.len() as u64 == wanted {
            return Ok(body);
        }
        // A server may send the whole object instead.
        let (start, end) = (range.start as usize, range.end as usize);
        match whole {
            true if body.len() < end => Err(Failure::new(Cause::Range, "the object is shorter")),
            true => Ok(body.slice(start..end)),
            false => Err(short(body.len(), wanted as i64)),
        }
    }

    async fn head(&self, key: &str) -> Result<Head, Failure> {
        let load = Load::empty(RequestKind::Head);
        self.attempts
            .call(
                load,
                |_| 0,
                || {
                    let request = self.client.head_object().bucket(&self.bucket);
                    let request = request.key(self.key(key));
                    async move {
                        let answer = request.send().await?;
                        let size = answer
                            .content_length()
                            .and_then(|size| size.try_into().ok());
                        let size =
                            size.ok_or_else(|| Failure::broken("an answer without a length"))?;
                        let mark = answer.metadata().and_then(|all| all.get(MARK));
                        let mark = mark.cloned();
                        Ok(Head { size, mark })
                    }
                },
            )
            .await
    }

    async fn size(&self, key: &str) -> Result<u64> {
        let head = self.head(key).await;
        head.map(|head| head.size)
            .map_err(|failure| self.error("read", key, failure))
    }

    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Page, Failure> {
        let load = Load::empty(RequestKind::List);
        self.attempts
            .call(
                load,
                |_| 0,
                || {
                    let request = self.client.list_objects_v2().bucket(&self.bucket);
                    let request = request
                        .prefix(self.key(prefix))
                        .set_start_after((!after.is_empty()).then(|| self.key(after)))
                        .max_keys(limit.min(PAGE) as i32);
                    async move {
                        let answer = request.send().await?;
                        let more = answer.is_truncated() == Some(true);
                        let objects = answer.contents.unwrap_or_default();
                        let objects = objects.into_iter().filter_map(|object| {
                            let key = object.key?.strip_prefix(&self.prefix)?.to_owned();
                            let size = object.size.and_then(|size| size.try_into().ok())?;
                            Some(ObjectMeta { key, size })
                        });
                        Ok(Page {
                            objects: objects.collect(),
                            more,
                        })
                    }
                },
            )
            .await
    }

    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        let mut found = Vec::new();
        // What begins with the prefix lies together; beyond it there is nothing.
        if after > prefix && !after.starts_with(prefix) {
            return Ok(found);
        }
        let mut after = after.to_owned();
        while found.len() < limit {
            let page = self.page(prefix, &after, limit - found.len()).await;
            let page = page
                .map_err(|failure| failure.into_error(&format!("list {prefix:?}"), &self.name))?;
            let last = page.objects.last().map(|object| object.key.clone());
            // What others keep in the bucket is not ours to name.
            let ours = page
                .objects
                .into_iter()
                .filter(|object| validate_key(&object.key).is_ok());
            found.extend(ours);
            match last {
                Some(last) if page.more => after = last,
                _ => break,
            }
        }
        Ok(found)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let load = Load::empty(RequestKind::Delete);
        let deleted = self.attempts.call(
            load,
            |()| 0,
            || {
                let request = self.client.delete_object().bucket(&self.bucket);
                let request = request.key(self.key(key));
                async move {
                    request.send().await?;
                    Ok(())
                }
            },
        );
        match deleted.await {
            Err(failure) if failure.cause != Cause::Absent => {
                Err(self.error("delete", key, failure))
            }
            _ => Ok(()),
        }
    }
}

/// What a HEAD says.
struct Head {
    size: u64,
    mark: Option<String>,
}

/// One answer to a listing.
struct Page {
    objects: Vec<ObjectMeta>,
    more: bool,
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

/// The size of the object out of `bytes 0-9/256`.
fn total_of(content_range: &str) -> Option<u64> {
    content_range.rsplit_once('/')?.1.parse().ok()
}

struct S3Reader {
    inner: Arc<Inner>,
    key: String,
}

impl ObjectReader for S3Reader {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let inner = &self.inner;
        inner.run(inner.remote.get_range(&self.key, range))
    }
}

impl ObjectStore for S3Store {
    fn put(&self, key: &str, data: &[u8]) -> Result<()> {
        validate_key(key)?;
        let remote = &self.inner.remote;
        let data = Bytes::copy_from_slice(data);
        self.inner.run(async {
            let put = remote.put(key, data, None).await;
            put.map_err(|failure| remote.error("write", key, failure))
        })
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
        validate_key(key)?;
        let data = Bytes::copy_from_slice(data);
        self.inner.run(self.inner.remote.put_if_absent(key, data))
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        validate_key(key)?;
        Ok(Box::new(S3Writer::new(Arc::clone(&self.inner), key)))
    }

    fn get(&self, key: &str) -> Result<Bytes> {
        validate_key(key)?;
        let remote = &self.inner.remote;
        self.inner.run(async {
            let body = remote.get(key).await;
            body.map_err(|failure| remote.error("read", key, failure))
        })
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        validate_key(key)?;
        self.inner.run(self.inner.remote.get_range(key, range))
    }

    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>> {
        validate_key(key)?;
        Ok(Arc::new(S3Reader {
            inner: Arc::clone(&self.inner),
            key: key.to_owned(),
        }))
    }

    fn size(&self, key: &str) -> Result<u64> {
        validate_key(key)?;
        self.inner.run(self.inner.remote.size(key))
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        self.inner.run(self.inner.remote.list(prefix, after, limit))
    }

    fn delete(&self, key: &str) -> Result<()> {
        validate_key(key)?;
        self.inner.run(self.inner.remote.delete(key))
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        Some(self.inner.remote.attempts.meter())
    }
}
