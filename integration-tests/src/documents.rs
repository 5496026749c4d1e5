//! What sinks wrote: NDJSON.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

/// The members that belong to the envelope.
const ENVELOPE: [&str; 6] = ["@timestamp", "cluster", "node", "kubernetes", "stream", "log"];

/// The lines of a file; none where there is no file. The last one must be finished.
#[track_caller]
pub fn lines(path: &Path) -> Vec<String> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        read => read.unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    };
    let text = String::from_utf8(bytes).expect("documents are UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line of {} is not finished", path.display());
    text.lines().map(str::to_owned).collect()
}

/// How many finished lines a file has that is still being written; none where there is no file.
pub fn count(path: &Path) -> u64 {
    fs::read(path).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The documents of a file.
#[track_caller]
pub fn parse(path: &Path) -> Vec<Value> {
    let document =
        |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    lines(path).iter().map(document).collect()
}

/// The numbers under `n`, in the order of the documents. Every document has one.
#[track_caller]
pub fn numbers(path: &Path) -> Vec<u64> {
    let number =
        |document: &Value| document["n"].as_u64().unwrap_or_else(|| panic!("no number in {document}"));
    parse(path).iter().map(number).collect()
}

/// What is left of a document without the envelope.
pub fn own_members(document: &Value) -> Map<String, Value> {
    let mut own = document.as_object().expect("a document is an object").clone();
    own.retain(|name, _| !ENVELOPE.contains(&name.as_str()));
    own
}
