//! What this repository's own tests, benches and tools take of the engine's inside.
//!
//! There is no promise about anything here: it is not part of the crate's interface, and changes from one commit to the next.

macro_rules! modules {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name {
            pub use crate::$name::*;
        })*
    };
}

modules!(
    cache, compaction, env, format, iter, manifest, remote_wal, sst, txn, types, wal
);

// Not in a release: what else calls a function changes what the compiler inlines of it.
#[cfg(debug_assertions)]
modules!(fuzz);

pub mod object_store {
    pub use crate::object_store::parts::*;
}

pub use crate::error::ResultExt;
