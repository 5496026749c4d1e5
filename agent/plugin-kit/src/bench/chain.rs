//! What a plugin adds to a pipeline: everything between a batch and its documents, with no stage, with the plugin, and
//! with the plugin twice in a row.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use weir_event::batch::Batch;
use weir_event::edit::Compiled;
use weir_event::parse::Parser;
use weir_event::sheet::{Encoded, OnFault, Sheet};
use weir_event::transform::{Context, Transform};
use weir_host::{Instance, Plugin, thread_cpu_time};

use super::ROUNDS;
use crate::replay::{NEW_YEAR, ReplayError, Replayer};
use crate::traffic::Event;

/// Events of a batch.
const ROWS: usize = 512;
/// No stage, one, two.
const LENGTHS: [usize; 3] = [0, 1, 2];

/// What a plugin adds to a pipeline, in CPU nanoseconds for each event that comes into it: handing columns over, the
/// plugin's work, carrying out its answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Added {
    /// Events of a batch.
    pub rows: usize,
    /// As the only stage.
    pub first_ns: f64,
    /// As the stage behind itself.
    pub second_ns: f64,
}

/// One pipeline without its ends.
struct Pipeline {
    compiled: Compiled,
    instances: Vec<Instance>,
    sheet: Sheet,
    documents: Vec<u8>,
}

/// Measures for about `time`. Of several rounds the quickest counts, since whatever else the machine does adds to it.
pub(super) fn measure(replayer: &Replayer, events: &[Event], time: Duration) -> Result<Added, ReplayError> {
    let events: Vec<Event> = events.iter().cycle().take(ROWS).cloned().collect();
    let (batch, rows) = replayer.batch(&events, 0, NEW_YEAR);
    let mut pipelines = Vec::new();
    for length in LENGTHS {
        pipelines.push(Pipeline::new(replayer.plugin(), length)?);
    }
    let mut quickest = [f64::INFINITY; LENGTHS.len()];
    let share = time / (ROUNDS * LENGTHS.len()) as u32;
    for round in 0..=ROUNDS {
        for (pipeline, quickest) in pipelines.iter_mut().zip(&mut quickest) {
            let cost = pipeline.run_for(share, &batch);
            // The first makes the instances and warms them.
            if round > 0 {
                *quickest = quickest.min(cost / rows.max(1) as f64);
            }
        }
    }
    let [none, one, two] = quickest;
    Ok(Added { rows, first_ns: one - none, second_ns: two - one })
}

// === impl Pipeline ===

impl Pipeline {
    fn new(plugin: &Arc<Plugin>, length: usize) -> Result<Pipeline, ReplayError> {
        let plans = vec![plugin.plan(); length];
        let compiled = Compiled::new(&plans).map_err(|error| ReplayError::Plan(error.to_string()))?;
        let instances = (0..length).map(|_| plugin.instance()).collect();
        Ok(Pipeline { compiled, instances, sheet: Sheet::new(), documents: Vec::new() })
    }

    /// CPU nanoseconds for each batch.
    fn run_for(&mut self, time: Duration, batch: &Batch) -> f64 {
        let begun = thread_cpu_time();
        let mut batches = 0_u64;
        loop {
            self.pass(batch);
            batches += 1;
            let spent = thread_cpu_time().saturating_sub(begun);
            if spent >= time {
                return spent.as_nanos() as f64 / batches as f64;
            }
        }
    }

    fn pass(&mut self, batch: &Batch) {
        self.sheet.load(&self.compiled, &Parser::Json, None, batch);
        for (stage, instance) in self.instances.iter_mut().enumerate() {
            let mut context = Context { now: NEW_YEAR, ..Context::default() };
            Sheet::context(&self.compiled, stage, batch, &mut context);
            let Some(call) = self.sheet.call(&self.compiled, stage, batch) else { break };
            let handled = instance.transform(call, &context);
            self.sheet.apply(&self.compiled, stage, batch, &handled, OnFault::DeadLetter);
        }
        self.documents.clear();
        self.sheet.encode(&self.compiled, batch, Encoded::Kept, &mut self.documents, |_, _| {});
    }
}
