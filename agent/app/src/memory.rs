//! How the C library's allocator treats memory that is let go of.
#![allow(unsafe_code)]

/// So much free memory at the end of a heap is kept. What a sink lets go of at once are the documents of some batches,
/// and the next ones need as much again; by itself the allocator gives all but some hundred KiB back to the kernel,
/// which must then clear every page anew.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 4 << 20;
/// What is larger comes from the kernel and goes back to it by itself. The library would find a value by looking, but
/// not once [`KEPT`] is set.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 4 << 20;

/// Heaps that threads share. By itself the library gives each thread one of its own, up to eight for each core, and each
/// of them keeps [`KEPT`]. Nothing is allocated for single events, so threads seldom meet there.
#[cfg(target_env = "gnu")]
const HEAPS: libc::c_int = 3;

/// Gives back to the kernel what was let go of, wherever it lies: a start needs memory that nothing needs later.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's locks itself, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes the allocator keep the memory that a full pipeline needs again and again, in a few heaps.
pub fn keep_some() {
    #[cfg(target_env = "gnu")]
    // SAFETY: they only set numbers of the allocator, and are called before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
}
