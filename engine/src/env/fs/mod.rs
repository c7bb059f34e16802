//! Local files, as the WAL needs them: positioned reads and writes, and every step of durability named.
//!
//! Promises that callers build on, and that [`FaultFs`] breaks as far as POSIX allows:
//! bytes written are kept over a crash of the process at once, over a loss of power only after [`FsFile::sync_data`];
//! a name that was created, renamed or removed is so over a loss of power only after [`Fs::sync_dir`] of its directory.

mod fault;
mod real;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use crate::Result;

pub use fault::{FaultFs, Operation, PowerLoss};
pub use real::RealFs;
pub(crate) use real::{create_dir_durably, start_writeback, sync_dir};

/// How [`Fs::open`] treats the file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It has to exist and is only read.
    Read,
    /// It has to exist and is read and written.
    Write,
    /// It must not exist; it is created empty.
    CreateNew,
}

/// A tree of local files.
pub trait Fs: Send + Sync {
    /// Opens a file. [`crate::ErrorKind::NotFound`] or [`crate::ErrorKind::AlreadyExists`] as the mode asks.
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn FsFile>>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a file. [`crate::ErrorKind::NotFound`] if there is none.
    fn remove(&self, path: &Path) -> Result<()>;
    /// The names of the files in a directory, ascending.
    fn list(&self, dir: &Path) -> Result<Vec<String>>;
    /// Creates a directory and those above it, durably; one that is there is not an error.
    fn create_dir_all(&self, dir: &Path) -> Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> Result<()>;
    /// Locks a file (created if need be) for this process until the guard is dropped or the process ends.
    /// [`crate::ErrorKind::Unavailable`] if it is held already.
    fn lock(&self, path: &Path) -> Result<Box<dyn Any + Send + Sync>>;
}

/// The bytes of a small file, at most the first `most`; `None` if there is no such file.
pub(crate) fn read_small_file(
    fs: &dyn Fs,
    dir: &Path,
    name: &str,
    most: usize,
) -> Result<Option<Vec<u8>>> {
    let file = match fs.open(&dir.join(name), OpenMode::Read) {
        Err(error) if error.kind() == crate::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = vec![0; most];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Writes a small file whole, durably: after a crash it has its old contents or its new.
pub(crate) fn replace_file(fs: &dyn Fs, dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let draft = dir.join(format!("{name}.new"));
    match fs.remove(&draft) {
        Err(error) if error.kind() != crate::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = fs.open(&draft, OpenMode::CreateNew)?;
    file.write_at(&[IoSlice::new(bytes)], 0)?;
    file.sync_data()?;
    fs.rename(&draft, &dir.join(name))?;
    fs.sync_dir(dir)
}

/// An open file.
pub trait FsFile: Send + Sync {
    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;
    /// Writes all the pieces one after another at `offset`, in one system call as far as the system allows.
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> Result<()>;
    /// Makes all bytes written before the call durable, and what of the metadata is needed to read them.
    fn sync_data(&self) -> Result<()>;
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> Result<()>;
    /// Its length in bytes.
    fn size(&self) -> Result<u64>;
}
