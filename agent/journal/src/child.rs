//! The child process, and what it complains of.
//!
//! 1. Nothing here waits longer than it is told to, whatever the child does.
//! 2. A child does not outlive its [`Child`]: it is killed and reaped when that is dropped. Where the agent itself is
//!    killed, the pipe breaks, and `journalctl` ends at its next entry at the latest.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The environment's `PATH` where there is none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A child that was killed is waited for so long. One that hangs in the kernel is left to itself.
const REAP_PATIENCE: Duration = Duration::from_secs(1);
const REAP_INTERVAL: Duration = Duration::from_millis(2);
/// So much of a line of complaint is logged, in bytes.
const MAX_LINE_BYTES: usize = 512;
/// So many lines of complaint are logged in a minute.
const MAX_LINES: u32 = 10;
const LINES_INTERVAL: Duration = Duration::from_secs(60);
/// What is read of complaints at once, and after the child has ended, in bytes.
const COMPLAINT_BYTES: usize = 4_096;

/// A child process that writes to two pipes.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    output: ChildStdout,
    complaints: Option<ChildStderr>,
    is_reaped: bool,
}

/// What the children of a source write to their standard error: logged, so many lines a minute.
#[derive(Debug)]
pub(crate) struct Complaints {
    source: String,
    line: Vec<u8>,
    since: Instant,
    logged: u32,
    unlogged: u64,
    /// What the present child said.
    said: Said,
}

/// What a child's complaints were about, as far as it matters. There is no other way to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The cursor.
    pub cursor: bool,
    /// The option `--merge`.
    pub merge: bool,
}

// === impl Child ===

impl Child {
    /// Starts a child without input and with nothing but `PATH` and `LANG` in its environment.
    pub(crate) fn start(command: &Path, arguments: &[OsString]) -> io::Result<Child> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let mut process = Command::new(command)
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .env("LANG", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let complaints = process.stderr.take();
        let Some(output) = process.stdout.take() else {
            let _ = process.kill();
            return Err(io::Error::other("no pipe to its output"));
        };
        Ok(Child { process, output, complaints, is_reaped: false })
    }

    /// Waits until there is output or `timeout` has passed; reads complaints meanwhile. `true` where there is output,
    /// or its end.
    pub(crate) fn wait(&mut self, timeout: Duration, complaints: &mut Complaints) -> io::Result<bool> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        let mut watched = vec![PollFd::new(&self.output, PollFlags::IN)];
        watched.extend(self.complaints.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let mut has_something = watched.iter().map(|pipe| !pipe.revents().is_empty());
        let (has_output, has_complaint) =
            (has_something.next().unwrap_or(false), has_something.next().unwrap_or(false));
        if has_complaint {
            self.read_complaints(complaints);
        }
        Ok(has_output)
    }

    /// Reads output; 0 bytes are its end. Does not wait after [`Child::wait`] said that there is some.
    pub(crate) fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        self.output.read(block)
    }

    fn read_complaints(&mut self, complaints: &mut Complaints) {
        let mut block = [0; COMPLAINT_BYTES];
        let Some(pipe) = &mut self.complaints else { return };
        match pipe.read(&mut block) {
            Ok(count @ 1..) => complaints.take(block.get(..count).unwrap_or_default()),
            _ => self.complaints = None,
        }
    }

    /// Waits for its end after that of its output, kills it where it takes longer than `patience`, and reads what it
    /// still complains of. `None` where it had to be killed.
    pub(crate) fn end(mut self, patience: Duration, complaints: &mut Complaints) -> Option<ExitStatus> {
        let status = self.reap(patience);
        // A grandchild may hold the pipe open: what is not there by now is not waited for.
        let has_complaint = |pipe: &ChildStderr| {
            let mut watched = [PollFd::new(pipe, PollFlags::IN)];
            matches!(poll(&mut watched, Some(&Timespec::default())), Ok(1..))
        };
        if self.complaints.as_ref().is_some_and(has_complaint) {
            self.read_complaints(complaints);
        }
        complaints.end_line();
        status
    }

    fn reap(&mut self, patience: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => {
                    self.is_reaped = true;
                    return Some(status);
                }
                Ok(None) if start.elapsed() < patience => std::thread::park_timeout(REAP_INTERVAL),
                _ => return None,
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        let killed = self.process.kill();
        if self.reap(REAP_PATIENCE).is_none() {
            tracing::warn!(pid = self.process.id(), ?killed, "journalctl was killed and has not ended");
        }
    }
}

// === impl Complaints ===

impl Complaints {
    pub(crate) fn new(source: &str) -> Complaints {
        Complaints {
            source: source.to_owned(),
            line: Vec::new(),
            since: Instant::now(),
            logged: 0,
            unlogged: 0,
            said: Said::default(),
        }
    }

    /// What the child said since the last call.
    pub(crate) fn said(&mut self) -> Said {
        std::mem::take(&mut self.said)
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend(piece.iter().take(room).filter(|byte| **byte != b'\n'));
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return;
        }
        let line = String::from_utf8_lossy(&line);
        self.said.cursor |= line.contains("cursor");
        self.said.merge |= line.contains("--merge");
        if self.since.elapsed() >= LINES_INTERVAL {
            if self.unlogged > 0 {
                tracing::warn!(source = self.source, lines = self.unlogged, "journalctl said more");
            }
            (self.since, self.logged, self.unlogged) = (Instant::now(), 0, 0);
        }
        if self.logged >= MAX_LINES {
            self.unlogged += 1;
            return;
        }
        self.logged += 1;
        tracing::warn!(source = self.source, said = %line.escape_debug(), "journalctl complains");
    }
}
