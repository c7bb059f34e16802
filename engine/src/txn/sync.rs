//! What the locks are built from: one place, so that a model checker can put its own in.

pub use parking_lot::{Condvar, Mutex, RwLock};
pub use std::sync::atomic;
