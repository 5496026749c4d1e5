//! A chain: the files that one writer fills one after another. They are read strictly in turn, so that the order is
//! kept and a record that is written in parts can begin in one and end in the next.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use weir_event::stream::Attributes;

use crate::file::{FileNumber, FollowedFile};
use crate::record::Records;

/// What this source tells chains apart by; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChainNumber(pub u64);

/// All files of a source.
pub(crate) type FileTable = HashMap<FileNumber, FollowedFile>;

/// Files that are read one after another.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Path of its current file.
    pub path: PathBuf,
    /// How often the container was restarted before.
    pub restart: u32,
    /// What is known of its streams.
    pub attributes: Attributes,
    /// Those not finished, oldest first. The first is read.
    pub members: VecDeque<FileNumber>,
    /// The records of which not all parts came yet.
    pub records: Records,
    /// The number of complete looks when there was no member left.
    pub empty_since: Option<u64>,
    /// When the container was seen to write elsewhere.
    pub ended_at: Option<Duration>,
    /// When to look for data again.
    pub next_look: Duration,
    /// When there was data last.
    pub data_at: Duration,
    /// Whether it waits in the queue of those to read.
    pub queued: bool,
}

impl Chain {
    pub(crate) fn new(path: PathBuf, restart: u32, attributes: Attributes, now: Duration) -> Chain {
        Chain {
            path,
            restart,
            attributes,
            members: VecDeque::new(),
            records: Records::default(),
            empty_since: None,
            ended_at: None,
            next_look: now,
            data_at: now,
            queued: false,
        }
    }

    /// Puts the members in order, and tells those before the last that they have a successor.
    pub(crate) fn sort(&mut self, files: &mut FileTable, now: Duration) {
        let order = |number: &FileNumber| files.get(number).map(|file| file.order.clone());
        self.members.make_contiguous().sort_by_key(order);
        let last = self.members.back().copied();
        for member in &self.members {
            let Some(file) = files.get_mut(member) else { continue };
            if Some(*member) == last {
                // Its name told of a later place before those of older files were known.
                file.signs.succeeded_at = None;
            } else {
                file.signs.succeeded_at.get_or_insert(now);
            }
        }
        self.next_look = self.next_look.min(now);
    }
}
