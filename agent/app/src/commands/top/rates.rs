//! From two moments of an agent to what it does between them.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_buffer::ledger::{Amount, Counts, Statement};

use super::Sort;
use crate::admin::status::{PluginStatus, SinkStatus, SourceStatus, Status};

/// What `--output json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// The process.
    pub agent: AgentRates,
    /// Each with each of its sinks.
    pub pipelines: Vec<PipelineRates>,
    /// The sources.
    pub sources: Vec<SourceRates>,
    /// The sinks.
    pub sinks: Vec<SinkRates>,
    /// The plugins.
    pub plugins: Vec<PluginRates>,
}

/// The process.
#[derive(Clone, Debug, Serialize)]
pub struct AgentRates {
    pub version: String,
    pub cluster: String,
    pub node: String,
    pub state: String,
    pub generation: u64,
    pub rejected: bool,
    pub up_seconds: f64,
    /// Between the two looks.
    pub seconds: f64,
    /// Of one core.
    pub cpu: f64,
    pub memory_bytes: u64,
    pub memory_bound_bytes: u64,
    pub workers: u64,
    pub taps: u64,
}

/// A pipeline with one of its sinks.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineRates {
    pub pipeline: String,
    pub sink: String,
    pub held_by: Option<String>,
    pub balanced: bool,
    pub read_per_second: f64,
    pub delivered_per_second: f64,
    pub dropped_per_second: f64,
    pub waiting: u64,
    pub oldest_seconds: f64,
    pub reasons: Vec<ReasonRates>,
}

/// Why events did not arrive.
#[derive(Clone, Debug, Serialize)]
pub struct ReasonRates {
    pub state: &'static str,
    pub reason: String,
    pub per_second: f64,
    pub total: u64,
}

/// A source.
#[derive(Clone, Debug, Serialize)]
pub struct SourceRates {
    pub source: String,
    pub events_per_second: f64,
    pub bytes_per_second: f64,
    /// Files followed, or connections that are open.
    pub open: u64,
    pub errors: u64,
}

/// A sink.
#[derive(Clone, Debug, Serialize)]
pub struct SinkRates {
    pub sink: String,
    pub state: String,
    pub documents_per_second: f64,
    pub bytes_per_second: f64,
    pub retries_per_second: f64,
    pub retries: u64,
    pub memory_bytes: u64,
    pub memory_bound_bytes: u64,
    pub disk_bytes: Option<u64>,
    pub disk_bound_bytes: Option<u64>,
    pub object_bytes: Option<u64>,
    pub held_events: u64,
    pub oldest_seconds: f64,
}

/// A plugin.
#[derive(Clone, Debug, Serialize)]
pub struct PluginRates {
    pub plugin: String,
    pub version: String,
    pub state: String,
    pub events_per_second: f64,
    pub nanoseconds_per_event: f64,
    /// Of one core.
    pub cpu: f64,
    pub faults_per_second: f64,
    pub faults: u64,
    pub failed_events: u64,
    pub memory_bytes: u64,
    pub last_fault: Option<String>,
}

/// Those of one state in an account.
type Reasons = fn(&Counts) -> &BTreeMap<String, Amount>;

/// Two numbers of a counter, and the time between.
struct Between {
    seconds: f64,
    /// The counters of another process say nothing.
    is_same_agent: bool,
}

// === impl Snapshot ===

impl Snapshot {
    /// What happened from one moment to the next.
    pub fn between(before: &Status, now: &Status, sort: Sort) -> Snapshot {
        let is_same_agent = now.up_seconds > before.up_seconds && now.cpu_seconds >= before.cpu_seconds;
        let since = if is_same_agent { before.up_seconds } else { 0.0 };
        let between = Between { seconds: (now.up_seconds - since).max(0.001), is_same_agent };
        let mut snapshot = Snapshot {
            agent: between.agent(before, now),
            pipelines: now.accounts.iter().map(|account| between.pipeline(before, now, account)).collect(),
            sources: now.sources.iter().map(|source| between.source(before, source)).collect(),
            sinks: now.sinks.iter().map(|sink| between.sink(before, sink)).collect(),
            plugins: now.plugins.iter().map(|plugin| between.plugin(before, plugin)).collect(),
        };
        // What is no more and was ended for good is of no interest here.
        snapshot.pipelines.retain(|row| {
            let still_runs = now.pipelines.iter().any(|pipeline| pipeline.pipeline == row.pipeline);
            still_runs || row.waiting > 0
        });
        snapshot.sort(sort);
        snapshot
    }

    fn sort(&mut self, sort: Sort) {
        let down = |one: f64, other: f64| other.total_cmp(&one);
        match sort {
            Sort::Name => {}
            Sort::Rate => {
                self.pipelines.sort_by(|a, b| down(a.read_per_second, b.read_per_second));
                self.sources.sort_by(|a, b| down(a.events_per_second, b.events_per_second));
                self.sinks.sort_by(|a, b| down(a.documents_per_second, b.documents_per_second));
                self.plugins.sort_by(|a, b| down(a.events_per_second, b.events_per_second));
            }
            Sort::Waiting => {
                self.pipelines.sort_by_key(|row| std::cmp::Reverse(row.waiting));
                let waits = |row: &SinkRates| {
                    let below = row.disk_bytes.unwrap_or_default() + row.object_bytes.unwrap_or_default();
                    row.memory_bytes + below
                };
                self.sinks.sort_by_key(|row| std::cmp::Reverse(waits(row)));
            }
            Sort::Cpu => self.plugins.sort_by(|a, b| down(a.cpu, b.cpu)),
        }
    }
}

// === impl Between ===

impl Between {
    fn rate(&self, before: Option<u64>, now: u64) -> f64 {
        let before = before.filter(|_| self.is_same_agent).unwrap_or_default();
        now.saturating_sub(before) as f64 / self.seconds
    }

    /// Of what goes on where it was before a restart: only the difference of two numbers says something.
    fn rate_of_ledger(&self, before: Option<u64>, now: u64) -> f64 {
        let before = before.filter(|_| self.is_same_agent);
        before.map_or(0.0, |before| now.saturating_sub(before) as f64 / self.seconds)
    }

    fn seconds(&self, before: Option<f64>, now: f64) -> f64 {
        let before = before.filter(|_| self.is_same_agent).unwrap_or_default();
        (now - before).max(0.0)
    }

    fn agent(&self, before: &Status, now: &Status) -> AgentRates {
        AgentRates {
            version: now.version.clone(),
            cluster: now.cluster.clone(),
            node: now.node.clone(),
            state: now.state.clone(),
            generation: now.generation,
            rejected: now.rejected,
            up_seconds: now.up_seconds,
            seconds: self.seconds,
            cpu: self.seconds(Some(before.cpu_seconds), now.cpu_seconds) / self.seconds,
            memory_bytes: now.memory_bytes,
            memory_bound_bytes: now.memory_bound_bytes,
            workers: now.workers,
            taps: now.taps,
        }
    }

    fn pipeline(&self, before: &Status, now: &Status, account: &Statement) -> PipelineRates {
        let Statement { pipeline, sink, counts, buffered, in_flight, balanced } = account;
        let is_it = |other: &&Statement| other.pipeline == *pipeline && other.sink == *sink;
        let old = before.accounts.iter().find(is_it).map(|account| &account.counts);
        let rate = |old: Option<u64>, new: u64| self.rate_of_ledger(old, new);
        let mut reasons = Vec::new();
        let states: [(&'static str, Reasons); 4] = [
            ("sampled", |counts| &counts.sampled),
            ("dropped", |counts| &counts.dropped),
            ("dead_lettered", |counts| &counts.dead_lettered),
            ("lost", |counts| &counts.lost),
        ];
        for (state, of) in states {
            for (reason, amount) in of(counts) {
                let before = old.map(|old| of(old).get(reason).map_or(0, |amount| amount.events));
                let per_second = rate(before, amount.events);
                reasons.push(ReasonRates { state, reason: reason.clone(), per_second, total: amount.events });
            }
        }
        reasons.sort_by(|a, b| b.per_second.total_cmp(&a.per_second).then(b.total.cmp(&a.total)));
        let of_sink = now.sinks.iter().find(|status| status.sink == *sink);
        let of_pipeline = now.pipelines.iter().find(|status| status.pipeline == *pipeline);
        PipelineRates {
            pipeline: pipeline.clone(),
            sink: sink.clone(),
            held_by: of_pipeline.and_then(|status| status.held_by.clone()),
            balanced: *balanced,
            read_per_second: rate(old.map(|old| old.read.events), counts.read.events),
            delivered_per_second: rate(old.map(|old| old.delivered.events), counts.delivered.events),
            dropped_per_second: reasons.iter().map(|reason| reason.per_second).sum(),
            waiting: buffered.values().map(|amount| amount.events).sum::<u64>() + in_flight.events,
            oldest_seconds: of_sink.map_or(0.0, |status| status.oldest_seconds),
            reasons,
        }
    }

    fn source(&self, before: &Status, now: &SourceStatus) -> SourceRates {
        let old = before.sources.iter().find(|old| old.source == now.source);
        SourceRates {
            source: now.source.clone(),
            events_per_second: self.rate(old.map(|old| old.events), now.events),
            bytes_per_second: self.rate(old.map(|old| old.bytes), now.bytes),
            open: now.files + now.connections,
            errors: now.errors,
        }
    }

    fn sink(&self, before: &Status, now: &SinkStatus) -> SinkRates {
        let old = before.sinks.iter().find(|old| old.sink == now.sink);
        SinkRates {
            sink: now.sink.clone(),
            state: now.state.clone(),
            documents_per_second: self.rate(old.map(|old| old.documents), now.documents),
            bytes_per_second: self.rate(old.map(|old| old.bytes), now.bytes),
            retries_per_second: self.rate(old.map(|old| old.retries), now.retries),
            retries: now.retries,
            memory_bytes: now.memory_bytes,
            memory_bound_bytes: now.memory_bound_bytes,
            disk_bytes: now.disk_bytes,
            disk_bound_bytes: now.disk_bound_bytes,
            object_bytes: now.object_bytes,
            held_events: now.held_events,
            oldest_seconds: now.oldest_seconds,
        }
    }

    fn plugin(&self, before: &Status, now: &PluginStatus) -> PluginRates {
        // Another version begins at zero.
        let is_it = |old: &&PluginStatus| old.plugin == now.plugin && old.events <= now.events;
        let old = before.plugins.iter().find(is_it);
        let events_per_second = self.rate(old.map(|old| old.events), now.events);
        let cpu = self.seconds(old.map(|old| old.cpu_seconds), now.cpu_seconds) / self.seconds;
        PluginRates {
            plugin: now.plugin.clone(),
            version: now.version.clone(),
            state: now.state.clone(),
            events_per_second,
            nanoseconds_per_event: if events_per_second > 0.0 { cpu * 1e9 / events_per_second } else { 0.0 },
            cpu,
            faults_per_second: self.rate(old.map(|old| old.faults), now.faults),
            faults: now.faults,
            failed_events: now.failed_events,
            memory_bytes: now.memory_bytes,
            last_fault: now.last_fault.clone(),
        }
    }
}
