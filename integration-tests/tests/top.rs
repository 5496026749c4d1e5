//! `weir top` from outside: where it is no terminal, and once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};

use integration_tests::{Agent, Node, until};
use rustix::process::Signal;
use serde_json::Value;

const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
plugins:
  sampler: {artifact: file:plugins/log-sampler.wasm, config: {field: level, rates: {debug: 0}}}
pipelines: {all: {from: [pods], stages: [sampler], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

#[test]
fn it_shows_what_happens_between_two_looks() {
    let node = Node::with_compiled(&["log-sampler"]);
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    let agent = node.start();
    let admin = agent.admin();
    log.lines(["{\"level\":\"debug\"}", "{\"level\":\"info\"}"]);
    until("the events are delivered", || admin.ledger().account("all", "out").delivered.events == 1);

    let once = node.weir(&["top", "-c", "weir.yaml", "--once", "--interval", "100ms"]);
    assert_eq!(once.code, Some(0), "{once}");
    for part in [
        "PIPELINE",
        "all",
        "sampled sampler.level=debug: 0/s, 1 in all",
        "SINK",
        "SOURCE",
        "sampler",
        "ready",
    ] {
        assert!(once.stdout.contains(part), "{part}: {once}");
    }
    assert!(!once.stdout.contains('\x1b'), "{once}");

    // One object a line until it is ended; what happens meanwhile is in one of them.
    let command = node.command(&["top", "-c", "weir.yaml", "--interval", "200ms", "--output", "json"]);
    let (top, stdout) = Agent::spawn_piped(command, &node.path("data"));
    let mut looks =
        BufReader::new(stdout).lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    looks.next().unwrap();
    log.lines((0..50).map(|n| format!("{{\"level\":\"{}\"}}", if n % 5 == 0 { "debug" } else { "info" })));
    let mut counted = [0.0, 0.0, 0.0];
    while counted[0] < 49.5 || counted[1] < 39.5 {
        let look = looks.next().unwrap();
        let (seconds, pipeline) = (look["agent"]["seconds"].as_f64().unwrap(), &look["pipelines"][0]);
        for (sum, key) in
            counted.iter_mut().zip(["read_per_second", "delivered_per_second", "dropped_per_second"])
        {
            *sum += pipeline[key].as_f64().unwrap() * seconds;
        }
        let bound = &look["agent"]["memory_bound_bytes"];
        assert_eq!(bound.as_u64(), Some(256 << 20));
        assert_eq!(look["plugins"][0]["state"], "healthy");
    }
    for (counted, expected) in counted.iter().zip([50.0, 40.0, 10.0]) {
        assert!((counted - expected).abs() < 0.01, "{counted} of {expected}");
    }
    top.signal(Signal::INT);
    assert_eq!(top.wait().code, Some(0));

    let plain = node.command(&["top", "-c", "weir.yaml", "--interval", "100ms"]);
    let (plain, stdout) = Agent::spawn_piped(plain, &node.path("data"));
    let heads = BufReader::new(stdout).lines().filter(|line| line.as_ref().unwrap().starts_with("weir "));
    assert_eq!(heads.take(2).count(), 2);
    assert_eq!(agent.terminate().code, Some(0));
    let plain = plain.wait();
    // Nobody reads any more, or there is no agent any more, whichever it saw first.
    assert!(plain.code.is_some(), "{plain}");

    let nobody = node.weir(&["top", "-c", "weir.yaml"]);
    assert_eq!(nobody.code, Some(1), "{nobody}");
    assert!(nobody.log.contains("no agent runs"), "{nobody}");
    let wrong = node.weir(&["top", "-c", "weir.yaml", "--sort", "colour"]);
    assert_eq!(wrong.code, Some(2), "{wrong}");
}
