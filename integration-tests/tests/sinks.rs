//! Several pipelines and sinks: who waits for whom, and who does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use integration_tests::{Agent, Node, count, numbers, until};
use serde_json::{Value, json};

fn small_events(range: std::ops::Range<u64>) -> impl Iterator<Item = String> {
    range.map(|n| json!({"n": n, "text": "x".repeat(100)}).to_string())
}

/// An event of a hundred times the size, to fill a sink's memory quickly.
fn large_events(range: std::ops::Range<u64>) -> impl Iterator<Item = String> {
    range.map(|n| json!({"n": n, "text": "x".repeat(10_000)}).to_string())
}

#[test]
fn every_sink_gets_every_event_and_pipelines_see_their_own_sources() {
    let node = Node::new();
    node.configure(
        "
sources:
  shop: {type: kubernetes_logs, path: pods, exclude_namespaces: [bank]}
  bank: {type: kubernetes_logs, path: pods, exclude_namespaces: [shop]}
pipelines:
  one: {from: [shop], to: [a, b]}
  two: {from: [shop, bank], to: [b, c], weight: 10}
sinks:
  a: {type: file, path: a.ndjson}
  b: {type: file, path: b.ndjson}
  c: {type: file, path: c.ndjson}
",
    );
    node.pod("shop_cart_u1").lines(small_events(0..5_000));
    node.pod("bank_till_u2").lines(small_events(5_000..9_000));
    node.run_once_well();
    let sorted = |name: &str| {
        let mut read = numbers(&node.path(name));
        read.sort_unstable();
        read
    };
    let twice: Vec<u64> = (0..5_000).flat_map(|n| [n, n]).chain(5_000..9_000).collect();
    assert_eq!(sorted("a.ndjson"), (0..5_000).collect::<Vec<_>>());
    assert_eq!(sorted("b.ndjson"), twice);
    assert_eq!(sorted("c.ndjson"), (0..9_000).collect::<Vec<_>>());
    let ledger = node.ledger();
    for (pipeline, sink, count) in
        [("one", "a", 5_000), ("one", "b", 5_000), ("two", "b", 9_000), ("two", "c", 9_000)]
    {
        assert_eq!(ledger.account(pipeline, sink).delivered.events, count, "{pipeline} {sink}");
    }
    assert_eq!(ledger.accounts.len(), 4);
}

#[test]
fn the_console_prints_documents_and_nothing_else() {
    let node = Node::new();
    node.configure(
        "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [screen, out]}}
sinks: {screen: {type: console}, out: {type: file, path: out.ndjson}}
",
    );
    node.pod("shop_cart_u1").lines(small_events(0..3_000));
    let ended = node.run_once_well();
    assert!(ended.stdout == fs::read_to_string(node.path("out.ndjson")).unwrap());
    assert!(ended.log.contains("delivered"), "the ledger goes to standard error: {ended}");
}

/// Nobody reads the console's pipe: its own pipeline stands, the other goes on. When somebody reads, all of it comes.
#[test]
fn a_sink_that_is_blocked_holds_its_own_pipeline_only() {
    let node = Node::new();
    node.configure(
        "
sources:
  shop: {type: kubernetes_logs, path: pods, exclude_namespaces: [bank]}
  bank: {type: kubernetes_logs, path: pods, exclude_namespaces: [shop]}
pipelines:
  blocked: {from: [shop], to: [screen]}
  free: {from: [bank], to: [out]}
sinks: {screen: {type: console}, out: {type: file, path: out.ndjson}}
",
    );
    let (blocked, free) = (4_000, 20_000);
    node.pod("shop_cart_u1").lines(large_events(0..blocked));
    node.pod("bank_till_u2").lines(small_events(0..free));
    let (agent, stdout) = Agent::spawn_piped(node.command(&["run", "-c", "weir.yaml"]), &node.path("data"));
    agent.wait_until_ready();
    let out = node.path("out.ndjson");
    until("the free pipeline is done", || count(&out) == free);
    let ledger = agent.admin().ledger();
    assert!(ledger.account("free", "out").is_settled());
    assert_eq!(numbers(&out), (0..free).collect::<Vec<_>>());
    let account = ledger.account("blocked", "screen");
    assert_eq!(
        (account.delivered.events, account.lost_events()),
        (0, 0),
        "a segment is more than a pipe holds"
    );
    let metrics = agent.admin().metrics();
    let screen = [("sink", "screen")];
    assert!(
        metrics.count("weir_buffer_used_bytes", &screen) <= metrics.count("weir_buffer_bound_bytes", &screen)
    );

    let mut screen = BufReader::new(stdout).lines();
    for n in 0..blocked {
        let document: Value = serde_json::from_str(&screen.next().unwrap().unwrap()).unwrap();
        assert_eq!(document["n"], n);
    }
    until("it is settled", || {
        agent.admin().ledger().account("blocked", "screen").delivered.events == blocked
    });
    assert_eq!(agent.terminate().code, Some(0));
    node.run_once_well();
    assert_eq!(node.ledger().account("blocked", "screen").read.events, blocked);
}

/// Asked to stop, the agent does not wait for ever for somebody who does not read.
#[test]
fn a_stop_does_not_wait_for_a_sink_that_is_blocked() {
    let node = Node::new();
    node.configure(
        "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [screen]}}
sinks: {screen: {type: console}}
",
    );
    node.pod("shop_cart_u1").lines(large_events(0..1_000));
    let (agent, _unread) = Agent::spawn_piped(node.command(&["run", "-c", "weir.yaml"]), &node.path("data"));
    agent.wait_until_ready();
    until("all is read", || agent.admin().ledger().account("all", "screen").read.events == 1_000);
    let asked = Instant::now();
    let ended = agent.terminate();
    assert!(ended.code == Some(0) && asked.elapsed() < Duration::from_secs(20), "{ended}");
    assert_eq!(node.ledger().accounts, [], "nothing arrived");
    let ended = node.run_once_well();
    assert_eq!(ended.stdout.lines().count(), 1_000);
}

/// Best effort: what does not fit is lost and counted, and the other sink of the same pipeline does not notice.
#[test]
fn a_best_effort_sink_loses_events_rather_than_hold_back_another() {
    let node = Node::new();
    node.configure(
        "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [screen, out]}}
sinks: {screen: {type: console, best_effort: true}, out: {type: file, path: out.ndjson}}
",
    );
    // Twice the memory of a sink.
    let all = 3_500;
    node.pod("shop_cart_u1").lines(large_events(0..all));
    let (agent, mut stdout) =
        Agent::spawn_piped(node.command(&["run", "-c", "weir.yaml"]), &node.path("data"));
    let out = node.path("out.ndjson");
    until("the other sink has everything", || count(&out) == all);
    let ledger = agent.admin().ledger();
    assert_eq!(ledger.account("all", "out").delivered.events, all);
    let account = ledger.account("all", "screen");
    let lost = account.events_for("buffer_full");
    assert!(lost > 0 && lost < all, "{account:?}");
    assert_eq!((account.read.events, account.delivered.events), (all, 0));

    // Somebody reads at last: what was kept is printed.
    let reader = std::thread::spawn(move || {
        let mut printed = String::new();
        stdout.read_to_string(&mut printed).unwrap();
        printed.lines().count() as u64
    });
    until("it is settled", || agent.admin().ledger().account("all", "screen").is_settled());
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(reader.join().unwrap(), all - lost);
    assert_eq!(numbers(&out), (0..all).collect::<Vec<_>>());
    let account = node.ledger().account("all", "screen");
    assert_eq!((account.delivered.events, account.events_for("buffer_full")), (all - lost, lost));
    // The position moved on without waiting for the console, and a run that loses nothing ends well.
    let ended = node.run_once_well();
    assert_eq!(count(&out), all, "{ended}");
}

const TWO_SINKS: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [out, extra]}}
sinks:
  out: {type: file, path: out.ndjson}
  extra: {type: file, path: extra.ndjson, best_effort: true}
";

/// What a best-effort sink took of a batch that another did not is read again with it, and counted once.
#[test]
fn a_best_effort_sink_that_is_ahead_at_a_crash_is_counted_once() {
    let node = Node::new();
    node.configure(TWO_SINKS);
    let (out, extra) = (node.path("out.ndjson"), node.path("extra.ndjson"));
    symlink("/dev/full", &out).unwrap();
    node.pod("shop_cart_u1").lines(small_events(0..100));
    let agent = node.start();
    until("the best-effort sink has everything", || count(&extra) == 100);
    agent.kill();
    assert_eq!(node.ledger().accounts, []);
    fs::remove_file(&out).unwrap();
    node.run_once_well();
    assert_eq!((count(&out), count(&extra)), (100, 200));
    for sink in ["out", "extra"] {
        let account = node.ledger().account("all", sink);
        assert_eq!((account.read.events, account.delivered.events), (100, 100), "{sink}");
    }
}

/// What only lay in memory for a best-effort sink is lost with the agent, and counted.
#[test]
fn a_best_effort_sink_that_is_behind_at_a_crash_has_lost_events() {
    let node = Node::new();
    node.configure(TWO_SINKS);
    let (out, extra) = (node.path("out.ndjson"), node.path("extra.ndjson"));
    symlink("/dev/full", &extra).unwrap();
    node.pod("shop_cart_u1").lines(small_events(0..100));
    let agent = node.start();
    until("the other sink has everything", || count(&out) == 100);
    let is_safe = || {
        fs::read_to_string(node.path("data/checkpoint"))
            .unwrap_or_default()
            .contains("\"delivered\":{\"events\":100")
    };
    until("the checkpoint knows", is_safe);
    agent.kill();
    for _ in 0..2 {
        let ledger = node.ledger();
        assert_eq!(ledger.account("all", "out").delivered.events, 100);
        let account = ledger.account("all", "extra");
        assert_eq!((account.read.events, account.events_for("agent_ended")), (100, 100), "{account:?}");
        fs::remove_file(&extra).ok();
        node.run_once_well();
    }
    assert_eq!((count(&out), count(&extra)), (100, 0));
}

/// A sink that fails holds back its pipeline and those that share its source, and nobody else.
#[test]
fn a_sink_that_fails_holds_back_who_shares_its_source() {
    let node = Node::new();
    node.configure(
        "
sources:
  shop: {type: kubernetes_logs, path: pods, exclude_namespaces: [bank]}
  bank: {type: kubernetes_logs, path: pods, exclude_namespaces: [shop]}
pipelines:
  failing: {from: [shop], to: [full]}
  sharing: {from: [shop], to: [shared]}
  free: {from: [bank], to: [out]}
sinks:
  full: {type: file, path: full.ndjson}
  shared: {type: file, path: shared.ndjson}
  out: {type: file, path: out.ndjson}
",
    );
    let full = node.path("full.ndjson");
    symlink("/dev/full", &full).unwrap();
    node.pod("shop_cart_u1").lines(large_events(0..5_000));
    node.pod("bank_till_u2").lines(small_events(0..20_000));
    let agent = node.start();
    until("the free pipeline is done", || count(&node.path("out.ndjson")) == 20_000);
    until("the sink fails", || agent.admin().metrics().count("weir_sink_failing", &[("sink", "full")]) == 1);
    let ledger = agent.admin().ledger();
    assert!(ledger.account("free", "out").is_settled());
    assert_eq!(ledger.account("failing", "full").delivered.events, 0);
    let shared = ledger.account("sharing", "shared");
    assert!(shared.read.events < 5_000, "the source waits: {shared:?}");

    // The disk is replaced by one with room; the next try finds it.
    fs::remove_file(&full).unwrap();
    until("the failing pipeline is done", || count(&full) == 5_000);
    until("the sharing pipeline is done", || count(&node.path("shared.ndjson")) == 5_000);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(numbers(&full), (0..5_000).collect::<Vec<_>>());
    assert_eq!(numbers(&node.path("shared.ndjson")), (0..5_000).collect::<Vec<_>>());
}
