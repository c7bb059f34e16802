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

use crate::format::bytes::{Put, Reader, corrupt, unknown_version};
use crate::types::{MAX_KEY_LEN, MAX_SEQ, SeqNo, ValueKind};
use crate::{Result, ResultExt};

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
    out.put_u8(KIND_COMMIT);
    out.put_u64(seq);
    out.put_u64(ops_len);
}

/// Appends the start of a prepare whose ops take `ops_len` bytes, which follow. `name` has at most [`MAX_NAME_LEN`] bytes.
pub fn put_prepare(out: &mut Vec<u8>, id: u64, name: &[u8], ops_len: u64) {
    out.put_u8(KIND_PREPARE);
    out.put_u64(id);
    out.put_u8_prefixed(name);
    out.put_u64(ops_len);
}

/// Appends the start of a commit by files, whose ops take `ops_len` bytes, which follow.
pub fn put_commit_files(out: &mut Vec<u8>, seq: SeqNo, files: &[u8], ops_len: u64) {
    out.put_u8(KIND_COMMIT_FILES);
    out.put_u64(seq);
    out.put_u64_prefixed(files);
    out.put_u64(ops_len);
}

/// Appends a prepare by files. `name` has at most [`MAX_NAME_LEN`] bytes.
pub fn put_prepare_files(out: &mut Vec<u8>, id: u64, name: &[u8], files: &[u8]) {
    out.put_u8(KIND_PREPARE_FILES);
    out.put_u64(id);
    out.put_u8_prefixed(name);
    out.put_u64_prefixed(files);
}

/// Appends the entry that commits a prepared transaction.
pub fn put_commit_prepared(out: &mut Vec<u8>, seq: SeqNo, id: u64) {
    out.put_u8(KIND_COMMIT_PREPARED);
    out.put_u64(seq);
    out.put_u64(id);
}

/// Appends the entry that undoes a prepared transaction.
pub fn put_rollback_prepared(out: &mut Vec<u8>, id: u64) {
    out.put_u8(KIND_ROLLBACK_PREPARED);
    out.put_u64(id);
}

/// Appends the entry that says that the coordinator knows of a prepared transaction.
pub fn put_in_coordinator(out: &mut Vec<u8>, id: u64) {
    out.put_u8(KIND_IN_COORDINATOR);
    out.put_u64(id);
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
        piece.put_u8(kind as u8);
        piece.put_varint_prefixed(key);
        if kind == ValueKind::Put {
            piece.put_varint_prefixed(value);
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
    let mut fields = Reader::new(payload);
    let version = fields.u8("the version").context(|| "WAL payload")?;
    if version != PAYLOAD_VERSION {
        let known = PAYLOAD_VERSION.into()..=PAYLOAD_VERSION.into();
        return Err(unknown_version(version.into(), &known, 0).context("WAL payload"));
    }
    while !fields.is_empty() {
        each(decode_entry(&mut fields).context(|| "WAL payload")?)?;
    }
    Ok(())
}

fn decode_entry<'a>(fields: &mut Reader<'a>) -> Result<Entry<'a>> {
    let at = fields.position();
    Ok(match fields.u8("an entry's kind")? {
        KIND_COMMIT => Entry::Commit {
            seq: decode_seq(fields)?,
            ops: fields.u64_prefixed("operations")?,
        },
        KIND_PREPARE => Entry::Prepare {
            id: fields.u64("a prepared id")?,
            name: fields.u8_prefixed("a name")?,
            ops: fields.u64_prefixed("operations")?,
        },
        KIND_COMMIT_PREPARED => Entry::CommitPrepared {
            seq: decode_seq(fields)?,
            id: fields.u64("a prepared id")?,
        },
        KIND_ROLLBACK_PREPARED => Entry::RollbackPrepared {
            id: fields.u64("a prepared id")?,
        },
        KIND_IN_COORDINATOR => Entry::InCoordinator {
            id: fields.u64("a prepared id")?,
        },
        KIND_COMMIT_FILES => Entry::CommitFiles {
            seq: decode_seq(fields)?,
            files: fields.u64_prefixed("descriptions of files")?,
            ops: fields.u64_prefixed("operations")?,
        },
        KIND_PREPARE_FILES => Entry::PrepareFiles {
            id: fields.u64("a prepared id")?,
            name: fields.u8_prefixed("a name")?,
            files: fields.u64_prefixed("descriptions of files")?,
        },
        kind => return Err(corrupt(format_args!("unknown kind of entry {kind}"), at)),
    })
}

fn decode_seq(fields: &mut Reader<'_>) -> Result<SeqNo> {
    let at = fields.position();
    let seq = fields.u64("a sequence number")?;
    if seq == 0 || seq > MAX_SEQ {
        return Err(corrupt(
            format_args!("sequence number {seq}, allowed are 1 to {MAX_SEQ},"),
            at,
        ));
    }
    Ok(seq)
}

/// Calls `each` with every operation of an entry.
pub fn decode_ops(ops: &[u8], each: &mut EachOp<'_>) -> Result<()> {
    let mut fields = Reader::new(ops);
    while !fields.is_empty() {
        let (kind, key, value) =
            decode_op(&mut fields).context(|| "operations of a WAL payload")?;
        each(kind, key, value)?;
    }
    Ok(())
}

#[inline]
fn decode_op<'a>(fields: &mut Reader<'a>) -> Result<(ValueKind, &'a [u8], &'a [u8])> {
    let at = fields.position();
    let byte = fields.u8("an operation's kind")?;
    let Some(kind) = ValueKind::from_u8(byte) else {
        return Err(corrupt(format_args!("unknown operation {byte}"), at));
    };
    let key_at = fields.position();
    let key = fields.varint_prefixed("a key")?;
    if key.len() > MAX_KEY_LEN {
        return Err(corrupt(
            format_args!(
                "a key of {} bytes, at most {MAX_KEY_LEN} are allowed,",
                key.len()
            ),
            key_at,
        ));
    }
    let value = match kind {
        ValueKind::Put => fields.varint_prefixed("a value")?,
        ValueKind::Delete => &[],
    };
    Ok((kind, key, value))
}
