//! The plugins of a configuration: compiled, configured and held to their grants.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weir_config::{Config, Error, Errors, Name};
use weir_host::{Artifact, Cache, ChildCompiler, Compiler, Engine, EngineConfig, Isolation, Limits, OnError};
use weir_host::{LoadError, Plugin, PluginSpec};
use weir_manifest::{Grants, MAX_ARTEFACT_BYTES};
use weir_pipeline::shadow::{Slot, Thread};

use crate::artifacts;
use crate::shadows::Candidate;

/// The defaults of the configuration, as docs/CONFIGURATION.md has them.
const DEFAULT_MEMORY_BYTES: u64 = 32 * 1024 * 1024;
const DEFAULT_DEADLINE: Duration = Duration::from_millis(100);

/// Room for instances costs addresses, not memory.
const LEAST_INSTANCES: u32 = 64;

/// The hidden subcommand under which this program compiles one artefact as a child with limits.
pub const COMPILE_COMMAND: &str = "__compile-plugin";

/// Where compiled plugins are kept from one start to the next.
pub fn cache_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("plugins")
}

/// All plugins of a configuration.
pub type Plugins = BTreeMap<Name, Loaded>;

/// A plugin, and what it was made of.
#[derive(Clone)]
pub struct Loaded {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// The place for its shadow, for as long as it lives.
    pub slot: Arc<Slot>,
    /// Its shadow in this configuration.
    pub candidate: Option<Arc<Candidate>>,
    /// Without its shadow: it is the same plugin, whoever is to take its place.
    spec: weir_config::Plugin,
    /// Its own configuration with its secrets.
    own: Arc<str>,
    /// What its artefact is told from others by.
    content: u128,
}

/// Where plugins live: the engine with room for so many instances, and the cache of compiled code. It outlives
/// generations, so that a plugin that does not change is not touched.
pub struct PluginHost {
    engine: Engine,
    cache: Cache,
    compiler: Compiler,
    room: EngineConfig,
    cache_dir: Option<PathBuf>,
    /// Where candidates run, as soon as there was one.
    shadows: Option<Arc<Thread>>,
}

// === impl Loaded ===

impl Loaded {
    /// As [`file_content`] had it when it was loaded.
    pub fn file_content(&self) -> FileContent {
        let own = matches!(self.spec.artifact, weir_config::Artifact::File(_)).then_some(self.content);
        (own, self.candidate.as_ref().and_then(|candidate| candidate.file_content()))
    }

    /// Whether this and another are the same, their shadows included.
    pub fn is_same(&self, other: &Loaded) -> bool {
        let of = |loaded: &Loaded| loaded.candidate.as_ref().map(Arc::as_ptr);
        Arc::ptr_eq(&self.plugin, &other.plugin) && of(self) == of(other)
    }

    /// From now on its shadow is the one of this configuration.
    pub fn take_up_shadow(&self) {
        self.slot.set(self.candidate.as_ref().and_then(|candidate| candidate.shadow()));
    }
}

// === impl PluginHost ===

impl PluginHost {
    /// With room for this configuration, and for as much again: the next may have more plugins.
    pub fn new(config: &Config, cache_dir: Option<&Path>) -> Result<PluginHost, Errors> {
        let failed = |message: String| Errors(vec![config.error_at(&["plugins"], message, None)]);
        let wanted = engine_config(config);
        let room = EngineConfig {
            instances: wanted.instances.saturating_mul(2).max(LEAST_INSTANCES),
            memory: wanted.memory.max(DEFAULT_MEMORY_BYTES),
        };
        let engine = Engine::new(room).map_err(|error| failed(error.to_string()))?;
        let cache = match cache_dir {
            Some(dir) => Cache::open(dir).map_err(|error| failed(error.to_string()))?,
            None => Cache::in_memory(),
        };
        let program = std::env::current_exe()
            .map_err(|error| failed(format!("cannot find the agent's own program: {error}")))?;
        let compiler = Compiler::Child(ChildCompiler::new(program, [COMPILE_COMMAND]));
        let cache_dir = cache_dir.map(Path::to_owned);
        Ok(PluginHost { engine, cache, compiler, room, cache_dir, shadows: None })
    }

    /// Loads every plugin of the configuration; one that is among those `before` and the same is taken from there. Says
    /// of every plugin that cannot be loaded why.
    pub fn load(&mut self, config: &Config, before: &Plugins) -> Result<Plugins, Errors> {
        if config.plugins.is_empty() {
            return Ok(Plugins::new());
        }
        let wanted = engine_config(config);
        let none = Plugins::new();
        let mut before = before;
        if wanted.instances > self.room.instances || wanted.memory > self.room.memory {
            // What lives in the old engine goes with its pipelines.
            *self = PluginHost::new(config, self.cache_dir.as_deref())?;
            before = &none;
        }
        let artifacts::Artifacts { live, mut shadows, mut errors } =
            artifacts::resolve(config, self.cache_dir.as_deref());
        let mut plugins = Plugins::new();
        for (name, plugin) in &config.plugins {
            let Some(artifact) = live.get(name) else { continue };
            match self.load_one(config, name, plugin, artifact, before.get(name)) {
                Ok(mut loaded) => {
                    if let (Some(wanted), Some(artifact)) = (&plugin.shadow, shadows.remove(name)) {
                        loaded.candidate =
                            Some(self.load_candidate(wanted, &artifact, &loaded, before.get(name)));
                    }
                    plugins.insert(name.clone(), loaded);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(plugins) } else { Err(Errors(errors)) }
    }

    fn load_one(
        &self,
        config: &Config,
        name: &Name,
        plugin: &weir_config::Plugin,
        artifact: &Artifact,
        before: Option<&Loaded>,
    ) -> Result<Loaded, Error> {
        let at = |key: &str, message: String| config.error_at(&["plugins", name, key], message, None);
        let secrets = weir_config::resolve_secrets(&plugin.config, &config.base_dir);
        let own: Arc<str> = secrets.map_err(|error| at("config", error.to_string()))?.to_string().into();
        let content = content_of(artifact);
        let spec = weir_config::Plugin { shadow: None, ..plugin.clone() };
        if let (Some(before), Some(content)) = (before, content)
            && before.spec == spec
            && before.own == own
            && before.content == content
        {
            before.plugin.renew_provenance(artifact.provenance().cloned());
            return Ok(Loaded { candidate: None, ..before.clone() });
        }
        let loaded = self.load_plugin(name, &spec, &own, artifact);
        let loaded = loaded.map_err(|error| at(error.key(), error.to_string()))?;
        let (slot, content) = (Arc::default(), content.unwrap_or_default());
        Ok(Loaded { plugin: loaded, slot, candidate: None, spec, own, content })
    }

    fn load_plugin(
        &self,
        name: &str,
        plugin: &weir_config::Plugin,
        own: &str,
        artifact: &Artifact,
    ) -> Result<Arc<Plugin>, LoadError> {
        let spec = PluginSpec {
            name: name.to_owned(),
            artifact: artifact.clone(),
            config: own.to_owned(),
            limits: limits(plugin.limits),
            grants: Grants { fields: plugin.grants.fields.clone(), write: plugin.grants.write.clone() },
            on_error: plugin.on_error.map(on_error),
            isolation: match plugin.isolation {
                weir_config::Isolation::Shared => Isolation::Shared,
                weir_config::Isolation::Fresh => Isolation::Fresh,
            },
        };
        Plugin::load(&self.engine, &self.cache, &self.compiler, spec)
    }

    /// A candidate that cannot be loaded stops nothing: the plugin that it is compared with runs all the same, and what is
    /// wrong is told.
    fn load_candidate(
        &mut self,
        wanted: &weir_config::Shadow,
        artifact: &Result<Artifact, String>,
        live: &Loaded,
        before: Option<&Loaded>,
    ) -> Arc<Candidate> {
        let content = artifact.as_ref().ok().and_then(content_of);
        let known = before.filter(|before| Arc::ptr_eq(&before.plugin, &live.plugin));
        if let Some(known) = known.and_then(|before| before.candidate.as_ref())
            && known.is_of(wanted, content)
        {
            if let (Some(plugin), Ok(artifact)) = (known.plugin(), artifact) {
                plugin.renew_provenance(artifact.provenance().cloned());
            }
            return Arc::clone(known);
        }
        let name = live.plugin.name();
        let loaded = artifact.as_ref().map_err(Clone::clone).and_then(|artifact| {
            let plugin = self.load_plugin(&format!("{name} (shadow)"), &live.spec, &live.own, artifact);
            plugin.map_err(|error| error.to_string())
        });
        let thread = match &self.shadows {
            Some(thread) => Ok(Arc::clone(thread)),
            None => Thread::start().map_err(|error| format!("cannot start its thread: {error}")),
        };
        self.shadows = thread.as_ref().ok().cloned();
        let both = loaded.and_then(|plugin| Ok((plugin, thread?)));
        let candidate = Candidate::new(wanted, content, &live.plugin, both);
        // One that fails as it did before is the same as before, and is not told again.
        let before = known.and_then(|before| before.candidate.as_ref());
        match before.filter(|before| before.fails_like(&candidate)) {
            Some(before) => Arc::clone(before),
            None => {
                candidate.tell(name);
                Arc::new(candidate)
            }
        }
    }
}

/// Loads every plugin of the configuration, through the compiled cache in `cache_dir` or without one.
pub fn load(config: &Config, cache_dir: Option<&Path>) -> Result<Plugins, Errors> {
    if config.plugins.is_empty() {
        return Ok(Plugins::new());
    }
    PluginHost::new(config, cache_dir)?.load(config, &Plugins::new())
}

/// Of a plugin and its shadow, what the file is told from others by; `None` where it cannot be read, or is in a registry.
pub type FileContent = (Option<u128>, Option<u128>);

/// What the files of a plugin hold now. Tells whether they changed, not whether they are to be trusted.
pub fn file_content(plugin: &weir_config::Plugin) -> FileContent {
    let content = |artifact: &weir_config::Artifact| match artifact {
        weir_config::Artifact::File(path) => hash_of(path),
        weir_config::Artifact::Oci(_) => None,
    };
    (content(&plugin.artifact), plugin.shadow.as_ref().and_then(|shadow| content(&shadow.artifact)))
}

fn content_of(artifact: &Artifact) -> Option<u128> {
    match artifact {
        Artifact::File(path) => hash_of(path),
        Artifact::Bytes(bytes) | Artifact::Fetched { component: bytes, .. } => {
            Some(twox_hash::XxHash3_128::oneshot(bytes))
        }
    }
}

fn hash_of(path: &Path) -> Option<u128> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(MAX_ARTEFACT_BYTES as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(twox_hash::XxHash3_128::oneshot(&bytes))
}

/// A limit that is at its default leaves the word to the plugin's manifest, which may want less.
fn limits(limits: weir_config::Limits) -> Limits {
    let memory = limits.memory.bytes();
    Limits {
        memory: (memory != DEFAULT_MEMORY_BYTES).then_some(memory),
        deadline: (limits.deadline != DEFAULT_DEADLINE).then_some(limits.deadline),
        output: Some(limits.output.bytes()),
    }
}

fn engine_config(config: &Config) -> EngineConfig {
    // One instance for each plugin, pipeline that uses it and worker; one more while a plugin is loaded or retried.
    let uses: usize = config.pipelines.values().map(|pipeline| pipeline.stages.len()).sum();
    let shadows = config.plugins.values().filter(|plugin| plugin.shadow.is_some()).count();
    let instances = (uses.max(1) + 1) * (config.workers.get() + 1) + shadows;
    let memory = config.plugins.values().map(|plugin| plugin.limits.memory.bytes()).max().unwrap_or_default();
    EngineConfig { instances: instances as u32, memory }
}

fn on_error(on_error: weir_config::OnError) -> OnError {
    match on_error {
        weir_config::OnError::Pass => OnError::Pass,
        weir_config::OnError::Drop => OnError::Drop,
        weir_config::OnError::DeadLetter => OnError::DeadLetter,
        weir_config::OnError::Hold => OnError::Hold,
    }
}
