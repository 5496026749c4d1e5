//! What a worker works with, and who works with it: the worker itself, or the thread of a source in its place.
//!
//! Handing a batch to another thread costs some ten microseconds, and the batch is no longer in the cache of whoever
//! takes it up. Where a pipeline needs little for a batch, the source's thread brings its batch through itself, while a
//! worker that has nothing to do lends it what it works with. So there are never more batches under way, and never
//! more instances of a plugin, than there are workers.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::lane::{Outcome, Turn};
use super::{APART, Next, Shared, State, nanoseconds_now};
use crate::process::Processor;
use crate::thread::cpu_time;

/// A pipeline that takes more CPU time for a batch has it done by a worker: meanwhile its source reads on.
const LIGHT: Duration = Duration::from_millis(2);
/// So many batches are looked at before a pipeline counts as light.
const LOOKED_AT: u32 = 16;
/// The weight of the last batch in the mean, as 1 in so many.
const MEMORY: u32 = 8;

/// What one worker works with.
#[derive(Default)]
pub(super) struct Hands {
    processors: BTreeMap<Arc<str>, Processor>,
    /// The version of the state whose superfluous pipelines it has let go of.
    pub seen: u64,
}

/// How much CPU time the batches of a pipeline take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    mean: Duration,
    batches: u32,
}

/// Which lanes a thread takes batches of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lanes {
    All,
    Light,
}

// === impl Pace ===

impl Pace {
    pub fn note(&mut self, took: Duration) {
        self.mean = match self.batches {
            0 => took,
            _ => (self.mean * (MEMORY - 1) + took) / MEMORY,
        };
        self.batches = self.batches.saturating_add(1);
    }

    /// Whether a batch takes so little that the thread that has it at hand should see to it.
    pub fn is_light(self) -> bool {
        self.batches >= LOOKED_AT && self.mean <= LIGHT
    }
}

// === impl Shared ===

impl Shared {
    /// A worker's life.
    pub fn work(&self, worker: usize) {
        let mut state = self.lock();
        state.hands.insert(worker, Hands::default());
        loop {
            // A source's thread may have them.
            if let Some(mut hands) = state.hands.remove(&worker) {
                match self.next(&mut state, worker, &mut hands.seen, Lanes::All) {
                    Some(Next::End) => {
                        state.tidied.remove(&worker);
                        drop(state);
                        self.changed.notify_all();
                        return;
                    }
                    Some(next) => {
                        state = self.act(state, worker, hands, next);
                        continue;
                    }
                    None => {
                        state.hands.insert(worker, hands);
                    }
                }
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Does what workers would do, as far as it is little and one of them has nothing to do: at most so many batches. Wakes
    /// them for the rest.
    pub fn help(&self, mut batches: usize) {
        let mut state = self.lock();
        while batches > 0 {
            let idle = state.hands.keys().find(|worker| **worker != APART).copied();
            let Some(worker) = idle else { break };
            let Some(mut hands) = state.hands.remove(&worker) else { break };
            match self.next(&mut state, worker, &mut hands.seen, Lanes::Light) {
                None | Some(Next::End) => {
                    state.hands.insert(worker, hands);
                    break;
                }
                Some(next) => {
                    batches -= usize::from(matches!(next, Next::Turn(..)));
                    state = self.act(state, worker, hands, next);
                }
            }
            // It may have been woken meanwhile, and found that it has nothing to work with.
            if state.calls(worker) {
                self.changed.notify_all();
            }
        }
        let waits = state.waits();
        drop(state);
        if waits {
            self.changed.notify_all();
        }
    }

    /// Does it without the lock.
    fn act<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        worker: usize,
        mut hands: Hands,
        next: Next,
    ) -> MutexGuard<'a, State> {
        drop(state);
        match next {
            Next::Turn(name, number, turn) => self.turn(&mut hands, &name, number, *turn),
            Next::Tidy(wanted) => {
                let is_wanted = |of: &Processor| wanted.iter().any(|pipeline| of.is_of(pipeline));
                hands.processors.retain(|_, processor| is_wanted(processor));
            }
            Next::End => {}
        }
        let mut state = self.lock();
        state.hands.insert(worker, hands);
        state
    }

    /// One batch.
    fn turn(&self, hands: &mut Hands, name: &Arc<str>, number: u64, mut turn: Turn) {
        let pipeline = Arc::clone(&turn.job.pipeline);
        let processors = &mut hands.processors;
        // The instances of a pipeline that is no more go before others are made.
        processors.retain(|of, processor| of != name || processor.is_of(&pipeline));
        let processor = processors.entry(Arc::clone(name)).or_insert_with(|| Processor::new(&pipeline));
        let job = &turn.job;
        let is_queueing = || self.lock().is_queueing();
        let begun = cpu_time();
        let mut looking = self.taps.looking(&pipeline, &job.batch);
        let run =
            || processor.run(&job.batch, &job.intake, nanoseconds_now(), &is_queueing, looking.as_mut());
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(processed)) => turn.outcome = Outcome::Done(Box::new(processed)),
            Ok(Err(held)) => {
                let (stage, suspects) = (&held.stage, held.suspects);
                tracing::error!(pipeline = %name, %stage, suspects, "pipeline holds a batch that the plugin cannot handle; it goes on after a reload with another configuration");
                self.hold(name, number, Arc::clone(stage));
                turn.outcome = Outcome::Held;
            }
            Err(_) => {
                // The instance may be in any state; the next batch gets a new one.
                processors.remove(name);
                self.health.count_panic();
                tracing::error!(pipeline = %name, "a worker failed; the batch stays unacked and is read again at the next start");
            }
        }
        if let Some(looking) = looking {
            looking.tell();
        }
        self.finish_turn(name, number, turn, cpu_time().saturating_sub(begun));
    }
}

// === impl State ===

impl State {
    /// Whether batches wait that a worker could take.
    pub fn waits(&self) -> bool {
        self.lanes.values().any(|lane| lane.waiting_weight().is_some())
    }

    /// Whether batches wait for a worker, not for the thread of what is apart.
    fn is_queueing(&self) -> bool {
        self.lanes.values().any(|lane| !lane.apart && lane.waiting_weight().is_some())
    }

    /// Whether there is something to do for this worker beside batches.
    fn calls(&self, worker: usize) -> bool {
        let has_seen = self.hands.get(&worker).is_none_or(|hands| hands.seen == self.version);
        !has_seen || self.closed || self.aborted || worker >= self.workers
    }
}
