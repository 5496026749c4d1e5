//! Configurations that are wrong: every error at once, each with its place and what to do; nothing runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs;
use std::net::TcpListener;

use integration_tests::{Ended, Node};
use serde_json::Value;

const WRONG: &str = "\
version: 1
cluster: test
data_dir: data
memory: 256MB
sources:
  pods: {type: kubernetes_logs, path: pods, exclude_namespace: [kube-system]}
  files: {type: fiel, include: [a]}
pipelines:
  all: {from: [podz], stages: [sampler], to: [out]}
  none: {from: [pods]}
sinks:
  out: {type: file, paht: out.ndjson}
admin: {listen: 127.0.0.1}
colour: red
";

/// Each with its line, the key, a word of the message and a word of the help.
const ERRORS: [(u64, &str, &str, &str); 10] = [
    (4, "memory", "256MB", "MiB"),
    (6, "sources.pods", "exclude_namespace", "exclude_namespaces"),
    (7, "sources.files", "fiel", "file"),
    (9, "pipelines.all.from", "podz", "pods"),
    (9, "pipelines.all.stages", "sampler", ""),
    (10, "pipelines.none", "to", ""),
    (12, "sinks.out", "paht", "path"),
    (12, "sinks.out", "path", ""),
    (13, "admin.listen", "127.0.0.1", ":"),
    (14, "", "colour", ""),
];

#[test]
fn every_error_is_shown_at_once_with_its_place_and_help() {
    let node = Node::new();
    node.write("weir.yaml", WRONG);
    let ended = node.weir(&["check", "-c", "weir.yaml", "--output", "json"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let errors = report["errors"].as_array().unwrap();
    for (line, path, message, help) in ERRORS {
        let matches = |error: &&Value| {
            let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
            error["line"] == line
                && text("path").starts_with(path)
                && text("message").contains(message)
                && format!("{}{}", text("message"), text("help")).contains(help)
        };
        assert!(errors.iter().any(|error| matches(&error)), "line {line}, {message} in {errors:#?}");
    }
    let lines: Vec<u64> = errors.iter().map(|error| error["line"].as_u64().unwrap()).collect();
    assert!(lines.is_sorted(), "in the order of the file: {lines:?}");

    let said = |ended: &Ended| {
        let lines = ended.log.lines().map(|line| line.strip_prefix("error: ").unwrap_or(line));
        lines.filter(|line| line.starts_with("weir.yaml:")).map(str::to_owned).collect::<Vec<_>>()
    };
    let checked = node.weir(&["check", "-c", "weir.yaml"]);
    let run = node.weir(&["run", "-c", "weir.yaml"]);
    let once = node.run_once();
    for ended in [&checked, &run, &once] {
        assert_eq!(ended.code, Some(1), "{ended}");
        assert_eq!(said(ended).len(), errors.len(), "{ended}");
        assert_eq!(said(ended), said(&checked), "the same words, whatever the command");
    }
    assert!(!node.path("data").is_dir(), "nothing is left behind");
}

/// What is no configuration at all.
#[test]
fn a_configuration_that_is_not_there_or_no_yaml_is_told() {
    let node = Node::new();
    fs::create_dir(node.path("empty-folder")).unwrap();
    node.write("binary.yaml", [0xff, 0xfe, 0]);
    node.write("broken.yaml", "version: 1\n  cluster: {\n");
    node.write("empty.yaml", "");
    for (path, word) in [
        ("nowhere.yaml", "nowhere.yaml"),
        ("empty-folder", "empty-folder"),
        ("binary.yaml", "UTF-8"),
        ("broken.yaml", "broken.yaml:"),
        ("empty.yaml", "empty.yaml"),
    ] {
        for arguments in [&["check", "-c", path][..], &["run", "-c", path], &["run", "-c", path, "--once"]] {
            let ended = node.weir(arguments);
            assert_eq!(ended.code, Some(1), "{arguments:?}: {ended}");
            assert!(ended.log.contains(word), "{arguments:?}: {ended}");
        }
    }
}

const GOOD: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

/// What is wrong only on this machine.
#[test]
fn what_the_agent_cannot_have_is_told() {
    let node = Node::new();
    node.pod("shop_cart_u1").line("{}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let head = "version: 1\ncluster: test\n";
    fs::create_dir(node.path("folder")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, node.path("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let cases = [
        (format!("{head}data_dir: data\nadmin: {{listen: '{port}'}}{GOOD}"), vec![port.as_str(), "in use"]),
        (format!("{head}data_dir: weir.yaml/data{GOOD}"), vec!["data_dir", "weir.yaml/data"]),
        (format!("{head}data_dir: /proc/weir-data{GOOD}"), vec!["data_dir", "/proc/weir-data"]),
        (
            format!("{head}data_dir: data{}", GOOD.replace("out.ndjson", "folder")),
            vec!["sinks.out", "a folder"],
        ),
        (
            format!("{head}data_dir: data{}", GOOD.replace("out.ndjson", "pipe")),
            vec!["sinks.out", "a named pipe"],
        ),
    ];
    for (config, words) in cases {
        node.write("weir.yaml", &config);
        for arguments in [&["run", "-c", "weir.yaml"][..], &["run", "-c", "weir.yaml", "--once"]] {
            let ended = node.weir(arguments);
            assert_eq!(ended.code, Some(1), "{config}{ended}");
            assert!(words.iter().all(|word| ended.log.contains(word)), "{words:?}: {ended}");
            assert!(!ended.log.contains("panicked"), "{ended}");
        }
    }
    assert!(!node.path("out.ndjson").is_file());
}
