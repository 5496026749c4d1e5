//! The host boundary: whatever a plugin answers to `configure` and to a batch, the host passes on what the plan
//! declares and nothing else, every event has one fate, and every document is whole.
//!
//! An input says what a component written for this target answers, byte for byte of its memory, so that all is real
//! from there on: lifting, conversion, checks, the search for the row at fault, the merge of its parts, the editor.
#![no_main]

#[path = "host/bench.rs"]
mod bench;
mod common;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;

use bench::Bench;

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

fuzz_target!(|data: &[u8]| {
    BENCH.with_borrow_mut(|bench| bench.play(data));
});
