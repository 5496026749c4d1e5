//! What a plugin costs: CPU time for an event at several sizes of batches, copying in and out and the host's checks
//! included, what it adds to a pipeline, how long it takes to start, and its memory.

mod chain;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use weir_event::batch::MAX_ROWS;
use weir_event::transform::{Call, Context};

use crate::replay::{NEW_YEAR, ReplayError, Replayer, Sandbox, Surroundings};
use crate::traffic::Event;

pub use chain::Added;

/// Rows of a call that are measured.
const SIZES: [usize; 4] = [1, 64, 512, MAX_ROWS];
/// Of so many rounds the middle one counts. Plugins that are compared take turns, so that both meet the same machine.
const ROUNDS: usize = 5;

/// How long it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// CPU time for each plugin and size, over all rounds.
    pub time: Duration,
}

/// What one plugin costs.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    /// The name in its manifest.
    pub name: String,
    /// The version in its manifest.
    pub version: String,
    /// Bytes of the artefact.
    pub size: u64,
    /// One for each size of batches.
    pub batches: Vec<Cost>,
    /// What it adds to a pipeline.
    pub chain: Added,
    /// Milliseconds of CPU time that loading it takes once it is compiled; `null` where compiled code is not kept.
    pub start_ms: Option<f64>,
    /// The most linear memory that an instance had, in bytes.
    pub memory_bytes: u64,
    /// Calls that it could not handle.
    pub failed_calls: u64,
}

/// What one size of batches costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Rows of a call.
    pub rows: usize,
    /// CPU nanoseconds for an event.
    pub ns_per_event: f64,
}

/// Plugins that are measured side by side.
struct Runner {
    replayer: Replayer,
    size: u64,
    failed_calls: u64,
}

/// Measures plugins on the same events, which are repeated to fill a batch.
pub fn measure(
    sandbox: &Sandbox,
    plugins: &[Arc<[u8]>],
    config: &str,
    events: &[Event],
    effort: Effort,
) -> Result<Vec<Costs>, ReplayError> {
    let (mut runners, mut starts) = (Vec::new(), Vec::new());
    for wasm in plugins {
        let replayer = sandbox.load(wasm, config)?;
        starts.push(start(sandbox, wasm, config)?);
        runners.push(Runner { replayer, size: wasm.len() as u64, failed_calls: 0 });
    }
    let mut batches = vec![Vec::new(); runners.len()];
    for rows in SIZES {
        let events: Vec<Event> = events.iter().cycle().take(rows).cloned().collect();
        let costs = measure_size(&mut runners, &events, effort);
        for (batches, ns_per_event) in batches.iter_mut().zip(costs) {
            batches.push(Cost { rows, ns_per_event });
        }
    }
    let mut all = Vec::new();
    for ((runner, batches), start_ms) in runners.into_iter().zip(batches).zip(starts) {
        let chain = chain::measure(&runner.replayer, events, effort.time)?;
        all.push(runner.costs(batches, chain, start_ms));
    }
    Ok(all)
}

/// The quickest of several loads.
fn start(sandbox: &Sandbox, wasm: &Arc<[u8]>, config: &str) -> Result<Option<f64>, ReplayError> {
    let mut quickest: Option<Duration> = None;
    for _ in 0..ROUNDS {
        let Some(spent) = sandbox.time_start(wasm, config)? else { return Ok(None) };
        quickest = Some(quickest.map_or(spent, |quickest| quickest.min(spent)));
    }
    Ok(quickest.map(|spent| spent.as_secs_f64() * 1000.0))
}

fn measure_size(runners: &mut [Runner], events: &[Event], effort: Effort) -> Vec<f64> {
    let surroundings = Surroundings { now: NEW_YEAR, pressure: 0.0 };
    let calls: Vec<_> = runners.iter_mut().map(|runner| runner.replayer.call(events, surroundings)).collect();
    let mut rounds = vec![Vec::new(); runners.len()];
    let share = effort.time / ROUNDS as u32;
    for round in 0..=ROUNDS {
        for ((runner, call), costs) in runners.iter_mut().zip(&calls).zip(&mut rounds) {
            let cost = runner.run_for(share, call);
            // The first makes the instance and warms it.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    rounds.into_iter().map(middle).collect()
}

fn middle(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}

// === impl Runner ===

impl Runner {
    /// CPU nanoseconds for each row.
    fn run_for(&mut self, time: Duration, (call, context): &(Call, Context)) -> f64 {
        let begun = self.replayer.plugin().metrics().cpu();
        let mut rows = 0_u64;
        loop {
            if !self.replayer.hand_over(call, context) {
                self.failed_calls += 1;
            }
            rows += u64::from(call.rows.max(1));
            let spent = self.replayer.plugin().metrics().cpu().saturating_sub(begun);
            if spent >= time {
                return spent.as_nanos() as f64 / rows as f64;
            }
        }
    }

    fn costs(self, batches: Vec<Cost>, chain: Added, start_ms: Option<f64>) -> Costs {
        let plugin = self.replayer.plugin();
        Costs {
            name: plugin.manifest().name.clone(),
            version: plugin.manifest().version.clone(),
            size: self.size,
            batches,
            chain,
            start_ms,
            memory_bytes: plugin.metrics().memory_peak_bytes(),
            failed_calls: self.failed_calls,
        }
    }
}
