//! Two versions of a plugin: what the new one may do that the old one may not, and which events they treat differently.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use weir_event::batch::MAX_ROWS;
use weir_manifest::{Manifest, Paths};

use crate::fixture::changes;
use crate::replay::{NEW_YEAR, ReplayError, Replayer, Sandbox, Surroundings, Treated};
use crate::traffic::{Event, Events, TrafficError};

/// Differences beyond this many are counted and not shown.
const MAX_SHOWN: usize = 100;

/// What is different.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// Events that both were handed.
    pub events: u64,
    /// Those that came out differently.
    pub different: u64,
    /// How many of them, by what became of them: `keep → drop level`.
    pub by_kind: BTreeMap<String, u64>,
    /// The first of them.
    pub shown: Vec<Changed>,
    /// What the manifests say differently, member by member.
    pub manifest: Vec<String>,
    /// What the new one may see, change or do and the old one may not.
    pub grown: Vec<String>,
}

/// An event that came out differently.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    /// Its line in the file, counted from 1.
    pub line: u64,
    /// The event's text.
    pub event: String,
    /// What the old one made of it.
    pub old: Value,
    /// What the new one made of it.
    pub new: Value,
    /// Member by member what is otherwise.
    pub members: Vec<String>,
}

/// Why two plugins cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The old one does not run.
    #[error("the old plugin: {0}")]
    Old(#[source] ReplayError),
    /// The new one does not run.
    #[error("the new plugin: {0}")]
    New(#[source] ReplayError),
    /// The events.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
}

/// What both are handed.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The configuration as JSON text.
    pub config: &'a str,
    /// A file of events.
    pub traffic: &'a Path,
}

/// Compares two versions.
pub fn compare(
    sandbox: &Sandbox,
    old: &Arc<[u8]>,
    new: &Arc<[u8]>,
    input: Input<'_>,
) -> Result<Comparison, DiffError> {
    let mut old = sandbox.load(old, input.config).map_err(DiffError::Old)?;
    let mut new = sandbox.load(new, input.config).map_err(DiffError::New)?;
    let mut found = Comparison {
        manifest: manifest_changes(old.plugin().manifest(), new.plugin().manifest()),
        grown: grown(old.plugin().manifest(), new.plugin().manifest()),
        ..Comparison::default()
    };
    let mut events = Vec::new();
    for event in Events::open(input.traffic)? {
        events.push(event?);
        if events.len() == MAX_ROWS {
            found.add(&mut old, &mut new, &events)?;
            events.clear();
        }
    }
    found.add(&mut old, &mut new, &events)?;
    Ok(found)
}

// === impl Comparison ===

impl Comparison {
    /// Whether both do the same and may do the same. What else the manifests say, such as the version, is no difference.
    pub fn is_same(&self) -> bool {
        self.different == 0 && self.grown.is_empty()
    }

    fn add(&mut self, old: &mut Replayer, new: &mut Replayer, events: &[Event]) -> Result<(), DiffError> {
        let surroundings = Surroundings { now: NEW_YEAR, pressure: 0.0 };
        let olds = old.run(events, surroundings).map_err(DiffError::Old)?;
        let news = new.run(events, surroundings).map_err(DiffError::New)?;
        for ((event, old), new) in events.iter().zip(olds).zip(news) {
            self.events += 1;
            if old != new {
                self.note(event, &old, &new);
            }
        }
        Ok(())
    }

    fn note(&mut self, event: &Event, old: &Treated, new: &Treated) {
        self.different += 1;
        let (old, new) = (old.to_json(), new.to_json());
        *self.by_kind.entry(format!("{} → {}", kind(&old), kind(&new))).or_default() += 1;
        if self.shown.len() < MAX_SHOWN {
            let mut members = Vec::new();
            changes(String::new(), Some(&old), Some(&new), &mut members);
            self.shown.push(Changed { line: self.events, event: event.text.clone(), old, new, members });
        }
    }
}

fn kind(line: &Value) -> String {
    let events = if line.get("events").is_some() { " with events" } else { "" };
    let fate = match (line.get("drop").and_then(Value::as_str), line.get("keep")) {
        (Some(reason), _) => format!("drop {reason}"),
        (None, Some(_)) => "keep".to_owned(),
        (None, None) => "fault".to_owned(),
    };
    fate + events
}

/// Says where two values differ, member by member.
pub fn members(from: &Value, to: &Value) -> Vec<String> {
    let mut out = Vec::new();
    changes(String::new(), Some(from), Some(to), &mut out);
    out
}

fn manifest_changes(old: &Manifest, new: &Manifest) -> Vec<String> {
    let value = |manifest: &Manifest| serde_json::to_value(manifest).unwrap_or_default();
    members(&value(old), &value(new))
}

/// What the new one wants beyond the old one, for whoever has to agree to it.
pub fn grown(old: &Manifest, new: &Manifest) -> Vec<String> {
    let mut out = Vec::new();
    for name in new.capabilities.iter().filter(|name| !old.capabilities.contains(name)) {
        out.push(format!("has the capability {name}"));
    }
    paths("reads", &old.reads, &new.reads, &mut out);
    paths("writes", &old.writes, &new.writes, &mut out);
    if let Some(allowed) = &old.attributes {
        match &new.attributes {
            Some(wanted) => out.extend(
                wanted
                    .iter()
                    .filter(|name| !allowed.contains(name))
                    .map(|name| format!("sees the attribute {name}")),
            ),
            None => out.push("sees any attribute".to_owned()),
        }
    }
    if new.limits.memory > old.limits.memory {
        out.push(format!("wants {} bytes of memory", json!(new.limits.memory)));
    }
    if let (Some(wanted), true) = (new.limits.deadline, new.limits.deadline > old.limits.deadline) {
        out.push(format!("wants {wanted:?} for a call"));
    }
    if old.fail_closed && !new.fail_closed {
        out.push("is no longer fail_closed".to_owned());
    }
    out
}

fn paths(verb: &str, old: &Paths, new: &Paths, out: &mut Vec<String>) {
    match new {
        Paths::Any if *old == Paths::Any => {}
        Paths::Any => out.push(format!("{verb} any field")),
        Paths::Listed(wanted) => {
            out.extend(wanted.iter().filter(|path| !old.allow(path)).map(|path| format!("{verb} {path}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(members: &str) -> Manifest {
        let text = format!(r#"{{"name":"p","version":"1.0.0","worlds":["transform"],{members}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn only_what_is_more_has_grown() {
        let cases = [
            (r#""reads":["a"],"writes":[]"#, r#""reads":["a.b"],"writes":[]"#, vec![]),
            (
                r#""reads":["a"],"writes":[]"#,
                r#""reads":["a","b"],"writes":["c"]"#,
                vec!["reads b", "writes c"],
            ),
            (r#""reads":[],"writes":"any""#, r#""reads":"any","writes":"any""#, vec!["reads any field"]),
            (
                r#""reads":[],"writes":[]"#,
                r#""reads":[],"writes":[],"capabilities":["metrics.query"]"#,
                vec!["has the capability metrics.query"],
            ),
            (
                r#""reads":[],"writes":[],"attributes":["pod"]"#,
                r#""reads":[],"writes":[],"attributes":["pod","uid"]"#,
                vec!["sees the attribute uid"],
            ),
            (
                r#""reads":[],"writes":[],"fail_closed":true"#,
                r#""reads":[],"writes":[]"#,
                vec!["is no longer fail_closed"],
            ),
            (
                r#""reads":[],"writes":[],"limits":{"memory":"32MiB"}"#,
                r#""reads":[],"writes":[],"limits":{"memory":"64MiB","deadline":"1s"}"#,
                vec!["wants 67108864 bytes of memory", "wants 1s for a call"],
            ),
        ];
        for (old, new, expected) in cases {
            assert_eq!(grown(&manifest(old), &manifest(new)), expected, "{old} → {new}");
        }
    }
}
