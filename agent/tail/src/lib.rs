//! The sources that follow files: the logs of a node's containers, and files named by patterns. One engine finds the
//! files, reads them in turns straight into batches, and says with every batch how far it brings which file.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod chain;
mod discovery;
mod engine;
mod file;
mod files;
mod fingerprint;
mod gunzip;
mod handle;
mod kubernetes;
mod layout;
mod lines;
mod multiline;
mod now;
mod outgoing;
mod problems;
mod record;
mod settings;
mod watch;

#[cfg(test)]
mod tests;

pub use files::Files;
pub use kubernetes::KubernetesLogs;
pub use settings::{
    FilesSettings, Format, Joining, KubernetesLogsSettings, Multiline, OwnPod, Preset, ReadFrom,
    SettingsError,
};
