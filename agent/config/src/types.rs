//! Values that are written as text and mean more: sizes, durations, names, patterns.
//!
//! A format is defined once: its parser serves the check with its messages, the conversion from disk and, by name,
//! pattern and description, the JSON Schema.

mod format;
mod glob;
mod http;
mod index;
mod journal;
mod metric;
mod name;
mod object;
mod pattern;
mod place;
mod prometheus;
mod quantity;
mod schedule;

pub(crate) use format::{Format, Known, known, of_keys};
pub use glob::Glob;
pub(crate) use http::{HeaderName, HeaderValue, HttpPath, ParameterName, ScrapeTarget, Url};
pub(crate) use index::{Endpoint, IndexName, IndexTemplate, UserName, VariableName};
pub(crate) use journal::{JournalField, JournalWord, UnitName};
pub(crate) use metric::{AnchoredPattern, LabelName, MetricLabel, MetricName, PlainText};
pub use name::Name;
pub(crate) use name::{FieldPath, Label, Origin};
pub(crate) use object::{BucketName, KeyPrefix, RegionName};
pub use pattern::{LinePattern, Pattern};
pub(crate) use place::{Address, Artifact, FilePath, RegistryPrefix};
pub(crate) use prometheus::{PrometheusDuration, PrometheusSize, RelabelAction, WriteProtocol};
pub use quantity::{Share, Size, parse_duration, parse_size};
pub(crate) use schedule::{ClassKey, CronTime, ZoneName};
