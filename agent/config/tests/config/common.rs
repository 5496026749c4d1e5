//! What several tests share.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_config::Host;

/// Set to write the kept files anew: `WEIR_UPDATE=1 cargo test -p weir-config`.
const UPDATE: &str = "WEIR_UPDATE";

/// The folder of this crate's tests.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Compares a text with the file that is kept of it, or writes that file if it was asked for.
pub fn assert_kept(name: &str, text: &str) {
    let file = folder().join(name);
    if std::env::var_os(UPDATE).is_some() {
        return std::fs::write(&file, text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, kept, "{name} differs; if that is meant, run the test with {UPDATE}=1");
}

/// A machine without limits, called `node-1`, with a secret in the environment.
pub fn host() -> Host {
    let variables = [("NODE_NAME", "node-1"), ("WEIR_TEST_SECRET", "open-sesame")];
    Host::at("/nonexistent", variables.map(|(name, value)| (name.to_string(), value.to_string())).into())
}

/// A machine with these environment variables and files.
pub fn host_with(root: &Path, variables: &[(&str, &str)], files: &[(&str, &str)]) -> Host {
    for (file, text) in files {
        let file = root.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Host::at(root, variables)
}

/// Follows a reference to a definition.
pub fn resolve<'a>(schema: &'a Value, of: &'a Value) -> &'a Value {
    match of.get("$ref").and_then(Value::as_str).and_then(|at| at.strip_prefix('#')) {
        Some(pointer) => schema.pointer(pointer).unwrap(),
        None => of,
    }
}
