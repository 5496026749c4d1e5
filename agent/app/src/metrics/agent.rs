//! From what the agent's parts count to samples.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use weir_buffer::disk::{DiskStore, ObjectMetrics, Objects};
use weir_buffer::ledger::{Amount, Statement};
use weir_buffer::memory::MemoryTier;
use weir_host::{Cause, Plugin, Provenance, Standing};
use weir_opensearch::ItemOutcome;
use weir_pipeline::sink::SinkMetrics;
use weir_pipeline::source::{ReceivingMetrics, Refusal, SourceMetrics};

use super::exposition::{Exposition, Sample};
use super::families as f;
use crate::reload::{Outcome, Status};
use crate::sinks::OpenSearchView;
use crate::state::{AgentState, PipelineView, View};

/// The tier that every sink has, and those that it may have.
const MEMORY: &str = "memory";
const DISK: &str = "disk";
const OBJECT: &str = "object";

/// The agent as a whole.
pub fn agent(out: &mut Exposition, state: &AgentState, view: &View) {
    out.add(&f::BUILD, [Sample::count([("version", env!("CARGO_PKG_VERSION"))], 1)]);
    out.add(&f::CONFIG, [Sample::count([("hash", view.config_hash.as_str())], 1)]);
    out.add(&f::READY, [Sample::count([], u64::from(state.readiness.reason().is_none()))]);
}

/// The generation that runs, and what became of reloads.
pub fn generation(out: &mut Exposition, status: &Status) {
    out.add(&f::CONFIG_GENERATION, [Sample::count([], status.generation)]);
    let last = status.last_reload.as_ref();
    let successful = last.is_none_or(|last| last.outcome != Outcome::Rejected);
    out.add(&f::CONFIG_RELOAD_SUCCESSFUL, [Sample::count([], u64::from(successful))]);
    let seconds = last.map_or(0.0, |last| last.seconds);
    out.add(&f::CONFIG_RELOAD_SECONDS, [Sample::new([], seconds)]);
    let success = status.last_success.duration_since(UNIX_EPOCH).unwrap_or_default();
    out.add(&f::CONFIG_RELOAD_SUCCESS_TIME, [Sample::new([], success.as_secs_f64())]);
    let counts = status.counts.iter();
    let counts = counts.map(|(outcome, count)| Sample::count([("outcome", outcome.name())], *count));
    out.add(&f::CONFIG_RELOADS, counts);
    let next_try = status.next_try.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    out.add(&f::CONFIG_NEXT_TRY, [Sample::new([], next_try.as_secs_f64())]);
}

/// The pipelines.
pub fn pipelines(out: &mut Exposition, state: &AgentState, view: &View) {
    let held = state.health.held();
    let held = view.pipelines.iter().map(|PipelineView { name, .. }| {
        let is_held = held.iter().any(|(pipeline, _)| **pipeline == **name);
        Sample::count([("pipeline", name.as_str())], u64::from(is_held))
    });
    out.add(&f::PIPELINE_HELD, held);
    out.add(&f::WORKER_PANICS, [Sample::count([], state.health.panics())]);
}

/// The sources.
pub fn sources(out: &mut Exposition, view: &View) {
    let mut add = |family, counter: fn(&SourceMetrics) -> &AtomicU64| {
        let samples = view.sources.iter().map(|(name, metrics)| {
            Sample::count([("source", name.as_str())], counter(metrics).load(Ordering::Relaxed))
        });
        out.add(family, samples);
    };
    add(&f::SOURCE_BYTES, |metrics| &metrics.bytes);
    add(&f::SOURCE_EVENTS, |metrics| &metrics.events);
    add(&f::SOURCE_FILES, |metrics| &metrics.files);
    add(&f::SOURCE_MALFORMED, |metrics| &metrics.malformed);
    add(&f::SOURCE_TRUNCATED, |metrics| &metrics.truncated);
    add(&f::SOURCE_MULTILINE_CUT, |metrics| &metrics.multiline_cut);
    add(&f::SOURCE_TRUNCATED_FILES, |metrics| &metrics.truncated_files);
    add(&f::SOURCE_HELD_FILES, |metrics| &metrics.held_files);
    add(&f::SOURCE_HELD_BYTES, |metrics| &metrics.held_bytes);
    add(&f::SOURCE_ERRORS, |metrics| &metrics.errors);
    receiving(out, view);
}

/// Those of them that are pushed to.
fn receiving(out: &mut Exposition, view: &View) {
    let listening = || view.sources.iter().filter(|(_, metrics)| metrics.receiving.address.get().is_some());
    let mut add = |family, counter: fn(&ReceivingMetrics) -> &AtomicU64| {
        let samples = listening().map(|(name, metrics)| {
            let count = counter(&metrics.receiving).load(Ordering::Relaxed);
            Sample::count([("source", name.as_str())], count)
        });
        out.add(family, samples);
    };
    add(&f::SOURCE_CONNECTIONS, |metrics| &metrics.connections);
    add(&f::SOURCE_MESSAGES, |metrics| &metrics.messages);
    add(&f::SOURCE_REPEATED, |metrics| &metrics.repeated);
    let refused = listening().flat_map(|(name, metrics)| {
        Refusal::ALL.into_iter().map(move |why| {
            let labels = [("source", name.as_str()), ("reason", why.name())];
            Sample::count(labels, metrics.receiving.refused(why))
        })
    });
    out.add(&f::SOURCE_REFUSED, refused);
}

/// The ledger's accounts.
pub fn ledger(out: &mut Exposition, statements: &[Statement]) {
    for (family, part) in [(&f::LEDGER_EVENTS, events as fn(Amount) -> u64), (&f::LEDGER_BYTES, bytes)] {
        out.add(family, statements.iter().flat_map(|statement| settled(statement, part)));
    }
    for (family, part) in
        [(&f::LEDGER_WAITING_EVENTS, events as fn(Amount) -> u64), (&f::LEDGER_WAITING_BYTES, bytes)]
    {
        out.add(family, statements.iter().flat_map(|statement| waiting(statement, part)));
    }
    let balanced = statements.iter().map(|statement| {
        let labels = [("pipeline", statement.pipeline.as_str()), ("sink", statement.sink.as_str())];
        Sample::count(labels, u64::from(statement.balanced))
    });
    out.add(&f::LEDGER_BALANCED, balanced);
}

fn events(amount: Amount) -> u64 {
    amount.events
}

fn bytes(amount: Amount) -> u64 {
    amount.bytes
}

/// What is counted for good, by state and reason.
fn settled(statement: &Statement, part: fn(Amount) -> u64) -> Vec<Sample<'_>> {
    let (pipeline, sink) = (statement.pipeline.as_str(), statement.sink.as_str());
    let counts = &statement.counts;
    let mut samples = Vec::new();
    for (state, amount) in
        [("read", counts.read), ("created", counts.created), ("delivered", counts.delivered)]
    {
        let labels = [("pipeline", pipeline), ("sink", sink), ("state", state)];
        samples.push(Sample::count(labels, part(amount)));
    }
    for (state, amount) in [("adopted", counts.adopted), ("handed_over", counts.handed_over)] {
        if !amount.is_nothing() {
            let labels = [("pipeline", pipeline), ("sink", sink), ("state", state)];
            samples.push(Sample::count(labels, part(amount)));
        }
    }
    for (state, reasons) in [
        ("sampled", &counts.sampled),
        ("dropped", &counts.dropped),
        ("dead_lettered", &counts.dead_lettered),
        ("lost", &counts.lost),
    ] {
        for (reason, amount) in reasons {
            let labels =
                [("pipeline", pipeline), ("sink", sink), ("state", state), ("reason", reason.as_str())];
            samples.push(Sample::count(labels, part(*amount)));
        }
    }
    samples
}

/// What is on its way, by where it is.
fn waiting(statement: &Statement, part: fn(Amount) -> u64) -> Vec<Sample<'_>> {
    let tiers = statement.buffered.iter().map(|(tier, amount)| (tier.as_str(), *amount));
    let places = tiers.chain([("in_flight", statement.in_flight)]);
    let sample = |(place, amount)| {
        let labels =
            [("pipeline", statement.pipeline.as_str()), ("sink", statement.sink.as_str()), ("place", place)];
        Sample::count(labels, part(amount))
    };
    places.map(sample).collect()
}

/// The sinks and the buffers in front of them.
pub fn sinks(out: &mut Exposition, view: &View) {
    buffers(out, view);
    let mut add = |family, counter: fn(&SinkMetrics) -> &AtomicU64| {
        let samples = view.sinks.iter().map(|(name, metrics, _)| {
            Sample::count([("sink", name.as_str())], counter(metrics).load(Ordering::Relaxed))
        });
        out.add(family, samples);
    };
    add(&f::SINK_SEGMENTS, |metrics| &metrics.segments);
    add(&f::SINK_EVENTS, |metrics| &metrics.events);
    add(&f::SINK_BYTES, |metrics| &metrics.bytes);
    add(&f::SINK_RETRIES, |metrics| &metrics.retries);
    add(&f::SINK_FAILING, |metrics| &metrics.failing);
}

fn buffers(out: &mut Exposition, view: &View) {
    let mut tiers = |family,
                     memory: fn(&MemoryTier) -> u64,
                     disk: fn(&DiskStore) -> u64,
                     object: fn(&DiskStore, &Objects) -> Option<u64>| {
        let samples = view.sinks.iter().flat_map(|(name, _, buffer)| {
            let sample = |tier, bytes| Sample::count([("sink", name.as_str()), ("tier", tier)], bytes);
            let on_disk = buffer.disk().map(|of| sample(DISK, disk(of.store())));
            let store = buffer.disk().map(|disk| disk.store());
            let in_objects = store.and_then(|store| Some((store, store.objects()?)));
            let in_objects = in_objects.and_then(|(store, objects)| object(store, &objects));
            let in_objects = in_objects.map(|bytes| sample(OBJECT, bytes));
            [sample(MEMORY, memory(buffer))].into_iter().chain(on_disk).chain(in_objects)
        });
        out.add(family, samples);
    };
    let in_objects = |store: &DiskStore, _: &Objects| Some(store.in_objects().0);
    tiers(&f::BUFFER_USED, MemoryTier::used, DiskStore::used, in_objects);
    tiers(&f::BUFFER_BOUND, MemoryTier::bound, DiskStore::bound, |_, objects| objects.max_bytes());
    let mut add = |family, number: fn(&DiskStore) -> u64| {
        let samples = view.sinks.iter().map(|(name, _, buffer)| {
            let number = buffer.disk().map_or(0, |disk| number(disk.store()));
            Sample::count([("sink", name.as_str())], number)
        });
        out.add(family, samples);
    };
    add(&f::BUFFER_FILES, DiskStore::files);
    add(&f::BUFFER_WRITTEN, |store| store.metrics.files.load(Ordering::Relaxed));
    add(&f::BUFFER_WRITE_ERRORS, |store| store.metrics.write_errors.load(Ordering::Relaxed));
    add(&f::BUFFER_READ_ERRORS, |store| store.metrics.read_errors.load(Ordering::Relaxed));
    add(&f::BUFFER_DAMAGED, |store| store.metrics.damaged.load(Ordering::Relaxed));
    add(&f::BUFFER_STALLED, |store| store.metrics.stalled_reads.load(Ordering::Relaxed));
    add(&f::BUFFER_STORED_EVENTS, |store| store.metrics.stored_events.load(Ordering::Relaxed));
    add(&f::BUFFER_STORED_BYTES, |store| store.metrics.stored_bytes.load(Ordering::Relaxed));
    add(&f::BUFFER_REPLAYED_EVENTS, |store| store.metrics.replayed_events.load(Ordering::Relaxed));
    add(&f::BUFFER_REPLAYED_BYTES, |store| store.metrics.replayed_bytes.load(Ordering::Relaxed));
    add(&f::BUFFER_OBJECTS, |store| store.in_objects().1);
    let mut add = |family, counter: fn(&ObjectMetrics) -> &AtomicU64| {
        let samples = view.sinks.iter().filter_map(|(name, _, buffer)| {
            let objects = buffer.disk()?.store().objects()?;
            Some(Sample::count([("sink", name.as_str())], counter(&objects.metrics).load(Ordering::Relaxed)))
        });
        out.add(family, samples);
    };
    add(&f::BUFFER_MOVED, |metrics| &metrics.moved);
    add(&f::BUFFER_MOVED_BYTES, |metrics| &metrics.moved_bytes);
    add(&f::BUFFER_REMOVED_OBJECTS, |metrics| &metrics.removed);
    add(&f::BUFFER_OBJECT_ERRORS, |metrics| &metrics.errors);
    add(&f::BUFFER_OBJECT_FAILING, |metrics| &metrics.failing);
    let oldest = view.sinks.iter().map(|(name, _, buffer)| {
        let age = buffer.oldest().and_then(|since| since.elapsed().ok()).unwrap_or_default();
        Sample::new([("sink", name.as_str())], age.as_secs_f64())
    });
    out.add(&f::BUFFER_OLDEST, oldest);
}

/// The sinks that write into OpenSearch.
pub fn opensearch(out: &mut Exposition, view: &View) {
    let requests = view.opensearch.iter().flat_map(|(name, view)| {
        let metrics = &view.metrics;
        let counts = [
            ("answered", &metrics.requests_answered),
            ("failed", &metrics.requests_failed),
            ("split", &metrics.requests_split),
        ];
        counts.map(|(outcome, count)| {
            Sample::count([("sink", name.as_str()), ("outcome", outcome)], count.load(Ordering::Relaxed))
        })
    });
    out.add(&f::OPENSEARCH_REQUESTS, requests);
    let items = view.opensearch.iter().flat_map(|(name, view)| {
        ItemOutcome::ALL.map(|outcome| {
            let labels = [("sink", name.as_str()), ("outcome", outcome.name())];
            Sample::count(labels, view.metrics.items(outcome))
        })
    });
    out.add(&f::OPENSEARCH_ITEMS, items);
    let mut add = |family, number: fn(&OpenSearchView) -> u64| {
        let sinks = view.opensearch.iter();
        out.add(family, sinks.map(|(name, view)| Sample::count([("sink", name.as_str())], number(view))));
    };
    add(&f::OPENSEARCH_SENT, |view| view.metrics.sent_bytes.load(Ordering::Relaxed));
    add(&f::OPENSEARCH_CONCURRENCY, |view| view.metrics.concurrency.load(Ordering::Relaxed));
    add(&f::OPENSEARCH_IN_FLIGHT, |view| view.metrics.in_flight.load(Ordering::Relaxed));
    add(&f::OPENSEARCH_UNAUTHORIZED, |view| view.metrics.unauthorized.load(Ordering::Relaxed));
    add(&f::OPENSEARCH_OVERFLOW, |view| view.route.overflowed());
    let held = held(view);
    let samples = held
        .iter()
        .map(|(name, index, events)| Sample::count([("sink", name.as_str()), ("index", &**index)], *events));
    out.add(&f::OPENSEARCH_HELD, samples);
}

/// What waits for indices that take nothing for now. There are no more of them than indices in an hour.
fn held(view: &View) -> Vec<(String, Arc<str>, u64)> {
    let lanes = view.sinks.iter().flat_map(|(name, _, buffer)| {
        buffer.held().into_iter().map(move |(index, amount)| (name.clone(), index, amount.events))
    });
    lanes.collect()
}

/// The plugins.
pub fn plugins(out: &mut Exposition, view: &View) {
    out.add(&f::PLUGIN, view.plugins.iter().map(|plugin| info(plugin)));
    let fetched = view.plugins.iter().filter_map(|plugin| Some((plugin.name(), plugin.provenance()?)));
    let fetched: Vec<_> = fetched.collect();
    out.add(&f::PLUGIN_ARTIFACT, fetched.iter().map(|(name, provenance)| artifact(name, provenance)));
    let stale = fetched
        .iter()
        .map(|(name, provenance)| Sample::count([("plugin", *name)], u64::from(provenance.stale.is_some())));
    out.add(&f::PLUGIN_ARTIFACT_STALE, stale);
    let mut add = |family, number: fn(&Plugin) -> f64| {
        let samples =
            view.plugins.iter().map(|plugin| Sample::new([("plugin", plugin.name())], number(plugin)));
        out.add(family, samples);
    };
    add(&f::PLUGIN_CALLS, |plugin| plugin.metrics().calls() as f64);
    add(&f::PLUGIN_EVENTS, |plugin| plugin.metrics().rows() as f64);
    add(&f::PLUGIN_CPU, |plugin| plugin.metrics().cpu().as_secs_f64());
    add(&f::PLUGIN_WALL, |plugin| plugin.metrics().wall().as_secs_f64());
    out.add(&f::PLUGIN_ERRORS, view.plugins.iter().flat_map(|plugin| errors(plugin)));
    let mut add = |family, number: fn(&Plugin) -> u64| {
        let samples =
            view.plugins.iter().map(|plugin| Sample::count([("plugin", plugin.name())], number(plugin)));
        out.add(family, samples);
    };
    add(&f::PLUGIN_RETRIES, |plugin| plugin.metrics().retries());
    add(&f::PLUGIN_SUSPECTS, |plugin| plugin.metrics().suspects());
    add(&f::PLUGIN_QUARANTINES, |plugin| plugin.quarantines());
    add(&f::PLUGIN_RECYCLES, |plugin| plugin.metrics().recycles());
    add(&f::PLUGIN_MEMORY, |plugin| plugin.metrics().memory_bytes());
    add(&f::PLUGIN_MEMORY_PEAK, |plugin| plugin.metrics().memory_peak_bytes());
    add(&f::PLUGIN_MEMORY_LIMIT, Plugin::memory_limit);
    out.add(&f::PLUGIN_STATE, view.plugins.iter().flat_map(|plugin| standing(plugin)));
}

fn info(plugin: &Plugin) -> Sample<'_> {
    let manifest = plugin.manifest();
    let labels = [
        ("plugin", plugin.name()),
        ("name", manifest.name.as_str()),
        ("version", manifest.version.as_str()),
        ("digest", plugin.digest()),
    ];
    Sample::count(labels, 1)
}

fn standing(plugin: &Plugin) -> impl Iterator<Item = Sample<'_>> {
    let now = plugin.standing();
    Standing::ALL.into_iter().map(move |standing| {
        let labels = [("plugin", plugin.name()), ("state", standing.name())];
        Sample::count(labels, u64::from(standing == now))
    })
}

fn artifact<'a>(plugin: &'a str, provenance: &'a Provenance) -> Sample<'a> {
    let Provenance { reference, digest, key, from, .. } = provenance;
    let key = key.as_deref().unwrap_or_default();
    Sample::count(
        [("plugin", plugin), ("reference", reference), ("digest", digest), ("key", key), ("from", from)],
        1,
    )
}

/// All causes, those that have not happened too: a rate needs a zero to begin with.
fn errors(plugin: &Plugin) -> impl Iterator<Item = Sample<'_>> {
    Cause::ALL.into_iter().map(|cause| {
        let labels = [("plugin", plugin.name()), ("cause", cause.name())];
        Sample::count(labels, plugin.metrics().faults(cause))
    })
}
