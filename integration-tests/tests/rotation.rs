//! Rotation, compression, joined lines and kills, seen from outside: every line arrives, and again only under its id.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration_tests::{Node, count, own_members, parse, until};
use serde_json::{Value, json};

const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

/// A line of a fixed length, so that files of as many lines are as long.
fn fixed(n: u64) -> String {
    json!({"n": format!("{n:08}")}).to_string()
}

fn number(document: &Value) -> u64 {
    own_members(document)["n"].as_str().unwrap().parse().unwrap()
}

/// The number in the last whole line of a file.
fn last(out: &Path) -> Option<u64> {
    let text = fs::read_to_string(out).ok()?;
    let last = text.rsplit_once('\n')?.0.rsplit('\n').next()?;
    serde_json::from_str(last).ok().as_ref().map(number)
}

/// Where a document came from: what its id is made of.
fn place(document: &Value) -> (String, u64) {
    (document["@timestamp"].as_str().unwrap().to_owned(), document["log"]["offset"].as_u64().unwrap())
}

/// 200 rotations on one file system, on four nodes at once, each of which keeps five files: inodes are used again and
/// again, for files of the same length. The agents are killed now and then.
#[test]
fn inodes_that_are_used_again_cost_and_double_nothing() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(rotate_50_times);
        }
    });
}

fn rotate_50_times() {
    const ROTATIONS: u64 = 50;
    const LINES: u64 = 50;
    let node = Node::new();
    // Looked at often, so that the test is short.
    node.configure(&CONFIG.replace("path: pods", "path: pods, linger: 20ms"));
    let mut log = node.pod("shop_cart_u1");
    let out = node.path("out.ndjson");
    let mut agent = node.start();
    let mut inodes = HashMap::new();
    let mut kept = VecDeque::new();
    let mut written = 0;
    for rotation in 0..ROTATIONS {
        log.lines((written..written + LINES).map(fixed));
        written += LINES;
        *inodes.entry(fs::metadata(log.path()).unwrap().ino()).or_insert(0) += 1;
        if rotation % 10 == 9 {
            agent.signal(rustix::process::Signal::KILL);
            agent.wait();
            agent = node.start();
        }
        // What is deleted must have been read: nobody can read what was gone before it was looked at.
        // What came twice after a kill does not count.
        until("the lines are there", || last(&out).is_some_and(|last| last + LINES + 1 >= written));
        kept.push_back(log.rotate());
        if kept.len() > 4 {
            fs::remove_file(kept.pop_front().unwrap()).unwrap();
        }
    }
    log.line(fixed(written));
    until("the last line is there", || last(&out) == Some(written));
    assert_eq!(agent.terminate().code, Some(0));
    // How many depends on what else makes files on this file system.
    assert!(inodes.len() < ROTATIONS as usize, "no inode was used again");
    let mut numbers = HashMap::new();
    for document in parse(&out) {
        let known = numbers.insert(place(&document), number(&document));
        assert!(known.is_none_or(|known| known == number(&document)), "one place, one line");
    }
    let mut numbers: Vec<u64> = numbers.into_values().collect();
    numbers.sort_unstable();
    let missing: Vec<u64> = (0..=written).filter(|n| numbers.binary_search(n).is_err()).take(9).collect();
    assert_eq!((missing, numbers.len() as u64), (Vec::new(), written + 1));
}

/// Half read, then rotated and compressed while the agent is down: it goes on where it was.
#[test]
fn a_file_that_is_compressed_while_the_agent_is_down_goes_on() {
    let node = Node::new();
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    let out = node.path("out.ndjson");
    log.lines((0..1_000).map(fixed));
    node.run_once_well();
    assert_eq!(count(&out), 1_000);
    log.lines((1_000..20_000).map(fixed));
    compress(&log.rotate());
    log.lines((20_000..21_000).map(fixed));
    node.run_once_well();
    let read: Vec<u64> = parse(&out).iter().map(number).collect();
    assert!(read.iter().copied().eq(0..21_000), "{} lines, in order, each once", read.len());
    node.run_once_well();
    assert_eq!(count(&out), 21_000);
}

/// What can be decoded of a damaged file arrives; that there was more stands in the ledger, once.
#[test]
fn a_damaged_compressed_file_is_counted() {
    let node = Node::new();
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    log.lines((0..20_000).map(fixed));
    let packed = compress(&log.rotate());
    let length = fs::metadata(&packed).unwrap().len();
    File::options().write(true).open(&packed).unwrap().set_len(length / 2).unwrap();
    log.line(fixed(20_000));
    let ended = node.run_once();
    assert_eq!(ended.code, Some(1), "something was lost: {ended}");
    assert!(ended.log.contains("a compressed log is damaged"), "{ended}");
    let out = node.path("out.ndjson");
    let delivered = count(&out);
    assert!(delivered > 5_000 && delivered < 19_000, "{delivered}");
    assert_eq!(parse(&out).last().map(number), Some(20_000));
    node.run_once_well();
    assert_eq!(count(&out), delivered);
}

fn compress(path: &Path) -> PathBuf {
    let done = Command::new("gzip").arg(path).status().expect("gzip");
    assert!(done.success());
    path.with_file_name(format!("{}.gz", path.file_name().unwrap().to_str().unwrap()))
}

/// Stack traces over rotations, with the agent killed in the middle of them: each is one event, whichever of two
/// outputs it is on, and comes again only as the same one.
#[test]
fn traces_are_joined_over_kills_and_rotations() {
    const TRACES: u64 = 60;
    let node = Node::new();
    let multiline = "multiline: {preset: [java, python, go, dotnet], timeout: 10s}";
    node.configure(&CONFIG.replace("path: pods", &format!("path: pods, {multiline}")));
    let mut log = node.pod("shop_cart_u1");
    let out = node.path("out.ndjson");
    let mut agent = node.start();
    for n in 0..TRACES {
        let lines = [
            format!("java.lang.IllegalStateException: {n}"),
            format!("\tat shop.Cart.add{n}(Cart.java:1)"),
            "Caused by: java.io.IOException: x".to_owned(),
            "\tat shop.Net.open(Net.java:2)".to_owned(),
            "\t... 1 more".to_owned(),
        ];
        for (at, line) in lines.iter().enumerate() {
            log.record("stderr F", line);
            log.record("stdout F", format!("plain {n}.{at}"));
            if n % 6 == 1 && at as u64 == n / 6 % 5 {
                // Read as far as this, but the trace is not over.
                until("what is between is there", || {
                    fs::read_to_string(&out).unwrap_or_default().contains(&format!("plain {n}.{at}\""))
                });
                agent.signal(rustix::process::Signal::KILL);
                agent.wait();
                agent = node.start();
            }
            if n % 7 == 3 && at as u64 == n / 7 % 5 {
                log.rotate();
            }
        }
    }
    log.record("stderr F", "plain end");
    until("the end is there", || fs::read_to_string(&out).is_ok_and(|out| out.contains("plain end")));
    assert_eq!(agent.terminate().code, Some(0));
    let mut by_place: HashMap<(String, u64), String> = HashMap::new();
    for document in parse(&out) {
        let text = own_members(&document)["message"].as_str().unwrap().to_owned();
        let known = by_place.insert(place(&document), text.clone());
        assert!(known.is_none_or(|known| known == text), "one place, one event");
    }
    let texts: Vec<String> = by_place.into_values().collect();
    let traces: Vec<&String> = texts.iter().filter(|text| text.starts_with("java.lang")).collect();
    assert_eq!(traces.len() as u64, TRACES);
    assert!(
        traces.iter().all(|text| text.lines().count() == 5 && text.ends_with("... 1 more")),
        "{traces:#?}"
    );
    assert_eq!(texts.len() as u64, TRACES + 5 * TRACES + 1);
    let account = node.ledger().account("all", "out");
    assert_eq!(account.read, account.delivered);
}
