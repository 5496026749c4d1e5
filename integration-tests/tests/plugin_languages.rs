//! The plugin that `weir plugin new` makes in JavaScript and in Python: built with the pinned tools, it passes the
//! fixtures that the one in Rust passes, and runs in an agent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use integration_tests::{Node, lines, weir};

/// Fetching tools and compiling an engine take minutes on a busy machine.
const LIMIT_SECONDS: &str = "1800";

/// Kept from one run to the next: the tools are hundreds of megabytes.
fn cache() -> PathBuf {
    let test = env::current_exe().unwrap();
    let cache = test.ancestors().nth(3).unwrap().join("tmp/languages");
    fs::create_dir_all(&cache).unwrap();
    cache
}

fn run(node: &Node, folder: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("timeout");
    command.arg(LIMIT_SECONDS).arg(weir()).args(arguments).current_dir(node.path(folder));
    let output = command.env("XDG_CACHE_HOME", cache()).env_remove("WEIR_LOG").output().unwrap();
    eprintln!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn check(language: &str, limits: &str) {
    let node = Node::new();
    assert_eq!(run(&node, ".", &["plugin", "new", "levels", "--lang", language]).0, Some(0));
    let (code, built) = run(&node, "levels", &["plugin", "build"]);
    assert_eq!(code, Some(0), "{built}");
    let tested = run(&node, "levels", &["plugin", "test"]);
    assert_eq!(tested, (Some(0), "ok      levels: 6 events\n".to_owned()));
    let (_, inspected) = run(&node, "levels", &["plugin", "inspect", "levels.wasm"]);
    assert!(inspected.contains("imports       weir:plugin/types@0.1.0\n"), "it asks for more: {inspected}");

    node.configure(&format!(
        "
plugins: {{levels: {{artifact: 'file:levels/levels.wasm', limits: {limits}}}}}
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
pipelines: {{all: {{from: [pods], stages: [levels], to: [out]}}}}
sinks: {{out: {{type: file, path: out.ndjson}}}}
"
    ));
    let mut log = node.pod("shop_cart_u1");
    log.line("{\"level\":\"warn\"}");
    log.line("{\"level\":\"debug\"}");
    let (code, printed) = run(&node, ".", &["run", "-c", "weir.yaml", "--once"]);
    assert_eq!(code, Some(0), "{printed}");
    let documents = lines(&node.path("out.ndjson"));
    assert_eq!(documents.len(), 1, "{documents:?}");
    assert!(format!("{:?}", documents[0]).contains("severity"), "{documents:?}");
}

#[test]
fn a_plugin_in_javascript_does_what_the_one_in_rust_does() {
    check("javascript", "{memory: 96MiB, deadline: 500ms}");
}

#[test]
fn a_plugin_in_python_does_what_the_one_in_rust_does() {
    check("python", "{memory: 64MiB, deadline: 500ms}");
}
