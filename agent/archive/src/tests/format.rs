//! The formats, held against files that do not change: what was archived once stays readable.
//!
//! Where a format changes on purpose, it gets another version and other files, written by this test with `WEIR_GOLDEN=write`;
//! the old ones stay.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::fake::FakeStore;
use super::rig::{Made, TEN, everything, made, read, reader, settings, store};
use crate::Settings;
use crate::index::Index;
use crate::object::Footer;

const FOLDER: &str = "archive/dev/shop/2023/11/14/22";
const INDEX: &str = "node-1.000.index.json";
const DATA: &str = "data.01.ndjson.zst";
const NAME: &str = "node-1-20231114T220000.000000000Z-";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

/// Forty events in frames of a few, with a field that has a filter.
fn events() -> Vec<Made> {
    let mut events: Vec<Made> = (0..40).map(|n| made(n, "shop", TEN + n as i64 * 60_000_000_001)).collect();
    events[7].document = r#"{"level":"info","trace_id":"ü\u00fc \"x\"", "message" : "zwölf"}"#.into();
    events[8].document = format!(r#"{{"trace_id":["{}",7]}}"#, "long-".repeat(30));
    events
}

fn golden_settings() -> Settings {
    Settings { frame_bytes: 2_048, ..settings() }
}

fn write(of: &Arc<FakeStore>) {
    for (from, to) in [(of.keys(".zst").remove(0), DATA), (of.keys(".json").remove(0), "index.01.json")] {
        std::fs::write(golden(to), of.content(&from)).unwrap();
    }
}

#[test]
fn what_was_archived_once_is_read() {
    let written = Arc::new(FakeStore::new(0));
    store(&written, &golden_settings(), &events());
    if std::env::var_os("WEIR_GOLDEN").is_some_and(|value| value == "write") {
        write(&written);
    }
    let (data, index) =
        (std::fs::read(golden(DATA)).unwrap(), std::fs::read(golden("index.01.json")).unwrap());
    let name = Index::parse(&index).unwrap().objects.remove(0).name;
    assert!(name.starts_with(NAME), "{name}");
    let kept = Arc::new(FakeStore::new(0));
    for (name, bytes) in [(name.as_str(), data), (INDEX, index)] {
        kept.objects.lock().unwrap().insert(format!("{FOLDER}/{name}"), (bytes, 1));
    }
    let (found, outcome) = read(&reader(&kept), &everything());
    assert!(outcome.damages.is_empty(), "{:?}", outcome.damages);
    assert_eq!(found, events());
}

#[test]
fn what_is_written_is_what_was_archived_once() {
    let written = Arc::new(FakeStore::new(0));
    store(&written, &golden_settings(), &events());
    let key = written.keys(".zst").remove(0);
    let (now, then) = (written.content(&key), std::fs::read(golden(DATA)).unwrap());
    // Any decoder passes over the footer. Another version of zstd may pack otherwise.
    let text = zstd::stream::decode_all(then.as_slice()).unwrap();
    assert_eq!(
        String::from_utf8(zstd::stream::decode_all(now.as_slice()).unwrap()).unwrap(),
        String::from_utf8(text).unwrap()
    );
    let table = |bytes: &[u8]| {
        let mut table = Footer::parse(bytes, bytes.len() as u64).unwrap().table;
        table.frames.iter_mut().for_each(|frame| (frame.offset, frame.bytes) = (0, 0));
        table
    };
    assert_eq!(table(&now), table(&then));
    let index = |bytes: &[u8]| {
        let mut index = Index::parse(bytes).unwrap();
        assert_eq!(index.render().unwrap(), bytes);
        for entry in &mut index.objects {
            (entry.bytes, entry.footer) = (0, 0);
            (entry.sha256, entry.name) = (String::new(), String::new());
        }
        index
    };
    let then = std::fs::read(golden("index.01.json")).unwrap();
    assert_eq!(index(&written.content(&written.keys(".json").remove(0))), index(&then));
}

#[test]
fn people_can_read_it() {
    let data = std::fs::read(golden(DATA)).unwrap();
    let text = String::from_utf8(zstd::stream::decode_all(data.as_slice()).unwrap()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 40);
    assert_eq!(lines[0]["_time"], TEN);
    assert_eq!(lines[0]["_source"]["level"], "info");
    assert_eq!(lines[7]["_source"]["trace_id"], "üü \"x\"");
    assert!(text.contains(r#""_source":{"level":"info","trace_id":"ü\u00fc \"x\"", "message" : "zwölf"}}"#));
    let index: Value = serde_json::from_slice(&std::fs::read(golden("index.01.json")).unwrap()).unwrap();
    let object = &index["index"]["objects"][0];
    assert_eq!(object["events"], 40);
    assert_eq!(object["fields"]["level"]["values"]["info"], 15);
    assert!(object["fields"]["trace_id"]["filter"]["bits"].is_string());
}

#[test]
fn the_same_events_make_the_same_object() {
    let (one, other) = (Arc::new(FakeStore::new(0)), Arc::new(FakeStore::new(0)));
    let mut events = events();
    store(&one, &golden_settings(), &events);
    events.reverse();
    events.push(events[3].clone());
    store(&other, &golden_settings(), &events);
    assert_eq!(one.keys(".zst"), other.keys(".zst"));
}
