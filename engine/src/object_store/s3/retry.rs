//! Attempts at one request until it is answered: backoff, jitter, deadlines, and how many may be under way.
//!
//! A call has a deadline for all its attempts together, each attempt a time limit of its own that grows with what it carries. Between attempts
//! it waits 50 ms, doubling up to 5 s, half of it at random; ten times as long at first where the server asks for fewer requests.
//! The client below makes no attempts of its own, so that each one is seen here, counted, and remembered if it was ambiguous.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::failure::{Cause, Failure};
use crate::env::{Sequence, any_seed};
use crate::object_store::StoreOptions;
use crate::object_store::meter::{Meter, Request, RequestKind, Service};

const FIRST_DELAY: Duration = Duration::from_millis(50);
const FIRST_DELAY_THROTTLED: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// Bytes for which an attempt is given a second more.
const BYTES_PER_SECOND: u64 = 1 << 20;

/// How long to wait before attempt number `attempt` (from 1); `random` is below 1000.
pub(super) fn delay(attempt: u32, throttled: bool, random: u64) -> Duration {
    let first = match throttled {
        true => FIRST_DELAY_THROTTLED,
        false => FIRST_DELAY,
    };
    let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(10));
    let most = doubled.min(LONGEST_DELAY);
    most / 2 + most.mul_f64(random as f64 / 2000.0)
}

/// What all requests of a store share.
pub(super) struct Attempts {
    request_timeout: Duration,
    deadline: Duration,
    connections: Semaphore,
    random: Mutex<Sequence>,
    meter: Arc<Meter>,
}

/// A request as it is counted: what it is, and how much it carries and is to bring.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub kind: RequestKind,
    pub sent: u64,
    pub expected: u64,
}

impl Load {
    pub fn empty(kind: RequestKind) -> Self {
        Self {
            kind,
            sent: 0,
            expected: 0,
        }
    }
}

impl Attempts {
    pub fn new(options: &StoreOptions) -> Self {
        Self {
            request_timeout: options.request_timeout,
            deadline: options.deadline,
            connections: Semaphore::new(options.max_connections),
            random: Mutex::new(Sequence::new(any_seed())),
            meter: Arc::new(Meter::new()),
        }
    }

    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Makes attempts until one succeeds, one fails for good, or the time is over. `received` says how many bytes an answer brought.
    pub async fn call<T, F, A>(
        &self,
        load: Load,
        received: impl Fn(&T) -> u64,
        attempt: F,
    ) -> Result<T, Failure>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, Failure>>,
    {
        self.call_within(self.deadline, load, received, attempt)
            .await
    }

    /// The same with a deadline that is sooner than the store's, if it is.
    pub async fn call_within<T, F, A>(
        &self,
        deadline: Duration,
        load: Load,
        received: impl Fn(&T) -> u64,
        mut attempt: F,
    ) -> Result<T, Failure>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, Failure>>,
    {
        let start = Instant::now();
        let end = start + deadline.min(self.deadline);
        let mut ambiguous = false;
        let mut said: Option<String> = None;
        for number in 1.. {
            let result = self.attempt(end, load, number > 1, &received, &mut attempt);
            let writes = load.kind.service() == Service::Put;
            let result = result.await;
            if writes {
                match &result {
                    Err(failure) if failure.retryable() => {
                        self.meter.note_trouble(&failure.message);
                    }
                    // An answer, whatever it says.
                    _ => self.meter.end_trouble(),
                }
            }
            let mut failure = match result {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            failure.after_ambiguous = ambiguous;
            if !failure.retryable() {
                return Err(failure);
            }
            ambiguous |= failure.ambiguous;
            // An attempt that the deadline cut short tells nothing; the one before it may have.
            if Instant::now() >= end
                && let Some(before) = said.take()
            {
                failure.message = before;
            }
            let random = self.random.lock().below(1000);
            let pause = delay(number, failure.cause == Cause::Throttled, random);
            if Instant::now() + pause >= end {
                failure.message = format!(
                    "given up after {} attempts in {:.1} s: {}",
                    number,
                    start.elapsed().as_secs_f64(),
                    failure.message
                );
                return Err(failure);
            }
            said = Some(failure.message);
            sleep(pause).await;
        }
        Err(Failure::new(Cause::Passing, "given up"))
    }

    /// Makes a request that is part of another one's attempt, and counts it.
    pub async fn count<T>(
        &self,
        kind: RequestKind,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        let result = request.await;
        self.meter.count(&Request {
            kind,
            sent: 0,
            received: 0,
            latency: start.elapsed(),
            failed: result.as_ref().is_err_and(|failure| failure.retryable()),
            retry: false,
        });
        result
    }

    async fn attempt<T, A: Future<Output = Result<T, Failure>>>(
        &self,
        end: Instant,
        load: Load,
        retry: bool,
        received: &impl Fn(&T) -> u64,
        attempt: &mut impl FnMut() -> A,
    ) -> Result<T, Failure> {
        let Ok(permit) = timeout_at(end, self.connections.acquire()).await else {
            return Err(Failure::new(
                Cause::Passing,
                "no connection became free: all of max_connections were in use",
            ));
        };
        let carried = load.sent.max(load.expected);
        let limit = self.request_timeout + Duration::from_secs(carried / BYTES_PER_SECOND);
        let start = Instant::now();
        let limit = limit.min(end.saturating_duration_since(start));
        let result = match timeout(limit, attempt()).await {
            Ok(result) => result,
            Err(_) => Err(Failure::broken(format!(
                "no answer within {:.1} s",
                limit.as_secs_f64()
            ))),
        };
        drop(permit);
        let failed = |failure: &Failure| {
            failure.retryable() && failure.cause != Cause::Conflict
                || matches!(
                    failure.cause,
                    Cause::Refused | Cause::Full | Cause::Unsupported
                )
        };
        self.meter.count(&Request {
            kind: load.kind,
            sent: load.sent,
            received: result.as_ref().map_or(0, received),
            latency: start.elapsed(),
            failed: result.as_ref().is_err_and(failed),
            retry,
        });
        result
    }
}
