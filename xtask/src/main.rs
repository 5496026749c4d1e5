//! The one entry for people: `cargo xtask demo | test | check | bench | plugins | servers |
//! clients | soak`.
//!
//! Whatever a command needs beyond cargo it builds or installs itself, saying what and why, outside the
//! checkout, so that a second run starts at once.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this program talks to a person at a terminal")]

use std::process::ExitCode;

mod arguments;
mod bench;
mod cargo;
mod check;
mod clients;
mod demo;
mod error;
mod files;
mod plugins;
mod process;
mod repository;
mod servers;
mod soak;
mod test;
mod ui;

use arguments::Arguments;
use error::{Error, Result};
use repository::Repository;
use ui::{Stream, Style};

const HELP: &str = "\
Everything that is done with this repository, under one name.

Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  demo     See the agent work: recorded container logs through two plugins into a file, no server needed
  test     Run all tests, as CI does
  check    Fast checks before a commit: format, lints, tidiness, direction of dependencies, pure unit tests
  bench    Measure the event path on generated logs, against exact expected counts
  plugins  Build plugins to WebAssembly components
  servers  Run real servers on this machine to try the agent with
  clients  Install the clients of other people that the tests send events with
  soak     Play the tests' scenarios at their full size: kills, rotation, servers and networks that fail

`cargo xtask COMMAND --help` says more.

What is built lies in CARGO_TARGET_DIR or else in weir/target in your cache folder (XDG_CACHE_HOME, ~/.cache),
shared by all checkouts. The first build compiles a WebAssembly engine: count on 5 to 20 minutes.

Exit codes: 0 good, 1 the thing built, run or checked is bad, 2 wrong usage";

/// A command: its name, its help and what it does.
struct Command {
    name: &'static str,
    help: &'static str,
    main: fn(&Repository, Arguments) -> Result<()>,
}

const COMMANDS: [Command; 8] = [
    Command { name: "demo", help: demo::HELP, main: demo::main },
    Command { name: "test", help: test::HELP, main: test::main },
    Command { name: "check", help: check::HELP, main: check::main },
    Command { name: "bench", help: bench::HELP, main: bench::main },
    Command { name: "plugins", help: plugins::HELP, main: plugins::main },
    Command { name: "servers", help: servers::HELP, main: servers::main },
    Command { name: "clients", help: clients::HELP, main: clients::main },
    Command { name: "soak", help: soak::HELP, main: soak::main },
];

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {error}", ui::paint(Stream::Stderr, Style::Red, "error:"));
            if matches!(error, Error::Usage(_)) {
                eprintln!("`cargo xtask --help` and `cargo xtask COMMAND --help` say what there is");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(arguments: Vec<String>) -> Result<()> {
    let own = arguments.iter().take_while(|argument| *argument != "--");
    let help = own.clone().any(|argument| argument == "-h" || argument == "--help");
    let Some(name) = own.clone().find(|argument| !argument.starts_with('-')) else {
        if help {
            println!("{HELP}");
            return Ok(());
        }
        return Err(Error::Usage("no command given".to_owned()));
    };
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Err(Error::Usage(format!("no command `{name}`")));
    };
    if help {
        println!("{}", command.help);
        return Ok(());
    }
    let left = arguments.iter().skip_while(|argument| *argument != name).skip(1).cloned();
    (command.main)(&Repository::find()?, Arguments::new(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_usage_ends_with_2() {
        for wrong in [
            &["frobnicate"][..],
            &[],
            &["check", "--frobnicate"],
            &["plugins", "no-such-plugin"],
            &["servers", "up"],
        ] {
            let error = run(wrong.iter().map(ToString::to_string).collect()).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong:?}: {error}");
        }
    }

    #[test]
    fn every_command_has_help_with_its_exit_codes() {
        for command in COMMANDS {
            assert!(HELP.contains(&format!("\n  {} ", command.name)), "{}", command.name);
            assert!(command.help.contains(&format!("Usage: cargo xtask {}", command.name)));
            assert!(command.help.contains("Exit codes: 0 "), "{}", command.name);
            assert!(command.help.lines().all(|line| line.len() <= 110), "{}", command.name);
        }
    }
}
