//! Writing fields one after another: into a growing buffer, or into an array of known length that costs no allocation.

use crate::format::checksum::crc32;

/// What bytes are appended to. Numbers are little endian, as in every format of the engine.
pub trait Put {
    /// Appends bytes as they are.
    fn put(&mut self, bytes: &[u8]);

    /// All bytes so far.
    fn written(&self) -> &[u8];

    /// One byte.
    #[inline]
    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// A u32.
    #[inline]
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    /// A u64.
    #[inline]
    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    /// A u128.
    #[inline]
    fn put_u128(&mut self, value: u128) {
        self.put(&value.to_le_bytes());
    }

    /// A varint, as `varint.rs` describes it.
    #[inline]
    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.put_u8(value as u8);
    }

    /// The length as one byte, then the bytes, of which there are at most 255.
    #[inline]
    fn put_u8_prefixed(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= u8::MAX.into(), "{} bytes", bytes.len());
        self.put_u8(bytes.len() as u8);
        self.put(bytes);
    }

    /// The length as a u32, then the bytes, of which there are fewer than 4 GiB.
    #[inline]
    fn put_u32_prefixed(&mut self, bytes: &[u8]) {
        debug_assert!(u32::try_from(bytes.len()).is_ok(), "{} bytes", bytes.len());
        self.put_u32(bytes.len() as u32);
        self.put(bytes);
    }

    /// The length as a u64, then the bytes.
    #[inline]
    fn put_u64_prefixed(&mut self, bytes: &[u8]) {
        self.put_u64(bytes.len() as u64);
        self.put(bytes);
    }

    /// The length as a varint, then the bytes.
    #[inline]
    fn put_varint_prefixed(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.put(bytes);
    }

    /// The CRC-32 of all bytes so far.
    #[inline]
    fn put_checksum(&mut self) {
        self.put_u32(crc32(&[self.written()]));
    }
}

impl Put for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn written(&self) -> &[u8] {
        self
    }

    #[inline]
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }
}

/// An array of `N` bytes that is filled from the front. A format that fills more or less of it is wrong, which a test shows: nothing of it
/// depends on data.
pub struct Fixed<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Fixed<N> {
    /// An empty one.
    #[inline]
    pub fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// The array, once it is full.
    #[inline]
    pub fn finish(self) -> [u8; N] {
        debug_assert_eq!(self.len, N, "the array is not full");
        self.bytes
    }
}

impl<const N: usize> Default for Fixed<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Put for Fixed<N> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        debug_assert!(end <= N, "{end} bytes in an array of {N}");
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
    }

    #[inline]
    fn written(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}
