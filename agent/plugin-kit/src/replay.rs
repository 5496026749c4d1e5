//! Events through a plugin in the real host, as a pipeline of one stage would have it, and what became of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weir_event::batch::{ArenaPool, Batch, BatchBuilder, Flags, Row};
use weir_event::edit::Compiled;
use weir_event::identity::EventId;
use weir_event::parse::Parser;
use weir_event::sheet::{Encoded, OnFault, Sheet};
use weir_event::stream::Stream;
use weir_event::transform::{Call, Context, Handled, Transform};
use weir_host::{
    Artifact, Cache, Compiler, Engine, EngineConfig, EngineError, Instance, Isolation, Limits, LoadError,
    OnError, Plugin, PluginSpec, thread_cpu_time,
};
use weir_manifest::{Grants, ManifestError, read_manifest};

use crate::document;
use crate::traffic::Event;

/// 2026-01-01T00:00:00Z: now, where nothing else is said. The same as in the SDK's test kit.
pub(crate) const NEW_YEAR: i64 = 1_767_225_600_000_000_000;
/// Events without a time of their own follow now by so much each.
const STEP: i64 = 1_000_000;
/// One instance for each of two plugins that are compared, one while it is replaced or the plugin is loaded, and three in
/// pipelines of one and of two stages.
const INSTANCES: u32 = 8;
/// The most that a manifest may ask for. It is addresses, not memory.
const ENGINE_MEMORY: u64 = 4 << 30;

/// Where plugins are run.
pub struct Sandbox {
    engine: Engine,
    compiler: Compiler,
    cache: Cache,
    folder: Option<PathBuf>,
}

/// Why a plugin cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The artefact is not a plugin.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The agent would not load it.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its plan cannot be carried out.
    #[error("the plan cannot be carried out: {0}")]
    Plan(String),
    /// A document is deeper than what can be shown.
    #[error("a document cannot be shown: {0}")]
    Document(#[from] serde_json::Error),
}

/// What holds for all events of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Surroundings {
    /// Nanoseconds since the Unix epoch.
    pub now: i64,
    /// How full the buffers behind the pipeline are: 0 empty, 1 full.
    pub pressure: f32,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Treated {
    pub fate: Fate,
    /// Events that were made of it.
    pub made: Vec<Value>,
}

/// What a plugin did with one event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fate {
    /// Kept; the event's own members after all edits.
    Kept(Value),
    /// Dropped for the reason of this name.
    Dropped(String),
    /// The plugin failed on it; what happened.
    Fault(String),
}

/// One plugin, configured and ready to be handed events.
pub struct Replayer {
    plugin: Arc<Plugin>,
    instance: Instance,
    compiled: Compiled,
    sheet: Sheet,
    arenas: Arc<ArenaPool>,
}

// === impl Sandbox ===

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sandbox").field("compiler", &self.compiler).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Compiles by `compiler`, and keeps what it compiled in a folder, if there is one and it can be used.
    pub fn new(compiler: Compiler, cache: Option<&Path>) -> Result<Sandbox, EngineError> {
        let engine = Engine::new(EngineConfig { instances: INSTANCES, memory: ENGINE_MEMORY })?;
        let kept = cache.and_then(|folder| Cache::open(folder).ok());
        let folder = cache.filter(|_| kept.is_some()).map(Path::to_owned);
        Ok(Sandbox { engine, compiler, cache: kept.unwrap_or_else(Cache::in_memory), folder })
    }

    /// Loads a plugin as the agent does, with the limits that its manifest asks for and everything granted.
    pub fn load(&self, wasm: &Arc<[u8]>, config: &str) -> Result<Replayer, ReplayError> {
        let plugin = self.plugin(&self.cache, wasm, config)?;
        let compiled =
            Compiled::new(&[plugin.plan()]).map_err(|error| ReplayError::Plan(error.to_string()))?;
        let instance = plugin.instance();
        Ok(Replayer { plugin, instance, compiled, sheet: Sheet::new(), arenas: ArenaPool::new() })
    }

    /// CPU time of loading a plugin that was loaded before, as an agent does that starts; `None` where compiled code is
    /// not kept.
    pub(crate) fn time_start(&self, wasm: &Arc<[u8]>, config: &str) -> Result<Option<Duration>, ReplayError> {
        // What another cache has in memory this one must fetch from its folder.
        let Some(cache) = self.folder.as_deref().and_then(|folder| Cache::open(folder).ok()) else {
            return Ok(None);
        };
        let begun = thread_cpu_time();
        self.plugin(&cache, wasm, config)?;
        Ok(Some(thread_cpu_time().saturating_sub(begun)))
    }

    fn plugin(&self, cache: &Cache, wasm: &Arc<[u8]>, config: &str) -> Result<Arc<Plugin>, ReplayError> {
        let manifest = read_manifest(wasm)?;
        let spec = PluginSpec {
            name: manifest.name,
            artifact: Artifact::Bytes(Arc::clone(wasm)),
            config: config.to_owned(),
            limits: Limits {
                memory: manifest.limits.memory,
                deadline: manifest.limits.deadline,
                output: None,
            },
            grants: Grants::default(),
            on_error: Some(OnError::DeadLetter),
            isolation: Isolation::Shared,
        };
        Ok(Plugin::load(&self.engine, cache, &self.compiler, spec)?)
    }
}

// === impl Replayer ===

impl std::fmt::Debug for Replayer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Replayer").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

impl Replayer {
    pub(crate) fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }

    /// Hands events over in batches as large as the agent's, and says what became of each, in order.
    pub(crate) fn run(
        &mut self,
        events: &[Event],
        surroundings: Surroundings,
    ) -> Result<Vec<Treated>, ReplayError> {
        let mut treated = Vec::with_capacity(events.len());
        while let Some(rest) = events.get(treated.len()..).filter(|rest| !rest.is_empty()) {
            let (batch, _) = self.batch(rest, treated.len(), surroundings.now);
            self.run_batch(&batch, surroundings, &mut treated)?;
        }
        Ok(treated)
    }

    /// A batch of the first events, as many as fit; `first` is how many went before them.
    pub(crate) fn batch(&self, events: &[Event], first: usize, now: i64) -> (Batch, usize) {
        let mut builder = BatchBuilder::new(self.arenas.take());
        let mut streams: BTreeMap<&BTreeMap<String, String>, u32> = BTreeMap::new();
        for event in events {
            let known = streams.len() as u64;
            let stream = *streams
                .entry(&event.attributes)
                .or_insert_with(|| builder.add_stream(&Stream::new(event.stream_attributes(), known)));
            let content = builder.arena.append(event.text.as_bytes());
            let later = now.saturating_add((first + builder.rows()) as i64 * STEP);
            builder.push(Row {
                content,
                raw: content,
                // By it a document is found again.
                offset: builder.rows() as u64,
                time: event.time.unwrap_or(later),
                stream,
                flags: Flags::default(),
            });
            if builder.is_full() {
                break;
            }
        }
        let rows = builder.rows();
        (builder.finish(&self.arenas), rows)
    }

    fn run_batch(
        &mut self,
        batch: &Batch,
        surroundings: Surroundings,
        treated: &mut Vec<Treated>,
    ) -> Result<(), ReplayError> {
        self.sheet.load(&self.compiled, &Parser::Json, None, batch);
        let context = self.context(batch, surroundings);
        let handled = match self.sheet.call(&self.compiled, 0, batch) {
            Some(call) => self.instance.transform(call, &context),
            None => Handled::default(),
        };
        self.sheet.apply(&self.compiled, 0, batch, &handled, OnFault::DeadLetter);
        let first = treated.len();
        treated.extend(self.fates(batch, &handled).map(|fate| Treated { fate, made: Vec::new() }));
        let fates = treated.get_mut(first..).unwrap_or_default();
        self.place_documents(batch, fates)
    }

    fn context(&self, batch: &Batch, surroundings: Surroundings) -> Context {
        let mut context =
            Context { now: surroundings.now, pressure: surroundings.pressure, attributes: Vec::new() };
        Sheet::context(&self.compiled, 0, batch, &mut context);
        context
    }

    /// What the verdicts say; documents are put to the kept ones later. Every row is live before the only stage, so the
    /// rows of the call are those of the batch.
    fn fates(&self, batch: &Batch, handled: &Handled) -> impl Iterator<Item = Fate> {
        let reasons = &self.plugin.plan().reasons;
        let fate = |row: usize| {
            let verdict = handled.outcome.verdicts.get(row).copied().unwrap_or_default();
            match usize::from(verdict).checked_sub(1).and_then(|index| reasons.get(index)) {
                Some(reason) => Fate::Dropped(reason.name.clone()),
                None => Fate::Kept(Value::Null),
            }
        };
        (0..batch.rows().len()).map(fate).collect::<Vec<_>>().into_iter()
    }

    fn place_documents(&mut self, batch: &Batch, fates: &mut [Treated]) -> Result<(), ReplayError> {
        for (document, _) in self.encode(batch, Encoded::Dead) {
            let (_, row) = document::own(&document)?;
            if let Some(treated) = fates.get_mut(row as usize) {
                let told = self.plugin.last_fault().map(|fault| format!("{}: {}", fault.cause, fault.detail));
                let edits = || "it has more edits than one event may have".to_owned();
                treated.fate = Fate::Fault(told.unwrap_or_else(edits));
            }
        }
        for (document, id) in self.encode(batch, Encoded::Kept) {
            let (own, offset) = document::own(&document)?;
            let (Some(treated), Some(row)) =
                (fates.get_mut(offset as usize), batch.rows().get(offset as usize))
            else {
                continue;
            };
            let incarnation =
                batch.streams().get(row.stream as usize).map_or(0, |stream| stream.incarnation());
            if id == EventId::new(incarnation, row.offset, batch.raw(row)) {
                treated.fate = Fate::Kept(own);
            } else {
                treated.made.push(own);
            }
        }
        Ok(())
    }

    fn encode(&mut self, batch: &Batch, which: Encoded) -> Vec<(Vec<u8>, EventId)> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        self.sheet.encode(&self.compiled, batch, which, &mut bytes, |finished, end| {
            ends.push((finished.id, end));
        });
        let mut start = 0;
        let mut documents = Vec::with_capacity(ends.len());
        for (id, end) in ends {
            documents.push((bytes.get(start..end).unwrap_or_default().to_vec(), id));
            start = end + 1;
        }
        documents
    }

    /// A call with these events as the plugin is handed it, to be handed over again and again.
    pub(crate) fn call(&mut self, events: &[Event], surroundings: Surroundings) -> (Call, Context) {
        let (batch, _) = self.batch(events, 0, surroundings.now);
        self.sheet.load(&self.compiled, &Parser::Json, None, &batch);
        let context = self.context(&batch, surroundings);
        let call = self.sheet.call(&self.compiled, 0, &batch).cloned().unwrap_or_default();
        (call, context)
    }

    /// Hands a call over, and says whether the plugin could handle it.
    pub(crate) fn hand_over(&mut self, call: &Call, context: &Context) -> bool {
        self.instance.transform(call, context).suspects.is_empty()
    }
}

// === impl Treated ===

impl Treated {
    /// As a line of `NAME.expected.ndjson` has it.
    pub(crate) fn to_json(&self) -> Value {
        let mut line = match &self.fate {
            Fate::Kept(document) => json!({"keep": document}),
            Fate::Dropped(reason) => json!({"drop": reason}),
            Fate::Fault(what) => json!({"fault": what}),
        };
        if let (false, Value::Object(members)) = (self.made.is_empty(), &mut line) {
            members.insert("events".to_owned(), Value::from(self.made.clone()));
        }
        line
    }
}
