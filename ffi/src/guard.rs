//! The one place where a panic is stopped: nothing unwinds into the server.
//!
//! After a panic, what the engine holds in memory may be inconsistent. It takes no writes any more; reads go on, and everything committed is
//! on disk. The server stays up.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use smartengine::{Engine, Result};

use crate::bridge::api::{Code, Status};
use crate::status::set_last_error;

/// Runs `body`; an error becomes its status, a panic stops the engine's writes.
pub fn guard(engine: Option<&Engine>, body: impl FnOnce() -> Result<Status>) -> Status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => Status::from_error(&error),
        Err(panic) => {
            let message = format!("a defect in the engine: {}", panic_text(&*panic));
            tracing::error!("{message}");
            if let Some(engine) = engine {
                engine.poison(&message);
            }
            set_last_error(&message);
            Status {
                code: Code::Panic,
                op: 0,
            }
        }
    }
}

/// As [`guard`] for a body that yields a value; `fallback` stands for it after a failure.
pub fn guard_value<T>(engine: Option<&Engine>, fallback: T, body: impl FnOnce() -> Result<T>) -> T {
    let mut value = None;
    guard(engine, || {
        value = Some(body()?);
        Ok(Status::OK)
    });
    value.unwrap_or(fallback)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return text;
    }
    panic
        .downcast_ref::<String>()
        .map_or("panic without a message", String::as_str)
}
