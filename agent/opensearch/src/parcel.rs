//! What the driver moves about: parcels of documents, and groups of parcels that are one request.

use std::sync::Arc;

use tokio::time::Instant;
use weir_buffer::memory::Lease;

use crate::bulk::ACTION_BYTES;
use crate::faults::Past;
use crate::repair::Repair;

/// Documents with one past.
pub(crate) struct Parcel {
    pub lease: Lease,
    pub stage: Stage,
    /// When the driver took them.
    pub since: Instant,
    /// What they have behind them, if they failed while others did not. They are of one index then.
    pub past: Option<Past>,
}

/// What was done with documents so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing, or only tries.
    New,
    /// They were refused for their mapping, and are sent with these changes, one for each. The documents themselves stay
    /// as they were: that is what a dead letter holds.
    Repaired(Vec<Repair>),
    /// They became dead letters on their way to an index, for these reasons, one for each.
    Letter(Vec<&'static str>),
}

/// Parcels that are sent together.
pub(crate) struct Group {
    pub parcels: Vec<Parcel>,
    /// Not before.
    pub due: Instant,
    /// How often it was sent.
    pub tries: u32,
    /// How often it failed as a whole while others were answered.
    pub lone_failures: u32,
    /// How many requests had been answered when it failed last.
    pub answered_before: Option<u64>,
    /// The index that this group is to find out about.
    pub probe: Option<Arc<str>>,
}

// === impl Parcel ===

impl Parcel {
    /// Documents to which nothing has happened yet.
    pub fn new(lease: Lease, stage: Stage, since: Instant) -> Parcel {
        Parcel { lease, stage, since, past: None }
    }

    /// Documents.
    pub fn events(&self) -> usize {
        self.lease.documents().records.len()
    }

    /// Bytes in a request.
    pub fn bytes(&self) -> usize {
        self.lease.documents().ndjson.len() + self.events() * ACTION_BYTES
    }

    /// The first `events` documents, and the rest.
    pub fn split(self, events: usize) -> (Parcel, Parcel) {
        let which = vec![true; events];
        let (first, rest) = self.lease.divide(&which);
        let (stage, since, past) = (self.stage.part(|at| at < events), self.since, self.past);
        let rest_stage = self.stage.part(|at| at >= events);
        (
            Parcel { lease: first, stage, since, past: past.clone() },
            Parcel { lease: rest, stage: rest_stage, since, past },
        )
    }

    /// Parcels of at most so many bytes and documents each, or of one document.
    pub fn cut(self, max_bytes: usize, max_events: usize, into: &mut impl Extend<Parcel>) {
        let events = self.events();
        if events <= 1 || (self.bytes() <= max_bytes && events <= max_events) {
            into.extend([self]);
            return;
        }
        let (first, rest) = self.split(events / 2);
        first.cut(max_bytes, max_events, into);
        rest.cut(max_bytes, max_events, into);
    }
}

// === impl Stage ===

impl Stage {
    /// The stage of some of the documents.
    pub fn part(&self, is_wanted: impl Fn(usize) -> bool) -> Stage {
        match self {
            Stage::New => Stage::New,
            Stage::Repaired(repairs) => Stage::Repaired(part(repairs, is_wanted)),
            Stage::Letter(reasons) => Stage::Letter(part(reasons, is_wanted)),
        }
    }

    /// How a document is to be changed before it is sent.
    pub fn repair(&self, document: usize) -> Option<&Repair> {
        match self {
            Stage::Repaired(repairs) => repairs.get(document),
            Stage::New | Stage::Letter(_) => None,
        }
    }
}

fn part<T: Clone>(all: &[T], is_wanted: impl Fn(usize) -> bool) -> Vec<T> {
    all.iter().enumerate().filter(|(at, _)| is_wanted(*at)).map(|(_, one)| one.clone()).collect()
}

// === impl Group ===

impl Group {
    /// Parcels that were not sent together before.
    pub fn new(parcels: Vec<Parcel>, due: Instant) -> Group {
        Group { parcels, due, tries: 0, lone_failures: 0, answered_before: None, probe: None }
    }

    /// Documents.
    pub fn events(&self) -> usize {
        self.parcels.iter().map(Parcel::events).sum()
    }

    /// Bytes of its request.
    pub fn bytes(&self) -> usize {
        self.parcels.iter().map(Parcel::bytes).sum()
    }

    /// Two groups of half of the documents each. There must be two at least.
    pub fn halves(self) -> (Group, Group) {
        let half = self.events() / 2;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let mut taken = 0;
        for parcel in self.parcels {
            let events = parcel.events();
            if taken + events <= half {
                first.push(parcel);
            } else if taken >= half {
                second.push(parcel);
            } else {
                let (begin, end) = parcel.split(half - taken);
                first.push(begin);
                second.push(end);
            }
            taken += events;
        }
        let Group { due, tries, lone_failures, answered_before, probe, .. } = self;
        let half = |parcels| Group { tries, lone_failures, answered_before, ..Group::new(parcels, due) };
        (Group { probe, ..half(first) }, half(second))
    }
}

/// A lease by labels, one for each document: the part with each label below `count`, where there is one.
pub(crate) fn partition(lease: Lease, labels: &[usize], count: usize) -> Vec<Option<Lease>> {
    let mut parts: Vec<Option<Lease>> = (0..count).map(|_| None).collect();
    let mut labels = labels.to_vec();
    let mut rest = lease;
    for (label, part) in parts.iter_mut().enumerate() {
        let which: Vec<bool> = labels.iter().map(|of| *of == label).collect();
        if !which.contains(&true) {
            continue;
        }
        if !which.contains(&false) {
            *part = Some(rest);
            return parts;
        }
        let (chosen, others) = rest.divide(&which);
        labels.retain(|of| *of != label);
        *part = Some(chosen);
        rest = others;
    }
    // Every document has a label below `count`, so nothing is left here.
    debug_assert!(labels.is_empty());
    parts
}
