//! The plugins of a configuration: compiled, configured and held to their grants.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weir_config::{Config, Error, Errors, Name};
use weir_host::{Artifact, Cache, ChildCompiler, Compiler, Engine, EngineConfig, Isolation, Limits, OnError};
use weir_host::{Plugin, PluginSpec};
use weir_manifest::Grants;

use crate::artifacts;

/// The defaults of the configuration, as docs/CONFIGURATION.md has them.
const DEFAULT_MEMORY_BYTES: u64 = 32 * 1024 * 1024;
const DEFAULT_DEADLINE: Duration = Duration::from_millis(100);

/// The hidden subcommand under which this program compiles one artefact as a child with limits.
pub const COMPILE_COMMAND: &str = "__compile-plugin";

/// Where compiled plugins are kept from one start to the next.
pub fn cache_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("plugins")
}

/// All plugins of a configuration.
pub type Plugins = BTreeMap<Name, Arc<Plugin>>;

/// Loads every plugin of the configuration, through the compiled cache in `cache_dir` or without one. Says of every
/// plugin that cannot be loaded why.
pub fn load(config: &Config, cache_dir: Option<&Path>) -> Result<Plugins, Errors> {
    if config.plugins.is_empty() {
        return Ok(Plugins::new());
    }
    let failed = |message: String| Errors(vec![config.error_at(&["plugins"], message, None)]);
    let engine = Engine::new(engine_config(config)).map_err(|error| failed(error.to_string()))?;
    let cache = match cache_dir {
        Some(dir) => Cache::open(dir).map_err(|error| failed(error.to_string()))?,
        None => Cache::in_memory(),
    };
    let program = std::env::current_exe()
        .map_err(|error| failed(format!("cannot find the agent's own program: {error}")))?;
    let compiler = Compiler::Child(ChildCompiler::new(program, [COMPILE_COMMAND]));
    let (artifacts, mut errors) = artifacts::resolve(config, cache_dir);
    let mut plugins = Plugins::new();
    for (name, plugin) in &config.plugins {
        let Some(artifact) = artifacts.get(name) else { continue };
        match load_one(config, name, plugin, artifact, &engine, &cache, &compiler) {
            Ok(plugin) => drop(plugins.insert(name.clone(), plugin)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(plugins) } else { Err(Errors(errors)) }
}

fn load_one(
    config: &Config,
    name: &Name,
    plugin: &weir_config::Plugin,
    artifact: &Artifact,
    engine: &Engine,
    cache: &Cache,
    compiler: &Compiler,
) -> Result<Arc<Plugin>, Error> {
    let at = |key: &str, message: String| config.error_at(&["plugins", name, key], message, None);
    let secrets = weir_config::resolve_secrets(&plugin.config, &config.base_dir);
    let own = secrets.map_err(|error| at("config", error.to_string()))?;
    let spec = PluginSpec {
        name: name.to_string(),
        artifact: artifact.clone(),
        config: own.to_string(),
        limits: limits(plugin.limits),
        grants: Grants { fields: plugin.grants.fields.clone(), write: plugin.grants.write.clone() },
        on_error: plugin.on_error.map(on_error),
        isolation: match plugin.isolation {
            weir_config::Isolation::Shared => Isolation::Shared,
            weir_config::Isolation::Fresh => Isolation::Fresh,
        },
    };
    Plugin::load(engine, cache, compiler, spec).map_err(|error| at(error.key(), error.to_string()))
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
    let instances = (uses.max(1) + 1) * (config.workers.get() + 1);
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
