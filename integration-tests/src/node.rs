//! A node: one folder with the pods' logs, the agent's configuration, its data and what its sinks wrote.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::agent::{Agent, Ended};
use crate::ledger::Ledger;
use crate::pod_log::PodLog;
use crate::{artefacts, compiled};

/// What every configuration begins with. Two workers, wherever the test runs.
const HEAD: &str = "\
version: 1
cluster: test
node: node-1
data_dir: data
memory: 256MiB
workers: 2
admin: {listen: 127.0.0.1:0}
";

/// A node of its own for each test. In its folder, `plugins` leads to the plugins, and `recorded` to the recorded logs.
#[derive(Debug)]
pub struct Node {
    folder: TempDir,
}

// === impl Node ===

impl Node {
    /// An empty node.
    pub fn new() -> Node {
        let folder = tempfile::Builder::new().prefix("weir-test-").tempdir().expect("a folder");
        fs::create_dir(folder.path().join("pods")).expect("a folder for the pods");
        let recorded = artefacts::checkout().join("configs/recorded/pods");
        for (name, target) in [("plugins", artefacts::plugins()), ("recorded", recorded)] {
            symlink(target, folder.path().join(name)).expect("a link");
        }
        Node { folder }
    }

    /// An empty node whose agent finds these plugins compiled.
    pub fn with_compiled(plugins: &[&str]) -> Node {
        let node = Node::new();
        compiled::give(&node, plugins);
        node
    }

    /// A path in the node's folder.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// The log of a container in the folder `pods`. `pod` is `NAMESPACE_NAME_UID`.
    pub fn pod(&self, pod: &str) -> PodLog {
        PodLog::create(&self.path("pods"), pod)
    }

    /// Writes a configuration with this body behind the usual head. Relative paths are relative to the node's folder.
    pub fn configure(&self, body: &str) {
        self.write("weir.yaml", format!("{HEAD}{body}"));
    }

    /// Writes a file.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Events of a pipeline before a sink that the checkpoint names, on the disk or in an object store.
    pub fn durably_buffered(&self, pipeline: &str, sink: &str) -> u64 {
        let text = fs::read_to_string(self.path("data/checkpoint")).unwrap_or_default();
        let state: Value =
            text.split_once('\n').and_then(|(_, state)| serde_json::from_str(state).ok()).unwrap_or_default();
        let files = state["buffers"][sink].as_object().into_iter().flatten();
        files.filter_map(|(_, file)| file["accounts"][pipeline]["events"].as_u64()).sum()
    }

    /// Nothing can be written to the output `out.ndjson` from now on.
    pub fn break_output(&self) {
        self.link_output(Path::new("/dev/full"));
    }

    /// The output `out.ndjson` can be written again, behind what is in `real.ndjson`.
    pub fn heal_output(&self) {
        self.link_output(&self.path("real.ndjson"));
    }

    fn link_output(&self, to: &Path) {
        let output = self.path("out.ndjson");
        let _ = fs::remove_file(&output);
        symlink(to, &output).unwrap_or_else(|error| panic!("{}: {error}", output.display()));
    }

    /// The `weir` command with these arguments, run in the node's folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.prepared(Command::new(artefacts::weir()), arguments)
    }

    /// The same, for an agent to whom the modes of files and folders apply. They do not apply to root: there the
    /// capability to pass them by is taken away first.
    pub fn command_bound_by_modes(&self, arguments: &[&str]) -> Command {
        let probe = self.write("probe", "");
        fs::set_permissions(&probe, fs::Permissions::from_mode(0o000)).expect("a mode");
        if fs::read(&probe).is_err() {
            return self.command(arguments);
        }
        self.command_under(&["setpriv", "--bounding-set=-dac_override,-dac_read_search"], arguments)
    }

    /// The same, for an agent to whom a file that grows beyond its limit is an error like a full disk, not its end.
    pub fn command_under_file_limit(&self, arguments: &[&str]) -> Command {
        self.command_under(&["sh", "-c", r#"trap "" XFSZ; exec "$0" "$@""#], arguments)
    }

    /// The same, for an agent that may open only so many files.
    pub fn command_with_open_files(&self, files: u32, arguments: &[&str]) -> Command {
        self.command_under(&["sh", "-c", &format!(r#"ulimit -n {files}; exec "$0" "$@""#)], arguments)
    }

    fn command_under(&self, program: &[&str], arguments: &[&str]) -> Command {
        let (first, rest) = program.split_first().expect("a program");
        let mut command = Command::new(first);
        command.args(rest).arg(artefacts::weir());
        self.prepared(command, arguments)
    }

    fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).current_dir(self.folder.path()).env("WEIR_LOG_FORMAT", "text");
        for variable in ["WEIR_LOG", "NODE_NAME", "POD_NAME", "POD_NAMESPACE"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs a `weir` command to its end.
    pub fn weir(&self, arguments: &[&str]) -> Ended {
        Agent::spawn(self.command(arguments), &self.path("data")).wait()
    }

    /// `weir run --once` with the node's configuration.
    pub fn run_once(&self) -> Ended {
        self.weir(&["run", "-c", "weir.yaml", "--once"])
    }

    /// The same, which must end well.
    #[track_caller]
    pub fn run_once_well(&self) -> Ended {
        let ended = self.run_once();
        assert_eq!(ended.code, Some(0), "{ended}");
        ended
    }

    /// `weir run` with the node's configuration; returns when it is ready.
    pub fn start(&self) -> Agent {
        self.start_with(self.command(&["run", "-c", "weir.yaml"]))
    }

    /// Starts an agent with the node's data folder by this command; returns when it is ready.
    pub fn start_with(&self, command: Command) -> Agent {
        let agent = Agent::spawn(command, &self.path("data"));
        agent.wait_until_ready();
        agent
    }

    /// What `weir ledger` says.
    #[track_caller]
    pub fn ledger(&self) -> Ledger {
        self.ledger_of("weir.yaml")
    }

    /// The same with another configuration than the usual.
    #[track_caller]
    pub fn ledger_of(&self, config: &str) -> Ledger {
        let ended = self.weir(&["ledger", "-c", config, "--output", "json"]);
        assert_eq!(ended.code, Some(0), "{ended}");
        Ledger::parse(&ended.stdout)
    }
}

impl Default for Node {
    fn default() -> Node {
        Node::new()
    }
}
