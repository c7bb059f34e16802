//! The MySQL storage-engine plugin: links the bridge and the C++ handler into one library.

// The bridge's functions are called from C++ alone; naming the crate makes the linker take it in.
use smartengine_ffi as _;

/// The server's error numbers, as its own headers define them.
pub mod constants {
    include!(concat!(env!("OUT_DIR"), "/constants.rs"));
}
