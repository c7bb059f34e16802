//! Iterators over internal keys: the contract every source of entries fulfils.

mod level;
mod merging;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;

pub use level::{LevelFiles, LevelIter};
pub use merging::MergingIterator;

use crate::Result;
use crate::types::KeyRef;

/// A cursor over internal entries in internal-key order, both ways.
///
/// It starts invalid. A seek or step that runs off either end leaves it invalid; stepping an invalid iterator is a no-op.
/// `key` and `value` may be called only while valid and stay good until the next call that moves it.
/// After an error the iterator is invalid.
pub trait InternalIterator {
    /// Whether it stands on an entry.
    fn valid(&self) -> bool;
    /// To the very first entry.
    fn seek_to_first(&mut self) -> Result<()>;
    /// To the very last entry.
    fn seek_to_last(&mut self) -> Result<()>;
    /// To the first entry at or after `target`.
    fn seek(&mut self, target: KeyRef<'_>) -> Result<()>;
    /// To the last entry at or before `target`.
    fn seek_for_prev(&mut self, target: KeyRef<'_>) -> Result<()>;
    /// To the next entry.
    fn next(&mut self) -> Result<()>;
    /// To an entry after this one, of which those of the same user key may be passed over.
    fn next_key(&mut self) -> Result<()> {
        self.next()
    }
    /// To the first entry at or after `target`, which lies at or behind the current entry. For an iterator over several sources this costs less than a
    /// seek: sources that have reached it already stay where they are.
    fn skip_to(&mut self, target: KeyRef<'_>) -> Result<()> {
        self.seek(target)
    }
    /// To the entry before.
    fn prev(&mut self) -> Result<()>;
    /// The encoded internal key.
    fn key(&self) -> &[u8];
    /// The value.
    fn value(&self) -> &[u8];
}
