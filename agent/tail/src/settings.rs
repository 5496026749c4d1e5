//! What the two sources are told.

use std::path::PathBuf;
use std::time::Duration;

/// How a file's bytes become events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines as container runtimes write them; records that are written in parts are joined.
    Cri,
    /// Each line is a JSON document. It is proved to be one later; here it is a line.
    Json,
    /// Each line is an event.
    #[default]
    Text,
}

/// Where a file without a checkpoint is read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// Its first byte.
    #[default]
    Beginning,
    /// Its end, but only files that are there when the source starts for the first time, without any checkpoint:
    /// what appears later is read whole.
    End,
}

/// How lines are joined into events.
#[derive(Clone, Debug)]
pub struct Multiline {
    /// Which lines belong together.
    pub joining: Joining,
    /// A group ends when no line came for so long.
    pub timeout: Duration,
    /// A group is cut at so many lines,
    pub max_lines: usize,
    /// and at so many bytes of text.
    pub max_bytes: usize,
}

/// Which lines belong together.
#[derive(Clone, Debug)]
pub enum Joining {
    /// Stack traces, as these languages print them.
    Presets(Vec<Preset>),
    /// A line that this regular expression finds begins an event, all others go on with it.
    Start(String),
}

/// A language whose stack traces are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Java, Kotlin, Scala and others on its machine.
    Java,
    /// Python.
    Python,
    /// Go.
    Go,
    /// C# and others on its machine.
    Dotnet,
}

/// The agent's own pod, whose logs are not read: every line about them would make another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Settings of [`crate::KubernetesLogs`].
#[derive(Clone, Debug)]
pub struct KubernetesLogsSettings {
    /// The folder with a folder for each pod, usually `/var/log/pods`.
    pub path: PathBuf,
    /// Namespaces that are not read; `*`, `?` and `[…]` stand for other characters.
    pub exclude_namespaces: Vec<String>,
    /// Pods that are not read, by name, in the same way.
    pub exclude_pods: Vec<String>,
    /// The agent's own pod, where it runs in one.
    pub own_pod: Option<OwnPod>,
    /// Where reading begins.
    pub read_from: ReadFrom,
    /// How long an event may wait for others to share its batch.
    pub linger: Duration,
    /// Deleted files are held open up to so many bytes,
    pub max_held_bytes: u64,
    /// and for so long.
    pub max_held_age: Duration,
    /// How lines are joined into events; `None` for one event a line.
    pub multiline: Option<Multiline>,
}

/// Settings of [`crate::Files`].
#[derive(Clone, Debug)]
pub struct FilesSettings {
    /// Patterns of the files to read. `*` and `?` stop at a `/`, `**` does not; a relative pattern counts from the
    /// working folder.
    pub include: Vec<String>,
    /// Patterns of files that are not read although they are included.
    pub exclude: Vec<String>,
    /// How bytes become events.
    pub format: Format,
    /// Where reading begins.
    pub read_from: ReadFrom,
    /// How long an event may wait for others to share its batch.
    pub linger: Duration,
    /// Deleted files are held open up to so many bytes,
    pub max_held_bytes: u64,
    /// and for so long.
    pub max_held_age: Duration,
    /// How lines are joined into events; `None` for one event a line.
    pub multiline: Option<Multiline>,
}

/// Why a source cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A pattern cannot be understood.
    #[error("cannot read the pattern {pattern:?} of {setting}: {reason}; write [*] for a literal *")]
    Pattern {
        /// Which setting it stands in.
        setting: &'static str,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A regular expression cannot be understood.
    #[error("cannot read the regular expression {pattern:?} of multiline.start: {reason}")]
    Regex {
        /// The regular expression.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A relative pattern, and no folder that it could count from.
    #[error(
        "cannot tell the working folder that the pattern {pattern:?} counts from: {error}; write it with a leading /"
    )]
    WorkingFolder {
        /// The pattern.
        pattern: String,
        /// The system's answer.
        error: std::io::Error,
    },
}
