//! A plugin that leaks, for a minute at full rate: what `cargo xtask soak leak` plays for ten.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::time::Duration;

use integration_tests::LeakScenario;

#[test]
fn memory_stays_and_nothing_is_lost() {
    let scenario = LeakScenario { time: Duration::from_secs(60), rate: 50_000 };
    let report = scenario.play(&|text| eprintln!("{text}"));
    assert_eq!(report.problems(), Vec::<String>::new(), "{:#}", report.to_json());
}
