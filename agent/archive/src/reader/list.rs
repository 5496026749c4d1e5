//! Listing: what an archive holds, by namespace and hour, and what is wrong with it.

use std::collections::{BTreeSet, HashSet};

use weir_buffer::object::ObjectErrorKind;

use super::hours::{HourFiles, Hours};
use super::object::read_footer;
use super::outcome::{DamageKind, Outcome};
use super::plan::candidate_of;
use super::{Damage, ReadError, Reader};
use crate::key::{self, Hour};

/// What a namespace has in an hour. Events that the archive holds twice are counted twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HourSummary {
    /// The namespace; empty where events have none.
    pub namespace: String,
    /// The hour, as `2023-11-14T22`.
    pub hour: String,
    /// Data objects.
    pub objects: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of the objects as they are stored.
    pub bytes: u64,
    /// Bytes of their lines.
    pub raw_bytes: u64,
    /// Time of the first event.
    pub first: i64,
    /// Time of the last event.
    pub last: i64,
    /// Who wrote them.
    pub nodes: BTreeSet<String>,
}

/// What an archive holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// By namespace, then by hour; hours without events are not there.
    pub hours: Vec<HourSummary>,
    /// What is damaged or missing.
    pub damages: Vec<Damage>,
    /// More of the same than are named.
    pub more_damages: u64,
}

/// A data object, as far as a summary needs it.
struct Counted {
    events: u64,
    bytes: u64,
    raw_bytes: u64,
    first: i64,
    last: i64,
}

// === impl Reader ===

impl Reader {
    /// What the archive holds in the hours from that of `from` to that of the last time before `to`, in these namespaces
    /// or, with none, in all. Blocks. Reads indices, and footers of data objects that no index names.
    ///
    /// # Errors
    ///
    /// A store that does not answer.
    pub fn list(&self, from: i64, to: i64, namespaces: &[String]) -> Result<Survey, ReadError> {
        let mut hours = Hours::new(self, from, to, namespaces)?;
        let (mut survey, mut outcome) = (Survey::default(), Outcome::default());
        while let Some(files) = hours.next(self)? {
            let summary = self.summary(&files, &mut outcome)?;
            survey.hours.extend(Some(summary).filter(|summary| summary.objects > 0));
        }
        (survey.damages, survey.more_damages) = (outcome.damages, outcome.more_damages);
        Ok(survey)
    }

    fn summary(&self, files: &HourFiles, outcome: &mut Outcome) -> Result<HourSummary, ReadError> {
        let mut summary = HourSummary {
            namespace: key::name_of(&files.namespace_folder),
            hour: Hour::text(files.hour),
            first: i64::MAX,
            last: i64::MIN,
            ..HourSummary::default()
        };
        let mut named = HashSet::new();
        for (name, bytes) in &files.indices {
            let Some(index) = self.index(&format!("{}{name}", files.prefix), *bytes, outcome)? else {
                continue;
            };
            summary.namespace.clone_from(&index.namespace);
            for entry in index.objects {
                if !named.insert(entry.name.clone()) || !self.is_there(files, &entry.name, outcome)? {
                    continue;
                }
                let (events, bytes, raw_bytes) = (entry.events, entry.bytes, entry.raw_bytes);
                summary.nodes.insert(index.node.clone());
                summary.add(Counted { events, bytes, raw_bytes, first: entry.first, last: entry.last });
                if let Some(listed) = files.data.get(&entry.name).filter(|listed| **listed != bytes) {
                    let message = format!("it has {listed} bytes, and {bytes} were written");
                    outcome.damage(DamageKind::Object, &format!("{}{}", files.prefix, entry.name), message);
                }
            }
        }
        for name in files.data.keys().filter(|name| !named.contains(*name)) {
            self.add_unindexed(files, name, &mut summary, outcome)?;
        }
        Ok(summary)
    }

    /// Whether a data object is there: listed, or stored since the listing was made.
    fn is_there(&self, files: &HourFiles, name: &str, outcome: &mut Outcome) -> Result<bool, ReadError> {
        if files.data.contains_key(name) {
            return Ok(true);
        }
        let key = format!("{}{name}", files.prefix);
        match self.store.get_range(&key, 0, 1) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ObjectErrorKind::Missing => {
                outcome.damage(DamageKind::Missing, &key, "an index names it, and it is not there");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn add_unindexed(
        &self,
        files: &HourFiles,
        name: &str,
        summary: &mut HourSummary,
        outcome: &mut Outcome,
    ) -> Result<(), ReadError> {
        let Some(candidate) = candidate_of(files, name) else { return Ok(()) };
        outcome.damage(DamageKind::Unindexed, &candidate.key, "no index names it");
        if let Some((footer, _)) = read_footer(self, &candidate, outcome)? {
            let table = footer.table;
            summary.namespace.clone_from(&table.namespace);
            summary.nodes.insert(table.node);
            summary.add(Counted {
                events: table.events,
                bytes: candidate.bytes,
                raw_bytes: table.raw_bytes,
                first: table.first,
                last: table.last,
            });
        }
        Ok(())
    }
}

// === impl HourSummary ===

impl HourSummary {
    fn add(&mut self, object: Counted) {
        self.objects += 1;
        self.events += object.events;
        self.bytes += object.bytes;
        self.raw_bytes += object.raw_bytes;
        self.first = self.first.min(object.first);
        self.last = self.last.max(object.last);
    }
}
