//! Numbers in the names of files and objects: always twenty decimal digits, so that names sort as their numbers do.

/// Digits of the greatest number.
const DIGITS: usize = 20;

/// The number that these digits are, in the one way in which it is written: `format!("{number:020}")`.
pub fn parse_number(digits: &str) -> Option<u64> {
    let all = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::parse_number;

    #[test]
    fn a_number_has_one_name() {
        for number in [0, 7, u64::MAX] {
            assert_eq!(parse_number(&format!("{number:020}")), Some(number));
        }
        for other in [
            "",
            "7",
            "0000000000000000007",
            "000000000000000000007",
            "+0000000000000000007",
            "0000000000000000000x",
            "18446744073709551616",
        ] {
            assert_eq!(parse_number(other), None, "{other}");
        }
    }
}
