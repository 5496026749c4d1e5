//! Compiled code, kept: in memory while a plugin uses it, on disk for the next start. A start with what is in
//! the cache needs no compiler, and a reload that changes only a plugin's configuration not even the disk.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
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
        let name = key.file_name();
        let file = match self.disk.as_ref()?.open_entry(&name) {
            Ok(file) => file?,
            Err(error) => {
                tracing::warn!(%error, file = name, "compiled plugin not trusted, compiling it again");
                return None;
            }
        };
        match map(engine, &file) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%error, file = name, "compiled plugin does not load, compiling it again");
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
        let Some(disk) = &self.disk else { return load(engine, &code) };
        if let Err(error) = disk.write(&key.file_name(), &code) {
            tracing::warn!(%error, "failed to keep a compiled plugin, the next start compiles it again");
            return load(engine, &code);
        }
        match self.read_back(engine, key) {
            Some(component) => Ok(component),
            None => load(engine, &code),
        }
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

/// Takes machine code that the compiler wrote just now.
fn load(engine: &Engine, code: &[u8]) -> Result<Component, CompileError> {
    // SAFETY: deserialising runs whatever the bytes hold, so they must be what `Engine::precompile_component` wrote. The
    // caller has them from a memory file that only our child could write. Wasmtime itself refuses code of another
    // version, of other settings or for another CPU.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize(engine.inner(), code) };
    component.map_err(not_loaded)
}

/// Takes machine code from the cache: a copy in memory would cost every plugin its whole code, whatever of it runs.
fn map(engine: &Engine, file: &File) -> Result<Component, CompileError> {
    // By its descriptor, so that it is the file that was verified and no other of its name.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // SAFETY: as above. `Disk::open_entry` has checked the owner, the mode and an HMAC under a key that only this agent's
    // user can read. Nothing changes the file from then on: the cache replaces and removes files, and writes to none. Who
    // could do otherwise is the agent's own user, who has the key as well.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize_file(engine.inner(), path) };
    component.map_err(not_loaded)
}

fn not_loaded(error: wasmtime::Error) -> CompileError {
    CompileError::Load { message: format!("{error:#}") }
}
