//! `weir buffer …`, beside a running agent and without one: what is shown, exported, dropped and put back adds up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use integration_tests::{Agent, Ended, Node, count, numbers, until};
use serde_json::{Value, json};

const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods, linger: 50ms}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson, buffer: durable}}
buffers: {durable: {memory: 16MiB, disk: 128MiB}}
";

fn dead_sink() -> (Node, Agent) {
    let node = Node::new();
    node.configure(CONFIG);
    node.break_output();
    let agent = node.start();
    let events =
        |of: std::ops::Range<u64>| of.map(|n| json!({"n": n, "text": "something that happened"}).to_string());
    let mut pod = node.pod("shop_cart_u1");
    pod.lines(events(0..500));
    // The sink has these in its hands, and the others wait behind them.
    until("the first are read", || agent.admin().ledger().account("all", "out").read.events == 500);
    pod.lines(events(500..3_000));
    until("all is on disk", || on_disk(&agent) == 3_000);
    until("the checkpoint knows", || json_of(&node, &["stat"])["sinks"][0]["events"] == 3_000);
    (node, agent)
}

fn on_disk(agent: &Agent) -> u64 {
    agent.admin().ledger().account("all", "out").buffered.get("disk").map_or(0, |amount| amount.events)
}

fn buffer(node: &Node, arguments: &[&str]) -> Ended {
    let (command, rest) = arguments.split_first().unwrap();
    node.weir(&[&["buffer", command, "-c", "weir.yaml"], rest].concat())
}

#[track_caller]
fn json_of(node: &Node, arguments: &[&str]) -> Value {
    let ended = buffer(node, &[arguments, &["--output", "json"]].concat());
    assert_eq!(ended.code, Some(0), "{ended}");
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Shown, verified, exported; dropped; put back; delivered once, in order.
fn round_trip(node: &Node) {
    let stat = json_of(node, &["stat"]);
    let sink = &stat["sinks"][0];
    assert_eq!((&sink["sink"], &sink["events"]), (&json!("out"), &json!(3_000)), "{stat}");
    assert!(sink["bytes"].as_u64().unwrap() < 3_000 * 100, "it is packed: {stat}");
    let fsck = json_of(node, &["fsck"]);
    assert_eq!((&fsck["damaged"], &fsck["missing"]), (&json!(0), &json!(0)), "{fsck}");
    let exported = json_of(node, &["export", "--sink", "out", "-o", "export.ndjson"]);
    assert_eq!((&exported["events"], &exported["problems"]), (&json!(3_000), &json!([])), "{exported}");
    let export = node.path("export.ndjson");
    assert_eq!(fs::metadata(&export).unwrap().permissions().mode() & 0o777, 0o600);
    let lines = fs::read_to_string(&export).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["document"]["n"], &first["stream"]["pod"]), (&json!(0), &json!("cart")), "{first}");

    assert_eq!(buffer(node, &["drop", "--sink", "out"]).code, Some(2), "nothing without --yes");
    let dropped = json_of(node, &["drop", "--sink", "out", "--yes"]);
    assert!(dropped["amount"]["events"].as_u64().unwrap() <= 3_000, "{dropped}");
    let again = buffer(node, &["replay", "--sink", "out", "export.ndjson"]);
    assert_eq!(again.code, Some(0), "{again}");
}

#[test]
fn beside_a_running_agent() {
    let (node, agent) = dead_sink();
    round_trip(&node);
    let account = agent.admin().ledger().account("all", "out");
    account.check();
    // What was in the sink's hands was not dropped.
    let dropped = account.events_for("given_up");
    assert!(dropped > 0 && dropped <= 3_000, "{account:?}");
    until("all of it waits on disk", || on_disk(&agent) == 3_000 + (3_000 - dropped));
    node.heal_output();
    let out = node.path("real.ndjson");
    until("all of it arrives", || count(&out) as u64 == 6_000 - dropped);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    node.ledger().account("all", "out").check();
    let mut there = numbers(&out);
    there.sort_unstable();
    there.dedup();
    assert_eq!(there, (0..3_000).collect::<Vec<_>>());
}

#[test]
fn without_an_agent() {
    let (node, agent) = dead_sink();
    agent.kill();
    round_trip(&node);
    let account = node.ledger().account("all", "out");
    account.check();
    assert_eq!((account.events_for("given_up"), account.buffered["disk"].events), (3_000, 3_000));
    fs::remove_dir_all(node.path("pods")).unwrap();
    node.heal_output();
    node.run_once_well();
    assert_eq!(numbers(&node.path("real.ndjson")), (0..3_000).collect::<Vec<_>>(), "each once, in order");
    node.ledger().account("all", "out").check();
    let wrong = buffer(&node, &["export", "--sink", "other"]);
    assert!(wrong.code == Some(1) && wrong.log.contains("other"), "{wrong}");
}
