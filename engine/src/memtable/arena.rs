//! A bump allocator that several threads share and that frees everything at once.
//!
//! `unsafe` is here because the skip list needs stable addresses handed out from many threads without a lock per allocation.
//! A chunk is never moved or freed before the arena is; the bytes given to two callers never overlap, since each comes from its own
//! `fetch_add` on the chunk's cursor.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Every allocation starts at a multiple of this many bytes.
const ALIGN: usize = 8;

/// The largest chunk that is allocated ahead of need.
const MAX_CHUNK: usize = 1 << 20;

struct Chunk {
    start: NonNull<u8>,
    size: usize,
    used: AtomicUsize,
}

impl Chunk {
    fn new(size: usize) -> Self {
        let layout = Self::layout(size);
        // SAFETY: the size is not zero.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        Self {
            start,
            size,
            used: AtomicUsize::new(0),
        }
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, ALIGN).expect("a chunk is smaller than the address space")
    }

    /// `size` bytes, or nothing if the chunk is full.
    fn take(&self, size: usize) -> Option<NonNull<u8>> {
        let offset = self.used.fetch_add(size, Ordering::Relaxed);
        if offset.checked_add(size)? > self.size {
            return None;
        }
        // SAFETY: offset + size is within the chunk.
        Some(unsafe { self.start.add(offset) })
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.size)) }
    }
}

/// The allocator. Memory is given back when it is dropped.
pub struct Arena {
    current: AtomicPtr<Chunk>,
    chunks: Mutex<Chunks>,
    allocated: AtomicUsize,
}

struct Chunks {
    /// From `Box::into_raw`: a box that is moved may not be pointed into, and `current` points to one of these.
    all: Vec<NonNull<Chunk>>,
    first_size: usize,
    next_size: usize,
    max_size: usize,
}

// SAFETY: chunks are only read through `&self`, their cursors are atomic, and the bytes handed out belong to the callers.
unsafe impl Send for Arena {}
// SAFETY: see above.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena whose first chunk has `first_chunk` bytes; later ones double up to 1 MiB. Nothing is allocated yet.
    pub fn new(first_chunk: usize) -> Self {
        Self::with_max_chunk(first_chunk, MAX_CHUNK)
    }

    /// The same with chunks that double up to `max_chunk` bytes.
    pub fn with_max_chunk(first_chunk: usize, max_chunk: usize) -> Self {
        Self {
            current: AtomicPtr::new(std::ptr::null_mut()),
            chunks: Mutex::new(Chunks {
                all: Vec::new(),
                first_size: first_chunk,
                next_size: first_chunk.max(256),
                max_size: max_chunk,
            }),
            allocated: AtomicUsize::new(0),
        }
    }

    /// `size` uninitialised bytes, aligned to 8.
    pub fn alloc(&self, size: usize) -> NonNull<u8> {
        let size = size.next_multiple_of(ALIGN);
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: a non-null pointer is to a boxed chunk that lives as long as the arena.
        if let Some(chunk) = unsafe { current.as_ref() }
            && let Some(start) = chunk.take(size)
        {
            return start;
        }
        self.alloc_slow(size)
    }

    #[cold]
    fn alloc_slow(&self, size: usize) -> NonNull<u8> {
        let mut chunks = self.chunks.lock();
        // Another thread may have put a new chunk in place meanwhile.
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: as in `alloc`.
        if let Some(chunk) = unsafe { current.as_ref() }
            && chunk.used.load(Ordering::Relaxed) + size <= chunk.size
            && let Some(start) = chunk.take(size)
        {
            return start;
        }
        let large = size > chunks.next_size / 4;
        let chunk_size = if large { size } else { chunks.next_size };
        let chunk = Chunk::new(chunk_size);
        self.allocated.fetch_add(chunk_size, Ordering::Relaxed);
        let start = chunk.take(size).expect("the chunk was made for it");
        let chunk = Box::into_raw(Box::new(chunk));
        // SAFETY: a box is not null.
        chunks.all.push(unsafe { NonNull::new_unchecked(chunk) });
        if !large {
            let doubled = (chunks.next_size * 2).min(chunks.max_size);
            chunks.next_size = doubled.max(chunks.next_size);
            self.current.store(chunk, Ordering::Release);
        }
        start
    }

    /// Takes all memory back from those it was given to, and keeps a small arena's chunk for what comes next.
    pub fn reset(&mut self) {
        let chunks = self.chunks.get_mut();
        let current = *self.current.get_mut();
        let reusable = match chunks.all.as_slice() {
            // SAFETY: made by `Box::into_raw` and not freed, and nobody else has it.
            [only] if only.as_ptr() == current => Some(unsafe { &mut *current }),
            _ => None,
        };
        match reusable {
            Some(chunk) => *chunk.used.get_mut() = 0,
            None => {
                let (first, max) = (chunks.first_size, chunks.max_size);
                *self = Self::with_max_chunk(first, max);
            }
        }
    }

    /// Bytes taken from the system.
    pub fn allocated(&self) -> usize {
        self.allocated.load(Ordering::Relaxed)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for chunk in &self.chunks.get_mut().all {
            // SAFETY: made by `Box::into_raw` in `alloc_slow`, and freed here only.
            drop(unsafe { Box::from_raw(chunk.as_ptr()) });
        }
    }
}
