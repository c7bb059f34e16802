//! A node's disk: a [`FaultFs`] at whose every change the node may die.

use std::any::Any;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use smartengine::Result;
use smartengine::internals::env::fs::{FaultFs, Fs, FsFile, OpenMode};

use crate::world::Life;

pub struct Disk {
    pub life: Life,
    pub inner: FaultFs,
}

struct DiskFile {
    life: Life,
    inner: Arc<dyn FsFile>,
}

impl Fs for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn FsFile>> {
        if mode == OpenMode::CreateNew {
            self.life.local_step()?;
        }
        Ok(Arc::new(DiskFile {
            life: self.life.clone(),
            inner: self.inner.open(path, mode)?,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.life.local_step()?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.life.local_step()?;
        self.inner.remove(path)
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.life.local_step()?;
        self.inner.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Any + Send + Sync>> {
        self.inner.lock(path)
    }
}

impl FsFile for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> Result<()> {
        self.life.local_step()?;
        self.inner.write_at(pieces, offset)
    }

    fn sync_data(&self) -> Result<()> {
        self.life.local_step()?;
        self.inner.sync_data()
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.life.local_step()?;
        self.inner.set_len(len)
    }

    fn size(&self) -> Result<u64> {
        self.inner.size()
    }
}
