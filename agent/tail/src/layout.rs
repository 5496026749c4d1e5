//! Which files a source follows and what their paths say: the one difference between the two sources.

use std::path::{Path, PathBuf};

use weir_event::stream::Attributes;

use crate::handle::Packing;

/// What the first part of a file's event ids is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incarnation {
    /// Of the pod and the file's first complete line.
    FirstLine,
    /// Of the inode and the time at which the file was first seen.
    FirstSeen,
}

/// The place of a file among those that one writer fills one after another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Renamed, at the time that the text sorts by.
    Rotated(String),
    /// The one that is written to.
    Current,
}

impl Order {
    /// That of a file whose name does not tell when it was renamed: among others of which the same holds, the one that
    /// was seen first comes first.
    pub(crate) fn since(first_seen: i64) -> Order {
        Order::Rotated(format!("{first_seen:020}"))
    }
}

/// What a file's path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Path of the current file of its chain.
    pub chain: PathBuf,
    /// Where in the chain it stands.
    pub order: Order,
    /// How often the container was restarted before it wrote this. Once there is a file with a higher number in the
    /// same folder, nothing more is written here.
    pub restart: u32,
    /// How its bytes are kept.
    pub packing: Packing,
}

/// Which files a source follows.
pub(crate) trait Layout: Send {
    /// The folders to begin with.
    fn roots(&self) -> Vec<PathBuf>;
    /// Whether a folder below a root is to be looked into.
    fn wants_directory(&self, path: &Path) -> bool;
    /// What the path of a file says, `None` for one that is not followed.
    fn place(&self, path: &Path) -> Option<Place>;
    /// What is known of a chain's streams from its path.
    fn attributes(&self, chain: &Path) -> Attributes;
    /// How ids begin.
    fn incarnation(&self) -> Incarnation;
}
