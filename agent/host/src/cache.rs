//! Compiled code, kept: in memory while a plugin uses it, on disk for the next start. A start with what is in
//! the cache needs no compiler, and a reload that changes only a plugin's configuration not even the disk.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use wasmtime::component::Component;

use crate::compile::{CompileError, Compiler};
use crate::engine::{Engine, hex};

mod disk;
mod private;

pub use disk::CacheError;
use disk::Disk;

/// The cache. One for the agent's life.
#[derive(Default)]
pub struct Cache {
    disk: Option<Disk>,
    loaded: Mutex<HashMap<Key, Weak<Component>>>,
}

/// What code belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// SHA-256 of the artefact.
    digest: [u8; 32],
    /// [`Engine::compatibility`].
    engine: String,
}

// === impl Cache ===

impl Cache {
    /// A cache in `directory`, which is made if need be and must be the agent's own.
    pub fn open(directory: &Path) -> Result<Cache, CacheError> {
        Ok(Cache { disk: Some(Disk::open(directory)?), loaded: Mutex::default() })
    }

    /// A cache that does not outlive the process.
    pub fn in_memory() -> Cache {
        Cache::default()
    }

    /// The component of this artefact: from memory, from disk if what lies there is beyond doubt, else
    /// compiled.
    pub(crate) fn component(
        &self,
        engine: &Engine,
        compiler: &Compiler,
        wasm: &[u8],
        digest: [u8; 32],
    ) -> Result<Arc<Component>, CompileError> {
        let key = Key { digest, engine: engine.compatibility().to_owned() };
        if let Some(component) = self.lock().get(&key).and_then(Weak::upgrade) {
            return Ok(component);
        }
        let component = match self.read_back(engine, &key) {
            Some(component) => component,
            None => self.compile(engine, compiler, wasm, &key)?,
        };
        let component = Arc::new(component);
        let mut loaded = self.lock();
        loaded.retain(|_, unused| unused.strong_count() > 0);
        loaded.insert(key, Arc::downgrade(&component));
        Ok(component)
    }

    fn read_back(&self, engine: &Engine, key: &Key) -> Option<Component> {
        let file = key.file_name();
        let code = match self.disk.as_ref()?.read(&file) {
            Ok(code) => code?,
            Err(error) => {
                tracing::warn!(%error, file, "compiled plugin not trusted, compiling it again");
                return None;
            }
        };
        match load(engine, &code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%error, file, "compiled plugin does not load, compiling it again");
                None
            }
        }
    }

    fn compile(
        &self,
        engine: &Engine,
        compiler: &Compiler,
        wasm: &[u8],
        key: &Key,
    ) -> Result<Component, CompileError> {
        let code = compiler.compile(wasm)?;
        let component = load(engine, &code)?;
        if let Some(disk) = &self.disk
            && let Err(error) = disk.write(&key.file_name(), &code)
        {
            tracing::warn!(%error, "failed to keep a compiled plugin, the next start compiles it again");
        }
        Ok(component)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Weak<Component>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Key ===

impl Key {
    fn file_name(&self) -> String {
        format!("{}-{}.cwasm", hex(&self.digest), self.engine)
    }
}

/// Takes machine code that was either written by our compiler just now, or read from the cache with its keyed
/// hash verified.
fn load(engine: &Engine, code: &[u8]) -> Result<Component, CompileError> {
    // SAFETY: deserialising runs whatever the bytes hold, so they must be what `Engine::precompile_component`
    // wrote. The two callers have them from a memory file that only our child could write, or from
    // `Disk::read`, which has checked the owner, the mode and an HMAC under a key that only this agent's user
    // can read. Wasmtime itself refuses code of another version, of other settings or for another CPU.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize(engine.inner(), code) };
    component.map_err(|error| CompileError::Load { message: format!("{error:#}") })
}
