//! The event path: recorded logs of real servers through two plugins into a file and a blackhole, held against an
//! oracle that reads the same logs with serde_json.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirEntryExt as _;
use std::path::Path;

use integration_tests::{Node, checkout, lines, own_members};
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;
use xxhash_rust::xxh64::xxh64;

/// The rate of `info`, and how many events a kept one stands for.
const SHARE: f64 = 0.25;
const WEIGHT: u64 = 4;

const CONFIG: &str = "
sources:
  pods: {type: kubernetes_logs, path: recorded, parse: auto}
plugins:
  sampler:
    artifact: file:plugins/log-sampler.wasm
    config: {rates: {debug: 0, info: 0.25}, rate_field: sample_rate}
    grants: {fields: [level], write: [sample_rate]}
  filter:
    artifact: file:plugins/field-filter.wasm
    config:
      remove: [ts, raft-conf]
      rename: {caller: source}
      set: {team: platform}
      redact: [{field: message, pattern: level, replace: rank}]
pipelines:
  plain: {from: [pods], to: [plain]}
  filtered: {from: [pods], stages: [sampler, filter], to: [filtered, hole]}
sinks:
  plain: {type: file, path: plain.ndjson}
  filtered: {type: file, path: filtered.ndjson}
  hole: {type: blackhole}
";

/// Where an event lies: uid of its pod, and offset in the file.
type Place = (String, u64);

/// A line of a recorded log.
struct Recorded {
    namespace: String,
    pod: String,
    container: String,
    stamp: String,
    stream: String,
    content: String,
}

#[test]
fn recorded_logs_come_out_as_the_oracle_says() {
    let node = Node::with_compiled(&["log-sampler", "field-filter"]);
    node.configure(CONFIG);
    let ended = node.run_once_well();
    let recorded = recorded_logs(&checkout().join("configs/recorded/pods"));
    assert!(recorded.len() > 1000, "{} lines", recorded.len());

    let plain = by_place(&node.path("plain.ndjson"));
    assert!(plain.keys().eq(recorded.keys()), "every line comes out, once");
    for (place, line) in &recorded {
        check_plain(place, line, &plain[place]);
    }

    let expected: BTreeMap<Place, Value> = recorded
        .iter()
        .filter_map(|(place, line)| Some((place.clone(), filtered(line, &plain[place])?)))
        .collect();
    let filtered = by_place(&node.path("filtered.ndjson"));
    assert!(filtered.keys().eq(expected.keys()), "{} of {} kept", filtered.len(), expected.len());
    for (place, expected) in &expected {
        assert_eq!(&filtered[place], expected, "{place:?}");
    }

    check_counts(&node, recorded.len(), expected.len());
    check_blackhole(&ended.stdout, &node.path("filtered.ndjson"));
}

/// The ledger's numbers, and those of the sampler's reasons.
fn check_counts(node: &Node, read: usize, kept: usize) {
    let ledger = node.ledger();
    for (pipeline, sink, delivered) in
        [("plain", "plain", read), ("filtered", "filtered", kept), ("filtered", "hole", kept)]
    {
        let account = ledger.account(pipeline, sink);
        assert_eq!(account.read.events, read as u64);
        assert_eq!(account.delivered.events, delivered as u64);
        let sampled: u64 = account.sampled.values().map(|amount| amount.events).sum();
        assert_eq!(sampled, (read - delivered) as u64);
        assert!(account.sampled.keys().all(|reason| reason == "sampler.level=info"), "{account:?}");
        assert!(account.dropped.is_empty() && account.lost.is_empty() && account.dead_lettered.is_empty());
    }
    assert_eq!(ledger.accounts.len(), 3);
}

/// What the blackhole counted is what the file holds.
fn check_blackhole(stdout: &str, file: &Path) {
    let report: Value = serde_json::from_str(stdout.trim()).expect("one JSON object");
    let documents = lines(file);
    let checksum = documents.iter().map(|line| xxh3_64(line.as_bytes())).fold(0, u64::wrapping_add);
    let expected = json!({
        "sink": "hole",
        "events": documents.len(),
        "bytes": fs::metadata(file).unwrap().len(),
        "checksum": format!("{checksum:016x}"),
    });
    assert_eq!(report, expected);
}

/// A document without stages: the envelope, and the line's own members as they were.
fn check_plain(place: &Place, line: &Recorded, document: &Value) {
    let Recorded { namespace, pod, container, stamp, stream, content } = line;
    let envelope = json!({
        "@timestamp": stamp,
        "cluster": "test",
        "node": "node-1",
        "kubernetes": {"namespace": namespace, "pod": pod, "container": container, "uid": place.0},
        "stream": stream,
        "log": {"offset": place.1},
    });
    for (name, value) in envelope.as_object().unwrap() {
        assert_eq!(&document[name], value, "{name} of {document}");
    }
    let own = own_members(document);
    match serde_json::from_str::<Map<String, Value>>(content) {
        Ok(members) => assert_eq!(own, members),
        Err(_) => assert_eq!(own["message"], json!(content)),
    }
    assert_eq!(own.get("level").and_then(Value::as_str), level(content).as_deref(), "{content}");
}

/// The level that a line names, as a person would find it.
fn level(content: &str) -> Option<String> {
    if let Ok(Value::Object(members)) = serde_json::from_str(content) {
        return Some(members["level"].as_str()?.to_owned());
    }
    if let Some((_, behind)) = content.split_once(" level=") {
        return Some(behind.split(' ').next()?.to_owned());
    }
    let date = content.get(1..5).filter(|date| date.bytes().all(|byte| byte.is_ascii_digit()))?;
    let name = match content.split_at(1).0 {
        "I" => "info",
        "W" => "warn",
        "E" => "error",
        "F" => "fatal",
        _ => return None,
    };
    (date.len() == 4 && content.contains("] ")).then(|| name.to_owned())
}

/// The document behind both plugins; `None` where the sampler drops it.
fn filtered(line: &Recorded, plain: &Value) -> Option<Value> {
    let mut document = plain.as_object().unwrap().clone();
    let is_sampled = level(&line.content).is_some_and(|level| level.eq_ignore_ascii_case("info"));
    if is_sampled && sampling_place(line) >= (SHARE * 2_f64.powi(64)) as u64 {
        return None;
    }
    if is_sampled {
        document.insert("sample_rate".into(), json!(WEIGHT));
    }
    for removed in ["ts", "raft-conf"] {
        document.remove(removed);
    }
    if let Some(caller) = document.remove("caller") {
        document.insert("source".into(), caller);
    }
    document.insert("team".into(), json!("platform"));
    if let Some(Value::String(message)) = document.get_mut("message") {
        *message = message.replace("level", "rank");
    }
    Some(document.into())
}

/// Without a key, an event's time and stream decide: XXH64 of the nanoseconds, seeded with that of the stream's names.
fn sampling_place(line: &Recorded) -> u64 {
    let Recorded { namespace, pod, container, stamp, .. } = line;
    let stream = xxh64(format!("{namespace}\0{pod}\0{container}\0\0").as_bytes(), 0);
    let time: jiff::Timestamp = stamp.parse().unwrap();
    xxh64(&i64::try_from(time.as_nanosecond()).unwrap().to_le_bytes(), stream)
}

fn by_place(path: &Path) -> BTreeMap<Place, Value> {
    let mut documents = BTreeMap::new();
    for line in lines(path) {
        let document: Value = serde_json::from_str(&line).unwrap();
        let uid = document["kubernetes"]["uid"].as_str().unwrap().to_owned();
        let place = (uid, document["log"]["offset"].as_u64().unwrap());
        assert!(documents.insert(place, document).is_none(), "twice: {line}");
    }
    documents
}

/// All lines of all files. None of them is in parts.
fn recorded_logs(pods: &Path) -> BTreeMap<Place, Recorded> {
    let mut recorded = BTreeMap::new();
    for pod_folder in fs::read_dir(pods).unwrap().map(Result::unwrap) {
        let name = pod_folder.file_name().into_string().unwrap();
        let words: Vec<&str> = name.split('_').collect();
        let [namespace, pod, uid] = words[..] else { panic!("not a pod's folder: {name}") };
        for container_folder in fs::read_dir(pod_folder.path()).unwrap().map(Result::unwrap) {
            let container = container_folder.file_name().into_string().unwrap();
            let text = fs::read_to_string(container_folder.path().join("0.log")).unwrap();
            let mut offset = 0;
            for line in text.lines() {
                let words: Vec<&str> = line.splitn(4, ' ').collect();
                let [stamp, stream, "F", content] = words[..] else { panic!("not a whole record: {line}") };
                let owned = str::to_owned;
                let recorded_line = Recorded {
                    namespace: owned(namespace),
                    pod: owned(pod),
                    container: container.clone(),
                    stamp: owned(stamp),
                    stream: owned(stream),
                    content: owned(content),
                };
                recorded.insert((owned(uid), offset), recorded_line);
                offset += line.len() as u64 + 1;
            }
        }
    }
    recorded
}

#[test]
fn a_trace_is_kept_as_a_whole_and_by_its_hash() {
    let node = Node::with_compiled(&["log-sampler"]);
    node.configure(
        "
sources: {pods: {type: kubernetes_logs, path: pods}}
plugins:
  sampler:
    artifact: file:plugins/log-sampler.wasm
    config: {field: level, rates: {debug: 0, info: 0.1}, default: 1, key: trace_id}
pipelines: {all: {from: [pods], stages: [sampler], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
",
    );
    let levels = ["debug", "info", "INFO", "warn", "error", "notice"];
    let trace = |n: usize| format!("trace-{}", n / 12);
    let mut log = node.pod("shop_cart_u1");
    let count = 12_000;
    log.lines((0..count).map(|n| json!({"n": n, "level": levels[n % 6], "trace_id": trace(n)}).to_string()));
    node.run_once_well();

    let kept = |n: &usize| match levels[n % 6] {
        "debug" => false,
        "info" | "INFO" => xxh64(trace(*n).as_bytes(), 0) < (0.1 * 2_f64.powi(64)) as u64,
        _ => true,
    };
    let expected: Vec<u64> = (0..count).filter(kept).map(|n| n as u64).collect();
    assert_eq!(integration_tests::numbers(&node.path("out.ndjson")), expected, "in order, too");
    let account = node.ledger().account("all", "out");
    assert_eq!(account.events_for("sampler.level=debug"), 2_000);
    assert_eq!(account.delivered.events, expected.len() as u64);
    assert_eq!(account.events_for("sampler.level=info"), 10_000 - expected.len() as u64);
}

#[test]
fn a_compiled_plugin_is_used_again() {
    let node = Node::new();
    node.configure(
        "
sources: {pods: {type: kubernetes_logs, path: pods}}
plugins: {w1: {artifact: file:plugins/bench-w1.wasm}}
pipelines: {all: {from: [pods], stages: [w1], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
",
    );
    node.pod("shop_cart_u1").line(r#"{"level":"warn","labels":{"a":1}}"#);
    node.run_once_well();
    let compiled = compiled_files(&node);
    assert_eq!(compiled.len(), 1, "{compiled:?}");
    node.run_once_well();
    assert_eq!(compiled_files(&node), compiled);
    let documents = lines(&node.path("out.ndjson"));
    assert_eq!(documents.len(), 1, "the second run had nothing to read");
    // The plugin sets `cluster`, which is the envelope's alone.
    assert!(documents[0].ends_with(r#""level":"warn","event":{"cluster":"dev-1"}}"#), "{documents:?}");
}

/// Names and inodes: what is compiled again is another file.
fn compiled_files(node: &Node) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(node.path("data/plugins")).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.ino()));
    named.filter(|(name, _)| name.ends_with(".cwasm")).collect()
}

#[test]
fn a_time_field_is_the_time_of_an_event_within_bounds() {
    let node = Node::new();
    node.configure(
        "
sources: {pods: {type: kubernetes_logs, path: pods, time_field: when.at}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
",
    );
    let mut log = node.pod("shop_cart-1_0b1c2d3e-0000-4000-8000-000000000001");
    let before = "2026-11-22T10:00:00.000000000Z";
    for content in [
        r#"{"when":{"at":"2026-11-22T08:30:00+00:30"}}"#,
        r#"{"when.at":1795341599.5}"#,
        r#"{"when":{"at":"2027-01-01T00:00:00Z"}}"#,
        r#"{"when":"now"}"#,
    ] {
        log.bytes(format!("{before} stdout F {content}\n").as_bytes());
    }
    node.run_once_well();
    let seen: Vec<_> = lines(&node.path("out.ndjson"))
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|document| {
            (document["@timestamp"].as_str().unwrap().to_owned(), document["log"]["flags"].clone())
        })
        .collect();
    let plain = |time: &str| (time.to_owned(), Value::Null);
    let expected = [
        plain("2026-11-22T08:00:00.000000000Z"),
        plain("2026-11-22T09:59:59.500000000Z"),
        (before.to_owned(), json!(["time_ignored"])),
        plain(before),
    ];
    assert_eq!(seen, expected);
}
