//! What a sampler left out of an hour comes back, exactly, in small: what `cargo xtask soak archive` plays with millions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use integration_tests::ArchiveScenario;

#[test]
fn an_hour_comes_back_whole_and_a_trace_is_found() {
    let scenario = ArchiveScenario { events: 40_000, search_only: false };
    let report = scenario.play(&|text| eprintln!("{text}"));
    assert_eq!(report.problems(), Vec::<String>::new(), "{:#}", report.to_json());
}
