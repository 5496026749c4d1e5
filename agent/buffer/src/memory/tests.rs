use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use weir_event::identity::EventId;

use crate::ack::{Ack, Acknowledge, Posting};
use crate::ledger::Entry;
use crate::segment::Record;

#[derive(Default)]
struct Safe(AtomicU32);

impl Acknowledge for Safe {
    fn acknowledge(&self, _: u64, safe: bool, _: Vec<Posting>) {
        self.0.fetch_add(u32::from(safe), Ordering::SeqCst);
    }

    fn acknowledge_late(&self, _: u64, _: Vec<Posting>) {}
}

fn segment(bytes: usize, acks: &Arc<Safe>) -> Segment {
    let documents = Documents { ndjson: Vec::with_capacity(bytes), ..Documents::default() };
    Segment {
        documents: Arc::new(documents),
        targets: Targets::default(),
        amount: Amount::one(bytes as u64),
        ack: Ack::new(0, acks.clone()),
    }
}

/// Documents with their own index for text, each read from 10 bytes more than the one before.
fn numbered(count: u32, acks: &Arc<Safe>) -> Segment {
    let mut documents = Documents::default();
    for index in 0..count {
        documents.ndjson.extend_from_slice(index.to_string().as_bytes());
        let (end, bytes) = (documents.ndjson.len() as u32, 10 * index);
        documents.records.push(Record { id: EventId([0; 20]), time: 0, stream: 0, bytes, end });
        documents.ndjson.push(b'\n');
    }
    let of = (0..count).map(|index| (index % 2) as u16).collect();
    let targets = Targets { names: vec!["even".into(), "odd".into()], of };
    let amount = documents.amount();
    Segment { documents: Arc::new(documents), targets, amount, ack: Ack::new(0, acks.clone()) }
}

fn take(tier: &Arc<MemoryTier>) -> Lease {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tier.take()).unwrap()
}

fn take_held(tier: &Arc<MemoryTier>, key: &str) -> Option<Lease> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tier.take_held(key))
}

fn texts(lease: &Lease) -> Vec<(String, String)> {
    let documents = lease.documents().iter().enumerate();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    documents.map(|(i, (_, bytes))| (text(bytes), lease.targets().name(i).unwrap().to_string())).collect()
}

#[test]
fn parts_are_settled_apart_and_the_batch_is_safe_with_the_last() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(1 << 20, Arc::clone(&ledger));
    let acks = Arc::new(Safe::default());
    let segment = numbered(4, &acks);
    segment.ack.book(&account, Entry::Read, segment.amount);
    tier.push(segment, &account, 0);
    let (chosen, rest) = take(&tier).divide(&[false, true, false, true]);
    assert_eq!(texts(&chosen), [("1".into(), "odd".into()), ("3".into(), "odd".into())]);
    assert_eq!(texts(&rest), [("0".into(), "even".into()), ("2".into(), "even".into())]);
    assert_eq!(chosen.amount(), Amount { events: 2, bytes: 40 });
    assert_eq!(tier.used(), chosen.memory() + rest.memory());
    assert!(ledger.statements()[0].balanced);
    rest.settle(vec![
        (Entry::Delivered, Amount::one(0)),
        (Entry::DeadLettered("mapping".into()), Amount::one(20)),
    ]);
    assert!(ledger.statements()[0].balanced);
    assert_eq!(acks.0.load(Ordering::SeqCst), 0);
    chosen.delivered();
    assert_eq!(acks.0.load(Ordering::SeqCst), 1);
    assert_eq!(tier.used(), 0);
    let statement = &ledger.statements()[0];
    assert_eq!(statement.counts.delivered, Amount { events: 3, bytes: 40 });
    assert!(statement.balanced);
}

#[test]
fn a_part_that_is_the_whole_is_not_copied() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(1 << 20, ledger);
    let acks = Arc::new(Safe::default());
    tier.push(numbered(2, &acks), &account, 0);
    let lease = take(&tier);
    let documents = Arc::clone(lease.documents());
    let (all, none) = lease.divide(&[true, true]);
    assert!(Arc::ptr_eq(all.documents(), &documents));
    assert_eq!(none.amount(), Amount::default());
    none.delivered();
    let (none, all) = all.divide(&[]);
    assert!(Arc::ptr_eq(all.documents(), &documents));
    none.delivered();
    assert_eq!(acks.0.load(Ordering::SeqCst), 0);
    all.delivered();
    assert_eq!((acks.0.load(Ordering::SeqCst), tier.used()), (1, 0));
}

#[test]
fn what_is_held_counts_and_comes_back_oldest_first() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(1 << 20, ledger);
    let acks = Arc::new(Safe::default());
    for count in [2, 3] {
        tier.push(numbered(count, &acks), &account, 0);
        let lease = take(&tier);
        tier.hold("logs".into(), lease);
    }
    assert_eq!(tier.held(), [("logs".into(), Amount { events: 5, bytes: 40 })]);
    assert_eq!(tier.used(), tier.held_memory());
    assert!(take_held(&tier, "other").is_none());
    for events in [2, 3] {
        let lease = take_held(&tier, "logs").unwrap();
        assert_eq!(lease.amount().events, events);
        lease.delivered();
    }
    assert!(tier.held().is_empty() && take_held(&tier, "logs").is_none());
    assert_eq!((tier.used(), tier.held_memory(), acks.0.load(Ordering::SeqCst)), (0, 0, 2));
}

#[test]
fn the_bound_counts_reserved_queued_and_leased() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(100, ledger);
    let acks = Arc::new(Safe::default());
    assert!(tier.reserve(60));
    assert!(!tier.reserve(60));
    tier.push(segment(40, &acks), &account, 60);
    assert_eq!(tier.used(), 40);
    assert!(tier.reserve(60));
    tier.unreserve(60);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lease = runtime.block_on(tier.take()).unwrap();
    assert_eq!(tier.used(), 40);
    lease.delivered();
    assert_eq!(tier.used(), 0);
    assert_eq!(acks.0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_segment_larger_than_the_bound_passes_an_empty_tier() {
    let tier = MemoryTier::new(100, Arc::new(Ledger::default()));
    assert!(tier.reserve(500));
    assert!(!tier.reserve(1));
}

#[test]
fn a_closed_tier_is_emptied_first() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(100, ledger);
    tier.push(segment(1, &Arc::new(Safe::default())), &account, 0);
    tier.close();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tier.take()).unwrap().delivered();
    assert!(runtime.block_on(tier.take()).is_none());
}

#[test]
fn a_lease_that_is_dropped_goes_back_to_its_place() {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("p", "s");
    let tier = MemoryTier::new(1 << 20, Arc::clone(&ledger));
    let acks = Arc::new(Safe::default());
    for count in [1, 2, 3, 4] {
        tier.push(numbered(count, &acks), &account, 0);
    }
    let used = tier.used();
    let [first, second, third] = [take(&tier), take(&tier), take(&tier)];
    second.delivered();
    drop(third);
    drop(first);
    let counts: Vec<u64> = (0..3)
        .map(|_| take(&tier))
        .map(|lease| {
            let events = lease.amount().events;
            lease.delivered();
            events
        })
        .collect();
    assert_eq!(counts, [1, 3, 4]);
    assert!(used > 0);
    assert_eq!((tier.used(), acks.0.load(Ordering::SeqCst)), (0, 4));
}
