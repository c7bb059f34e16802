//! Objects that are sent by one PUT.

use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::answer::{Origin, Proof, crc32_of};
use super::failure::{Cause, Failure};
use super::read::Head;
use super::retry::Load;
use super::{CRC32, MARK, Remote};
use crate::env::unique_u128;
use crate::object_store::meter::RequestKind;
use crate::{Error, ErrorKind, Result};

/// A mark that no other call draws.
pub(super) fn new_mark() -> Result<String> {
    Ok(format!("{:032x}", unique_u128()?))
}

impl Remote {
    pub async fn put(&self, key: &str, data: Bytes) -> Result<()> {
        let put = self.send(key, data, &new_mark()?, RequestKind::Put).await;
        put.map_err(|failure| self.error("write", key, failure))
    }

    /// Sends an object, if its key is free or whatever is there.
    async fn send(
        &self,
        key: &str,
        data: Bytes,
        mark: &str,
        kind: RequestKind,
    ) -> Result<(), Failure> {
        let load = Load {
            sent: data.len() as u64,
            ..Load::empty(kind)
        };
        let crc32 = crc32_of(&data);
        let (crc32, data) = (&crc32, &data);
        self.attempts
            .call(
                load,
                |()| 0,
                || {
                    let request = self.client.put_object().bucket(&self.bucket);
                    let mut request = request
                        .key(self.key(key))
                        .content_length(data.len() as i64)
                        .checksum_crc32(crc32)
                        .metadata(MARK, mark)
                        .metadata(CRC32, crc32)
                        .body(ByteStream::from(data.clone()));
                    if kind == RequestKind::PutIfAbsent {
                        request = request.if_none_match("*");
                    }
                    async move {
                        let answer = request.send().await?;
                        let origin = Origin {
                            etag: answer.e_tag(),
                            request_id: answer.request_id(),
                            mark: None,
                        };
                        match origin.proof(data, crc32, answer.checksum_crc32()) {
                            Proof::Given => Ok(()),
                            Proof::Missing => self.look_again(key, data.len() as u64, mark).await,
                            Proof::Refused(failure) => Err(failure),
                        }
                    }
                },
            )
            .await
    }

    pub async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<()> {
        let mark = new_mark()?;
        let sent = self.send(key, data.clone(), &mark, RequestKind::PutIfAbsent);
        let Err(failure) = sent.await else {
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
}
