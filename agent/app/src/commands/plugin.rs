//! `weir plugin …`: what authors of plugins use. One file for each command, which has its own arguments and help.

use std::process::ExitCode;

use clap::Subcommand;

mod pull;
mod push;
mod registry;
mod verify;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    Push(push::Arguments),
    Pull(pull::Arguments),
    Verify(verify::Arguments),
}

/// Does what the command line says.
pub fn run(command: PluginCommand) -> ExitCode {
    match command {
        PluginCommand::Push(arguments) => push::run(&arguments),
        PluginCommand::Pull(arguments) => pull::run(&arguments),
        PluginCommand::Verify(arguments) => verify::run(&arguments),
    }
}
