//! A store that counts what is asked of it.
//!
//! A backend that sends requests of its own (retries, parts) counts those itself and offers its meter; of any other, each call is one request.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::meter::{Meter, Request, RequestKind};
use super::{ObjectMeta, ObjectReader, ObjectStore, ObjectWriter};
use crate::{ErrorKind, Result};

/// A store whose calls are counted.
pub struct MeteredStore {
    inner: Arc<dyn ObjectStore>,
    meter: Arc<Meter>,
}

impl MeteredStore {
    /// `store`, counted, and its meter: its own if it has one.
    pub fn wrap(store: Arc<dyn ObjectStore>) -> (Arc<dyn ObjectStore>, Arc<Meter>) {
        if let Some(meter) = store.meter() {
            return (store, meter);
        }
        let meter = Arc::new(Meter::new());
        let metered = Self {
            inner: store,
            meter: Arc::clone(&meter),
        };
        (Arc::new(metered), meter)
    }
}

/// Makes a call and counts it.
fn counted<T>(
    meter: &Meter,
    kind: RequestKind,
    sent: usize,
    call: impl FnOnce() -> Result<T>,
    received: impl FnOnce(&T) -> usize,
) -> Result<T> {
    let start = Instant::now();
    let result = call();
    let failed = result.as_ref().is_err_and(|error| {
        !matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::Invalid
        )
    });
    meter.count(&Request {
        kind,
        sent: sent as u64,
        received: result.as_ref().map_or(0, |value| received(value) as u64),
        latency: start.elapsed(),
        failed,
        retry: false,
    });
    result
}

struct MeteredWriter {
    inner: Box<dyn ObjectWriter>,
    meter: Arc<Meter>,
    sent: usize,
}

struct MeteredReader {
    inner: Arc<dyn ObjectReader>,
    meter: Arc<Meter>,
}

impl ObjectStore for MeteredStore {
    fn put(&self, key: &str, data: &[u8]) -> Result<()> {
        let call = || self.inner.put(key, data);
        counted(&self.meter, RequestKind::Put, data.len(), call, |()| 0)
    }

    fn put_if_absent(&self, key: &str, data: &[u8]) -> Result<()> {
        let call = || self.inner.put_if_absent(key, data);
        let kind = RequestKind::PutIfAbsent;
        counted(&self.meter, kind, data.len(), call, |()| 0)
    }

    fn writer(&self, key: &str) -> Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(MeteredWriter {
            inner: self.inner.writer(key)?,
            meter: Arc::clone(&self.meter),
            sent: 0,
        }))
    }

    fn get(&self, key: &str) -> Result<Bytes> {
        let call = || self.inner.get(key);
        counted(&self.meter, RequestKind::Get, 0, call, Bytes::len)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let call = || self.inner.get_range(key, range);
        counted(&self.meter, RequestKind::Get, 0, call, Bytes::len)
    }

    fn reader(&self, key: &str) -> Result<Arc<dyn ObjectReader>> {
        Ok(Arc::new(MeteredReader {
            inner: self.inner.reader(key)?,
            meter: Arc::clone(&self.meter),
        }))
    }

    fn reader_of(&self, key: &str, size: u64) -> Result<Arc<dyn ObjectReader>> {
        Ok(Arc::new(MeteredReader {
            inner: self.inner.reader_of(key, size)?,
            meter: Arc::clone(&self.meter),
        }))
    }

    fn size(&self, key: &str) -> Result<u64> {
        let call = || self.inner.size(key);
        counted(&self.meter, RequestKind::Head, 0, call, |_| 0)
    }

    fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<ObjectMeta>> {
        let call = || self.inner.list(prefix, after, limit);
        counted(&self.meter, RequestKind::List, 0, call, |_| 0)
    }

    fn delete(&self, key: &str) -> Result<()> {
        let call = || self.inner.delete(key);
        counted(&self.meter, RequestKind::Delete, 0, call, |()| 0)
    }

    fn delete_many(&self, keys: &[String]) -> Vec<Result<()>> {
        let mut results = Vec::new();
        // One request, which failed if it failed for any.
        let call = || {
            results = self.inner.delete_many(keys);
            let failed = results.iter().find_map(|result| result.as_ref().err());
            match failed {
                Some(error) => Err(crate::Error::new(error.kind(), error.message())),
                None => Ok(()),
            }
        };
        let _ = counted(&self.meter, RequestKind::Delete, 0, call, |()| 0);
        results
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        Some(Arc::clone(&self.meter))
    }
}

impl ObjectWriter for MeteredWriter {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        self.sent += data.len();
        self.inner.append(data)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Self { inner, meter, sent } = *self;
        let kind = RequestKind::PutIfAbsent;
        counted(&meter, kind, sent, || inner.finish(), |()| 0)
    }
}

impl ObjectReader for MeteredReader {
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let call = || self.inner.read(range);
        counted(&self.meter, RequestKind::Get, 0, call, Bytes::len)
    }

    fn read_once(&self, range: Range<u64>) -> Result<Bytes> {
        let call = || self.inner.read_once(range);
        counted(&self.meter, RequestKind::Get, 0, call, Bytes::len)
    }

    fn forget(&self, range: Range<u64>) -> bool {
        self.inner.forget(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_store::{Fault, FaultStore, MemoryStore, Operation, Rule};

    #[test]
    fn calls_are_counted_by_kind_once() {
        let faults = FaultStore::new(Arc::new(MemoryStore::new()));
        let (store, meter) = MeteredStore::wrap(Arc::new(faults.clone()));
        let (store, same) = MeteredStore::wrap(store);
        assert!(Arc::ptr_eq(&meter, &same), "metered twice");
        store.put("a", b"123").unwrap();
        store.put_if_absent("a", b"1234").unwrap_err();
        let mut writer = store.writer("b").unwrap();
        writer.append(b"12345").unwrap();
        writer.append(b"6").unwrap();
        writer.finish().unwrap();
        assert_eq!(store.get("b").unwrap().len(), 6);
        store.reader("b").unwrap().read(0..2).unwrap();
        store.get("none").unwrap_err();
        faults.add(Rule::once(
            Operation::Get,
            Fault::Fail(ErrorKind::Unavailable),
        ));
        store.get("a").unwrap_err();
        store.size("a").unwrap();
        store.list("", "", 10).unwrap();
        store.delete("a").unwrap();
        let counted: Vec<_> = meter
            .stats()
            .into_iter()
            .filter(|s| s.requests > 0)
            .map(|s| {
                (
                    s.kind.name(),
                    s.requests,
                    s.errors,
                    s.bytes_sent,
                    s.bytes_received,
                )
            })
            .collect();
        let expected = [
            ("put", 1, 0, 3, 0),
            ("put_if_absent", 2, 0, 10, 0),
            ("get", 4, 1, 0, 8),
            ("head", 1, 0, 0, 0),
            ("list", 1, 0, 0, 0),
            ("delete", 1, 0, 0, 0),
        ];
        assert_eq!(counted, expected);
    }
}
