//! Internal keys: a user key and which version of it.
//!
//! Layout: `user key | !(sequence number << 8 | kind) as u64, big endian`.
//! Order: user keys ascending by bytes, then trailers ascending by bytes, which is newest version first.
//! Since one user key may be a prefix of another, two internal keys are compared in two steps, never as one string.

use std::cmp::Ordering;
use std::fmt;

use super::{SeqNo, ValueKind};
use crate::{Error, Result};

/// Length of the trailer in bytes.
pub const TRAILER_LEN: usize = 8;

/// The trailer of (`seq`, `kind`) as the number whose big-endian bytes are stored; ascending is newest first.
pub const fn encode_trailer(seq: SeqNo, kind: ValueKind) -> u64 {
    !((seq << 8) | kind as u64)
}

/// Splits a trailer into sequence number and kind byte.
pub const fn decode_trailer(trailer: u64) -> (SeqNo, u8) {
    let packed = !trailer;
    (packed >> 8, packed as u8)
}

/// The user key of an encoded internal key. The empty key for one shorter than a trailer.
pub fn user_key_of(internal: &[u8]) -> &[u8] {
    &internal[..internal.len().saturating_sub(TRAILER_LEN)]
}

/// The trailer of an encoded internal key; `u64::MAX` (older than everything) for one shorter than a trailer.
pub fn trailer_of(internal: &[u8]) -> u64 {
    internal
        .last_chunk::<TRAILER_LEN>()
        .map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes))
}

/// Orders two encoded internal keys.
pub fn compare_internal(a: &[u8], b: &[u8]) -> Ordering {
    user_key_of(a)
        .cmp(user_key_of(b))
        .then_with(|| trailer_of(a).cmp(&trailer_of(b)))
}

/// A borrowed internal key in its two parts, for seeks that should not build one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyRef<'a> {
    /// The user key.
    pub user: &'a [u8],
    /// The trailer as [`encode_trailer`] gives it.
    pub trailer: u64,
}

impl<'a> KeyRef<'a> {
    /// The position just before every version of `user` that `seq` may see: seeking to it finds the newest such version.
    pub fn at(user: &'a [u8], seq: SeqNo) -> Self {
        Self {
            user,
            trailer: encode_trailer(seq, ValueKind::Put),
        }
    }

    /// The position before all versions of `user`.
    pub fn before(user: &'a [u8]) -> Self {
        Self { user, trailer: 0 }
    }

    /// The position after all versions of `user`.
    pub fn after(user: &'a [u8]) -> Self {
        Self {
            user,
            trailer: u64::MAX,
        }
    }

    /// The parts of an encoded internal key.
    pub fn decode(internal: &'a [u8]) -> Self {
        Self {
            user: user_key_of(internal),
            trailer: trailer_of(internal),
        }
    }

    /// The trailer of the same kind of entry at another sequence number.
    pub fn trailer_at(&self, seq: SeqNo) -> u64 {
        !((seq << 8) | u64::from(decode_trailer(self.trailer).1))
    }

    /// The sequence number.
    pub fn seq(&self) -> SeqNo {
        decode_trailer(self.trailer).0
    }

    /// The kind, if its byte is a known one.
    pub fn kind(&self) -> Option<ValueKind> {
        ValueKind::from_u8(decode_trailer(self.trailer).1)
    }

    /// Orders it against an encoded internal key.
    pub fn cmp_encoded(&self, internal: &[u8]) -> Ordering {
        self.user
            .cmp(user_key_of(internal))
            .then_with(|| self.trailer.cmp(&trailer_of(internal)))
    }
}

impl Ord for KeyRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.user
            .cmp(other.user)
            .then_with(|| self.trailer.cmp(&other.trailer))
    }
}

impl PartialOrd for KeyRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seq, kind) = decode_trailer(self.trailer);
        write!(f, "{}@{seq}/{kind}", self.user.escape_ascii())
    }
}

/// The parts of an encoded internal key, whose kind must be a known one.
pub fn decode_internal(internal: &[u8]) -> Result<(KeyRef<'_>, ValueKind)> {
    let key = KeyRef::decode(internal);
    let kind = key
        .kind()
        .ok_or_else(|| Error::corruption(format!("entry {key:?} has an unknown kind")))?;
    Ok((key, kind))
}

/// An owned encoded internal key; an empty buffer stands for "none yet".
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct InternalKeyBuf(Vec<u8>);

impl InternalKeyBuf {
    /// Encodes the parts.
    pub fn new(user: &[u8], seq: SeqNo, kind: ValueKind) -> Self {
        let mut buf = Self::default();
        buf.set(user, encode_trailer(seq, kind));
        buf
    }

    /// Takes bytes that are already an encoded internal key.
    pub fn from_encoded(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Replaces the contents, keeping the allocation.
    pub fn set(&mut self, user: &[u8], trailer: u64) {
        self.0.clear();
        self.0.extend_from_slice(user);
        self.0.extend_from_slice(&trailer.to_be_bytes());
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The user key.
    pub fn user_key(&self) -> &[u8] {
        user_key_of(&self.0)
    }

    /// The parts.
    pub fn as_ref(&self) -> KeyRef<'_> {
        KeyRef::decode(&self.0)
    }
}

impl Ord for InternalKeyBuf {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_internal(&self.0, &other.0)
    }
}

impl PartialOrd for InternalKeyBuf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for InternalKeyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}
