//! How far a replay is, in a file: what was asked for, and behind which events it stands.
//!
//! A cursor means something for the selection alone that it was made with. The file has both, so that another
//! command is refused, and `--from 1d` stays the day that it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use weir_archive::{Condition, Cursor, Selection};

use super::{Archive, Arguments};

/// The version of the file.
const VERSION: u32 = 1;
/// The longest file that is read: the archive's own cursor may have 8 MiB.
const MAX_BYTES: u64 = 9 * 1024 * 1024;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    weir_archive_replay: u32,
    asked: Asked,
    /// Nanoseconds since the Unix epoch.
    from: i64,
    to: i64,
    /// The archive's own; `null` at the beginning.
    cursor: Option<Cursor>,
}

/// What was asked for, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    archive: String,
    sink: String,
    from: String,
    to: String,
    namespaces: Vec<String>,
    conditions: Vec<(String, String)>,
}

// === impl Kept ===

impl Kept {
    /// Where an earlier run of the same command stood, or the beginning.
    pub fn begin(archive: &Archive, arguments: &Arguments) -> Result<Kept, String> {
        let span = &arguments.span;
        let conditions = arguments.conditions.iter();
        let asked = Asked {
            archive: archive.name.to_string(),
            sink: arguments.to_sink.clone(),
            from: span.from.text.clone(),
            to: span.to.text.clone(),
            namespaces: span.namespace.clone(),
            conditions: conditions.map(|one| (one.field.clone(), one.value.clone())).collect(),
        };
        let new = Kept {
            weir_archive_replay: VERSION,
            asked,
            from: span.from.time,
            to: span.to.time,
            cursor: None,
        };
        match arguments.cursor.as_deref() {
            None => Ok(new),
            Some(path) => match read(path)? {
                None => {
                    // Before anything is sent: a file that cannot be written is known now.
                    new.write(path)?;
                    Ok(new)
                }
                Some(kept) => kept.checked(&new, path),
            },
        }
    }

    fn checked(self, new: &Kept, path: &Path) -> Result<Kept, String> {
        if self.weir_archive_replay != VERSION || self.asked != new.asked {
            return Err(format!(
                "{} is of a replay of something else; give the arguments that it was begun with, or another file",
                path.display()
            ));
        }
        Ok(self)
    }

    /// What is selected, with the times of the first start.
    pub fn selection(&self) -> Selection {
        let conditions = self.asked.conditions.iter();
        Selection {
            from: self.from,
            to: self.to,
            namespaces: self.asked.namespaces.clone(),
            conditions: conditions
                .map(|(field, value)| Condition { field: field.clone(), value: value.clone() })
                .collect(),
        }
    }

    /// Behind which events it stands.
    pub fn cursor(&self) -> Result<Option<Cursor>, String> {
        // Through its text, which is checked.
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let text = cursor.render().map_err(|error| error.to_string())?;
        Cursor::parse(&text).map(Some).map_err(|error| error.to_string())
    }

    /// Notes that everything before this was taken.
    pub fn keep(&mut self, path: &Path, cursor: &Cursor) -> Result<(), String> {
        self.cursor = Some(cursor.clone());
        self.write(path)
    }

    /// In the place of the file that there was, as a whole.
    fn write(&self, path: &Path) -> Result<(), String> {
        let said = |error: io::Error| format!("cannot write {}: {error}", path.display());
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let temporary = path.with_file_name(name);
        let text = serde_json::to_string(self).map_err(|error| error.to_string())? + "\n";
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary).map_err(said)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(said)?;
        fs::rename(&temporary, path).map_err(said)
    }
}

fn read(path: &Path) -> Result<Option<Kept>, String> {
    let said = |error: &dyn std::fmt::Display| format!("cannot go on from {}: {error}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(said(&error)),
    };
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text).map_err(|error| said(&error))?;
    serde_json::from_slice(&text).map(Some).map_err(|error| said(&error))
}

/// All is done.
pub(super) fn remove(path: &Path) -> Result<(), String> {
    fs::remove_file(path).map_err(|error| format!("cannot remove {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(from: &str, time: i64) -> Kept {
        let asked = Asked {
            archive: "archive".into(),
            sink: "search".into(),
            from: from.into(),
            to: "now".into(),
            namespaces: vec!["shop".into()],
            conditions: vec![("level".into(), "error".into())],
        };
        Kept { weir_archive_replay: VERSION, asked, from: time, to: time + 1, cursor: None }
    }

    #[test]
    fn a_replay_goes_on_where_it_stood_with_the_times_that_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor");
        assert_eq!(read(&path), Ok(None));
        let cursor = Cursor::parse(
            r#"{"version":1,"namespace":"shop","hour":"2023-11-14T22","done":["a"],"object":"b","frame":3}"#,
        );
        let mut first = kept("1d", 5);
        first.keep(&path, &cursor.clone().unwrap()).unwrap();
        let second = read(&path).unwrap().unwrap().checked(&kept("1d", 9), &path).unwrap();
        assert_eq!((second.from, second.to), (5, 6));
        assert_eq!(second.cursor(), Ok(cursor.ok()));
        assert_eq!(
            second.selection().conditions,
            [Condition { field: "level".into(), value: "error".into() }]
        );
        let error = read(&path).unwrap().unwrap().checked(&kept("2d", 5), &path).unwrap_err();
        assert!(error.contains("of a replay of something else"), "{error}");
        remove(&path).unwrap();
        assert_eq!(read(&path), Ok(None));
    }

    #[test]
    fn what_is_no_file_of_a_replay_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor");
        for text in ["", "{}", "[]", "{\"weir_archive_replay\":1}"] {
            fs::write(&path, text).unwrap();
            assert!(read(&path).unwrap_err().contains("cannot go on from"), "{text}");
        }
    }
}
