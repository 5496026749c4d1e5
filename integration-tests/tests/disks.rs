//! Disks that are full, read-only or damaged: the agent says so, waits where waiting helps, and loses nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use integration_tests::{Agent, Node, count, lines, numbers, until};
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::json;

const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

fn events(range: std::ops::Range<u64>) -> impl Iterator<Item = String> {
    range.map(|n| json!({"n": n, "text": "some text that takes room on a disk"}).to_string())
}

fn limit_files(agent: &Agent, bytes: Option<u64>) {
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Some(agent.pid()), Resource::Fsize, limit).unwrap();
}

/// The output fills up, and the checkpoints' disk with it; when there is room again, all goes on where it stopped.
#[test]
fn a_full_disk_holds_events_back_until_there_is_room() {
    let node = Node::new();
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    let agent = node.start_with(node.command_under_file_limit(&["run", "-c", "weir.yaml"]));
    log.lines(events(0..100));
    let out = node.path("out.ndjson");
    until("the first lines are there", || count(&out) == 100);

    // In the middle of a document.
    limit_files(&agent, Some(fs::metadata(&out).unwrap().len() + 10_000));
    log.lines(events(100..5_000));
    let failing = || agent.admin().metrics().count("weir_sink_failing", &[("sink", "out")]) == 1;
    until("the sink fails", failing);
    assert_eq!(numbers(&out), (0..100).collect::<Vec<_>>(), "no part of what did not fit is left");
    let account = agent.admin().ledger().account("all", "out");
    assert_eq!((account.delivered.events, account.lost_events()), (100, 0));
    assert_eq!(agent.admin().get("/healthz").status, 200, "it lives");
    assert!(agent.log().contains("out.ndjson") && agent.log().contains("File too large"), "{}", agent.log());

    limit_files(&agent, None);
    until("everything is there", || count(&out) == 5_000);
    until("the sink works", || !failing());
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(numbers(&out), (0..5_000).collect::<Vec<_>>(), "each once, in order");
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events), (5_000, 5_000));
}

/// A stop does not wait for ever for room; what was not written is read again.
#[test]
fn an_agent_that_stops_on_a_full_disk_loses_nothing() {
    let node = Node::new();
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    let agent = node.start_with(node.command_under_file_limit(&["run", "-c", "weir.yaml"]));
    log.lines(events(0..100));
    let out = node.path("out.ndjson");
    until("the first lines are there", || count(&out) == 100);
    // Room for the checkpoints, which are small, but not for more documents.
    limit_files(&agent, Some(fs::metadata(&out).unwrap().len()));
    log.lines(events(100..200));
    until("the sink fails", || agent.admin().metrics().count("weir_sink_failing", &[("sink", "out")]) == 1);
    let ended = agent.terminate();
    assert!(ended.wall.as_secs() < 25, "{ended}");
    assert!(ended.log.contains("undelivered"), "{ended}");
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events), (100, 100));
    node.run_once_well();
    assert_eq!(numbers(&out), (0..200).collect::<Vec<_>>());
}

/// A single run cannot wait for somebody to make room.
#[test]
fn a_single_run_onto_a_full_disk_fails_and_the_next_delivers() {
    let node = Node::new();
    node.configure(CONFIG);
    let out = node.path("out.ndjson");
    symlink("/dev/full", &out).unwrap();
    node.pod("shop_cart_u1").lines(events(0..100));
    let ended = node.run_once();
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(
        ended.log.contains("No space left on device") && ended.log.contains("free some space"),
        "{ended}"
    );
    assert_eq!(node.ledger().accounts, []);
    fs::remove_file(&out).unwrap();
    node.run_once_well();
    assert_eq!(numbers(&out), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_read_only_data_folder_is_refused() {
    let node = Node::new();
    node.configure(CONFIG);
    node.pod("shop_cart_u1").lines(events(0..10));
    let data = node.path("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o500)).unwrap();
    for arguments in [&["run", "-c", "weir.yaml", "--once"][..], &["run", "-c", "weir.yaml"]] {
        let ended = Agent::spawn(node.command_bound_by_modes(arguments), &data).wait();
        assert_eq!(ended.code, Some(1), "{ended}");
        assert!(
            ended.log.contains(data.to_str().unwrap()) && ended.log.contains("Permission denied"),
            "{ended}"
        );
        assert!(!ended.log.contains("panicked"), "{ended}");
    }
    assert_eq!(lines(&node.path("out.ndjson")).len(), 0);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    node.run_once_well();
    assert_eq!(numbers(&node.path("out.ndjson")), (0..10).collect::<Vec<_>>());
}

/// The checkpoint before a damaged one is used: some events come again, none is lost.
#[test]
fn a_damaged_checkpoint_reads_again_what_it_does_not_know() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("a changed byte", |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("cut", |path| fs::File::options().write(true).open(path).unwrap().set_len(40).unwrap()),
        ("empty", |path| fs::write(path, "").unwrap()),
        ("other content", |path| fs::write(path, "not a checkpoint\n").unwrap()),
    ];
    for (name, damage) in damages {
        let node = Node::new();
        node.configure(CONFIG);
        let mut log = node.pod("shop_cart_u1");
        let out = node.path("out.ndjson");
        for round in 0..3 {
            log.lines(events(round * 100..round * 100 + 100));
            node.run_once_well();
        }
        assert_eq!(lines(&out).len(), 300);
        damage(&node.path("data/checkpoint"));
        log.lines(events(300..400));
        let ended = node.run_once_well();
        assert!(ended.log.contains("previous checkpoint"), "{name}: {ended}");
        let mut read = numbers(&out);
        read.sort_unstable();
        read.dedup();
        assert_eq!(read, (0..400).collect::<Vec<_>>(), "{name}");
        let account = node.ledger().account("all", "out");
        assert_eq!(
            (account.read.events, account.lost_events()),
            (400, 0),
            "{name}: each event is counted once"
        );
    }
}

/// Where there is nothing to fall back on, a person decides.
#[test]
fn checkpoints_that_are_all_damaged_stop_the_start() {
    let node = Node::new();
    node.configure(CONFIG);
    node.pod("shop_cart_u1").lines(events(0..10));
    node.run_once_well();
    for name in ["checkpoint", "checkpoint.previous"] {
        node.write(&format!("data/{name}"), "weir-checkpoint 1 00000000 5\nhello");
    }
    for arguments in [
        &["run", "-c", "weir.yaml", "--once"][..],
        &["run", "-c", "weir.yaml"],
        &["ledger", "-c", "weir.yaml"],
    ] {
        let ended = node.weir(arguments);
        assert_eq!(ended.code, Some(1), "{ended}");
        assert!(
            ended.log.contains("data/checkpoint is damaged") && ended.log.contains("move it away"),
            "{ended}"
        );
    }
    node.write("data/checkpoint", "weir-checkpoint 2 00000000 5\nhello");
    let ended = node.run_once();
    assert!(ended.code == Some(1) && ended.log.contains("newer version"), "{ended}");

    for name in ["checkpoint", "checkpoint.previous"] {
        fs::remove_file(node.path("data").join(name)).unwrap();
    }
    node.run_once_well();
    let twice: Vec<u64> = (0..10).chain(0..10).collect();
    assert_eq!(numbers(&node.path("out.ndjson")), twice);
}

/// A part of a document that a crash left at the end of the output is cut off.
#[test]
fn a_part_of_a_document_at_the_end_of_the_output_is_cut_off() {
    let node = Node::new();
    node.configure(CONFIG);
    node.pod("shop_cart_u1").lines(events(0..10));
    node.write("out.ndjson", "{\"n\":1000}\n{\"n\":1001,\"a\":\"unfini");
    node.run_once_well();
    let expected: Vec<u64> = [1000].into_iter().chain(0..10).collect();
    assert_eq!(numbers(&node.path("out.ndjson")), expected);
}

/// An output that somebody moves away is begun anew at its place.
#[test]
fn an_output_that_is_moved_away_is_begun_anew() {
    let node = Node::new();
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    let agent = node.start();
    let (out, moved) = (node.path("out.ndjson"), node.path("moved.ndjson"));
    log.lines(events(0..100));
    until("the first lines are there", || count(&out) == 100);
    fs::rename(&out, &moved).unwrap();
    let mut next = 100;
    until("the file is there again", || {
        log.lines(events(next..next + 10));
        next += 10;
        out.is_file()
    });
    assert_eq!(agent.terminate().code, Some(0));
    node.run_once_well();
    let all: Vec<u64> = numbers(&moved).into_iter().chain(numbers(&out)).collect();
    assert!(all.iter().copied().eq(0..next), "{} of {next} events", all.len());
}

#[test]
fn an_output_rotates_between_documents() {
    let node = Node::new();
    node.configure(&CONFIG.replace("out.ndjson", "out.ndjson, rotate: {size: 64KiB, keep: 100}"));
    node.pod("shop_cart_u1").lines(events(0..5_000));
    node.run_once_well();
    let mut files: Vec<_> = fs::read_dir(node.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("out.ndjson"))
        .collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    let mut read = Vec::new();
    for file in &files {
        assert!(fs::metadata(file).unwrap().len() <= 64 * 1024);
        read.extend(numbers(file));
    }
    read.sort_unstable();
    assert_eq!(read, (0..5_000).collect::<Vec<_>>());
}
