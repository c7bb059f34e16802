//! Where the row of a secondary index entry is: the start of the entry's value tells, as [`crate::bridge::api::Entry`] specifies.

use smartengine::{Error, Result};

const IN_KEY: u8 = 1;
const IN_VALUE: u8 = 2;

/// Writes the key of the row in primary index `row_index` to `row_key`.
pub fn locate_row(key: &[u8], value: &[u8], row_index: u32, row_key: &mut Vec<u8>) -> Result<()> {
    let bad = || {
        let shown = key.escape_ascii();
        Error::corruption(format!(
            "index entry {shown} does not tell where its row is"
        ))
    };
    let [kind, high, low, rest @ ..] = value else {
        return Err(bad());
    };
    let number = usize::from(u16::from_be_bytes([*high, *low]));
    let suffix = match *kind {
        IN_KEY => key.get(number..),
        IN_VALUE => rest.get(..number),
        _ => None,
    };
    row_key.clear();
    row_key.extend_from_slice(&row_index.to_be_bytes());
    row_key.extend_from_slice(suffix.ok_or_else(bad)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_in_key_or_value() {
        let mut row_key = Vec::new();
        locate_row(b"\0\0\0\x05colpk", &[1, 0, 7], 4, &mut row_key).unwrap();
        assert_eq!(row_key, b"\0\0\0\x04pk");
        locate_row(b"\0\0\0\x05col", b"\x02\x00\x02pkrest", 4, &mut row_key).unwrap();
        assert_eq!(row_key, b"\0\0\0\x04pk");
    }

    #[test]
    fn hostile_locators_are_corruption() {
        let mut row_key = Vec::new();
        for value in [&b""[..], &[1, 0], &[1, 0, 8], &[2, 0, 1], &[3, 0, 0]] {
            let error = locate_row(b"\0\0\0\x05co", value, 4, &mut row_key).unwrap_err();
            assert_eq!(error.kind(), smartengine::ErrorKind::Corruption);
        }
    }
}
