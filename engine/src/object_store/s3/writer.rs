//! Objects that are written in pieces.
//!
//! Up to 8 MiB are kept and sent by one PUT that creates the object if its key is free. A larger object is sent as a multipart upload: parts of 8 MiB,
//! up to three under way at once, so a writer takes up to 32 MiB; then it appears by CompleteMultipartUpload. That carries
//! `If-None-Match: *` too, but some servers ignore it there and some do not know it; so the key is asked for first, and
//! what is relied on is that no two writers are given the same key: names of sorted files are never used twice. After the
//! completion the object is asked for again: it counts if it has the upload's length and mark (`answer.rs`).
//!
//! The object carries a mark of its upload in its metadata, as every object that is created. When the answer to the completion was lost and the next attempt says that the
//! upload is gone or the key taken, the mark says whether it is ours that is there.
//!
//! A writer that is dropped or fails aborts its upload. A crash leaves the parts, which no listing shows: the first large object that a
//! store sends to the prefix a day or more later has them removed. (A day is far beyond the life of any upload; an upload that was removed under a
//! living writer fails it, and loses nothing.)

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::{Origin, Proof};
use super::failure::{Cause, Failure};
use super::retry::Load;
use super::write::new_mark;
use super::{Inner, MARK, Remote};
use crate::object_store::ObjectWriter;
use crate::object_store::meter::RequestKind;
use crate::{Error, ErrorKind, Result};

/// Bytes of a part, all but the last; S3 takes none below 5 MiB.
const PART_LEN: usize = 8 << 20;
/// Parts under way at once.
const PARALLEL_PARTS: usize = 3;
/// S3's own limit.
const MOST_PARTS: i32 = 10_000;
/// How long dropping a writer may take.
const ABORT_LIMIT: Duration = Duration::from_secs(3);
/// Age at which an unfinished upload is taken for a dead writer's.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 3600);

/// An object being written to a bucket.
pub(super) struct S3Writer {
    inner: Arc<Inner>,
    key: String,
    buffer: Vec<u8>,
    upload: Option<Upload>,
}

/// A multipart upload that was begun.
struct Upload {
    id: String,
    mark: String,
    size: u64,
    parts: i32,
    under_way: JoinSet<Result<CompletedPart, Failure>>,
    done: Vec<CompletedPart>,
}

impl S3Writer {
    pub fn new(inner: Arc<Inner>, key: &str) -> Self {
        Self {
            inner,
            key: key.to_owned(),
            buffer: Vec::new(),
            upload: None,
        }
    }

    /// Sends the first `len` bytes of the buffer as the next part.
    fn send_part(&mut self, len: usize) -> Result<()> {
        let Self {
            inner,
            key,
            buffer,
            upload,
        } = self;
        let remote = &inner.remote;
        let upload = match upload {
            Some(upload) => upload,
            None => {
                inner.leftovers.call_once(|| {
                    if let Some(handle) = inner.blocking.handle() {
                        handle.spawn(remove_leftovers(Arc::clone(remote)));
                    }
                });
                upload.insert(inner.run(remote.begin(key))?)
            }
        };
        if upload.parts == MOST_PARTS {
            return Err(Error::invalid(format!(
                "write object {key}: it is larger than {MOST_PARTS} parts of {PART_LEN} bytes"
            )));
        }
        let rest = buffer.split_off(len);
        let data = Bytes::from(std::mem::replace(buffer, rest));
        upload.parts += 1;
        upload.size += data.len() as u64;
        let part = remote
            .clone()
            .send_part(key.clone(), upload.id.clone(), upload.parts, data);
        let Some(handle) = inner.blocking.handle() else {
            return Err(Error::new(ErrorKind::Internal, "the S3 store is closed"));
        };
        upload.under_way.spawn_on(part, handle);
        inner.run(upload.wait(PARALLEL_PARTS - 1, remote, key))
    }
}

impl Upload {
    /// Waits until no more than `most` parts are under way.
    async fn wait(&mut self, most: usize, remote: &Remote, key: &str) -> Result<()> {
        while self.under_way.len() > most {
            match self.under_way.join_next().await {
                Some(Ok(Ok(part))) => self.done.push(part),
                Some(Ok(Err(failure))) => return Err(remote.error("write", key, failure)),
                Some(Err(_)) => {
                    return Err(Error::new(
                        ErrorKind::Internal,
                        format!("write object {key}: a part's task ended without a result"),
                    ));
                }
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

impl ObjectWriter for S3Writer {
    fn append(&mut self, mut data: &[u8]) -> Result<()> {
        // One byte more than a part shows that the object does not fit into one PUT.
        while self.buffer.len() + data.len() > PART_LEN {
            let (now, later) = data.split_at(PART_LEN - self.buffer.len());
            self.buffer.extend_from_slice(now);
            data = later;
            self.send_part(PART_LEN)?;
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.upload.is_none() {
            let data = Bytes::from(std::mem::take(&mut self.buffer));
            let inner = &self.inner;
            return inner.run(inner.remote.put_if_absent(&self.key, data));
        }
        if !self.buffer.is_empty() {
            self.send_part(self.buffer.len())?;
        }
        let Self {
            inner, key, upload, ..
        } = &mut *self;
        if let Some(unfinished) = upload {
            inner.run(async {
                unfinished.wait(0, &inner.remote, key).await?;
                inner.remote.complete(key, unfinished).await
            })?;
        }
        *upload = None;
        Ok(())
    }
}

impl Drop for S3Writer {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else {
            return;
        };
        let inner = &self.inner;
        // What cannot be removed now is removed when a store is opened a day later.
        let _ = inner.run(async {
            let abort = async {
                upload.under_way.shutdown().await;
                inner
                    .remote
                    .abort(&inner.remote.key(&self.key), &upload.id)
                    .await
            };
            let _ = timeout(ABORT_LIMIT, abort).await;
            Ok(())
        });
    }
}

impl Remote {
    async fn begin(&self, key: &str) -> Result<Upload> {
        let mark = new_mark()?;
        let load = Load::empty(RequestKind::MultipartCreate);
        let begun = self.attempts.call(
            load,
            |_| 0,
            || {
                let request = self.client.create_multipart_upload().bucket(&self.bucket);
                let request = request.key(self.key(key)).metadata(MARK, &mark);
                async move {
                    let answer = request.send().await?;
                    let id = answer.upload_id;
                    id.filter(|id| !id.is_empty())
                        .ok_or_else(|| Failure::foreign("an upload without an id"))
                }
            },
        );
        let id = begun
            .await
            .map_err(|failure| self.error("write", key, failure))?;
        Ok(Upload {
            id,
            mark,
            size: 0,
            parts: 0,
            under_way: JoinSet::new(),
            done: Vec::new(),
        })
    }

    async fn send_part(
        self: Arc<Self>,
        key: String,
        upload: String,
        number: i32,
        data: Bytes,
    ) -> Result<CompletedPart, Failure> {
        let load = Load {
            sent: data.len() as u64,
            ..Load::empty(RequestKind::MultipartPart)
        };
        let data = &data;
        self.attempts
            .call(
                load,
                |_| 0,
                || {
                    let request = self.client.upload_part().bucket(&self.bucket);
                    let request = request
                        .key(self.key(&key))
                        .upload_id(&upload)
                        .part_number(number)
                        .content_length(data.len() as i64)
                        .body(ByteStream::from(data.clone()));
                    async move {
                        let answer = request.send().await?;
                        let origin = Origin {
                            etag: answer.e_tag(),
                            request_id: answer.request_id(),
                            mark: None,
                        };
                        // Whose part is not there when the upload is completed, the store itself says.
                        if !origin.is_stores() {
                            match origin.proof(data, "", None) {
                                Proof::Given => {}
                                Proof::Refused(failure) => return Err(failure),
                                Proof::Missing => {
                                    return Err(Failure::foreign("a part with another ETag"));
                                }
                            }
                        }
                        Ok(CompletedPart::builder()
                            .part_number(number)
                            .set_e_tag(answer.e_tag)
                            .build())
                    }
                },
            )
            .await
    }

    /// Makes the object appear, unless its key is taken.
    async fn complete(&self, key: &str, upload: &Upload) -> Result<()> {
        match self.is_there(key).await {
            Ok(false) => {}
            Ok(true) => {
                let taken = Failure::new(Cause::Exists, "");
                return Err(self.error("create", key, taken));
            }
            Err(failure) => return Err(self.error("create", key, failure)),
        }
        let mut completed = self.complete_once(key, upload, true).await;
        if let Err(Failure {
            cause: Cause::Unsupported,
            ..
        }) = completed
        {
            completed = self.complete_once(key, upload, false).await;
        }
        let Err(failure) = completed else {
            return Ok(());
        };
        let decided = matches!(
            failure.cause,
            Cause::Exists | Cause::NoUpload | Cause::Absent
        );
        if decided && failure.after_ambiguous {
            // The attempt that was not answered may be the one that completed it.
            match self.head(key).await {
                Ok(head)
                    if head.mark.as_ref() == Some(&upload.mark) && head.size == upload.size =>
                {
                    return Ok(());
                }
                Ok(_) => {
                    let taken = Failure::new(Cause::Exists, "");
                    return Err(self.error("create", key, taken));
                }
                Err(failure) if failure.cause != Cause::Absent => {
                    return Err(self.error("create", key, failure));
                }
                Err(_) => {}
            }
        }
        let failure = match failure.cause {
            // Of the upload, not of the object.
            Cause::Absent => Failure {
                cause: Cause::NoUpload,
                ..failure
            },
            _ => failure,
        };
        Err(self.error("create", key, failure))
    }

    async fn complete_once(
        &self,
        key: &str,
        upload: &Upload,
        guarded: bool,
    ) -> Result<(), Failure> {
        let mut parts = upload.done.clone();
        parts.sort_by_key(|part| part.part_number);
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let load = Load {
            // A server may take its time to put the parts together.
            expected: upload.size,
            ..Load::empty(RequestKind::MultipartComplete)
        };
        self.attempts
            .call(
                load,
                |()| 0,
                || {
                    let request = self.client.complete_multipart_upload().bucket(&self.bucket);
                    let request = request
                        .key(self.key(key))
                        .upload_id(&upload.id)
                        .set_if_none_match(guarded.then(|| "*".to_owned()))
                        .multipart_upload(parts.clone());
                    async move {
                        let answer = request.send().await?;
                        if answer.e_tag().is_none_or(str::is_empty) {
                            return Err(Failure::foreign("a completed upload without an ETag"));
                        }
                        self.look_again(key, upload.size, &upload.mark).await
                    }
                },
            )
            .await
    }

    /// Removes the parts of an upload; `key` with the store's prefix.
    async fn abort(&self, key: &str, upload: &str) -> Result<(), Failure> {
        let load = Load::empty(RequestKind::MultipartAbort);
        self.attempts
            .call(
                load,
                |()| 0,
                || {
                    let request = self.client.abort_multipart_upload().bucket(&self.bucket);
                    let request = request.key(key).upload_id(upload);
                    async move {
                        let answer = request.send().await?;
                        if answer.request_id().is_some() {
                            return Ok(());
                        }
                        self.is_gone(key, upload).await
                    }
                },
            )
            .await
    }
}

impl Remote {
    /// Makes sure, as part of a request that was answered, that an upload is gone; `key` with the store's prefix.
    async fn is_gone(&self, key: &str, upload: &str) -> Result<(), Failure> {
        let request = self.client.list_parts().bucket(&self.bucket);
        let request = request.key(key).upload_id(upload).max_parts(1);
        let asked = async { Ok(request.send().await?) };
        match self
            .attempts
            .count(RequestKind::MultipartAbort, asked)
            .await
        {
            Err(failure) if failure.cause == Cause::NoUpload => Ok(()),
            Err(failure) => Err(failure),
            Ok(_) => Err(Failure::foreign(
                "an upload that is there after it was aborted",
            )),
        }
    }
}

/// Removes uploads under the store's prefix that were begun long ago. Failures are of no consequence: the next opening tries again.
pub(super) async fn remove_leftovers(remote: Arc<Remote>) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let load = Load::empty(RequestKind::MultipartAbort);
    let listed = remote.attempts.call(
        load,
        |_| 0,
        || {
            let request = remote
                .client
                .list_multipart_uploads()
                .bucket(&remote.bucket);
            let request = request.prefix(&remote.prefix);
            async move { Ok(request.send().await?) }
        },
    );
    let Ok(listed) = listed.await else {
        return;
    };
    for upload in listed.uploads() {
        let (Some(key), Some(id), Some(begun)) =
            (upload.key(), upload.upload_id(), upload.initiated())
        else {
            continue;
        };
        let begun = Duration::from_secs(begun.secs().max(0).unsigned_abs());
        if key.starts_with(&remote.prefix) && now.saturating_sub(begun) > LEFTOVER_AGE {
            let _ = remote.abort(key, id).await;
        }
    }
}
