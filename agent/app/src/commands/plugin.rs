//! `weir plugin …`: what authors of plugins use. One file for each command, which has its own arguments and help.

use std::process::ExitCode;

use clap::Subcommand;

mod bench;
mod build;
mod diff;
mod inspect;
mod new;
mod progress;
mod promote;
mod pull;
mod push;
mod registry;
mod sandbox;
mod shadow;
mod test;
mod verify;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    New(new::Arguments),
    Build(build::Arguments),
    Inspect(inspect::Arguments),
    Test(test::Arguments),
    Bench(bench::Arguments),
    Diff(diff::Arguments),
    Push(push::Arguments),
    Pull(pull::Arguments),
    Verify(verify::Arguments),
    Shadow(shadow::Arguments),
    Promote(promote::Arguments),
}

/// Does what the command line says.
pub fn run(command: PluginCommand) -> ExitCode {
    match command {
        PluginCommand::New(arguments) => new::run(&arguments),
        PluginCommand::Build(arguments) => build::run(&arguments),
        PluginCommand::Inspect(arguments) => inspect::run(&arguments),
        PluginCommand::Test(arguments) => test::run(&arguments),
        PluginCommand::Bench(arguments) => bench::run(&arguments),
        PluginCommand::Diff(arguments) => diff::run(&arguments),
        PluginCommand::Push(arguments) => push::run(&arguments),
        PluginCommand::Pull(arguments) => pull::run(&arguments),
        PluginCommand::Verify(arguments) => verify::run(&arguments),
        PluginCommand::Shadow(arguments) => shadow::run(&arguments),
        PluginCommand::Promote(arguments) => promote::run(&arguments),
    }
}
