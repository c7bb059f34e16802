//! The payload of a WAL record: a commit group.
//!
//! Layout, integers little endian:
//!
//! ```text
//! payload     = version u8 (1) | transaction*
//! transaction = kind u8 (1 commit) | sequence number u64 | length of ops u64 | ops
//! op          = kind u8 (0 delete, 1 put) | key length varint | key | put only: value length varint, value
//! ```
//!
//! The WAL's own checksum covers the payload; this decoder still trusts no length.

use crate::types::{MAX_KEY_LEN, MAX_SEQ, SeqNo, ValueKind};
use crate::{Error, Result};

/// The first byte of every payload.
pub const PAYLOAD_VERSION: u8 = 1;

/// Length of a transaction's header in bytes.
pub const HEADER_LEN: usize = 17;

const KIND_COMMIT: u8 = 1;

/// The header of a transaction whose ops take `ops_len` bytes.
pub fn transaction_header(seq: SeqNo, ops_len: u64) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[0] = KIND_COMMIT;
    header[1..9].copy_from_slice(&seq.to_le_bytes());
    header[9..].copy_from_slice(&ops_len.to_le_bytes());
    header
}

/// Encodes operations one after another.
#[derive(Default)]
pub struct OpWriter {
    bytes: Vec<u8>,
    count: u64,
}

impl OpWriter {
    /// Adds one operation; the value of a deletion is not kept.
    pub fn push(&mut self, kind: ValueKind, key: &[u8], value: &[u8]) {
        self.count += 1;
        self.bytes.push(kind as u8);
        put_varint(&mut self.bytes, key.len() as u64);
        self.bytes.extend_from_slice(key);
        if kind == ValueKind::Put {
            put_varint(&mut self.bytes, value.len() as u64);
            self.bytes.extend_from_slice(value);
        }
    }

    /// The encoded operations.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Forgets them, keeping the buffer unless it is large.
    pub fn clear(&mut self) {
        const KEEP: usize = 1 << 20;
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.count = 0;
    }
}

/// What a decoder does with an operation: sequence number, kind, key, value.
pub type EachOp<'a> = dyn FnMut(SeqNo, ValueKind, &[u8], &[u8]) -> Result<()> + 'a;

/// Calls `each` with (sequence number, kind, key, value) of every operation in a payload.
pub fn decode_payload(payload: &[u8], each: &mut EachOp<'_>) -> Result<()> {
    let mut reader = Reader {
        bytes: payload,
        at: 0,
    };
    let version = reader.u8()?;
    if version != PAYLOAD_VERSION {
        return Err(reader.bad(format_args!("unknown version {version}")));
    }
    while reader.at < payload.len() {
        let kind = reader.u8()?;
        if kind != KIND_COMMIT {
            return Err(reader.bad(format_args!("unknown transaction kind {kind}")));
        }
        let seq = reader.u64()?;
        if seq == 0 || seq > MAX_SEQ {
            return Err(reader.bad(format_args!("sequence number {seq} out of range")));
        }
        let ops_len = reader.u64()?;
        let mut ops = Reader {
            bytes: reader.take(ops_len)?,
            at: 0,
        };
        while ops.at < ops.bytes.len() {
            decode_op(&mut ops, seq, each)?;
        }
    }
    Ok(())
}

fn decode_op(ops: &mut Reader<'_>, seq: SeqNo, each: &mut EachOp<'_>) -> Result<()> {
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
    each(seq, kind, key, value)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut ops = OpWriter::default();
        ops.push(ValueKind::Put, b"key", &[7; 200]);
        ops.push(ValueKind::Delete, b"", b"ignored");
        let mut payload = vec![PAYLOAD_VERSION];
        payload.extend(transaction_header(42, ops.as_bytes().len() as u64));
        payload.extend(ops.as_bytes());
        payload.extend(transaction_header(43, 0));
        payload
    }

    type Op = (SeqNo, ValueKind, Vec<u8>, Vec<u8>);

    fn decode(payload: &[u8]) -> Result<Vec<Op>> {
        let mut all = Vec::new();
        decode_payload(payload, &mut |seq, kind, key, value| {
            all.push((seq, kind, key.to_vec(), value.to_vec()));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn what_was_written_is_read() {
        let all = decode(&sample()).unwrap();
        assert_eq!(
            all,
            [
                (42, ValueKind::Put, b"key".to_vec(), vec![7; 200]),
                (42, ValueKind::Delete, vec![], vec![]),
            ]
        );
    }

    #[test]
    fn version_1_has_these_bytes() {
        let payload = sample();
        let mut golden = vec![
            1, 1, 42, 0, 0, 0, 0, 0, 0, 0, 209, 0, 0, 0, 0, 0, 0, 0, 1, 3,
        ];
        golden.extend(b"key");
        golden.extend([200, 1]);
        golden.extend([7; 200]);
        golden.extend([0, 0]);
        golden.extend([1, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(payload, golden);
    }

    #[test]
    fn damaged_payloads_are_errors_or_values_never_panics() {
        let payload = sample();
        for cut in 0..payload.len() {
            let _ = decode(&payload[..cut]);
        }
        for at in 0..payload.len() {
            for bit in 0..8 {
                let mut bad = payload.clone();
                bad[at] ^= 1 << bit;
                let _ = decode(&bad);
            }
        }
        assert!(decode(&payload[..30]).is_err());
    }
}
