//! CRC-32 (IEEE polynomial), the checksum of every persisted piece.

/// The CRC-32 of `parts` taken as one string.
#[inline]
pub fn crc32(parts: &[&[u8]]) -> u32 {
    let mut checksum = Checksum::default();
    for part in parts {
        checksum.add(part);
    }
    checksum.finish()
}

/// The same, of parts that come one by one.
#[derive(Default)]
pub struct Checksum(crc32fast::Hasher);

impl Checksum {
    /// The next part.
    #[inline]
    pub fn add(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The CRC-32 of all parts.
    #[inline]
    pub fn finish(self) -> u32 {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn known_value_and_concatenation() {
        assert_eq!(crc32(&[b"123456789"]), 0xcbf4_3926);
        assert_eq!(crc32(&[b"1234", b"", b"56789"]), 0xcbf4_3926);
    }
}
