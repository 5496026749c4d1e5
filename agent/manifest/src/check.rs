//! Whether a manifest makes sense, beyond being JSON of the right shape.

use std::collections::HashSet;
use std::fmt;

use weir_event::stream::ATTRIBUTE_NAMES;

use crate::manifest::{Manifest, Paths};
use crate::path::check_path;

/// The worlds that this agent can run.
pub const KNOWN_WORLDS: [&str; 1] = ["transform"];

const MAX_NAME_BYTES: usize = 64;
const MAX_VERSION_BYTES: usize = 64;
const MAX_DESCRIPTION_BYTES: usize = 4096;
const MAX_PATHS: usize = 256;
const MAX_CAPABILITIES: usize = 64;
/// One page of linear memory: with less no module starts.
const MIN_MEMORY_BYTES: u64 = 64 << 10;
/// What a 32-bit linear memory can have.
const MAX_MEMORY_BYTES: u64 = 4 << 30;

/// One thing that is wrong in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The member, as `limits.memory` or `reads[3]`.
    pub key: String,
    /// What is wrong with it and what would be right.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.key, self.problem)
    }
}

/// Everything that is wrong at once; the worlds' names are for the caller.
pub(crate) fn problems(manifest: &Manifest) -> Vec<Problem> {
    let mut found = Problems(Vec::new());
    found.identity(manifest);
    found.paths("reads", &manifest.reads);
    found.paths("writes", &manifest.writes);
    found.attributes(manifest.attributes.as_deref().unwrap_or_default());
    found.capabilities(&manifest.capabilities);
    found.limits(manifest);
    if !(manifest.config_schema.is_object() || manifest.config_schema.is_boolean()) {
        found.add("config_schema", "must be a JSON Schema: an object, true or false");
    }
    found.0
}

struct Problems(Vec<Problem>);

// === impl Problems ===

impl Problems {
    fn add(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Problem { key: key.into(), problem: problem.into() });
    }

    fn identity(&mut self, manifest: &Manifest) {
        if !is_name(&manifest.name) {
            self.add(
                "name",
                format!("must be 1 to {MAX_NAME_BYTES} lower case letters, digits and inner dashes"),
            );
        }
        if manifest.version.len() > MAX_VERSION_BYTES || !is_semantic_version(&manifest.version) {
            self.add("version", "must be a semantic version such as 1.4.2");
        }
        if manifest.description.as_ref().is_some_and(|text| text.len() > MAX_DESCRIPTION_BYTES) {
            self.add("description", format!("must not be longer than {MAX_DESCRIPTION_BYTES} bytes"));
        }
        if manifest.worlds.is_empty() {
            self.add("worlds", format!("must name at least one of {}", KNOWN_WORLDS.join(", ")));
        }
        self.unique("worlds", &manifest.worlds);
    }

    fn paths(&mut self, key: &str, paths: &Paths) {
        let paths = paths.listed();
        if paths.len() > MAX_PATHS {
            self.add(key, format!("must not have more than {MAX_PATHS} paths"));
        }
        for (at, path) in paths.iter().enumerate() {
            if let Err(error) = check_path(path) {
                self.add(format!("{key}[{at}]"), error.to_string());
            }
        }
        self.unique(key, paths);
    }

    fn attributes(&mut self, attributes: &[String]) {
        for (at, name) in attributes.iter().enumerate() {
            if !ATTRIBUTE_NAMES.contains(&name.as_str()) {
                let known = ATTRIBUTE_NAMES.join(", ");
                self.add(
                    format!("attributes[{at}]"),
                    format!("`{name}` is no stream attribute; there are {known}"),
                );
            }
        }
        self.unique("attributes", attributes);
    }

    fn capabilities(&mut self, capabilities: &[String]) {
        if capabilities.len() > MAX_CAPABILITIES {
            self.add("capabilities", format!("must not have more than {MAX_CAPABILITIES} entries"));
        }
        for (at, name) in capabilities.iter().enumerate() {
            if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
                self.add(format!("capabilities[{at}]"), "must be a short name such as metrics.query");
            }
        }
        self.unique("capabilities", capabilities);
    }

    fn limits(&mut self, manifest: &Manifest) {
        if manifest.limits.memory.is_some_and(|bytes| !(MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES).contains(&bytes))
        {
            self.add("limits.memory", "must be between 64KiB and 4GiB");
        }
        if manifest.limits.deadline.is_some_and(|deadline| deadline.is_zero()) {
            self.add("limits.deadline", "must not be zero");
        }
    }

    fn unique(&mut self, key: &str, values: &[String]) {
        let mut seen = HashSet::new();
        for (at, value) in values.iter().enumerate() {
            if !seen.insert(value) {
                self.add(format!("{key}[{at}]"), format!("`{value}` is named twice"));
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= MAX_NAME_BYTES
        && !name.is_empty()
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Three numbers, then optionally `-pre.release` and `+build` (semver.org, 2.0.0).
fn is_semantic_version(version: &str) -> bool {
    let (rest, build) = split_suffix(version, '+');
    let (core, pre_release) = split_suffix(rest, '-');
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3
        && numbers.iter().all(|number| is_version_number(number))
        && [build, pre_release].into_iter().flatten().all(is_version_suffix)
}

fn split_suffix(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn is_version_number(number: &str) -> bool {
    !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && (number == "0" || !number.starts_with('0'))
}

fn is_version_suffix(suffix: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    suffix.split('.').all(|part| !part.is_empty() && part.bytes().all(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(change: impl FnOnce(&mut Manifest)) -> Vec<String> {
        let text = r#"{"name": "log-sampler", "version": "1.0.0", "worlds": ["transform"],
            "reads": ["level"], "writes": []}"#;
        let mut manifest: Manifest = serde_json::from_str(text).unwrap();
        change(&mut manifest);
        problems(&manifest).into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn each_problem_names_its_member() {
        let none: [&str; 0] = [];
        assert_eq!(manifest(|_| ()), none);
        assert_eq!(manifest(|m| m.name = "Log Sampler".into()), ["name"]);
        assert_eq!(manifest(|m| m.name = "-a".into()), ["name"]);
        assert_eq!(manifest(|m| m.name.clear()), ["name"]);
        assert_eq!(manifest(|m| m.version = "1.0".into()), ["version"]);
        assert_eq!(manifest(|m| m.description = Some("x".repeat(5000))), ["description"]);
        assert_eq!(manifest(|m| m.worlds.clear()), ["worlds"]);
        assert_eq!(manifest(|m| m.worlds.push("transform".into())), ["worlds[1]"]);
        assert_eq!(manifest(|m| m.reads = Paths::Listed(vec!["a".into(), "b..c".into()])), ["reads[1]"]);
        assert_eq!(manifest(|m| m.writes = Paths::Listed(vec!["a".into(), "a".into()])), ["writes[1]"]);
        assert_eq!(
            manifest(|m| m.reads = Paths::Listed((0..300).map(|n| n.to_string()).collect())),
            ["reads"]
        );
        assert_eq!(manifest(|m| m.attributes = Some(vec!["host".into()])), ["attributes[0]"]);
        assert_eq!(manifest(|m| m.capabilities = vec![String::new()]), ["capabilities[0]"]);
        assert_eq!(manifest(|m| m.limits.memory = Some(1024)), ["limits.memory"]);
        assert_eq!(manifest(|m| m.limits.deadline = Some(std::time::Duration::ZERO)), ["limits.deadline"]);
        assert_eq!(manifest(|m| m.config_schema = serde_json::Value::Null), ["config_schema"]);
        assert_eq!(manifest(|m| (m.name.clear(), m.version.clear()).0), ["name", "version"]);
    }

    #[test]
    fn versions_are_semantic() {
        for good in ["0.0.1", "1.4.2", "10.20.30-rc.1", "1.0.0+build.5", "1.0.0-a-b.2+sha-1"] {
            assert!(is_semantic_version(good), "{good}");
        }
        for bad in ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.x", "v1.2.3", "1.2.3-", "1.2.3+a..b", "1.2.3-ä"]
        {
            assert!(!is_semantic_version(bad), "{bad}");
        }
    }
}
