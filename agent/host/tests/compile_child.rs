//! Compiling in a child process. This binary is its own child, as the agent's is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "host/guest.rs"]
#[allow(dead_code)]
mod guest;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use weir_event::transform::{Call, Context, Transform};
use weir_host::{
    Artifact, Cache, ChildCompiler, CompileError, CompileLimits, Compiler, Engine, EngineConfig, Isolation,
    Limits, LoadError, Plugin, PluginSpec, compile_child_main,
};

use guest::Guest;

/// The agent's hidden subcommand.
const COMPILE: &str = "__compile-plugin";

/// A child that neither reads nor ends.
const HANG: &str = "__hang";

const TESTS: [(&str, fn()); 7] = [
    ("a_plugin_compiled_in_a_child_runs", a_plugin_compiled_in_a_child_runs),
    ("what_the_compiler_refuses_is_told", what_the_compiler_refuses_is_told),
    ("too_little_memory_is_told", too_little_memory_is_told),
    ("too_little_cpu_time_is_told", too_little_cpu_time_is_told),
    ("a_child_that_hangs_is_ended", a_child_that_hangs_is_ended),
    ("a_child_that_is_no_compiler_is_told", a_child_that_is_no_compiler_is_told),
    ("a_missing_compiler_is_told", a_missing_compiler_is_told),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_ref().and_then(|argument| argument.to_str()) {
        Some(COMPILE) => return compile_child_main(arguments),
        Some(HANG) => loop {
            std::thread::park();
        },
        _ => (),
    }
    for (name, test) in TESTS {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

fn child(subcommand: &str) -> ChildCompiler {
    ChildCompiler::new(std::env::current_exe().unwrap(), [subcommand])
}

fn load(compiler: ChildCompiler, artifact: Vec<u8>) -> Result<std::sync::Arc<Plugin>, LoadError> {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let spec = PluginSpec {
        name: "test".into(),
        artifact: Artifact::Bytes(artifact.into()),
        config: "{}".into(),
        limits: Limits::default(),
        grants: Default::default(),
        on_error: None,
        isolation: Isolation::Shared,
    };
    Plugin::load(&engine, &Cache::in_memory(), &Compiler::Child(compiler), spec)
}

fn compile_error(compiler: ChildCompiler, artifact: Vec<u8>) -> CompileError {
    match load(compiler, artifact) {
        Err(LoadError::Compile(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Takes long to compile, also on a fast machine: thousands of functions.
fn large() -> Vec<u8> {
    let body = "(drop (i64.div_u (i64.const 7) (i64.load (i32.const 8))))".repeat(50);
    let functions = (0..12_000).map(|number| format!("(func (export \"f{number}\") {body})")).collect();
    Guest { extra: functions, ..Guest::default() }.build()
}

fn a_plugin_compiled_in_a_child_runs() {
    let plugin = load(child(COMPILE), Guest::by_row().build()).unwrap();
    let call = Call { rows: 1, columns: vec![Default::default()], ..Call::default() };
    let mut call = Call { streams: vec![0], times: vec![0], ..call };
    call.columns[0].push(weir_event::column::Kind::String, b"drop");
    let handled = plugin.instance().transform(&call, &Context::default());
    assert_eq!((handled.outcome.verdicts, handled.suspects), (vec![1], vec![]));
}

fn what_the_compiler_refuses_is_told() {
    let mut artifact = Guest::by_row().build();
    let at = artifact.windows(4).position(|bytes| bytes == [0xfc, 11, 0, 0x41]).unwrap();
    artifact[at + 1] = 0x7f;
    let error = compile_error(child(COMPILE), artifact);
    let CompileError::Refused { message } = error else { panic!("{error}") };
    assert!(message.contains("offset") || message.contains("unknown 0xfc"), "{message}");
}

fn too_little_memory_is_told() {
    let limits = CompileLimits { memory: 64 << 20, ..CompileLimits::default() };
    let error = compile_error(ChildCompiler { limits, ..child(COMPILE) }, large());
    assert!(matches!(error, CompileError::Died { .. }), "{error}");
    assert!(error.to_string().contains("64 MiB of memory"), "{error}");
}

fn too_little_cpu_time_is_told() {
    let limits = CompileLimits { cpu: Duration::from_secs(1), ..CompileLimits::default() };
    let error = compile_error(ChildCompiler { limits, ..child(COMPILE) }, large());
    assert!(matches!(error, CompileError::Died { .. }), "{error}");
    assert!(error.to_string().contains("1 s of CPU time"), "{error}");
}

fn a_child_that_hangs_is_ended() {
    let limits = CompileLimits { wall: Duration::from_millis(100), ..CompileLimits::default() };
    let begun = Instant::now();
    let error = compile_error(ChildCompiler { limits, ..child(HANG) }, Guest::default().build());
    assert!(matches!(error, CompileError::TimedOut { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

fn a_child_that_is_no_compiler_is_told() {
    let error = compile_error(ChildCompiler::new("/bin/true", [COMPILE]), Guest::default().build());
    assert!(matches!(error, CompileError::Load { .. }), "{error}");
    let silly = ChildCompiler { arguments: vec![COMPILE.into(), "1".into()], ..child("") };
    let error = compile_error(silly, Guest::default().build());
    assert!(error.to_string().contains("exit code 70"), "{error}");
}

fn a_missing_compiler_is_told() {
    let error = compile_error(ChildCompiler::new("/nonexistent/weir", [COMPILE]), Guest::default().build());
    assert!(error.to_string().contains("failed to start the compiler /nonexistent/weir"), "{error}");
}
