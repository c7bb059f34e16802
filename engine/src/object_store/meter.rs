//! Requests to a store, counted by kind, with what they carried and how long they took.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The kinds of requests. Kinds that only some backends send stay at zero elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// An object is created or replaced.
    Put,
    /// An object is created if its key is free.
    PutIfAbsent,
    /// A large object is begun.
    MultipartCreate,
    /// A part of a large object is sent.
    MultipartPart,
    /// A large object is made to appear.
    MultipartComplete,
    /// The parts of an unfinished large object are removed, or such objects are listed.
    MultipartAbort,
    /// An object or a part of one is read.
    Get,
    /// An object's size is asked for.
    Head,
    /// Objects are listed.
    List,
    /// An object is removed.
    Delete,
}

impl RequestKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::Put,
        Self::PutIfAbsent,
        Self::MultipartCreate,
        Self::MultipartPart,
        Self::MultipartComplete,
        Self::MultipartAbort,
        Self::Get,
        Self::Head,
        Self::List,
        Self::Delete,
    ];

    /// Which of the store's four services it is: put, get, list or delete.
    pub fn service(self) -> Service {
        match self {
            Self::Get | Self::Head => Service::Get,
            Self::List => Service::List,
            Self::Delete => Service::Delete,
            _ => Service::Put,
        }
    }

    /// Its name in listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::PutIfAbsent => "put_if_absent",
            Self::MultipartCreate => "multipart_create",
            Self::MultipartPart => "multipart_part",
            Self::MultipartComplete => "multipart_complete",
            Self::MultipartAbort => "multipart_abort",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// What stores charge for, each at its own price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Objects are written, whole or in parts.
    Put,
    /// Objects or what is known of them are read.
    Get,
    /// Objects are listed.
    List,
    /// Objects are removed.
    Delete,
}

/// What one request came to.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Its kind.
    pub kind: RequestKind,
    /// Bytes of objects sent with it.
    pub sent: u64,
    /// Bytes of objects that came back.
    pub received: u64,
    /// From when it was sent to its whole answer.
    pub latency: Duration,
    /// Whether there was no answer, or one that only says that it failed. That there is no such object, or one already, counts as an answer.
    pub failed: bool,
    /// Whether it repeats one that failed.
    pub retry: bool,
}

/// What a kind of requests came to since the store was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestStats {
    /// The kind.
    pub kind: RequestKind,
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// How many failed.
    pub errors: u64,
    /// How many repeated one that had failed.
    pub retries: u64,
    /// Bytes of objects sent.
    pub bytes_sent: u64,
    /// Bytes of objects received.
    pub bytes_received: u64,
    /// The latencies of all of them together.
    pub latency_sum: Duration,
    /// The longest.
    pub latency_max: Duration,
    /// Half of them took no longer, as exactly as the histogram can tell: at most a quarter too much.
    pub latency_p50: Duration,
    /// 99 of a hundred took no longer, as exactly as the histogram can tell.
    pub latency_p99: Duration,
}

/// Four buckets for each power of two of microseconds: the last begins at an hour.
const BUCKETS: usize = 128;

/// The bucket of a latency in microseconds.
fn bucket(micros: u64) -> usize {
    if micros < 4 {
        return micros as usize;
    }
    let power = micros.ilog2();
    let quarter = (micros >> (power - 2)) & 3;
    (((power as usize - 1) << 2) | quarter as usize).min(BUCKETS - 1)
}

/// The greatest number of microseconds in a bucket.
fn bucket_end(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    let power = (bucket >> 2) + 1;
    let quarter = bucket as u64 & 3;
    ((5 + quarter) << (power - 2)) - 1
}

struct Counters {
    requests: AtomicU64,
    errors: AtomicU64,
    retries: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    micros: AtomicU64,
    longest: AtomicU64,
    histogram: [AtomicU64; BUCKETS],
}

impl Counters {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            requests: zero(),
            errors: zero(),
            retries: zero(),
            sent: zero(),
            received: zero(),
            micros: zero(),
            longest: zero(),
            histogram: std::array::from_fn(|_| zero()),
        }
    }

    /// The latency that this share of the requests did not exceed.
    fn quantile(&self, share: f64) -> u64 {
        let counts: Vec<u64> = self.histogram.iter().map(|n| n.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (at, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return bucket_end(at).min(self.longest.load(Relaxed));
            }
        }
        0
    }
}

/// Counts requests. Reading it while requests are counted gives numbers that may be one request apart.
pub struct Meter {
    kinds: [Counters; RequestKind::ALL.len()],
    /// Whether `trouble` says anything.
    troubled: AtomicBool,
    trouble: Mutex<Option<(Instant, String)>>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            kinds: std::array::from_fn(|_| Counters::new()),
            troubled: AtomicBool::new(false),
            trouble: Mutex::new(None),
        }
    }
}

impl Meter {
    /// A meter at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes why a request that writes has failed, which is tried again.
    pub fn note_trouble(&self, why: &str) {
        let mut trouble = self.trouble.lock();
        let since = trouble.take().map_or_else(Instant::now, |(since, _)| since);
        *trouble = Some((since, why.to_owned()));
        self.troubled.store(true, Relaxed);
    }

    /// A request that writes was answered.
    pub fn end_trouble(&self) {
        if self.troubled.load(Relaxed) {
            *self.trouble.lock() = None;
            self.troubled.store(false, Relaxed);
        }
    }

    /// Since how long requests that write fail and are tried again, none having been answered meanwhile, and why the last one failed.
    pub fn trouble(&self) -> Option<(Duration, String)> {
        if !self.troubled.load(Relaxed) {
            return None;
        }
        let trouble = self.trouble.lock();
        let (since, why) = trouble.as_ref()?;
        Some((since.elapsed(), why.clone()))
    }

    /// Counts a request.
    pub fn count(&self, request: &Request) {
        let Some(counters) = self.kinds.get(request.kind as usize) else {
            return;
        };
        let micros = u64::try_from(request.latency.as_micros()).unwrap_or(u64::MAX);
        counters.requests.fetch_add(1, Relaxed);
        counters
            .errors
            .fetch_add(u64::from(request.failed), Relaxed);
        counters
            .retries
            .fetch_add(u64::from(request.retry), Relaxed);
        counters.sent.fetch_add(request.sent, Relaxed);
        counters.received.fetch_add(request.received, Relaxed);
        counters.micros.fetch_add(micros, Relaxed);
        counters.longest.fetch_max(micros, Relaxed);
        if let Some(bucket) = counters.histogram.get(bucket(micros)) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    /// What was counted so far, by kind, in the order of [`RequestKind::ALL`].
    pub fn stats(&self) -> Vec<RequestStats> {
        let kinds = RequestKind::ALL.into_iter().zip(&self.kinds);
        kinds
            .map(|(kind, counters)| RequestStats {
                kind,
                requests: counters.requests.load(Relaxed),
                errors: counters.errors.load(Relaxed),
                retries: counters.retries.load(Relaxed),
                bytes_sent: counters.sent.load(Relaxed),
                bytes_received: counters.received.load(Relaxed),
                latency_sum: Duration::from_micros(counters.micros.load(Relaxed)),
                latency_max: Duration::from_micros(counters.longest.load(Relaxed)),
                latency_p50: Duration::from_micros(counters.quantile(0.5)),
                latency_p99: Duration::from_micros(counters.quantile(0.99)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_and_are_narrow() {
        let mut last = 0;
        for micros in 0..200_000 {
            let at = bucket(micros);
            assert!(at == last || at == last + 1, "{micros}");
            last = at;
            let end = bucket_end(at);
            assert!(
                micros <= end && end <= micros + micros / 4,
                "{micros} {end}"
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn kinds_stand_where_they_are_looked_for() {
        for (at, kind) in RequestKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
        }
    }

    #[test]
    fn quantiles_are_near_the_truth() {
        let meter = Meter::new();
        for millis in 1..=1000 {
            meter.count(&Request {
                kind: RequestKind::Get,
                sent: 1,
                received: 10,
                latency: Duration::from_millis(millis),
                failed: millis % 100 == 0,
                retry: millis % 250 == 0,
            });
        }
        let stats = meter.stats();
        let get = stats.iter().find(|s| s.kind == RequestKind::Get).unwrap();
        assert_eq!((get.requests, get.errors, get.retries), (1000, 10, 4));
        assert_eq!((get.bytes_sent, get.bytes_received), (1000, 10_000));
        assert_eq!(get.latency_max, Duration::from_secs(1));
        assert_eq!(get.latency_sum, Duration::from_millis(500_500));
        let (p50, p99) = (get.latency_p50.as_millis(), get.latency_p99.as_millis());
        assert!((500..=625).contains(&p50), "{p50}");
        assert!((990..=1000).contains(&p99), "{p99}");
        let idle = stats.iter().find(|s| s.kind == RequestKind::Put).unwrap();
        assert_eq!((idle.requests, idle.latency_p99), (0, Duration::ZERO));
    }

    #[test]
    fn trouble_is_the_last_cause_since_the_first() {
        let meter = Meter::new();
        assert_eq!(meter.trouble(), None);
        meter.note_trouble("connection refused");
        std::thread::sleep(Duration::from_millis(2));
        meter.note_trouble("no answer");
        let (age, why) = meter.trouble().unwrap();
        assert!(age >= Duration::from_millis(2));
        assert_eq!(why, "no answer");
        meter.end_trouble();
        assert_eq!(meter.trouble(), None);
    }
}
