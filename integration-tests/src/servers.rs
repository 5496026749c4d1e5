//! Real servers, started when the first test needs them by the tool that people use: `cargo xtask servers`.
//!
//! 1. A server that runs already is used as it is, so all test binaries share one; `cargo xtask test` stops it at
//!    the end. By hand: `cargo xtask servers down --instance test`.
//! 2. It keeps its port and its data over a stop and a start.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::artefacts::beside;

const TOOL_VARIABLE: &str = "WEIR_XTASK";
const INSTANCE_VARIABLE: &str = "WEIR_SERVERS_INSTANCE";
const DEFAULT_INSTANCE: &str = "test";

/// A server as it is asked for.
#[derive(Clone, Debug)]
pub struct Server {
    name: &'static str,
    instance: String,
    options: Vec<String>,
}

// === impl Server ===

impl Server {
    /// A server of this kind, run with these options. Those with different options need different suffixes.
    pub fn new(name: &'static str, suffix: &str, options: &[&str]) -> Server {
        let instance = env::var(INSTANCE_VARIABLE).unwrap_or_else(|_| DEFAULT_INSTANCE.to_owned());
        let options = options.iter().map(ToString::to_string).collect();
        Server { name, instance: format!("{instance}{suffix}"), options }
    }

    /// Has it run, and returns what the tool says of it.
    pub fn up(&self) -> Value {
        let mut command = self.command("up");
        command.args(&self.options);
        ask(command)
    }

    /// Stops it. Its data and its port stay.
    pub fn down(&self) {
        run(&mut self.command("down"));
    }

    /// Stops it, and removes its data.
    pub fn remove(&self) {
        run(self.command("down").arg("--remove-data"));
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = xtask();
        command.args(["servers", verb, self.name, "--instance", &self.instance]);
        command
    }
}

/// `cargo xtask`, still without arguments.
pub(crate) fn xtask() -> Command {
    let mut command = Command::new(tool());
    // The tool finds the checkout by the folder it is called in.
    command.current_dir(crate::checkout()).env_remove("CARGO_MANIFEST_DIR");
    command
}

/// What the tool says as JSON.
pub(crate) fn ask(mut command: Command) -> Value {
    let output = run(command.args(["--output", "json"]));
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

fn tool() -> PathBuf {
    let given = env::var_os(TOOL_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = given.unwrap_or_else(|| beside("xtask"));
    assert!(
        path.is_file(),
        "no xtask binary at {}; build it with `cargo build --release -p xtask`, or let `cargo xtask test` do all",
        path.display()
    );
    path
}

/// What it says on the way goes to our standard error, as it takes its time.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?} ended with {}", output.status);
    String::from_utf8(output.stdout).expect("what the tool prints is UTF-8")
}
