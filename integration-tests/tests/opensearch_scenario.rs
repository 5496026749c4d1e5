//! Nothing is lost and nothing doubled between rotating files and a real OpenSearch, whatever dies on the way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::sync::{Mutex, PoisonError};

use integration_tests::{OpenSearch, Scenario};

/// Each scenario stops the server that they share.
static SERVER: Mutex<()> = Mutex::new(());

fn play(stops: usize, faults: bool) {
    let _alone = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let server = OpenSearch::shared();
    let scenario = Scenario {
        seed: u64::from(rand::random::<u32>()),
        streams: 20,
        events: 100_000,
        rate: 3_500,
        rotate_at: 256 * 1024,
        kills: 5,
        stops,
        faults,
        outage: false,
    };
    eprintln!("{scenario:?}");
    let report = scenario.play(&server, &|progress| eprintln!("{progress}"));
    eprintln!("{:#}", report.to_json());
    assert_eq!(report.problems(), Vec::<String>::new(), "{:#}", report.to_json());
}

#[test]
fn kills_rotation_and_an_opensearch_that_goes_away_lose_and_double_nothing() {
    play(2, false);
}

/// Requests that were taken and answered by nobody are sent again: the ids make it the same document.
#[test]
fn a_network_that_fails_loses_and_doubles_nothing() {
    play(0, true);
}

/// The search engine is away, what waits is more than the disk holds, the object store is away for a part of the time, the
/// lines to both are bad, and the agent is killed all the while.
#[test]
fn an_outage_beyond_the_disk_loses_and_doubles_nothing() {
    let _alone = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let scenario = Scenario {
        seed: u64::from(rand::random::<u32>()),
        streams: 20,
        events: 200_000,
        rate: 5_000,
        rotate_at: 512 * 1024,
        kills: 4,
        stops: 0,
        faults: true,
        outage: true,
    };
    eprintln!("{scenario:?}");
    let report = scenario.play(&OpenSearch::shared(), &|progress| eprintln!("{progress}"));
    eprintln!("{:#}", report.to_json());
    assert_eq!(report.problems(), Vec::<String>::new(), "{:#}", report.to_json());
}
