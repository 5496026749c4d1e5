//! The agent as a process.

use std::fmt;
use std::fs::{self, File};
use std::io::{PipeReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::NamedTempFile;

use crate::admin::Admin;
use crate::wait::until_some;

/// No command takes longer, whatever is wrong: a drain has 20 s.
const LONGEST_RUN: Duration = Duration::from_secs(40);

/// An agent that runs. It is killed when it is dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    started: Instant,
    stdout: NamedTempFile,
    log: NamedTempFile,
    data_dir: PathBuf,
    is_reaped: bool,
    /// What nobody reads, kept open.
    _unread: Option<PipeReader>,
}

/// An agent, or another command, that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it printed to standard output, unless a test took that.
    pub stdout: String,
    /// What it printed to standard error: its log.
    pub log: String,
    /// How long it ran.
    pub wall: Duration,
    /// CPU time that it used, without its children.
    pub cpu: Duration,
}

// === impl Agent ===

impl Agent {
    /// Starts a command. Standard output goes to a file unless the command says otherwise.
    pub fn spawn(mut command: Command, data_dir: &Path) -> Agent {
        let stdout = NamedTempFile::new().expect("a file for the output");
        command.stdout(stdout.reopen().expect("the same file"));
        Agent::spawn_with_stdout(command, stdout, data_dir)
    }

    /// Starts a command whose standard output the test takes itself, or not.
    pub fn spawn_piped(mut command: Command, data_dir: &Path) -> (Agent, ChildStdout) {
        command.stdout(Stdio::piped());
        let stdout = NamedTempFile::new().expect("a file");
        let mut agent = Agent::spawn_with_stdout(command, stdout, data_dir);
        let piped = agent.child.stdout.take().expect("a pipe");
        (agent, piped)
    }

    /// Starts a command whose standard error is a full pipe that nobody reads.
    pub fn spawn_unread(mut command: Command, data_dir: &Path) -> Agent {
        let stdout = NamedTempFile::new().expect("a file for the output");
        command.stdout(stdout.reopen().expect("the same file"));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut filler = writer.try_clone().expect("the same pipe");
        // It fills the pipe and then waits, until the reader goes.
        thread::spawn(move || while filler.write_all(b".").is_ok() {});
        let log = NamedTempFile::new().expect("a file for the log");
        Agent::spawn_with(command, writer.into(), stdout, log, data_dir, Some(reader))
    }

    fn spawn_with_stdout(command: Command, stdout: NamedTempFile, data_dir: &Path) -> Agent {
        let log = NamedTempFile::new().expect("a file for the log");
        let stderr = log.reopen().expect("the same file").into();
        Agent::spawn_with(command, stderr, stdout, log, data_dir, None)
    }

    fn spawn_with(
        mut command: Command,
        stderr: Stdio,
        stdout: NamedTempFile,
        log: NamedTempFile,
        data_dir: &Path,
        unread: Option<PipeReader>,
    ) -> Agent {
        command.stdin(Stdio::null()).stderr(stderr);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let (started, data_dir) = (Instant::now(), data_dir.to_owned());
        Agent { child, started, stdout, log, data_dir, is_reaped: false, _unread: unread }
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Where it answers.
    pub fn admin(&self) -> Admin {
        Admin::find(&self.data_dir, self.child.id()).expect("an admin address")
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        read(self.log.path())
    }

    /// Waits until its sources run.
    pub fn wait_until_ready(&self) {
        until_some("the agent is ready", || {
            assert!(!self.has_ended(), "it ended:\n{}", self.log());
            let admin = Admin::find(&self.data_dir, self.child.id())?;
            (admin.get("/readyz").status == 200).then_some(())
        });
    }

    /// It is not waited for: its numbers stay there.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        waitid(WaitId::Pid(self.pid()), options).expect("a child to wait for").is_some()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a process to signal");
    }

    /// Asks it to stop, and waits for its end.
    pub fn terminate(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends it without warning.
    pub fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// CPU time that it used so far, without its children.
    pub fn cpu(&self) -> Duration {
        cpu_time(self.child.id())
    }

    /// Memory that it has now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its numbers");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let end = Instant::now() + LONGEST_RUN;
        while !self.has_ended() {
            assert!(Instant::now() < end, "it did not end within {} s", LONGEST_RUN.as_secs());
            thread::sleep(Duration::from_millis(2));
        }
        let (wall, cpu) = (self.started.elapsed(), self.cpu());
        let status = self.child.wait().expect("its exit status");
        self.is_reaped = true;
        let (stdout, log) = (read(self.stdout.path()), self.log());
        Ended { code: status.code(), signal: status.signal(), stdout, log, wall, cpu }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
    }
}

// === impl Ended ===

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ended { code, signal, stdout, log, wall, cpu } = self;
        writeln!(f, "code {code:?}, signal {signal:?}, after {wall:?}, {cpu:?} of CPU time")?;
        write!(f, "standard output:\n{stdout}\nstandard error:\n{log}")
    }
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).expect("what was printed");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Fields 14 and 15 of /proc/PID/stat, in hundredths of a second on every Linux.
fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process's numbers");
    let behind_name = stat.rsplit_once(") ").expect("a name in parentheses").1;
    let ticks = behind_name.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
