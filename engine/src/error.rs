//! The one error type of the engine.
//!
//! An error has a kind, which says what a caller can do, and a message that reads from the outside in:
//! "open store file:///data: read manifest 42: checksum mismatch at byte 96". A layer adds its part with
//! [`Error::context`] or [`ResultExt::context`]; nothing is logged where it is merely passed on.

use std::fmt;

/// The result of every fallible operation of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can do about an error. A kind exists only where a caller acts differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument or option was refused at the edge; the message says what was given and what is allowed.
    Invalid,
    /// A key that had to be new exists already.
    Duplicate,
    /// A row lock was not granted within the lock-wait timeout.
    LockTimeout,
    /// A row lock is held by another transaction and the caller asked not to wait.
    LockNotAvailable,
    /// The transaction was chosen as the victim of a deadlock and has to be rolled back.
    Deadlock,
    /// The transaction holds as many row locks as it may.
    LockLimit,
    /// Someone asked the operation to stop (KILL, shutdown).
    Interrupted,
    /// Stored bytes are not what was written: bad magic, checksum, order or length.
    Corruption,
    /// An object or file that should be there is not.
    NotFound,
    /// An object that was to be created exists already (put-if-absent lost).
    AlreadyExists,
    /// The store or the disk cannot be reached or failed now; trying again later may help.
    Unavailable,
    /// No space is left on the device or in the store.
    OutOfSpace,
    /// Another writer took over the store; this one is read-only for good.
    Fenced,
    /// The engine takes no writes any more, since an earlier write may not have been kept.
    ReadOnly,
    /// The engine broke one of its own rules: a defect, reported instead of a panic.
    Internal,
}

/// An error of the engine.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` with a message for a person.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The same, keeping the error that caused it.
    pub fn with_source(
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            source: Some(source.into()),
        }
    }

    /// Shorthand for [`ErrorKind::Corruption`].
    pub fn corruption(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corruption, message)
    }

    /// Shorthand for [`ErrorKind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Wraps an operating-system error with what was being done.
    pub fn io(what: impl fmt::Display, error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ErrorKind::OutOfSpace
            }
            _ => ErrorKind::Unavailable,
        };
        Self {
            kind,
            message: format!("{what}: {error}"),
            source: Some(Box::new(error)),
        }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message, outermost context first.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same error, with `what` (the larger operation) in front of its message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Adds context to the error of a [`Result`].
pub trait ResultExt<T> {
    /// Puts `what()` in front of the message of an error.
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.context(what()))
    }
}
