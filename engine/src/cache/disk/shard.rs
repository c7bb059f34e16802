//! Which pieces stay: S3-FIFO (Yang et al., SOSP 2023) over slots of equal size.
//!
//! A new piece enters a small queue, a tenth of the slots. What was used by the time it reaches that queue's end moves to the main queue, the rest
//! goes, and is remembered for a while: if it is wanted again it enters the main queue. The main queue is a clock: what was used goes round
//! once more for each use, up to three. So a scan passes through the small queue and pushes out nothing that is in use.
//!
//! Several reads of a piece within a moment are one use, since a scan too reads several blocks of a piece: a use counts when, since the last one, a
//! sixty-fourth of the slots were given new pieces.
//!
//! A slot takes 48 bytes of memory, its place in the table about 6, its share of what is remembered about 10: a thousandth of the cache.

use std::collections::VecDeque;

use hashbrown::HashTable;

use super::layout::{Entry, PieceKey};

const NONE: u32 = u32::MAX;
const MOST_USES: u8 = 3;
/// One in this many slots is the small queue's.
const SMALL_SHARE: u32 = 10;
/// Uses closer together than one in this many slots' renewal are one.
const MOMENT_SHARE: u32 = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    Small,
    Main,
}

struct Slot {
    entry: Entry,
    /// Neighbours in the queue: the one that came before and the one that came after.
    older: u32,
    newer: u32,
    /// The count of insertions when it was last used.
    used_at: u32,
    /// Differs between two pieces that follow each other in the slot.
    turn: u16,
    uses: u8,
    place: Place,
}

#[derive(Clone, Copy)]
struct Queue {
    oldest: u32,
    newest: u32,
    len: u32,
}

impl Queue {
    const EMPTY: Self = Self {
        oldest: NONE,
        newest: NONE,
        len: 0,
    };
}

/// A piece that was found. It stays what it is while [`Shard::is_current`].
#[derive(Clone, Copy)]
pub struct FoundPiece {
    pub slot: u32,
    pub entry: Entry,
    turn: u16,
}

/// What [`Shard::take_slot`] gives.
pub struct TakenSlot {
    pub slot: u32,
    /// The piece that had to go for it.
    pub evicted: Option<Entry>,
}

/// Some of the cache's slots, numbered from `first`, and the pieces in them.
pub struct Shard {
    first: u32,
    capacity: u32,
    slots: Vec<Slot>,
    free: Vec<u32>,
    table: HashTable<u32>,
    small: Queue,
    main: Queue,
    ghosts: HashTable<u32>,
    ghost_order: VecDeque<u32>,
    insertions: u32,
}

fn fingerprint(key: PieceKey) -> u32 {
    (key.hash() >> 32) as u32
}

/// Spreads a fingerprint over a table.
fn spread(fingerprint: &u32) -> u64 {
    u64::from(*fingerprint).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Shard {
    /// Without pieces.
    pub fn new(first: u32, capacity: u32) -> Self {
        Self {
            first,
            capacity,
            slots: Vec::new(),
            free: Vec::new(),
            table: HashTable::new(),
            small: Queue::EMPTY,
            main: Queue::EMPTY,
            ghosts: HashTable::new(),
            ghost_order: VecDeque::new(),
            insertions: 0,
        }
    }

    fn find(&self, key: PieceKey) -> Option<u32> {
        let same = |&slot: &u32| self.slots[slot as usize].entry.key == key;
        self.table.find(key.hash(), same).copied()
    }

    /// Whether the piece is there, without using it.
    pub fn contains(&self, key: PieceKey) -> bool {
        self.find(key).is_some()
    }

    /// Finds a piece and counts the use.
    pub fn use_piece(&mut self, key: PieceKey) -> Option<FoundPiece> {
        let at = self.find(key)?;
        let moment = (self.capacity / MOMENT_SHARE).max(1);
        let slot = &mut self.slots[at as usize];
        if self.insertions.wrapping_sub(slot.used_at) >= moment {
            slot.used_at = self.insertions;
            slot.uses = (slot.uses + 1).min(MOST_USES);
        }
        Some(FoundPiece {
            slot: self.first + at,
            entry: slot.entry,
            turn: slot.turn,
        })
    }

    /// Whether the slot still holds what was found in it.
    pub fn is_current(&self, found: &FoundPiece) -> bool {
        self.find(found.entry.key) == Some(found.slot - self.first)
            && self
                .slots
                .get((found.slot - self.first) as usize)
                .is_some_and(|slot| slot.turn == found.turn)
    }

    /// A slot to write to, which is in no queue until [`Shard::publish`] or [`Shard::give_back`]; `None` if all are being written to.
    pub fn take_slot(&mut self) -> Option<TakenSlot> {
        if let Some(at) = self.free.pop() {
            return Some(TakenSlot {
                slot: self.first + at,
                evicted: None,
            });
        }
        let fresh = self.slots.len() as u32;
        if fresh < self.capacity {
            self.slots.push(Slot {
                entry: Entry {
                    key: PieceKey { file: 0, piece: 0 },
                    len: 0,
                    crcs: [0; 4],
                },
                older: NONE,
                newer: NONE,
                used_at: 0,
                turn: 0,
                uses: 0,
                place: Place::Nowhere,
            });
            return Some(TakenSlot {
                slot: self.first + fresh,
                evicted: None,
            });
        }
        let at = self.choose_victim()?;
        let entry = self.slots[at as usize].entry;
        self.forget(at);
        Some(TakenSlot {
            slot: self.first + at,
            evicted: Some(entry),
        })
    }

    /// Puts a piece that was written to a taken slot among the others. The one that was there under its name, if any, goes, as by
    /// [`Shard::remove`].
    pub fn publish(&mut self, slot: u32, entry: Entry) -> Option<(u32, Entry)> {
        let replaced = self.remove(entry.key);
        let at = slot - self.first;
        self.insertions = self.insertions.wrapping_add(1);
        let wanted_again = self.recall(entry.key);
        let held = &mut self.slots[at as usize];
        held.entry = entry;
        held.turn = held.turn.wrapping_add(1);
        held.uses = 0;
        held.used_at = self.insertions;
        let hash = |&at: &u32| self.slots[at as usize].entry.key.hash();
        self.table.insert_unique(entry.key.hash(), at, hash);
        let place = if wanted_again {
            Place::Main
        } else {
            Place::Small
        };
        self.push(at, place);
        replaced
    }

    /// Puts a piece in its slot as the index on the disk says; `false` if slot or name is taken. Slots come in ascending order.
    pub fn recover(&mut self, slot: u32, entry: Entry) -> bool {
        let at = slot - self.first;
        while (self.slots.len() as u32) < at {
            let Some(TakenSlot { slot, .. }) = self.take_fresh() else {
                return false;
            };
            self.free.push(slot - self.first);
        }
        if self.slots.len() as u32 != at || self.contains(entry.key) || self.take_fresh().is_none()
        {
            return false;
        }
        self.publish(slot, entry);
        // What it did before is not known; the main queue lets it show its use longest.
        self.unlink(at);
        self.push(at, Place::Main);
        true
    }

    fn take_fresh(&mut self) -> Option<TakenSlot> {
        let free = std::mem::take(&mut self.free);
        let fresh = ((self.slots.len() as u32) < self.capacity).then(|| self.take_slot());
        self.free = free;
        fresh.flatten()
    }

    /// Takes back a slot that nothing is to be found in.
    pub fn give_back(&mut self, slot: u32) {
        self.free.push(slot - self.first);
    }

    /// Forgets a piece; its slot is the caller's, to [`Shard::give_back`].
    pub fn remove(&mut self, key: PieceKey) -> Option<(u32, Entry)> {
        let at = self.find(key)?;
        let entry = self.slots[at as usize].entry;
        self.forget(at);
        Some((self.first + at, entry))
    }

    /// Takes the piece out of queue and table.
    fn forget(&mut self, at: u32) {
        self.unlink(at);
        let hash = self.slots[at as usize].entry.key.hash();
        if let Ok(found) = self.table.find_entry(hash, |&slot| slot == at) {
            found.remove();
        }
    }

    fn choose_victim(&mut self) -> Option<u32> {
        loop {
            let from_small = self.small.len > 0
                && (self.main.len == 0 || self.small.len >= (self.capacity / SMALL_SHARE).max(1));
            let at = if from_small {
                self.small.oldest
            } else {
                self.main.oldest
            };
            let slot = self.slots.get_mut(at as usize)?;
            let key = slot.entry.key;
            if slot.uses == 0 {
                if from_small {
                    self.remember(key);
                }
                return Some(at);
            }
            slot.uses = if from_small { 0 } else { slot.uses - 1 };
            self.unlink(at);
            self.push(at, Place::Main);
        }
    }

    fn queue(&mut self, place: Place) -> Option<&mut Queue> {
        match place {
            Place::Nowhere => None,
            Place::Small => Some(&mut self.small),
            Place::Main => Some(&mut self.main),
        }
    }

    fn push(&mut self, at: u32, place: Place) {
        let Some(queue) = self.queue(place) else {
            return;
        };
        let before = queue.newest;
        queue.newest = at;
        queue.len += 1;
        if before == NONE {
            queue.oldest = at;
        }
        let slot = &mut self.slots[at as usize];
        slot.place = place;
        slot.older = before;
        slot.newer = NONE;
        if let Some(before) = self.slots.get_mut(before as usize) {
            before.newer = at;
        }
    }

    fn unlink(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        let (older, newer, place) = (slot.older, slot.newer, slot.place);
        slot.place = Place::Nowhere;
        if let Some(older) = self.slots.get_mut(older as usize) {
            older.newer = newer;
        }
        if let Some(newer) = self.slots.get_mut(newer as usize) {
            newer.older = older;
        }
        let Some(queue) = self.queue(place) else {
            return;
        };
        queue.len -= 1;
        if queue.oldest == at {
            queue.oldest = newer;
        }
        if queue.newest == at {
            queue.newest = older;
        }
    }

    fn remember(&mut self, key: PieceKey) {
        let ghost = fingerprint(key);
        let hash = spread(&ghost);
        if self.ghosts.find(hash, |&known| known == ghost).is_some() {
            return;
        }
        self.ghosts.insert_unique(hash, ghost, spread);
        self.ghost_order.push_back(ghost);
        while self.ghost_order.len() > self.capacity as usize {
            if let Some(oldest) = self.ghost_order.pop_front() {
                self.drop_ghost(oldest);
            }
        }
    }

    /// Whether the piece went not long ago.
    fn recall(&mut self, key: PieceKey) -> bool {
        self.drop_ghost(fingerprint(key))
    }

    fn drop_ghost(&mut self, ghost: u32) -> bool {
        let found = self
            .ghosts
            .find_entry(spread(&ghost), |&known| known == ghost);
        found.is_ok_and(|found| {
            found.remove();
            true
        })
    }

    /// Whether queues, table and slots agree; for tests.
    #[cfg(test)]
    pub fn check(&self) {
        let mut queued = 0;
        for queue in [&self.small, &self.main] {
            let (mut at, mut before, mut len) = (queue.oldest, NONE, 0);
            while at != NONE {
                let slot = &self.slots[at as usize];
                assert_eq!(slot.older, before);
                assert_eq!(self.find(slot.entry.key), Some(at));
                (before, at, len) = (at, slot.newer, len + 1);
            }
            assert_eq!((queue.newest, queue.len), (before, len));
            queued += len;
        }
        assert_eq!(queued as usize, self.table.len());
        assert!(self.slots.len() <= self.capacity as usize);
        assert_eq!(self.slots.len(), self.table.len() + self.free.len());
        assert!(self.ghosts.len() <= self.capacity as usize);
    }
}
