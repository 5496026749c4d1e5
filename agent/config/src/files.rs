//! The files of a configuration: one, or all of a folder, as one tree.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use twox_hash::XxHash3_128;

use crate::check::names_schema;
use crate::error::{Complaint, Report};
use crate::key_path::KeyPath;
use crate::text::quoted;
use crate::yaml::{self, Budget, Entry, Node, Position, Value};

/// One file may have this many bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// A folder may have this many files.
const MAX_FILES: usize = 256;

/// What the files say together.
pub(crate) struct Files {
    /// The top-level maps of all files, merged.
    pub tree: Node,
    /// See [`crate::Config::hash`].
    pub hash: String,
    /// The folder that relative paths are relative to.
    pub base_dir: PathBuf,
}

/// A file: where it is, its name as it is shown, and what is in it.
struct Text {
    file: PathBuf,
    name: String,
    bytes: Result<Vec<u8>, Complaint>,
}

/// A file with its text.
pub(crate) struct Plain {
    /// The file itself, whatever leads to it.
    pub file: PathBuf,
    /// As it is shown.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// The texts of a configuration's files. An error says what cannot be read.
pub(crate) fn texts(path: &Path) -> Result<Vec<Plain>, String> {
    let (texts, _) = read_texts(path).map_err(|complaint| complaint.message)?;
    let plain = |Text { file, name, bytes }: Text| {
        let bytes = bytes.map_err(|complaint| format!("{name}: {}", complaint.message))?;
        let text = String::from_utf8(bytes).map_err(|_| format!("{name}: the file is not UTF-8 text"))?;
        Ok(Plain { file: file.canonicalize().unwrap_or(file), name, text })
    };
    texts.into_iter().map(plain).collect()
}

/// Reads a file or folder, with another text in the place of a file's, where one is given. What goes wrong is reported;
/// `None` if there is nothing to go on with.
pub(crate) fn read(
    path: &Path,
    edited: Option<(&Path, &str)>,
    schema: &Json,
    report: &mut Report,
) -> Option<Files> {
    let whole = Position { file: report.add_file(path.display().to_string()), ..Position::default() };
    let (mut texts, base_dir) = match read_texts(path) {
        Ok(found) => found,
        Err(complaint) => {
            report.error(whole, &KeyPath::default(), complaint);
            return None;
        }
    };
    if let Some((file, text)) = edited {
        let is_it = |other: &&mut Text| other.file.canonicalize().is_ok_and(|other| other == file);
        if let Some(changed) = texts.iter_mut().find(is_it) {
            changed.bytes = Ok(text.as_bytes().to_vec());
        }
    }
    let hash = hash(&texts);
    let mut budget = Budget::default();
    let trees: Vec<Option<Node>> = texts.iter().map(|text| parse(text, &mut budget, report)).collect();
    // What is missing is missing in the folder as a whole, or in the one file.
    let at = match trees.as_slice() {
        [Some(only)] => Position { line: 1, column: 1, ..only.at },
        _ => whole,
    };
    // A file that cannot be read would only make others look wrong.
    let trees: Vec<Node> = trees.into_iter().collect::<Option<_>>()?;
    Some(Files { tree: merge(trees, at, schema, report), hash, base_dir })
}

/// The hash that a configuration read now would have, see [`crate::Config::hash`]; `None` where nothing can be read.
pub fn hash_of(path: &Path) -> Option<String> {
    read_texts(path).ok().map(|(texts, _)| hash(&texts))
}

fn read_texts(path: &Path) -> Result<(Vec<Text>, PathBuf), Complaint> {
    let cannot_read = |error: io::Error| Complaint::new(format!("cannot read: {error}"));
    let absolute = std::path::absolute(path).map_err(cannot_read)?;
    if !fs::metadata(path).map_err(cannot_read)?.is_dir() {
        let text = Text { file: path.to_owned(), name: path.display().to_string(), bytes: read_file(path) };
        let base_dir = absolute.parent().unwrap_or(&absolute).to_path_buf();
        return Ok((vec![text], base_dir));
    }
    let (folder, names) = names_in(path).map_err(cannot_read)?;
    if names.is_empty() {
        return Err(Complaint::new("no *.yaml or *.yml file in this folder"));
    }
    if names.len() > MAX_FILES {
        return Err(Complaint::new(format!("more than {MAX_FILES} files in this folder")));
    }
    let texts = names.iter().map(|name| {
        let file = folder.join(name);
        let bytes = read_file(&file);
        Text { file, name: path.join(name).display().to_string(), bytes }
    });
    Ok((texts.collect(), absolute))
}

/// The names of a folder's YAML files in order, and the folder to read them from.
///
/// A mounted ConfigMap is swapped as a whole by pointing its `..data` to another folder. That is looked up once, so
/// that all files are of the same state.
fn names_in(path: &Path) -> io::Result<(PathBuf, Vec<String>)> {
    let folder = match fs::canonicalize(path.join("..data")) {
        Ok(snapshot) if snapshot.is_dir() => snapshot,
        _ => path.to_path_buf(),
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let is_yaml = name.ends_with(".yaml") || name.ends_with(".yml");
        if is_yaml && !name.starts_with('.') && !folder.join(&name).is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok((folder, names))
}

fn read_file(path: &Path) -> Result<Vec<u8>, Complaint> {
    let mut bytes = Vec::new();
    let opened = fs::File::open(path);
    let count = opened.and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match count {
        Err(error) => Err(Complaint::new(format!("cannot read: {error}"))),
        Ok(count) if count as u64 > MAX_FILE_BYTES => {
            let message = format!("the file is larger than {} KiB", MAX_FILE_BYTES / 1024);
            Err(Complaint::new(message).help("split it into several files in a folder"))
        }
        Ok(_) => Ok(bytes),
    }
}

/// The tree of a file, or `None` and a report.
fn parse(text: &Text, budget: &mut Budget, report: &mut Report) -> Option<Node> {
    let file = report.add_file(text.name.clone());
    let mut refuse = |at, complaint| report.error(at, &KeyPath::default(), complaint);
    let bytes = match &text.bytes {
        Ok(bytes) => bytes,
        Err(complaint) => {
            refuse(Position { file, ..Position::default() }, complaint.clone());
            return None;
        }
    };
    let valid = match std::str::from_utf8(bytes) {
        Ok(valid) => valid,
        Err(error) => {
            let at = position_of(bytes.get(..error.valid_up_to()).unwrap_or_default(), file);
            refuse(at, Complaint::new("the file is not UTF-8 text"));
            return None;
        }
    };
    let tree = yaml::parse(valid.strip_prefix('\u{feff}').unwrap_or(valid), file, budget, report)?;
    if matches!(tree.value, Value::Map(_)) {
        return Some(tree);
    }
    let complaint = Complaint::new(format!("expected a map, found {}", tree.describe()));
    report.error(tree.at, &KeyPath::default(), complaint);
    None
}

/// The position behind these bytes.
fn position_of(before: &[u8], file: u32) -> Position {
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
    Position { file, line: line as u32, column: column as u32 }
}

/// One tree of several: maps of names (`sources`, `sinks`, …) may be spread over files, everything else stands in one.
fn merge(trees: Vec<Node>, at: Position, schema: &Json, report: &mut Report) -> Node {
    let mut merged: Vec<Entry> = Vec::new();
    for entry in trees.into_iter().flat_map(into_entries) {
        let Some(first) = merged.iter_mut().find(|first| first.key == entry.key) else {
            merged.push(entry);
            continue;
        };
        let path = KeyPath::of(&[&entry.key]);
        let property = schema.pointer(&format!("/properties/{}", entry.key));
        let is_spread = property.and_then(names_schema).is_some();
        match (&mut first.value.value, entry.value.value) {
            (Value::Map(names), Value::Map(more)) if is_spread => merge_names(names, more, &path, report),
            _ => given_twice(&entry.key, first.key_at, entry.key_at, &KeyPath::default(), report),
        }
    }
    Node { at, value: Value::Map(merged) }
}

fn merge_names(names: &mut Vec<Entry>, more: Vec<Entry>, path: &KeyPath, report: &mut Report) {
    for entry in more {
        match names.iter().find(|name| name.key == entry.key) {
            Some(first) => given_twice(&entry.key, first.key_at, entry.key_at, path, report),
            None => names.push(entry),
        }
    }
}

fn given_twice(key: &str, first: Position, second: Position, path: &KeyPath, report: &mut Report) {
    let message = format!("the key {} is given twice", quoted(key));
    let help = format!("it already stands in {}:{}:{}", report.file(first.file), first.line, first.column);
    report.error(second, path, Complaint::new(message).help(help));
}

fn into_entries(tree: Node) -> Vec<Entry> {
    match tree.value {
        Value::Map(entries) => entries,
        _ => Vec::new(),
    }
}

/// Of the names and bytes of all files, each with its length in front, so that nothing can move between them unseen.
fn hash(texts: &[Text]) -> String {
    let mut hasher = XxHash3_128::new();
    for text in texts {
        let name = text.name.rsplit('/').next().unwrap_or_default();
        let bytes = text.bytes.as_deref().unwrap_or_default();
        for part in [name.as_bytes(), bytes] {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
    }
    format!("{:032x}", hasher.finish_128())
}
