//! Where the row of a secondary index entry is. The start of the entry's value tells:
//!
//! ```text
//! u8 1 | u16 offset            the key of the row, without its index id, is the entry's key from that offset on
//! u8 2 | u16 length | bytes    the key of the row, without its index id, are these bytes
//! ```
//!
//! Numbers are big endian. What follows in the value belongs to the caller, and so does what stands in front of the offset in the key. The checksum
//! is that of the block or the log record around it.

use crate::types::Index;
use crate::{Error, Result};

const IN_KEY: u8 = 1;
const IN_VALUE: u8 = 2;

/// Where a secondary index entry says that its row is; the value of such an entry begins with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowLocator<'a> {
    /// The entry's key ends with the row's key: from this offset on, which counts the index id of the entry.
    InKey(usize),
    /// The row's key, without its index id. It stands in the value: for entries whose own key has to be unique.
    InValue(&'a [u8]),
}

impl RowLocator<'_> {
    /// Appends it to `value`.
    ///
    /// Fails with [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where the offset or the key is longer than 65,535 bytes.
    pub fn append_to(self, value: &mut Vec<u8>) -> Result<()> {
        let (kind, number, key) = match self {
            Self::InKey(offset) => (IN_KEY, offset, &[][..]),
            Self::InValue(key) => (IN_VALUE, key.len(), key),
        };
        let number = u16::try_from(number).map_err(|_| {
            Error::invalid(format!(
                "the key of a row stands {number} bytes into its entry, or is that long; at most {} are allowed",
                u16::MAX
            ))
        })?;
        value.push(kind);
        value.extend_from_slice(&number.to_be_bytes());
        value.extend_from_slice(key);
        Ok(())
    }
}

/// Writes the key of the row in `row_index` to `row_key`.
pub fn locate_row(key: &[u8], value: &[u8], row_index: Index, row_key: &mut Vec<u8>) -> Result<()> {
    let rest = locate(key, value)?;
    row_key.clear();
    row_index.append_key(rest, row_key);
    Ok(())
}

/// Whether `row_key` is the key of the row in `row_index`.
pub fn leads_to(key: &[u8], value: &[u8], row_index: Index, row_key: &[u8]) -> Result<bool> {
    let rest = locate(key, value)?;
    Ok(row_index.rest(row_key) == Some(rest))
}

/// The key of the row without its index id.
fn locate<'a>(key: &'a [u8], value: &'a [u8]) -> Result<&'a [u8]> {
    let located = match value {
        [kind, high, low, rest @ ..] => {
            let number = usize::from(u16::from_be_bytes([*high, *low]));
            match *kind {
                IN_KEY => key.get(number..),
                IN_VALUE => rest.get(..number),
                _ => None,
            }
        }
        _ => None,
    };
    located.ok_or_else(|| {
        let shown = key.escape_ascii();
        Error::corruption(format!(
            "index entry {shown} does not tell where its row is"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: Index = Index::from_id(4);

    #[test]
    fn rows_are_found_in_key_or_value() {
        let mut row_key = Vec::new();
        locate_row(b"\0\0\0\x05colpk", &[1, 0, 7], ROWS, &mut row_key).unwrap();
        assert_eq!(row_key, b"\0\0\0\x04pk");
        locate_row(b"\0\0\0\x05col", b"\x02\x00\x02pkrest", ROWS, &mut row_key).unwrap();
        assert_eq!(row_key, b"\0\0\0\x04pk");
        for (row_key, leads) in [
            (&b"\0\0\0\x04pk"[..], true),
            (b"\0\0\0\x05pk", false),
            (b"\0\0\0\x04p", false),
        ] {
            assert_eq!(
                leads_to(b"\0\0\0\x05colpk", &[1, 0, 7], ROWS, row_key).unwrap(),
                leads
            );
        }
    }

    #[test]
    fn locators_are_written_as_they_are_read() {
        let mut value = Vec::new();
        RowLocator::InKey(7).append_to(&mut value).unwrap();
        assert_eq!(value, [1, 0, 7]);
        value.clear();
        RowLocator::InValue(b"pk").append_to(&mut value).unwrap();
        assert_eq!(value, b"\x02\x00\x02pk");
        let long = vec![0; 1 << 16];
        for locator in [RowLocator::InKey(1 << 16), RowLocator::InValue(&long)] {
            let error = locator.append_to(&mut value).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid);
        }
    }

    #[test]
    fn hostile_locators_are_corruption() {
        let mut row_key = Vec::new();
        for value in [&b""[..], &[1, 0], &[1, 0, 8], &[2, 0, 1], &[3, 0, 0]] {
            let error = locate_row(b"\0\0\0\x05co", value, ROWS, &mut row_key).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Corruption);
        }
    }
}
