//! Values that are written as text and mean more: sizes, durations, names, patterns.
//!
//! A format is defined once: its parser serves the check with its messages, the conversion from disk and, by name,
//! pattern and description, the JSON Schema.

mod format;
mod glob;
mod index;
mod journal;
mod name;
mod object;
mod pattern;
mod place;
mod quantity;

pub(crate) use format::{Format, Known, known, of_keys};
pub use glob::Glob;
pub(crate) use index::{Endpoint, IndexName, IndexTemplate, UserName, VariableName};
pub(crate) use journal::{JournalField, JournalWord, UnitName};
pub use name::Name;
pub(crate) use name::{FieldPath, Label};
pub(crate) use object::{BucketName, KeyPrefix, RegionName};
pub use pattern::{LinePattern, Pattern};
pub(crate) use place::{Address, Artifact, FilePath, RegistryPrefix};
pub use quantity::{Share, Size, parse_duration, parse_size};
