//! The configuration, and what in it contradicts itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use weir_sdk::{ConfigError, Json};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The only paths that stay.
    pub keep: Option<Vec<String>>,
    /// Paths that go.
    pub remove: Vec<String>,
    /// From path to path.
    pub rename: BTreeMap<String, String>,
    /// Values by path.
    pub set: BTreeMap<String, Json>,
    pub redact: Vec<Redact>,
}

/// One field to redact, by pattern or by hash.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redact {
    pub field: String,
    /// What is replaced.
    pub pattern: Option<String>,
    /// What stands in its place.
    pub replace: Option<String>,
    /// The whole value becomes its keyed hash.
    pub hash: Option<Hash>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hash {
    /// The secret.
    pub key: String,
    /// Hex digits that are kept.
    #[serde(default = "default_length")]
    pub length: usize,
}

/// 128 bits: no two values of a cluster's logs meet.
fn default_length() -> usize {
    32
}

impl Config {
    /// Refuses what is malformed, and every combination whose result would depend on the order of things: above all
    /// a redaction must not be undone by a rename, nor bring back what was removed.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.keep.is_some() && !self.remove.is_empty() {
            return Err(ConfigError::at("remove", "cannot stand beside keep, give one of them"));
        }
        if self.keep.as_ref().is_some_and(Vec::is_empty) {
            return Err(ConfigError::at(
                "keep",
                "is empty and would remove everything, name the paths that stay",
            ));
        }
        for (key, path) in self.paths() {
            if path.split('.').any(str::is_empty) || path == "*" {
                return Err(ConfigError::at(
                    key,
                    format!("`{path}` is not a path, write names with dots between"),
                ));
            }
        }
        self.check_renames()?;
        self.redact.iter().enumerate().try_for_each(|(index, redact)| self.check_redact(index, redact))
    }

    /// Every path of the configuration with the key it stands under.
    fn paths(&self) -> impl Iterator<Item = (String, &str)> {
        let keep =
            self.keep.iter().flatten().enumerate().map(|(index, path)| (format!("keep[{index}]"), path));
        let remove = self.remove.iter().enumerate().map(|(index, path)| (format!("remove[{index}]"), path));
        let from = self.rename.keys().map(|path| (format!("rename.{path}"), path));
        let to = self.rename.iter().map(|(from, path)| (format!("rename.{from}"), path));
        let set = self.set.keys().map(|path| (format!("set.{path}"), path));
        let redact = self.redact.iter().enumerate();
        let redact = redact.map(|(index, redact)| (format!("redact[{index}].field"), &redact.field));
        keep.chain(remove)
            .chain(from)
            .chain(to)
            .chain(set)
            .chain(redact)
            .map(|(key, path)| (key, path.as_str()))
    }

    fn check_renames(&self) -> Result<(), ConfigError> {
        let mut targets = BTreeSet::new();
        for (from, to) in &self.rename {
            let key = format!("rename.{from}");
            if self.is_removed(from) {
                return Err(ConfigError::at(key, "is removed before it could be renamed"));
            }
            if self.rename.keys().any(|other| overlap(other, to)) {
                return Err(ConfigError::at(key, format!("the new name {to} is itself renamed")));
            }
            if self.rename.keys().any(|other| other != from && overlap(other, from)) {
                return Err(ConfigError::at(key, "lies in or around another path that is renamed"));
            }
            if !targets.insert(to) {
                return Err(ConfigError::at(key, format!("another path is renamed to {to} too")));
            }
        }
        Ok(())
    }

    fn check_redact(&self, index: usize, redact: &Redact) -> Result<(), ConfigError> {
        let field = redact.field.as_str();
        let refuse =
            |why: &str| Err(ConfigError::at(format!("redact[{index}].field"), format!("{field} {why}")));
        if self.is_removed(field) || self.remove.iter().any(|path| overlap(path, field)) {
            return refuse("or a part of it is removed, it cannot be redacted as well");
        }
        if self.rename.iter().any(|(from, to)| overlap(from, field) || overlap(to, field)) {
            return refuse("is renamed, redact it in a stage before this one");
        }
        if self.set.keys().any(|path| overlap(path, field)) {
            return refuse("is set, there is nothing to redact in it");
        }
        if self.redact[..index].iter().any(|other| other.field != field && overlap(&other.field, field)) {
            return refuse("lies in or around another field that is redacted");
        }
        Ok(())
    }

    fn is_removed(&self, path: &str) -> bool {
        let kept = |paths: &Vec<String>| paths.iter().any(|kept| contains(kept, path));
        self.remove.iter().any(|removed| contains(removed, path)) || !self.keep.as_ref().is_none_or(kept)
    }
}

/// Whether `path` is `outer` or lies in it.
fn contains(outer: &str, path: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn overlap(one: &str, other: &str) -> bool {
    contains(one, other) || contains(other, one)
}
