//! The kit that every persisted format is written and read with: fields in order ([`Put`], [`Reader`]), fields at known places of an array
//! ([`u32_at`], [`u64_at`]), and the frame of magic, version and checksum around them ([`Frame`]).
//!
//! What a decoder may rely on: a read that does not fit is [`ErrorKind::Corruption`](crate::ErrorKind::Corruption), saying what was to be read and at which
//! byte; nothing is copied or allocated by a length that was not checked; nothing panics. Which file or object it is about is added by the caller, who knows.
//!
//! All formats, where their bytes are described, and what holds those bytes still:
//!
//! | format | described in | framed | test of its bytes |
//! | --- | --- | --- | --- |
//! | segment file of the local log, and its chunks | `wal/format.rs` | head | `wal::tests::damage::the_bytes_of_version_1_do_not_change` |
//! | record of the log | `txn/record.rs` | one byte of version | `txn::record::tests::version_1_has_these_bytes` |
//! | chunk of the log in the store | `remote_wal/format.rs` | head | `remote_wal::format::tests::version_1_has_these_bytes` |
//! | manifest object | `manifest/format.rs` | head | `manifest::tests::damage::version_3_has_these_bytes`, and those of 1 and 2 |
//! | descriptions of files in a record | `manifest/format.rs` | by the record | `manifest::tests::damage::descriptions_of_files_have_these_bytes` |
//! | SST's footer | `format/sst.rs` | foot | `sst::tests::golden` |
//! | SST's stored blocks | `format/stored_block.rs` | by the footer | `sst::tests::golden` |
//! | SST's blocks of entries, filter and properties | `format/block.rs`, `entry.rs`, `filter.rs`, `properties.rs` | by the footer | `sst::tests::golden` |
//! | index of the persistent cache | `cache/disk/layout.rs` | head | `cache::disk::layout::tests::version_1_has_these_bytes` |
//! | owners of a log | `db/open/owners.rs` | head | `db::open::owners::tests::version_1_has_these_bytes` |
//! | number of a store | `db/open/identity.rs` | head | `db::open::identity::tests::version_1_has_these_bytes` |
//!
//! A transaction that spills writes SSTs. `CURRENT` is a line of text that nobody trusts (`manifest/format.rs`). Names with numbers are in `format/number.rs`.
//!
//! What is written otherwise, and why:
//! - Heads of entries are decoded from one load of eight bytes (`format/entry.rs`): every step of every scan does that.
//! - What orders as bytes is big endian: internal keys and index ids, which `types` encodes below this layer, and their copies in the memtable and the block
//!   cursor, built in place.
//! - Values of rows are their writers': a counter (`db/counters.rs`), and the locator of an index's entry (`db/locking_read/locator.rs`).
//! - Compressed bytes and fingerprints of a filter are laid out by the libraries that make them.

mod frame;
mod reader;
#[cfg(test)]
mod tests;
mod varint;
mod writer;

pub use frame::{Frame, Framed, check_checksum, unknown_version};
pub use reader::{Reader, corrupt, u32_at, u64_at};
pub use varint::{MAX_VARINT_LEN, get_varint, unzigzag, varint_len, zigzag};
pub use writer::{Fixed, Put};
