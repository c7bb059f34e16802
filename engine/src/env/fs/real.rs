//! The machine's own files.
//!
//! `unsafe`: two system calls that the standard library does not offer. `pwritev(2)`: a commit group is written as its pieces lie in memory, where copying
//! them together or keeping a shared cursor would cost what this call is for. `sync_file_range(2)`: a large file's bytes go to the disk while it
//! is being written, so that the sync at its end does not hold up the log's.

use std::any::Any;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Fs, FsFile, OpenMode};
use crate::{Error, ErrorKind, Result};

/// The most pieces that one `pwritev` takes on Linux.
const MAX_PIECES: usize = 1024;

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

struct RealFile {
    file: File,
    path: PathBuf,
}

impl RealFile {
    fn error(&self, what: &str, error: io::Error) -> Error {
        Error::io(format_args!("{what} {}", self.path.display()), error)
    }
}

impl Fs for RealFs {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn FsFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        let file = options
            .open(path)
            .map_err(|error| Error::io(format_args!("open {}", path.display()), error))?;
        Ok(Arc::new(RealFile {
            file,
            path: path.to_owned(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        std::fs::rename(from, to).map_err(|error| {
            Error::io(
                format_args!("rename {} to {}", from.display(), to.display()),
                error,
            )
        })
    }

    fn remove(&self, path: &Path) -> Result<()> {
        std::fs::remove_file(path)
            .map_err(|error| Error::io(format_args!("remove {}", path.display()), error))
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let refuse = |error| Error::io(format_args!("list {}", dir.display()), error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            if entry.file_type().map_err(refuse)?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> Result<()> {
        create_dir_durably(dir)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Any + Send + Sync>> {
        let refuse = |error| Error::io(format_args!("lock {}", path.display()), error);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(refuse)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                ErrorKind::Unavailable,
                format!("lock {}: another process holds it", path.display()),
            )),
            Err(TryLockError::Error(error)) => Err(refuse(error)),
        }
    }
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|handle| handle.sync_all())
        .map_err(|error| Error::io(format_args!("sync directory {}", dir.display()), error))
}

/// Creates `dir` and those above it, and makes each new name durable.
pub(crate) fn create_dir_durably(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_dir_durably(parent)?;
    match std::fs::create_dir(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        Err(error) => {
            return Err(Error::io(
                format_args!("create directory {}", dir.display()),
                error,
            ));
        }
    }
    sync_dir(parent)
}

impl FsFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error("read", error)),
            }
        }
        Ok(done)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> Result<()> {
        let mut offset = offset;
        let mut next = 0;
        while next < pieces.len() {
            let batch = &pieces[next..pieces.len().min(next + MAX_PIECES)];
            let wanted: usize = batch.iter().map(|piece| piece.len()).sum();
            let written = write_vectored_at(&self.file, batch, offset)
                .map_err(|error| self.error("write", error))?;
            offset += written as u64;
            if written == wanted {
                next += batch.len();
                continue;
            }
            // A short write: finish the piece it ended in by itself, then go on with the ones after it.
            let mut left = written;
            while left >= pieces[next].len() {
                left -= pieces[next].len();
                next += 1;
            }
            let rest = &pieces[next][left..];
            self.file
                .write_all_at(rest, offset)
                .map_err(|error| self.error("write", error))?;
            offset += rest.len() as u64;
            next += 1;
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|error| self.error("sync", error))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file
            .set_len(len)
            .map_err(|error| self.error("set the length of", error))
    }

    fn size(&self) -> Result<u64> {
        self.file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(|error| self.error("read the length of", error))
    }
}

/// Starts writing `len` bytes from `offset` to the disk and does not wait. A hint: it promises nothing and cannot fail.
pub(crate) fn start_writeback(file: &File, offset: u64, len: u64) {
    if let (Ok(offset), Ok(len)) = (
        libc::off64_t::try_from(offset),
        libc::off64_t::try_from(len),
    ) {
        // SAFETY: it takes a descriptor, which is open while `file` is borrowed, and integers, and touches no memory of ours.
        unsafe {
            libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE);
        }
    }
}

fn write_vectored_at(file: &File, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "offset beyond 2^63"))?;
    loop {
        // SAFETY: an IoSlice is laid out as an iovec (its documented guarantee), `pieces` and the memory they point to are borrowed
        // for the whole call, the count is at most MAX_PIECES, and the descriptor is open while `file` is borrowed.
        let written = unsafe {
            libc::pwritev(
                file.as_raw_fd(),
                pieces.as_ptr().cast::<libc::iovec>(),
                pieces.len() as libc::c_int,
                offset,
            )
        };
        if let Ok(written) = usize::try_from(written) {
            if written == 0 && pieces.iter().any(|piece| !piece.is_empty()) {
                return Err(io::ErrorKind::WriteZero.into());
            }
            return Ok(written);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
