//! What an owner of gaps knows of the keys around them: where nobody else has added any.
//!
//! The owner learns it by a survey of what others have written, and those who add keys afterwards take these out. See the module above.

use super::ranges::{Ranges, after};

/// So many ranges are remembered. Beyond them all are forgotten, and the next survey begins anew.
const MOST_RANGES: usize = 256;

/// A survey under way: around a gap, as far as nobody has added anything since it began.
struct Watch {
    gap: (Vec<u8>, Vec<u8>),
    around: (Vec<u8>, Vec<u8>),
    /// Whether something was added to the gap itself.
    hit: bool,
}

/// Where nobody but the owner has added a key that is not committed.
#[derive(Default)]
pub struct Known {
    clear: Ranges,
    watch: Option<Watch>,
}

impl Known {
    /// Whether nobody has added to [from, to).
    pub fn is_clear(&self, from: &[u8], to: &[u8]) -> bool {
        self.clear.contain(from, to)
    }

    /// Another transaction has added `key`.
    pub fn note(&mut self, key: &[u8]) {
        self.clear.exclude(key);
        if self.clear.len() > MOST_RANGES {
            self.clear.clear();
        }
        if let Some(watch) = &mut self.watch {
            watch.note(key);
        }
    }

    /// A survey of [from, to) begins, which will say no more than is in `around`.
    pub fn watch(&mut self, gap: (Vec<u8>, Vec<u8>), around: (Vec<u8>, Vec<u8>)) {
        self.watch = Some(Watch {
            gap,
            around,
            hit: false,
        });
    }

    /// The survey has found [from, to) to be clear, or something in the gap.
    pub fn learn(&mut self, found: Option<&(Vec<u8>, Vec<u8>)>) {
        let Some((watch, (from, to))) = self.watch.take().zip(found) else {
            return;
        };
        let (from, to) = (from.max(&watch.around.0), to.min(&watch.around.1));
        if watch.hit || from >= to {
            return;
        }
        if self.clear.len() >= MOST_RANGES {
            self.clear.clear();
        }
        self.clear.add(from, to);
    }
}

impl Watch {
    fn note(&mut self, key: &[u8]) {
        let (from, to) = (self.gap.0.as_slice(), self.gap.1.as_slice());
        if key < from {
            if self.around.0.as_slice() <= key {
                self.around.0 = after(key);
            }
        } else if key >= to {
            if key < self.around.1.as_slice() {
                self.around.1 = key.to_vec();
            }
        } else {
            self.hit = true;
        }
    }
}
