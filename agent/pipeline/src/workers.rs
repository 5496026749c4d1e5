//! The workers: a fixed set of threads that bring batches through the pipelines.
//!
//! 1. A pipeline's inbox is bounded; a source waits until every pipeline that it leads to has room.
//! 2. A batch is taken from an inbox only when room for its documents was set aside in every buffer behind the
//!    pipeline, so no worker ever waits for a sink, and a full buffer stops its own pipelines only.
//! 3. Batches are numbered as they are taken and their documents reach the buffers in that order, whatever worker is
//!    done first.
//! 4. Pipelines share the workers by their weights (smooth weighted round robin).
//! 5. Which pipelines there are and what leads to them changes as a whole, between two batches of every source. A batch
//!    ends in the pipeline as it was when the batch was sent, unless that one held it.
//! 6. While a pipeline that was taken away still has batches, none is taken for one that is new: the plugins of both
//!    never have memory at the same time.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_buffer::ack::Ack;
use weir_buffer::ledger::{Amount, Entry, Ledger};
use weir_buffer::segment::{Documents, Segment, Targets};

use crate::checkpoint::{AckQueue, Checkpoints};
use crate::pipeline::{Output, Pipeline};
use crate::process::{Intake, Job, Processor};
use crate::source::Outlet;
use crate::tap::Taps;

mod health;
mod lane;
mod outlet;

pub use health::Health;
use lane::{Lane, Outcome, Turn, give_back};
use outlet::PipelineOutlet;

/// Batches that wait in front of one pipeline, beside those that workers have.
const INBOX: usize = 2;

/// The pipelines and the workers' turn-taking.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Which pipelines there are, and what leads to them.
#[derive(Default)]
pub struct Routing {
    /// All pipelines, each under a name of its own.
    pub pipelines: Vec<Arc<Pipeline>>,
    /// By source, the pipelines that its batches go to: some of those above.
    pub sources: BTreeMap<Arc<str>, Vec<Route>>,
}

/// From a source into a pipeline.
#[derive(Clone)]
pub struct Route {
    /// Where to.
    pub pipeline: Arc<Pipeline>,
    /// How the pipeline takes up the source's events.
    pub intake: Arc<Intake>,
}

struct Shared {
    ledger: Arc<Ledger>,
    checkpoints: Arc<Checkpoints>,
    state: Mutex<State>,
    changed: Condvar,
    health: Arc<Health>,
    taps: Arc<Taps>,
    /// By source, for as long as the agent lives: batches of one that was stopped may still be under way.
    acks: Mutex<BTreeMap<Arc<str>, Arc<AckQueue>>>,
}

#[derive(Default)]
struct State {
    /// By the pipeline's name.
    lanes: BTreeMap<Arc<str>, Lane>,
    routes: BTreeMap<Arc<str>, Vec<Route>>,
    /// By source, the number of the last outlet that was made; no other may send.
    outlets: BTreeMap<Arc<str>, u64>,
    /// Grows whenever a pipeline may have become superfluous.
    version: u64,
    /// How many workers there are to be.
    workers: usize,
    closed: bool,
    aborted: bool,
}

/// What a worker does next.
enum Next {
    /// A batch of the lane with this name, and its number there.
    Turn(Arc<str>, u64, Box<Turn>),
    /// Let go of what belongs to other pipelines than these.
    Tidy(Vec<Arc<Pipeline>>),
    End,
}

// === impl Workers ===

impl Workers {
    /// Starts `count` workers, without a pipeline for now.
    pub fn start(
        ledger: Arc<Ledger>,
        checkpoints: Arc<Checkpoints>,
        count: usize,
    ) -> std::io::Result<Workers> {
        let shared = Arc::new(Shared {
            ledger,
            checkpoints,
            state: Mutex::default(),
            changed: Condvar::new(),
            health: Arc::default(),
            taps: Arc::default(),
            acks: Mutex::default(),
        });
        let workers = Workers { shared, threads: Mutex::default() };
        workers.resize(count)?;
        Ok(workers)
    }

    /// From now on there are so many workers. Blocks while those that are too many finish their batches.
    pub fn resize(&self, count: usize) -> std::io::Result<()> {
        let count = count.max(1);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.lock().workers = count;
        self.shared.notify();
        while threads.len() > count {
            let _ = threads.pop().map(JoinHandle::join);
        }
        for number in threads.len()..count {
            let shared = Arc::clone(&self.shared);
            let builder = std::thread::Builder::new().name(format!("worker-{number}"));
            match builder.spawn(move || shared.work(number)) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.shared.lock().workers = threads.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Puts other pipelines and ways to them in the place of those that there were, between two batches of every
    /// source. Pipelines that hold a batch try again with what is there now.
    pub fn route(&self, routing: Routing) {
        let Routing { pipelines, sources } = routing;
        for output in pipelines.iter().flat_map(|pipeline| pipeline.all_outputs()) {
            let shared = Arc::downgrade(&self.shared);
            output.buffer.on_room(Arc::new(move || {
                if let Some(shared) = shared.upgrade() {
                    shared.notify();
                }
            }));
        }
        let mut state = self.shared.lock();
        state.version += 1;
        for lane in state.lanes.values_mut() {
            lane.pipeline = None;
        }
        for pipeline in pipelines {
            match state.lanes.get_mut(&pipeline.name) {
                Some(lane) => lane.pipeline = Some(pipeline),
                None => {
                    state.lanes.insert(Arc::clone(&pipeline.name), Lane::of(pipeline));
                }
            }
        }
        state.routes = sources;
        self.shared.try_held_again(&mut state);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Pipelines that hold a batch try again with the plugins that they have.
    pub fn retry_held(&self) {
        let mut state = self.shared.lock();
        self.shared.try_held_again(&mut state);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Takes no more batches of a source; whoever waits to send one is told to end.
    pub fn close_source(&self, source: &str) {
        self.shared.lock().routes.remove(source);
        self.shared.changed.notify_all();
    }

    /// Whether documents may still come into this buffer.
    pub fn lead_to(&self, buffer: &Arc<weir_buffer::memory::MemoryTier>) -> bool {
        let state = self.shared.lock();
        let leads_there = |pipeline: &Arc<Pipeline>| {
            pipeline.all_outputs().any(|output| Arc::ptr_eq(&output.buffer, buffer))
        };
        state.lanes.values().any(|lane| lane.pipelines().any(leads_there))
    }

    /// The outlet of a source, to wherever the routing says at each batch. One that was made before for a source of this
    /// name takes nothing any more.
    pub fn outlet(&self, source: &str) -> Box<dyn Outlet> {
        let source: Arc<str> = source.into();
        let mut queues = self.shared.acks.lock().unwrap_or_else(PoisonError::into_inner);
        let acks = queues.entry(Arc::clone(&source));
        let acks = acks.or_insert_with(|| AckQueue::new(&source, Arc::clone(&self.shared.checkpoints)));
        let mut state = self.shared.lock();
        let number = state.outlets.entry(Arc::clone(&source)).or_default();
        *number += 1;
        Box::new(PipelineOutlet::new(Arc::clone(&self.shared), Arc::clone(acks), source, *number))
    }

    /// What went wrong so far; it outlives the workers.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.shared.health)
    }

    /// Where events can be looked at on their way.
    pub fn taps(&self) -> Arc<Taps> {
        Arc::clone(&self.shared.taps)
    }

    /// Takes no more batches, works off those that are there and ends the threads. What is held, or finds no room
    /// within `patience`, stays unacked. Blocks.
    pub fn finish(&self, patience: Duration) {
        self.shared.lock().closed = true;
        self.shared.notify();
        let state = self.shared.lock();
        let busy = |state: &mut State| state.lanes.values().any(Lane::is_busy);
        let waited = self.shared.changed.wait_timeout_while(state, patience, busy);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.aborted = true;
        for lane in state.lanes.values_mut() {
            lane.abandon();
        }
        drop(state);
        self.shared.notify();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            let _ = thread.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn work(&self, worker: usize) {
        let mut processors: BTreeMap<Arc<str>, Processor> = BTreeMap::new();
        let mut seen = 0;
        loop {
            let (name, number, mut turn) = match self.next(worker, &mut seen) {
                Next::Turn(name, number, turn) => (name, number, turn),
                Next::Tidy(wanted) => {
                    processors.retain(|_, processor| wanted.iter().any(|pipeline| processor.is_of(pipeline)));
                    continue;
                }
                Next::End => return,
            };
            let pipeline = Arc::clone(&turn.job.pipeline);
            // The instances of a pipeline that is no more go before others are made.
            processors.retain(|of, processor| *of != name || processor.is_of(&pipeline));
            let processor = processors.entry(Arc::clone(&name)).or_insert_with(|| Processor::new(&pipeline));
            let job = &turn.job;
            let mut looking = self.taps.looking(&pipeline, &job.batch);
            let run = || processor.run(&job.batch, &job.intake, nanoseconds_now(), looking.as_mut());
            match catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(processed)) => turn.outcome = Outcome::Done(Box::new(processed)),
                Ok(Err(held)) => {
                    let (stage, suspects) = (&held.stage, held.suspects);
                    tracing::error!(pipeline = %name, %stage, suspects, "pipeline holds a batch that the plugin cannot handle; it goes on after a reload with another configuration");
                    self.hold(&name, number, Arc::clone(stage));
                    turn.outcome = Outcome::Held;
                }
                Err(_) => {
                    // The instance may be in any state; the next batch gets a new one.
                    processors.remove(&name);
                    self.health.count_panic();
                    tracing::error!(pipeline = %name, "a worker failed; the batch stays unacked and is read again at the next start");
                }
            }
            if let Some(looking) = looking {
                looking.tell();
            }
            self.finish_turn(&name, number, *turn);
        }
    }

    /// Waits for a batch whose documents have room.
    fn next(&self, worker: usize, seen: &mut u64) -> Next {
        let mut state = self.lock();
        loop {
            if state.aborted || worker >= state.workers {
                return Next::End;
            }
            if state.version != *seen {
                *seen = state.version;
                return Next::Tidy(state.lanes.values().flat_map(Lane::pipelines).cloned().collect());
            }
            if let Some(taken) = self.take(&mut state) {
                return taken;
            }
            if state.closed && !state.lanes.values().any(Lane::is_busy) {
                return Next::End;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Smooth weighted round robin over the pipelines that have something to do and room for it.
    fn take(&self, state: &mut State) -> Option<Next> {
        let mut waiting: Vec<(i64, Arc<str>)> = Vec::new();
        let mut total = 0;
        let is_leaving = state.lanes.values().any(|lane| lane.pipeline.is_none());
        for (name, lane) in &mut state.lanes {
            lane.is_new &= is_leaving;
            if lane.is_new {
                continue;
            }
            let Some(weight) = lane.waiting_weight() else { continue };
            total += weight;
            lane.credit += weight;
            waiting.push((lane.credit, Arc::clone(name)));
        }
        waiting.sort_by(|(one, first), (other, second)| other.cmp(one).then_with(|| first.cmp(second)));
        for (_, name) in waiting {
            let Some(lane) = state.lanes.get_mut(&name) else { continue };
            // One that found no room for long does not save up turns.
            lane.credit = lane.credit.min(total);
            let Some((number, turn)) = lane.take() else { continue };
            lane.credit -= total;
            self.changed.notify_all();
            return Some(Next::Turn(name, number, Box::new(turn)));
        }
        None
    }

    /// Two workers may meet batches to hold at once: the first of them is where the pipeline stands.
    fn hold(&self, name: &Arc<str>, number: u64, stage: Arc<str>) {
        if let Some(lane) = self.lock().lanes.get_mut(name)
            && lane.held.is_none_or(|known| number < known)
        {
            lane.held = Some(number);
            self.health.hold(name, stage);
        }
    }

    /// Puts what is done in its place in the order and passes on what is next.
    fn finish_turn(&self, name: &Arc<str>, number: u64, turn: Turn) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(lane) = state.lanes.get_mut(name) else { return };
        if !lane.is_current(&turn.job.pipeline) {
            state.version += 1;
        }
        lane.done.insert(number, turn);
        // Passed on under the lock, so that two workers cannot swap their documents. It only moves pointers.
        while let Some(turn) = lane.done.remove(&lane.next_out) {
            let is_behind_held = lane.held.is_some_and(|held| held <= lane.next_out);
            lane.next_out += 1;
            lane.running -= 1;
            match turn.outcome {
                // What other workers finished behind a batch that is held waits as well: else it would reach the
                // sinks before it.
                Outcome::Held | Outcome::Done(_) if is_behind_held => {
                    give_back(&turn.job.pipeline, &turn.reserved);
                    lane.parked.push(turn.job);
                }
                _ => self.pass_on(turn),
            }
        }
        if lane.tries_again && lane.running == 0 {
            self.try_lane_again(state, name);
        }
        state.lanes.retain(|_, lane| !lane.is_over());
        drop(guard);
        self.changed.notify_all();
    }

    /// Documents into the buffers, everything else into the ledger.
    fn pass_on(&self, turn: Turn) {
        let Turn { job, reserved, outcome } = turn;
        let pipeline = Arc::clone(&job.pipeline);
        let Outcome::Done(done) = outcome else {
            // Failed: still in flight, never acked.
            give_back(&pipeline, &reserved);
            return;
        };
        let _moving = self.ledger.moving();
        let documents = Arc::new(done.documents);
        for ((output, room), targets) in pipeline.outputs.iter().zip(&reserved).zip(done.targets) {
            for (entry, amount) in &done.entries {
                job.ack.book(&output.account, entry.clone(), *amount);
                match entry {
                    Entry::Created => output.account.enter_flight(*amount),
                    _ => output.account.leave_flight(*amount),
                }
            }
            output.account.leave_flight(done.kept);
            self.pass_documents(output, *room, (&documents, targets), done.kept, &job.ack);
        }
        let room = reserved.last().copied().flatten();
        self.pass_documents(
            &pipeline.dead_letters,
            room,
            (&Arc::new(done.dead_letters), Targets::default()),
            Amount::default(),
            &job.ack,
        );
        job.ack.release();
    }

    fn pass_documents(
        &self,
        output: &Output,
        room: Option<u64>,
        (documents, targets): (&Arc<Documents>, Targets),
        amount: Amount,
        ack: &Ack,
    ) {
        if documents.records.is_empty() {
            if let Some(room) = room {
                output.buffer.unreserve(room);
            }
            return;
        }
        let Some(room) = room else {
            // Only a best-effort sink is let go on without room.
            ack.book(&output.account, Entry::Lost("buffer_full".into()), amount);
            return;
        };
        let ack = match output.best_effort {
            true => ack.late(),
            false => ack.share(),
        };
        let documents = Arc::clone(documents);
        output.buffer.push(Segment { documents, targets, amount, ack }, &output.account, room);
    }

    // --- what was held ---

    fn try_held_again(&self, state: &mut State) {
        let names: Vec<Arc<str>> = state.lanes.keys().cloned().collect();
        for name in names {
            let Some(lane) = state.lanes.get_mut(&name).filter(|lane| lane.held.is_some()) else { continue };
            // What still runs behind the held batch must be in its place first.
            lane.tries_again = true;
            if lane.running == 0 {
                self.try_lane_again(state, &name);
            }
        }
        state.lanes.retain(|_, lane| !lane.is_over());
    }

    /// What waits in a lane that holds a batch goes through the pipeline as it is now, in its old order.
    fn try_lane_again(&self, state: &mut State, name: &Arc<str>) {
        let Some(lane) = state.lanes.get_mut(name) else { return };
        lane.tries_again = false;
        lane.held = None;
        self.health.release(name);
        let parked = std::mem::take(&mut lane.parked);
        let jobs: Vec<Job> = parked.into_iter().chain(lane.inbox.drain(..)).collect();
        let routes = &state.routes;
        let way =
            |job: &Job| routes.get(&job.source)?.iter().find(|route| route.pipeline.name == *name).cloned();
        let again: Vec<Job> = jobs
            .into_iter()
            .filter_map(|job| {
                let way = way(&job);
                lane::follow(job, way, &self.ledger)
            })
            .collect();
        lane.inbox.extend(again);
        state.version += 1;
    }

    fn notify(&self) {
        // Taken and let go, so that nobody is between looking and waiting.
        drop(self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanoseconds_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

#[cfg(test)]
mod tests;
