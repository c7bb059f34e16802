//! The one place where a panic is stopped: nothing unwinds into the server.
//!
//! C++ comes in by two ways, and both lead through [`enter`]: it calls an entry, which `build.rs` generates around each function of the bridge; or it
//! drops what it owns, which is a [`Handle`] each time.
//!
//! After a panic, what the engine holds in memory may be inconsistent. Every engine that is open takes no writes any more; reads go on, and everything
//! committed is on disk. The server stays up.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use smartengine::failpoint::hit;
use smartengine::{Error, ErrorKind, Result};

use crate::bridge::api::{Code, Status};
use crate::engine::poison;
use crate::status::set_last_error;

/// What an entry returns, and what it returns where it has failed: a status says so, any other value is empty.
pub trait Answer {
    fn failed(status: Status) -> Self;
}

impl Answer for Status {
    fn failed(status: Status) -> Self {
        status
    }
}

impl<T: Default> Answer for T {
    fn failed(_: Status) -> Self {
        T::default()
    }
}

/// What a body returns: an answer, or one that may have failed.
pub trait IntoAnswer<T> {
    fn into_answer(self) -> Result<T>;
}

impl<T> IntoAnswer<T> for T {
    fn into_answer(self) -> Result<T> {
        Ok(self)
    }
}

impl<T> IntoAnswer<T> for Result<T> {
    fn into_answer(self) -> Self {
        self
    }
}

impl IntoAnswer<Status> for Result<()> {
    fn into_answer(self) -> Result<Status> {
        self.map(|()| Status::OK)
    }
}

/// Runs what C++ has called for. An error is kept for this thread, and so is a panic, which also stops the engine's writes.
pub fn enter<T: Answer>(point: &'static str, body: impl FnOnce() -> Result<T>) -> T {
    let run = || {
        hit(point)?;
        body()
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => T::failed(Status::from_error(&error)),
        Err(panic) => {
            // What is done about it may run into the same defect.
            let _ = catch_unwind(AssertUnwindSafe(|| note(panic)));
            T::failed(Status {
                code: Code::Panic,
                op: 0,
            })
        }
    }
}

fn note(panic: Box<dyn Any + Send>) {
    let message = format!("a defect in the engine: {}", text_of(&*panic));
    set_last_error(&message);
    poison(&message);
    tracing::error!("{message}");
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return text;
    }
    panic
        .downcast_ref::<String>()
        .map_or("panic without a message", String::as_str)
}

/// What a handle may hold.
pub trait Held {
    /// The failure point that dropping it passes.
    const DROP: &'static str;
}

/// What C++ holds. It is empty where making it has failed: every entry refuses it then.
pub struct Handle<T: Held>(Option<T>);

impl<T: Held> Handle<T> {
    pub fn new(held: T) -> Box<Self> {
        Box::new(Self(Some(held)))
    }

    pub fn get(&self) -> Result<&T> {
        self.0.as_ref().ok_or_else(empty)
    }

    pub fn get_mut(&mut self) -> Result<&mut T> {
        self.0.as_mut().ok_or_else(empty)
    }

    pub fn take(mut self) -> Result<T> {
        self.0.take().ok_or_else(empty)
    }
}

fn empty() -> Error {
    Error::new(
        ErrorKind::Internal,
        "a handle is used that could not be made; the error log says why",
    )
}

impl<T: Held> Default for Handle<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Held> Drop for Handle<T> {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            enter(T::DROP, move || {
                drop(held);
                Ok(())
            });
        }
    }
}

/// Compiles for types of handles alone.
pub const fn is_handle<T: Held>(_: &Handle<T>) {}
