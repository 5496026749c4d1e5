//! Valid configurations: defaults, folders, surroundings, secrets.

use std::path::Path;
use std::time::Duration;

use crate::common;
use serde_json::{Value, json};
use weir_config::{
    Artifact, Config, FileFormat, Host, Isolation, Limits, OpenSearchAuth, Parser, ReadFrom, SinkKind, Size,
    SourceKind, Stage, Warning,
};

const MINIMAL: &str = "
version: 1
cluster: dev
sources:
  apps: {type: kubernetes_logs}
  files: {type: file, include: [logs/*.log]}
plugins:
  sampler: {artifact: 'file:plugins/sampler.wasm'}
pipelines:
  all: {from: [apps, files], stages: [sampler], to: [out, search, archive]}
sinks:
  out: {type: file, path: out.ndjson, rotate: {size: 1MiB}, buffer: durable}
  search: {type: opensearch, endpoints: ['https://search'], index: logs-%Y.%m.%d, best_effort: true}
  archive: {type: s3, endpoint: 'https://minio:9000', bucket: logs, best_effort: true}
buffers:
  durable: {disk: 1GiB}
";

fn load_text(text: &str, host: &Host) -> (Config, Vec<Warning>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    std::fs::write(&file, text).unwrap();
    let (config, warnings) = weir_config::load_on(&file, host).unwrap_or_else(|errors| panic!("{errors}"));
    (config, warnings, folder)
}

#[test]
fn what_is_not_given_has_its_default() {
    let (config, warnings, folder) = load_text(MINIMAL, &common::host());
    assert_eq!(warnings, []);
    assert_eq!((config.version, config.cluster.as_str(), config.node.as_str()), (1, "dev", "node-1"));
    assert_eq!(config.data_dir, Path::new("/var/lib/weir"));
    assert_eq!(config.admin, None);
    assert_eq!(config.base_dir, folder.path());
    let apps = &config.sources["apps"];
    assert_eq!(apps.parser, Parser::Json);
    let SourceKind::KubernetesLogs(logs) = &apps.kind else { panic!("{apps:?}") };
    assert_eq!(logs.following.linger, Duration::from_millis(200));
    assert_eq!(logs.following.read_from, ReadFrom::Beginning);
    let SourceKind::KubernetesLogs(logs) = &apps.kind else { panic!("{apps:?}") };
    assert_eq!(logs.path, Path::new("/var/log/pods"));
    let SourceKind::File(files) = &config.sources["files"].kind else { panic!() };
    assert_eq!(files.format, FileFormat::Text);
    assert!(files.include[0].matcher().is_match(folder.path().join("logs/a.log")));
    assert!(!files.include[0].matcher().is_match(folder.path().join("logs/deep/a.log")));
    let sampler = &config.plugins["sampler"];
    assert_eq!(sampler.artifact, Artifact::File(folder.path().join("plugins/sampler.wasm")));
    assert_eq!((&sampler.config, sampler.on_error, sampler.isolation), (&json!({}), None, Isolation::Shared));
    assert_eq!(sampler.limits, Limits::default());
    assert_eq!((&sampler.grants.fields, &sampler.grants.write), (&None, &None));
    let all = &config.pipelines["all"];
    assert_eq!((all.weight, &all.parser), (1, &None));
    assert!(matches!(&all.stages[..], [Stage::Plugin(name)] if &**name == "sampler"));
    let SinkKind::File(file) = &config.sinks["out"].kind else { panic!() };
    assert_eq!(file.path, folder.path().join("out.ndjson"));
    assert_eq!(file.rotate.unwrap().keep, 5);
    let SinkKind::OpenSearch(search) = &config.sinks["search"].kind else { panic!() };
    assert_eq!((search.max_wait, search.max_events), (Duration::from_secs(1), 10_000));
    assert_eq!((search.auth.clone(), search.concurrency), (OpenSearchAuth::None, 4));
    let SinkKind::S3(archive) = &config.sinks["archive"].kind else { panic!() };
    assert_eq!(
        (&*archive.prefix_in("dev"), &archive.index_fields[..]),
        ("archive", &["trace_id".to_owned()][..])
    );
    assert_eq!((archive.level, archive.max_object_bytes), (3, Size::of_mib(32)));
    assert!(archive.bucket.path_style && !archive.bucket.create && archive.bucket.keys.is_none());
    assert!(!config.sinks["out"].best_effort);
    let buffer = &config.buffers["durable"];
    assert_eq!((buffer.memory.to_string(), buffer.disk.to_string()), ("16MiB".into(), "1GiB".into()));
}

/// The buffer's memory, and for each of two uploads what is compressed twice, sorted, framed and indexed.
#[test]
fn an_archive_takes_memory_beside_its_buffer() {
    let planned = |buffer: &str, sinks: &str| {
        let text =
            format!("{{version: 1, cluster: dev, memory: 1GiB, buffers: {{{buffer}}}, sinks: {{{sinks}}}}}");
        load_text(&text, &common::host()).0.planned_memory.bytes()
    };
    let archive = |more: &str| format!("a: {{type: s3, endpoint: 'https://m', bucket: logs, {more}}}");
    let (mib, kib) = (1 << 20, 1 << 10);
    let cases = [
        ("", "index_fields: []", 16 * mib + 2 * (2 * 4 + 1 + 2) * mib),
        ("", "index_fields: [a, b]", 16 * mib + 2 * ((2 * 4 + 1 + 2) * mib + 2 * 272 * kib)),
        ("", "index_fields: [], max_object_bytes: 1MiB", 16 * mib + 2 * (2 + 1 + 2) * mib),
        (
            "d: {memory: 256MiB, disk: 1GiB}",
            "index_fields: [], buffer: d",
            256 * mib + 2 * (2 * 32 + 16 + 2) * mib,
        ),
    ];
    for (buffer, keys, expected) in cases {
        assert_eq!(planned(buffer, &archive(keys)), expected, "{keys}");
    }
}

/// The defaults that the schema names are those that are applied: to write one out changes nothing.
#[test]
fn a_default_that_is_written_out_changes_nothing() {
    let schema = weir_config::schema();
    let places = [
        ("", schema.clone()),
        ("/sources/apps", variant(&schema, "Source", "kubernetes_logs")),
        ("/sources/files", variant(&schema, "Source", "file")),
        ("/plugins/sampler", schema["$defs"]["Plugin"].clone()),
        ("/plugins/sampler/limits", schema["$defs"]["Limits"].clone()),
        ("/pipelines/all", schema["$defs"]["Pipeline"].clone()),
        ("/sinks/out", variant(&schema, "Sink", "file")),
        ("/sinks/out/rotate", schema["$defs"]["Rotation"].clone()),
        ("/buffers/durable", schema["$defs"]["Buffer"].clone()),
        ("/sinks/search", variant(&schema, "Sink", "opensearch")),
        ("/sinks/archive", variant(&schema, "Sink", "s3")),
        ("/sinks/search/tls", schema["$defs"]["OpenSearchTls"].clone()),
        ("/sinks/search/fields", schema["$defs"]["OpenSearchFields"].clone()),
    ];
    let plain = load_text(MINIMAL, &common::host()).0;
    let mut tried = 0;
    for (place, schema) in places {
        for (key, property) in schema["properties"].as_object().unwrap() {
            let Some(default) = property.get("default") else { continue };
            let mut written = minimal_json();
            let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
            if written.pointer(place).is_none() {
                let name = place.rsplit('/').next().unwrap();
                written.pointer_mut(parent).unwrap()[name] = json!({});
            }
            let object = written.pointer_mut(place).unwrap().as_object_mut().unwrap();
            if object.contains_key(key) {
                continue;
            }
            object.insert(key.clone(), default.clone());
            let with_default = load_text(&written.to_string(), &common::host()).0;
            assert_same(&with_default, &plain, &format!("{place}/{key}"));
            tried += 1;
        }
    }
    assert_eq!(tried, 54);
}

/// [`MINIMAL`] as JSON.
fn minimal_json() -> Value {
    json!({
        "version": 1, "cluster": "dev",
        "sources": {"apps": {"type": "kubernetes_logs"}, "files": {"type": "file", "include": ["logs/*.log"]}},
        "plugins": {"sampler": {"artifact": "file:plugins/sampler.wasm"}},
        "pipelines": {"all": {"from": ["apps", "files"], "stages": ["sampler"], "to": ["out", "search", "archive"]}},
        "sinks": {
            "out": {"type": "file", "path": "out.ndjson", "rotate": {"size": "1MiB"}, "buffer": "durable"},
            "search": {"type": "opensearch", "endpoints": ["https://search"], "index": "logs-%Y.%m.%d",
                "best_effort": true},
            "archive": {"type": "s3", "endpoint": "https://minio:9000", "bucket": "logs", "best_effort": true},
        },
        "buffers": {"durable": {"disk": "1GiB"}},
    })
}

fn variant(schema: &Value, definition: &str, name: &str) -> Value {
    let variants = schema["$defs"][definition]["oneOf"].as_array().unwrap();
    variants.iter().find(|variant| variant["properties"]["type"]["const"] == name).unwrap().clone()
}

/// The same but for the folder and the hash.
fn assert_same(left: &Config, right: &Config, what: &str) {
    let text = |config: &Config| {
        let shown = format!("{:?} {:?}", config, config.plugins["sampler"].config);
        shown.replace(&config.base_dir.display().to_string(), "BASE").replace(&config.hash, "HASH")
    };
    assert_eq!(text(left), text(right), "{what}");
}

#[cfg(feature = "bench-native")]
#[test]
fn the_benchmarks_stage_is_there_when_it_is_built_in() {
    let text = MINIMAL.replace("[sampler]", "[sampler, {bench_w1: {}}]");
    assert_eq!(load_text(&text, &common::host()).0.pipelines["all"].stages.last(), Some(&Stage::BenchW1));
}
