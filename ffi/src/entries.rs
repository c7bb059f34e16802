//! The functions that C++ calls, generated from the bridge by `build.rs`: each runs the body of its name inside the guard.
//!
//! A body takes what handles hold instead of the handles, and may return a [`smartengine::Result`] of what the entry returns.

// A body that returns nothing is passed on as any other.
#![allow(clippy::unit_arg)]

use crate::bridge::api::*;
use crate::engine::EngineHandle;
use crate::guard::{self, IntoAnswer as _};
use crate::reader::ReaderHandle;
use crate::txn::TxnHandle;

mod bodies {
    pub use crate::checksum::*;
    pub use crate::engine::*;
    pub use crate::failpoint::*;
    pub use crate::listing::*;
    pub use crate::log::*;
    pub use crate::prepared::*;
    pub use crate::reader::*;
    pub use crate::server_version::*;
    pub use crate::status::*;
    pub use crate::txn::*;
}

include!(concat!(env!("OUT_DIR"), "/entries.rs"));

#[cfg(test)]
pub mod tests;
