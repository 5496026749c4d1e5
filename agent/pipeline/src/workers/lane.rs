//! A pipeline's lane: what waits for it, what workers have of it, and the order in which it leaves. It has the
//! pipeline's name and outlives the pipeline itself: each batch names the one that it is to go through.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use weir_buffer::ledger::{Account, Entry, Ledger};

use super::Route;
use super::hands::Pace;
use crate::pipeline::{Output, Pipeline};
use crate::process::{Job, Processed};

/// What a document adds to its event at the most, by rule of thumb: the envelope.
const ENVELOPE_BYTES: u64 = 320;
/// Why events are dropped that a pipeline held and that a reload left without a way to a sink.
const NO_WAY: &str = "reload";

#[derive(Default)]
pub(super) struct Lane {
    /// Where new batches go; `None` when there is no pipeline of this name any more.
    pub pipeline: Option<Arc<Pipeline>>,
    /// Came with others being taken away, which may not be over yet.
    pub is_new: bool,
    /// Is not the workers', but has a thread of its own.
    pub apart: bool,
    /// The version of the state at which that changed.
    pub moved: u64,
    pub inbox: VecDeque<Job>,
    /// Turns that are owed to it, against its weight.
    pub credit: i64,
    /// Number of the next batch to be taken, and of the next whose documents may go on.
    pub next: u64,
    pub next_out: u64,
    /// Batches that are done before their turn.
    pub done: BTreeMap<u64, Turn>,
    /// Number of the batch that the pipeline holds.
    pub held: Option<u64>,
    /// That batch and those behind it that workers had already.
    pub parked: Vec<Job>,
    /// Everything that is parked is to be tried again as soon as nothing runs.
    pub tries_again: bool,
    pub running: usize,
    pub pace: Pace,
    /// The pipelines of the batches that run.
    under_way: Vec<Arc<Pipeline>>,
}

/// A batch that a worker has taken, with the room set aside for it in each output and in the dead letters.
pub(super) struct Turn {
    pub job: Job,
    pub reserved: Vec<Option<u64>>,
    pub outcome: Outcome,
}

/// What came of a batch.
pub(super) enum Outcome {
    Done(Box<Processed>),
    /// The pipeline is to hold it.
    Held,
    /// A fault of the agent itself.
    Failed,
}

// === impl Lane ===

impl Lane {
    /// Of a pipeline that there was none of before.
    pub fn of(pipeline: Arc<Pipeline>) -> Lane {
        Lane { pipeline: Some(pipeline), is_new: true, ..Lane::default() }
    }

    /// The weight of what waits here and may be taken, if there is room for it.
    pub fn waiting_weight(&self) -> Option<i64> {
        let first = self.inbox.front().filter(|_| self.held.is_none())?;
        Some(i64::from(self.pipeline.as_ref().unwrap_or(&first.pipeline).weight))
    }

    /// The next batch and its number, if there is room for its documents.
    pub fn take(&mut self) -> Option<(u64, Turn)> {
        let job = self.inbox.front()?;
        let reserved = set_aside(job, self.pipeline.as_deref())?;
        let job = self.inbox.pop_front()?;
        let number = self.next;
        self.next += 1;
        self.under_way.retain(|pipeline| self.running > 0 && Arc::strong_count(pipeline) > 1);
        if !self.under_way.iter().any(|pipeline| Arc::ptr_eq(pipeline, &job.pipeline)) {
            self.under_way.push(Arc::clone(&job.pipeline));
        }
        self.running += 1;
        Some((number, Turn { job, reserved, outcome: Outcome::Failed }))
    }

    /// Whether new batches go through this pipeline.
    pub fn is_current(&self, pipeline: &Arc<Pipeline>) -> bool {
        self.pipeline.as_ref().is_some_and(|current| Arc::ptr_eq(current, pipeline))
    }

    /// All pipelines that something goes through, or may go.
    pub fn pipelines(&self) -> impl Iterator<Item = &Arc<Pipeline>> {
        let jobs = self.inbox.iter().chain(&self.parked).map(|job| &job.pipeline);
        let running = self.under_way.iter().filter(|_| self.running > 0);
        self.pipeline.iter().chain(jobs).chain(running)
    }

    pub fn is_busy(&self) -> bool {
        self.running > 0 || (!self.inbox.is_empty() && self.held.is_none())
    }

    /// There is nothing here and nothing will come.
    pub fn is_over(&self) -> bool {
        self.pipeline.is_none() && self.running == 0 && self.inbox.is_empty() && self.parked.is_empty()
    }

    /// Lets go of everything that waits; it is read again at the next start.
    pub fn abandon(&mut self) {
        self.inbox.clear();
        self.parked.clear();
    }
}

/// Room for a batch's documents in each output and the dead letters; `None` when one that holds back has none.
///
/// An output that the pipeline has no more holds nothing back: what was on its way there goes in beyond the buffer's
/// bound. There are no more such batches than fit into one inbox and the workers' hands, and a sink that was taken away
/// because it failed must not keep others waiting.
fn set_aside(job: &Job, current: Option<&Pipeline>) -> Option<Vec<Option<u64>>> {
    let wanted = job.amount.bytes + job.amount.events * ENVELOPE_BYTES;
    let leads_on = |output: &Output| {
        let mut outputs = current.into_iter().flat_map(Pipeline::all_outputs);
        outputs.any(|other| Arc::ptr_eq(&other.buffer, &output.buffer))
    };
    let mut reserved: Vec<Option<u64>> = Vec::new();
    for output in job.pipeline.all_outputs() {
        let fits = output.buffer.reserve(wanted);
        if !fits && !output.best_effort {
            if leads_on(output) {
                give_back(&job.pipeline, &reserved);
                return None;
            }
            output.buffer.reserve_beyond(wanted);
            reserved.push(Some(wanted));
            continue;
        }
        reserved.push(fits.then_some(wanted));
    }
    Some(reserved)
}

pub(super) fn give_back(pipeline: &Pipeline, reserved: &[Option<u64>]) {
    for (output, room) in pipeline.all_outputs().zip(reserved) {
        if let Some(room) = room {
            output.buffer.unreserve(*room);
        }
    }
}

/// Puts a batch that was held on the way that there is now, if there is one. Sinks that it does not lead to any more
/// have their events dropped, those that are new have read them.
pub(super) fn follow(mut job: Job, way: Option<Route>, ledger: &Ledger) -> Option<Job> {
    if way.as_ref().is_some_and(|way| Arc::ptr_eq(&way.pipeline, &job.pipeline)) {
        return Some(job);
    }
    let accounts = |pipeline: &Pipeline| -> Vec<Arc<Account>> {
        pipeline.outputs.iter().map(|output| Arc::clone(&output.account)).collect()
    };
    let before = accounts(&job.pipeline);
    let after = way.as_ref().map(|way| accounts(&way.pipeline)).unwrap_or_default();
    let has =
        |accounts: &[Arc<Account>], one: &Arc<Account>| accounts.iter().any(|other| Arc::ptr_eq(other, one));
    {
        let _moving = ledger.moving();
        for account in before.iter().filter(|account| !has(&after, account)) {
            job.ack.book(account, Entry::Dropped(NO_WAY.into()), job.amount);
            account.leave_flight(job.amount);
        }
        for account in after.iter().filter(|account| !has(&before, account)) {
            job.ack.book(account, Entry::Read, job.amount);
            account.enter_flight(job.amount);
        }
    }
    let Some(Route { pipeline, intake }) = way else {
        job.ack.release();
        return None;
    };
    (job.pipeline, job.intake) = (pipeline, intake);
    Some(job)
}
