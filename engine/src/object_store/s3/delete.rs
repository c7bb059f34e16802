//! Objects that are removed, one by one or many by one request.
//!
//! DeleteObjects takes up to 1,000 keys, and its answer names each: one that it names as deleted is, one that it names with an error or does not name at all is not,
//! and is removed by a request of its own. Several such requests are under way at once. A server that does not know DeleteObjects is asked
//! once, and then sent a DELETE for each key, several at once as well.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use tokio::task::JoinSet;

use super::answer::md5_base64;
use super::failure::{Cause, Failure};
use super::retry::Load;
use super::{Inner, Remote};
use crate::object_store::meter::RequestKind;
use crate::{Error, ErrorKind, Result};

/// Keys in one request; S3's own limit.
const BATCH: usize = 1000;
/// Requests with many keys under way at once.
const PARALLEL_BATCHES: usize = 4;
/// Requests with one key under way at once.
const PARALLEL_SINGLES: usize = 16;

impl Inner {
    /// Removes all these objects; the results are in the order of the keys.
    pub fn delete_many(&self, keys: &[String]) -> Vec<Result<()>> {
        let mut results: Vec<Option<Result<()>>> = keys.iter().map(|_| None).collect();
        let mut left: Vec<usize> = (0..keys.len()).collect();
        if left.len() > 1 && !self.remote.no_batches.load(Ordering::Relaxed) {
            let batches = left.chunks(BATCH).map(<[usize]>::to_vec).collect();
            let remove = |batch: &Vec<usize>| {
                let batch = batch.iter().map(|&at| keys[at].clone()).collect();
                self.remote.clone().delete_batch(batch)
            };
            left.clear();
            for (batch, answer) in self.parallel(batches, PARALLEL_BATCHES, remove) {
                let answer = answer.unwrap_or_else(|| Err(lost()));
                for at in batch {
                    match &answer {
                        Ok(deleted) if !deleted.contains(&keys[at]) => left.push(at),
                        Ok(_) => results[at] = Some(Ok(())),
                        // The store is away: each key would wait for it anew.
                        Err(error) => {
                            let error = Error::new(error.kind(), error.message());
                            results[at] = Some(Err(error));
                        }
                    }
                }
            }
        }
        let remove = |&at: &usize| {
            let (remote, key) = (self.remote.clone(), keys[at].clone());
            async move { remote.delete(&key).await }
        };
        for (at, result) in self.parallel(left, PARALLEL_SINGLES, remove) {
            results[at] = result;
        }
        let results = results.into_iter();
        results
            .map(|result| result.unwrap_or_else(|| Err(lost())))
            .collect()
    }

    /// Does something with each of these, several at once; what ended without a result is `None`.
    fn parallel<I, T, F>(
        &self,
        items: Vec<I>,
        most: usize,
        work: impl Fn(&I) -> F,
    ) -> Vec<(I, Option<T>)>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let Some(handle) = self.blocking.handle() else {
            return items.into_iter().map(|item| (item, None)).collect();
        };
        let mut results: Vec<Option<T>> = items.iter().map(|_| None).collect();
        // What is not waited for to its end is left without results.
        let _ = self.blocking.run(async {
            let mut running = JoinSet::new();
            let mut next = 0;
            loop {
                while next < items.len() && running.len() < most {
                    let (at, future) = (next, work(&items[next]));
                    running.spawn_on(async move { (at, future.await) }, handle);
                    next += 1;
                }
                match running.join_next().await {
                    Some(Ok((at, result))) => results[at] = Some(result),
                    Some(Err(_)) => {}
                    None => return,
                }
            }
        });
        items.into_iter().zip(results).collect()
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Internal, "a deletion ended without a result")
}

impl Remote {
    pub async fn delete(&self, key: &str) -> Result<()> {
        let load = Load::empty(RequestKind::Delete);
        let attempt = || self.delete_once(key);
        match self.attempts.call(load, |()| 0, attempt).await {
            Err(failure) if failure.cause != Cause::Absent => {
                Err(self.error("delete", key, failure))
            }
            _ => Ok(()),
        }
    }

    async fn delete_once(&self, key: &str) -> Result<(), Failure> {
        let request = self.client.delete_object().bucket(&self.bucket);
        let answer = request.key(self.key(key)).send().await?;
        if answer.request_id().is_some() {
            return Ok(());
        }
        match self.is_there_once(key).await? {
            true => Err(Failure::foreign("a DELETE after which the object is there")),
            false => Ok(()),
        }
    }

    /// Removes up to [`BATCH`] objects by one request; gives those keys that are certain to be gone. Fails where the store is away.
    async fn delete_batch(self: Arc<Self>, keys: Vec<String>) -> Result<HashSet<String>> {
        let objects = keys.iter().filter_map(|key| {
            let object = ObjectIdentifier::builder().key(self.key(key));
            object.build().ok()
        });
        let delete = Delete::builder().set_objects(Some(objects.collect()));
        let Ok(delete) = delete.build() else {
            return Ok(HashSet::new());
        };
        let load = Load::empty(RequestKind::Delete);
        let attempt = || {
            let request = self.client.delete_objects().bucket(&self.bucket);
            let request = request.delete(delete.clone()).customize();
            // Servers demand one checksum or the other; the client adds the newer one.
            let request = request.mutate_request(|request| {
                if let Some(sum) = request.body().bytes().map(md5_base64) {
                    request.headers_mut().insert("content-md5", sum);
                }
            });
            async move { Ok(request.send().await?) }
        };
        let answer = match self.attempts.call(load, |_| 0, attempt).await {
            Ok(answer) => answer,
            Err(failure) if failure.retryable() => {
                let what = format!("delete {} objects", keys.len());
                return Err(failure.into_error(&what, &self.name));
            }
            Err(failure) => {
                let why = &failure.message;
                tracing::info!("{}: objects are removed one by one: {why}", self.name);
                if failure.cause == Cause::Unsupported {
                    self.no_batches.store(true, Ordering::Relaxed);
                }
                return Ok(HashSet::new());
            }
        };
        let named = keys.into_iter().map(|key| (self.key(&key), key));
        let named: HashMap<String, String> = named.collect();
        let deleted = answer.deleted().iter().filter_map(|one| one.key());
        let mut gone: HashSet<String> = deleted.filter_map(|key| named.get(key).cloned()).collect();
        for key in answer.errors().iter().filter_map(|error| error.key()) {
            if let Some(key) = named.get(key) {
                gone.remove(key);
            }
        }
        Ok(gone)
    }
}
