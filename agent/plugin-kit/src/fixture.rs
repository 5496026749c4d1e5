//! Fixtures: a plugin's behaviour as files, three or four for each case. The SDK's test kit reads the same ones.
//!
//! | file | content |
//! |---|---|
//! | `NAME.config.json` | the configuration |
//! | `NAME.events.ndjson` | one event a line, its text or as `weir tap --record` writes it |
//! | `NAME.expected.ndjson` | for each event `{"keep": document}` or `{"drop": reason}`, and `"events": [...]` for those it made |
//! | `NAME.context.json` | optional: what [`FixtureContext`] has |

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::replay::{Fate, NEW_YEAR, ReplayError, Sandbox, Surroundings, Treated};
use crate::traffic::{Event, Events, TrafficError};

const CONFIG: &str = ".config.json";
const EVENTS: &str = ".events.ndjson";
const EXPECTED: &str = ".expected.ndjson";
const CONTEXT: &str = ".context.json";
/// The fixture that a bench takes its events from, where there is one of this name.
const BENCH: &str = "bench";

/// One case.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// The files' common name.
    pub name: String,
    /// The configuration as JSON text.
    pub config: String,
    events: Vec<Event>,
    surroundings: Surroundings,
    /// Absent where nobody has said yet what is to come out.
    expected: Option<Vec<Value>>,
    expected_file: PathBuf,
}

/// `{"now": 0, "pressure": 0.9, "streams": [{"namespace": "shop"}], "rows": [0, 0]}`, all of it optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FixtureContext {
    /// Nanoseconds since the Unix epoch.
    now: Option<i64>,
    pressure: f32,
    /// Attributes of streams.
    streams: Vec<BTreeMap<String, String>>,
    /// The stream of each event; 0 where it is not given.
    rows: Vec<usize>,
}

/// What came of a fixture.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Everything came out as expected.
    Passed {
        /// How many events it has.
        events: usize,
    },
    /// Something did not.
    Differs(Vec<Difference>),
    /// What came out was written down as expected.
    Updated {
        /// How many events it has.
        events: usize,
    },
    /// The plugin does not run with its configuration.
    NotRun(String),
}

/// One event that came out otherwise than expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Counted from 1.
    pub line: usize,
    /// The event's text.
    pub event: String,
    /// The expected line; absent where there is none.
    pub expected: Option<Value>,
    /// What came out; absent where there are more lines than events.
    pub got: Option<Value>,
}

/// Why fixtures cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// There are none.
    #[error("no NAME{CONFIG} in {}", folder.display())]
    None {
        /// Where they were looked for.
        folder: PathBuf,
    },
    /// A file or folder.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The events.
    #[error(transparent)]
    Events(#[from] TrafficError),
}

/// Reads all fixtures of a folder, by name.
pub fn read_all(folder: &Path) -> Result<Vec<Fixture>, FixtureError> {
    let entries = fs::read_dir(folder).map_err(io_error("list", folder))?;
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.map_err(io_error("list", folder))?.file_name();
        names.extend(file.to_str().and_then(|file| file.strip_suffix(CONFIG)).map(str::to_owned));
    }
    names.sort();
    if names.is_empty() {
        return Err(FixtureError::None { folder: folder.to_owned() });
    }
    names.into_iter().map(|name| Fixture::read(folder, name)).collect()
}

/// The fixture to take a bench's events from: the one called so, else the one with the most events.
pub fn for_bench(fixtures: Vec<Fixture>) -> Option<Fixture> {
    fixtures.into_iter().max_by_key(|fixture| (fixture.name == BENCH, fixture.events.len()))
}

// === impl Fixture ===

impl Fixture {
    fn read(folder: &Path, name: String) -> Result<Fixture, FixtureError> {
        let file = |suffix: &str| folder.join(format!("{name}{suffix}"));
        let config = read(&file(CONFIG))?;
        json::<Value>(&file(CONFIG), &config)?;
        let context: FixtureContext = match is_there(&file(CONTEXT)) {
            true => json(&file(CONTEXT), &read(&file(CONTEXT))?)?,
            false => FixtureContext::default(),
        };
        let mut events = Vec::new();
        for event in Events::open(&file(EVENTS))? {
            events.push(context.place(event?, events.len()));
        }
        let expected_file = file(EXPECTED);
        let expected = match is_there(&expected_file) {
            true => Some(lines(&expected_file)?),
            false => None,
        };
        let surroundings = Surroundings { now: context.now.unwrap_or(NEW_YEAR), pressure: context.pressure };
        Ok(Fixture { name, config, events, surroundings, expected, expected_file })
    }

    /// Its events.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Runs it.
    pub fn check(&self, sandbox: &Sandbox, wasm: &Arc<[u8]>) -> Result<Outcome, FixtureError> {
        Ok(match self.run(sandbox, wasm) {
            Ok(got) => self.compare(&got),
            Err(error) => Outcome::NotRun(error.to_string()),
        })
    }

    /// Runs it and writes what comes out down as expected, unless the plugin failed on an event.
    pub fn update(&self, sandbox: &Sandbox, wasm: &Arc<[u8]>) -> Result<Outcome, FixtureError> {
        let got = match self.run(sandbox, wasm) {
            Ok(got) => got,
            Err(error) => return Ok(Outcome::NotRun(error.to_string())),
        };
        let compared = self.compare(&got);
        let failed = got.iter().any(|treated| matches!(treated.fate, Fate::Fault(_)));
        if failed || matches!(compared, Outcome::Passed { .. }) {
            return Ok(compared);
        }
        let text: String = got.iter().map(|treated| format!("{}\n", treated.to_json())).collect();
        fs::write(&self.expected_file, text).map_err(io_error("write", &self.expected_file))?;
        Ok(Outcome::Updated { events: got.len() })
    }

    fn run(&self, sandbox: &Sandbox, wasm: &Arc<[u8]>) -> Result<Vec<Treated>, ReplayError> {
        sandbox.load(wasm, &self.config)?.run(&self.events, self.surroundings)
    }

    fn compare(&self, got: &[Treated]) -> Outcome {
        let expected = self.expected.as_deref().unwrap_or_default();
        let mut differences = Vec::new();
        for row in 0..got.len().max(expected.len()) {
            let (expected, got) = (expected.get(row), got.get(row).map(Treated::to_json));
            if expected != got.as_ref() {
                let event = self.events.get(row).map(|event| event.text.clone()).unwrap_or_default();
                differences.push(Difference { line: row + 1, event, expected: expected.cloned(), got });
            }
        }
        match differences.is_empty() {
            true => Outcome::Passed { events: got.len() },
            false => Outcome::Differs(differences),
        }
    }
}

// === impl FixtureContext ===

impl FixtureContext {
    /// Gives an event the attributes of its stream, unless it was recorded with its own.
    fn place(&self, mut event: Event, row: usize) -> Event {
        let stream = self.rows.get(row).copied().unwrap_or_default();
        if let (true, Some(attributes)) = (event.attributes.is_empty(), self.streams.get(stream)) {
            event.attributes.clone_from(attributes);
        }
        event
    }
}

// === impl Difference ===

impl Difference {
    /// Member by member what is otherwise, as `keep.level: "info" became "warn"`.
    pub fn members(&self) -> Vec<String> {
        let mut out = Vec::new();
        if let (Some(expected), Some(got)) = (&self.expected, &self.got) {
            changes(String::new(), Some(expected), Some(got), &mut out);
        }
        out
    }
}

/// Says where two values differ, down to the members.
pub(crate) fn changes(path: String, from: Option<&Value>, to: Option<&Value>, out: &mut Vec<String>) {
    match (from, to) {
        (Some(from), Some(to)) if from == to => {}
        (Some(Value::Object(from)), Some(Value::Object(to))) => {
            let added = to.keys().filter(|key| !from.contains_key(*key));
            for key in from.keys().chain(added) {
                let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                changes(at, from.get(key), to.get(key), out);
            }
        }
        (Some(from), Some(to)) => out.push(format!("{path}: {from} became {to}")),
        (Some(from), None) => out.push(format!("{path}: {from} is gone")),
        (None, Some(to)) => out.push(format!("{path}: {to} is new")),
        (None, None) => {}
    }
}

fn is_there(path: &Path) -> bool {
    path.is_file()
}

fn read(path: &Path) -> Result<String, FixtureError> {
    fs::read_to_string(path).map_err(io_error("read", path))
}

fn json<T: for<'de> Deserialize<'de>>(path: &Path, text: &str) -> Result<T, FixtureError> {
    serde_json::from_str(text)
        .map_err(|error| FixtureError::Content { path: path.to_owned(), problem: error.to_string() })
}

fn lines(path: &Path) -> Result<Vec<Value>, FixtureError> {
    let text = read(path)?;
    let parse = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| FixtureError::Content {
            path: path.to_owned(),
            problem: format!("line {}: {error}", at + 1),
        })
    };
    text.lines().enumerate().map(parse).collect()
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FixtureError {
    let path = path.to_owned();
    move |source| FixtureError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_told_by_member() {
        let told = |from: Value, to: Value| {
            let mut out = Vec::new();
            changes(String::new(), Some(&from), Some(&to), &mut out);
            out
        };
        assert_eq!(told(json!({"keep": {"a": 1}}), json!({"keep": {"a": 1}})), Vec::<String>::new());
        assert_eq!(
            told(json!({"keep": {"a": 1, "b": {"c": "x"}}}), json!({"keep": {"b": {"c": "y"}, "d": null}})),
            ["keep.a: 1 is gone", "keep.b.c: \"x\" became \"y\"", "keep.d: null is new"]
        );
        assert_eq!(
            told(json!({"keep": {}}), json!({"drop": "r"})),
            ["keep: {} is gone", "drop: \"r\" is new"]
        );
    }

    #[test]
    fn a_folder_without_fixtures_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_all(folder.path()), Err(FixtureError::None { .. })));
        assert!(matches!(read_all(&folder.path().join("nowhere")), Err(FixtureError::Io { .. })));
    }

    #[test]
    fn a_file_that_is_not_json_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("a.config.json", "{}");
        write("a.events.ndjson", "one\n");
        write("a.expected.ndjson", "{\"keep\":{}}\n{\n");
        let error = read_all(folder.path()).unwrap_err().to_string();
        assert!(error.contains("a.expected.ndjson: line 2"), "{error}");
    }
}
