//! What a configuration says of an archive.

use std::time::Duration;

use weir_event::path::{self, PathError};

/// Most fields whose values are indexed: each costs two filters while an object is made, and a place in every frame.
pub const MAX_INDEX_FIELDS: usize = 16;
/// Levels of zstd that are offered.
pub const LEVELS: std::ops::RangeInclusive<i32> = 1..=19;
/// Raw bytes of a frame.
pub const FRAME_BYTES: usize = 1024 * 1024;
/// The largest `max_object_bytes`.
pub const MOST_OBJECT_BYTES: u64 = 64 * 1024 * 1024;

/// Settings of one archive, where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What every key begins with, without a slash at its end; empty for the bucket's root.
    pub prefix: String,
    /// The cluster: the first folder below the prefix.
    pub cluster: String,
    /// Who writes: part of the names of all objects. Two writers with one name do not harm each other, but get in each
    /// other's way.
    pub node: String,
    /// Paths of the fields whose values can be looked for without reading everything.
    pub index_fields: Vec<String>,
    /// Level of zstd, 1 to 19.
    pub level: i32,
    /// A group is closed at about so many compressed bytes; 64 MiB at the most.
    pub max_object_bytes: u64,
    /// A group is closed when its first event has waited for so long.
    pub max_object_age: Duration,
    /// Memory of all open groups, in bytes: documents as they lie in the buffer. Never more than a quarter of the
    /// buffer's memory is used, see [`crate::Archive`].
    pub max_open_bytes: u64,
    /// Objects that are stored at the same time, at least 1.
    pub uploads: usize,
    /// A frame is closed at so many raw bytes.
    pub frame_bytes: usize,
}

/// Why settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A field is no path.
    #[error("index_fields: {0}")]
    Field(#[from] PathError),
    /// There are too many of them.
    #[error("index_fields: {0} fields, and {MAX_INDEX_FIELDS} are the most")]
    TooManyFields(usize),
    /// A field stands there twice.
    #[error("index_fields: \"{0}\" stands there twice")]
    Twice(String),
    /// A level that there is not.
    #[error("level: {0} is not in 1 to 19")]
    Level(i32),
    /// An object would be too large, or empty.
    #[error("max_object_bytes: {0} is not in 1 byte to 64 MiB")]
    ObjectBytes(u64),
    /// The prefix cannot be one.
    #[error("prefix: \"{0}\" begins or ends with a slash, or has an empty part")]
    Prefix(String),
}

// === impl Settings ===

impl Settings {
    /// The defaults, for a cluster and a node.
    pub fn new(cluster: &str, node: &str) -> Settings {
        Settings {
            prefix: "archive".into(),
            cluster: cluster.into(),
            node: node.into(),
            index_fields: Vec::new(),
            level: 3,
            max_object_bytes: 32 * 1024 * 1024,
            max_object_age: Duration::from_secs(300),
            max_open_bytes: 64 * 1024 * 1024,
            uploads: 2,
            frame_bytes: FRAME_BYTES,
        }
    }

    /// Whether an archive can be written with them.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.index_fields.len() > MAX_INDEX_FIELDS {
            return Err(SettingsError::TooManyFields(self.index_fields.len()));
        }
        for (at, field) in self.index_fields.iter().enumerate() {
            path::check(field)?;
            if self.index_fields.iter().skip(at + 1).any(|other| other == field) {
                return Err(SettingsError::Twice(field.clone()));
            }
        }
        if !LEVELS.contains(&self.level) {
            return Err(SettingsError::Level(self.level));
        }
        if !(1..=MOST_OBJECT_BYTES).contains(&self.max_object_bytes) {
            return Err(SettingsError::ObjectBytes(self.max_object_bytes));
        }
        if !self.prefix.is_empty() && self.prefix.split('/').any(str::is_empty) {
            return Err(SettingsError::Prefix(self.prefix.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let good = Settings::new("c", "n");
        assert_eq!(good.check(), Ok(()));
        let fields = |names: &[&str]| Settings {
            index_fields: names.iter().map(|name| (*name).to_owned()).collect(),
            ..good.clone()
        };
        let cases = [
            (fields(&["a..b"]), "\"a..b\" is not a path"),
            (fields(&["a", "b", "a"]), "\"a\" stands there twice"),
            (fields(&["a"; 17]), "17 fields"),
            (Settings { level: 0, ..good.clone() }, "level: 0"),
            (Settings { max_object_bytes: 1 << 27, ..good.clone() }, "max_object_bytes"),
            (Settings { prefix: "a/".into(), ..good.clone() }, "prefix: \"a/\""),
            (Settings { prefix: "a//b".into(), ..good.clone() }, "prefix: \"a//b\""),
        ];
        for (settings, expected) in cases {
            let message = settings.check().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
