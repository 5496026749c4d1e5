//! Loading a plugin: from bytes and configuration to something that workers can run.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wasmtime::component::{Component, Linker};
use weir_event::transform::Plan;
use weir_manifest::{MAX_ARTEFACT_BYTES, Manifest, read_manifest};

use crate::bindings::TransformPre;
use crate::cache::Cache;
use crate::compile::Compiler;
use crate::deadline::{Deadline, Moment};
use crate::engine::{Engine, hex};
use crate::fault::{Cause, Fault, FaultLog, FaultReport, capped};
use crate::instance::Instance;
use crate::limiter::State;
use crate::live::{Live, Program, StartError};
use crate::metrics::Metrics;
use crate::plan;
use crate::quarantine::{Admission, Change, Quarantine, Report, Standing};
use crate::resident;
use crate::spec::{Artifact, Isolation, OnError, PluginSpec, Provenance};
use crate::wasi;
use crate::world::{TRANSFORMER, missing_transformer, unknown_imports};

mod error;
mod limits;

pub use error::LoadError;

/// The world that this host runs.
const WORLD: &str = "transform";

/// A loaded plugin, shared by its instances.
pub struct Plugin {
    name: String,
    digest: String,
    provenance: Mutex<Option<Arc<Provenance>>>,
    manifest: Manifest,
    plan: Plan,
    on_error: OnError,
    isolation: Isolation,
    deadline: Duration,
    program: Program,
    faults: FaultLog,
    quarantine: Quarantine,
    /// While somebody holds it the cache gives it to the next who asks.
    code: Arc<Component>,
}

// === impl Plugin ===

impl Plugin {
    /// Loads a plugin: reads its manifest, compiles it or takes it from the cache, configures one instance
    /// under the limits it will have, and holds the plan to the manifest and the grants. Blocks while it
    /// compiles.
    pub fn load(
        engine: &Engine,
        cache: &Cache,
        compiler: &Compiler,
        spec: PluginSpec,
    ) -> Result<Arc<Plugin>, LoadError> {
        let wasm = read_artifact(&spec.artifact)?;
        let manifest = read_manifest(&wasm)?;
        check_manifest(&manifest)?;
        let on_error = on_error(&manifest, spec.on_error)?;
        check_config(&manifest, &spec.config)?;
        let deadline = limits::deadline(&manifest, &spec)?;
        let (memory, output) = (limits::memory(engine, &manifest, &spec)?, limits::output(&spec)?);

        let digest: [u8; 32] = Sha256::digest(&wasm).into();
        let code = cache.component(engine, compiler, &wasm, digest)?;
        let component = link(engine, &code, &spec.name)?;
        let program = Program {
            engine: engine.clone(),
            component,
            config: spec.config,
            memory,
            output,
            metrics: Arc::default(),
        };
        let plan = configure(&program, deadline)?;
        manifest.admit(&plan, &spec.grants).map_err(|refusals| LoadError::Refused { refusals })?;
        resident::let_go(&code);
        Ok(Arc::new(Plugin {
            name: spec.name,
            digest: hex(&digest),
            provenance: Mutex::new(spec.artifact.provenance().cloned()),
            manifest,
            plan,
            on_error,
            isolation: spec.isolation,
            deadline,
            program,
            faults: FaultLog::default(),
            quarantine: Quarantine::default(),
            code,
        }))
    }

    /// The instance for one worker. Costs nothing until its first call.
    pub fn instance(self: &Arc<Self>) -> Instance {
        Instance::new(Arc::clone(self))
    }

    /// An instance for events that are not on their way to a sink: it is asked even in quarantine, and its faults are
    /// not held against the plugin, though they count in its metrics.
    pub fn instance_on_trial(self: &Arc<Self>) -> Instance {
        Instance::on_trial(Arc::clone(self))
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the artefact, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where its artefact was had, if it was not a file.
    pub fn provenance(&self) -> Option<Arc<Provenance>> {
        self.provenance.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the same bytes were had once more: by another digest of their manifest, by another key, or by a
    /// registry that was down before; or that its tag could be looked up, or could not.
    pub fn renew_provenance(&self, provenance: Option<Arc<Provenance>>) {
        *self.provenance.lock().unwrap_or_else(PoisonError::into_inner) = provenance;
    }

    /// What the artefact says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What it reads, writes, drops and edits, as configured.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What becomes of the rows that it cannot handle.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }

    /// Whether the calls of a worker share an instance.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// CPU time of one call.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Linear memory of one instance at most, in bytes: what the memory budget sets aside for each worker.
    pub fn memory_limit(&self) -> u64 {
        self.program.memory as u64
    }

    /// It was tried out, and has nothing to do now: of its code only what runs from now on takes memory.
    pub fn rest(&self) {
        resident::let_go(&self.code);
    }

    /// What it has done.
    pub fn metrics(&self) -> &Metrics {
        &self.program.metrics
    }

    /// Its last fault.
    pub fn last_fault(&self) -> Option<FaultReport> {
        self.faults.last()
    }

    /// How far it is trusted.
    pub fn standing(&self) -> Standing {
        self.quarantine.standing()
    }

    /// Whether it is asked for the next batch and failed lately: who waits for that batch may wait for long.
    pub fn is_unwell(&self) -> bool {
        self.quarantine.is_unwell(Instant::now())
    }

    /// How often it was quarantined.
    pub fn quarantines(&self) -> u64 {
        self.quarantine.quarantines()
    }

    /// Whether it is asked for a batch now. What comes of it must be noted.
    pub(crate) fn is_asked(&self, now: Instant) -> bool {
        let (admission, change) = self.quarantine.admit(now);
        self.tell_change(change);
        admission == Admission::Ask
    }

    pub(crate) fn note(&self, report: Report, now: Instant) {
        self.tell_change(self.quarantine.note(report, now));
    }

    fn tell_change(&self, change: Option<Change>) {
        let Some(Change { to, pause }) = change else { return };
        let plugin = &*self.name;
        match to {
            Standing::Healthy => tracing::info!(plugin, "plugin is healthy again"),
            Standing::Degraded => {
                tracing::warn!(plugin, "plugin is degraded: it keeps failing, and is still asked")
            }
            Standing::HalfOpen => tracing::info!(plugin, "plugin is tried with one batch"),
            Standing::Quarantined => {
                let (on_error, seconds) = (self.on_error.name(), pause.as_secs());
                tracing::error!(
                    plugin,
                    on_error,
                    seconds,
                    "plugin is quarantined: its on_error is for every event"
                );
            }
        }
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn tell(&self, fault: &Fault) {
        self.faults.tell(&self.name, fault);
    }

    pub(crate) fn refused_writes(&self, count: u64) {
        self.metrics().fault(Cause::UndeclaredWrite, count);
        let detail = format!("{count} writes to paths that its plan does not declare were refused");
        self.tell(&Fault::new(Cause::UndeclaredWrite, detail));
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Plugin")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// SHA-256 of an artefact, in hexadecimal.
pub fn digest(wasm: &[u8]) -> String {
    hex(&Sha256::digest(wasm))
}

fn read_artifact(artifact: &Artifact) -> Result<Arc<[u8]>, LoadError> {
    match artifact {
        Artifact::Bytes(bytes) | Artifact::Fetched { component: bytes, .. } => Ok(Arc::clone(bytes)),
        Artifact::File(path) => {
            let read = read_capped(path).map_err(|source| LoadError::Read { path: path.clone(), source })?;
            Ok(read.into())
        }
    }
}

/// One byte more than allowed is enough for the manifest's reader to refuse it.
fn read_capped(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_ARTEFACT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_manifest(manifest: &Manifest) -> Result<(), LoadError> {
    if !manifest.worlds.iter().any(|world| world == WORLD) {
        let problem = format!("its manifest names {}", manifest.worlds.join(", "));
        return Err(LoadError::World { problem });
    }
    match manifest.capabilities.first() {
        Some(capability) => Err(LoadError::Capability { capability: capability.clone() }),
        None => Ok(()),
    }
}

/// Before anything of the plugin runs. Its own `configure` may know more than its schema.
fn check_config(manifest: &Manifest, config: &str) -> Result<(), LoadError> {
    let config = serde_json::from_str(config)
        .map_err(|error| LoadError::Config { message: format!("it is not JSON: {error}") })?;
    let problems = weir_manifest::check_config(&manifest.config_schema, &config);
    if problems.is_empty() { Ok(()) } else { Err(LoadError::Schema { problems }) }
}

fn on_error(manifest: &Manifest, wanted: Option<OnError>) -> Result<OnError, LoadError> {
    match (wanted, manifest.fail_closed) {
        (Some(OnError::Pass), true) => Err(LoadError::FailClosed),
        (Some(wanted), _) => Ok(wanted),
        (None, true) => Ok(OnError::DeadLetter),
        (None, false) => Ok(OnError::Pass),
    }
}

fn link(engine: &Engine, component: &Component, plugin: &str) -> Result<TransformPre<State>, LoadError> {
    if let Some(exports) = missing_transformer(component) {
        let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
        return Err(LoadError::World { problem: format!("it exports {exports}, not {TRANSFORMER}") });
    }
    let imports = unknown_imports(component);
    if !imports.is_empty() {
        return Err(LoadError::Imports { imports });
    }
    let mut linker = Linker::new(engine.inner());
    let linked = wasi::define(&mut linker, component, plugin)
        .and_then(|()| linker.instantiate_pre(component))
        .and_then(TransformPre::new);
    linked.map_err(|error| LoadError::World { problem: capped(&format!("{error:#}")) })
}

fn configure(program: &Program, deadline: Duration) -> Result<Plan, LoadError> {
    let started = Live::start(program, Deadline::after(Moment::now(), deadline));
    let plan = match started {
        Ok((_, plan)) => plan,
        Err(StartError::Refused(message)) => return Err(LoadError::Config { message }),
        Err(StartError::Type(problem)) => return Err(LoadError::World { problem }),
        Err(StartError::Fault(fault)) => {
            return Err(LoadError::Start { cause: fault.cause, detail: fault.detail() });
        }
    };
    let problems = plan::problems(&plan);
    if problems.is_empty() { Ok(plan) } else { Err(LoadError::Plan { problems }) }
}
