//! The source: runs `journalctl`, again and again where it must, and reads what it writes.
//!
//! 1. Every child begins where the last one stopped: with the entry that was read last, which is read once more to see
//!    that the journal still has it.
//! 2. A batch says with its cursor how far it brings the journal; that cursor is the checkpoint, in
//!    [`FilePosition::path`] under the key `journal`. Before the first event leaves only the time from which
//!    [`ReadFrom::End`] counts must be known for certain.
//! 3. Whatever happens to a child is counted, said and tried again after a pause; it ends nothing.
//! 4. No child outlives the source.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weir_event::stream::Attributes;
use weir_pipeline::checkpoint::{Checkpoints, FilePosition, Registration};
use weir_pipeline::source::{Mode, Source, SourceContext, SourceMetrics, Stop, Stopped};

use crate::child::{Child, Complaints};
use crate::command::{Call, Start, arguments};
use crate::cursor::Cursor;
use crate::outgoing::{JOURNAL, Outgoing};
use crate::pause::{Pace, Pause};
use crate::reader::{Flow, Reader};
use crate::selection::Selection;
use crate::settings::{JournalSettings, ReadFrom, SettingsError};

mod ending;

/// So often a source must look whether it is to stop.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// A pipe holds no more by default, in bytes.
const BLOCK_BYTES: usize = 64 * 1024;
/// A journal without any entry is strange after so long.
const EMPTY_PATIENCE: Duration = Duration::from_secs(30);
/// In [`Mode::Once`] the journal is given up after so many failures.
const MAX_FAILURES_ONCE: u32 = 3;
const NS_PER_SECOND: i64 = 1_000_000_000;

/// The source `journald`: the node's journal.
#[derive(Clone, Debug)]
pub struct Journal {
    settings: JournalSettings,
    pace: Pace,
}

struct Engine {
    settings: JournalSettings,
    source: Arc<str>,
    mode: Mode,
    checkpoints: Arc<Checkpoints>,
    stop: Stop,
    metrics: Arc<SourceMetrics>,
    reader: Reader,
    complaints: Complaints,
    pause: Pause,
    pace: Pace,
    /// Where the next child begins while there is no cursor.
    start: Start,
    merges: bool,
    /// Whether it was said that there is no `journalctl`.
    said_missing: bool,
    /// Whether it was said that the journal seems to be empty.
    said_empty: bool,
    block: Vec<u8>,
}

/// What is to be done after a child.
#[derive(Debug)]
enum Next {
    /// Nothing: all is read.
    Done,
    /// Another one, after this long.
    After(Duration),
}

/// How reading from a child ended.
enum Ended {
    Output,
    Failed(io::Error),
    StartOver,
}

// === impl Journal ===

impl Journal {
    /// A source with these settings.
    pub fn new(settings: JournalSettings) -> Result<Journal, SettingsError> {
        settings.check()?;
        Ok(Journal { settings, pace: Pace::default() })
    }

    #[cfg(test)]
    pub(crate) fn with_pace(self, pace: Pace) -> Journal {
        Journal { pace, ..self }
    }
}

impl Source for Journal {
    fn run(self: Box<Self>, context: SourceContext) {
        let Journal { settings, pace } = *self;
        let stop = context.stop.clone();
        let mut engine = Engine::new(settings, pace, context);
        if engine.begin().is_err() {
            return;
        }
        while !stop.is_stopped() {
            match engine.run_child() {
                Ok(Next::Done) | Err(Stopped) => break,
                Ok(Next::After(pause)) => engine.wait(pause),
            }
        }
        engine.reader.outgoing.end();
    }
}

// === impl Engine ===

impl Engine {
    fn new(settings: JournalSettings, pace: Pace, context: SourceContext) -> Engine {
        let SourceContext { name, cluster, node, mode, outlet, arenas, checkpoints, stop, metrics } = context;
        // A source of the same name may have been stopped just now, with batches under way.
        let known = checkpoints.positions_behind(&name, outlet.under_way()).remove(JOURNAL);
        let attributes = Attributes {
            source: name.as_ref().to_owned(),
            cluster: cluster.as_ref().to_owned(),
            node: node.as_ref().to_owned(),
            ..Attributes::default()
        };
        let mut outgoing = Outgoing::new(outlet, arenas, attributes, stop.clone(), Arc::clone(&metrics));
        let start = match &known {
            Some(position) if position.path.is_empty() => Start::Since(position.first_seen / NS_PER_SECOND),
            _ => Start::Oldest,
        };
        if let Some(position) = known {
            outgoing.resume(position);
        }
        let reader =
            Reader::new(Arc::clone(&name), Selection::new(&settings), outgoing, Arc::clone(&metrics));
        Engine {
            settings,
            complaints: Complaints::new(&name),
            source: name,
            mode,
            checkpoints,
            stop,
            metrics,
            reader,
            pause: Pause::new(pace),
            pace,
            start,
            merges: true,
            said_missing: false,
            said_empty: false,
            block: vec![0; BLOCK_BYTES],
        }
    }

    /// Sees to it that the time is known, also after a crash, from which entries are read.
    fn begin(&mut self) -> Result<(), Stopped> {
        let is_first = self.start == Start::Oldest && self.reader.outgoing.cursor().is_none();
        if !is_first || self.settings.read_from == ReadFrom::Beginning {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first_seen = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        let position = FilePosition { first_seen, ..FilePosition::default() };
        self.start = Start::Since(first_seen / NS_PER_SECOND);
        self.reader.outgoing.resume(position.clone());
        loop {
            let registration =
                Registration { file: JOURNAL.to_owned(), position: position.clone(), goes_on: None };
            let Err(error) = self.checkpoints.register(&self.source, vec![registration]) else {
                self.pause.reset();
                return Ok(());
            };
            self.count_error();
            tracing::warn!(source = &*self.source, %error, "cannot note where the journal begins, will try again");
            let pause = self.pause.after_failure();
            if self.mode == Mode::Once && self.pause.failures() >= MAX_FAILURES_ONCE {
                return Err(Stopped);
            }
            self.wait(pause);
            if self.stop.is_stopped() {
                return Err(Stopped);
            }
        }
    }

    /// Runs a child up to its end.
    fn run_child(&mut self) -> Result<Next, Stopped> {
        let start = self.next_start();
        let cursor = match &start {
            Start::Cursor(cursor) => Some(cursor.clone()),
            _ => None,
        };
        let call = Call { start, mode: self.mode, merges: self.merges };
        let mut child = match Child::start(&self.settings.command, &arguments(&self.settings, &call)) {
            Ok(child) => child,
            Err(error) => return Ok(self.cannot_start(&error)),
        };
        self.said_missing = false;
        self.reader.begin(cursor);
        self.complaints.said();
        let started = Instant::now();
        self.metrics.files.store(1, Ordering::Relaxed);
        let ended = self.read(&mut child, started);
        self.metrics.files.store(0, Ordering::Relaxed);
        let ended = ended?;
        if started.elapsed() >= self.pace.longest {
            self.pause.reset();
        }
        let next = self.after_child(child, ended);
        // Nothing waits through a pause.
        self.reader.outgoing.send()?;
        Ok(next)
    }

    /// Where the next child begins.
    fn next_start(&mut self) -> Start {
        let Some(cursor) = self.reader.outgoing.cursor() else { return self.start.clone() };
        if Cursor::parse(cursor.as_bytes()).is_some() {
            return Start::Cursor(cursor.to_owned());
        }
        self.start_over();
        Start::Oldest
    }

    /// Reads until there is nothing more, sends what is due.
    fn read(&mut self, child: &mut Child, started: Instant) -> Result<Ended, Stopped> {
        loop {
            if self.stop.is_stopped() {
                return Err(Stopped);
            }
            let due = self.reader.outgoing.due_in(self.settings.linger);
            if due == Some(Duration::ZERO) {
                self.reader.outgoing.send()?;
                continue;
            }
            let wait = due.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
            match child.wait(wait, &mut self.complaints) {
                Ok(true) => {}
                Ok(false) => {
                    self.look_whether_empty(started);
                    continue;
                }
                Err(error) => return Ok(Ended::Failed(error)),
            }
            let count = match child.read(&mut self.block) {
                Ok(0) => return Ok(Ended::Output),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Ended::Failed(error)),
            };
            if self.reader.take(self.block.get(..count).unwrap_or_default())? == Flow::StartOver {
                return Ok(Ended::StartOver);
            }
        }
    }

    /// Where the journal's folder is not mounted, `journalctl` waits for it without a word.
    fn look_whether_empty(&mut self, started: Instant) {
        let is_read_whole = self.start == Start::Oldest && self.reader.outgoing.cursor().is_none();
        if !self.said_empty && is_read_whole && started.elapsed() >= EMPTY_PATIENCE {
            self.said_empty = true;
            tracing::warn!(
                source = &*self.source,
                "the journal has no entry of those that are selected; see whether its folder, /var/log/journal or \
                 /run/log/journal, is mounted and whether the agent may read it"
            );
        }
    }

    /// Waits, or until the source is to stop. Who stops it wakes it.
    fn wait(&self, pause: Duration) {
        let start = Instant::now();
        while !self.stop.is_stopped()
            && let Some(left) = pause.checked_sub(start.elapsed()).filter(|left| !left.is_zero())
        {
            std::thread::park_timeout(left.min(LONGEST_WAIT));
        }
    }

    fn count_error(&self) {
        self.metrics.errors.fetch_add(1, Ordering::Relaxed);
    }
}
