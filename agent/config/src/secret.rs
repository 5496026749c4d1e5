//! Secrets: `{file: PATH}` and `{env: NAME}` in a plugin's configuration.
//!
//! Invariant: a secret's value is in what [`resolve_secrets`] returns and nowhere else; no error and no `Debug` of this
//! crate contains it.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::config::Secret;
use crate::host::Host;
use crate::key_path::KeyPath;

/// A secret may be this long.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is not there or cannot be read.
    #[error("{}{}", prefix(at), self.reason())]
    Unreadable {
        /// The reference's path inside the plugin's configuration.
        at: String,
        /// The file that was meant.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is longer than a secret may be.
    #[error("{}{}", prefix(at), self.reason())]
    TooLarge {
        /// The reference's path inside the plugin's configuration.
        at: String,
        /// The file that was meant.
        file: PathBuf,
    },
    /// The file is not text.
    #[error("{}{}", prefix(at), self.reason())]
    NotText {
        /// The reference's path inside the plugin's configuration.
        at: String,
        /// The file that was meant.
        file: PathBuf,
    },
    /// There is no such environment variable.
    #[error("{}{}", prefix(at), self.reason())]
    NotSet {
        /// The reference's path inside the plugin's configuration.
        at: String,
        /// The variable that was meant.
        name: String,
    },
}

// === impl SecretError ===

impl SecretError {
    /// The message without the path inside the plugin's configuration.
    pub(crate) fn reason(&self) -> String {
        match self {
            SecretError::Unreadable { file, source, .. } => {
                format!("cannot read the secret file {}: {source}", file.display())
            }
            SecretError::TooLarge { file, .. } => {
                format!("the secret file {} is larger than {} KiB", file.display(), MAX_SECRET_BYTES / 1024)
            }
            SecretError::NotText { file, .. } => {
                format!("the secret file {} is not UTF-8 text", file.display())
            }
            SecretError::NotSet { name, .. } => format!("the environment variable {name} is not set"),
        }
    }
}

fn prefix(at: &str) -> String {
    if at.is_empty() { String::new() } else { format!("{at}: ") }
}

/// Where a secret comes from.
enum Reference<'a> {
    File(&'a str),
    Variable(&'a str),
}

/// A plugin's configuration with its secrets in place: every object that is exactly `{file: PATH}` or `{env: NAME}`
/// becomes the content of that file (relative to `base_dir`) or environment variable, as a string without newlines at
/// its end.
///
/// The result is for the plugin alone: it must not be logged.
pub fn resolve_secrets(config: &Json, base_dir: &Path) -> Result<Json, SecretError> {
    resolve(config, base_dir, &Host::this(), &KeyPath::default())
}

impl Secret {
    /// Its value, without newlines at its end. For whoever needs it alone: it must not be logged.
    pub fn read(&self) -> Result<String, SecretError> {
        let text = match self {
            Secret::File(path) => read_file(path.clone(), String::new())?,
            Secret::Variable(name) => variable(name, &Host::this(), String::new())?,
        };
        Ok(without_end(&text))
    }
}

/// All secrets that cannot be had, with the paths of their references below `at`.
pub(crate) fn find_missing(
    config: &Json,
    base_dir: &Path,
    host: &Host,
    at: &KeyPath,
) -> Vec<(KeyPath, SecretError)> {
    if let Some(reference) = reference(config) {
        return read(&reference, base_dir, host, at)
            .err()
            .map(|error| (at.clone(), error))
            .into_iter()
            .collect();
    }
    match config {
        Json::Array(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(index, item)| find_missing(item, base_dir, host, &at.index(index))).collect()
        }
        Json::Object(members) => {
            let members = members.iter();
            members.flat_map(|(key, value)| find_missing(value, base_dir, host, &at.key(key))).collect()
        }
        _ => Vec::new(),
    }
}

fn resolve(config: &Json, base_dir: &Path, host: &Host, at: &KeyPath) -> Result<Json, SecretError> {
    if let Some(reference) = reference(config) {
        return read(&reference, base_dir, host, at).map(Json::String);
    }
    match config {
        Json::Array(items) => {
            let items = items.iter().enumerate();
            items.map(|(index, item)| resolve(item, base_dir, host, &at.index(index))).collect()
        }
        Json::Object(members) => {
            let members = members.iter();
            let members =
                members.map(|(key, value)| Ok((key.clone(), resolve(value, base_dir, host, &at.key(key))?)));
            members.collect::<Result<_, SecretError>>().map(Json::Object)
        }
        other => Ok(other.clone()),
    }
}

fn reference(value: &Json) -> Option<Reference<'_>> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let (key, value) = members.iter().next()?;
    match key.as_str() {
        "file" => value.as_str().map(Reference::File),
        "env" => value.as_str().map(Reference::Variable),
        _ => None,
    }
}

fn read(
    reference: &Reference<'_>,
    base_dir: &Path,
    host: &Host,
    at: &KeyPath,
) -> Result<String, SecretError> {
    let at = at.to_string();
    let text = match reference {
        Reference::File(path) => read_file(base_dir.join(path), at)?,
        Reference::Variable(name) => variable(name, host, at)?,
    };
    Ok(without_end(&text))
}

fn variable(name: &str, host: &Host, at: String) -> Result<String, SecretError> {
    host.variable(name).ok_or_else(|| SecretError::NotSet { at, name: name.to_owned() })
}

fn without_end(text: &str) -> String {
    text.trim_end_matches(['\r', '\n']).to_owned()
}

fn read_file(file: PathBuf, at: String) -> Result<String, SecretError> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(&file);
    let count = opened.and_then(|opened| opened.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes));
    match count {
        Err(source) => Err(SecretError::Unreadable { at, file, source }),
        Ok(count) if count as u64 > MAX_SECRET_BYTES => Err(SecretError::TooLarge { at, file }),
        // The conversion's own error holds the bytes, so it is dropped.
        Ok(_) => String::from_utf8(bytes).map_err(|_| SecretError::NotText { at, file }),
    }
}

#[cfg(test)]
mod tests;
