//! The boundary under random answers: the fuzz target `host`, played with its seeds and with inputs that chance makes.
//! What the target finds becomes a seed, and so a case here.

#![allow(clippy::indexing_slicing)]

#[path = "../../../../fuzz/fuzz_targets/host/bench.rs"]
mod bench;
#[path = "../../../../fuzz/fuzz_targets/common.rs"]
mod common;

use std::fs;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// Inputs that chance makes, unless this variable says how many.
const INPUTS: u64 = 2_000;
const VARIABLE: &str = "WEIR_BOUNDARY_INPUTS";
const MAX_INPUT_BYTES: usize = 400;

#[test]
fn the_seeds_of_the_fuzz_target_hold() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/host");
    let mut bench = bench::Bench::new();
    let mut count = 0;
    for entry in fs::read_dir(seeds).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        bench.play(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn only_what_is_declared_comes_through_and_every_event_has_one_fate() {
    let inputs = std::env::var(VARIABLE).ok().and_then(|count| count.parse().ok()).unwrap_or(INPUTS);
    let first: u64 = rand::rng().random();
    let mut bench = bench::Bench::new();
    let mut loaded = 0;
    for seed in (0..inputs).map(|number| first.wrapping_add(number)) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut input = vec![0; random.random_range(0..MAX_INPUT_BYTES)];
        random.fill_bytes(&mut input);
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.play(&input)));
        let Ok(is_loaded) = played else { panic!("input {input:02x?}") };
        loaded += u64::from(is_loaded);
    }
    eprintln!("{loaded} of {inputs} were loaded");
    // Most plans make no sense; where none does, nothing behind them was tried.
    assert!(loaded * 100 >= inputs, "{loaded} of {inputs} were loaded");
}
