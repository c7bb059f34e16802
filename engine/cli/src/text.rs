//! Numbers and keys for people.

/// Bytes with a unit.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    format!("{size:.1} {unit}")
}

/// The version of a MySQL server as it counts them, 80036 for 8.0.36.
pub fn server_version(number: u64) -> String {
    let (major, minor, patch) = (number / 10_000, number / 100 % 100, number % 100);
    format!("{major}.{minor}.{patch}")
}

/// A user key: its index, then the rest in hexadecimal.
pub fn key(user: &[u8]) -> String {
    match user.split_first_chunk::<4>() {
        Some((index, rest)) => format!("{}:{}", u32::from_be_bytes(*index), hex(rest, usize::MAX)),
        None => hex(user, usize::MAX),
    }
}

/// Up to `most` bytes in hexadecimal; three dots stand for the rest.
pub fn hex(bytes: &[u8], most: usize) -> String {
    let shown = bytes.get(..most).unwrap_or(bytes);
    let mut out: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
    if shown.len() < bytes.len() {
        out.push_str("...");
    }
    out
}
