//! An agent that follows: new files, rotated files, a stop and a start in the middle of it all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use integration_tests::{Node, count, numbers, own_members, parse, until};
use rustix::process::Signal;
use serde_json::json;

const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

fn event(n: u64) -> String {
    json!({"n": n}).to_string()
}

#[test]
fn a_new_file_is_seen_within_a_second() {
    let node = Node::new();
    node.configure(CONFIG);
    let agent = node.start();
    let out = node.path("out.ndjson");
    // Linger included. Of a few tries the best counts: the machine may be busy with other tests.
    let mut fastest = Duration::MAX;
    for n in 0..3 {
        let created = Instant::now();
        let mut log = node.pod(&format!("shop_cart_u{n}"));
        log.line(event(n));
        until("the line is there", || count(&out) == n + 1);
        fastest = fastest.min(created.elapsed());
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    assert_eq!(agent.terminate().code, Some(0));
}

#[test]
fn rotated_files_are_read_to_their_end() {
    let node = Node::new();
    node.configure(CONFIG);
    let agent = node.start();
    let mut log = node.pod("shop_cart_u1");
    let mut n = 0;
    for _ in 0..5 {
        for _ in 0..200 {
            log.line(event(n));
            n += 1;
        }
        let rotated = log.rotate();
        // The runtime may write to the old file for a moment after the new one is there.
        let mut old = fs::File::options().append(true).open(rotated).unwrap();
        writeln!(old, "2026-11-22T10:59:59.000000123Z stdout F {}", event(n)).unwrap();
        n += 1;
    }
    log.line(event(n));
    let out = node.path("out.ndjson");
    until("all lines are there", || count(&out) == n + 1);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(numbers(&out), (0..=n).collect::<Vec<_>>(), "in order");
    assert_eq!(node.ledger().account("all", "out").delivered.events, n + 1);
}

#[test]
fn what_was_rotated_before_the_start_is_read_too() {
    let node = Node::new();
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    for file in 0..4 {
        log.lines((file * 100..file * 100 + 100).map(event));
        if file < 3 {
            log.rotate();
        }
    }
    node.run_once_well();
    assert_eq!(numbers(&node.path("out.ndjson")), (0..400).collect::<Vec<_>>());
}

#[test]
fn a_record_in_parts_is_joined_across_a_rotation_and_a_restart() {
    let node = Node::new();
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    let out = node.path("out.ndjson");
    let agent = node.start();
    log.record("stdout P", "one,");
    log.record("stderr F", "between");
    log.rotate();
    log.record("stdout P", "two,");
    log.record("stdout F", "three");
    until("the record is there", || count(&out) == 2);
    log.record("stdout P", "four,");
    log.record("stderr F", "again between");
    until("what is whole is there", || count(&out) == 3);
    assert_eq!(agent.terminate().code, Some(0));

    let agent = node.start();
    log.rotate();
    log.record("stdout F", "five");
    until("the other record is there", || count(&out) == 4);
    assert_eq!(agent.terminate().code, Some(0));
    let messages: Vec<_> =
        parse(&out).iter().map(|document| own_members(document)["message"].clone()).collect();
    assert_eq!(messages, ["between", "one,two,three", "again between", "four,five"]);
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events), (4, 4));
}

/// Asked to stop in the middle of a burst, the agent brings what it has read to its place and no line twice.
#[test]
fn a_stop_drains_and_a_start_goes_on() {
    let node = Node::new();
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    let out = node.path("out.ndjson");
    let mut written = 0;
    for round in 0..4 {
        let agent = node.start();
        log.lines((written..written + 100_000).map(event));
        written += 100_000;
        log.rotate();
        until("some of it is there", || {
            fs::metadata(&out).is_ok_and(|out| out.len() > 1_000_000 * (round + 1))
        });
        let asked = Instant::now();
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{ended}");
        assert!(asked.elapsed() < Duration::from_secs(20), "{ended}");
        let account = node.ledger().account("all", "out");
        assert_eq!(account.read, account.delivered, "what was read is delivered");
        assert_eq!(account.delivered.events, count(&out));
    }
    node.run_once_well();
    let read = numbers(&out);
    assert!(read.iter().copied().eq(0..written), "{} of {written} events, in order", read.len());
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events), (written, written));
}

#[test]
fn a_deleted_file_is_read_to_its_end() {
    let node = Node::new();
    node.configure(CONFIG);
    let agent = node.start();
    let mut log = node.pod("shop_cart_u1");
    let out = node.path("out.ndjson");
    log.line(event(0));
    until("the file is followed", || count(&out) == 1);
    log.lines((1..50_000).map(event));
    fs::remove_dir_all(node.path("pods/shop_cart_u1")).unwrap();
    until("all lines are there", || count(&out) == 50_000);
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(numbers(&out), (0..50_000).collect::<Vec<_>>());
}

/// More files than may be open at once: those that are quiet are closed, and opened again when they grow.
#[test]
fn many_files_are_followed_with_few_of_them_open() {
    const STEP: u64 = 50;
    let node = Node::new();
    node.configure(CONFIG);
    let agent = node.start_with(node.command_with_open_files(160, &["run", "-c", "weir.yaml"]));
    let out = node.path("out.ndjson");
    let mut logs = Vec::new();
    let mut written = 0;
    for _ in 0..6 {
        logs.extend((0..STEP).map(|pod| node.pod(&format!("shop_cart-{pod}_u{}", written + pod))));
        for log in logs.iter_mut().rev().take(STEP as usize) {
            log.line(event(written));
            written += 1;
        }
        until("all lines are there", || count(&out) == written);
    }
    for log in logs.iter_mut().step_by(7) {
        log.line(event(written));
        written += 1;
    }
    until("the new lines are there", || count(&out) == written);
    let open = agent.admin().metrics().count("process_open_fds", &[]);
    assert!(open < 160, "{open} of 160 files are open");
    agent.signal(Signal::INT);
    let ended = agent.wait();
    assert_eq!(ended.code, Some(0), "an interrupt is a stop like another: {ended}");
    assert!(!ended.log.contains("oo many"), "{ended}");
    let mut read = numbers(&out);
    read.sort_unstable();
    assert!(read.iter().copied().eq(0..written));
}

/// Text files that are truncated in place, as `copytruncate` does, begin anew.
#[test]
fn a_truncated_file_begins_anew() {
    let node = Node::new();
    node.configure(
        "
sources: {app: {type: file, include: [logs/*.log]}}
pipelines: {all: {from: [app], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
",
    );
    fs::create_dir(node.path("logs")).unwrap();
    let path = node.path("logs/app.log");
    let mut file = fs::File::options().create(true).append(true).open(&path).unwrap();
    let agent = node.start();
    let out = node.path("out.ndjson");
    let mut written = 0;
    for round in 0..3 {
        let first = round * 100;
        let text: String = (first..first + 100 - round).map(|n| event(n) + "\n").collect();
        file.write_all(text.as_bytes()).unwrap();
        written += 100 - round;
        until("the lines are there", || count(&out) == written);
        file.set_len(0).unwrap();
        // An empty file is one thing, the next lines are another.
        until("the truncation is seen", || agent.log().matches("begins anew").count() as u64 == round + 1);
    }
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(numbers(&out), (0..100).chain(100..199).chain(200..298).collect::<Vec<_>>());
    let document = &parse(&out)[0];
    assert_eq!(document["log"], json!({"file": {"path": path}, "offset": 0}));
}

#[test]
fn reading_may_begin_at_the_end_of_what_is_there() {
    let node = Node::new();
    node.configure(&CONFIG.replace("path: pods", "path: pods, read_from: end"));
    let mut log = node.pod("shop_cart_u1");
    let out = node.path("out.ndjson");
    log.lines((0..100).map(event));
    let agent = node.start();
    let files = || agent.admin().metrics().count("weir_source_files", &[("source", "pods")]);
    until("the file is followed", || files() == 1);
    log.lines((100..200).map(event));
    node.pod("shop_later_u2").line(event(1000));
    until("what is new is there", || count(&out) == 101);
    assert_eq!(agent.terminate().code, Some(0));
    log.lines((200..300).map(event));
    node.run_once_well();
    let mut read = numbers(&out);
    read.sort_unstable();
    assert_eq!(read, (100..300).chain([1000]).collect::<Vec<_>>());
}

#[test]
fn excluded_pods_and_the_agents_own_are_not_read() {
    let node = Node::new();
    node.configure(
        &CONFIG.replace("path: pods", "path: pods, exclude_namespaces: [kube-*], exclude_pods: [noisy-?]"),
    );
    for (n, pod) in
        ["shop_cart_u1", "kube-system_etcd_u2", "shop_noisy-1_u3", "shop_noisy-12_u4", "weir_agent-x_u5"]
            .iter()
            .enumerate()
    {
        node.pod(pod).line(event(n as u64));
    }
    let mut command = node.command(&["run", "-c", "weir.yaml", "--once"]);
    command.env("POD_NAMESPACE", "weir").env("POD_NAME", "agent-x");
    let ended = integration_tests::Agent::spawn(command, &node.path("data")).wait();
    assert_eq!(ended.code, Some(0), "{ended}");
    let mut read = numbers(&node.path("out.ndjson"));
    read.sort_unstable();
    assert_eq!(read, [0, 3]);
}
