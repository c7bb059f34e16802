//! The versions of the formats that outlive a process, for whoever wants to know what a build of the engine writes.

use crate::{format, manifest, remote_wal, wal};

/// What is written to a store or a log directory, and the version of its format that this release writes. It reads every older version.
pub const FORMAT_VERSIONS: [(&str, u32); 4] = [
    ("manifest", manifest::FORMAT_VERSION),
    ("SST", format::sst::VERSION),
    ("log", wal::FORMAT_VERSION),
    ("log in the store", remote_wal::FORMAT_VERSION),
];
