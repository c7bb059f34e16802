//! Pieces that are on their way from the store, so that of several readers that miss one only one fetches it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::layout::PieceKey;

#[derive(Clone)]
enum Progress {
    UnderWay,
    Landed(Bytes),
    Failed,
}

/// One piece on its way.
pub struct Flight {
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl Flight {
    /// The piece once it is there; `None` if the reader that was to fetch it failed.
    pub fn wait(&self) -> Option<Bytes> {
        let mut progress = self.progress.lock();
        loop {
            match &*progress {
                Progress::UnderWay => self.changed.wait(&mut progress),
                Progress::Landed(piece) => return Some(piece.clone()),
                Progress::Failed => return None,
            }
        }
    }

    fn end(&self, progress: Progress) {
        *self.progress.lock() = progress;
        self.changed.notify_all();
    }
}

/// All pieces on their way.
#[derive(Default)]
pub struct Flights {
    under_way: Mutex<HashMap<PieceKey, Arc<Flight>>>,
}

/// A piece that its holder is to fetch. Dropped without [`Claim::land`] it has failed, and another may try.
pub struct Claim<'a> {
    flights: &'a Flights,
    key: PieceKey,
    flight: Arc<Flight>,
}

impl Flights {
    /// The right to fetch a piece, or the flight that is fetching it.
    pub fn claim(&self, key: PieceKey) -> Result<Claim<'_>, Arc<Flight>> {
        match self.under_way.lock().entry(key) {
            Entry::Occupied(taken) => Err(taken.get().clone()),
            Entry::Vacant(vacant) => {
                let flight = Arc::new(Flight {
                    progress: Mutex::new(Progress::UnderWay),
                    changed: Condvar::new(),
                });
                vacant.insert(flight.clone());
                Ok(Claim {
                    flights: self,
                    key,
                    flight,
                })
            }
        }
    }
}

impl Claim<'_> {
    /// Which piece.
    pub fn key(&self) -> PieceKey {
        self.key
    }

    /// Hands the piece to all that wait for it.
    pub fn land(self, piece: Bytes) {
        self.flight.end(Progress::Landed(piece));
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.flights.under_way.lock().remove(&self.key);
        let mut progress = self.flight.progress.lock();
        if matches!(*progress, Progress::UnderWay) {
            *progress = Progress::Failed;
        }
        drop(progress);
        self.flight.changed.notify_all();
    }
}
