//! Which servers may go on with a store, by their versions.
//!
//! A store has the highest version of a server that has written definitions to it, in its manifest, so that an older server is refused before it has
//! changed anything: it might not understand what it finds, and could drop it for that. Versions are MYSQL_VERSION_ID's: 80036 is 8.0.36.

/// Why a server of version `own`, which takes the stores of versions up to `newest`, does not take one that `stored` has written to; empty if it does.
pub fn server_version_refusal(stored: u32, own: u32, newest: u32) -> String {
    if stored <= newest {
        return String::new();
    }
    let (stored, own) = (dotted(stored), dotted(own));
    format!(
        "the store was written under MySQL {stored}, and this server is {own}: a store does not go back to an older server; \
         start MySQL {stored} or later on it"
    )
}

fn dotted(version: u32) -> String {
    let (major, minor, patch) = (version / 10_000, version / 100 % 100, version % 100);
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_named() {
        let why = server_version_refusal(90_704, 80_036, 80_099);
        assert!(
            why.contains("under MySQL 9.7.4,") && why.contains("is 8.0.36:"),
            "{why}"
        );
        assert!(why.ends_with("start MySQL 9.7.4 or later on it"), "{why}");
    }

    #[test]
    fn what_is_not_beyond_the_newest_is_taken() {
        for stored in [0, 80_035, 80_036, 80_099] {
            assert_eq!(server_version_refusal(stored, 80_036, 80_099), "");
        }
        for stored in [80_100, 80_400, u32::MAX] {
            assert_ne!(server_version_refusal(stored, 80_036, 80_099), "");
        }
    }
}
