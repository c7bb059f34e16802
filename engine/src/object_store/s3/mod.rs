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
//! Large objects are sent in parts, see `writer.rs`. What counts as an answer is said in `answer.rs`: something that answers every request with a page of its
//! own is a store that is away, not one that is empty.
//!
//! # Threads
//! A call blocks the thread that makes it, which must not belong to an asynchronous runtime. The store has a few threads for sockets and
//! timers. When nothing is asked of it, it sends nothing.
//!
//! [`probe_put_if_absent`]: super::probe_put_if_absent

mod answer;
mod client;
mod delete;
mod document;
mod failure;
mod read;
mod retry;
mod runtime;
#[cfg(test)]
mod tests;
mod write;
mod writer;

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};
use std::time::Duration;

use aws_sdk_s3::Client;
use bytes::Bytes;

use self::failure::Failure;
use self::retry::{Attempts, Load};
use self::runtime::Blocking;
use self::writer::S3Writer;
use super::meter::{Meter, RequestKind};
use super::url::S3Location;
use super::{ObjectMeta, ObjectReader, ObjectStore, ObjectWriter, validate_key};
use crate::{Error, Result, ResultExt};

/// How long opening may take, however long the store's deadline is: a typing error in the endpoint should show soon.
const OPEN_DEADLINE: Duration = Duration::from_secs(20);
/// The name of the mark in an object's metadata.
const MARK: &str = "smartengine-mark";
/// The name of the bytes' CRC-32 there, of objects that were sent whole.
const CRC32: &str = "smartengine-crc32";
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
    /// Whether the server does not know requests that remove many objects.
    no_batches: AtomicBool,
}

impl S3Store {
    /// Connects to the bucket and looks into it, so that what is wrong with its name, the credentials or their rights shows at once:
    /// [`crate::ErrorKind::Invalid`].
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
                no_batches: AtomicBool::new(false),
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
        let data = Bytes::copy_from_slice(data);
        self.inner.run(self.inner.remote.put(key, data))
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

    fn delete_many(&self, keys: &[String]) -> Vec<Result<()>> {
        let refused = keys.iter().map(|key| validate_key(key).err());
        let refused: Vec<Option<Error>> = refused.collect();
        if refused.iter().any(Option::is_some) {
            // Nobody asks for these: what is good among them takes its time.
            let each = keys.iter().zip(refused);
            return each
                .map(|(key, refused)| refused.map_or_else(|| self.delete(key), Err))
                .collect();
        }
        self.inner.delete_many(keys)
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        Some(self.inner.remote.attempts.meter())
    }
}
