//! Components of every version of the plugin boundary load and run: what was built once goes on working.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use integration_tests::{Node, checkout, lines};

const CONFIG: &str = "
plugins: {old: {artifact: 'file:old.wasm'}}
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], stages: [old], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

#[test]
fn a_component_of_every_version_runs() {
    let mut count = 0;
    for entry in fs::read_dir(checkout().join("integration-tests/abi")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wat") {
            continue;
        }
        let node = Node::new();
        node.write("old.wasm", wat::parse_file(&path).unwrap());
        node.configure(CONFIG);
        let mut log = node.pod("shop_cart_u1");
        log.line("{\"level\":\"info\"}");
        log.line("plain text");
        let ended = node.run_once_well();
        assert_eq!(lines(&node.path("out.ndjson")).len(), 2, "{}: {ended}", path.display());
        let inspected = node.weir(&["plugin", "inspect", "old.wasm"]);
        assert_eq!(inspected.code, Some(0), "{}: {inspected}", path.display());
        count += 1;
    }
    assert!(count > 0, "there is a component for each world");
}
