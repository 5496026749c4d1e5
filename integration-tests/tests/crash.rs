//! `kill -9` at random moments, while logs are written and rotated: nothing is lost, nothing that was safe comes again,
//! and the ledger counts each event once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use integration_tests::{Agent, Node, PodLog, numbers, until};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

const ROUNDS: usize = 8;
/// Writers pause this long between two bursts of lines, so that an agent that is killed early has little to read.
const PACE: Duration = Duration::from_millis(2);

/// What a kill left: how many events are in the output, and how many of them the checkpoint knows as delivered.
struct Left {
    in_output: usize,
    safe: u64,
}

#[test]
fn a_kill_at_any_moment_loses_nothing() {
    play(
        "
sources: {pods: {type: kubernetes_logs, path: pods, linger: 20ms}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
",
        &[],
    );
}

/// The same with a plugin and a second pipeline: a batch is safe only where both have it.
#[test]
fn a_kill_at_any_moment_loses_nothing_of_two_pipelines() {
    play(
        "
sources: {pods: {type: kubernetes_logs, path: pods, linger: 20ms}}
plugins: {filter: {artifact: file:plugins/field-filter.wasm, config: {set: {team: platform}}}}
pipelines:
  all: {from: [pods], stages: [filter], to: [out]}
  other: {from: [pods], to: [other]}
sinks:
  out: {type: file, path: out.ndjson}
  other: {type: file, path: other.ndjson}
",
        &["field-filter"],
    );
}

fn play(config: &str, plugins: &[&str]) {
    let seed = rand::rng().random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let node = Node::with_compiled(plugins);
    node.configure(config);
    let out = node.path("out.ndjson");
    let mut log = node.pod("shop_cart_u1");
    let mut written = 0;
    let mut left = Vec::new();
    for _ in 0..ROUNDS {
        let (goal, rotate) = (size(&out) + random.random_range(0..400_000), random.random_bool(0.5));
        let agent = Agent::spawn(node.command(&["run", "-c", "weir.yaml"]), &node.path("data"));
        write_meanwhile(&mut log, &mut written, rotate, || until("the output grows", || size(&out) >= goal));
        let ended = agent.kill();
        assert_eq!(ended.signal, Some(9), "it was to be killed: {ended}");
        let ledger = node.ledger();
        let safe = ledger.accounts.iter().find(|account| account.sink == "out");
        left.push(Left {
            in_output: whole_events(&out).len(),
            safe: safe.map_or(0, |account| account.delivered.events),
        });
    }
    let ended = node.run_once_well();

    let read = numbers(&out);
    let all: BTreeSet<u64> = read.iter().copied().collect();
    assert!(all.iter().copied().eq(0..written), "{} of {written} events: {ended}", all.len());
    let not_safe: u64 = left.iter().map(|left| left.in_output as u64 - left.safe).sum();
    assert!(
        read.len() as u64 <= written + not_safe,
        "{} events, {not_safe} of them were not safe",
        read.len()
    );
    for account in &node.ledger().accounts {
        account.check();
        assert_eq!(
            (account.read.events, account.delivered.events),
            (written, written),
            "each is counted once"
        );
    }
    if node.path("other.ndjson").is_file() {
        let other: BTreeSet<u64> = numbers(&node.path("other.ndjson")).into_iter().collect();
        assert_eq!(other, all);
    }
}

/// Writes lines until `is_over` returns, at most as many as keep the agent busy for a while.
fn write_meanwhile(log: &mut PodLog, written: &mut u64, rotate: bool, is_over: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                log.lines((*written..*written + 300).map(|n| json!({"n": n}).to_string()));
                *written += 300;
                if rotate && written.is_multiple_of(6_000) {
                    log.rotate();
                }
                thread::sleep(PACE);
            }
        });
        is_over();
        over.store(true, Ordering::Relaxed);
    });
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The distinct events of an output whose last line may be a part of one.
fn whole_events(path: &Path) -> BTreeSet<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].as_u64().unwrap();
    whole.lines().map(number).collect()
}

/// A kill while files are registered and plugins are compiled, before anything is delivered.
#[test]
fn a_kill_during_the_start_leaves_nothing_behind_that_hinders_the_next() {
    let node = Node::new();
    node.configure(
        "
sources: {pods: {type: kubernetes_logs, path: pods}}
plugins: {sampler: {artifact: file:plugins/log-sampler.wasm, config: {}}}
pipelines: {all: {from: [pods], stages: [sampler], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
",
    );
    node.pod("shop_cart_u1").lines((0..1000).map(|n| json!({"n": n}).to_string()));
    for appears in ["data", "data/lock", "data/plugins", "data/plugins/key"] {
        let agent = Agent::spawn(node.command(&["run", "-c", "weir.yaml"]), &node.path("data"));
        until("it comes so far", || fs::metadata(node.path(appears)).is_ok());
        agent.kill();
    }
    node.run_once_well();
    let distinct: BTreeSet<u64> = numbers(&node.path("out.ndjson")).into_iter().collect();
    assert!(distinct.into_iter().eq(0..1000));
    assert_eq!(node.ledger().account("all", "out").read.events, 1000);
}
