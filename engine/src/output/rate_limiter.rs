//! How fast background work may write.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::Result;
use crate::env::Clock;

/// The longest pause at a time, so that a changed rate takes effect soon.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// A token bucket, in bytes per second, that holds at most a tenth of a second's worth.
pub struct RateLimiter {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    bytes_per_second: u64,
    /// Bytes that may be written now; negative while earlier ones are being paid for.
    tokens: f64,
    updated: Duration,
}

impl RateLimiter {
    /// `bytes_per_second` 0 means no limit.
    pub fn new(clock: Arc<dyn Clock>, bytes_per_second: u64) -> Self {
        let updated = clock.now();
        Self {
            clock,
            state: Mutex::new(State {
                bytes_per_second,
                tokens: 0.0,
                updated,
            }),
        }
    }

    /// Changes the rate.
    pub fn set_rate(&self, bytes_per_second: u64) {
        let mut state = self.state.lock();
        state.bytes_per_second = bytes_per_second;
        state.tokens = 0.0;
        state.updated = self.clock.now();
    }

    /// Takes `bytes` and waits until they are paid for, or until `check_stop` fails, which is asked between pauses.
    pub fn take(&self, bytes: u64, check_stop: impl Fn() -> Result<()>) -> Result<()> {
        let mut charged = false;
        loop {
            check_stop()?;
            let mut state = self.state.lock();
            if state.bytes_per_second == 0 {
                return Ok(());
            }
            let rate = state.bytes_per_second as f64;
            let now = self.clock.now();
            let earned = now.saturating_sub(state.updated).as_secs_f64() * rate;
            state.updated = now;
            state.tokens = (state.tokens + earned).min(rate / 10.0);
            if !charged {
                state.tokens -= bytes as f64;
                charged = true;
            }
            if state.tokens >= 0.0 {
                return Ok(());
            }
            let pause = Duration::from_secs_f64(-state.tokens / rate).min(MAX_PAUSE);
            drop(state);
            self.clock.sleep(pause.max(Duration::from_micros(50)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Virtual(Mutex<Duration>);

    impl Clock for Virtual {
        fn now(&self) -> Duration {
            *self.0.lock()
        }

        fn sleep(&self, duration: Duration) {
            *self.0.lock() += duration;
        }

        fn unix_millis(&self) -> u64 {
            0
        }
    }

    #[test]
    fn a_hundred_megabytes_at_ten_a_second_take_ten_seconds() {
        let clock = Arc::new(Virtual(Mutex::default()));
        let limiter = RateLimiter::new(clock.clone(), 10 << 20);
        for _ in 0..400 {
            limiter.take(256 << 10, || Ok(())).unwrap();
        }
        let took = clock.now().as_secs_f64();
        assert!((9.5..10.5).contains(&took), "{took} s");
        limiter.set_rate(0);
        limiter.take(1 << 40, || Ok(())).unwrap();
        assert_eq!(clock.now().as_secs_f64(), took);
        limiter.set_rate(1);
        let stop = || match clock.now().as_secs_f64() > took + 10.0 {
            false => Ok(()),
            true => Err(crate::Error::new(crate::ErrorKind::Interrupted, "enough")),
        };
        assert!(limiter.take(1 << 30, stop).is_err());
        assert!(clock.now().as_secs_f64() < took + 11.0);
    }
}
