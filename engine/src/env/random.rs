//! Numbers that no other process draws.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

/// A number that differs on each call, between processes and between machines.
///
/// It is made from the standard library's hash keys, which the operating system seeds, so it serves to tell two writers
/// apart and not as a secret.
pub fn unique_u128() -> u128 {
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let half = || {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u128(time);
        hasher.write_u32(std::process::id());
        u128::from(hasher.finish())
    };
    (half() << 64) | half()
}

#[cfg(test)]
mod tests {
    use super::unique_u128;

    #[test]
    fn no_two_calls_agree() {
        let drawn: std::collections::HashSet<u128> = (0..1000).map(|_| unique_u128()).collect();
        assert_eq!(drawn.len(), 1000);
    }
}
