//! Reading fields one after another, each step checked; and fields at known places of an array, checked by the compiler.

use std::fmt;

use super::varint::{MAX_VARINT_LEN, get_varint};
use crate::{Error, Result};

/// Reads a structure front to back. Each step names what it reads, so that an error says what is cut short or malformed, and where. Numbers are
/// little endian, as in every format of the engine. Nothing is copied: what comes out borrows from what went in.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            whole: bytes.len(),
            rest: bytes,
        }
    }

    /// How many bytes have been read.
    #[inline]
    pub fn position(&self) -> usize {
        self.whole - self.rest.len()
    }

    /// The bytes not yet read.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[cold]
    fn cut_short(&self, what: &str, needed: u64) -> Error {
        corrupt(
            format_args!(
                "cut short: {what} takes {needed} bytes, {} are left",
                self.rest.len()
            ),
            self.position(),
        )
    }

    #[cold]
    fn too_large(&self, what: &str, bits: u32) -> Error {
        corrupt(
            format_args!("{what} does not fit in {bits} bits"),
            self.position(),
        )
    }

    #[cold]
    fn no_varint(&self, what: &str) -> Error {
        let ends = self.rest.iter().any(|byte| *byte < 0x80);
        match ends || self.rest.len() >= MAX_VARINT_LEN {
            true => self.too_large(what, 64),
            false => self.cut_short(what, self.rest.len() as u64 + 1),
        }
    }

    /// The next `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: usize, what: &str) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.cut_short(what, len as u64));
        };
        self.rest = rest;
        Ok(head)
    }

    /// The next `len` bytes, where the length is one that was read.
    #[inline]
    fn long_bytes(&mut self, len: u64, what: &str) -> Result<&'a [u8]> {
        match usize::try_from(len) {
            Ok(len) => self.bytes(len, what),
            Err(_) => Err(self.cut_short(what, len)),
        }
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.cut_short(what, N as u64));
        };
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, what: &str) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    /// A u32.
    #[inline]
    pub fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// A u64.
    #[inline]
    pub fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A u128.
    #[inline]
    pub fn u128(&mut self, what: &str) -> Result<u128> {
        Ok(u128::from_le_bytes(self.array(what)?))
    }

    /// A varint.
    #[inline]
    pub fn varint(&mut self, what: &str) -> Result<u64> {
        let Some((value, len)) = get_varint(self.rest) else {
            return Err(self.no_varint(what));
        };
        self.rest = self.rest.get(len..).unwrap_or_default();
        Ok(value)
    }

    /// A varint that has to fit in 32 bits.
    #[inline]
    pub fn varint32(&mut self, what: &str) -> Result<u32> {
        let before = *self;
        let value = self.varint(what)?;
        u32::try_from(value).map_err(|_| before.too_large(what, 32))
    }

    /// Bytes with a u8 in front that says how many.
    #[inline]
    pub fn u8_prefixed(&mut self, what: &str) -> Result<&'a [u8]> {
        let len = self.u8(what)?;
        self.bytes(len.into(), what)
    }

    /// Bytes with a u32 in front that says how many.
    #[inline]
    pub fn u32_prefixed(&mut self, what: &str) -> Result<&'a [u8]> {
        let len = self.u32(what)?;
        self.long_bytes(len.into(), what)
    }

    /// Bytes with a u64 in front that says how many.
    #[inline]
    pub fn u64_prefixed(&mut self, what: &str) -> Result<&'a [u8]> {
        let len = self.u64(what)?;
        self.long_bytes(len, what)
    }

    /// Bytes with a varint in front that says how many.
    #[inline]
    pub fn varint_prefixed(&mut self, what: &str) -> Result<&'a [u8]> {
        let len = self.varint(what)?;
        self.long_bytes(len, what)
    }

    /// Ends the reading of `what`: it is an error if bytes are left.
    #[inline]
    pub fn finish(self, what: &str) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(corrupt(
            format_args!("{} bytes too many after {what}", self.rest.len()),
            self.position(),
        ))
    }
}

/// The error for what is wrong at byte `at` of a structure.
#[cold]
pub fn corrupt(what: impl fmt::Display, at: usize) -> Error {
    Error::corruption(format!("{what} at byte {at}"))
}

/// The u32 at byte `AT` of an array. That it lies inside is checked when this is compiled.
#[inline]
pub fn u32_at<const AT: usize, const N: usize>(bytes: &[u8; N]) -> u32 {
    u32::from_le_bytes(array_at::<AT, 4, N>(bytes))
}

/// The u64 at byte `AT` of an array, likewise.
#[inline]
pub fn u64_at<const AT: usize, const N: usize>(bytes: &[u8; N]) -> u64 {
    u64::from_le_bytes(array_at::<AT, 8, N>(bytes))
}

#[inline]
fn array_at<const AT: usize, const LEN: usize, const N: usize>(bytes: &[u8; N]) -> [u8; LEN] {
    const { assert!(AT + LEN <= N) };
    let mut field = [0; LEN];
    field.copy_from_slice(&bytes[AT..AT + LEN]);
    field
}
