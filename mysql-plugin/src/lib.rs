//! The MySQL storage-engine plugin: links the bridge and the C++ handler into one library.

mod error_map;
mod version;

pub use error_map::smartengine_ha_error;
pub use version::{smartengine_formats, smartengine_version_name, smartengine_version_number};

/// The server's error numbers, as its own headers define them, and the plugin's.
#[allow(dead_code, non_camel_case_types, non_upper_case_globals)]
mod constants {
    include!(concat!(env!("OUT_DIR"), "/constants.rs"));
}
