//! What a crash leaves: every commit that was acknowledged, of the others a prefix, and each of them whole. And what damage to the
//! files does: an error that names it, never wrong or missing rows.

mod corruption;
mod drops;
mod fencing;
mod history;
mod lost_disk;
mod outage;
mod points;
mod power;
mod store;
mod syncs;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Failure points are the process's: a test that arms one runs alone.
static POINTS: RwLock<()> = RwLock::new(());

fn alone() -> RwLockWriteGuard<'static, ()> {
    POINTS.write()
}

fn with_others() -> RwLockReadGuard<'static, ()> {
    POINTS.read()
}
