//! The source `PIPELINE.metrics`: sends the durable totals at intervals.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weir_event::tally::Metrics;

use super::exposition::Exposition;
use crate::source::{Mode, Source, SourceContext, Stopped};

/// How long it waits without looking whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);

/// What the stages of one pipeline counted, as a source of samples.
pub struct LogMetrics {
    stages: Vec<Stage>,
}

struct Stage {
    of: Arc<Metrics>,
    interval: Duration,
    /// When its metrics are sent next.
    due: Option<Instant>,
}

// === impl LogMetrics ===

impl LogMetrics {
    /// A source for the stages of a pipeline, each with the interval at which its metrics are sent.
    pub fn new(stages: Vec<(Arc<Metrics>, Duration)>) -> LogMetrics {
        let stage =
            |(of, interval): (Arc<Metrics>, Duration)| Stage { of, interval: interval.max(LOOK), due: None };
        LogMetrics { stages: stages.into_iter().map(stage).collect() }
    }

    /// Sends the metrics of stages whose time has come; blocks while the pipelines behind it are full.
    fn send_due(&mut self, context: &mut SourceContext) -> Result<(), Stopped> {
        let now = Instant::now();
        let is_due = |stage: &&mut Stage| stage.due.is_none_or(|due| due <= now);
        let mut due = self.stages.iter_mut().filter(is_due).peekable();
        if due.peek().is_none() {
            return Ok(());
        }
        let counters = context.checkpoints.durable_counters();
        let mut exposition = Exposition::new(context, milliseconds_now());
        for stage in due {
            exposition.add(&stage.of, &counters);
            // What was missed is not made up for.
            let next = stage.due.unwrap_or(now) + stage.interval;
            stage.due = Some(if next <= now { now + stage.interval } else { next });
        }
        for batch in exposition.finish() {
            context.metrics.events.fetch_add(batch.rows().len() as u64, Ordering::Relaxed);
            context.metrics.bytes.fetch_add(batch.bytes().len() as u64, Ordering::Relaxed);
            context.outlet.send(batch, Vec::new())?;
        }
        Ok(())
    }

    fn until_due(&self) -> Duration {
        let now = Instant::now();
        let waits =
            self.stages.iter().filter_map(|stage| stage.due).map(|due| due.saturating_duration_since(now));
        waits.min().unwrap_or(LOOK).min(LOOK)
    }
}

impl Source for LogMetrics {
    /// In [`Mode::Once`] what is durable is sent once: what this run counts is so only at its end.
    fn run(mut self: Box<Self>, mut context: SourceContext) {
        while !context.stop.is_stopped() {
            if self.send_due(&mut context).is_err() || context.mode == Mode::Once {
                return;
            }
            std::thread::park_timeout(self.until_due());
        }
    }
}

fn milliseconds_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
