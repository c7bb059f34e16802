//! What goes wrong, and when.

use std::collections::HashMap;
use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The answer comes this much later.
    Delay(Duration),
    /// The connection is cut before the server hears of it.
    DropRequest,
    /// The server does what it is asked to, and the connection is cut before it can say so.
    DropAnswer,
    /// The connection is cut after half of the answer's body.
    Truncate,
    /// The server hears nothing; this is the answer.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The code in S3's error document.
        code: &'static str,
    },
    /// The server does what it is asked to; this is the answer all the same.
    AnswerInstead {
        /// The HTTP status.
        status: u16,
        /// The code in S3's error document.
        code: &'static str,
    },
    /// The server hears nothing; a page of a web server comes, as from a login page before the network: HTML with an ETag, or with 204 nothing.
    Page {
        /// The HTTP status.
        status: u16,
    },
    /// The server does what it is asked to; such a page comes all the same.
    PageInstead {
        /// The HTTP status.
        status: u16,
    },
    /// The answer comes with half of its body, as if that were all.
    Shorten,
    /// The answer says that it has the range one byte further on.
    WrongRange,
    /// The answer trickles.
    Throttle {
        /// At this rate.
        bytes_per_second: u64,
    },
}

/// When something goes wrong.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The HTTP method; empty for all.
    pub method: String,
    /// Only for requests whose path with its query contains this.
    pub path_contains: String,
    /// How many such requests go well first.
    pub pass: u64,
    /// How many fail after that.
    pub times: u64,
    /// Of those to fail, only one in this many does, at random; 1 for all.
    pub one_in: u64,
    /// What goes wrong.
    pub fault: Fault,
}

impl Rule {
    /// `fault` at every request of `method`.
    pub fn always(method: &str, fault: Fault) -> Self {
        Self {
            method: method.to_owned(),
            path_contains: String::new(),
            pass: 0,
            times: u64::MAX,
            one_in: 1,
            fault,
        }
    }

    /// `fault` at the next request of `method` only.
    pub fn once(method: &str, fault: Fault) -> Self {
        Self {
            times: 1,
            ..Self::always(method, fault)
        }
    }

    /// `fault` at one in `one_in` requests of any method, at random.
    pub fn sometimes(one_in: u64, fault: Fault) -> Self {
        Self {
            one_in,
            ..Self::always("", fault)
        }
    }
}

/// The rules in force.
pub(crate) struct Plan {
    pub rules: Vec<Rule>,
    pub latencies: HashMap<String, Duration>,
    random: u64,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        Self {
            rules: Vec::new(),
            latencies: HashMap::new(),
            random: seed,
        }
    }

    /// What happens to a request, and how long it is to take at least.
    pub fn decide(&mut self, method: &str, path: &str) -> (Option<Fault>, Option<Duration>) {
        let latency = self.latencies.get(method).copied();
        let Self { rules, random, .. } = self;
        for rule in rules {
            let applies = (rule.method.is_empty() || rule.method == method)
                && path.contains(&rule.path_contains)
                && rule.times > 0;
            if !applies {
                continue;
            }
            if rule.pass > 0 {
                rule.pass -= 1;
                continue;
            }
            if rule.one_in > 1 && !next(random).is_multiple_of(rule.one_in) {
                continue;
            }
            rule.times -= 1;
            return (Some(rule.fault), latency);
        }
        (None, latency)
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
