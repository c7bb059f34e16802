//! The cxx bridge between the engine and the MySQL plugin: handles, status and the panic guard.

mod bridge;
mod checksum;
mod engine;
mod entries;
mod failpoint;
mod formats;
mod guard;
mod listing;
mod log;
mod prepared;
mod reader;
mod server_version;
mod status;
mod txn;

pub use bridge::api::Code;
pub use formats::format_versions;
