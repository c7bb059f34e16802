//! Variable-length integers, and a reader over bytes that checks every step.
//!
//! A varint is the number in groups of 7 bits, least significant first, one byte each; the high bit of a byte says that another
//! follows. A u64 takes 1 to 10 bytes. Signed numbers go through [`zigzag`] first.

use crate::{Error, Result};

/// The most bytes that a varint takes.
pub const MAX_VARINT_LEN: usize = 10;

/// Appends `value` as a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length as a varint, then the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// How many bytes [`put_varint`] appends.
#[inline]
pub const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Decodes the varint at the start of `bytes` into its value and its length in bytes; `None` if it does not end
/// there or does not fit in 64 bits.
#[inline]
pub fn get_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((u64::from(first), 1));
    }
    get_long_varint(bytes)
}

fn get_long_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().take(MAX_VARINT_LEN).enumerate() {
        let group = u64::from(byte & 0x7f);
        let shift = 7 * i as u32;
        if shift == 63 && group > 1 {
            return None;
        }
        value |= group << shift;
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}

/// Maps small numbers of either sign to small unsigned ones: 0, -1, 1, -2 … to 0, 1, 2, 3 …
#[inline]
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub const fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Reads a structure front to back. Each step names what it reads, so that an error says what was cut or malformed and where.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            whole: bytes.len(),
            rest: bytes,
        }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.whole - self.rest.len()
    }

    /// The bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn malformed(&self, what: &str) -> Error {
        Error::corruption(format!(
            "{what} is cut short or malformed at byte {} of {}",
            self.position(),
            self.whole
        ))
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize, what: &str) -> Result<&'a [u8]> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.malformed(what))?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.malformed(what))?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self, what: &str) -> Result<u8> {
        Ok(self.array::<1>(what)?[0])
    }

    /// A u32, little endian.
    pub fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// A u64, little endian.
    pub fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A varint.
    pub fn varint(&mut self, what: &str) -> Result<u64> {
        let (value, len) = get_varint(self.rest).ok_or_else(|| self.malformed(what))?;
        self.rest = &self.rest[len..];
        Ok(value)
    }

    /// A varint that has to fit in 32 bits.
    pub fn varint32(&mut self, what: &str) -> Result<u32> {
        let value = self.varint(what)?;
        u32::try_from(value).map_err(|_| self.malformed(what))
    }

    /// Bytes with a varint length in front.
    pub fn length_prefixed(&mut self, what: &str) -> Result<&'a [u8]> {
        let len = self.varint(what)?;
        let len = usize::try_from(len).map_err(|_| self.malformed(what))?;
        self.bytes(len, what)
    }

    /// Ends reading: it is an error if bytes are left.
    pub fn finish(self, what: &str) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Error::corruption(format!(
            "{what}: {} unexpected bytes at byte {} of {}",
            self.rest.len(),
            self.position(),
            self.whole
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn round_trips_and_lengths() {
        for shift in 0..64 {
            for value in [(1u64 << shift) - 1, 1 << shift, (1 << shift) + 1] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value));
                assert_eq!(get_varint(&out), Some((value, out.len())));
                assert_eq!(get_varint(&out[..out.len() - 1]), None);
                assert_eq!(unzigzag(zigzag(value as i64)), value as i64);
            }
        }
        assert_eq!(varint_len(u64::MAX), MAX_VARINT_LEN);
        assert_eq!([zigzag(0), zigzag(-1), zigzag(1), zigzag(-2)], [0, 1, 2, 3]);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(get_varint(&[0xff; 10]), None);
        assert_eq!(
            get_varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]),
            None
        );
        assert_eq!(get_varint(&[]), None);
    }

    #[test]
    fn reader_checks_every_step() {
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, b"abc");
        bytes.extend_from_slice(&7u32.to_le_bytes());
        put_varint(&mut bytes, 1 << 40);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.length_prefixed("name").unwrap(), b"abc");
        assert_eq!(reader.u32("count").unwrap(), 7);
        let error = reader.varint32("size").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(reader.is_empty());
        assert!(reader.u8("flag").unwrap_err().message().contains("flag"));
        assert_eq!(
            Reader::new(&[5, 1])
                .length_prefixed("x")
                .unwrap_err()
                .kind(),
            ErrorKind::Corruption
        );
        assert!(Reader::new(&[5]).finish("end").is_err());
    }
}
