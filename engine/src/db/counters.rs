//! The counters' values, as far as they are known: the newest that was logged of each, so that raising one needs no read and never lowers it.
//!
//! A value is read from the database when it is first asked for and kept while there is room. What may go, and when:
//!
//! - A counter that a transaction is about to raise ([`Raise`]) stays until that is logged or given up: what it is raised to is decided when it is logged, by the
//!   greatest value that anybody has logged before, which only this table knows.
//! - One that was raised stays until that commit is visible: until then a read would find an older value.
//! - Of the others those go that were not asked for lately.
//!
//! Between reading a value and keeping it others may raise the counter, log that, show it, and have it go from here again: then what was read is out
//! of date. So nothing is kept that was read before something went; it is read again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::types::SeqNo;
use crate::{Error, Result};

/// Counters that are kept; each takes some hundred bytes.
const MOST: usize = 1 << 16;

/// The row that holds a counter: eight bytes, big endian.
pub fn encode_value(value: u64) -> [u8; 8] {
    value.to_be_bytes()
}

/// The value that a counter's row holds.
pub fn decode_value(row: &[u8]) -> Result<u64> {
    match row.first_chunk() {
        Some(bytes) => Ok(u64::from_be_bytes(*bytes)),
        None => Err(Error::corruption(format!(
            "counter of {} bytes instead of 8",
            row.len()
        ))),
    }
}

/// See the module's description.
pub struct Counters {
    state: Mutex<State>,
}

struct State {
    known: HashMap<Box<[u8]>, Known>,
    /// How often something went.
    gone: u64,
    /// How many there are to be at most.
    most: usize,
    /// At so many it is looked what can go.
    sweep_at: usize,
}

struct Known {
    value: u64,
    /// The commit that raised it last, as far as it is remembered.
    raised_at: SeqNo,
    /// Transactions that are about to raise it.
    raises: u32,
    /// Asked for since the last sweep.
    used: bool,
}

/// That a transaction raises a counter at its end.
pub struct Raise {
    pub key: Box<[u8]>,
    pub value: u64,
    counters: Arc<Counters>,
    logged: bool,
}

impl Drop for Raise {
    fn drop(&mut self) {
        if !self.logged
            && let Some(known) = self.counters.state.lock().known.get_mut(&self.key)
        {
            known.raises -= 1;
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Counters {
    fn of(most: usize) -> Self {
        Self {
            state: Mutex::new(State {
                known: HashMap::new(),
                gone: 0,
                most,
                sweep_at: most,
            }),
        }
    }

    /// The counter's value if it is known; otherwise what [`Counters::learn`] wants to know, once the value was read.
    pub fn get(&self, key: &[u8]) -> Result<u64, u64> {
        let mut state = self.state.lock();
        let gone = state.gone;
        let known = state.known.get_mut(key).ok_or(gone)?;
        known.used = true;
        Ok(known.value)
    }

    /// Keeps a value that was read and returns the counter's; `None` if it may be out of date. `visible` is the newest commit that reads see by now.
    pub fn learn(&self, key: &[u8], read: u64, gone: u64, visible: SeqNo) -> Option<u64> {
        let mut state = self.state.lock();
        if let Some(known) = state.known.get_mut(key) {
            // Somebody else has read it, and perhaps raised it since.
            known.value = known.value.max(read);
            return Some(known.value);
        }
        if state.gone != gone {
            return None;
        }
        state.make_room(visible);
        let known = Known {
            value: read,
            raised_at: 0,
            raises: 0,
            used: true,
        };
        state.known.insert(key.into(), known);
        Some(read)
    }

    /// The intent to raise a counter to `value`; nothing where it has that already. `None` if the counter's value is not known, so that it has to be
    /// learned first.
    pub fn raise(self: &Arc<Self>, key: &[u8], value: u64) -> Option<Option<Raise>> {
        let mut state = self.state.lock();
        let known = state.known.get_mut(key)?;
        known.used = true;
        if known.value >= value {
            return Some(None);
        }
        known.raises += 1;
        Some(Some(Raise {
            key: key.into(),
            value,
            counters: self.clone(),
            logged: false,
        }))
    }

    /// What the counters become by the commit `seq`, which is being logged: each the greatest of what it is and what is asked.
    pub fn log(&self, seq: SeqNo, raises: Vec<Raise>) -> Vec<(Box<[u8]>, u64)> {
        if raises.is_empty() {
            return Vec::new();
        }
        let mut state = self.state.lock();
        let raised = raises.into_iter().filter_map(|mut raise| {
            // It stays for as long as somebody is about to raise it.
            let known = state.known.get_mut(&raise.key)?;
            known.value = known.value.max(raise.value);
            known.raised_at = seq;
            known.raises -= 1;
            raise.logged = true;
            Some((std::mem::take(&mut raise.key), known.value))
        });
        raised.collect()
    }

    #[cfg(test)]
    pub fn set_most(&self, most: usize) {
        let mut state = self.state.lock();
        (state.most, state.sweep_at) = (most, most);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.state.lock().known.len()
    }
}

impl State {
    /// If there are as many as may be, lets go of half: first of those that were not asked for since the last time.
    fn make_room(&mut self, visible: SeqNo) {
        if self.known.len() < self.sweep_at {
            return;
        }
        let before = self.known.len();
        for _ in 0..2 {
            let mut surplus = self.known.len().saturating_sub(self.most / 2);
            self.known.retain(|_, known| {
                let needed = known.raises > 0 || known.raised_at > visible;
                let used = std::mem::take(&mut known.used);
                let goes = surplus > 0 && !needed && !used;
                surplus -= usize::from(goes);
                !goes
            });
        }
        self.gone += u64::from(self.known.len() < before);
        // What is needed stays whatever its number; that must not make every further one look at all.
        self.sweep_at = self.most.max(2 * self.known.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(counters: &Counters, key: &[u8], read: u64, visible: SeqNo) -> u64 {
        let gone = counters.get(key).unwrap_err();
        counters.learn(key, read, gone, visible).unwrap()
    }

    #[test]
    fn values_have_these_bytes() {
        assert_eq!(encode_value(0x0102), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(decode_value(&[0, 0, 0, 0, 0, 0, 1, 2]).unwrap(), 0x0102);
        let error = decode_value(&[0; 7]).unwrap_err();
        assert_eq!(error.message(), "counter of 7 bytes instead of 8");
    }

    #[test]
    fn what_is_about_to_be_raised_or_not_visible_yet_stays() {
        let counters = Arc::new(Counters::of(4));
        learn(&counters, b"raised", 5, 0);
        assert!(counters.raise(b"raised", 5).unwrap().is_none());
        assert!(counters.raise(b"unknown", 5).is_none());
        let first = counters.raise(b"raised", 9).unwrap().unwrap();
        let second = counters.raise(b"raised", 7).unwrap().unwrap();
        let given_up = counters.raise(b"raised", 99).unwrap().unwrap();
        let flood = |round: u8, visible| {
            for number in 0..20u8 {
                learn(&counters, &[round, number], 1, visible);
            }
        };
        flood(0, 100);
        drop(given_up);
        assert_eq!(counters.get(b"raised"), Ok(5));
        assert_eq!(counters.log(101, vec![first]), [(b"raised"[..].into(), 9)]);
        flood(1, 101);
        // Another commit's raise to less does not lower it.
        assert_eq!(counters.log(102, vec![second]), [(b"raised"[..].into(), 9)]);
        flood(2, 101);
        assert_eq!(counters.get(b"raised"), Ok(9));
        flood(3, 102);
        flood(4, 102);
        assert!(counters.get(b"raised").is_err());
        assert!(counters.len() <= 4);
    }

    #[test]
    fn what_was_read_before_something_went_is_read_again() {
        let counters = Arc::new(Counters::of(2));
        let gone = counters.get(b"one").unwrap_err();
        // Meanwhile others know it, raise it, show that, and it goes.
        learn(&counters, b"one", 5, 0);
        let raise = counters.raise(b"one", 8).unwrap().unwrap();
        counters.log(1, vec![raise]);
        for number in 0..10u8 {
            learn(&counters, &[number], 0, 1);
        }
        assert!(counters.get(b"one").is_err());
        assert_eq!(counters.learn(b"one", 5, gone, 1), None);
        assert_eq!(learn(&counters, b"one", 8, 1), 8);
        // What is known is the greater.
        assert_eq!(counters.learn(b"one", 5, gone, 1), Some(8));
    }

    #[test]
    fn as_many_as_are_needed_stay_and_are_not_looked_at_each_time() {
        let counters = Arc::new(Counters::of(8));
        let raises: Vec<_> = (0..100u8)
            .map(|number| {
                learn(&counters, &[number], 0, 0);
                counters.raise(&[number], 1).unwrap().unwrap()
            })
            .collect();
        assert_eq!(counters.len(), 100);
        drop(raises);
        for number in 100..=255u8 {
            learn(&counters, &[number], 0, 0);
        }
        for number in 0..20u8 {
            learn(&counters, &[1, number], 0, 0);
        }
        assert!(counters.len() <= 8, "{}", counters.len());
    }
}
