//! What a node does with its engine.

use std::sync::Arc;
use std::time::Duration;

use smartengine::internals::env::fs::FaultFs;
use smartengine::{
    Durability, Engine, Error, ErrorKind, Index, Isolation, Options, Result, Transaction, View,
};

use crate::bucket::Bucket;
use crate::disk::Disk;
use crate::model::{
    Ack, DICTIONARY, Db, Event, ROWS, Rows, Writes, dictionary_key, index_of, marker, named_index,
};
use crate::world::{GRACE, World};

/// Rows that are written over and over.
const SLOTS: u64 = 24;
/// Letters that names of prepared transactions begin with, one transaction each at a time.
const NAMES: u64 = 3;

fn options(world: &Arc<World>, node: usize) -> Options {
    let life = world.life(node);
    let mut options = Options::new("/engine");
    options.manual = true;
    options.remote_wal = true;
    options.writer = format!("node {node}");
    options.clock = Arc::new(life.clone());
    options.store = Some(Arc::new(Bucket(life.clone())));
    options.fs = Arc::new(Disk {
        life,
        inner: world.nodes[node].lock().disk.clone(),
    });
    options.wal_upload_interval = Duration::from_millis(10 << world.below(7));
    options.wal_upload_size = 4 << 10;
    options.max_unuploaded_wal = 64 << 10;
    options.store_wait = Duration::from_secs(3);
    options.gc_grace = GRACE;
    options.block_size = 1 << 10;
    options.block_cache_size = 1 << 20;
    options.memtable_size = 64 << 10;
    options.total_memtable_size = 256 << 10;
    options.total_wal_size = 1 << 20;
    options.target_file_size = 64 << 10;
    options.base_level_size = 64 << 10;
    options.level_multiplier = 2;
    options.level0_compaction_trigger = 2;
    options.transaction_memory = 4 << 10;
    options
}

fn key(slot: u64) -> Vec<u8> {
    [&ROWS.to_be_bytes()[..], &[slot as u8]].concat()
}

fn index_key(index: u32, row: u64) -> Vec<u8> {
    [&index.to_be_bytes()[..], &[row as u8]].concat()
}

/// One of the keys that only the transaction prepared under `name` writes to.
fn prepared_key(name: &[u8], row: u64) -> Vec<u8> {
    [&ROWS.to_be_bytes()[..], &[0x40], name, &[row as u8]].concat()
}

fn value(world: &World, longest: u64) -> Vec<u8> {
    let length = world.below(longest) as usize;
    let byte = world.below(256) as u8;
    (0..length).map(|at| byte.wrapping_add(at as u8)).collect()
}

/// What the engine shows: rows of named indexes, and names of prepared transactions.
fn look(engine: &Engine) -> Result<(Rows, Vec<Vec<u8>>)> {
    let mut txn = engine.begin(Isolation::RepeatableRead);
    let mut cursor = txn.cursor(&[0]..&[0xff], View::Snapshot)?;
    let mut rows = Rows::new();
    cursor.seek_to_first()?;
    while cursor.valid() {
        rows.insert(cursor.key().to_vec(), cursor.value().to_vec());
        cursor.next()?;
    }
    let prepared = engine
        .prepared()
        .iter()
        .map(|one| one.name.to_vec())
        .collect();
    Ok((Db::named_rows(rows), prepared))
}

fn is_read_only(engine: &Engine) -> bool {
    engine.status().contains("READ ONLY")
}

/// A node that stands still, or whose process runs, does something.
pub fn act(world: &Arc<World>, node: usize, engine: Option<Engine>) -> Option<Engine> {
    let Some(engine) = engine else {
        // Where another serves, one that comes is rare.
        let others = world
            .nodes
            .iter()
            .any(|other| other.lock().engine.is_some());
        match world.below(if others { 40 } else { 12 }) {
            0 => lose_disk(world, node),
            1..=10 => return open(world, node),
            _ => world.pass(Duration::from_millis(world.below(300))),
        }
        return None;
    };
    let writer = world.nodes[node].lock().writer;
    let acting = Acting {
        world,
        node,
        writer,
        engine: &engine,
    };
    match world.below(100) {
        0..=24 => acting.commit(Durability::Local),
        25..=42 => acting.commit(Durability::Object),
        43..=50 => acting.prepare(),
        51..=58 => acting.decide(),
        59..=60 => acting.roll_back(),
        61..=66 => acting.create_index(),
        67..=70 => acting.drop_index(),
        71..=76 => acting.flush(),
        77..=78 => acting.compact(),
        79..=88 => acting.work(),
        89..=90 => acting.wait_uploaded(),
        91..=93 => world.pass(Duration::from_millis(world.below(2000))),
        94 => acting.let_grace_pass(),
        95..=97 => {
            world.die(node);
        }
        _ => {
            close(world, node, engine);
            return None;
        }
    }
    Some(engine)
}

fn lose_disk(world: &Arc<World>, node: usize) {
    world.note(&format!("node {node} loses its disk"));
    world.nodes[node].lock().disk = FaultFs::new();
    world.model.lock().disk_lost(node);
}

fn open(world: &Arc<World>, node: usize) -> Option<Engine> {
    let start = world.now();
    world.note(&format!("node {node} opens"));
    world.set_opening(node, true);
    let opened = Engine::open(options(world, node));
    world.set_opening(node, false);
    let engine = match opened {
        Ok(engine) => engine,
        Err(error) => {
            world.note(&format!("node {node} does not open: {:?}", error.kind()));
            // Who takes as long as objects are kept for readers may miss some.
            let late = world.now() - start >= GRACE;
            let expected = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Fenced);
            assert!(expected || late, "node {node} does not open: {error}");
            return None;
        }
    };
    let (rows, prepared) = world.calmly(|| look(&engine)).unwrap();
    let mut model = world.model.lock();
    let writer = model.opened(node, engine.stats().epoch, rows, &prepared);
    let now = model.writer(writer).now();
    drop(model);
    world.note(&format!("node {node} has opened as writer {writer}"));
    world.nodes[node].lock().writer = writer;
    // An index that only a prepared transaction knows is not garbage.
    let mut named = now.indexes();
    named.extend(busy_indexes(&now));
    named.push(ROWS);
    let named: Vec<Index> = named.into_iter().map(Index::from_id).collect();
    if let Err(error) = engine.retain_indexes(&named) {
        check_error(world, writer, &error);
    }
    while engine.create_index().is_ok_and(|index| index.id() < ROWS) {}
    Some(engine)
}

/// Errors that a writer may meet while the world is as it is.
fn check_error(world: &World, writer: usize, error: &Error) {
    let expected = match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Fenced | ErrorKind::ReadOnly => true,
        // The files of one that was superseded are not kept for good.
        ErrorKind::NotFound | ErrorKind::Corruption => !world.model.lock().is_last(writer),
        _ => false,
    };
    assert!(expected, "writer {writer}: {error}");
}

fn close(world: &Arc<World>, node: usize, engine: Engine) {
    let writer = world.nodes[node].lock().writer;
    let healthy = !is_read_only(&engine);
    let closed = engine.close();
    world.note(&format!("node {node} closes: {:?}", kind(&closed)));
    match closed {
        Ok(()) if healthy => world.model.lock().acknowledge(writer, Ack::Store),
        Ok(()) => {}
        Err(error) => check_error(world, writer, &error),
    }
}

fn kind<T>(result: &Result<T>) -> Option<ErrorKind> {
    result.as_ref().err().map(Error::kind)
}

/// The end of a run: the node opens if it does not serve, and has it all; what is garbage goes.
pub fn finish(world: &Arc<World>, node: usize, engine: Option<Engine>) -> Option<Engine> {
    drop(engine);
    // What was sent by those before may still come in between.
    let engine = (0..100).find_map(|_| {
        world.pass(Duration::from_secs(5));
        open(world, node)
    });
    let engine = engine.expect("no node opens though all is well");
    let writer = world.nodes[node].lock().writer;
    let acting = Acting {
        world,
        node,
        writer,
        engine: &engine,
    };
    for _ in 0..NAMES {
        acting.decide();
    }
    acting.commit(Durability::Object);
    acting.compact();
    acting.let_grace_pass();
    acting.check();
    if !is_read_only(&engine) {
        assert!(engine.prepared().is_empty());
        close(world, node, engine);
    }
    None
}

/// A node whose process runs.
struct Acting<'a> {
    world: &'a Arc<World>,
    node: usize,
    writer: usize,
    engine: &'a Engine,
}

impl Acting<'_> {
    fn note(&self, what: &str) {
        self.world.note(&format!(
            "node {}, writer {}: {what}",
            self.node, self.writer
        ));
    }

    fn now(&self) -> Db {
        self.world.model.lock().writer(self.writer).now()
    }

    fn check_error(&self, error: &Error) {
        check_error(self.world, self.writer, error);
    }

    /// Compares all that can be read with what was done.
    fn check(&self) {
        if !self.world.model.lock().is_last(self.writer) || is_read_only(self.engine) {
            return;
        }
        let (rows, prepared) = self.world.calmly(|| look(self.engine)).unwrap();
        self.world.model.lock().check(self.writer, &rows, &prepared);
    }

    /// Notes what has become of the event begun last.
    fn settle(&self, result: Result<()>, ack: Ack, happened: impl FnOnce() -> bool) {
        match &result {
            Ok(()) => self.world.model.lock().acknowledge(self.writer, ack),
            Err(error) => {
                self.check_error(error);
                // In an engine that takes no more, it is left open; nothing comes after it.
                if !is_read_only(self.engine) && !self.world.calmly(happened) {
                    self.world.model.lock().withdraw(self.writer);
                }
            }
        }
        self.note(&format!("  {:?}", kind(&result)));
        if self.world.one_in(4) {
            self.check();
        }
    }

    fn shows(&self, key: &[u8]) -> bool {
        let mut txn = self.engine.begin(Isolation::RepeatableRead);
        txn.get(key, View::Newest)
            .is_ok_and(|value| value.is_some())
    }

    fn writes(&self) -> Writes {
        let world = self.world;
        let large = world.one_in(6);
        let (rows, longest) = if large {
            (8, 1500)
        } else {
            (1 + world.below(4), 150)
        };
        let mut writes: Writes = (0..rows)
            .map(|_| {
                let deleted = !large && world.one_in(4);
                let value = (!deleted).then(|| value(world, longest));
                (key(world.below(SLOTS)), value)
            })
            .collect();
        // Rows of an index that nobody is about to drop.
        let now = self.now();
        let busy = busy_indexes(&now);
        let free: Vec<u32> = now
            .indexes()
            .into_iter()
            .filter(|index| !busy.contains(index))
            .collect();
        if let Some(&index) = free.get(world.below(4) as usize) {
            let row = index_key(index, world.below(8));
            writes.push((row, Some(value(world, 60))));
        }
        writes
    }

    /// A transaction with these writes and the row that is its own, begun in the model as `event` says.
    fn begin(
        &self,
        mut writes: Writes,
        event: impl FnOnce(Writes) -> Event,
    ) -> Result<(Transaction, Vec<u8>)> {
        let own = marker(self.world.model.lock().next_id());
        writes.push((own.clone(), Some(b"x".to_vec())));
        let mut txn = self.engine.begin(Isolation::RepeatableRead);
        for (key, value) in &writes {
            match value {
                Some(value) => txn.put(key, value)?,
                None => txn.delete(key)?,
            }
        }
        self.world.model.lock().begin(self.writer, event(writes));
        Ok((txn, own))
    }

    fn commit(&self, durability: Durability) {
        let writes = self.writes();
        self.commit_writes(writes, durability);
    }

    fn commit_writes(&self, writes: Writes, durability: Durability) {
        let bytes: usize = writes
            .iter()
            .flat_map(|(_, value)| value)
            .map(Vec::len)
            .sum();
        self.note(&format!(
            "commits {} rows of {bytes} bytes, {durability:?}",
            writes.len()
        ));
        let (mut txn, own) = match self.begin(writes, Event::Commit) {
            Ok(begun) => begun,
            Err(error) => return self.check_error(&error),
        };
        txn.set_durability(durability);
        let done = txn.commit();
        drop(txn);
        self.settle(done, ack(durability), || self.shows(&own));
    }

    fn prepare(&self) {
        let world = self.world;
        let now = self.now();
        let letter = [b'a' + world.below(NAMES) as u8];
        if now.prepared.keys().any(|name| name.starts_with(&letter)) || is_read_only(self.engine) {
            return;
        }
        // Of the name's content nothing shows before it is committed: whoever finds it has to know which one it is.
        let id = world.model.lock().next_id().to_string();
        let name = [&letter, id.as_bytes()].concat();
        let large = world.one_in(4);
        let (rows, longest) = if large {
            (8, 1500)
        } else {
            (1 + world.below(3), 100)
        };
        let mut writes: Writes = (0..rows)
            .map(|row| (prepared_key(&letter, row), Some(value(world, longest))))
            .collect();
        if world.one_in(3) {
            writes.extend(self.index_change(&now).unwrap_or_default());
        }
        let sync = world.one_in(2);
        self.note(&format!("prepares {}, sync {sync}", name.escape_ascii()));
        let begun = self.begin(writes, |writes| Event::Prepare(name.clone(), writes));
        let (mut txn, _) = match begun {
            Ok(begun) => begun,
            Err(error) => return self.check_error(&error),
        };
        let mut done = txn.prepare(&name, sync);
        if txn.is_prepared() {
            if !sync && done.is_ok() {
                done = self.engine.sync_wal();
            }
            self.engine.detach(txn).unwrap();
        }
        self.settle(done, Ack::Local, || {
            self.engine.prepared().iter().any(|one| *one.name == *name)
        });
    }

    /// Writes that make an index or remove one.
    fn index_change(&self, now: &Db) -> Option<Writes> {
        let busy = busy_indexes(now);
        let free: Vec<u32> = now
            .indexes()
            .into_iter()
            .filter(|index| !busy.contains(index))
            .collect();
        match free.get(self.world.below(4) as usize) {
            Some(&index) => Some(vec![(dictionary_key(index), None)]),
            None => match self.engine.create_index() {
                Ok(index) => Some(self.new_index(index.id())),
                Err(error) => {
                    self.check_error(&error);
                    None
                }
            },
        }
    }

    fn new_index(&self, index: u32) -> Writes {
        let mut writes: Writes = vec![(dictionary_key(index), Some(b"index".to_vec()))];
        let rows = (0..self.world.below(8))
            .map(|row| (index_key(index, row), Some(value(self.world, 60))));
        writes.extend(rows);
        writes
    }

    fn decide(&self) {
        let world = self.world;
        let prepared = self.engine.prepared();
        let Some(one) = prepared.get(world.below(prepared.len() as u64) as usize) else {
            return;
        };
        let name = one.name.to_vec();
        let now = self.now();
        let writes = now.prepared.get(&name).cloned().unwrap_or_default();
        let mut txn = self.engine.take_prepared(&name).unwrap();
        let commits = world.one_in(2);
        let durability = if world.one_in(2) {
            Durability::Object
        } else {
            Durability::Local
        };
        txn.set_durability(durability);
        self.note(&format!(
            "decides {}: commit {commits}, {durability:?}",
            name.escape_ascii()
        ));
        let event = match commits {
            true => Event::CommitPrepared(name),
            false => Event::RollbackPrepared(name),
        };
        world.model.lock().begin(self.writer, event);
        let done = if commits {
            txn.commit()
        } else {
            txn.rollback()
        };
        drop(txn);
        let acknowledged = if commits { ack(durability) } else { Ack::Local };
        let failed = done.is_err();
        self.settle(done, acknowledged, || true);
        if commits && !failed {
            self.drop_unnamed(&writes);
        }
    }

    /// As after a statement that has removed indexes from the dictionary.
    fn drop_unnamed(&self, writes: &Writes) {
        let gone: Vec<Index> = writes
            .iter()
            .filter(|(_, value)| value.is_none())
            .filter_map(|(key, _)| named_index(key).map(Index::from_id))
            .collect();
        if let Err(error) = self.engine.drop_indexes(&gone) {
            self.check_error(&error);
        }
    }

    fn roll_back(&self) {
        let mut txn = self.engine.begin(Isolation::RepeatableRead);
        for (key, value) in self.writes() {
            let written = match value {
                Some(value) => txn.put(&key, &value),
                None => txn.delete(&key),
            };
            if let Err(error) = written {
                self.check_error(&error);
            }
        }
        txn.rollback().unwrap();
        self.note("rolls back");
    }

    fn create_index(&self) {
        match self.engine.create_index() {
            Ok(index) => {
                let index = index.id();
                let writes = self.new_index(index);
                self.note(&format!("creates index {index}"));
                self.commit_writes(writes, Durability::Local);
            }
            Err(error) => {
                self.note(&format!("allocates no index: {:?}", error.kind()));
                self.check_error(&error);
            }
        }
    }

    fn drop_index(&self) {
        let now = self.now();
        let busy = busy_indexes(&now);
        let Some(index) = now
            .indexes()
            .into_iter()
            .find(|index| !busy.contains(index))
        else {
            return;
        };
        self.note(&format!("drops index {index}"));
        let writes = vec![(dictionary_key(index), None)];
        self.commit_writes(writes.clone(), Durability::Local);
        if !self.now().indexes().contains(&index) && !is_read_only(self.engine) {
            self.drop_unnamed(&writes);
        }
    }

    fn maintain(&self, what: &str, result: &Result<()>) {
        self.note(&format!("{what}: {:?}", kind(result)));
        if let Err(error) = result {
            self.check_error(error);
        }
        self.check();
    }

    fn flush(&self) {
        self.note("flushes");
        self.maintain("flushed", &self.engine.flush());
    }

    fn compact(&self) {
        self.note("compacts");
        self.maintain("compacted", &self.engine.compact());
    }

    fn work(&self) {
        for _ in 0..1 + self.world.below(4) {
            self.world
                .pass(Duration::from_millis(self.world.below(700)));
            if let Err(error) = self.engine.work() {
                self.check_error(&error);
            }
        }
        self.note("has worked");
    }

    fn wait_uploaded(&self) {
        let time = Duration::from_millis(self.world.below(5000));
        let done = self.engine.wait_uploaded(self.engine.log_end(), time);
        self.note(&format!(
            "waited for the store: {:?}",
            done.as_ref().map_err(Error::kind)
        ));
        match done {
            Ok(true) if !is_read_only(self.engine) => {
                self.world.model.lock().acknowledge(self.writer, Ack::Store);
            }
            Ok(_) => {}
            Err(error) => self.check_error(&error),
        }
    }

    fn let_grace_pass(&self) {
        for _ in 0..3 {
            self.world.pass(GRACE / 2 + Duration::from_secs(1));
            if let Err(error) = self.engine.work() {
                self.check_error(&error);
            }
        }
        self.note("let the grace period pass");
    }
}

fn ack(durability: Durability) -> Ack {
    match durability {
        Durability::Local => Ack::Local,
        Durability::Object => Ack::Store,
    }
}

/// Indexes that prepared transactions have to do with.
fn busy_indexes(now: &Db) -> Vec<u32> {
    let keys = now.prepared.values().flatten().map(|(key, _)| key);
    keys.filter_map(|key| match index_of(key) {
        DICTIONARY => named_index(key),
        index => Some(index),
    })
    .collect()
}
