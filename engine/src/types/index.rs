//! A handle of one index, which makes the keys in it: its id, big endian, and then the rest.

use std::ops::{Bound, Range, RangeBounds};

use super::{INDEX_ID_LEN, IndexId, MAX_KEY_LEN, index_id_of};

/// One index of an engine: an ordered map of its own, beside all others.
///
/// [`Engine::create_index`](crate::Engine::create_index) gives a new one. Its [id](Index::id) stays the same for good, so a program writes it down and
/// finds the index by [`Index::from_id`] after a restart.
///
/// Within an index, a key is any bytes, ordered as bytes are; here they are called the key's rest. A whole key, as
/// [`Transaction`](crate::Transaction) takes it, has the index's id in front of them.
///
/// ```
/// use smartengine::Index;
/// let fruit = Index::from_id(7);
/// let key = fruit.key("apple");
/// assert_eq!(fruit.rest(&key), Some(&b"apple"[..]));
/// assert_eq!(Index::of(&key), Some(fruit));
/// assert_eq!(Index::from_id(8).rest(&key), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(IndexId);

impl Index {
    /// The one index that every engine has from the start: a place for what names the others. It cannot be dropped.
    pub const DICTIONARY: Self = Self(super::DICTIONARY_INDEX);

    /// The index with this id.
    pub const fn from_id(id: u32) -> Self {
        Self(id)
    }

    /// Its id.
    pub const fn id(self) -> u32 {
        self.0
    }

    /// The index that a whole key is in; `None` for bytes that are too short to be one.
    pub fn of(key: &[u8]) -> Option<Self> {
        index_id_of(key).map(Self)
    }

    /// The whole key of `rest` in this index. With its four bytes in front it may be up to 16 KiB long.
    pub fn key(self, rest: impl AsRef<[u8]>) -> Vec<u8> {
        let rest = rest.as_ref();
        let mut key = Vec::with_capacity(INDEX_ID_LEN + rest.len());
        self.append_key(rest, &mut key);
        key
    }

    /// Adds the whole key of `rest` to the end of `buffer`, for a caller that makes many keys in one buffer.
    ///
    /// ```
    /// # let index = smartengine::Index::from_id(1);
    /// let mut key = Vec::new();
    /// for number in [1_u64, 2, 3] {
    ///     key.clear();
    ///     index.append_key(number.to_be_bytes(), &mut key);
    ///     assert_eq!(key, index.key(number.to_be_bytes()));
    /// }
    /// ```
    pub fn append_key(self, rest: impl AsRef<[u8]>, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.0.to_be_bytes());
        buffer.extend_from_slice(rest.as_ref());
    }

    /// What follows the index in a whole key of it; `None` for a key of another index.
    pub fn rest(self, key: &[u8]) -> Option<&[u8]> {
        key.strip_prefix(&self.0.to_be_bytes())
    }

    /// All keys of the index.
    pub fn all(self) -> KeyRange {
        KeyRange {
            lower: self.key([]),
            upper: self.end(),
        }
    }

    /// The keys whose rests are in a range.
    ///
    /// ```
    /// # let index = smartengine::Index::from_id(1);
    /// let range = index.range("b".."d");
    /// assert!(range.contains(&index.key("b")) && range.contains(&index.key("cat")));
    /// assert!(!range.contains(&index.key("d")));
    /// assert!(index.range("b"..="d").contains(&index.key("d")));
    /// assert!(index.range("b"..).contains(&index.key([0xff; 9])));
    /// ```
    pub fn range<K: AsRef<[u8]>>(self, rests: impl RangeBounds<K>) -> KeyRange {
        let after = |rest: &K| {
            let mut key = self.key(rest);
            key.push(0);
            key
        };
        KeyRange {
            lower: match rests.start_bound() {
                Bound::Included(rest) => self.key(rest),
                Bound::Excluded(rest) => after(rest),
                Bound::Unbounded => self.key([]),
            },
            upper: match rests.end_bound() {
                Bound::Included(rest) => after(rest),
                Bound::Excluded(rest) => self.key(rest),
                Bound::Unbounded => self.end(),
            },
        }
    }

    /// The keys whose rests begin with `prefix`.
    pub fn starting_with(self, prefix: impl AsRef<[u8]>) -> KeyRange {
        let prefix = prefix.as_ref();
        let last = prefix.iter().rposition(|&byte| byte != 0xff);
        KeyRange {
            lower: self.key(prefix),
            upper: last.map_or_else(
                || self.end(),
                |last| {
                    let mut upper = self.key(&prefix[..=last]);
                    upper[INDEX_ID_LEN + last] += 1;
                    upper
                },
            ),
        }
    }

    /// The first key behind the index.
    fn end(self) -> Vec<u8> {
        match self.0.checked_add(1) {
            Some(next) => next.to_be_bytes().to_vec(),
            None => vec![0xff; MAX_KEY_LEN + 1],
        }
    }
}

/// A range of whole keys, made by an [`Index`]: from a first key on, and before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    lower: Vec<u8>,
    upper: Vec<u8>,
}

impl KeyRange {
    /// The whole key at which it begins.
    pub fn lower(&self) -> &[u8] {
        &self.lower
    }

    /// The whole key before which it ends.
    pub fn upper(&self) -> &[u8] {
        &self.upper
    }

    /// Whether a whole key is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.lower.as_slice() <= key && key < self.upper.as_slice()
    }
}

/// A range of whole keys that is lent, as [`Transaction::cursor`](crate::Transaction::cursor) takes it: `&` of a [`KeyRange`], or `lower..upper` of whole keys
/// that are references to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyBounds<'a> {
    pub(crate) lower: &'a [u8],
    pub(crate) upper: &'a [u8],
}

impl<'a> KeyBounds<'a> {
    /// The whole key at which the range begins.
    pub fn lower(&self) -> &'a [u8] {
        self.lower
    }

    /// The whole key before which it ends.
    pub fn upper(&self) -> &'a [u8] {
        self.upper
    }
}

impl<'a> From<&'a KeyRange> for KeyBounds<'a> {
    fn from(range: &'a KeyRange) -> Self {
        Self {
            lower: &range.lower,
            upper: &range.upper,
        }
    }
}

impl<'a, K: AsRef<[u8]> + ?Sized> From<Range<&'a K>> for KeyBounds<'a> {
    fn from(range: Range<&'a K>) -> Self {
        Self {
            lower: range.start.as_ref(),
            upper: range.end.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_the_id_and_the_rest() {
        assert_eq!(Index::from_id(0x0102_0304).key("ab"), b"\x01\x02\x03\x04ab");
        assert_eq!(Index::DICTIONARY.key([]), [0; 4]);
        assert_eq!(Index::of(&[0, 0, 1]), None);
    }

    #[test]
    fn ranges_hold_what_they_say() {
        let all = [
            Index::from_id(0),
            Index::from_id(6),
            Index::from_id(u32::MAX),
        ];
        let rest = proptest::collection::vec(prop_oneof![0..3_u8, 0xfe..=0xff_u8], 0..4);
        let case = (0..3_usize, 0..3_usize, rest.clone(), rest.clone(), rest);
        proptest!(|((at, other, from, to, rest) in case)| {
            let (index, here) = (all[at], at == other);
            let key = all[other].key(&rest);
            prop_assert_eq!(index.rest(&key), here.then_some(rest.as_slice()));
            prop_assert_eq!(index.all().contains(&key), here);
            let prefixed = index.starting_with(&from).contains(&key);
            prop_assert_eq!(prefixed, here && rest.starts_with(&from));
            let bounds = [
                (Bound::Included(&from), Bound::Excluded(&to)),
                (Bound::Excluded(&from), Bound::Included(&to)),
                (Bound::Unbounded, Bound::Included(&to)),
                (Bound::Excluded(&from), Bound::Unbounded),
            ];
            for bounds in bounds {
                let held = index.range::<Vec<u8>>(bounds).contains(&key);
                prop_assert_eq!(held, here && RangeBounds::<Vec<u8>>::contains(&bounds, &rest));
            }
        });
    }
}
