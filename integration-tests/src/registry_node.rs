//! A node whose only plugin comes from a registry, for the tests of registries.

use std::path::Path;

use serde_json::Value;

use crate::artefacts::plugin;
use crate::node::Node;
use crate::registry::Registry;

/// The plugin of most nodes.
pub const PLUGIN: &str = "log-sampler";
/// Another one.
pub const OTHER_PLUGIN: &str = "field-filter";

/// A node with an event to read, whose plugin is this one. `more` follows in the plugin's map, `top` at the top level.
pub fn configure(node: &Node, artifact: &str, more: &str, top: &str) {
    node.write("in.log", "{\"level\":\"info\",\"message\":\"x\"}\n");
    node.configure(&format!(
        "sources:\n  in: {{type: file, include: [in.log], format: text}}\n\
         plugins:\n  p: {{artifact: '{artifact}'{more}}}\n\
         pipelines:\n  all: {{from: [in], stages: [p], to: [out]}}\n\
         sinks:\n  out: {{type: file, path: out.ndjson}}\n{top}"
    ));
}

/// The same, with these plugins compiled.
pub fn node_with(artifact: &str, more: &str, top: &str) -> Node {
    let node = Node::with_compiled(&[PLUGIN, OTHER_PLUGIN]);
    configure(&node, artifact, more, top);
    node
}

/// The plugin must be signed by one of these keys.
pub fn verified_by(keys: &Path) -> String {
    format!(", verify: {{key: {{file: '{}'}}}}", keys.display())
}

/// What a command of `weir` answers as JSON.
#[track_caller]
pub fn weir(node: &Node, arguments: &[&str]) -> Value {
    let ended = node.weir(&[arguments, &["--output", "json"]].concat());
    assert_eq!(ended.code, Some(0), "{ended}");
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Pushes a plugin by `weir plugin push` and returns its digest.
#[track_caller]
pub fn push(registry: &Registry, name: &str, tag: &str, which: &str) -> String {
    let reference = format!("oci://{}:{tag}", registry.repository(name));
    let pushed = weir(&Node::new(), &["plugin", "push", plugin(which).to_str().unwrap(), &reference]);
    let digest = pushed["digest"].as_str().unwrap().to_owned();
    assert_eq!(pushed["pinned"], format!("{reference}@{digest}"));
    digest
}
