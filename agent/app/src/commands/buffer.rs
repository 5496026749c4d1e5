//! `weir buffer …`: what waits for the sinks, with and without a running agent. One file for each command, which has its
//! own arguments and help.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use crate::output;

mod drop;
mod export;
mod files;
mod fsck;
mod objects;
mod offline;
mod replay;
mod stat;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum BufferCommand {
    Stat(stat::Arguments),
    Fsck(fsck::Arguments),
    Export(export::Arguments),
    Replay(replay::Arguments),
    Drop(drop::Arguments),
}

/// Does what the command line says.
pub fn run(command: BufferCommand) -> ExitCode {
    match command {
        BufferCommand::Stat(arguments) => stat::run(&arguments),
        BufferCommand::Fsck(arguments) => fsck::run(&arguments),
        BufferCommand::Export(arguments) => export::run(&arguments),
        BufferCommand::Replay(arguments) => replay::run(&arguments),
        BufferCommand::Drop(arguments) => drop::run(&arguments),
    }
}

fn refuse(message: &str) -> ExitCode {
    output::complain(message);
    ExitCode::FAILURE
}

/// Where the files of all sinks lie.
fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("buffer")
}
