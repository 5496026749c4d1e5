//! Documents that fail by themselves: OpenSearch fails over one of them, try after try, while it takes others of the
//! same index.
//!
//! 1. A try counts only if the index took a document since the one before it. Where an index takes nothing, nothing is
//!    wrong with its documents.
//! 2. A document is given up only where few fail beside many that are taken: of a shard whose disk is broken more do,
//!    and they wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Tries that count before a document is given up.
const MOST_TRIES: u32 = 20;
/// It is not given up before this time, however often it was tried.
const LEAST_TIME: Duration = Duration::from_secs(600);
/// So many were taken for each that failed.
const TAKEN_FOR_EACH: u64 = 20;
/// An index is forgotten when nothing of it failed for so long: ten times the longest pause between two tries.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);

/// What documents of one index that failed together have behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    tries: u32,
    since: Instant,
    /// What the index had taken at the last try that counted.
    taken: u64,
}

/// The indices of which something failed lately.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    indices: BTreeMap<Arc<str>, Index>,
}

#[derive(Debug)]
struct Index {
    /// Documents that it took since the first one failed.
    taken: u64,
    /// Documents that failed, each once.
    failed: u64,
    last: Instant,
}

/// What is to be done with documents that failed once more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Again(Past),
    GiveUp,
}

// === impl Faults ===

impl Faults {
    /// Whether nothing failed lately, so that nobody asks what is taken.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// An index took documents.
    pub fn took(&mut self, index: &str, documents: u64) {
        if let Some(index) = self.indices.get_mut(index) {
            index.taken += documents;
        }
    }

    /// Documents of an index failed, with what they have behind them.
    pub fn failed(&mut self, index: &Arc<str>, documents: u64, past: Option<Past>, now: Instant) -> Next {
        let fresh = || Index { taken: 0, failed: 0, last: now };
        let known = self.indices.entry(Arc::clone(index)).or_insert_with(fresh);
        known.last = now;
        // What lies behind documents of an index that was forgotten is forgotten too.
        let past = past.filter(|past| known.failed > 0 && past.taken <= known.taken);
        let Some(mut past) = past else {
            known.failed += documents;
            return Next::Again(Past { tries: 1, since: now, taken: known.taken });
        };
        if known.taken > past.taken {
            past.tries += 1;
            past.taken = known.taken;
        }
        let is_long = past.tries >= MOST_TRIES && now.duration_since(past.since) >= LEAST_TIME;
        let is_alone = known.taken >= known.failed.saturating_mul(TAKEN_FOR_EACH);
        if is_long && is_alone { Next::GiveUp } else { Next::Again(past) }
    }

    /// Forgets indices of which nothing failed for a while.
    pub fn forget(&mut self, now: Instant) {
        self.indices.retain(|_, index| now.duration_since(index.last) < FORGOTTEN_AFTER);
    }
}

/// Whether a request of one document that failed as a whole, so often and for so long, while others were answered, is
/// to be given up.
pub(crate) fn is_hopeless(lone_failures: u32, since: Instant, now: Instant) -> bool {
    lone_failures >= MOST_TRIES && now.duration_since(since) >= LEAST_TIME
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries a document every 30 s, so often, with so many others taken and failing meanwhile.
    fn tries_until_given_up(most: u32, taken: u64, failing: u64) -> Option<u32> {
        let (mut faults, start, index) = (Faults::default(), Instant::now(), Arc::from("logs"));
        let mut past = None;
        for number in 1..=most {
            let now = start + Duration::from_secs(30) * number;
            faults.took("logs", taken);
            faults.forget(now);
            if failing > 0 {
                faults.failed(&index, failing, None, now);
            }
            match faults.failed(&index, 1, past.take(), now) {
                Next::Again(next) => past = Some(next),
                Next::GiveUp => return Some(number),
            }
        }
        None
    }

    #[test]
    fn a_document_is_given_up_only_beside_others_that_are_taken() {
        assert_eq!(tries_until_given_up(100, 50, 0), Some(21));
        assert_eq!(tries_until_given_up(100, 1, 0), Some(21));
        assert_eq!(tries_until_given_up(1000, 0, 0), None, "the index takes nothing");
        assert_eq!(tries_until_given_up(1000, 50, 10), None, "many fail");
        assert_eq!(tries_until_given_up(100, 205, 10), Some(45), "few fail, in the long run");
    }

    #[test]
    fn tries_without_time_between_them_are_not_enough() {
        let (mut faults, now, index) = (Faults::default(), Instant::now(), Arc::from("logs"));
        let mut past = None;
        for _ in 0..1000 {
            faults.took("logs", 100);
            let Next::Again(next) = faults.failed(&index, 1, past.take(), now) else { panic!("given up") };
            past = Some(next);
        }
        faults.took("logs", 1);
        assert_eq!(faults.failed(&index, 1, past, now + LEAST_TIME), Next::GiveUp);
    }

    #[test]
    fn an_index_that_is_well_is_forgotten() {
        let (mut faults, now, index) = (Faults::default(), Instant::now(), Arc::from("logs"));
        faults.failed(&index, 1, None, now);
        faults.forget(now + FORGOTTEN_AFTER / 2);
        assert!(!faults.is_empty());
        faults.forget(now + FORGOTTEN_AFTER);
        assert!(faults.is_empty());
    }
}
