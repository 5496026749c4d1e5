//! Metrics reach Thanos through faults, an outage that overflows memory, and restarts, in small: what
//! `cargo xtask soak metrics` plays for five minutes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::time::Duration;

use integration_tests::MetricsScenario;

#[test]
fn every_sample_is_in_thanos_once_and_in_order() {
    let scenario = MetricsScenario {
        seed: u64::from(rand::random::<u32>()),
        time: Duration::from_secs(40),
        series: 2_000,
        interval: Duration::from_millis(500),
    };
    eprintln!("seed {}", scenario.seed);
    let report = scenario.play(&|text| eprintln!("{text}"));
    assert_eq!(report.problems(), Vec::<String>::new(), "{:#}", report.to_json());
}
