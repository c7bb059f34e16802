//! The words every layer shares: sequence numbers, kinds, index ids and internal keys.

mod index;
mod internal_key;

pub use index::{Index, KeyBounds, KeyRange};
pub use internal_key::{
    InternalKeyBuf, KeyRef, TRAILER_LEN, compare_internal, decode_internal, decode_trailer,
    encode_trailer, trailer_of, user_key_of,
};

/// A commit's place in the order of all commits; 1 is the first, at most [`MAX_SEQ`].
pub type SeqNo = u64;

/// The greatest sequence number that an internal key can carry (56 bits).
pub const MAX_SEQ: SeqNo = (1 << 56) - 1;

/// Sequence numbers from here up mark a transaction's own, not yet committed writes. They sort before (newer than)
/// every committed version of the same key.
pub const OWN_WRITE_SEQ: SeqNo = 1 << 55;

/// The first four bytes (big endian) of every key.
pub type IndexId = u32;

/// Length of the index id at the start of a key, in bytes.
pub const INDEX_ID_LEN: usize = 4;

/// The index id of the engine's own dictionary.
pub const DICTIONARY_INDEX: IndexId = 0;

/// The longest key that the engine takes, in bytes.
pub const MAX_KEY_LEN: usize = 16 * 1024;

/// What an entry says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ValueKind {
    /// The key is gone as of this sequence number.
    Delete = 0,
    /// The key has this value as of this sequence number.
    Put = 1,
}

impl ValueKind {
    /// The kind that a stored byte stands for, if any.
    pub fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Delete),
            1 => Some(Self::Put),
            _ => None,
        }
    }
}

/// The index id that a key begins with; `None` for a key shorter than that.
pub fn index_id_of(user_key: &[u8]) -> Option<IndexId> {
    let bytes = user_key.first_chunk::<INDEX_ID_LEN>()?;
    Some(IndexId::from_be_bytes(*bytes))
}
