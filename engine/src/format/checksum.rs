//! CRC-32 (IEEE polynomial), the checksum of every persisted piece.

/// The CRC-32 of `parts` taken as one string.
#[inline]
pub fn crc32(parts: &[&[u8]]) -> u32 {
    crc32_of(parts.iter().copied())
}

/// The same, of parts that come one by one.
#[inline]
pub fn crc32_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
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
