//! Where sources put their batches.

use std::sync::{Arc, PoisonError};

use weir_buffer::ack::{Ack, Acknowledge};
use weir_buffer::ledger::{Amount, Entry};
use weir_event::batch::Batch;

use super::{INBOX, Route, Shared, State};
use crate::checkpoint::{AckQueue, OnDurable, Progress};
use crate::process::Job;
use crate::source::{Outlet, Stopped};

/// The outlet of one source.
pub(super) struct PipelineOutlet {
    shared: Arc<Shared>,
    acks: Arc<AckQueue>,
    source: Arc<str>,
    number: u64,
}

impl PipelineOutlet {
    pub fn new(shared: Arc<Shared>, acks: Arc<AckQueue>, source: Arc<str>, number: u64) -> PipelineOutlet {
        PipelineOutlet { shared, acks, source, number }
    }

    /// Whether this source's batches are taken at all.
    fn is_open(&self, state: &State) -> bool {
        let is_last = state.outlets.get(&self.source) == Some(&self.number);
        !state.closed && is_last && state.routes.contains_key(&self.source)
    }

    fn routes<'a>(&self, state: &'a State) -> &'a [Route] {
        state.routes.get(&self.source).map(Vec::as_slice).unwrap_or_default()
    }

    fn has_room(&self, state: &State) -> bool {
        let waiting =
            |route: &Route| state.lanes.get(&route.pipeline.name).map_or(0, |lane| lane.inbox.len());
        self.routes(state).iter().all(|route| waiting(route) < INBOX)
    }

    /// `begin` notes the batch among those whose acks are awaited; it is called when there is room for it.
    fn pass(&mut self, batch: Batch, begin: impl FnOnce(&AckQueue) -> u64) -> Result<(), Stopped> {
        let full = |state: &mut State| self.is_open(state) && !self.has_room(state);
        let waited = self.shared.room.wait_while(self.shared.lock(), full);
        let mut guard = waited.unwrap_or_else(PoisonError::into_inner);
        let state = &mut *guard;
        if !self.is_open(state) {
            return Err(Stopped);
        }
        let ack = self.ack(begin(&self.acks));
        if batch.rows().is_empty() {
            drop(guard);
            ack.release();
            return Ok(());
        }
        let bytes = batch.rows().iter().map(|row| u64::from(row.raw.len)).sum();
        let amount = Amount { events: batch.rows().len() as u64, bytes };
        let batch = Arc::new(batch);
        {
            let _moving = self.shared.ledger.moving();
            for Route { pipeline, intake } in state.routes.get(&self.source).into_iter().flatten() {
                let Some(lane) = state.lanes.get_mut(&pipeline.name) else { continue };
                for output in &pipeline.outputs {
                    ack.book(&output.account, Entry::Read, amount);
                    output.account.enter_flight(amount);
                }
                lane.inbox.push_back(Job {
                    batch: Arc::clone(&batch),
                    source: Arc::clone(&self.source),
                    pipeline: Arc::clone(pipeline),
                    intake: Arc::clone(intake),
                    amount,
                    ack: ack.share(),
                });
            }
        }
        let routes = self.routes(state).len();
        drop(guard);
        // Whoever is done with it last gives its memory back, for the next batch.
        drop(batch);
        ack.release();
        self.shared.help(routes);
        Ok(())
    }

    fn ack(&self, number: u64) -> Ack {
        Ack::new(number, Arc::clone(&self.acks) as Arc<dyn Acknowledge>)
    }
}

impl Outlet for PipelineOutlet {
    fn send(&mut self, batch: Batch, progress: Vec<Progress>) -> Result<(), Stopped> {
        self.pass(batch, |acks| acks.sent(progress))
    }

    fn push(&mut self, batch: Batch, on_durable: OnDurable) -> Result<(), Stopped> {
        self.pass(batch, |acks| acks.pushed(on_durable))
    }

    fn lost(&mut self, reason: &'static str, bytes: u64, progress: Vec<Progress>) {
        let state = self.shared.lock();
        let ack = self.ack(self.acks.sent(progress));
        let amount = Amount { events: 0, bytes };
        {
            let _moving = self.shared.ledger.moving();
            for output in self.routes(&state).iter().flat_map(|route| &route.pipeline.outputs) {
                ack.book(&output.account, Entry::Read, amount);
                ack.book(&output.account, Entry::Lost(reason.into()), amount);
            }
        }
        drop(state);
        ack.release();
    }

    fn is_ready(&self) -> bool {
        let state = self.shared.lock();
        !self.is_open(&state) || self.has_room(&state)
    }

    fn outstanding(&self) -> usize {
        self.acks.outstanding()
    }

    fn under_way(&self) -> Vec<Progress> {
        self.acks.under_way()
    }
}
