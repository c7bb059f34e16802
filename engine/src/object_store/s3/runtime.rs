//! The threads on which requests wait, behind calls that block.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::{Error, ErrorKind, Result};

/// Threads that drive sockets and timers. Callers poll their own request, so few are enough.
const THREADS: usize = 2;

/// How long the threads are waited for.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// A runtime of its own for a store.
pub(super) struct Blocking(Option<Runtime>);

impl Blocking {
    pub fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("smartengine-s3")
            .enable_all()
            .build()
            .map_err(|error| Error::io("start the threads of an S3 store", error))?;
        Ok(Self(Some(runtime)))
    }

    /// Waits for `future` on the calling thread, which must not be one of a runtime: it would wait for itself.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        let Some(runtime) = &self.0 else {
            return Err(Error::new(ErrorKind::Internal, "the S3 store is closed"));
        };
        if Handle::try_current().is_ok() {
            return Err(Error::new(
                ErrorKind::Internal,
                "a store was called from an asynchronous task; its calls block",
            ));
        }
        Ok(runtime.block_on(future))
    }

    /// Where tasks are spawned.
    pub fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        let Some(runtime) = self.0.take() else {
            return;
        };
        match Handle::try_current() {
            // The code that the threads run may be unloaded next; one that hangs in a name's lookup is not waited for longer.
            Err(_) => runtime.shutdown_timeout(SHUTDOWN_LIMIT),
            Ok(_) => runtime.shutdown_background(),
        }
    }
}
