//! What an agent says of itself in the bucket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::disk::{StoredParts, TakenFrom};

/// The name of the object below an agent's folder.
pub const NAME: &str = "agent.json";
/// A longer one is not read.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;
pub(super) const VERSION: u32 = 1;

/// An agent's manifest and its sign of life in one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format's version.
    pub version: u32,
    /// The agent's name for itself.
    pub identity: String,
    /// Its cluster.
    pub cluster: String,
    /// Its node.
    pub node: String,
    /// Made at random by each process that writes it.
    pub run: String,
    /// Grows whenever it passes into other hands, and with each start of the agent.
    pub epoch: u64,
    /// Grows with each write, so that no two are alike.
    pub sequence: u64,
    /// After so long without a change the agent is gone, in milliseconds.
    pub gone_after: u64,
    /// Who has what it left.
    pub state: Tenure,
    /// Whether one that was taking it over may still claim something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_contested: bool,
    /// What waits, and where.
    #[serde(flatten)]
    pub content: Content,
}

/// Who has what an agent left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Tenure {
    /// Itself: it lives.
    Alive,
    /// Another is taking it over.
    Adopting {
        /// Its identity.
        by: String,
    },
    /// Another has taken it over.
    Adopted {
        /// Its identity.
        by: String,
    },
}

/// What waits with an agent, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// By sink.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sinks: BTreeMap<String, SinkContent>,
    /// Whom it took over, as far as something of that is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adoptions: Vec<Adoption>,
}

/// What waits for one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkContent {
    /// The files that hold events, by number as in their names: on the disk, or in the store.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, StoredParts>,
    /// What holds nothing any more and is there until it is removed: keys of objects, and numbers of files on the disk, of
    /// which an object may be under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<String>,
}

/// The taking over of one agent by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// What the keys of the one that is gone begin with, slash included.
    pub folder: String,
    /// The epoch under which it was done.
    pub epoch: u64,
    /// Whether all that was claimed is in the adopter's buffers.
    pub is_in: bool,
}

/// Whose an object is: the one who wrote this first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClaimText {
    pub version: u32,
    pub by: String,
    pub epoch: u64,
    /// What is known of the object.
    #[serde(default)]
    pub left: Left,
}

/// What is known of an object that an agent left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    /// Its length.
    pub bytes: u64,
    /// What lies in it; `None` for all that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredParts>,
}

// === impl Adoption ===

impl Adoption {
    /// From whom and when what it brings was taken.
    pub fn taken_from(&self) -> TakenFrom {
        TakenFrom { folder: self.folder.clone(), epoch: self.epoch }
    }
}

// === impl SinkContent ===

impl SinkContent {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}
