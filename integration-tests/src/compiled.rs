//! Compiled plugins that tests share: compiling the same plugin for each of a hundred nodes would take minutes.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Mutex;

use crate::agent::Agent;
use crate::artefacts;
use crate::node::Node;

/// One test at a time fills the cache.
static FILLING: Mutex<()> = Mutex::new(());

/// Has the agent compile these plugins, unless that was done before, and gives the node's data folder a copy of what it
/// keeps of them.
pub(crate) fn give(node: &Node, plugins: &[&str]) {
    if plugins.is_empty() {
        return;
    }
    let cache = artefacts::compiled();
    fs::create_dir_all(&cache).expect("a folder for compiled plugins");
    {
        let _filling = FILLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        compile(&cache, plugins);
    }
    let data = node.path("data");
    fs::DirBuilder::new().mode(0o700).create(&data).expect("a data folder");
    fs::DirBuilder::new().mode(0o700).create(data.join("plugins")).expect("a folder for compiled plugins");
    for entry in fs::read_dir(cache.join("plugins")).expect("what the agent compiled") {
        let entry = entry.expect("a compiled plugin");
        fs::copy(entry.path(), data.join("plugins").join(entry.file_name())).expect("a copy");
    }
}

/// `weir check` compiles as the agent does, into its data folder.
fn compile(cache: &Path, plugins: &[&str]) {
    let node = Node::new();
    let entry = |name: &&str| {
        format!("  {name}: {{artifact: 'file:plugins/{name}.wasm', config: {}}}\n", config(name))
    };
    let entries: String = plugins.iter().map(entry).collect();
    let data_dir = serde_json::Value::from(cache.to_str().expect("a path that is text"));
    let head = format!("version: 1\ncluster: test\ndata_dir: {data_dir}\nmemory: 1GiB\nworkers: 1\n");
    node.write("weir.yaml", format!("{head}plugins:\n{entries}"));
    let ended = Agent::spawn(node.command(&["check", "-c", "weir.yaml"]), cache).wait();
    assert_eq!(ended.code, Some(0), "{ended}");
}

/// What a plugin must be told so that it starts.
fn config(plugin: &str) -> &'static str {
    match plugin {
        "misbehave" => "{mode: none}",
        _ => "{}",
    }
}
