//! Changes bytes the way that files go wrong, and the way that finds the lengths among them.

use smartengine::internals::env::Sequence;

/// The most bytes that an input grows to beyond the largest sample.
const GROWTH: usize = 256;

/// A changed copy of `input`; pieces of `other` may come into it.
pub fn mutate(input: &[u8], other: &[u8], random: &mut Sequence) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        change(&mut bytes, other, random);
    }
    bytes
}

fn below(random: &mut Sequence, limit: usize) -> usize {
    random.below(limit.max(1) as u64) as usize
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Sequence) {
    let at = below(random, bytes.len());
    let len = 1 + below(random, 24);
    let end = (at + len).min(bytes.len());
    match random.below(10) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 if bytes.len() < other.len() + GROWTH => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        3 => {
            let from = below(random, other.len());
            let piece = &other[from..(from + len).min(other.len())];
            bytes.splice(at..end, piece.iter().copied());
        }
        4 => {
            // The front of one, the back of the other.
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(at..).unwrap_or_default());
        }
        5 | 6 => write_number(bytes, at, random),
        7 => bytes.extend((0..len).map(|_| random.next_u64() as u8)),
        _ => {
            for _ in 0..=random.below(4) {
                let at = below(random, bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}

/// Puts a number that is on the edge of something where one of 1, 2, 4 or 8 bytes, or a varint, may stand.
fn write_number(bytes: &mut Vec<u8>, at: usize, random: &mut Sequence) {
    let len = bytes.len() as u64;
    let edges = [
        0,
        1,
        127,
        128,
        255,
        256,
        65_535,
        len.wrapping_sub(1),
        len,
        len + 1,
        i32::MAX as u64,
        u32::MAX.into(),
        1 << 32,
        1 << 40,
        i64::MAX as u64,
        u64::MAX,
    ];
    let mut number = edges[below(random, edges.len())];
    if random.below(4) == 0 {
        number = random.below(2 * len + 2);
    }
    let mut image = Vec::new();
    match random.below(5) {
        4 => {
            while number >= 0x80 {
                image.push(number as u8 | 0x80);
                number >>= 7;
            }
            image.push(number as u8);
        }
        power => image.extend_from_slice(&number.to_le_bytes()[..1 << power]),
    }
    if random.below(8) == 0 {
        image.reverse();
    }
    let end = (at + image.len()).min(bytes.len());
    bytes.splice(at..end, image);
}
