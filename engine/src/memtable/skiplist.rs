//! A concurrent, insert-only skip list of internal keys in an arena.
//!
//! `unsafe` is here because nodes are variable-sized, live in the arena, and are linked by atomic pointers without locks.
//! What makes it sound: a node is written completely before a `Release` compare-and-swap makes it reachable; readers follow links with
//! `Acquire`; nodes are never unlinked, moved or freed before the list; key, value and height never change. The one mutable part of a
//! reachable node is its `dead` flag, an atomic.
//!
//! Any number of threads insert and read at once. An iterator sees every node inserted before it was created, and those inserted
//! later ahead of its position. Searching for a predecessor costs a descent from the head: there are no back links.

use std::cmp::Ordering as CmpOrdering;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::arena::Arena;
use crate::env::quick_random;
use crate::types::{KeyRef, SeqNo, TRAILER_LEN, user_key_of};

/// With one node in four going up a level, 4^12 entries keep the expected search depth logarithmic.
const MAX_HEIGHT: usize = 12;

/// A node: this header, `height` links, the user key, its trailer (big endian), the value.
#[repr(C)]
struct Node {
    value_len: usize,
    key_len: u32,
    height: u8,
    dead: AtomicBool,
}

type Link = AtomicPtr<Node>;

impl Node {
    fn size(height: usize, key_len: usize, value_len: usize) -> usize {
        size_of::<Node>() + height * size_of::<Link>() + key_len + value_len
    }

    /// # Safety
    /// `level` is below the node's height.
    unsafe fn link(node: *const Node, level: usize) -> *const Link {
        // SAFETY: the links follow the header and there are more than `level` of them.
        unsafe { node.add(1).cast::<Link>().add(level) }
    }

    /// # Safety
    /// The node is reachable or was just initialised.
    unsafe fn key<'a>(node: *const Node) -> &'a [u8] {
        // SAFETY: the key follows the links.
        unsafe {
            let start = Self::link(node, (*node).height as usize).cast::<u8>();
            std::slice::from_raw_parts(start, (*node).key_len as usize)
        }
    }

    /// # Safety
    /// The node is reachable.
    unsafe fn value<'a>(node: *const Node) -> &'a [u8] {
        // SAFETY: the value follows the key.
        unsafe {
            let links_end = Self::link(node, (*node).height as usize).cast::<u8>();
            let start = links_end.add((*node).key_len as usize);
            std::slice::from_raw_parts(start, (*node).value_len)
        }
    }
}

/// The list.
pub struct SkipList {
    arena: Arena,
    head: [Link; MAX_HEIGHT],
    height: AtomicUsize,
}

/// An entry of the list that can be marked dead later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodeRef(NonNull<Node>);

// SAFETY: a node is only used together with its list, which is Sync.
unsafe impl Send for NodeRef {}
// SAFETY: see above.
unsafe impl Sync for NodeRef {}

/// Where the last insertion went, so that the next one nearby need not search from the head.
pub struct InsertHint {
    /// On each level a link before `last` or its own.
    prev: [*const Link; MAX_HEIGHT],
    /// The nodes those links belong to; null for the head.
    node: [*const Node; MAX_HEIGHT],
    /// The node inserted last; null if none.
    last: *const Node,
}

// SAFETY: a hint is used only together with its list, which is Sync.
unsafe impl Send for InsertHint {}

impl Default for InsertHint {
    fn default() -> Self {
        Self {
            prev: [std::ptr::null(); MAX_HEIGHT],
            node: [std::ptr::null(); MAX_HEIGHT],
            last: std::ptr::null(),
        }
    }
}

impl SkipList {
    /// An empty list; `first_chunk` as in [`Arena::new`].
    pub fn new(first_chunk: usize) -> Self {
        Self::in_arena(Arena::new(first_chunk))
    }

    /// An empty list whose memory comes in chunks of at most `max_chunk` bytes, as far as entries are smaller.
    pub fn with_max_chunk(first_chunk: usize, max_chunk: usize) -> Self {
        Self::in_arena(Arena::with_max_chunk(first_chunk, max_chunk))
    }

    fn in_arena(arena: Arena) -> Self {
        Self {
            arena,
            head: [const { AtomicPtr::new(null_mut()) }; MAX_HEIGHT],
            height: AtomicUsize::new(1),
        }
    }

    /// Removes all entries. Nobody else has the list, so no position or hint of another's is left in it; the caller forgets its own.
    pub fn clear(&mut self) {
        for link in &mut self.head {
            *link.get_mut() = null_mut();
        }
        *self.height.get_mut() = 1;
        self.arena.reset();
    }

    /// Bytes taken from the system.
    pub fn allocated(&self) -> usize {
        self.arena.allocated()
    }

    /// Whether there is no entry at all, dead ones counted.
    pub fn is_empty(&self) -> bool {
        self.head[0].load(Ordering::Acquire).is_null()
    }

    /// Adds an entry. The caller sees to it that no equal (user key, trailer) is there.
    ///
    /// `hint` may hold the place of an earlier insertion into this same list by this caller: keys that follow each other closely are
    /// then inserted without a search from the head.
    pub fn insert(&self, key: KeyRef<'_>, value: &[u8], hint: &mut InsertHint) -> NodeRef {
        let height = random_height();
        let node = self.new_node(key, value, height);
        let mut list_height = self.height.load(Ordering::Relaxed);
        while height > list_height {
            match self.height.compare_exchange_weak(
                list_height,
                height,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => list_height = now,
            }
        }
        self.find_position(key, hint);
        for level in 0..height {
            loop {
                // SAFETY: `find_position` left a link of the head or of a reachable node that is at least this high.
                let prev = unsafe { &*hint.prev[level] };
                let next = prev.load(Ordering::Acquire);
                // SAFETY: a reachable node.
                if !next.is_null()
                    && key.cmp_encoded(unsafe { Node::key(next) }) == CmpOrdering::Greater
                {
                    // Another thread got in between: go on from its node.
                    // SAFETY: `next` is linked at this level.
                    hint.prev[level] = unsafe { Node::link(next, level) };
                    hint.node[level] = next;
                    continue;
                }
                // SAFETY: the node is ours until the exchange succeeds, and it has this level.
                unsafe { (*Node::link(node, level)).store(next, Ordering::Relaxed) };
                if prev
                    .compare_exchange(next, node, Ordering::Release, Ordering::Relaxed)
                    .is_ok()
                {
                    break;
                }
            }
            // SAFETY: the node is linked at this level now.
            hint.prev[level] = unsafe { Node::link(node, level) };
            hint.node[level] = node;
        }
        hint.last = node;
        // SAFETY: `new_node` never returns null.
        NodeRef(unsafe { NonNull::new_unchecked(node) })
    }

    fn new_node(&self, key: KeyRef<'_>, value: &[u8], height: usize) -> *mut Node {
        let key_len = key.user.len() + TRAILER_LEN;
        let start = self.arena.alloc(Node::size(height, key_len, value.len()));
        let node = start.as_ptr().cast::<Node>();
        // SAFETY: the arena gave enough bytes, aligned to 8, for header, links, key and value, and nobody else has them.
        unsafe {
            node.write(Node {
                value_len: value.len(),
                key_len: key_len as u32,
                height: height as u8,
                dead: AtomicBool::new(false),
            });
            for level in 0..height {
                Node::link(node, level)
                    .cast_mut()
                    .write(AtomicPtr::new(null_mut()));
            }
            let bytes = Node::link(node, height).cast::<u8>().cast_mut();
            bytes.copy_from_nonoverlapping(key.user.as_ptr(), key.user.len());
            let trailer = key.trailer.to_be_bytes();
            bytes
                .add(key.user.len())
                .copy_from_nonoverlapping(trailer.as_ptr(), TRAILER_LEN);
            bytes
                .add(key_len)
                .copy_from_nonoverlapping(value.as_ptr(), value.len());
        }
        node
    }

    /// Leaves in `hint`, for every level, a link before `key`; on the levels searched, the last one.
    fn find_position(&self, key: KeyRef<'_>, hint: &mut InsertHint) {
        let top = self.height.load(Ordering::Relaxed);
        let mut node: *const Node = std::ptr::null();
        let mut level = top;
        // SAFETY: the remembered node is reachable.
        if !hint.last.is_null()
            && key.cmp_encoded(unsafe { Node::key(hint.last) }) == CmpOrdering::Greater
        {
            // Every remembered link is at or before the remembered node, so before the key. Go up until one reaches past it.
            let near = (0..top).find(|&level| {
                // SAFETY: links live as long as the list; what they lead to is reachable.
                let next = unsafe { (*hint.prev[level]).load(Ordering::Acquire) };
                next.is_null()
                    || key.cmp_encoded(unsafe { Node::key(next) }) != CmpOrdering::Greater
            });
            if let Some(near) = near {
                level = near;
                node = hint.node[near];
            }
        }
        if level == top {
            for above in top..MAX_HEIGHT {
                hint.prev[above] = &raw const self.head[above];
                hint.node[above] = std::ptr::null();
            }
        }
        while level > 0 {
            level -= 1;
            let mut link = if node.is_null() {
                &raw const self.head[level]
            } else {
                // SAFETY: a node that has a higher level has this one.
                unsafe { Node::link(node, level) }
            };
            loop {
                // SAFETY: links live as long as the list.
                let next = unsafe { (*link).load(Ordering::Acquire) };
                // SAFETY: reachable.
                if next.is_null()
                    || key.cmp_encoded(unsafe { Node::key(next) }) != CmpOrdering::Greater
                {
                    break;
                }
                node = next;
                // SAFETY: `next` is linked at this level.
                link = unsafe { Node::link(next, level) };
            }
            hint.prev[level] = link;
            hint.node[level] = node;
        }
    }

    /// The first node whose key is at or after `key`.
    fn find_at_or_after(&self, key: KeyRef<'_>) -> *const Node {
        let mut links = self.head.as_ptr();
        let mut level = self.height.load(Ordering::Relaxed) - 1;
        // A node already found to be too far on a higher level need not be compared again.
        let mut known_after: *const Node = std::ptr::null();
        loop {
            // SAFETY: `links` are the head's or a node's, which has at least `level + 1` of them.
            let next = unsafe { (*links.add(level)).load(Ordering::Acquire) }.cast_const();
            let go_on = next != known_after
                && !next.is_null()
                // SAFETY: reachable.
                && key.cmp_encoded(unsafe { Node::key(next) }) == CmpOrdering::Greater;
            if go_on {
                // SAFETY: reachable.
                links = unsafe { Node::link(next, 0) };
            } else if level == 0 {
                return next;
            } else {
                known_after = next;
                level -= 1;
            }
        }
    }

    /// The last node whose key is before `key` (or at it, with `or_at`); null if none.
    fn find_before(&self, key: Option<KeyRef<'_>>, or_at: bool) -> *const Node {
        let mut links = self.head.as_ptr();
        let mut node: *const Node = std::ptr::null();
        let mut level = self.height.load(Ordering::Relaxed) - 1;
        loop {
            // SAFETY: as in `find_at_or_after`.
            let next = unsafe { (*links.add(level)).load(Ordering::Acquire) }.cast_const();
            let go_on = !next.is_null()
                && key.is_none_or(|key| {
                    // SAFETY: reachable.
                    match key.cmp_encoded(unsafe { Node::key(next) }) {
                        CmpOrdering::Greater => true,
                        CmpOrdering::Equal => or_at,
                        CmpOrdering::Less => false,
                    }
                });
            if go_on {
                node = next;
                // SAFETY: reachable.
                links = unsafe { Node::link(next, 0) };
            } else if level == 0 {
                return node;
            } else {
                level -= 1;
            }
        }
    }

    /// The encoded key and value of the first live entry at or after `key`.
    pub fn first_at_or_after(&self, key: KeyRef<'_>) -> Option<(&[u8], &[u8])> {
        let mut node = self.find_at_or_after(key);
        while !node.is_null() {
            // SAFETY: reachable; key and value live as long as the list.
            unsafe {
                if !(*node).dead.load(Ordering::Relaxed) {
                    return Some((Node::key(node), Node::value(node)));
                }
                node = (*Node::link(node, 0)).load(Ordering::Acquire);
            }
        }
        None
    }

    /// All live entries, in order: encoded key and value.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let first = self.first();
        std::iter::successors(first.valid().then_some(first), |&at| {
            let next = self.after(at);
            next.valid().then_some(next)
        })
        .map(|at| at.entry(self))
    }

    /// The sequence number of an entry.
    pub fn seq_of(&self, node: NodeRef) -> SeqNo {
        // SAFETY: the node belongs to this list.
        KeyRef::decode(unsafe { Node::key(node.0.as_ptr()) }).seq()
    }

    /// Hides an entry from readers, for good.
    pub fn kill(&self, node: NodeRef) {
        // SAFETY: the node belongs to this list.
        unsafe { node.0.as_ref() }
            .dead
            .store(true, Ordering::Relaxed);
    }

    /// How many entries lie in a range, estimated from the links of the highest level with enough of them.
    pub fn estimate_between(&self, lower: KeyRef<'_>, upper: KeyRef<'_>) -> u64 {
        const ENOUGH: u64 = 64;
        let mut best = 0;
        for level in (0..self.height.load(Ordering::Relaxed)).rev() {
            let count = self.count_at_level(level, lower, upper);
            best = count << (2 * level);
            if count >= ENOUGH {
                break;
            }
        }
        best
    }

    fn count_at_level(&self, level: usize, lower: KeyRef<'_>, upper: KeyRef<'_>) -> u64 {
        let mut links = self.head.as_ptr();
        for search in (level..self.height.load(Ordering::Relaxed)).rev() {
            loop {
                // SAFETY: as in `find_at_or_after`.
                let next = unsafe { (*links.add(search)).load(Ordering::Acquire) };
                // SAFETY: reachable.
                if next.is_null()
                    || lower.cmp_encoded(unsafe { Node::key(next) }) != CmpOrdering::Greater
                {
                    break;
                }
                // SAFETY: reachable.
                links = unsafe { Node::link(next, 0) };
            }
        }
        let mut count = 0;
        loop {
            // SAFETY: as above.
            let next = unsafe { (*links.add(level)).load(Ordering::Acquire) };
            // SAFETY: reachable.
            if next.is_null()
                || upper.cmp_encoded(unsafe { Node::key(next) }) != CmpOrdering::Greater
            {
                return count;
            }
            count += 1;
            // SAFETY: reachable.
            links = unsafe { Node::link(next, 0) };
        }
    }
}

/// A position in a list. It holds no borrow: whoever keeps it keeps the list alive as well (see [`super::MemIter`]).
#[derive(Clone, Copy)]
pub(super) struct Position(*const Node);

// SAFETY: a position is used only together with the list it is in, which is Sync.
unsafe impl Send for Position {}

impl Position {
    pub(super) const END: Self = Self(std::ptr::null());

    pub(super) fn valid(self) -> bool {
        !self.0.is_null()
    }

    /// Key and value; empty at the end. They live as long as the list.
    pub(super) fn entry(self, _list: &SkipList) -> (&[u8], &[u8]) {
        if self.0.is_null() {
            return (&[], &[]);
        }
        // SAFETY: a position is a reachable node of that list.
        unsafe { (Node::key(self.0), Node::value(self.0)) }
    }

    pub(super) fn is_dead(self) -> bool {
        // SAFETY: a reachable node, or null.
        unsafe { self.0.as_ref() }.is_some_and(|node| node.dead.load(Ordering::Relaxed))
    }

    fn skip_dead_forward(mut self) -> Self {
        // SAFETY: reachable nodes.
        unsafe {
            while !self.0.is_null() && (*self.0).dead.load(Ordering::Relaxed) {
                self.0 = (*Node::link(self.0, 0)).load(Ordering::Acquire);
            }
        }
        self
    }

    fn skip_dead_backward(mut self, list: &SkipList) -> Self {
        // SAFETY: reachable nodes.
        unsafe {
            while !self.0.is_null() && (*self.0).dead.load(Ordering::Relaxed) {
                self.0 = list.find_before(Some(KeyRef::decode(Node::key(self.0))), false);
            }
        }
        self
    }
}

impl SkipList {
    pub(super) fn first(&self) -> Position {
        Position(self.head[0].load(Ordering::Acquire)).skip_dead_forward()
    }

    pub(super) fn last(&self) -> Position {
        Position(self.find_before(None, false)).skip_dead_backward(self)
    }

    pub(super) fn at_or_after(&self, key: KeyRef<'_>) -> Position {
        Position(self.find_at_or_after(key)).skip_dead_forward()
    }

    pub(super) fn at_or_before(&self, key: KeyRef<'_>) -> Position {
        Position(self.find_before(Some(key), true)).skip_dead_backward(self)
    }

    pub(super) fn after(&self, position: Position) -> Position {
        if position.0.is_null() {
            return position;
        }
        // SAFETY: a reachable node.
        let next = unsafe { (*Node::link(position.0, 0)).load(Ordering::Acquire) };
        Position(next).skip_dead_forward()
    }

    /// The first entry with another user key. A key's versions are passed over by the highest links that stay among them, so that a
    /// thousand of them cost a few steps.
    pub(super) fn after_key(&self, position: Position) -> Position {
        if position.0.is_null() {
            return position;
        }
        let user_key = user_key_of(position.entry(self).0);
        let mut node = position.0;
        // SAFETY: reachable nodes, and levels below their heights.
        let next = unsafe {
            let mut level = usize::from((*node).height) - 1;
            loop {
                let next = (*Node::link(node, level)).load(Ordering::Acquire);
                if !next.is_null() && user_key_of(Node::key(next)) == user_key {
                    node = next;
                    level = usize::from((*node).height) - 1;
                } else if level == 0 {
                    break next;
                } else {
                    level -= 1;
                }
            }
        };
        Position(next).skip_dead_forward()
    }

    pub(super) fn before(&self, position: Position) -> Position {
        let (key, _) = position.entry(self);
        if !position.valid() {
            return position;
        }
        Position(self.find_before(Some(KeyRef::decode(key)), false)).skip_dead_backward(self)
    }
}

/// 1 with probability 3/4, and each level more with a quarter of the one before.
fn random_height() -> usize {
    ((quick_random().trailing_zeros() / 2) as usize + 1).min(MAX_HEIGHT)
}
