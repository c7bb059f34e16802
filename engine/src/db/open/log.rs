//! The manifest and the log of a store, read and made this writer's.

use std::sync::Arc;

use super::identity::{self, MissingLog};
use super::replay::Replayed;
use super::{local_log, takeover};
use crate::env::failpoint;
use crate::manifest::{Manifest, Version, VersionEdit, first_file_of_epoch};
use crate::object_store::ObjectStore;
use crate::options::Options;
use crate::remote_wal::RemoteWal;
use crate::wal::Wal;
use crate::{Result, ResultExt};

/// How often an attach begins anew because the store is written to under it.
const ATTACH_ATTEMPTS: u32 = 10;

/// The manifest and the log, read and this writer's: the manifest's version is the one that it attached by.
pub struct OpenedLog {
    pub manifest: Manifest,
    pub wal: Wal,
    pub remote: Option<RemoteWal>,
    pub replayed: Replayed,
    /// The store's number.
    pub number: u128,
}

/// Attaches to the manifest and reads the log. A writer that still lives may write to the manifest meanwhile: then it begins anew.
pub fn open(options: &Options, store: &Arc<dyn ObjectStore>) -> Result<OpenedLog> {
    let mut attempt = 1;
    let load = || match options.manual {
        true => Manifest::load(store.clone()),
        false => Manifest::load_at_once(store.clone()),
    };
    loop {
        let (mut manifest, version) = load().context(|| "read manifest")?;
        if let Some(check) = &options.user_version_check {
            check(version.user_version)?;
        }
        let next_id = manifest.next_id();
        let error = match open_as(options, store, &mut manifest, &version) {
            Ok((wal, remote, replayed, number)) => {
                return Ok(OpenedLog {
                    manifest,
                    wal,
                    remote,
                    replayed,
                    number,
                });
            }
            Err(error) => error,
        };
        let attached = manifest.current().epoch > version.epoch;
        if !options.remote_wal || attached || attempt == ATTACH_ATTEMPTS {
            return Err(error);
        }
        let (now, _) = load().context(|| "read manifest")?;
        if now.next_id() == next_id {
            return Err(error);
        }
        tracing::info!("the store was written to during the attach, which begins anew: {error}");
        attempt += 1;
    }
}

fn open_as(
    options: &Options,
    store: &Arc<dyn ObjectStore>,
    manifest: &mut Manifest,
    version: &Version,
) -> Result<(Wal, Option<RemoteWal>, Replayed, u128)> {
    let missing = match (options.remote_wal, options.accept_lost_log) {
        (true, _) if takeover::has_log(version) => MissingLog::InStore,
        (_, true) => MissingLog::Accept,
        (_, false) => MissingLog::Refuse,
    };
    let wal_dir = options.wal_dir();
    let number = identity::bind(&**store, version, &*options.fs, &wal_dir, missing)?;
    let mut replayed = Replayed::new(version, options.memtable_size);
    let epoch = version.epoch + 1;
    if options.remote_wal {
        takeover::resume(options, manifest, epoch)?;
    }
    let edit = VersionEdit {
        epoch: Some((epoch, options.writer.clone())),
        next_file: Some(first_file_of_epoch(epoch).max(version.next_file)),
        writer_id: options.remote_wal.then(|| manifest.nonce()),
        ..VersionEdit::default()
    };
    if options.remote_wal {
        let attached = takeover::attach(options, store, manifest, &edit, &mut replayed)?;
        return Ok((attached.wal, Some(attached.remote), replayed, number));
    }
    takeover::refuse_remote_log(version)?;
    let floor = version.wal_floor;
    let wal = local_log::open(options, floor, &mut |position, payload| {
        replayed.record(position, payload)
    })?;
    failpoint::hit("open.replayed")?;
    manifest.commit(&edit).context(|| "write manifest")?;
    failpoint::hit("open.attached")?;
    Ok((wal, None, replayed, number))
}
