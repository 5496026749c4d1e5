//! The one memory budget, what is configured to share it, and how many workers that leaves room for.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use super::Context;
use crate::config::{Buffer, Pipeline, Plugin, Sink, SinkKind, Source, SourceKind, Stage};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::types::{Name, Size};

/// Where the container has no limit.
const DEFAULT_MEMORY: Size = Size::of_mib(256);
/// Of the container's limit: the rest is for code, stacks, connections and the allocator.
const DEFAULT_SHARE_PERCENT: u64 = 60;
/// Batches of one source: the arenas that it keeps for reuse.
const SOURCE_MEMORY: Size = Size::of_mib(4);
/// Bodies of targets on their way into batches, and what is remembered of their series.
const SCRAPE_MEMORY: Size = Size::of_mib(16);
/// A series that is made of events: its labels, and its buckets.
const SERIES_MEMORY: Size = Size::of_bytes(1024);
/// Documents that wait for one sink without a buffer.
const SINK_MEMORY: Size = Size::of_mib(16);
/// Files of one sink on their way to an object store or back.
const OBJECTS_MEMORY: Size = Size::of_mib(16);
/// A frame of an archive's object, as it is and compressed.
const FRAME_MEMORY: Size = Size::of_mib(2);
/// The filters of one indexed field, while an object is made.
const FILTERS_MEMORY: Size = Size::of_bytes(272 * 1024);
/// Objects that an archive makes and stores at the same time.
const UPLOADS: u64 = 2;
/// Dead letters of one pipeline that wait to be written.
pub const DEAD_LETTER_MEMORY: Size = Size::of_mib(4);

/// Copies of batches and samples, while any plugin has a shadow.
pub const SHADOW_MEMORY: Size = Size::of_mib(32);

/// What `memory` and `workers` were given as, if they were.
pub(super) struct Given {
    pub memory: Option<Size>,
    pub workers: Option<NonZeroUsize>,
}

/// What the parts of the configuration take, in bytes.
pub(super) struct Parts {
    plugins_per_worker: u64,
    /// One instance for each candidate, whatever the number of workers, and what comparing takes.
    shadows: u64,
    sources: u64,
    sinks: u64,
}

/// The memory, the number of workers whose plugins fit into it, and what all parts may take of it together.
pub(super) fn share_out(
    given: &Given,
    parts: &Parts,
    context: &mut Context<'_>,
) -> (Size, NonZeroUsize, Size) {
    let limit = context.host.memory_limit();
    let share = limit.map(|limit| Size::of_bytes(limit / 100 * DEFAULT_SHARE_PERCENT));
    let memory = given.memory.or(share).unwrap_or(DEFAULT_MEMORY);
    check_limit(given.memory, limit, context);
    // A value that is not valid was complained about already, and says nothing about what fits.
    let is_invalid = |key, is_given: bool| context.tree.entry(key).is_some() && !is_given;
    if is_invalid("memory", given.memory.is_some()) || is_invalid("workers", given.workers.is_some()) {
        return (memory, NonZeroUsize::MIN, Size::of_bytes(0));
    }
    let workers = given.workers.unwrap_or_else(|| workers_that_fit(memory, parts, context));
    check_fit(memory, workers, parts, context);
    (memory, workers, Size::of_bytes(parts.needed(workers)))
}

/// One worker for each CPU, but no more than there is memory for: a limit of memory without one of CPU is common, and
/// nodes have many CPUs.
fn workers_that_fit(memory: Size, parts: &Parts, context: &mut Context<'_>) -> NonZeroUsize {
    let cpus = context.host.cpus();
    let left = memory.bytes().saturating_sub(parts.needed_without_plugins());
    let fitting = left.checked_div(parts.plugins_per_worker).unwrap_or(u64::MAX);
    let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
    let workers = NonZeroUsize::new(fitting.min(cpus.get())).unwrap_or(NonZeroUsize::MIN);
    if workers < cpus {
        let message =
            format!("memory of {} is enough for {workers} of {cpus} workers", shown(memory.bytes()));
        let help = "raise memory, or give workers if so many are meant";
        context.warn(&KeyPath::of(&["memory"]), Complaint::new(message).help(help));
    }
    workers
}

fn check_fit(memory: Size, workers: NonZeroUsize, parts: &Parts, context: &mut Context<'_>) {
    let plugins = parts.plugins(workers);
    let needed = parts.needed(workers);
    if needed <= memory.bytes() {
        return;
    }
    let shadows = match parts.shadows {
        0 => String::new(),
        bytes => format!(", {} for shadows", shown(bytes)),
    };
    let message = format!(
        "{} is too small: {} for plugins (limits.memory × uses × {workers} workers){shadows}, {} for sources and {} for sinks and dead letters make {}",
        shown(memory.bytes()),
        shown(plugins),
        shown(parts.sources),
        shown(parts.sinks),
        shown(needed),
    );
    let help = "raise memory or the container's limit, or lower workers or the plugins' limits.memory";
    context.error(&KeyPath::of(&["memory"]), Complaint::new(message).help(help));
}

fn check_limit(given: Option<Size>, limit: Option<u64>, context: &mut Context<'_>) {
    if let (Some(given), Some(limit)) = (given, limit)
        && given.bytes() > limit
    {
        let message = format!("more than the container's memory limit of {}", shown(limit));
        let complaint =
            Complaint::new(message).help("the kernel would end the agent before it uses that much");
        context.warn(&KeyPath::of(&["memory"]), complaint);
    }
}

impl Parts {
    fn plugins(&self, workers: NonZeroUsize) -> u64 {
        self.plugins_per_worker.saturating_mul(workers.get() as u64)
    }

    fn needed(&self, workers: NonZeroUsize) -> u64 {
        self.plugins(workers).saturating_add(self.needed_without_plugins())
    }

    fn needed_without_plugins(&self) -> u64 {
        self.shadows.saturating_add(self.sources).saturating_add(self.sinks)
    }

    pub fn of(
        plugins: &BTreeMap<Name, Plugin>,
        sources: &BTreeMap<Name, Source>,
        pipelines: &BTreeMap<Name, Pipeline>,
        sinks: &BTreeMap<Name, Sink>,
        buffers: &BTreeMap<Name, Buffer>,
    ) -> Parts {
        // Each place where a plugin is used has an instance of its own; one that is not used is loaded all the same.
        let uses = |plugin: &Name| {
            let stages = pipelines.values().flat_map(|pipeline| &pipeline.stages);
            stages.filter(|stage| matches!(stage, Stage::Plugin(name) if name == plugin)).count().max(1)
        };
        let of = |memory: Size, count: usize| memory.bytes().saturating_mul(count as u64);
        let buffer = |sink: &Sink| buffers.get(sink.buffer.as_ref()?);
        let bytes = |buffer: &Buffer| {
            let objects = buffer.object_store.as_ref().map_or(0, |_| OBJECTS_MEMORY.bytes());
            buffer.memory.bytes().saturating_add(objects)
        };
        let sink = |sink: &Sink| buffer(sink).map_or(SINK_MEMORY.bytes(), bytes);
        let shadows = plugins.values().filter(|plugin| plugin.shadow.is_some());
        let candidates = shadows.map(|plugin| plugin.limits.memory.bytes());
        let candidates = candidates.reduce(u64::saturating_add);
        let waiting = sinks.values().fold(0_u64, |sum, each| sum.saturating_add(sink(each)));
        Parts {
            plugins_per_worker: plugins
                .iter()
                .fold(0, |sum, (name, plugin)| sum.saturating_add(of(plugin.limits.memory, uses(name)))),
            shadows: candidates.map_or(0, |bytes| bytes.saturating_add(SHADOW_MEMORY.bytes())),
            sources: sources
                .values()
                .map(source)
                .chain(pipelines.values().map(metrics))
                .fold(0, u64::saturating_add),
            sinks: waiting.saturating_add(of(DEAD_LETTER_MEMORY, pipelines.len())).saturating_add(
                sinks.values().fold(0, |sum, sink| {
                    let memory = buffer(sink).map_or(SINK_MEMORY, |buffer| buffer.memory);
                    sum.saturating_add(requests(sink, memory))
                }),
            ),
        }
    }
}

/// Memory of a source: the batches that it keeps for reuse, and what is on its way into them.
fn source(source: &Source) -> u64 {
    let more = match &source.kind {
        SourceKind::Scrape(_) => SCRAPE_MEMORY.bytes(),
        _ => source.listening().map_or(0, |listening| listening.memory().bytes()),
    };
    SOURCE_MEMORY.bytes().saturating_add(more)
}

/// Memory of the metrics that a pipeline makes, which are a source of their own.
fn metrics(pipeline: &Pipeline) -> u64 {
    let series = |stage: &Stage| match stage {
        Stage::LogToMetric(stage) => Some(SERIES_MEMORY.bytes().saturating_mul(u64::from(stage.max_series))),
        _ => None,
    };
    let series = pipeline.stages.iter().filter_map(series).reduce(u64::saturating_add);
    series.map_or(0, |bytes| bytes.saturating_add(SOURCE_MEMORY.bytes()))
}

/// Memory of the requests that a sink has under way, beside the documents that they are made of, which are in its buffer's
/// memory.
fn requests(sink: &Sink, memory: Size) -> u64 {
    match &sink.kind {
        // No more can be under way than documents fit into the buffer, and each is about as large as they are.
        SinkKind::OpenSearch(sink) => {
            let all = sink.max_bytes.bytes().saturating_mul(u64::from(sink.concurrency));
            all.min(SINK_MEMORY.bytes().max(sink.max_bytes.bytes()))
        }
        // An object is made of what gathered in a quarter of the buffer's memory, and is there compressed twice: as it
        // is made, and as it is sent. Its events are sorted by 48 bytes each, for 192 bytes and more of documents.
        SinkKind::S3(sink) => {
            let gathered = memory.bytes() / 4;
            let compressed = gathered.min(sink.max_object_bytes.bytes());
            let filters = FILTERS_MEMORY.bytes().saturating_mul(sink.index_fields.len() as u64);
            let object = [2 * compressed, gathered / 4, FRAME_MEMORY.bytes(), filters];
            object.into_iter().fold(0, u64::saturating_add).saturating_mul(UPLOADS)
        }
        // One request of each shard, as it is and compressed, of what the buffer's memory holds.
        SinkKind::RemoteWrite(sink) => {
            let all = sink.max_bytes.bytes().saturating_mul(u64::from(sink.shards));
            all.min(SINK_MEMORY.bytes().max(sink.max_bytes.bytes()))
        }
        SinkKind::File(_) | SinkKind::Console | SinkKind::Blackhole => 0,
    }
}

/// In whole MiB where it is that large: a share of a limit is seldom a round number.
fn shown(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{bytes}B"),
        mib => format!("{mib}MiB"),
    }
}
