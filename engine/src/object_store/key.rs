//! Which keys a store takes.

use crate::{Error, Result};

/// The longest key, in bytes (S3's own limit).
pub const MAX_OBJECT_KEY_LEN: usize = 1024;
/// The longest part between two slashes (a file name's limit).
const MAX_PART_LEN: usize = 255;

/// Refuses a key that is not `/`-separated parts of ASCII letters, digits, `-`, `_` and `.`, none empty and none beginning with a dot.
///
/// So a key never climbs out of a backend's root, and never names a backend's own temporary files.
pub fn validate_key(key: &str) -> Result<()> {
    let refuse = |cause: &str| {
        Err(Error::invalid(format!(
            "object key {:?}: {cause}",
            key.chars().take(80).collect::<String>()
        )))
    };
    if key.len() > MAX_OBJECT_KEY_LEN {
        return refuse("longer than 1,024 bytes");
    }
    for part in key.split('/') {
        if part.is_empty() {
            return refuse("an empty part; slashes only separate");
        }
        if part.len() > MAX_PART_LEN {
            return refuse("a part longer than 255 bytes");
        }
        if part.starts_with('.') {
            return refuse("a part that begins with a dot");
        }
        if !part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        {
            return refuse("only ASCII letters, digits, '-', '_', '.' and '/' are allowed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::validate_key;

    #[test]
    fn takes_the_engines_keys_and_refuses_escapes() {
        for good in ["CURRENT", "sst/00000000000000000042.sst", "a/b/c-d_e.F"] {
            validate_key(good).unwrap();
        }
        let long = "x".repeat(256);
        for bad in [
            "", "/a", "a/", "a//b", ".", "..", "a/../b", ".tmp/x", "a\0", "ä", "a b", &long,
        ] {
            assert!(validate_key(bad).is_err(), "{bad:?}");
        }
    }
}
