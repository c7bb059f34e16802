//! A file system in memory that forgets and fails as a real one may, for tests of durability.
//!
//! It keeps for each file what is durable apart from what was only written, and for each directory the names likewise.
//! [`FaultFs::crash`] gives the file system that the next process finds: after a kill of the process all that was written, after a loss
//! of power what was synced and of the rest nothing, or a part chosen by a seed (each 512-byte sector of each write by itself; of each
//! directory's changes a prefix, since journaling file systems keep their order). The old one lives on detached, so that threads
//! of the "dead" process cannot disturb the new one.
//!
//! [`FaultFs::fail`] makes operations fail. A failed write leaves the first half of its bytes. A failed sync forgets which bytes
//! were not durable, as Linux does: the file reads well, a second sync succeeds, and the bytes are gone after a loss of power.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Fs, FsFile, OpenMode};
use crate::env::Sequence;
use crate::{Error, ErrorKind, Result};

/// What a disk writes as a whole or not at all, in bytes.
const SECTOR: usize = 512;

/// What a crash takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerLoss {
    /// Nothing: the process died, the machine did not.
    ProcessOnly,
    /// Everything that was not synced.
    All,
    /// A part of what was not synced, chosen by this seed.
    Part(u64),
}

/// The operations that can be counted and made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Fs::open`].
    Open,
    /// [`FsFile::read_at`].
    Read,
    /// [`FsFile::write_at`].
    Write,
    /// [`FsFile::sync_data`].
    Sync,
    /// [`FsFile::set_len`].
    SetLen,
    /// [`Fs::rename`].
    Rename,
    /// [`Fs::remove`].
    Remove,
    /// [`Fs::sync_dir`].
    SyncDir,
}

#[derive(Clone)]
enum Change {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone, Default)]
struct Inode {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// What makes `written` out of `durable`, in order.
    pending: Vec<Change>,
}

#[derive(Clone)]
enum NameChange {
    Set(String, u64),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Default)]
struct Directory {
    written: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    pending: Vec<NameChange>,
}

struct Rule {
    operation: Operation,
    pass: u64,
    times: u64,
    kind: ErrorKind,
}

#[derive(Default)]
struct State {
    inodes: HashMap<u64, Inode>,
    directories: BTreeMap<PathBuf, Directory>,
    next_inode: u64,
    locks: BTreeSet<PathBuf>,
    rules: Vec<Rule>,
    counts: HashMap<Operation, u64>,
}

/// A file system in memory with a model of what survives.
#[derive(Clone, Default)]
pub struct FaultFs {
    state: Arc<Mutex<State>>,
}

struct FaultFile {
    state: Arc<Mutex<State>>,
    inode: u64,
    path: PathBuf,
}

struct LockGuard {
    state: Arc<Mutex<State>>,
    path: PathBuf,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.state.lock().locks.remove(&self.path);
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(len) => content.resize(*len as usize, 0),
            Self::Bytes(offset, bytes) => overwrite(content, *offset as usize, bytes),
        }
    }

    /// Applies the sectors that `keep` says.
    fn apply_partly(&self, content: &mut Vec<u8>, mut keep: impl FnMut() -> bool) {
        match self {
            Self::Length(_) => {
                if keep() {
                    self.apply(content);
                }
            }
            Self::Bytes(offset, bytes) => {
                let start = *offset as usize;
                let mut at = start;
                let end = start + bytes.len();
                while at < end {
                    let next = (at / SECTOR * SECTOR + SECTOR).min(end);
                    if keep() {
                        overwrite(content, at, &bytes[at - start..next - start]);
                    }
                    at = next;
                }
            }
        }
    }
}

fn overwrite(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset {
        content.resize(offset, 0);
    }
    // What reaches beyond the end is appended.
    let inside = bytes.len().min(content.len() - offset);
    content[offset..offset + inside].copy_from_slice(&bytes[..inside]);
    content.extend_from_slice(&bytes[inside..]);
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Set(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl State {
    fn pass(&mut self, operation: Operation, path: &Path) -> Result<()> {
        *self.counts.entry(operation).or_default() += 1;
        for rule in &mut self.rules {
            if rule.operation != operation || rule.times == 0 {
                continue;
            }
            if rule.pass > 0 {
                rule.pass -= 1;
                continue;
            }
            rule.times -= 1;
            return Err(Error::new(
                rule.kind,
                format!("{operation:?} {}: injected failure", path.display()),
            ));
        }
        Ok(())
    }

    fn change_name(&mut self, dir: &Path, change: NameChange) -> Result<()> {
        let directory = self
            .directories
            .get_mut(dir)
            .ok_or_else(|| not_found(dir))?;
        change.apply(&mut directory.written);
        directory.pending.push(change);
        Ok(())
    }

    fn inode_of(&self, path: &Path) -> Option<u64> {
        let (dir, name) = split(path).ok()?;
        self.directories.get(dir)?.written.get(name).copied()
    }

    fn change(&mut self, inode: u64, change: Change) {
        let inode = self.inodes.entry(inode).or_default();
        change.apply(&mut inode.written);
        inode.pending.push(change);
    }
}

fn not_found(path: &Path) -> Error {
    Error::io(path.display(), io::ErrorKind::NotFound.into())
}

fn split(path: &Path) -> Result<(&Path, &str)> {
    match (path.parent(), path.file_name().and_then(|n| n.to_str())) {
        (Some(dir), Some(name)) => Ok((dir, name)),
        _ => Err(Error::invalid(format!(
            "{}: not a file path",
            path.display()
        ))),
    }
}

impl FaultFs {
    /// An empty file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes `operation` fail with `kind`, `times` times, after letting `pass` of them succeed.
    pub fn fail(&self, operation: Operation, pass: u64, times: u64, kind: ErrorKind) {
        self.state.lock().rules.push(Rule {
            operation,
            pass,
            times,
            kind,
        });
    }

    /// Takes back all failures asked for.
    pub fn heal(&self) {
        self.state.lock().rules.clear();
    }

    /// How often `operation` was called, failed ones included.
    pub fn count(&self, operation: Operation) -> u64 {
        let state = self.state.lock();
        state.counts.get(&operation).copied().unwrap_or(0)
    }

    /// The file system as the next process finds it.
    pub fn crash(&self, loss: PowerLoss) -> Self {
        let state = self.state.lock();
        let mut sequence = Sequence::new(match loss {
            PowerLoss::Part(seed) => seed,
            _ => 0,
        });
        // How much survives differs from crash to crash: now nearly all, now nearly nothing.
        let tenths = sequence.below(11);
        let mut after = State {
            next_inode: state.next_inode,
            ..State::default()
        };
        let mut ids: Vec<u64> = state.inodes.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let inode = &state.inodes[&id];
            let mut content = inode.durable.clone();
            match loss {
                PowerLoss::ProcessOnly => {
                    after.inodes.insert(id, inode.clone());
                    continue;
                }
                PowerLoss::All => {}
                PowerLoss::Part(_) => {
                    for change in &inode.pending {
                        change.apply_partly(&mut content, || sequence.below(10) < tenths);
                    }
                }
            }
            after.inodes.insert(
                id,
                Inode {
                    written: content.clone(),
                    durable: content,
                    pending: Vec::new(),
                },
            );
        }
        for (path, directory) in &state.directories {
            let mut names = directory.durable.clone();
            match loss {
                PowerLoss::ProcessOnly => {
                    after.directories.insert(path.clone(), directory.clone());
                    continue;
                }
                PowerLoss::All => {}
                PowerLoss::Part(_) => {
                    let kept = sequence.below(directory.pending.len() as u64 + 1);
                    for change in &directory.pending[..kept as usize] {
                        change.apply(&mut names);
                    }
                }
            }
            after.directories.insert(
                path.clone(),
                Directory {
                    written: names.clone(),
                    durable: names,
                    pending: Vec::new(),
                },
            );
        }
        Self {
            state: Arc::new(Mutex::new(after)),
        }
    }

    /// The content of a file as a process sees it.
    pub fn content(&self, path: &Path) -> Result<Vec<u8>> {
        let state = self.state.lock();
        let inode = state.inode_of(path).ok_or_else(|| not_found(path))?;
        Ok(state.inodes[&inode].written.clone())
    }

    /// Replaces the content of a file, durably, as a damaged disk would.
    pub fn set_content(&self, path: &Path, content: Vec<u8>) -> Result<()> {
        let mut state = self.state.lock();
        let inode = state.inode_of(path).ok_or_else(|| not_found(path))?;
        state.inodes.insert(
            inode,
            Inode {
                durable: content.clone(),
                written: content,
                pending: Vec::new(),
            },
        );
        Ok(())
    }
}

impl Fs for FaultFs {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn FsFile>> {
        let mut state = self.state.lock();
        state.pass(Operation::Open, path)?;
        let (dir, name) = split(path)?;
        let inode = match (state.inode_of(path), mode) {
            (Some(_), OpenMode::CreateNew) => {
                return Err(Error::io(
                    format_args!("create {}", path.display()),
                    io::ErrorKind::AlreadyExists.into(),
                ));
            }
            (Some(inode), _) => inode,
            (None, OpenMode::CreateNew) => {
                let inode = state.next_inode;
                state.next_inode += 1;
                state.change_name(dir, NameChange::Set(name.to_owned(), inode))?;
                state.inodes.insert(inode, Inode::default());
                inode
            }
            (None, _) => return Err(not_found(path)),
        };
        Ok(Arc::new(FaultFile {
            state: Arc::clone(&self.state),
            inode,
            path: path.to_owned(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.state.lock();
        state.pass(Operation::Rename, from)?;
        let inode = state.inode_of(from).ok_or_else(|| not_found(from))?;
        let (from_dir, from_name) = split(from)?;
        let (to_dir, to_name) = split(to)?;
        if from_dir == to_dir {
            let change = NameChange::Rename(from_name.to_owned(), to_name.to_owned());
            return state.change_name(to_dir, change);
        }
        state.change_name(to_dir, NameChange::Set(to_name.to_owned(), inode))?;
        state.change_name(from_dir, NameChange::Remove(from_name.to_owned()))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut state = self.state.lock();
        state.pass(Operation::Remove, path)?;
        state.inode_of(path).ok_or_else(|| not_found(path))?;
        let (dir, name) = split(path)?;
        state.change_name(dir, NameChange::Remove(name.to_owned()))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let state = self.state.lock();
        let directory = state.directories.get(dir).ok_or_else(|| not_found(dir))?;
        Ok(directory.written.keys().cloned().collect())
    }

    fn create_dir_all(&self, dir: &Path) -> Result<()> {
        self.state
            .lock()
            .directories
            .entry(dir.to_owned())
            .or_default();
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let mut state = self.state.lock();
        state.pass(Operation::SyncDir, dir)?;
        let directory = state
            .directories
            .get_mut(dir)
            .ok_or_else(|| not_found(dir))?;
        directory.durable = directory.written.clone();
        directory.pending.clear();
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Any + Send + Sync>> {
        if !self.state.lock().locks.insert(path.to_owned()) {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("lock {}: another process holds it", path.display()),
            ));
        }
        Ok(Box::new(LockGuard {
            state: Arc::clone(&self.state),
            path: path.to_owned(),
        }))
    }
}

impl FsFile for FaultFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut state = self.state.lock();
        state.pass(Operation::Read, &self.path)?;
        let Some(inode) = state.inodes.get(&self.inode) else {
            return Ok(0);
        };
        let start = usize::try_from(offset).map_or(inode.written.len(), |offset| {
            offset.min(inode.written.len())
        });
        let available = &inode.written[start..];
        let read = available.len().min(buffer.len());
        buffer[..read].copy_from_slice(&available[..read]);
        Ok(read)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> Result<()> {
        let mut bytes = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            bytes.extend_from_slice(piece);
        }
        let mut state = self.state.lock();
        let passed = state.pass(Operation::Write, &self.path);
        if passed.is_err() {
            bytes.truncate(bytes.len() / 2);
        }
        state.change(self.inode, Change::Bytes(offset, bytes));
        passed
    }

    fn sync_data(&self) -> Result<()> {
        let mut state = self.state.lock();
        let passed = state.pass(Operation::Sync, &self.path);
        if let Some(inode) = state.inodes.get_mut(&self.inode) {
            let pending = std::mem::take(&mut inode.pending);
            if passed.is_ok() {
                for change in &pending {
                    change.apply(&mut inode.durable);
                }
            }
        }
        passed
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut state = self.state.lock();
        state.pass(Operation::SetLen, &self.path)?;
        state.change(self.inode, Change::Length(len));
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        let state = self.state.lock();
        Ok(state
            .inodes
            .get(&self.inode)
            .map_or(0, |inode| inode.written.len() as u64))
    }
}
