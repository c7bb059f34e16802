//! The checksum of the plugin's own formats: definitions, the catalog's entries, the file `smartengine.attached`.

use crc_fast::{CrcAlgorithm, checksum};

/// CRC-32C (Castagnoli).
pub fn crc32c(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    /// Of RFC 3720, B.4, and the catalogue's check value.
    #[test]
    fn published_values() {
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
    }

    /// The shortest and the longer inputs go by different ways on most processors.
    #[test]
    fn every_length_agrees_with_the_definition() {
        let bytes: Vec<u8> = (0..2000u32).map(|i| ((i * i) >> 3) as u8).collect();
        for len in (0..300).chain([511, 512, 1023, 1999]) {
            let defined = bytes[..len].iter().fold(u32::MAX, |crc, byte| {
                (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                    (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
                })
            });
            assert_eq!(crc32c(&bytes[..len]), !defined, "{len} bytes");
        }
    }
}
