//! Errors on their way to C++: a code by value, and the message kept per thread until it is asked for.

use std::cell::RefCell;

use smartengine::{Error, ErrorKind};

use crate::bridge::api::{Code, Status};

thread_local! {
    static LAST_ERROR: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The message of the last failure on this thread; outermost context first.
pub fn last_error() -> String {
    LAST_ERROR.with_borrow(String::clone)
}

/// Keeps a message for [`last_error`].
pub fn set_last_error(message: &str) {
    LAST_ERROR.with_borrow_mut(|last| {
        last.clear();
        last.push_str(message);
    });
}

impl Status {
    /// Success.
    pub const OK: Self = Self {
        code: Code::Ok,
        op: 0,
    };
    /// No such key, or the end of a scan.
    pub const NOT_FOUND: Self = Self {
        code: Code::NotFound,
        op: 0,
    };

    /// The status for an error; its message is kept for this thread.
    pub fn from_error(error: &Error) -> Self {
        set_last_error(error.message());
        Self {
            code: code_of(error.kind()),
            op: 0,
        }
    }

    /// `OK`, or `NOT_FOUND` for false.
    pub fn found(found: bool) -> Self {
        if found { Self::OK } else { Self::NOT_FOUND }
    }
}

/// The code of each kind. A kind that this function does not know is a defect of ours, and reported as one.
fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Invalid => Code::Invalid,
        ErrorKind::Duplicate => Code::Duplicate,
        ErrorKind::LockTimeout => Code::LockTimeout,
        ErrorKind::LockNotAvailable => Code::LockNotAvailable,
        ErrorKind::Deadlock => Code::Deadlock,
        ErrorKind::LockLimit => Code::LockLimit,
        ErrorKind::Interrupted => Code::Interrupted,
        ErrorKind::Corruption => Code::Corruption,
        ErrorKind::NotFound => Code::ObjectMissing,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::OutOfSpace => Code::OutOfSpace,
        ErrorKind::Fenced => Code::Fenced,
        ErrorKind::ReadOnly => Code::ReadOnly,
        _ => Code::Internal,
    }
}
