//! Other people's clients of the sources that are pushed to, installed when the first test needs them by the tool that
//! people use: `cargo xtask clients`. The programs that send with them are in `integration-tests/clients`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::{checkout, servers};

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Where the clients are.
#[derive(Debug)]
pub struct Clients {
    python: PathBuf,
    node_modules: PathBuf,
    fluent_go: PathBuf,
}

/// A client that is to send. The heads of the programs say which options there are; those of all are `count` and
/// `client`, the name by which its events are known.
#[derive(Debug)]
pub struct Client {
    command: Command,
    /// What options begin with.
    dashes: &'static str,
}

/// A client that sends. It is killed when it is dropped.
#[derive(Debug)]
pub struct Sending {
    child: Child,
    what: String,
    output: NamedTempFile,
    is_reaped: bool,
}

/// A client that has ended.
#[derive(Clone, Debug)]
pub struct Gone {
    what: String,
    status: ExitStatus,
    /// What it printed.
    pub output: String,
}

// === impl Clients ===

impl Clients {
    /// Those that all tests share; the first to ask for them waits until they are installed.
    pub fn shared() -> &'static Clients {
        static SHARED: OnceLock<Clients> = OnceLock::new();
        SHARED.get_or_init(|| {
            let mut command = servers::xtask();
            command.arg("clients");
            let shown = servers::ask(command);
            let path = |name: &str| PathBuf::from(shown[name].as_str().expect("a path"));
            Clients {
                python: path("python"),
                node_modules: path("node_modules"),
                fluent_go: path("fluent_go"),
            }
        })
    }

    /// Fluentd's logger for Python.
    pub fn fluent_python(&self, to: SocketAddr) -> Client {
        self.python("fluent_logger.py", to)
    }

    /// A logger of Fluent Forward for Node.
    pub fn fluent_node(&self, to: SocketAddr) -> Client {
        self.node("fluent.mjs", to)
    }

    /// Fluentd's logger for Go.
    pub fn fluent_go(&self, to: SocketAddr) -> Client {
        Client::new(Command::new(&self.fluent_go), "-", to)
    }

    /// The OpenTelemetry SDK for Python.
    pub fn otlp_python(&self, to: SocketAddr) -> Client {
        self.python("otlp.py", to)
    }

    /// The OpenTelemetry SDK for Node.
    pub fn otlp_node(&self, to: SocketAddr) -> Client {
        self.node("otlp.mjs", to)
    }

    fn python(&self, script: &str, to: SocketAddr) -> Client {
        let mut command = Command::new(&self.python);
        // No file of compiled code in the checkout.
        command.arg("-B").arg(program(script));
        Client::new(command, "--", to)
    }

    fn node(&self, script: &str, to: SocketAddr) -> Client {
        let mut command = Command::new("node");
        command.arg(program(script)).env("NODE_PATH", &self.node_modules);
        Client::new(command, "--", to)
    }
}

fn program(name: &str) -> PathBuf {
    checkout().join("integration-tests/clients").join(name)
}

// === impl Client ===

impl Client {
    fn new(mut command: Command, dashes: &'static str, to: SocketAddr) -> Client {
        // What a person set for all SDKs, proxies, and authorities that go before those that are given, are not meant here.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let is_proxy = name.to_lowercase().ends_with("_proxy");
            if is_proxy || name.starts_with("OTEL_") || name.ends_with("_CA_BUNDLE") {
                command.env_remove(name);
            }
        }
        let client = Client { command, dashes };
        client.with("host", to.ip()).with("port", to.port())
    }

    /// The same with an option.
    pub fn with(mut self, option: &str, value: impl fmt::Display) -> Client {
        self.command.arg(format!("{}{option}", self.dashes)).arg(value.to_string());
        self
    }

    /// The same with an option that names a file.
    pub fn with_file(self, option: &str, file: &Path) -> Client {
        self.with(option, file.display())
    }

    /// Begins to send.
    pub fn start(mut self) -> Sending {
        let output = NamedTempFile::new().expect("a file for the output");
        let file = || output.reopen().expect("the same file");
        self.command.stdin(Stdio::null()).stdout(file()).stderr(file());
        let what = format!("{:?}", self.command);
        let child = self.command.spawn().unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
        Sending { child, what, output, is_reaped: false }
    }

    /// Sends all, which must take less than `limit`.
    #[track_caller]
    pub fn run(self, limit: Duration) -> Gone {
        self.start().wait(limit)
    }
}

// === impl Sending ===

impl Sending {
    /// Whether it has something left to do.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_none()
    }

    /// Waits for its end, which must come within `limit`.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Gone {
        let end = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                break status;
            }
            let seconds = limit.as_secs();
            assert!(Instant::now() < end, "{} did not end within {seconds} s:\n{}", self.what, self.said());
            thread::sleep(LOOK_EVERY);
        };
        self.is_reaped = true;
        Gone { what: self.what.clone(), status, output: self.said() }
    }

    fn said(&self) -> String {
        let bytes = std::fs::read(self.output.path()).expect("what it printed");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = self.child.kill();
            let _ = self.child.wait();
            if thread::panicking() {
                eprintln!("{} said:\n{}", self.what, self.said());
            }
        }
    }
}

// === impl Gone ===

impl Gone {
    /// Whether it says that all was taken.
    pub fn is_content(&self) -> bool {
        self.status.success()
    }

    /// Fails unless it says that all was taken.
    #[track_caller]
    pub fn expect_content(&self) {
        assert!(self.is_content(), "{self}");
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ended with {}:\n{}", self.what, self.status, self.output)
    }
}
