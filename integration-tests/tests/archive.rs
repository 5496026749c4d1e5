//! The archive, in a real MinIO: what a sampler leaves out is found there, what is damaged is named, and all of it
//! can be brought back into a real OpenSearch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "common/bucket.rs"]
mod bucket;

use std::collections::BTreeSet;
use std::time::Duration;

use bucket::{client, runtime};
use integration_tests::{MinIo, Node, OpenSearch, lines, numbers, until_within};
use serde_json::{Value, json};
use weir_buffer::object::{ObjectStore as _, Put};
use weir_object::S3;

/// Of both pods together.
const EVENTS: u64 = 2_000;
/// Of one trace.
const OF_A_TRACE: u64 = 10;
/// All times of the test, whatever the clock says.
const FROM: &str = "2020-01-01";
const TO: &str = "2200-01-01";
/// A cluster on a busy machine of two cores.
const LIMIT: Duration = Duration::from_secs(90);

/// One pipeline keeps a tenth for the sinks `kept`; the other one archives everything.
fn configure(node: &Node, minio: &MinIo, kept: &str, archive: &str) {
    node.configure(&format!(
        "
sources: {{pods: {{type: kubernetes_logs, path: pods, linger: 50ms}}}}
plugins:
  sampler:
    artifact: file:plugins/log-sampler.wasm
    config: {{field: level, rates: {{info: 0.1}}, default: 1, key: trace_id}}
pipelines:
  sampled: {{from: [pods], stages: [sampler], to: [kept]}}
  whole: {{from: [pods], to: [archive]}}
sinks:
  kept: {kept}
  archive: {{type: s3, {}, index_fields: [trace_id, level], {archive}}}
buffers: {{durable: {{memory: 8MiB, disk: 64MiB}}}}
",
        minio.configuration(node, &minio.url())
    ));
}

/// Two pods in the namespaces `shop` and `bank`, with traces that lie in both.
fn write_events(node: &Node) {
    let padding = "x".repeat(1_500);
    let event = |n: u64| {
        let level = if n.is_multiple_of(50) { "error" } else { "info" };
        json!({"n": n, "level": level, "trace_id": format!("trace-{}", n / OF_A_TRACE), "text": padding})
            .to_string()
    };
    node.pod("shop_cart_u1").lines((0..EVENTS).filter(|n| n % 2 == 0).map(event));
    node.pod("bank_teller_u2").lines((0..EVENTS).filter(|n| n % 2 == 1).map(event));
}

/// What a command of the archive prints as JSON, one value a line or one in all, and its exit code.
fn archive(node: &Node, arguments: &[&str]) -> (Vec<Value>, Option<i32>, String) {
    let common = ["-c", "weir.yaml", "--output", "json"];
    let ended = node.weir(&[&["archive"], arguments, &common[..]].concat());
    let values = serde_json::Deserializer::from_str(&ended.stdout).into_iter::<Value>();
    let values = values.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}: {ended}"));
    (values, ended.code, ended.log)
}

/// The same of one that is to succeed.
fn good(node: &Node, arguments: &[&str]) -> Vec<Value> {
    let (values, code, log) = archive(node, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {log}");
    values
}

fn sum(listed: &Value, member: &str) -> u64 {
    listed["hours"].as_array().unwrap().iter().map(|hour| hour[member].as_u64().unwrap()).sum()
}

/// Writes other bytes in the place of an object.
fn change(store: &S3, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let object = store.get(key, 64 << 20).unwrap();
    let mut bytes = object.bytes;
    change(&mut bytes);
    assert!(matches!(store.put_if_match(key, bytes, &object.etag), Ok(Put::Stored(_))));
}

#[test]
fn what_was_sampled_away_is_found_in_the_archive() {
    let (node, minio) = (Node::with_compiled(&["log-sampler"]), MinIo::shared());
    configure(&node, &minio, "{type: file, path: kept.ndjson}", "prefix: 'logs/{cluster}'");
    write_events(&node);
    node.run_once_well();
    let kept: BTreeSet<u64> = numbers(&node.path("kept.ndjson")).into_iter().collect();
    assert!((100..500).contains(&kept.len()), "a tenth is kept: {}", kept.len());
    let account = node.ledger().account("whole", "archive");
    assert_eq!((account.read.events, account.delivered.events), (EVENTS, EVENTS));
    assert!(minio.keys().iter().all(|key| key.starts_with("logs/test/test/")), "{:?}", minio.keys());

    let listed = good(&node, &["list", "--from", FROM, "--to", TO]);
    assert_eq!(sum(&listed[0], "events"), EVENTS, "{listed:?}");
    assert_eq!(listed[0]["hours"][0]["nodes"], json!(["node-1"]));
    let of_bank = good(&node, &["list", "--from", FROM, "--to", TO, "--namespace", "bank"]);
    assert_eq!(sum(&of_bank[0], "events"), EVENTS / 2);
    assert_eq!(good(&node, &["list", "--from", "2019-01-01", "--to", FROM])[0]["hours"], json!([]));

    // A trace of which nothing was kept.
    let gone =
        (0..EVENTS / OF_A_TRACE).find(|trace| kept.range(trace * 10..(trace + 1) * 10).next().is_none());
    let gone = gone.expect("a trace that was sampled away");
    let condition = format!("trace_id=trace-{gone}");
    let mut found = good(&node, &["search", "--from", FROM, "--to", TO, "--where", &condition]);
    let summary = found.pop().unwrap()["summary"].clone();
    let mut seen: Vec<u64> = found.iter().map(|event| event["document"]["n"].as_u64().unwrap()).collect();
    seen.sort_unstable();
    let expected: Vec<u64> = (gone * OF_A_TRACE..(gone + 1) * OF_A_TRACE).collect();
    assert_eq!(seen, expected);
    assert_eq!((&summary["events"], &summary["damages"]), (&json!(OF_A_TRACE), &json!([])));
    let frames = |member: &str| summary[member].as_u64().unwrap();
    assert!(frames("frames_read") <= frames("frames"), "{summary}");

    let text = node.weir(&[
        "archive",
        "search",
        "-c",
        "weir.yaml",
        "--from",
        FROM,
        "--to",
        TO,
        "--where",
        &condition,
    ]);
    assert_eq!(text.code, Some(0), "{text}");
    let documents: Vec<Value> = text.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len() as u64, OF_A_TRACE);
    assert!(documents.iter().all(|document| document["cluster"] == "test"), "{text}");
    assert!(text.log.contains("frames read"), "{text}");
    let limited =
        good(&node, &["search", "--from", FROM, "--to", TO, "--where", "level=info", "--limit", "3"]);
    assert_eq!(limited.len(), 3 + 1);

    let rule = node.weir(&["archive", "lifecycle", "-c", "weir.yaml", "--days", "30"]);
    let rule: Value = serde_json::from_str(&rule.stdout).unwrap();
    assert_eq!(rule["Rules"][0]["Filter"]["Prefix"], "logs/test/test/");
}

#[test]
fn what_is_damaged_is_named_and_the_rest_is_found() {
    let (node, minio, runtime) = (Node::with_compiled(&["log-sampler"]), MinIo::shared(), runtime());
    configure(&node, &minio, "{type: file, path: kept.ndjson}", "level: 1");
    write_events(&node);
    node.run_once_well();
    let data = |namespace: &str| {
        let begin = format!("archive/test/{namespace}/");
        let mut keys = minio.keys().into_iter();
        keys.find(|key| key.starts_with(&begin) && key.ends_with(".zst")).expect("a data object")
    };
    let (damaged, store) = (data("bank"), client(&minio, &minio.url(), &runtime));
    change(&store, &damaged, |bytes| bytes[20..40].fill(0));
    let (mut found, code, log) = archive(&node, &["search", "--from", FROM, "--to", TO]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(&damaged), "{log}");
    let summary = found.pop().unwrap()["summary"].clone();
    assert_eq!(summary["damages"][0]["key"], json!(damaged), "{summary}");
    let of = |namespace: &str| found.iter().filter(|event| event["namespace"] == namespace).count() as u64;
    assert_eq!(of("shop"), EVENTS / 2, "all of what is whole");
    assert!(of("bank") < EVENTS / 2);

    // An object that is gone is named by the index that names it; an index that is damaged costs nothing else.
    let missing = data("shop");
    store.delete(&missing).unwrap();
    let (listed, code, log) = archive(&node, &["list", "--from", FROM, "--to", TO, "--namespace", "shop"]);
    assert_eq!(code, Some(1), "{log}");
    assert_eq!(
        listed[0]["damages"][0],
        json!({"kind": "missing", "key": missing, "message": "an index names it, and it is not there"})
    );
    let index = minio.keys().into_iter().find(|key| key.contains("/bank/") && key.ends_with(".index.json"));
    let index = index.expect("an index");
    change(&store, &index, |bytes| bytes.truncate(bytes.len() / 2));
    let (mut again, code, log) =
        archive(&node, &["search", "--from", FROM, "--to", TO, "--namespace", "bank"]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(&index) && log.contains(&damaged), "{log}");
    again.pop();
    assert_eq!(again.len() as u64, of("bank"), "as many as with the index");
}

#[test]
fn what_was_sampled_away_comes_back_into_opensearch_once_and_where_it_belongs() {
    let (node, minio) = (Node::with_compiled(&["log-sampler"]), MinIo::shared());
    let (server, prefix) = (OpenSearch::shared(), format!("archive-{}", std::process::id()));
    let kept = format!(
        "{{type: opensearch, endpoints: ['{}'], index: '{prefix}-{{namespace}}', max_wait: 100ms, buffer: durable}}",
        server.url()
    );
    configure(&node, &minio, &kept, "max_object_age: 1s");
    write_events(&node);
    let agent = node.start();
    let account = |pipeline: &str, sink: &str| agent.admin().ledger().account(pipeline, sink);
    until_within(LIMIT, "all is archived", || account("whole", "archive").delivered.events == EVENTS);
    until_within(LIMIT, "a part is searchable", || {
        let account = account("sampled", "kept");
        account.read.events == EVENTS && account.is_settled()
    });
    let searchable = |namespace: &str| {
        let index = format!("{prefix}-{namespace}");
        server.refresh(&index);
        server.count(&index)
    };
    let before = searchable("shop") + searchable("bank");
    assert!((100..500).contains(&before), "a tenth is kept: {before}");

    let to = ["replay", "--from", FROM, "--to", TO, "--to-sink", "kept"];
    let dry = good(&node, &[&to[..], &["--dry-run"]].concat());
    assert_eq!((&dry[0]["events"], &dry[0]["dry_run"]), (&json!(EVENTS), &json!(true)));
    assert_eq!(searchable("shop") + searchable("bank"), before, "nothing was sent");

    let errors = [&to[..], &["--namespace", "shop", "--where", "level=error", "--cursor", "cursor"]].concat();
    assert_eq!(good(&node, &errors)[0]["events"], EVENTS / 50);
    assert!(!node.path("cursor").try_exists().unwrap(), "it is over");
    let whole = good(&node, &to);
    assert_eq!(whole[0]["events"], EVENTS);
    until_within(LIMIT, "all of it is searchable where it belongs", || {
        (searchable("shop"), searchable("bank")) == (EVENTS / 2, EVENTS / 2)
    });
    until_within(LIMIT, "all of it is settled", || account("archive-replay", "kept").is_settled());
    let replayed = account("archive-replay", "kept");
    assert_eq!((replayed.read.events, replayed.created.events), (0, EVENTS + EVENTS / 50));
    assert!(replayed.balanced, "{replayed:?}");

    // A file of another replay is refused, and nothing is sent.
    node.write("cursor", "{}");
    let (_, code, log) = archive(&node, &errors);
    assert_eq!(code, Some(1));
    assert!(log.contains("cannot go on from"), "{log}");
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    for namespace in ["shop", "bank"] {
        server.remove(&format!("{prefix}-{namespace}"));
    }
    let (_, code, log) = archive(&node, &to);
    assert_eq!(code, Some(1));
    assert!(log.contains("no agent runs"), "{log}");
}

#[test]
fn a_file_gets_back_the_very_documents() {
    let (node, minio) = (Node::with_compiled(&["log-sampler"]), MinIo::shared());
    configure(&node, &minio, "{type: file, path: kept.ndjson, buffer: durable}", "max_object_age: 1s");
    node.pod("shop_cart_u1").lines((0..50).map(|n| json!({"n": n, "level": "error"}).to_string()));
    let agent = node.start();
    let account = |pipeline: &str, sink: &str| agent.admin().ledger().account(pipeline, sink);
    until_within(LIMIT, "all is archived", || account("whole", "archive").delivered.events == 50);
    until_within(LIMIT, "all is written", || account("sampled", "kept").delivered.events == 50);
    let sent = good(&node, &["replay", "--from", FROM, "--to", TO, "--to-sink", "kept", "--rate", "1MiB"]);
    assert_eq!(sent[0]["events"], 50);
    until_within(LIMIT, "all is written again", || account("archive-replay", "kept").delivered.events == 50);
    assert_eq!(agent.terminate().code, Some(0));
    let written = lines(&node.path("kept.ndjson"));
    assert_eq!((written.len(), &written[..50]), (100, &written[50..]));
}
