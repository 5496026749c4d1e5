//! What of a plugin's compiled code is in memory. It is mapped from the cache's file, and loading and configuring a plugin
//! touches most of it; what of it runs on events is less, and of a plugin that gets none it is nothing.
//!
//! 1. Only pages that are as they are in the file are let go: whoever needs one has it again from the kernel's cache.
//! 2. This costs a plugin nothing but that, so where it cannot be done nothing is said.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use wasmtime::component::Component;

/// Bits of an entry of `/proc/self/pagemap`: the page is in memory, and it is a file's, not a copy of our own.
const PRESENT: u64 = 1 << 63;
const OF_FILE: u64 = 1 << 61;
const ENTRY_BYTES: usize = 8;

/// Lets go of the pages of a component's code that are as they are in its file.
pub(crate) fn let_go(component: &Component) {
    let image = component.image_range();
    let page_bytes = rustix::param::page_size();
    let (start, end) = (image.start.addr(), image.end.addr());
    let pages = start.div_ceil(page_bytes)..end / page_bytes;
    let Some(entries) = entries(&pages) else { return };
    for run in runs(&entries) {
        let offset = (pages.start + run.start) * page_bytes - start;
        give_back(image.start.wrapping_byte_add(offset), run.len() * page_bytes);
    }
}

/// What the kernel says of these pages; `None` where it does not.
fn entries(pages: &Range<usize>) -> Option<Vec<u64>> {
    let mut bytes = vec![0; pages.len() * ENTRY_BYTES];
    let file = File::open("/proc/self/pagemap").ok()?;
    file.read_exact_at(&mut bytes, (pages.start * ENTRY_BYTES) as u64).ok()?;
    let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
    Some(entries.iter().map(|entry| u64::from_ne_bytes(*entry)).collect())
}

/// Pages next to each other that can be let go.
fn runs(entries: &[u64]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (page, entry) in entries.iter().enumerate() {
        if entry & (PRESENT | OF_FILE) != PRESENT | OF_FILE {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.end == page => run.end += 1,
            _ => runs.push(page..page + 1),
        }
    }
    runs
}

fn give_back(first: *const u8, bytes: usize) {
    // SAFETY: the range lies in the image of a component that the caller borrows, so it stays mapped. Every page in it is
    // a clean page of a private mapping of a file, as the kernel said; wasmtime writes to an image only while it loads it,
    // which is over. The next access finds the same bytes again, from a file that nothing writes to (see `cache::map`).
    // A page of memory that is not a file's would come back as zeros: it is never in a run.
    #[allow(unsafe_code)]
    let _ = unsafe { libc::madvise(first.cast_mut().cast(), bytes, libc::MADV_DONTNEED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clean_pages_of_files_are_let_go() {
        let (file, own, absent) = (PRESENT | OF_FILE | 7, PRESENT | 7, OF_FILE);
        assert_eq!(runs(&[file, file, own, file, absent, file, file]), [0..2, 3..4, 5..7]);
        assert!(runs(&[own, absent, 0]).is_empty() && runs(&[]).is_empty());
    }

    /// Of code that is in memory alone nothing is let go: it would be gone.
    #[test]
    fn code_that_no_file_holds_stays() {
        let engine = wasmtime::Engine::new(&crate::engine::base_config()).unwrap();
        let wasm = wat::parse_str("(component (core module (func nop)))").unwrap();
        let code = engine.precompile_component(&wasm).unwrap();
        // SAFETY: it was compiled here just now.
        #[allow(unsafe_code)]
        let component = unsafe { Component::deserialize(&engine, &code) }.unwrap();
        let image = |component: &Component| {
            let Range { start, end } = component.image_range();
            // SAFETY: it is the component's own image, which is readable and lives as long.
            #[allow(unsafe_code)]
            let bytes = unsafe { std::slice::from_raw_parts(start, end.addr() - start.addr()) };
            bytes.to_vec()
        };
        let before = image(&component);
        let_go(&component);
        assert!(before == image(&component));
    }
}
