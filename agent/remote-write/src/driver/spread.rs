//! How many shards are in use: one while it keeps up, so that requests are whole and memory is read in order; more when
//! the receiver answers too slowly for one.
//!
//! 1. The number changes only while no request is under way and none is to be sent again, so that no sample of a series
//!    passes an older one of it in another shard.
//! 2. What waits is spread anew in the order of the buffer.

use std::time::Duration;

use tokio::time::Instant;

use super::Driver;
use crate::shard::Shard;

/// While more waited in the buffer for so long, whenever a request had its end, the shards are doubled.
const BEHIND: Duration = Duration::from_secs(1);
/// So long after it last was behind, the sink has one shard again.
const AT_EASE: Duration = Duration::from_secs(300);

/// How many shards are in use.
pub(super) struct Spread {
    most: usize,
    /// Shards in use now, from the first.
    pub active: usize,
    /// Shards to be used as soon as nothing is under way.
    wanted: usize,
    /// When there was last no more than what was under way, or the shards became more.
    kept_up: Instant,
    /// When more last waited for too long.
    behind: Instant,
}

// === impl Spread ===

impl Spread {
    pub fn new(most: usize, now: Instant) -> Spread {
        Spread { most, active: 1, wanted: 1, kept_up: now, behind: now }
    }

    /// Whether no new request is made, so that the number can change.
    pub fn is_changing(&self) -> bool {
        self.wanted != self.active
    }

    /// A request had its end and this is how many segments wait in the buffer.
    pub fn look(&mut self, waiting: usize, now: Instant) {
        if waiting == 0 {
            self.kept_up = now;
        } else if now >= self.kept_up + BEHIND {
            self.behind = now;
            self.wanted = (self.active * 2).min(self.most);
        }
        if now >= self.behind + AT_EASE {
            self.wanted = 1;
        }
    }

    /// The receiver takes nothing: more shards would not help, and what is to be sent again must not hold up others.
    pub fn stay(&mut self) {
        self.wanted = self.active;
    }

    /// Nothing was there for a while: nobody was behind.
    pub fn begin(&mut self, now: Instant) {
        self.kept_up = now;
    }
}

impl Driver {
    /// Spreads what waits over as many shards as are wanted, if nothing is under way.
    pub(super) fn respread(&mut self, now: Instant) {
        let is_quiet = self.tasks.is_empty() && self.shards.iter().all(|shard| shard.batches.is_empty());
        if !self.spread.is_changing() || !is_quiet {
            return;
        }
        let spread = &mut self.spread;
        (spread.active, spread.kept_up) = (spread.wanted, now);
        let mut pieces: Vec<_> = self.shards.iter_mut().flat_map(Shard::take_queue).collect();
        pieces.sort_by_key(|piece| piece.lease);
        if let Some((first, others)) = self.shards.split_first_mut() {
            others.iter_mut().for_each(|shard| shard.learn(first));
        }
        for piece in &pieces {
            let parts = piece.spread(self.spread.active);
            for (shard, part) in self.shards.iter_mut().zip(parts) {
                shard.push(part);
            }
        }
    }
}
