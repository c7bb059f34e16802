//! The payload of a WAL record: a commit group.
//!
//! Layout, integers little endian:
//!
//! ```text
//! payload     = version u8 (1) | entry*
//! entry       = 1 commit:             sequence number u64 | length of ops u64 | ops
//!             | 2 prepare:            prepared id u64 | length of name u8 | name | length of ops u64 | ops
//!             | 3 commit of prepared: sequence number u64 | prepared id u64
//!             | 4 rollback of prepared: prepared id u64
//!             | 5 prepared in the coordinator: prepared id u64
//!             | 6 commit by files:      sequence number u64 | length of files u64 | files | length of ops u64 | ops
//!             | 7 prepare by files:     prepared id u64 | length of name u8 | name | length of files u64 | files
//! files       = descriptions of SSTs, as `manifest::encode_files` writes them
//! op          = kind u8 (0 delete, 1 put) | key length varint | key | put only: value length varint, value
//! ```
//!
//! A prepared transaction's writes stand in entry 2 alone; entry 3 makes them visible, under its own sequence number. The prepared id ties
//! the entries of one transaction together and is unique in the part of the log that is replayed. Entry 5 says that the
//! transaction coordinator has the prepare on record. In entries 6 and 7 the transaction's writes are in SSTs that were made durable before;
//! the ops of entry 6 are its counters.
//!
//! The WAL's own checksum covers the payload; this decoder still trusts no length.

#[cfg(test)]
mod tests;

use crate::types::{MAX_KEY_LEN, MAX_SEQ, SeqNo, ValueKind};
use crate::{Error, Result};

/// The first byte of every payload.
pub const PAYLOAD_VERSION: u8 = 1;

/// The longest name of a prepared transaction, in bytes.
pub const MAX_NAME_LEN: usize = 255;

const KIND_COMMIT: u8 = 1;
const KIND_PREPARE: u8 = 2;
const KIND_COMMIT_PREPARED: u8 = 3;
const KIND_ROLLBACK_PREPARED: u8 = 4;
const KIND_IN_COORDINATOR: u8 = 5;
const KIND_COMMIT_FILES: u8 = 6;
const KIND_PREPARE_FILES: u8 = 7;

/// One entry of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A transaction that commits.
    Commit {
        /// The number that its writes get.
        seq: SeqNo,
        /// Its writes, for [`decode_ops`].
        ops: &'a [u8],
    },
    /// A transaction that is prepared.
    Prepare {
        /// Ties later entries to it.
        id: u64,
        /// What the coordinator calls it.
        name: &'a [u8],
        /// Its writes, for [`decode_ops`].
        ops: &'a [u8],
    },
    /// A transaction that commits, whose writes are in files.
    CommitFiles {
        /// The number that its writes get.
        seq: SeqNo,
        /// Descriptions of the files.
        files: &'a [u8],
        /// What else it writes, for [`decode_ops`].
        ops: &'a [u8],
    },
    /// A transaction that is prepared, whose writes are in files.
    PrepareFiles {
        /// Ties later entries to it.
        id: u64,
        /// What the coordinator calls it.
        name: &'a [u8],
        /// Descriptions of the files.
        files: &'a [u8],
    },
    /// A prepared transaction commits.
    CommitPrepared {
        /// The number that its writes get.
        seq: SeqNo,
        /// That of its prepare.
        id: u64,
    },
    /// A prepared transaction is undone.
    RollbackPrepared {
        /// That of its prepare.
        id: u64,
    },
    /// The coordinator knows of a prepared transaction.
    InCoordinator {
        /// That of its prepare.
        id: u64,
    },
}

/// Appends the start of a commit whose ops take `ops_len` bytes, which follow.
pub fn put_commit(out: &mut Vec<u8>, seq: SeqNo, ops_len: u64) {
    out.push(KIND_COMMIT);
    out.extend(seq.to_le_bytes());
    out.extend(ops_len.to_le_bytes());
}

/// Appends the start of a prepare whose ops take `ops_len` bytes, which follow. `name` has at most [`MAX_NAME_LEN`] bytes.
pub fn put_prepare(out: &mut Vec<u8>, id: u64, name: &[u8], ops_len: u64) {
    out.push(KIND_PREPARE);
    out.extend(id.to_le_bytes());
    out.push(name.len() as u8);
    out.extend(name);
    out.extend(ops_len.to_le_bytes());
}

/// Appends the start of a commit by files, whose ops take `ops_len` bytes, which follow.
pub fn put_commit_files(out: &mut Vec<u8>, seq: SeqNo, files: &[u8], ops_len: u64) {
    out.push(KIND_COMMIT_FILES);
    out.extend(seq.to_le_bytes());
    out.extend((files.len() as u64).to_le_bytes());
    out.extend(files);
    out.extend(ops_len.to_le_bytes());
}

/// Appends a prepare by files. `name` has at most [`MAX_NAME_LEN`] bytes.
pub fn put_prepare_files(out: &mut Vec<u8>, id: u64, name: &[u8], files: &[u8]) {
    out.push(KIND_PREPARE_FILES);
    out.extend(id.to_le_bytes());
    out.push(name.len() as u8);
    out.extend(name);
    out.extend((files.len() as u64).to_le_bytes());
    out.extend(files);
}

/// Appends the entry that commits a prepared transaction.
pub fn put_commit_prepared(out: &mut Vec<u8>, seq: SeqNo, id: u64) {
    out.push(KIND_COMMIT_PREPARED);
    out.extend(seq.to_le_bytes());
    out.extend(id.to_le_bytes());
}

/// Appends the entry that undoes a prepared transaction.
pub fn put_rollback_prepared(out: &mut Vec<u8>, id: u64) {
    out.push(KIND_ROLLBACK_PREPARED);
    out.extend(id.to_le_bytes());
}

/// Appends the entry that says that the coordinator knows of a prepared transaction.
pub fn put_in_coordinator(out: &mut Vec<u8>, id: u64) {
    out.push(KIND_IN_COORDINATOR);
    out.extend(id.to_le_bytes());
}

/// A buffer grows up to about this many bytes; then the next one begins.
const PIECE: usize = 256 << 10;

/// Encodes operations one after another, in pieces, so that what a large transaction writes is not moved as it grows.
#[derive(Default)]
pub struct OpWriter {
    pieces: Vec<Vec<u8>>,
    len: u64,
}

impl OpWriter {
    /// Adds one operation; the value of a deletion is not kept.
    pub fn push(&mut self, kind: ValueKind, key: &[u8], value: &[u8]) {
        if self.pieces.last().is_none_or(|piece| piece.len() >= PIECE) {
            self.pieces.push(Vec::new());
        }
        let Some(piece) = self.pieces.last_mut() else {
            return;
        };
        let before = piece.len();
        piece.push(kind as u8);
        put_varint(piece, key.len() as u64);
        piece.extend_from_slice(key);
        if kind == ValueKind::Put {
            put_varint(piece, value.len() as u64);
            piece.extend_from_slice(value);
        }
        self.len += (piece.len() - before) as u64;
    }

    /// The encoded operations, one piece after the other.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(Vec::as_slice)
    }

    /// Their length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets them, keeping a buffer for the usual number of operations.
    pub fn clear(&mut self) {
        self.pieces.truncate(1);
        for piece in &mut self.pieces {
            piece.clear();
            piece.shrink_to(PIECE);
        }
        self.len = 0;
    }
}

/// What a decoder does with an operation: kind, key, value.
pub type EachOp<'a> = dyn FnMut(ValueKind, &[u8], &[u8]) -> Result<()> + 'a;

/// Calls `each` with every entry of a payload. Its ops are still to be read by [`decode_ops`].
pub fn decode_payload(payload: &[u8], each: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
    let mut reader = Reader {
        bytes: payload,
        at: 0,
    };
    let version = reader.u8()?;
    if version != PAYLOAD_VERSION {
        return Err(reader.bad(format_args!("unknown version {version}")));
    }
    while reader.at < payload.len() {
        let entry = match reader.u8()? {
            KIND_COMMIT => Entry::Commit {
                seq: reader.seq()?,
                ops: reader.sized()?,
            },
            KIND_PREPARE => {
                let id = reader.u64()?;
                let name_len = reader.u8()?;
                Entry::Prepare {
                    id,
                    name: reader.take(u64::from(name_len))?,
                    ops: reader.sized()?,
                }
            }
            KIND_COMMIT_PREPARED => Entry::CommitPrepared {
                seq: reader.seq()?,
                id: reader.u64()?,
            },
            KIND_ROLLBACK_PREPARED => Entry::RollbackPrepared { id: reader.u64()? },
            KIND_IN_COORDINATOR => Entry::InCoordinator { id: reader.u64()? },
            KIND_COMMIT_FILES => Entry::CommitFiles {
                seq: reader.seq()?,
                files: reader.sized()?,
                ops: reader.sized()?,
            },
            KIND_PREPARE_FILES => {
                let id = reader.u64()?;
                let name_len = reader.u8()?;
                Entry::PrepareFiles {
                    id,
                    name: reader.take(u64::from(name_len))?,
                    files: reader.sized()?,
                }
            }
            kind => return Err(reader.bad(format_args!("unknown kind of entry {kind}"))),
        };
        each(entry)?;
    }
    Ok(())
}

/// Calls `each` with every operation of an entry.
pub fn decode_ops(ops: &[u8], each: &mut EachOp<'_>) -> Result<()> {
    let mut reader = Reader { bytes: ops, at: 0 };
    while reader.at < ops.len() {
        decode_op(&mut reader, each)?;
    }
    Ok(())
}

fn decode_op(ops: &mut Reader<'_>, each: &mut EachOp<'_>) -> Result<()> {
    let byte = ops.u8()?;
    let Some(kind) = ValueKind::from_u8(byte) else {
        return Err(ops.bad(format_args!("unknown operation {byte}")));
    };
    let key_len = ops.varint()?;
    if key_len > MAX_KEY_LEN as u64 {
        return Err(ops.bad(format_args!("key of {key_len} bytes")));
    }
    let key = ops.take(key_len)?;
    let value = match kind {
        ValueKind::Put => {
            let value_len = ops.varint()?;
            ops.take(value_len)?
        }
        ValueKind::Delete => &[],
    };
    each(kind, key, value)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn bad(&self, what: std::fmt::Arguments<'_>) -> Error {
        Error::corruption(format!("WAL payload, byte {}: {what}", self.at))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = usize::try_from(len).ok().and_then(|len| rest.get(..len)) else {
            return Err(self.bad(format_args!("{len} bytes wanted, {} left", rest.len())));
        };
        self.at += taken.len();
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u64(&mut self) -> Result<u64> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(std::array::from_fn(|i| bytes[i])))
    }

    fn seq(&mut self) -> Result<SeqNo> {
        let seq = self.u64()?;
        if seq == 0 || seq > MAX_SEQ {
            return Err(self.bad(format_args!("sequence number {seq} out of range")));
        }
        Ok(seq)
    }

    /// What a length in front of it says.
    fn sized(&mut self) -> Result<&'a [u8]> {
        let len = self.u64()?;
        self.take(len)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.bad(format_args!("varint too long")))
    }
}
