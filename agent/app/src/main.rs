//! The weir command.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod admin;
mod artifacts;
#[cfg(feature = "bench-native")]
mod bench_w1;
mod buffers;
mod cli;
mod commands;
mod live;
mod memory;
mod metrics;
mod mover;
mod objects;
mod output;
mod plugins;
mod reload;
mod shadows;
mod sinks;
mod state;
mod telemetry;
#[cfg(test)]
mod test_agent;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // Before anything else: the compiling child limits itself, and must not have started a thread by then.
    if arguments.next().is_some_and(|command| command == plugins::COMPILE_COMMAND) {
        return weir_host::compile_child_main(arguments);
    }
    memory::keep_some();
    let code = cli::main();
    telemetry::finish();
    code
}
