//! The commands and the admin address, as people and programs use them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use integration_tests::{Ledger, Node, checkout, count, lines, until};
use serde_json::{Value, json};

const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

#[test]
fn the_quickstart_is_valid_and_its_pipelines_are_shown() {
    let node = Node::with_compiled(&["log-sampler", "field-filter"]);
    // Its paths are those of a checkout whose `target` has the plugins; here they are elsewhere.
    let mut quickstart = fs::read_to_string(checkout().join("configs/quickstart.yaml")).unwrap();
    for (from, to) in
        [("../target/plugins", "plugins"), ("../target/quickstart/", ""), ("recorded/pods", "recorded")]
    {
        assert!(quickstart.contains(from), "{from}");
        quickstart = quickstart.replace(from, to);
    }
    node.write("weir.yaml", quickstart);
    let ended = node.weir(&["check", "-c", "weir.yaml"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    for word in
        ["app-logs", "pods", "log-sampler", "field-filter", "local", "out.ndjson", "weir.yaml is valid"]
    {
        assert!(ended.stdout.contains(word), "{word}: {ended}");
    }
    let ended = node.weir(&["check", "-c", "weir.yaml", "--output", "json"]);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&report["valid"], &report["errors"]), (&json!(true), &json!([])), "{ended}");
    let [sampler, filter] = report["pipelines"][0]["stages"].as_array().unwrap().as_slice() else {
        panic!("two stages: {report}")
    };
    assert_eq!(sampler["reads"], json!(["level"]), "it sees nothing else");
    assert_eq!(sampler["writes"], json!(["sample_rate"]));
    assert_eq!(filter["on_error"], "dead_letter", "it redacts");
    assert_eq!(lines(&node.path("out.ndjson")).len(), 0, "a check delivers nothing");

    let ended = node.run_once_well();
    let delivered = lines(&node.path("out.ndjson")).len();
    assert!(delivered > 500 && ended.log.contains("balanced"), "{ended}");
    let ledger = node.weir(&["ledger", "--data-dir", "data", "--output", "json"]);
    let account = Ledger::parse(&ledger.stdout).account("app-logs", "local");
    assert_eq!(account.delivered.events, delivered as u64);
}

#[test]
fn a_check_leaves_nothing_behind() {
    let node = Node::new();
    node.configure(CONFIG);
    node.pod("shop_cart_u1").line("{}");
    let ended = node.weir(&["check", "-c", "weir.yaml"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(!node.path("data").is_dir() && !node.path("out.ndjson").is_file());
}

#[test]
fn the_printed_schema_is_json_schema() {
    let node = Node::new();
    let ended = node.weir(&["config", "schema"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    let schema: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["type"], "object");
    check_schema(&schema, &schema);
    for key in
        ["version", "cluster", "data_dir", "memory", "sources", "plugins", "pipelines", "sinks", "admin"]
    {
        assert!(schema["properties"].get(key).is_some(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false, "unknown keys are errors");
}

/// Every part has known types, references lead somewhere, and what is required is among the properties.
fn check_schema(root: &Value, part: &Value) {
    let Value::Object(members) = part else {
        if let Value::Array(parts) = part {
            parts.iter().for_each(|part| check_schema(root, part));
        }
        return;
    };
    if let Some(Value::String(reference)) = members.get("$ref") {
        let pointer = reference.strip_prefix('#').expect("a reference within the schema");
        assert!(root.pointer(pointer).is_some(), "{reference}");
    }
    let known: BTreeSet<&str> = ["object", "array", "string", "integer", "number", "boolean", "null"].into();
    match members.get("type") {
        Some(Value::String(name)) => assert!(known.contains(name.as_str()), "{name}"),
        Some(Value::Array(names)) => assert!(names.iter().all(|name| known.contains(name.as_str().unwrap()))),
        _ => {}
    }
    if let (Some(Value::Array(required)), Some(Value::Object(properties))) =
        (members.get("required"), members.get("properties"))
    {
        assert!(required.iter().all(|name| properties.contains_key(name.as_str().unwrap())), "{required:?}");
    }
    for (name, value) in members {
        if !["default", "examples", "enum", "const"].contains(&name.as_str()) {
            check_schema(root, value);
        }
    }
}

#[test]
fn the_admin_address_answers() {
    let node = Node::new();
    node.configure(CONFIG);
    node.pod("shop_cart_u1").lines(["{}"; 10]);
    let agent = node.start();
    let admin = agent.admin();
    let out = node.path("out.ndjson");
    until("the lines are there", || count(&out) == 10);
    until("they are settled", || admin.ledger().account("all", "out").delivered.events == 10);

    assert_eq!((admin.get("/healthz").status, admin.get("/healthz").body), (200, "ok\n".into()));
    assert_eq!((admin.get("/readyz").status, admin.get("/readyz").body), (200, "ready\n".into()));
    assert_eq!(admin.get("/nothing").status, 404);
    let metrics = admin.get("/metrics");
    assert!(
        metrics.head.to_lowercase().contains("content-type: text/plain; version=0.0.4"),
        "{}",
        metrics.head
    );
    let metrics = admin.metrics();
    let delivered = [("pipeline", "all"), ("sink", "out"), ("state", "delivered")];
    assert_eq!(metrics.count("weir_ledger_events_total", &delivered), 10);
    assert_eq!(metrics.count("weir_ledger_balanced", &[]), 1);
    assert_eq!(metrics.count("weir_ready", &[]), 1);
    assert!(metrics.value("process_cpu_seconds_total", &[]) > 0.0);
    let resident = metrics.count("process_resident_memory_bytes", &[]);
    assert!((1 << 20..1 << 30).contains(&resident), "{resident}");
    let page = admin.get("/");
    assert!(page.status == 200 && page.body.contains("all") && page.body.contains("balanced"), "{page:?}");

    let mode = fs::metadata(node.path("data/admin.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let live = node.ledger();
    assert_eq!(live.agent.as_deref(), Some("live"));
    assert_eq!(live.accounts, admin.ledger().accounts);
    let text = node.weir(&["ledger", "-c", "weir.yaml"]);
    assert!(text.code == Some(0) && text.stdout.contains("balanced"), "{text}");

    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(!node.path("data/admin.json").is_file(), "nobody answers there any more");
    let stopped = node.ledger();
    assert_eq!(stopped.agent.as_deref(), Some("stopped"));
    assert_eq!(stopped.accounts, live.accounts);
}

/// Without `admin`, no port is opened.
#[test]
fn an_agent_without_an_admin_address_has_none() {
    let node = Node::new();
    node.write("weir.yaml", format!("version: 1\ncluster: test\ndata_dir: data\n{CONFIG}"));
    node.pod("shop_cart_u1").line("{}");
    let agent =
        integration_tests::Agent::spawn(node.command(&["run", "-c", "weir.yaml"]), &node.path("data"));
    until("the line is there", || count(&node.path("out.ndjson")) == 1);
    assert!(!node.path("data/admin.json").is_file());
    assert_eq!(agent.terminate().code, Some(0));
}

/// A stop may come at any moment of a start, and is never a death.
#[test]
fn a_stop_during_the_start_ends_well() {
    let node = Node::new();
    node.configure(CONFIG);
    for moment in 0..12 {
        let _ = fs::remove_file(node.path("data/lock"));
        let agent =
            integration_tests::Agent::spawn(node.command(&["run", "-c", "weir.yaml"]), &node.path("data"));
        until("it begins", || node.path("data/lock").is_file());
        std::thread::sleep(std::time::Duration::from_millis(moment));
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{moment} ms after its begin: {ended}");
    }
}

#[test]
fn one_data_folder_has_one_agent() {
    let node = Node::new();
    node.configure(CONFIG);
    let agent = node.start();
    for arguments in [&["run", "-c", "weir.yaml"][..], &["run", "-c", "weir.yaml", "--once"]] {
        let second = node.weir(arguments);
        assert_eq!(second.code, Some(1), "{second}");
        assert!(second.log.contains("another agent runs with data_dir"), "{second}");
        assert!(second.log.contains(node.path("data").to_str().unwrap()), "{second}");
    }
    node.pod("shop_cart_u1").line("{}");
    until("the first one works on", || count(&node.path("out.ndjson")) == 1);
    agent.kill();
    node.start().terminate();
}

#[test]
fn exit_codes_and_streams_are_those_of_the_help() {
    let node = Node::new();
    node.configure(CONFIG);
    let cases: [(&[&str], i32, &str); 12] = [
        (&["--help"], 0, "Exit codes"),
        (&["--version"], 0, "weir "),
        (&["run", "--help"], 0, "--once"),
        (&["check", "-c", "weir.yaml"], 0, "valid"),
        (&[], 2, ""),
        (&["rnu"], 2, ""),
        (&["run"], 2, ""),
        (&["run", "-c"], 2, ""),
        (&["run", "-c", "weir.yaml", "--twice"], 2, ""),
        (&["check", "-c", "weir.yaml", "--output", "xml"], 2, ""),
        (&["ledger", "--data-dir", "nowhere"], 1, ""),
        (&["ledger", "-c", "weir.yaml", "--data-dir", "data"], 2, ""),
    ];
    for (arguments, code, printed) in cases {
        let ended = node.weir(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended}");
        assert!(ended.stdout.contains(printed), "{arguments:?}: {ended}");
        let is_good = code == 0;
        assert_eq!(ended.log.is_empty(), is_good, "complaints go to standard error: {arguments:?}: {ended}");
        assert_eq!(
            ended.stdout.is_empty(),
            !is_good,
            "results go to standard output: {arguments:?}: {ended}"
        );
    }
    let ended = node.weir(&["chekc"]);
    assert!(ended.log.contains("'check'"), "a suggestion: {ended}");
}

/// Nothing to read is no error.
#[test]
fn a_single_run_over_nothing_ends_well() {
    let node = Node::new();
    node.configure(
        &CONFIG.replace("type: kubernetes_logs, path: pods", "type: file, include: ['nowhere/*.log']"),
    );
    let ended = node.run_once_well();
    assert_eq!(ended.stdout, "");
    assert_eq!(lines(&node.path("out.ndjson")).len(), 0);
    assert_eq!(node.ledger().accounts, []);
}

/// A folder of files is one configuration, as a mounted ConfigMap has it.
#[test]
fn a_configuration_may_be_a_folder() {
    let node = Node::new();
    let folder = node.path("conf");
    fs::create_dir_all(folder.join("..v1")).unwrap();
    std::os::unix::fs::symlink("..v1", folder.join("..data")).unwrap();
    for (name, text) in [
        (
            "10-base.yaml",
            "version: 1\ncluster: test\ndata_dir: ../data\nsinks: {out: {type: file, path: ../out.ndjson}}\n",
        ),
        ("20-team.yaml", "sources: {pods: {type: kubernetes_logs, path: ../pods}}\n"),
        ("30-team.yml", "pipelines: {all: {from: [pods], to: [out]}}\n"),
    ] {
        node.write(&format!("conf/..v1/{name}"), text);
        std::os::unix::fs::symlink(format!("..data/{name}"), folder.join(name)).unwrap();
    }
    node.pod("shop_cart_u1").line("{}");
    let ended = node.weir(&["run", "-c", "conf", "--once"]);
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(lines(&node.path("out.ndjson")).len(), 1);
}
