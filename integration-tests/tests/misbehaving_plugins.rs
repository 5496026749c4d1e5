//! Plugins that misbehave in time: what they keep, what they wear out, how they meet a stop. Which fault meets which
//! policy how is in `fault_matrix.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use integration_tests::{Account, Admin, Node, numbers, until_some};
use serde_json::json;

const ONE_PIPELINE: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
plugins: {bad: {artifact: file:plugins/misbehave.wasm, config: CONFIG, on_error: POLICY}}
pipelines: {all: {from: [pods], stages: [bad], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

fn one_pipeline(config: &str, policy: &str) -> String {
    ONE_PIPELINE.replace("CONFIG", config).replace("POLICY", policy)
}

/// A run that cannot end well ends, and leaves everything to the next.
#[test]
fn what_is_held_is_delivered_by_a_later_run_with_a_good_configuration() {
    let node = Node::with_compiled(&["misbehave"]);
    let mut log = node.pod("shop_cart_u1");
    let count = 20_000;
    log.lines(
        (0..count).map(|n| json!({"n": n, "level": if n == 9_000 { "poison" } else { "info" }}).to_string()),
    );
    node.configure(&one_pipeline("{mode: trap, when: {equals: poison}}", "hold"));
    for _ in 0..2 {
        let ended = node.run_once();
        assert_eq!(ended.code, Some(1), "{ended}");
        assert!(ended.log.contains("holds a batch"), "{ended}");
        let account = node.ledger().account("all", "out");
        assert_eq!(account.read, account.delivered);
        assert_eq!(numbers(&node.path("out.ndjson")).len() as u64, account.delivered.events);
        assert!(account.delivered.events <= 9_000, "{account:?}");
    }
    node.configure(&one_pipeline("{mode: none}", "hold"));
    node.run_once_well();
    assert_eq!(numbers(&node.path("out.ndjson")), (0..count).collect::<Vec<u64>>());
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events), (count, count));
}

/// What an instance remembers may be what fails; a fresh one handles the batch.
#[test]
fn an_instance_that_wears_out_is_replaced_and_no_event_suffers() {
    let node = Node::with_compiled(&["misbehave"]);
    node.configure(&one_pipeline("{mode: trap, after: 2}", "drop"));
    let count = 40_000;
    node.pod("shop_cart_u1").lines((0..count).map(|n| json!({"n": n}).to_string()));
    let agent = node.start();
    let account = done(&agent.admin(), count);
    let metrics = agent.admin().metrics();
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(account.delivered.events, count);
    assert_eq!(numbers(&node.path("out.ndjson")), (0..count).collect::<Vec<u64>>());
    assert!(metrics.count("weir_plugin_errors_total", &[("plugin", "bad"), ("cause", "trap")]) >= 2);
    assert!(metrics.count("weir_plugin_retries_total", &[("plugin", "bad")]) >= 2);
    assert_eq!(metrics.count("weir_plugin_failed_events_total", &[("plugin", "bad")]), 0);
}

/// One that keeps more with every call is replaced before it reaches its limit.
#[test]
fn an_instance_that_leaks_is_recycled() {
    let node = Node::with_compiled(&["misbehave"]);
    node.configure(&one_pipeline("{mode: leak}", "drop"));
    let count = 300_000;
    node.pod("shop_cart_u1").lines((0..count).map(|n| json!({"n": n}).to_string()));
    let agent = node.start();
    let account = done(&agent.admin(), count);
    let metrics = agent.admin().metrics();
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(account.delivered.events, count);
    assert_eq!(numbers(&node.path("out.ndjson")), (0..count).collect::<Vec<u64>>());
    let bad = [("plugin", "bad")];
    assert!(metrics.count("weir_plugin_calls_total", &bad) > 60);
    assert!(metrics.count("weir_plugin_recycled_instances_total", &bad) > 0);
    let (peak, limit) = ("weir_plugin_memory_peak_bytes", "weir_plugin_memory_limit_bytes");
    assert!(metrics.count(peak, &bad) <= 2 * metrics.count(limit, &bad), "there are two workers");
    assert_eq!(metrics.count("weir_plugin_errors_total", &[("plugin", "bad"), ("cause", "memory")]), 0);
}

/// Asked to stop, the agent waits for the batch that the plugin has, and for no more: the rest is read again.
#[test]
fn a_stop_does_not_wait_long_for_a_plugin_that_spins() {
    let node = Node::with_compiled(&["misbehave"]);
    node.configure(&one_pipeline("{mode: spin}", "pass"));
    let count = 300_000;
    node.pod("shop_cart_u1").lines((0..count).map(|n| json!({"n": n}).to_string()));
    let agent = node.start();
    let calls = || agent.admin().metrics().count("weir_plugin_calls_total", &[("plugin", "bad")]);
    until_some("the plugin has had a batch", || (calls() > 0).then_some(()));
    let asked = Instant::now();
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(asked.elapsed() < Duration::from_secs(20), "{ended}");
    let account = node.ledger().account("all", "out");
    assert!(account.read == account.delivered && account.read.events < count, "{account:?}");

    node.configure(&one_pipeline("{mode: none}", "pass"));
    node.run_once_well();
    let read = numbers(&node.path("out.ndjson"));
    assert!(read.iter().copied().eq(0..count), "{} of {count}, in order, none twice", read.len());
}

fn done(admin: &Admin, count: u64) -> Account {
    until_some("all events have their fate", || {
        let account = admin.ledger().account("all", "out");
        (account.read.events == count && account.is_settled()).then_some(account)
    })
}
