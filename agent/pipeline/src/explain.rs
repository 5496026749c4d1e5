//! One event through a pipeline, step by step, for who wants to know what becomes of it. Nothing goes on to a buffer and
//! nothing is booked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use weir_buffer::segment::{Documents, Record};
use weir_event::batch::Batch;
use weir_event::identity::EventId;
use weir_event::sheet::OnFault;
use weir_event::transform::ReasonClass;

use crate::pipeline::{FaultPolicy, Pipeline};
use crate::process::{Intake, Processor};

/// What becomes of an event.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// The document that the parser and the envelope make of it, before any stage.
    pub loaded: Vec<u8>,
    /// What each stage did, as far as the event came.
    pub steps: Vec<Step>,
    /// What leaves the pipeline: the event, and what stages made of it.
    pub documents: Vec<Leaving>,
}

/// What one stage did.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name in the configuration.
    pub stage: Arc<str>,
    /// What it did with the event.
    pub fate: Fate,
    /// The documents behind it, each with a newline; none where nothing is left.
    pub documents: Vec<u8>,
    /// Events that it made.
    pub created: u64,
    /// Edits and events in its answer that were refused.
    pub refused: u64,
    /// How long it took, by the clock.
    pub took: Duration,
}

/// What a stage did with the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Kept,
    /// It was dropped, for a reason of the plan.
    Dropped {
        /// The reason's name.
        reason: String,
        /// How it is booked.
        class: ReasonClass,
    },
    /// The stage could not handle it, and this is done then.
    Failed {
        /// What its `on_error` says.
        policy: FaultPolicy,
    },
}

/// A document at the end of the stages.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// The document.
    pub document: Vec<u8>,
    /// Its id.
    pub id: EventId,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// For each output of the pipeline, in order, the place in it, where it has several.
    pub places: Vec<Option<Arc<str>>>,
}

/// Why an event cannot be explained: the agent has a fault of its own with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fault of the agent itself, not of a plugin; please report it with the event")]
pub struct Inexplicable;

impl Pipeline {
    /// Brings the one event of a batch through the stages, with instances of its own whose faults are not held against
    /// the plugins. `now` in nanoseconds since the Unix epoch. Blocks, for as long as the deadlines of the stages allow.
    pub fn explain(
        self: &Arc<Self>,
        intake: &Intake,
        batch: &Batch,
        now: i64,
    ) -> Result<Explanation, Inexplicable> {
        let mut processor = Processor::on_trial(self);
        catch_unwind(AssertUnwindSafe(|| processor.explain(batch, intake, now))).map_err(|_| Inexplicable)
    }

    /// Where each output puts the documents.
    pub(crate) fn leaving(&self, documents: &Documents) -> Vec<Leaving> {
        let targets: Vec<_> = self
            .outputs
            .iter()
            .map(|output| output.route.as_ref().map(|route| route.route(documents)).unwrap_or_default())
            .collect();
        let leaving = |(index, (record, document)): (usize, (&Record, &[u8]))| Leaving {
            document: document.to_vec(),
            id: record.id,
            time: record.time,
            places: targets.iter().map(|targets| targets.name(index).cloned()).collect(),
        };
        documents.iter().enumerate().map(leaving).collect()
    }
}

/// What is done with events that a stage cannot handle, as far as the event itself goes.
pub(crate) fn as_if(policy: FaultPolicy) -> OnFault {
    match policy {
        FaultPolicy::Handle(on_fault) => on_fault,
        // Nothing goes on until the operator did something.
        FaultPolicy::Hold => OnFault::Drop,
    }
}
