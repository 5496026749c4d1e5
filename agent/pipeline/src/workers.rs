//! The workers: a fixed set of threads that bring batches through the pipelines.
//!
//! 1. A pipeline's inbox is bounded; a source waits until every pipeline that it leads to has room.
//! 2. A batch is taken from an inbox only when room for its documents was set aside in every buffer behind the
//!    pipeline, so no worker ever waits for a sink, and a full buffer stops its own pipelines only.
//! 3. Batches are numbered as they are taken and their documents reach the buffers in that order, whatever worker is
//!    done first.
//! 4. Pipelines share the workers by their weights (smooth weighted round robin).

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_buffer::ack::{Ack, Acknowledge};
use weir_buffer::ledger::{Amount, Entry, Ledger};
use weir_buffer::segment::{Documents, Segment, Targets};
use weir_event::batch::Batch;

use crate::checkpoint::{AckQueue, Checkpoints, Progress};
use crate::pipeline::{Output, Pipeline};
use crate::process::{Intake, Job, Processed, Processor};
use crate::source::{Outlet, Stopped};

/// Batches that wait in front of one pipeline, beside those that workers have.
const INBOX: usize = 2;
/// What a document adds to its event at the most, by rule of thumb: the envelope.
const ENVELOPE_BYTES: u64 = 320;

/// What went wrong with pipelines, for people to see.
#[derive(Debug, Default)]
pub struct Health {
    held: Mutex<BTreeMap<Arc<str>, Arc<str>>>,
    panics: AtomicU64,
}

/// The pipelines and the workers' turn-taking.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    pipelines: Vec<Arc<Pipeline>>,
    ledger: Arc<Ledger>,
    checkpoints: Arc<Checkpoints>,
    state: Mutex<State>,
    changed: Condvar,
    health: Arc<Health>,
}

#[derive(Default)]
struct State {
    queues: Vec<Queue>,
    closed: bool,
    aborted: bool,
}

#[derive(Default)]
struct Queue {
    inbox: VecDeque<Job>,
    /// Turns that are owed to it, against its weight.
    credit: i64,
    /// Number of the next batch to be taken, and of the next whose documents may go on.
    next: u64,
    next_out: u64,
    /// Batches that are done before their turn.
    done: BTreeMap<u64, Turn>,
    held: Option<HeldAt>,
    running: usize,
}

/// The batch that a pipeline holds.
struct HeldAt {
    number: u64,
}

/// A batch that a worker has taken, with the room set aside for it in each output and in the dead letters.
struct Turn {
    job: Job,
    reserved: Vec<Option<u64>>,
    result: Option<Processed>,
}

// === impl Health ===

impl Health {
    /// Pipelines that hold a batch which a plugin could not handle, as (pipeline, stage).
    pub fn held(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(pipeline, stage)| (Arc::clone(pipeline), Arc::clone(stage))).collect()
    }

    /// How often a worker met a fault in the agent itself. The batch stays unacked.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    fn hold(&self, pipeline: &Arc<str>, stage: Arc<str>) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(pipeline), stage);
    }
}

// === impl Workers ===

impl Workers {
    /// Starts `count` workers.
    pub fn start(
        pipelines: Vec<Arc<Pipeline>>,
        ledger: Arc<Ledger>,
        checkpoints: Arc<Checkpoints>,
        count: usize,
    ) -> std::io::Result<Workers> {
        let queues = pipelines.iter().map(|_| Queue::default()).collect();
        let state = Mutex::new(State { queues, ..State::default() });
        let (changed, health) = (Condvar::new(), Arc::default());
        let shared = Arc::new(Shared { pipelines, ledger, checkpoints, state, changed, health });
        for output in shared.pipelines.iter().flat_map(|p| p.outputs.iter().chain([&p.dead_letters])) {
            let shared = Arc::downgrade(&shared);
            output.buffer.on_room(Arc::new(move || {
                if let Some(shared) = shared.upgrade() {
                    shared.notify();
                }
            }));
        }
        let mut threads = Vec::new();
        for number in 0..count.max(1) {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("worker-{number}"));
            threads.push(builder.spawn(move || shared.work())?);
        }
        Ok(Workers { shared, threads })
    }

    /// The outlet of a source that leads to these pipelines (by index), each with how it takes them up.
    pub fn outlet(&self, source: &str, to: Vec<(usize, Arc<Intake>)>) -> Box<dyn Outlet> {
        let acks = AckQueue::new(source, Arc::clone(&self.shared.checkpoints));
        Box::new(PipelineOutlet { shared: Arc::clone(&self.shared), acks, to })
    }

    /// What went wrong so far; it outlives the workers.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.shared.health)
    }

    /// Takes no more batches, works off those that are there and ends the threads. What is held, or finds no room
    /// within `patience`, stays unacked. Blocks.
    pub fn finish(self, patience: Duration) {
        self.shared.lock().closed = true;
        self.shared.notify();
        let state = self.shared.lock();
        let busy = |state: &mut State| state.queues.iter().any(Queue::is_busy);
        let waited = self.shared.changed.wait_timeout_while(state, patience, busy);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.aborted = true;
        for queue in &mut state.queues {
            queue.inbox.clear();
        }
        drop(state);
        self.shared.notify();
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn is_busy(&self) -> bool {
        self.running > 0 || (!self.inbox.is_empty() && self.held.is_none())
    }
}

// === impl Shared ===

impl Shared {
    fn work(&self) {
        let mut processors: Vec<Option<Processor>> = self.pipelines.iter().map(|_| None).collect();
        while let Some((index, number, mut turn)) = self.next_turn() {
            let (Some(pipeline), Some(place)) = (self.pipelines.get(index), processors.get_mut(index)) else {
                continue;
            };
            let processor = place.get_or_insert_with(|| Processor::new(pipeline));
            let job = &turn.job;
            let run = || processor.run(&job.batch, &job.intake, nanoseconds_now());
            match catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(processed)) => turn.result = Some(processed),
                Ok(Err(held)) => {
                    let (pipeline, stage, suspects) = (&pipeline.name, &held.stage, held.suspects);
                    tracing::error!(%pipeline, %stage, suspects, "pipeline holds a batch that the plugin cannot handle; it reads on after a restart with another configuration");
                    self.health.hold(pipeline, Arc::clone(stage));
                    self.hold(index, HeldAt { number });
                }
                Err(_) => {
                    // The instance may be in any state; the next batch gets a new one.
                    *place = None;
                    self.health.panics.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(pipeline = %pipeline.name, "a worker failed; the batch stays unacked and is read again at the next start");
                }
            }
            self.finish_turn(index, number, turn);
        }
    }

    /// Waits for a batch whose documents have room.
    fn next_turn(&self) -> Option<(usize, u64, Turn)> {
        let mut state = self.lock();
        loop {
            if state.aborted {
                return None;
            }
            if let Some(taken) = self.take(&mut state) {
                return Some(taken);
            }
            if state.closed && !state.queues.iter().any(Queue::is_busy) {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Smooth weighted round robin over the pipelines that have something to do and room for it.
    fn take(&self, state: &mut State) -> Option<(usize, u64, Turn)> {
        let mut waiting: Vec<(i64, usize)> = Vec::new();
        let mut total = 0;
        for (index, (pipeline, queue)) in self.pipelines.iter().zip(&mut state.queues).enumerate() {
            if queue.held.is_some() || queue.inbox.is_empty() {
                continue;
            }
            total += i64::from(pipeline.weight);
            queue.credit += i64::from(pipeline.weight);
            waiting.push((queue.credit, index));
        }
        waiting.sort_by_key(|(credit, index)| (-credit, *index));
        for (_, index) in waiting {
            let (Some(pipeline), Some(queue)) = (self.pipelines.get(index), state.queues.get_mut(index))
            else {
                continue;
            };
            // One that found no room for long does not save up turns.
            queue.credit = queue.credit.min(total);
            let Some(reserved) = queue.inbox.front().and_then(|job| set_aside(pipeline, job)) else {
                continue;
            };
            let job = queue.inbox.pop_front()?;
            queue.credit -= total;
            let number = queue.next;
            queue.next += 1;
            queue.running += 1;
            self.changed.notify_all();
            return Some((index, number, Turn { job, reserved, result: None }));
        }
        None
    }

    /// Two workers may meet batches to hold at once: the first of them is where the pipeline stands.
    fn hold(&self, index: usize, held: HeldAt) {
        if let Some(queue) = self.lock().queues.get_mut(index)
            && queue.held.as_ref().is_none_or(|known| held.number < known.number)
        {
            queue.held = Some(held);
        }
    }

    /// Puts what is done in its place in the order and passes on what is next.
    fn finish_turn(&self, index: usize, number: u64, turn: Turn) {
        let Some(pipeline) = self.pipelines.get(index) else { return };
        let mut state = self.lock();
        let Some(queue) = state.queues.get_mut(index) else { return };
        queue.done.insert(number, turn);
        // Passed on under the lock, so that two workers cannot swap their documents. It only moves pointers.
        while let Some(mut turn) = queue.done.remove(&queue.next_out) {
            // What other workers finished behind a batch that is held is read again after it: else it would reach the
            // sinks before it, and once more later.
            if queue.held.as_ref().is_some_and(|held| held.number < queue.next_out) {
                turn.result = None;
            }
            queue.next_out += 1;
            queue.running -= 1;
            self.pass_on(pipeline, turn);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Documents into the buffers, everything else into the ledger.
    fn pass_on(&self, pipeline: &Pipeline, turn: Turn) {
        let Turn { job, reserved, result } = turn;
        let Some(done) = result else {
            // Held or failed: still in flight, never acked.
            give_back(pipeline, &reserved);
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

    fn notify(&self) {
        // Taken and let go, so that nobody is between looking and waiting.
        drop(self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipeline {
    fn all_outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().chain([&self.dead_letters])
    }
}

/// Room for a batch's documents in each output and the dead letters; `None` when one that holds back has none.
fn set_aside(pipeline: &Pipeline, job: &Job) -> Option<Vec<Option<u64>>> {
    let wanted = job.amount.bytes + job.amount.events * ENVELOPE_BYTES;
    let mut reserved: Vec<Option<u64>> = Vec::new();
    for output in pipeline.all_outputs() {
        let fits = output.buffer.reserve(wanted);
        if !fits && !output.best_effort {
            give_back(pipeline, &reserved);
            return None;
        }
        reserved.push(fits.then_some(wanted));
    }
    Some(reserved)
}

fn give_back(pipeline: &Pipeline, reserved: &[Option<u64>]) {
    for (output, room) in pipeline.all_outputs().zip(reserved) {
        if let Some(room) = room {
            output.buffer.unreserve(*room);
        }
    }
}

// === the outlet ===

struct PipelineOutlet {
    shared: Arc<Shared>,
    acks: Arc<AckQueue>,
    to: Vec<(usize, Arc<Intake>)>,
}

impl PipelineOutlet {
    fn has_room(&self, state: &State) -> bool {
        self.to.iter().all(|(index, _)| state.queues.get(*index).is_none_or(|q| q.inbox.len() < INBOX))
    }
}

impl Outlet for PipelineOutlet {
    fn send(&mut self, batch: Batch, progress: Vec<Progress>) -> Result<(), Stopped> {
        let full = |state: &mut State| !state.closed && !self.has_room(state);
        let waited = self.shared.changed.wait_while(self.shared.lock(), full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(Stopped);
        }
        let ack = Ack::new(self.acks.sent(progress), Arc::clone(&self.acks) as Arc<dyn Acknowledge>);
        if batch.rows().is_empty() {
            drop(state);
            ack.release();
            return Ok(());
        }
        let bytes = batch.rows().iter().map(|row| u64::from(row.raw.len)).sum();
        let amount = Amount { events: batch.rows().len() as u64, bytes };
        let batch = Arc::new(batch);
        let _moving = self.shared.ledger.moving();
        for (index, intake) in &self.to {
            let (Some(pipeline), Some(queue)) =
                (self.shared.pipelines.get(*index), state.queues.get_mut(*index))
            else {
                continue;
            };
            for output in &pipeline.outputs {
                ack.book(&output.account, Entry::Read, amount);
                output.account.enter_flight(amount);
            }
            let (batch, intake) = (Arc::clone(&batch), Arc::clone(intake));
            queue.inbox.push_back(Job { batch, intake, amount, ack: ack.share() });
        }
        drop(state);
        ack.release();
        self.shared.changed.notify_all();
        Ok(())
    }

    fn lost(&mut self, reason: &'static str, bytes: u64, progress: Vec<Progress>) {
        let ack = Ack::new(self.acks.sent(progress), Arc::clone(&self.acks) as Arc<dyn Acknowledge>);
        let amount = Amount { events: 0, bytes };
        {
            let _moving = self.shared.ledger.moving();
            let pipelines = self.to.iter().filter_map(|(index, _)| self.shared.pipelines.get(*index));
            for output in pipelines.flat_map(|pipeline| &pipeline.outputs) {
                ack.book(&output.account, Entry::Read, amount);
                ack.book(&output.account, Entry::Lost(reason.into()), amount);
            }
        }
        ack.release();
    }

    fn is_ready(&self) -> bool {
        let state = self.shared.lock();
        state.closed || self.has_room(&state)
    }

    fn outstanding(&self) -> usize {
        self.acks.outstanding()
    }
}

fn nanoseconds_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

#[cfg(test)]
mod tests;
