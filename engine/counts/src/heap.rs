//! A heap whose work follows from the requests alone.
//!
//! What `malloc` does for a request depends on all requests before it, down to the length of a path that was kept for a moment: the same commit
//! cost 3 % more or less from one folder to the next. Here a request costs the same whenever it comes: sizes are rounded up to powers
//! of two, and each size has a list of what was given back. So allocations still count, each with a few instructions.
//!
//! `unsafe` is what the trait of an allocator asks for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// The smallest block has 2⁴ bytes, the largest that is kept 2²⁰.
const SMALLEST: u32 = 4;
const SIZES: usize = 17;
/// What is asked of the system at once.
const CHUNK: usize = 4 << 20;
const ALIGN: usize = 4096;

/// Blocks that were given back, by size; each holds the address of the next in its first bytes.
pub struct Heap {
    locked: AtomicBool,
    free: [AtomicPtr<u8>; SIZES],
    /// What of the last chunk was not given out yet.
    next: AtomicUsize,
    end: AtomicUsize,
}

impl Heap {
    pub const fn new() -> Self {
        Self {
            locked: AtomicBool::new(false),
            free: [const { AtomicPtr::new(ptr::null_mut()) }; SIZES],
            next: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
        }
    }

    fn lock(&self) {
        while self.locked.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
    }

    fn unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }

    /// A block of this many bytes at the end of the last chunk, or of a new one. Under the lock.
    fn carve(&self, size: usize) -> *mut u8 {
        // A block lies at a multiple of its size, up to a page.
        let align = size.min(ALIGN);
        let next = self.next.load(Ordering::Relaxed).next_multiple_of(align);
        if next != 0 && next + size <= self.end.load(Ordering::Relaxed) {
            self.next.store(next + size, Ordering::Relaxed);
            return next as *mut u8;
        }
        // SAFETY: the layout has a size.
        let chunk = unsafe { System.alloc(Layout::from_size_align_unchecked(CHUNK, ALIGN)) };
        if !chunk.is_null() {
            self.next.store(chunk as usize + size, Ordering::Relaxed);
            self.end.store(chunk as usize + CHUNK, Ordering::Relaxed);
        }
        chunk
    }
}

/// Which list a request belongs to; `None` for those that the system serves.
fn class(layout: &Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(1 << SMALLEST);
    let class = (size.next_power_of_two().trailing_zeros() - SMALLEST) as usize;
    (class < SIZES && layout.align() <= ALIGN).then_some(class)
}

// SAFETY: blocks of a class have its size and alignment, and are in its list or given out, never both: the lists change under the lock.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(&layout) else {
            // SAFETY: as the caller vouches.
            return unsafe { System.alloc(layout) };
        };
        self.lock();
        let head = self.free[class].load(Ordering::Relaxed);
        let block = if head.is_null() {
            self.carve(1 << (class as u32 + SMALLEST))
        } else {
            // SAFETY: a free block holds the address of the next one.
            let next = unsafe { head.cast::<*mut u8>().read() };
            self.free[class].store(next, Ordering::Relaxed);
            head
        };
        self.unlock();
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class(&layout) else {
            // SAFETY: it came from there.
            return unsafe { System.dealloc(block, layout) };
        };
        self.lock();
        // SAFETY: the caller has no more use for the block, which is large enough for an address.
        unsafe {
            block
                .cast::<*mut u8>()
                .write(self.free[class].load(Ordering::Relaxed));
        }
        self.free[class].store(block, Ordering::Relaxed);
        self.unlock();
    }
}
