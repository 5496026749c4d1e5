//! The child's side: limits first, then one artefact.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use weir_manifest::MAX_ARTEFACT_BYTES;

use super::{MAX_COMPILED_BYTES, compile_here};

/// Exit code for an artefact that is not a valid component; the message is on stderr.
pub(super) const REFUSED: i32 = 1;

/// Exit code for everything else that goes wrong.
const FAILED: u8 = 70;

/// What the hidden subcommand of the agent's binary does, given the arguments after its own: limits this
/// process, then compiles the component on stdin to stdout. Call it before anything else in `main` starts
/// threads.
pub fn compile_child_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Refused(message)) => fail(&message, REFUSED as u8),
        Err(Failure::Setup(message)) => fail(&message, FAILED),
    }
}

enum Failure {
    Refused(String),
    Setup(String),
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    let mut numbers =
        arguments.into_iter().map(|argument| argument.to_str().and_then(|text| text.parse().ok()));
    let (Some(Some(memory)), Some(Some(cpu_seconds)), None) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        return Err(Failure::Setup("wants two numbers: bytes of memory, seconds of CPU time".to_owned()));
    };
    limit_this_process(memory, cpu_seconds).map_err(setup("limit this process"))?;
    let mut wasm = Vec::new();
    let cap = MAX_ARTEFACT_BYTES as u64 + 1;
    io::stdin().lock().take(cap).read_to_end(&mut wasm).map_err(setup("read the artefact"))?;
    if wasm.len() > MAX_ARTEFACT_BYTES {
        return Err(Failure::Refused(format!("it has more than {MAX_ARTEFACT_BYTES} bytes")));
    }
    let code = compile_here(&wasm).map_err(Failure::Refused)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&code).and_then(|()| stdout.flush()).map_err(setup("write the code"))
}

fn setup(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Setup(format!("failed to {what}: {error}"))
}

fn limit_this_process(memory: u64, cpu_seconds: u64) -> io::Result<()> {
    let exactly = |value| Rlimit { current: Some(value), maximum: Some(value) };
    set_parent_process_death_signal(Some(Signal::KILL))?;
    setrlimit(Resource::Core, exactly(0))?;
    setrlimit(Resource::Fsize, exactly(MAX_COMPILED_BYTES))?;
    setrlimit(Resource::Cpu, exactly(cpu_seconds))?;
    setrlimit(Resource::As, exactly(memory))?;
    // When the pod runs out of memory all the same, this process is to go, not the agent. Not every kernel
    // lets it.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

fn fail(message: &str, code: u8) -> ExitCode {
    let _ = io::stderr().write_all(message.as_bytes());
    ExitCode::from(code)
}
