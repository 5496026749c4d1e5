//! From WebAssembly to machine code, in a child process: Cranelift's memory and time grow with what it is
//! fed, and what it is fed comes from others.
//!
//! The child is the agent's own binary with a hidden subcommand. It gets the artefact on stdin, answers with
//! the code on stdout and with a message on stderr; all three are files in memory, so that neither side can
//! block the other.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::engine::base_config;
use crate::fault::capped;

mod child;

pub use child::compile_child_main;

/// Code is two to three times the size of its WebAssembly.
pub(crate) const MAX_COMPILED_BYTES: u64 = 512 << 20;

/// What the child says about an artefact that it refuses is read up to here.
const MAX_MESSAGE_BYTES: u64 = 8 << 10;

/// How often the parent looks whether the child is done: at first often, since most are done soon.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(20);

/// Who compiles.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// A child process with limits: what the agent uses.
    Child(ChildCompiler),
    /// This process, without limits: for short-lived tools over artefacts that their user made, and for
    /// tests.
    InProcess,
}

/// How to start the child.
#[derive(Clone, Debug)]
pub struct ChildCompiler {
    /// The agent's own binary, as [`std::env::current_exe`] says.
    pub program: PathBuf,
    /// The hidden subcommand; what [`compile_child_main`] is called with follows.
    pub arguments: Vec<OsString>,
    /// What the child may use.
    pub limits: CompileLimits,
}

/// What compiling one artefact may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space in bytes.
    pub memory: u64,
    /// CPU time.
    pub cpu: Duration,
    /// Time by the clock.
    pub wall: Duration,
}

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The artefact is not a valid component.
    #[error("the artefact does not compile: {message}")]
    Refused {
        /// What the compiler says.
        message: String,
    },
    /// The child could not be started.
    #[error("failed to start the compiler {program}: {source}")]
    Start {
        /// The binary.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The child was slower than its limit.
    #[error("compiling took longer than {} s by the clock", limit.as_secs_f64())]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// The child died: it used up its memory or CPU time, or someone killed it.
    #[error("the compiler died of {reason} (it may use {} MiB of memory and {} s of CPU time){message}",
        limits.memory >> 20, limits.cpu.as_secs())]
    Died {
        /// The signal or exit code.
        reason: String,
        /// What it was allowed.
        limits: CompileLimits,
        /// What it said, after a colon; or nothing.
        message: String,
    },
    /// The code is larger than any plugin's.
    #[error("the compiled code has {bytes} bytes, more than the {MAX_COMPILED_BYTES} allowed")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The files between the two could not be made or read.
    #[error("failed to hand over to the compiler: {0}")]
    Exchange(#[source] std::io::Error),
    /// The code does not load: the compiler was another version than this agent, or the engine has no room
    /// for it.
    #[error("the compiled code does not load: {message}")]
    Load {
        /// What wasmtime says.
        message: String,
    },
}

// === impl CompileLimits ===

impl Default for CompileLimits {
    /// 1 GiB, 180 s of CPU time, 15 minutes by the clock for a node that is busy. A plugin of 1 MiB takes 70
    /// MiB and less than 3 s of CPU time, larger ones in proportion.
    fn default() -> CompileLimits {
        CompileLimits { memory: 1 << 30, cpu: Duration::from_secs(180), wall: Duration::from_secs(900) }
    }
}

// === impl Compiler ===

impl Compiler {
    /// Compiles a component to code that only this machine's agent can load.
    pub(crate) fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
        match self {
            Compiler::Child(child) => child.compile(wasm),
            Compiler::InProcess => compile_here(wasm).map_err(|message| CompileError::Refused { message }),
        }
    }
}

fn compile_here(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let compiled = wasmtime::Engine::new(&base_config()).and_then(|engine| engine.precompile_component(wasm));
    compiled.map_err(|error| capped(&format!("{error:#}")))
}

// === impl ChildCompiler ===

impl ChildCompiler {
    /// A compiler with the default limits.
    pub fn new(
        program: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> ChildCompiler {
        ChildCompiler {
            program: program.as_ref().to_owned(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            limits: CompileLimits::default(),
        }
    }

    fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
        let exchange = Exchange::new(wasm).map_err(CompileError::Exchange)?;
        let child = self.start(&exchange)?;
        let status = self.wait(child)?;
        let message = read_message(exchange.message).map_err(CompileError::Exchange)?;
        if status.code() == Some(child::REFUSED) {
            return Err(CompileError::Refused { message });
        }
        if !status.success() {
            return Err(self.died(status, &message));
        }
        read_code(exchange.code)
    }

    fn start(&self, exchange: &Exchange) -> Result<Child, CompileError> {
        let failed = |source| CompileError::Start { program: self.program.display().to_string(), source };
        let file = |file: &File| file.try_clone().map(Stdio::from).map_err(failed);
        Command::new(&self.program)
            .args(&self.arguments)
            .arg(self.limits.memory.to_string())
            .arg(self.limits.cpu.as_secs().max(1).to_string())
            .env_clear()
            .stdin(file(&exchange.wasm)?)
            .stdout(file(&exchange.code)?)
            .stderr(file(&exchange.message)?)
            .spawn()
            .map_err(failed)
    }

    fn wait(&self, mut child: Child) -> Result<ExitStatus, CompileError> {
        let begun = Instant::now();
        let mut pause = FIRST_LOOK;
        loop {
            if let Some(status) = child.try_wait().map_err(CompileError::Exchange)? {
                return Ok(status);
            }
            if begun.elapsed() >= self.limits.wall {
                let _ = child.kill();
                let _ = child.wait();
                return Err(CompileError::TimedOut { limit: self.limits.wall });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    fn died(&self, status: ExitStatus, message: &str) -> CompileError {
        let reason = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("signal {signal}"),
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => "an unknown cause".to_owned(),
        };
        let message = if message.is_empty() { String::new() } else { format!(": {message}") };
        CompileError::Died { reason, limits: self.limits, message }
    }
}

/// The three files between parent and child.
struct Exchange {
    wasm: File,
    code: File,
    message: File,
}

// === impl Exchange ===

impl Exchange {
    fn new(wasm: &[u8]) -> std::io::Result<Exchange> {
        let mut exchange = Exchange {
            wasm: memory_file("weir-wasm")?,
            code: memory_file("weir-code")?,
            message: memory_file("weir-message")?,
        };
        exchange.wasm.write_all(wasm)?;
        exchange.wasm.rewind()?;
        Ok(exchange)
    }
}

/// A file without a name on any disk: a full disk does not keep a plugin from being compiled, and nobody else
/// can put anything into it.
fn memory_file(name: &str) -> std::io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC)?))
}

fn read_code(mut file: File) -> Result<Vec<u8>, CompileError> {
    let bytes = file.metadata().map_err(CompileError::Exchange)?.len();
    if bytes > MAX_COMPILED_BYTES {
        return Err(CompileError::TooLarge { bytes });
    }
    let mut code = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut code)).map_err(CompileError::Exchange)?;
    Ok(code)
}

fn read_message(mut file: File) -> std::io::Result<String> {
    let mut message = Vec::new();
    file.rewind()?;
    file.take(MAX_MESSAGE_BYTES).read_to_end(&mut message)?;
    Ok(capped(&String::from_utf8_lossy(&message)))
}
