//! What the database must hold: the events of each writer in the order of its log, and what was acknowledged of them.
//!
//! A writer that opens finds the base of the writer before it and the first k of that one's events, no more and no others. k counts at least
//! what the store has acknowledged, and what the local log has where that is still the last writer's. From then on the one before may acknowledge
//! nothing by the store that is not among those k.

use std::collections::BTreeMap;

pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
/// In order; no value stands for a deletion.
pub type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// The dictionary's rows: one for each index beside [`ROWS`].
pub const DICTIONARY: u32 = 0;
/// The index that most rows are in.
pub const ROWS: u32 = 1;

/// The dictionary row of an index.
pub fn dictionary_key(index: u32) -> Vec<u8> {
    [&DICTIONARY.to_be_bytes()[..], b"D", &index.to_be_bytes()].concat()
}

/// The index that a dictionary row is about.
pub fn named_index(key: &[u8]) -> Option<u32> {
    let digits = key.strip_prefix(&DICTIONARY.to_be_bytes())?;
    let digits = digits.strip_prefix(b"D")?;
    Some(u32::from_be_bytes(digits.try_into().ok()?))
}

pub fn index_of(key: &[u8]) -> u32 {
    u32::from_be_bytes(key[..4].try_into().unwrap())
}

/// The row that only transaction `id` writes.
pub fn marker(id: u32) -> Vec<u8> {
    [&ROWS.to_be_bytes()[..], &[0x80], &id.to_be_bytes()].concat()
}

/// A database: rows, and prepared transactions by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Db {
    pub rows: Rows,
    pub prepared: BTreeMap<Vec<u8>, Writes>,
}

impl Db {
    /// The indexes that the dictionary names.
    pub fn indexes(&self) -> Vec<u32> {
        self.rows
            .keys()
            .filter_map(|key| named_index(key))
            .collect()
    }

    fn write(&mut self, writes: &Writes) {
        for (key, value) in writes {
            match value {
                Some(value) => {
                    self.rows.insert(key.clone(), value.clone());
                }
                None => {
                    self.rows.remove(key);
                    if let Some(index) = named_index(key) {
                        self.rows.retain(|key, _| index_of(key) != index);
                    }
                }
            }
        }
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Commit(writes) => self.write(writes),
            Event::Prepare(name, writes) => {
                self.prepared.insert(name.clone(), writes.clone());
            }
            Event::CommitPrepared(name) => {
                if let Some(writes) = self.prepared.remove(name) {
                    self.write(&writes);
                }
            }
            Event::RollbackPrepared(name) => {
                self.prepared.remove(name);
            }
        }
    }

    /// Leaves out the rows of indexes that the dictionary does not name.
    pub fn named_rows(mut rows: Rows) -> Rows {
        let named: Vec<u32> = rows.keys().filter_map(|key| named_index(key)).collect();
        rows.retain(|key, _| {
            let index = index_of(key);
            index == DICTIONARY || index == ROWS || named.contains(&index)
        });
        rows
    }

    /// What distinguishes it from what was found.
    fn difference(&self, rows: &Rows, prepared: &[Vec<u8>]) -> Option<String> {
        let names: Vec<&Vec<u8>> = self.prepared.keys().collect();
        if names != prepared.iter().collect::<Vec<_>>() {
            return Some(format!(
                "prepared {:?}, expected {:?}",
                texts(prepared),
                texts(&names)
            ));
        }
        if self.rows == *rows {
            return None;
        }
        let missing = self.rows.iter().find(|(key, _)| !rows.contains_key(*key));
        let more = rows.iter().find(|(key, _)| !self.rows.contains_key(*key));
        let other = rows
            .iter()
            .find(|(key, value)| self.rows.get(*key).is_some_and(|own| own != *value));
        let key = |found: Option<(&Vec<u8>, &Vec<u8>)>| {
            found.map(|(key, _)| key.escape_ascii().to_string())
        };
        Some(format!(
            "missing {:?}, too much {:?}, another value {:?}",
            key(missing),
            key(more),
            key(other)
        ))
    }
}

fn texts<T: AsRef<[u8]>>(names: &[T]) -> Vec<String> {
    names
        .iter()
        .map(|name| name.as_ref().escape_ascii().to_string())
        .collect()
}

#[derive(Clone, Debug)]
pub enum Event {
    Commit(Writes),
    Prepare(Vec<u8>, Writes),
    CommitPrepared(Vec<u8>),
    RollbackPrepared(Vec<u8>),
}

/// Who has acknowledged an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ack {
    Nobody,
    Local,
    Store,
}

struct Logged {
    event: Event,
    ack: Ack,
}

/// One writer, from its open on.
pub struct Writer {
    node: usize,
    epoch: u64,
    base: Db,
    events: Vec<Logged>,
    /// How many of its events the next writer has found.
    kept: Option<usize>,
    /// Whether the disk it wrote to is still there.
    disk_kept: bool,
}

impl Writer {
    /// What it shows, all its events included.
    pub fn now(&self) -> Db {
        let mut db = self.base.clone();
        for logged in &self.events {
            db.apply(&logged.event);
        }
        db
    }

    /// How many of its events are acknowledged by this, with all before them.
    fn acknowledged(&self, ack: Ack) -> usize {
        let last = self.events.iter().rposition(|logged| logged.ack >= ack);
        last.map_or(0, |at| at + 1)
    }

    /// After how many of its events it shows this: at the most, and if that is never so, why not after `least`.
    fn shows_after(
        &self,
        rows: &Rows,
        prepared: &[Vec<u8>],
        least: usize,
    ) -> Result<(usize, Db), String> {
        let mut db = self.base.clone();
        let mut found = Err(String::new());
        for count in 0..=self.events.len() {
            if count > 0 {
                db.apply(&self.events[count - 1].event);
            }
            match db.difference(rows, prepared) {
                None => found = Ok((count, db.clone())),
                Some(difference) if count == least && found.is_err() => found = Err(difference),
                Some(_) => {}
            }
        }
        found
    }
}

/// All writers, in the order in which their opens returned.
pub struct Model {
    writers: Vec<Writer>,
    /// The epochs that came to be in the manifest, and whose they are.
    attached: Vec<(u64, usize)>,
    next_id: u32,
}

impl Model {
    pub fn new() -> Self {
        let nobody = Writer {
            node: usize::MAX,
            epoch: 0,
            base: Db::default(),
            events: Vec::new(),
            kept: None,
            disk_kept: true,
        };
        Self {
            writers: vec![nobody],
            attached: Vec::new(),
            next_id: 0,
        }
    }

    pub fn next_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    pub fn writer(&self, number: usize) -> &Writer {
        &self.writers[number]
    }

    /// Whether nobody has attached since.
    pub fn is_last(&self, number: usize) -> bool {
        let last = self.attached.last();
        last.is_none_or(|&(epoch, _)| epoch <= self.writers[number].epoch)
    }

    /// The epoch of a node came to be in the manifest.
    pub fn attached(&mut self, node: usize, epoch: u64) {
        if self.attached.last().is_none_or(|&(last, _)| last < epoch) {
            self.attached.push((epoch, node));
        }
    }

    pub fn disk_lost(&mut self, node: usize) {
        let gone = self.writers.iter_mut().filter(|writer| writer.node == node);
        gone.for_each(|writer| writer.disk_kept = false);
    }

    /// `node` has opened with this epoch and found this; returns the number of the new writer.
    pub fn opened(&mut self, node: usize, epoch: u64, rows: Rows, prepared: &[Vec<u8>]) -> usize {
        // One that was interrupted may have been superseded before its open returned.
        let later = self.writers.iter().filter(|writer| writer.epoch > epoch);
        if let Some(later) = later.min_by_key(|writer| writer.epoch)
            && let Some(difference) = later.base.difference(&rows, prepared)
        {
            panic!(
                "epoch {epoch} begins with something else than epoch {}: {difference}",
                later.epoch
            );
        }
        let before = self.writers.iter().enumerate();
        let before = before.filter(|(_, writer)| writer.epoch < epoch);
        let (number, _) = before.max_by_key(|(_, writer)| writer.epoch).unwrap();
        let last = &mut self.writers[number];
        let others = self
            .attached
            .iter()
            .any(|&(other, by)| other > last.epoch && other < epoch && by != node);
        let local = last.node == node && last.disk_kept && !others;
        let needed = if local { Ack::Local } else { Ack::Store };
        let least = last.acknowledged(needed);
        let count = last.events.len();
        let (kept, base) = last
            .shows_after(&rows, prepared, least)
            .unwrap_or_else(|why| {
                panic!("what is found is no prefix of what writer {number} did; from its first {least} of {count} events: {why}")
            });
        assert!(
            kept >= least,
            "{kept} of {count} events of writer {number} are left, {least} were acknowledged ({needed:?})"
        );
        last.kept = Some(kept);
        let superseded = self.writers.iter().any(|writer| writer.epoch > epoch);
        self.writers.push(Writer {
            node,
            epoch,
            base,
            events: Vec::new(),
            kept: superseded.then_some(0),
            disk_kept: true,
        });
        self.writers.len() - 1
    }

    /// Writer `number` begins this.
    pub fn begin(&mut self, number: usize, event: Event) {
        let ack = Ack::Nobody;
        self.writers[number].events.push(Logged { event, ack });
    }

    /// What writer `number` began last is acknowledged, or all that it has begun so far.
    pub fn acknowledge(&mut self, number: usize, ack: Ack) {
        let writer = &mut self.writers[number];
        let count = writer.events.len();
        let Some(last) = writer.events.last_mut() else {
            return;
        };
        last.ack = last.ack.max(ack);
        if let (Ack::Store, Some(kept)) = (last.ack, writer.kept) {
            assert!(
                count <= kept,
                "writer {number} has event {count} acknowledged by the store, the next writer has found {kept}"
            );
        }
    }

    /// What writer `number` began last has not happened, and never will.
    pub fn withdraw(&mut self, number: usize) {
        let writer = &mut self.writers[number];
        if writer.kept.is_none_or(|kept| kept < writer.events.len()) {
            writer.events.pop();
        }
    }

    /// Writer `number`, which goes on, shows this.
    pub fn check(&self, number: usize, rows: &Rows, prepared: &[Vec<u8>]) {
        if let Some(difference) = self.writers[number].now().difference(rows, prepared) {
            panic!("writer {number} shows something else than it did: {difference}");
        }
    }
}
