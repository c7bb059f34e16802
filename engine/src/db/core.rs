//! The parts that the engine is made of.
//!
//! Each has what it needs of those above it in this list, and knows none below; so locks are taken in this order too, [`Writer`](super::writer::Writer)'s
//! first: a group of commits is written under it, then an edit under the manifest's, then a change of what readers see.
//!
//! Some locks are held while the store is waited for, for as long as it is away: the manifest's, that of a flush, of a removal, of the search for
//! orphans. Whatever reports the engine's state (statistics, the report, the listings) takes none of these, only locks that are held for moments.

use std::sync::Arc;

use super::compactor::Compactor;
use super::drop_queue::DropQueue;
use super::flusher::Flusher;
use super::garbage::{OrphanSearch, Remover};
use super::health::Health;
use super::ingest::Ingester;
use super::log::Log;
use super::persistent_cache::PersistentCache;
use super::transactions::Transactions;
use super::tree::Tree;
use super::tree::state::Obsolete;
use crate::object_store::Meter;
use crate::options::Options;

/// See the module's description.
pub struct Core {
    pub options: Arc<Options>,
    /// What the requests to the store came to.
    pub meter: Arc<Meter>,
    pub persistent_cache: PersistentCache,
    pub health: Arc<Health>,
    pub log: Arc<Log>,
    pub tree: Arc<Tree>,
    pub transactions: Transactions,
    pub flusher: Arc<Flusher>,
    pub compactor: Arc<Compactor>,
    pub ingester: Ingester,
    pub drops: DropQueue,
    pub remover: Remover,
    pub orphans: OrphanSearch,
}

impl Core {
    /// Lets no further commit begin and tells the threads to end.
    pub fn close_for_writes(&self) {
        self.transactions.writer.close();
        // Only a thread that has ended no longer listens.
        self.tree.tell_obsolete(Obsolete::Stop);
        self.log.stop_upload();
        self.health.signal.notify();
    }
}
