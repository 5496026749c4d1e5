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
//! 6. A pipeline with a plugin that keeps failing has a thread of its own, which all such pipelines share: no worker is
//!    stuck with it. It is moved as a whole, and taken up there when nobody here has an instance of its plugins any more.
//! 7. While a pipeline that was taken away still has batches, none is taken for one that is new: the plugins of both
//!    never have memory at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_buffer::ack::Ack;
use weir_buffer::ledger::{Amount, Entry, Ledger};
use weir_buffer::segment::{Documents, Segment, Targets};

use crate::checkpoint::{AckQueue, Checkpoints};
use crate::pipeline::{Output, Pipeline};
use crate::process::{Intake, Job};
use crate::source::Outlet;
use crate::tap::Taps;
use crate::thread;

mod hands;
mod health;
mod lane;
mod outlet;

use hands::{Hands, Lanes};
pub use health::Health;
use lane::{Lane, Outcome, Turn, give_back};
use outlet::PipelineOutlet;

/// Batches that wait in front of one pipeline, beside those that workers have.
const INBOX: usize = 2;
/// The number of the thread for pipelines that are apart; workers count from 0.
const APART: usize = usize::MAX;

/// The pipelines and the workers' turn-taking.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// For pipelines that are apart.
    apart: Mutex<Option<JoinHandle<()>>>,
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
    /// For workers, and for who waits for them to be done.
    changed: Condvar,
    /// For sources that wait until the inboxes have room.
    room: Condvar,
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
    /// What workers work with, by worker, while nobody does.
    hands: BTreeMap<usize, Hands>,
    /// By thread, the version whose superfluous pipelines it has let go of.
    tidied: BTreeMap<usize, u64>,
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
            room: Condvar::new(),
            health: Arc::default(),
            taps: Arc::default(),
            acks: Mutex::default(),
        });
        let apart = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("worker-apart".to_owned()).spawn(move || {
                thread::lower_priority(thread::LESS);
                shared.work(APART);
            })?
        };
        let workers = Workers { shared, threads: Mutex::default(), apart: Mutex::new(Some(apart)) };
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
                    shared.notify_if_waiting();
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
        self.shared.room.notify_all();
    }

    /// Pipelines that hold a batch try again with the plugins that they have.
    pub fn retry_held(&self) {
        let mut state = self.shared.lock();
        self.shared.try_held_again(&mut state);
        drop(state);
        self.shared.changed.notify_all();
        self.shared.room.notify_all();
    }

    /// Takes no more batches of a source; whoever waits to send one is told to end.
    pub fn close_source(&self, source: &str) {
        self.shared.lock().routes.remove(source);
        self.shared.room.notify_all();
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
        self.shared.room.notify_all();
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
        let mut apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..).chain(apart.take()) {
            let _ = thread.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    /// What there is to do for a worker: a batch whose documents have room, or what belongs to the order of things.
    /// `None` where it has to wait.
    fn next(&self, state: &mut State, worker: usize, seen: &mut u64, lanes: Lanes) -> Option<Next> {
        if state.tidied.insert(worker, *seen) != Some(*seen) {
            // Somebody may wait for that.
            self.changed.notify_all();
        }
        loop {
            if state.aborted || (worker >= state.workers && worker != APART) {
                return Some(Next::End);
            }
            if state.version != *seen {
                *seen = state.version;
                let here = state.lanes.values().filter(|lane| lane.apart == (worker == APART));
                return Some(Next::Tidy(here.flat_map(Lane::pipelines).cloned().collect()));
            }
            if let Some(taken) = self.take(state, worker, lanes) {
                return Some(taken);
            }
            if state.version == *seen {
                return (state.closed && !state.lanes.values().any(Lane::is_busy)).then_some(Next::End);
            }
        }
    }

    /// Smooth weighted round robin over the pipelines that have something to do and room for it.
    fn take(&self, state: &mut State, worker: usize, which: Lanes) -> Option<Next> {
        self.set_apart(state);
        let State { lanes, tidied, .. } = state;
        let mut waiting: Vec<(i64, Arc<str>)> = Vec::new();
        let mut total = 0;
        let is_leaving = lanes.values().any(|lane| lane.pipeline.is_none());
        let is_apart = worker == APART;
        for (name, lane) in lanes.iter_mut() {
            lane.is_new &= is_leaving;
            if lane.is_new || lane.apart != is_apart || (which == Lanes::Light && !lane.pace.is_light()) {
                continue;
            }
            let mut others = tidied.iter().filter(|(thread, _)| (**thread == APART) != is_apart);
            if others.any(|(_, version)| *version < lane.moved) {
                continue;
            }
            let Some(weight) = lane.waiting_weight() else { continue };
            total += weight;
            lane.credit += weight;
            waiting.push((lane.credit, Arc::clone(name)));
        }
        waiting.sort_by(|(one, first), (other, second)| other.cmp(one).then_with(|| first.cmp(second)));
        for (_, name) in waiting {
            let Some(lane) = lanes.get_mut(&name) else { continue };
            // One that found no room for long does not save up turns.
            lane.credit = lane.credit.min(total);
            let Some((number, turn)) = lane.take() else { continue };
            lane.credit -= total;
            self.room.notify_all();
            return Some(Next::Turn(name, number, Box::new(turn)));
        }
        None
    }

    /// Sees which pipelines are to be apart now. Whoever waits looks again where one was moved.
    fn set_apart(&self, state: &mut State) {
        let mut moved = false;
        for lane in state.lanes.values_mut() {
            let Some(first) = lane.inbox.front() else { continue };
            let is_unwell = first.pipeline.is_unwell();
            if lane.apart != is_unwell {
                lane.apart = is_unwell;
                lane.moved = state.version + 1;
                moved = true;
            }
        }
        if moved {
            state.version += 1;
            self.changed.notify_all();
        }
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
    fn finish_turn(&self, name: &Arc<str>, number: u64, turn: Turn, took: Duration) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let version = state.version;
        let Some(lane) = state.lanes.get_mut(name) else { return };
        if !lane.is_current(&turn.job.pipeline) {
            state.version += 1;
        }
        lane.pace.note(took);
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
        let wakes = state.closed || state.version != version || state.waits();
        drop(guard);
        if wakes {
            self.changed.notify_all();
        }
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
        done.tallies.into_iter().for_each(|tally| job.ack.count(tally));
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
        let segment = Segment { documents, targets, amount, ack };
        match output.is_urgent {
            true => output.buffer.push_urgent(segment, &output.account, room),
            false => output.buffer.push(segment, &output.account, room),
        }
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
        self.room.notify_all();
    }

    /// For a batch that waits for room for its documents.
    fn notify_if_waiting(&self) {
        let waits = self.lock().waits();
        if waits {
            self.changed.notify_all();
        }
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
