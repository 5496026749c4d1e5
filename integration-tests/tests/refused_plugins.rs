//! Plugins that the agent must not load. Each is told with its place in the configuration, all at once, and nothing is
//! read or written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs;

use integration_tests::{Node, component, core_module, plugin};
use serde_json::{Value, json};

/// A plugin's name, its configuration, the key that the error is about, and what it says.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    (
        "missing",
        "artifact: file:nowhere.wasm",
        "artifact",
        &["failed to read", "nowhere.wasm", "No such file"],
    ),
    ("folder", "artifact: file:pods", "artifact", &["failed to read", "pods"]),
    ("empty", "artifact: file:empty.wasm", "artifact", &["WebAssembly"]),
    ("text", "artifact: file:text.wasm", "artifact", &["WebAssembly"]),
    ("cut", "artifact: file:cut.wasm", "artifact", &[]),
    ("scrambled", "artifact: file:scrambled.wasm", "artifact", &[]),
    ("module", "artifact: file:module.wasm", "artifact", &["component"]),
    ("bare-module", "artifact: file:bare-module.wasm", "artifact", &["component"]),
    ("unmarked", "artifact: file:unmarked.wasm", "artifact", &["weir:manifest"]),
    ("bad-manifest", "artifact: file:bad-manifest.wasm", "artifact", &["manifest"]),
    (
        "hollow",
        "artifact: file:hollow.wasm",
        "artifact",
        &["does not implement", "transform", "exports nothing"],
    ),
    ("other-world", "artifact: file:other-world.wasm", "artifact", &["world `check`", "knows transform"]),
    ("greedy", "artifact: file:greedy.wasm", "artifact", &["capability", "metrics.query"]),
    (
        "forbidden-read",
        "{artifact: file:plugins/log-sampler.wasm, grants: {fields: [message]}}",
        "grants",
        &["level"],
    ),
    (
        "forbidden-write",
        "{artifact: file:plugins/log-sampler.wasm, config: {rate_field: rate}, grants: {write: []}}",
        "grants",
        &["rate"],
    ),
    (
        "open",
        "{artifact: file:plugins/field-filter.wasm, config: {remove: [a]}, on_error: pass}",
        "on_error",
        &["fail_closed", "dead_letter"],
    ),
    (
        "odd-rate",
        "{artifact: file:plugins/log-sampler.wasm, config: {rates: {info: 2}}}",
        "config",
        &["rates.info", "at most 1"],
    ),
    ("odd-key", "{artifact: file:plugins/log-sampler.wasm, config: {raets: {}}}", "config", &["raets"]),
    ("no-mode", "{artifact: MISBEHAVE}", "config", &["the key `mode` is missing"]),
    // What a configuration holds may be a secret.
    (
        "short-key",
        "{artifact: file:plugins/field-filter.wasm, config: {redact: [{field: a, hash: {key: swordfish}}]}}",
        "config",
        &["redact[0].hash.key: must have at least 16 characters"],
    ),
    ("start-error", "{artifact: MISBEHAVE, config: {mode: start_error}}", "config", &["refused on purpose"]),
    (
        "start-trap",
        "{artifact: MISBEHAVE, config: {mode: start_trap}}",
        "artifact",
        &["failed to start (trap)"],
    ),
    (
        "start-spin",
        "{artifact: MISBEHAVE, config: {mode: start_spin}}",
        "artifact",
        &["failed to start (deadline)"],
    ),
    (
        "start-alloc",
        "{artifact: MISBEHAVE, config: {mode: start_alloc}}",
        "artifact",
        &["failed to start (memory)"],
    ),
    (
        "undeclared-read",
        "{artifact: MISBEHAVE, config: {mode: undeclared_read}}",
        "artifact",
        &["secret", "manifest"],
    ),
    (
        "undeclared-edit",
        "{artifact: MISBEHAVE, config: {mode: undeclared_edit}}",
        "artifact",
        &["secret", "manifest"],
    ),
];

const HEAD: &str = "\
version: 1
cluster: test
data_dir: data
memory: 4GiB
workers: 1
sources: {pods: {type: kubernetes_logs, path: pods}}
sinks: {out: {type: file, path: out.ndjson}}
pipelines: {all: {from: [pods], stages: [missing, module], to: [out]}}
plugins:
";

fn manifest(worlds: &str, capabilities: &str) -> String {
    let (worlds, capabilities): (Value, Value) =
        (serde_json::from_str(worlds).unwrap(), serde_json::from_str(capabilities).unwrap());
    json!({
        "name": "wrong", "version": "0.1.0", "description": "Wrong", "worlds": worlds, "reads": [], "writes": [],
        "capabilities": capabilities, "fail_closed": false, "limits": {}, "config_schema": {},
    })
    .to_string()
}

fn write_artefacts(node: &Node) {
    let good = manifest(r#"["transform"]"#, "[]");
    node.write("empty.wasm", "");
    node.write("text.wasm", "this is not WebAssembly, however long it may be");
    let mut sampler = fs::read(plugin("log-sampler")).unwrap();
    node.write("cut.wasm", &sampler[..sampler.len() / 2]);
    let middle = sampler.len() / 2;
    sampler[middle..middle + 1000].fill(0xff);
    node.write("scrambled.wasm", sampler);
    node.write("module.wasm", core_module(Some(&good)));
    node.write("bare-module.wasm", core_module(None));
    node.write("unmarked.wasm", component(None));
    node.write("bad-manifest.wasm", component(Some("{\"name\": ")));
    node.write("hollow.wasm", component(Some(&good)));
    node.write("other-world.wasm", component(Some(&manifest(r#"["check"]"#, "[]"))));
    node.write("greedy.wasm", component(Some(&manifest(r#"["transform"]"#, r#"["metrics.query"]"#))));
}

fn node_with_cases() -> Node {
    let node = Node::with_compiled(&["log-sampler", "field-filter", "misbehave"]);
    write_artefacts(&node);
    let mut config = HEAD.to_owned();
    for (name, entry, ..) in CASES {
        let entry = entry.replace("MISBEHAVE", "file:plugins/misbehave.wasm");
        let entry = if entry.starts_with('{') { entry } else { format!("{{{entry}}}") };
        config.push_str(&format!("  {name}: {entry}\n"));
    }
    node.write("weir.yaml", config);
    node.pod("shop_cart_u1").line("{}");
    node
}

#[test]
fn every_plugin_that_cannot_be_loaded_is_told_with_its_place() {
    let node = node_with_cases();
    let ended = node.weir(&["check", "-c", "weir.yaml", "--output", "json"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["valid"], false);
    let errors = report["errors"].as_array().unwrap();
    for (number, (name, _, key, words)) in CASES.iter().enumerate() {
        let path = format!("plugins.{name}");
        let own: Vec<&Value> = errors
            .iter()
            .filter(|error| {
                error["path"].as_str().is_some_and(|p| p == path || p.starts_with(&format!("{path}.")))
            })
            .collect();
        let [error] = own.as_slice() else { panic!("{name}: {} errors in {errors:#?}", own.len()) };
        let message = error["message"].as_str().unwrap();
        assert!(words.iter().all(|word| message.contains(word)), "{name}: {message}");
        assert!(!message.contains("swordfish"), "{name}: {message}");
        assert!(!message.contains('\n') && message.len() < 3000, "{name}: {message}");
        // A key that is not there is told by the entry that it belongs in.
        let told = error["path"].as_str().unwrap();
        assert!(told == path || told == format!("{path}.{key}"), "{name}: {told}");
        assert_eq!(error["line"], HEAD.lines().count() + 1 + number, "{name}: {error}");
    }
    assert_eq!(errors.len(), CASES.len(), "{errors:#?}");
}

#[test]
fn an_agent_with_plugins_that_cannot_be_loaded_does_not_start() {
    let node = node_with_cases();
    for arguments in [&["run", "-c", "weir.yaml", "--once"][..], &["run", "-c", "weir.yaml"]] {
        let ended = node.weir(arguments);
        assert_eq!(ended.code, Some(1), "{ended}");
        for (name, ..) in CASES {
            assert!(ended.log.contains(&format!(": plugins.{name}")), "{name}: {ended}");
        }
        assert!(!ended.log.contains("panicked"), "{ended}");
    }
    assert!(!node.path("out.ndjson").is_file(), "nothing may be delivered");
    assert_eq!(
        node.weir(&["ledger", "--data-dir", "data", "--output", "json"]).stdout.matches("read").count(),
        0
    );
}
