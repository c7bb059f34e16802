//! A store that fails as networks and buckets do, for tests of what is built on one.
//!
//! It passes every call to the store inside, unless a [`Rule`] says otherwise. Rules are tried in the order they were added and the first
//! that applies to a call decides it. Random ones draw from a seed, so that a run can be repeated.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Meter, ObjectMeta, ObjectReader, ObjectStore, ObjectWriter};
use crate::env::{Clock, Sequence, SystemClock};
use crate::{Error, ErrorKind, Result};

/// The calls of [`ObjectStore`], [`ObjectWriter`] and [`ObjectReader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`ObjectStore::put`].
    Put,
    /// [`ObjectStore::put_if_absent`].
    PutIfAbsent,
    /// [`ObjectStore::writer`].
    Writer,
    /// [`ObjectWriter::append`].
    Append,
    /// [`ObjectWriter::finish`].
    Finish,
    /// [`ObjectStore::get`].
    Get,
    /// [`ObjectStore::get_range`].
    GetRange,
    /// [`ObjectStore::reader`].
    Reader,
    /// [`ObjectReader::read`].
    Read,
    /// [`ObjectStore::size`].
    Size,
    /// [`ObjectStore::list`].
    List,
    /// [`ObjectStore::delete`], and each key of [`ObjectStore::delete_many`].
    Delete,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and does nothing.
    Fail(ErrorKind),
    /// The call does its work, and its answer is lost: it fails all the same.
    Ambiguous(ErrorKind),
    /// The call takes this much longer.
    Delay(Duration),
    /// What is read lacks its second half.
    ShortRead,
    /// What is read has one bit flipped in its middle.
    BitFlip,
}

/// When something goes wrong.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The operation, or all of them.
    pub operation: Option<Operation>,
    /// Only for keys (of a list: prefixes) that contain this.
    pub key_contains: String,
    /// How many such calls go well first.
    pub pass: u64,
    /// How many calls fail after that.
    pub times: u64,
    /// Of the calls to fail, only one in this many does, at random; 1 for all.
    pub one_in: u64,
    /// What goes wrong.
    pub fault: Fault,
}

impl Rule {
    /// `fault` at every call of `operation`.
    pub fn always(operation: Operation, fault: Fault) -> Self {
        Self {
            operation: Some(operation),
            key_contains: String::new(),
            pass: 0,
            times: u64::MAX,
            one_in: 1,
            fault,
        }
    }

    /// `fault` at the next call of `operation` only.
    pub fn once(operation: Operation, fault: Fault) -> Self {
        Self {
            times: 1,
            ..Self::always(operation, fault)
        }
    }
}

struct State {
    rules: Vec<Rule>,
    sequence: Sequence,
    counts: HashMap<Operation, u64>,
    /// Calls that are under way, and the most that there were at once.
    under_way: HashMap<Operation, (u64, u64)>,
}

struct Shared {
    inner: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// A store that goes wrong by rule.
#[derive(Clone)]
pub struct FaultStore {
    shared: Arc<Shared>,
}

impl FaultStore {
    /// Wraps `inner`; without rules nothing goes wrong.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self::with_clock(inner, Arc::new(SystemClock::new()), 0)
    }

    /// The same with the clock that delays are slept on and the seed of random rules.
    pub fn with_clock(inner: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                inner,
                clock,
                state: Mutex::new(State {
                    rules: Vec::new(),
                    sequence: Sequence::new(seed),
                    counts: HashMap::new(),
                    under_way: HashMap::new(),
                }),
            }),
        }
    }

    /// Adds a rule.
    pub fn add(&self, rule: Rule) {
        self.shared.state.lock().rules.push(rule);
    }

    /// Removes all rules.
    pub fn heal(&self) {
        self.shared.state.lock().rules.clear();
    }

    /// How often `operation` was called, failed calls included.
    pub fn count(&self, operation: Operation) -> u64 {
        let state = self.shared.state.lock();
        state.counts.get(&operation).copied().unwrap_or(0)
    }

    /// How many calls of `operation` were under way at once, at most; [`ObjectStore::delete_many`] counts as none.
    pub fn most_at_once(&self, operation: Operation) -> u64 {
        let state = self.shared.state.lock();
        state.under_way.get(&operation).map_or(0, |(_, most)| *most)
    }
}

/// A call, until it is dropped.
struct UnderWay<'a> {
    state: &'a Mutex<State>,
    operation: Operation,
}

impl<'a> UnderWay<'a> {
    fn begin(state: &'a Mutex<State>, operation: Operation) -> Self {
        let mut held = state.lock();
        let (now, most) = held.under_way.entry(operation).or_default();
        *now += 1;
        *most = (*most).max(*now);
        drop(held);
        Self { state, operation }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some((now, _)) = self.state.lock().under_way.get_mut(&self.operation) {
            *now -= 1;
        }
    }
}

impl Shared {
    fn fault(&self, operation: Operation, key: &str) -> Option<Fault> {
        let mut state = self.state.lock();
        let State {
            rules,
            sequence,
            counts,
            ..
        } = &mut *state;
        *counts.entry(operation).or_default() += 1;
        for rule in rules {
            let applies = rule.operation.is_none_or(|only| only == operation)
                && key.contains(&rule.key_contains)
                && rule.times > 0;
            if !applies {
                continue;
            }
            if rule.pass > 0 {
                rule.pass -= 1;
                continue;
            }
            if rule.one_in > 1 && sequence.below(rule.one_in) != 0 {
                continue;
            }
            rule.times -= 1;
            return Some(rule.fault);
        }
        None
    }

    /// Makes a call that returns no bytes.
    fn call<T>(
        &self,
        operation: Operation,
        key: &str,
        body: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let error = |kind| Error::new(kind, format!("{operation:?} {key}: injected failure"));
        let _under_way = UnderWay::begin(&self.state, operation);
        match self.fault(operation, key) {
            Some(Fault::Fail(kind)) => Err(error(kind)),
            Some(Fault::Ambiguous(kind)) => body().and_then(|_| Err(error(kind))),
            Some(Fault::Delay(duration)) => {
                self.clock.sleep(duration);
                body()
            }
            Some(Fault::ShortRead | Fault::BitFlip) | None => body(),
        }
    }

    /// Makes a call that returns an object's bytes.
    fn read(
        &self,
        operation: Operation,
        key: &str,
        body: impl FnOnce() -> Result<Bytes>,
    ) -> Result<Bytes> {
        let error = |kind| Error::new(kind, format!("{operation:?} {key}: injected failure"));
        let _under_way = UnderWay::begin(&self.state, operation);
        match self.fault(operation, key) {
            Some(Fault::Fail(kind) | Fault::Ambiguous(kind)) => Err(error(kind)),
            Some(Fault::Delay(duration)) => {
                self.clock.sleep(duration);
                body()
            }
            Some(Fault::ShortRead) => body().map(|bytes| bytes.slice(..bytes.len() / 2)),
            Some(Fault::BitFlip) => body().map(|bytes| {
                let mut bytes = bytes.to_vec();
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 1;
                }
                bytes.into()
            }),
            None => body(),
        }
    }
}

struct FaultWriter {
    shared: Arc<Shared>,
    key: String,
    inner: Box<dyn ObjectWriter>,
}

struct FaultReader {
    shared: Arc<Shared>,
    key: String,
    inner: Arc<dyn ObjectReader>,
}

impl ObjectStore for FaultStore {
    fn put(&self, key: &str, data: &[u8]) -> Result<()> {
        let shared = &self.shared;
        shared.call(Operation::Put, key, || shared.inner.put(key, data))
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
        let shared = &self.shared;
        shared.call(Operation::PutIfAbsent, key, || {
            shared.inner.put_if_absent(key, data)
        })
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        let shared = &self.shared;
        let inner = shared.call(Operation::Writer, key, || shared.inner.writer(key))?;
        Ok(Box::new(FaultWriter {
            shared: Arc::clone(shared),
            key: key.to_owned(),
            inner,
        }))
    }

    fn get(&self, key: &str) -> Result<Bytes> {
        let shared = &self.shared;
        shared.read(Operation::Get, key, || shared.inner.get(key))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let shared = &self.shared;
        shared.read(Operation::GetRange, key, || {
            shared.inner.get_range(key, range)
        })
    }

    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>> {
        let shared = &self.shared;
        let inner = shared.call(Operation::Reader, key, || shared.inner.reader(key))?;
        Ok(Arc::new(FaultReader {
            shared: Arc::clone(shared),
            key: key.to_owned(),
            inner,
        }))
    }

    fn reader_of(&self, key: &str, size: u64) -> Result<Arc<dyn ObjectReader>> {
        let shared = &self.shared;
        let inner = shared.call(Operation::Reader, key, || shared.inner.reader_of(key, size))?;
        Ok(Arc::new(FaultReader {
            shared: Arc::clone(shared),
            key: key.to_owned(),
            inner,
        }))
    }

    fn size(&self, key: &str) -> Result<u64> {
        let shared = &self.shared;
        shared.call(Operation::Size, key, || shared.inner.size(key))
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        let shared = &self.shared;
        shared.call(Operation::List, prefix, || {
            shared.inner.list(prefix, after, limit)
        })
    }

    fn delete(&self, key: &str) -> Result<()> {
        let shared = &self.shared;
        shared.call(Operation::Delete, key, || shared.inner.delete(key))
    }

    fn delete_many(&self, keys: &[String]) -> Vec<Result<()>> {
        let shared = &self.shared;
        let error = |key: &str, kind| Error::new(kind, format!("Delete {key}: injected failure"));
        let fates: Vec<Option<Fault>> = keys
            .iter()
            .map(|key| shared.fault(Operation::Delete, key))
            .collect();
        let (mut sent, mut failed) = (Vec::new(), Vec::new());
        for (key, fate) in keys.iter().zip(&fates) {
            match fate {
                Some(Fault::Fail(kind)) => {
                    failed.push(Some(*kind));
                    continue;
                }
                Some(Fault::Ambiguous(kind)) => failed.push(Some(*kind)),
                Some(Fault::Delay(duration)) => {
                    shared.clock.sleep(*duration);
                    failed.push(None);
                }
                Some(Fault::ShortRead | Fault::BitFlip) | None => failed.push(None),
            }
            sent.push(key.clone());
        }
        // What goes well, or does its work and says otherwise, goes on together.
        let mut results = shared.inner.delete_many(&sent).into_iter();
        let each = keys.iter().zip(fates.iter().zip(failed));
        each.map(|(key, (fate, failed))| {
            let done = match fate {
                Some(Fault::Fail(_)) => Ok(()),
                _ => results.next().unwrap_or(Ok(())),
            };
            done.and(failed.map_or(Ok(()), |kind| Err(error(key, kind))))
        })
        .collect()
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        self.shared.inner.meter()
    }
}

impl ObjectWriter for FaultWriter {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        let inner = &mut self.inner;
        self.shared
            .call(Operation::Append, &self.key, || inner.append(data))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Self { shared, key, inner } = *self;
        shared.call(Operation::Finish, &key, || inner.finish())
    }
}

impl ObjectReader for FaultReader {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.shared
            .read(Operation::Read, &self.key, || self.inner.read(range))
    }
}
