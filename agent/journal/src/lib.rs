//! The source `journald`: a node's journal, read through `journalctl` as a child process.
//!
//! An entry becomes an event whose content is one JSON object: see [`JournalSettings::fields`] for its members. Its
//! offset (`log.offset`) is the entry's number in the sequence that the journal numbers entries in; its incarnation is
//! made of the machine, the sequence and the boot; what its id is hashed of is its content. All of that is the same each
//! time the entry is read, with two exceptions. Entries that journald copies from `/run/log/journal` to
//! `/var/log/journal`, early in a boot, get other numbers. And an entry that is read again because it was not safe yet has
//! another id where the settings of fields were changed meanwhile.
//!
//! The checkpoint is the journal's cursor. It stands in the path of a position whose key is `journal`.
//!
//! `journalctl` must be in the agent's image or mounted from the host. The journal lies in `/var/log/journal` or, where
//! it is not kept over a reboot, in `/run/log/journal`; both are mounted from the host, read-only. Reading it takes
//! root or the group `systemd-journal`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod child;
mod command;
mod cursor;
mod document;
mod export;
mod outgoing;
mod pause;
mod reader;
mod selection;
mod settings;
mod source;

#[cfg(test)]
mod tests;

pub use settings::{Fields, JournalSettings, Priority, ReadFrom, SettingsError};
pub use source::Journal;
