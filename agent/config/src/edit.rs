//! Changing a configuration as a person would: a few characters of its text, and everything else stays as it was written.
//!
//! The places are those that the YAML parser names. What comes out is read again and must say exactly what was meant:
//! where the text is written in a way that is not understood here, nothing is changed.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::Value as Json;

use crate::config::Config;
use crate::error::{Errors, Report, Warning};
use crate::files;
use crate::host::Host;
use crate::load::read_with;
use crate::yaml::{self, Budget};

const SECTION: &str = "plugins";
const ARTIFACT: &str = "artifact";
const SHADOW: &str = "shadow";

/// What the plugin's artifact becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewArtifact<'a> {
    /// The shadow, as it is written.
    Shadow,
    /// This reference.
    Reference(&'a str),
}

/// A changed file of a configuration. Nothing is written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The file.
    pub file: PathBuf,
    /// The file as it is shown.
    pub name: String,
    /// Its text now.
    pub before: String,
    /// Its text then.
    pub after: String,
    /// The keys of the plugin that are gone.
    pub removed: Vec<String>,
    /// The folder is a mounted ConfigMap, in which nothing can be written.
    pub is_mounted: bool,
}

/// Why a configuration is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Its files cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// There is nothing to change.
    #[error("plugins.{plugin} has no {key}")]
    Missing {
        /// The plugin.
        plugin: String,
        /// What it does not have.
        key: &'static str,
    },
    /// Its text is understood, but not how to change it.
    #[error(
        "{name}: plugins.{plugin} is written in a way that cannot be changed by itself; set artifact to {artifact} there, and remove {}",
        removed.join(", ")
    )]
    Unusual {
        /// The file.
        name: String,
        /// The plugin.
        plugin: String,
        /// What its artifact is to be.
        artifact: String,
        /// The keys that are to go.
        removed: Vec<String>,
    },
}

/// An entry of the plugin's map, by places in the text.
struct Found {
    key: String,
    key_at: usize,
    value: Range<usize>,
    /// Its text, where it is a plain or quoted scalar.
    scalar: Option<String>,
    /// Whether the map is written in braces.
    in_braces: bool,
}

/// Puts the shadow of a plugin in the place of its artifact: `artifact` gets another value, `shadow` and `shadow_share` go,
/// and so does `poll` where there is no tag any more. Comments, order and everything else stay.
pub fn promote(path: &Path, plugin: &str, artifact: NewArtifact<'_>) -> Result<Edited, EditError> {
    let texts = files::texts(path).map_err(EditError::Unreadable)?;
    let missing = |key| EditError::Missing { plugin: plugin.to_owned(), key };
    let holds = |text: &&files::Plain| find(&text.text, plugin).is_some_and(|found| !found.is_empty());
    let files::Plain { file, name, text: before } =
        texts.into_iter().find(|text| holds(&text)).ok_or_else(|| missing(ARTIFACT))?;
    let is_mounted = path.is_dir() && fs::symlink_metadata(path.join("..data")).is_ok();
    let entries = find(&before, plugin).unwrap_or_default();
    let entry = |key: &str| entries.iter().find(|entry| entry.key == key);
    let shadow = entry(SHADOW).ok_or_else(|| missing(SHADOW))?;
    let wanted = match (artifact, &shadow.scalar) {
        (NewArtifact::Reference(reference), _) => reference.to_owned(),
        (NewArtifact::Shadow, scalar) => scalar.clone().unwrap_or_default(),
    };
    let has_tag = wanted.starts_with("oci:") && !wanted.contains('@');
    let goes = |key: &&str| entry(key).is_some() && (*key != "poll" || !has_tag);
    let removed: Vec<String> =
        [SHADOW, "shadow_share", "poll"].iter().filter(|key| goes(key)).map(ToString::to_string).collect();
    let unusual = || EditError::Unusual {
        name: name.clone(),
        plugin: plugin.to_owned(),
        artifact: wanted.clone(),
        removed: removed.clone(),
    };
    let value = written_like(shadow, &before, &wanted).ok_or_else(unusual)?;
    let mut after = replace(&before, plugin, &value).ok_or_else(unusual)?;
    for key in &removed {
        after = remove(&after, plugin, key).ok_or_else(unusual)?;
    }
    let expected = expected(&before, plugin, &wanted, &removed);
    if expected.is_none() || expected != tree(&after) {
        return Err(unusual());
    }
    Ok(Edited { file, name, before, after, removed, is_mounted })
}

/// Loads a configuration as it would be with a file of it changed.
pub fn load_edited(path: &Path, edited: &Edited) -> Result<(Config, Vec<Warning>), Errors> {
    let mut report = Report::default();
    let config = read_with(path, &Host::this(), Some((&edited.file, &edited.after)), &mut report);
    report.finish(config)
}

// === what is meant ===

fn tree(text: &str) -> Option<Json> {
    let mut report = Report::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Some(yaml::parse(text, 0, &mut Budget::default(), &mut report)?.to_json())
}

fn expected(before: &str, plugin: &str, artifact: &str, removed: &[String]) -> Option<Json> {
    let mut tree = tree(before)?;
    let plugin = tree.get_mut(SECTION)?.get_mut(plugin)?.as_object_mut()?;
    plugin.insert(ARTIFACT.to_owned(), artifact.into());
    for key in removed {
        plugin.remove(key);
    }
    Some(tree)
}

// === finding places ===

/// The entries of a plugin's map, in the order in which they stand; `None` where the text is no YAML.
fn find(text: &str, plugin: &str) -> Option<Vec<Found>> {
    let bom = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let content = text.get(bom..)?;
    // The parser counts characters.
    let mut places: Vec<usize> = content.char_indices().map(|(place, _)| place + bom).collect();
    places.push(text.len());
    let place = |index: usize| places.get(index).copied().unwrap_or(text.len());

    let mut found: Vec<Found> = Vec::new();
    // Maps and lists that are not over, each with the key whose value comes; lists have none.
    let mut open: Vec<Level> = Vec::new();
    let mut parser = Parser::new_from_str(content);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.ok()?;
        let (start, end) = (place(span.start.index()), place(span.end.index()));
        let is_of_plugin = matches!(open.as_slice(), [top, section, _]
            if top.key.as_deref() == Some(SECTION) && section.key.as_deref() == Some(plugin));
        let scalar = match &event {
            Event::Scalar(
                value,
                ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted,
                0,
                None,
            ) => Some(value.to_string()),
            _ => None,
        };
        match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                let is_map = matches!(event, Event::MappingStart(..));
                let in_braces = text.get(start..).is_some_and(|rest| rest.starts_with(['{', '[']));
                open.push(Level { is_map, in_braces, key: None, start });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                let closed = open.pop()?;
                let is_entry = matches!(open.as_slice(), [top, section, _]
                    if top.key.as_deref() == Some(SECTION) && section.key.as_deref() == Some(plugin));
                if let (true, Some(entry)) = (is_entry, found.last_mut()) {
                    entry.value = closed.start..end;
                }
                if let Some(level) = open.last_mut() {
                    level.key = None;
                }
            }
            Event::Scalar(value, ..) => {
                let Some(level) = open.last_mut() else { continue };
                if level.is_map && level.key.is_none() {
                    level.key = Some(value.to_string());
                    if is_of_plugin {
                        let in_braces = level.in_braces;
                        let key = value.to_string();
                        found.push(Found { key, key_at: start, value: end..end, scalar: None, in_braces });
                    }
                    continue;
                }
                level.key = None;
                if let (true, Some(entry)) = (is_of_plugin, found.last_mut()) {
                    let trimmed = text.get(start..end)?.trim_end().len();
                    (entry.value, entry.scalar) = (start..start + trimmed, scalar);
                }
            }
            Event::Alias(_) => {
                if let Some(level) = open.last_mut() {
                    level.key = None;
                }
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
    }
    Some(found)
}

/// A map or list that is not over.
struct Level {
    is_map: bool,
    in_braces: bool,
    key: Option<String>,
    start: usize,
}

// === changing the text ===

/// A text in the quotes in which another entry is written: both stand in the same map.
fn written_like(like: &Found, text: &str, wanted: &str) -> Option<String> {
    let (raw, value) = (text.get(like.value.clone())?, like.scalar.as_deref()?);
    let quoted = |quote: &str| raw == format!("{quote}{value}{quote}") && !wanted.contains(quote);
    match () {
        () if raw == value => Some(wanted.to_owned()),
        () if quoted("'") => Some(format!("'{wanted}'")),
        () if quoted("\"") && !wanted.contains('\\') => Some(format!("\"{wanted}\"")),
        () => Some(Json::from(wanted).to_string()),
    }
}

fn replace(text: &str, plugin: &str, value: &str) -> Option<String> {
    let entries = find(text, plugin)?;
    let entry = entries.iter().find(|entry| entry.key == ARTIFACT && entry.scalar.is_some())?;
    Some(text.get(..entry.value.start)?.to_owned() + value + text.get(entry.value.end..)?)
}

fn remove(text: &str, plugin: &str, key: &str) -> Option<String> {
    let entries = find(text, plugin)?;
    let entry = entries.iter().find(|entry| entry.key == key && entry.scalar.is_some())?;
    let range = match entry.in_braces {
        true => in_braces(text, entry)?,
        false => whole_lines(text, entry)?,
    };
    let mut after = text.get(..range.start)?.to_owned();
    after.push_str(text.get(range.end..)?);
    Some(after)
}

/// The lines of an entry that stands on lines of its own, with the comment behind it.
fn whole_lines(text: &str, entry: &Found) -> Option<Range<usize>> {
    let line = text.get(..entry.key_at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let is_alone = text.get(line..entry.key_at)?.trim().is_empty();
    let behind = text.get(entry.value.end..)?;
    let end = behind.find('\n').map_or(text.len(), |newline| entry.value.end + newline + 1);
    is_alone.then_some(line..end)
}

/// An entry among others in braces, with one comma; and its line, where nothing else stands there.
fn in_braces(text: &str, entry: &Found) -> Option<Range<usize>> {
    let behind = text.get(entry.value.end..)?;
    let blanks = |text: &str| text.len() - text.trim_start_matches([' ', '\t']).len();
    let to_comma = blanks(behind);
    if behind.get(to_comma..)?.starts_with(',') {
        // What follows takes its place: on the same line, or all of the line goes.
        let end = entry.value.end + to_comma + 1;
        let rest = text.get(end..)?;
        let line = text.get(..entry.key_at)?.rfind('\n').map_or(0, |newline| newline + 1);
        let is_alone = text.get(line..entry.key_at)?.trim().is_empty();
        let to_end = blanks(rest);
        return match rest.get(to_end..)?.chars().next() {
            Some('\n') if is_alone => Some(line..end + to_end + 1),
            Some('#') => Some(entry.key_at..end),
            _ => Some(entry.key_at..end + to_end),
        };
    }
    // The last one takes the comma in front of it along.
    let before = text.get(..entry.key_at)?;
    let kept = before.trim_end_matches([' ', '\t', '\n', '\r']);
    match kept.strip_suffix(',') {
        Some(comma) => Some(comma.len()..entry.value.end),
        // Behind a comment the comma stays where it is, which is allowed in front of a brace.
        None => Some(entry.key_at..entry.value.end),
    }
}

#[cfg(test)]
mod tests;
