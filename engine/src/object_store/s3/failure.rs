//! What an attempt at a request came to when it was not a success, told from what the server or the network said.
//!
//! Nothing here repeats what may hold a secret: of an answer its code and its message are shown, of a failed connection the innermost cause, of
//! missing credentials only where they are looked for.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::{Error, ErrorKind};

/// What a failed attempt means for what is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No such object.
    Absent,
    /// The key is taken.
    Exists,
    /// Someone else was creating the same key just then; nothing is decided.
    Conflict,
    /// The object ends before the range begins.
    Range,
    /// A multipart upload that is gone: completed, or aborted.
    NoUpload,
    /// The server does not know this request or this condition of it.
    Unsupported,
    /// The store is full.
    Full,
    /// It will fail again until someone changes something: credentials, rights, the bucket's name, the region.
    Refused,
    /// It may go well the next time.
    Passing,
    /// The same, and the server asks for fewer requests.
    Throttled,
}

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub cause: Cause,
    pub message: String,
    /// Whether the server may have done what it was asked to.
    pub ambiguous: bool,
    /// Whether an earlier attempt of the same call was ambiguous.
    pub after_ambiguous: bool,
}

impl Failure {
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
            ambiguous: false,
            after_ambiguous: false,
        }
    }

    /// The network or the server failed, after it may have done its work.
    pub fn broken(message: impl Into<String>) -> Self {
        Self {
            ambiguous: true,
            ..Self::new(Cause::Passing, message)
        }
    }

    /// What answered is not the store, or not in a way that shows it: nothing follows from the answer, and what was asked for may have been done.
    pub fn foreign(what: impl std::fmt::Display) -> Self {
        Self::broken(format!(
            "an answer that is not S3's: {what}; a proxy or a login page may stand between here and the store"
        ))
    }

    /// What a failed HEAD says, whose answer has no document: only its status.
    pub fn of_head<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let Some(raw) = error.raw_response() else {
            return Self::from(error);
        };
        let known = raw.headers().get("x-amz-request-id").is_some();
        match raw.status().as_u16() {
            404 => Self::new(Cause::Absent, "the server answered 404"),
            status @ (401 | 403) if known => Self::new(
                Cause::Refused,
                format!("the server answered {status}; {RIGHTS}"),
            ),
            status if status < 500 => Self::foreign(format!("{status} to a HEAD")),
            _ => Self::from(error),
        }
    }

    /// Whether another attempt makes sense.
    pub fn retryable(&self) -> bool {
        matches!(
            self.cause,
            Cause::Passing | Cause::Throttled | Cause::Conflict
        )
    }

    /// The engine's error for it.
    pub fn into_error(self, what: &str, store: &str) -> Error {
        let Self { cause, message, .. } = self;
        let kind = match cause {
            Cause::Absent => ErrorKind::NotFound,
            Cause::Exists => ErrorKind::AlreadyExists,
            Cause::Range => ErrorKind::Corruption,
            Cause::Full => ErrorKind::OutOfSpace,
            _ => ErrorKind::Unavailable,
        };
        let text = match cause {
            Cause::Absent => format!("{what}: there is none"),
            Cause::Exists => format!("{what}: it exists already"),
            _ => format!("{what} ({store}): {message}"),
        };
        Error::new(kind, text)
    }
}

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        if let Some(failure) = credentials_failure(&error) {
            return failure;
        }
        match &error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let region = answer.raw().headers().get("x-amz-bucket-region");
                let meta = answer.err().meta();
                answered(status, meta.code(), meta.message(), region)
            }
            SdkError::ResponseError(answer) => {
                let status = answer.raw().status().as_u16();
                match status {
                    200..=299 => Self::foreign(format!(
                        "{status} with what does not belong there ({})",
                        innermost(&error)
                    )),
                    _ => answered(status, None, None, None),
                }
            }
            SdkError::ConstructionFailure(_) => Self::new(
                Cause::Refused,
                format!("the request could not be made: {}", innermost(&error)),
            ),
            _ => {
                let cause = innermost(&error);
                // A certificate does not become good by asking again.
                if cause.contains("certificate") || cause.contains("UnknownIssuer") {
                    return Self::new(
                        Cause::Refused,
                        format!(
                            "{cause}; a certificate authority of your own is named by ca= in the store's URL or by the variable for it"
                        ),
                    );
                }
                Self::broken(cause)
            }
        }
    }
}

/// The failure for an error that comes from looking for credentials.
fn credentials_failure(error: &(dyn StdError + 'static)) -> Option<Failure> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(credentials) = error.downcast_ref::<CredentialsError>() {
            let failure = match credentials {
                CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => {
                    Failure::new(
                        Cause::Passing,
                        "what gives credentials (a profile, or the role of the container or instance) did not answer as it should",
                    )
                }
                _ => Failure::new(
                    Cause::Refused,
                    "no credentials were found; they are looked for in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN) \
                     of this process's environment, in the profile AWS_PROFILE of ~/.aws, and in the role of the container or instance",
                ),
            };
            return Some(failure);
        }
        at = error.source();
    }
    None
}

/// The last error of a chain: what actually happened.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

const RIGHTS: &str =
    "the credentials do not allow it: reading, writing, deleting and listing are needed";

/// The failure for an answer of the server; `code` is that of S3's error document. Without one it is known who failed only where
/// nothing follows from it but another attempt.
pub(super) fn answered(
    status: u16,
    code: Option<&str>,
    message: Option<&str>,
    region: Option<&str>,
) -> Failure {
    let code = code.unwrap_or("");
    let said = match (code, message.unwrap_or("")) {
        ("", "") => format!("the server answered {status}"),
        ("", message) => format!("the server answered {status}: {message}"),
        (code, "") => format!("the server answered {status} {code}"),
        (code, message) => format!("the server answered {status} {code}: {message}"),
    };
    let refused = |advice: &str| Failure::new(Cause::Refused, format!("{said}; {advice}"));
    match (status, code) {
        (
            _,
            "QuotaExceeded"
            | "ServiceQuotaExceededException"
            | "XMinioStorageFull"
            | "InsufficientCapacity",
        )
        | (507, _) => Failure::new(Cause::Full, said),
        (_, "NoSuchBucket") => {
            refused("make the bucket first, or correct its name or the endpoint")
        }
        (_, "NoSuchUpload") => Failure::new(Cause::NoUpload, said),
        (
            _,
            "SlowDown"
            | "Throttling"
            | "ThrottlingException"
            | "TooManyRequests"
            | "RequestLimitExceeded",
        )
        | (429, _) => Failure {
            ambiguous: true,
            ..Failure::new(Cause::Throttled, said)
        },
        (
            _,
            "RequestTimeout" | "RequestTimeoutException" | "InternalError" | "ServiceUnavailable",
        )
        | (408, _) => Failure::broken(said),
        (_, "RequestTimeTooSkewed") => refused("set this machine's clock"),
        (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken") => {
            refused(
                "the credentials that were found are not good for this endpoint: look at the environment, the profile or the role",
            )
        }
        (
            _,
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "IllegalLocationConstraintException",
        )
        | (301 | 307, _)
            if region.is_some() || !code.is_empty() =>
        {
            match region {
                Some(region) => refused(&format!("the bucket is in the region {region}: say so")),
                None => refused("the bucket is in another region or at another endpoint"),
            }
        }
        (501, _) | (_, "NotImplemented" | "MethodNotAllowed") => {
            Failure::new(Cause::Unsupported, said)
        }
        (500.., _) => Failure::broken(said),
        (_, "") => Failure::foreign(format!("{status} without S3's error document")),
        (401 | 403, _) => refused(RIGHTS),
        (404, "NoSuchKey") => Failure::new(Cause::Absent, said),
        (409, _) => Failure::new(Cause::Conflict, said),
        (412, "PreconditionFailed") => Failure::new(Cause::Exists, said),
        (416, "InvalidRange") => Failure::new(Cause::Range, said),
        (404 | 412 | 416, _) => Failure::broken(said),
        _ => Failure::new(Cause::Refused, said),
    }
}
