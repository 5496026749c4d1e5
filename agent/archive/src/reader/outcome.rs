//! What reading came to: how much was looked at, and what was wrong.

/// So many damaged things are named; the rest is counted.
pub const MAX_DAMAGES: usize = 1_000;

/// What reading came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Hours of namespaces that were looked at.
    pub hours: u64,
    /// Data objects with events in the time asked for.
    pub objects: u64,
    /// Those that were passed over because of the index.
    pub objects_skipped: u64,
    /// Frames of all these objects.
    pub frames: u64,
    /// Frames that were read.
    pub frames_read: u64,
    /// Bytes that came from the store: indices, footers, frames.
    pub bytes_read: u64,
    /// Events in the frames that were read.
    pub events_read: u64,
    /// Events that are what was asked for, each counted once.
    pub events: u64,
    /// Copies of these, left out.
    pub duplicates: u64,
    /// Ids that had to be forgotten while a copy might still come.
    pub forgotten: u64,
    /// What was damaged or missing.
    pub damages: Vec<Damage>,
    /// More of the same.
    pub more_damages: u64,
}

/// Something that is damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What it is.
    pub kind: DamageKind,
    /// The object's key.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// A part of an index cannot be read. Its data objects are found without it.
    Index,
    /// An index names a data object that is not there.
    Missing,
    /// No index names a data object. It is read nevertheless; it may have been stored just now.
    Unindexed,
    /// A data object cannot be read, or is not what was written.
    Object,
    /// A frame of a data object cannot be read.
    Frame,
}

// === impl Outcome ===

impl Outcome {
    pub(super) fn damage(&mut self, kind: DamageKind, key: &str, message: impl Into<String>) {
        self.push(Damage { kind, key: key.to_owned(), message: message.into() });
    }

    fn push(&mut self, damage: Damage) {
        match self.damages.len() < MAX_DAMAGES {
            true => self.damages.push(damage),
            false => self.more_damages += 1,
        }
    }

    /// Frames that were not read.
    pub fn frames_skipped(&self) -> u64 {
        self.frames.saturating_sub(self.frames_read)
    }

    /// Adds what another part of the reading came to.
    pub(super) fn add(&mut self, other: Outcome) {
        self.hours += other.hours;
        self.objects += other.objects;
        self.objects_skipped += other.objects_skipped;
        self.frames += other.frames;
        self.frames_read += other.frames_read;
        self.bytes_read += other.bytes_read;
        self.events_read += other.events_read;
        self.events += other.events;
        self.duplicates += other.duplicates;
        self.forgotten += other.forgotten;
        self.more_damages += other.more_damages;
        other.damages.into_iter().for_each(|damage| self.push(damage));
    }
}
