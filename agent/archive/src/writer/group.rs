//! Groups: leases of one namespace and hour, which become one object.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;
use weir_buffer::memory::Lease;
use weir_buffer::segment::Documents;

use crate::key::Hour;
use crate::object::Encoded;

/// What a lease takes beside its documents, about: its entry in the buffer, its share of an ack, its list of streams.
const LEASE_BYTES: u64 = 1024;

/// What a group is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The namespace; empty where events have none.
    pub namespace: Arc<str>,
    /// The hour of the events' times.
    pub hour: Hour,
}

/// Leases whose documents become one object.
pub struct Group {
    pub key: GroupKey,
    pub leases: Vec<Lease>,
    /// Bytes of documents.
    pub raw_bytes: u64,
    /// Bytes of memory of the leases.
    pub leased: u64,
    pub since: Instant,
    /// Tries that failed.
    pub tries: u32,
    /// No try before.
    pub due: Instant,
    /// The object, once it was made.
    pub encoded: Option<Arc<Encoded>>,
}

// === impl Group ===

impl Group {
    pub fn new(key: GroupKey, now: Instant) -> Group {
        Group {
            key,
            leases: Vec::new(),
            raw_bytes: 0,
            leased: 0,
            since: now,
            tries: 0,
            due: now,
            encoded: None,
        }
    }

    pub fn push(&mut self, lease: Lease) {
        self.raw_bytes += lease.documents().ndjson.len() as u64;
        self.leased += lease.memory() + LEASE_BYTES;
        self.leases.push(lease);
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> u64 {
        self.leased + self.encoded.as_ref().map_or(0, |encoded| encoded.bytes.capacity() as u64)
    }

    pub fn documents(&self) -> Vec<Arc<Documents>> {
        self.leases.iter().map(|lease| Arc::clone(lease.documents())).collect()
    }

    pub fn events(&self) -> u64 {
        self.leases.iter().map(|lease| lease.documents().records.len() as u64).sum()
    }
}

/// A lease for each group that has documents of this one.
pub fn partition(lease: Lease) -> Vec<(GroupKey, Lease)> {
    let (keys, labels) = label(lease.documents());
    let mut done = Vec::with_capacity(keys.len());
    // Halves the labels until one is left: each document is copied as often as the number of labels can be halved.
    let mut todo = vec![(lease, labels, 0..keys.len())];
    while let Some((lease, labels, range)) = todo.pop() {
        if range.len() <= 1 {
            done.extend(keys.get(range.start).map(|key| (key.clone(), lease)));
            continue;
        }
        let middle = range.start + range.len() / 2;
        let which: Vec<bool> = labels.iter().map(|label| *label < middle).collect();
        let (low, high) = labels.into_iter().partition(|label| *label < middle);
        let (lower, upper) = lease.divide(&which);
        todo.push((lower, low, range.start..middle));
        todo.push((upper, high, middle..range.end));
    }
    done
}

/// The groups of these documents, and for each document the index of its group.
fn label(documents: &Documents) -> (Vec<GroupKey>, Vec<usize>) {
    let mut keys: Vec<GroupKey> = Vec::new();
    let mut by_key: HashMap<GroupKey, usize> = HashMap::new();
    // Streams are many and repeat; most documents need no look at their names.
    let mut by_stream: HashMap<(u32, Hour), usize> = HashMap::new();
    let labels = documents.records.iter().map(|record| {
        let hour = Hour::of(record.time);
        *by_stream.entry((record.stream, hour)).or_insert_with(|| {
            let stream = documents.streams.get(record.stream as usize);
            let namespace = stream.map_or("", |stream| stream.attributes().namespace.as_str());
            let key = GroupKey { namespace: namespace.into(), hour };
            *by_key.entry(key.clone()).or_insert_with(|| {
                keys.push(key);
                keys.len() - 1
            })
        })
    });
    let labels = labels.collect();
    (keys, labels)
}
