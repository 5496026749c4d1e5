//! Fixtures: a plugin's behaviour as files, three or four for each case.
//!
//! | file | content |
//! |---|---|
//! | `NAME.config.json` | the configuration |
//! | `NAME.events.ndjson` | one event a line, its text or as `weir tap --record` writes it |
//! | `NAME.expected.ndjson` | for each event `{"keep": document}` or `{"drop": reason}`, and `"events": [...]` for those it made |
//! | `NAME.context.json` | optional: what [`FixtureContext`] has |

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::outcome::{covers, paths_of};
use super::{Agent, Error, Event, Fate, Run};
use crate::{Json, Transform, json};

/// Runs the plugin over every fixture in the folder `fixtures` beside its `manifest.json`, and checks that its plans
/// stay within the manifest. `folder` is the plugin's own: `env!("CARGO_MANIFEST_DIR")`.
///
/// # Errors
/// [`Error::Fixture`] names the first event that came out differently, or what can't be read; a folder without
/// fixtures is an error too.
pub fn check_fixtures<T: Transform>(folder: impl AsRef<Path>) -> Result<(), Error> {
    let manifest: Manifest = read_json(&folder.as_ref().join("manifest.json"))?;
    let names = names(&folder.as_ref().join("fixtures"))?;
    if names.is_empty() {
        return Err(Error::Fixture(format!("no NAME.config.json in {}/fixtures", folder.as_ref().display())));
    }
    for name in names {
        check_one::<T>(&name, &manifest)
            .map_err(|error| Error::Fixture(format!("fixture {}: {error}", name.display())))?;
    }
    Ok(())
}

/// The part of a manifest that a plan is held against.
#[derive(Deserialize)]
struct Manifest {
    reads: Paths,
    writes: Paths,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Paths {
    Any(String),
    List(Vec<String>),
}

/// `{"now": 0, "pressure": 0.9, "streams": [{"namespace": "shop"}], "rows": [0, 0]}`, all of it optional.
#[derive(Default, Deserialize)]
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

fn check_one<T: Transform>(name: &Path, manifest: &Manifest) -> Result<(), Error> {
    let mut agent = Agent::<T>::configure(read_json(&suffixed(name, "config.json"))?)?;
    check_plan(&agent, manifest)?;
    let context_file = suffixed(name, "context.json");
    let context = if context_file.is_file() { read_json(&context_file)? } else { FixtureContext::default() };
    agent.pressure = context.pressure;
    agent.now = context.now.unwrap_or(agent.now);
    let events = read(&suffixed(name, "events.ndjson"))?;
    let events = events.lines().enumerate().map(|(row, line)| event(line, row, &context));
    let got = rendered(agent.run(events)?);
    let expected = read(&suffixed(name, "expected.ndjson"))?;
    let expected: Vec<&str> = expected.lines().collect();
    if expected.len() != got.len() {
        return Err(Error::Fixture(format!("{} events but {} expected lines", got.len(), expected.len())));
    }
    for (row, (expected, got)) in expected.into_iter().zip(got).enumerate() {
        let same = serde_json::from_str::<Json>(expected).is_ok_and(|expected| expected == got);
        if !same {
            let line = row + 1;
            return Err(Error::Fixture(format!(
                "event {line} differs\n  expected {expected}\n  got      {got}"
            )));
        }
    }
    Ok(())
}

fn check_plan<T: Transform>(agent: &Agent<T>, manifest: &Manifest) -> Result<(), Error> {
    let plan = agent.plan();
    let edited = plan.edits.iter().flat_map(paths_of);
    let reads = plan.reads.iter().map(|path| ("reads", path.as_str(), &manifest.reads));
    let writes = plan.writes.iter().map(String::as_str).chain(edited);
    for (verb, path, declared) in reads.chain(writes.map(|path| ("writes", path, &manifest.writes))) {
        let declared = match declared {
            Paths::Any(word) if word == "any" => continue,
            Paths::Any(word) => {
                return Err(Error::Fixture(format!(
                    "the manifest's {verb} is `{word}`, not `any` or a list"
                )));
            }
            Paths::List(paths) => paths,
        };
        if !covers(declared.iter().map(String::as_str), path) {
            return Err(Error::Fixture(format!(
                "the plan {verb} {path}, which the manifest does not declare"
            )));
        }
    }
    Ok(())
}

/// An event as it was recorded. What else such a line has, the agent's own tests look at.
#[derive(Deserialize)]
struct Recorded {
    text: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

fn event(line: &str, row: usize, context: &FixtureContext) -> Event {
    if line.starts_with("{\"v\":")
        && let Ok(recorded) = serde_json::from_str::<Recorded>(line)
    {
        let own = recorded.attributes.iter();
        return own.fold(Event::new(recorded.text), |event, (name, value)| event.attribute(name, value));
    }
    let stream = context.rows.get(row).copied().unwrap_or(0);
    let attributes = context.streams.get(stream).into_iter().flatten();
    attributes.fold(Event::new(line), |event, (name, value)| event.attribute(name, value))
}

fn rendered(run: Run) -> Vec<Json> {
    let mut rows: Vec<Json> = run
        .rows
        .into_iter()
        .map(|fate| match fate {
            Fate::Kept(document) => json!({"keep": document}),
            Fate::Dropped(reason) => json!({"drop": reason}),
        })
        .collect();
    for made in run.events {
        match &mut rows[made.parent]["events"] {
            Json::Array(events) => events.push(made.document),
            empty => *empty = json!([made.document]),
        }
    }
    rows
}

fn names(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::Fixture(format!("failed to list {}: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(name) = path.to_str().and_then(|path| path.strip_suffix(".config.json")) {
            names.push(name.into());
        }
    }
    names.sort();
    Ok(names)
}

fn suffixed(name: &Path, suffix: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(".");
    path.push(suffix);
    path.into()
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path)
        .map_err(|error| Error::Fixture(format!("failed to read {}: {error}", path.display())))
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Error> {
    serde_json::from_str(&read(path)?).map_err(|error| Error::Fixture(format!("{}: {error}", path.display())))
}
