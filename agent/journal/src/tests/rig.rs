//! A program in the place of `journalctl` that says what it is told to, and an outlet that collects.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weir_buffer::ack::Ack;
use weir_event::batch::{ArenaPool, Batch, Flags, MAX_BATCH_BYTES};
use weir_event::identity::EventId;
use weir_event::stream::Attributes;
use weir_pipeline::checkpoint::{AckQueue, Checkpoints, FilePosition, Progress};
use weir_pipeline::source::{Mode, Outlet, Source, SourceContext, SourceMetrics, Stop, Stopped};

use crate::outgoing::JOURNAL;
use crate::pause::Pace;
use crate::{Journal, JournalSettings};

const SOURCE: &str = "node";
/// It finds in the folder that it is told to read what it is to do the how-many-th time it is called: what to write,
/// and with which code to end. Without a code it goes on as if it waited for entries.
const PROGRAM: &str = r#"#!/bin/sh
for argument in "$@"; do
    case "$argument" in --directory=*) folder="${argument#--directory=}" ;; esac
done
echo $$ >> "$folder/processes"
env > "$folder/environment"
echo "$*" >> "$folder/calls"
call=$(wc -l < "$folder/calls")
[ -f "$folder/$call.err" ] && cat "$folder/$call.err" >&2
[ -f "$folder/$call.out" ] && cat "$folder/$call.out"
[ -f "$folder/$call.flood" ] && while :; do cat "$folder/$call.out"; done
[ -f "$folder/$call.shut" ] && exec sleep 600 >&-
[ -f "$folder/$call.code" ] && exit "$(cat "$folder/$call.code")"
exec sleep 600
"#;
const PATIENCE: Duration = Duration::from_secs(60);

/// Written once, before any process is started: one that was started meanwhile would hold it open for writing, and
/// nobody could execute it.
fn program() -> &'static Path {
    static PLACE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = PLACE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journalctl");
        fs::write(&path, PROGRAM).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (folder, path)
    });
    path
}

/// One event that came out.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub id: EventId,
    pub offset: u64,
    pub content: String,
    pub time: i64,
    pub flags: Flags,
    pub attributes: Attributes,
}

#[derive(Default)]
struct Collected {
    events: Vec<Event>,
    batches: usize,
    acks: Vec<Ack>,
}

#[derive(Clone)]
struct Collector {
    collected: Arc<Mutex<Collected>>,
    queue: Arc<AckQueue>,
    ready: Arc<AtomicBool>,
}

impl Outlet for Collector {
    fn send(&mut self, batch: Batch, progress: Vec<Progress>) -> Result<(), Stopped> {
        assert!(batch.bytes().len() <= MAX_BATCH_BYTES || batch.rows().len() == 1);
        let event = |row: &weir_event::batch::Row| {
            let stream = &batch.streams()[row.stream as usize];
            Event {
                id: EventId::new(stream.incarnation(), row.offset, batch.raw(row)),
                offset: row.offset,
                content: String::from_utf8(batch.content(row).to_vec()).unwrap(),
                time: row.time,
                flags: row.flags,
                attributes: stream.attributes().clone(),
            }
        };
        let mut collected = self.collected.lock().unwrap();
        collected.events.extend(batch.rows().iter().map(event));
        collected.batches += 1;
        collected.acks.push(Ack::new(self.queue.sent(progress), self.queue.clone()));
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn lost(&mut self, _: &'static str, _: u64, _: Vec<Progress>) {
        unreachable!("of a journal nobody knows what is lost");
    }

    fn outstanding(&self) -> usize {
        self.queue.outstanding()
    }

    fn under_way(&self) -> Vec<Progress> {
        self.queue.under_way()
    }
}

pub(super) struct Rig {
    data: TempDir,
    /// The journal's folder, or what stands for it.
    pub folder: TempDir,
    pub settings: JournalSettings,
    pub metrics: Arc<SourceMetrics>,
    pub checkpoints: Arc<Checkpoints>,
    collected: Arc<Mutex<Collected>>,
    queue: Arc<AckQueue>,
    ready: Arc<AtomicBool>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    pub(super) fn new() -> Rig {
        let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let checkpoints = Arc::new(Checkpoints::open(data.path()).unwrap());
        Rig {
            settings: JournalSettings {
                command: program().to_owned(),
                directory: Some(folder.path().to_owned()),
                linger: Duration::from_millis(10),
                ..JournalSettings::default()
            },
            data,
            folder,
            metrics: Arc::default(),
            collected: Arc::default(),
            queue: AckQueue::new(SOURCE, checkpoints.clone()),
            checkpoints,
            ready: Arc::new(AtomicBool::new(true)),
            stop: Stop::default(),
            thread: None,
        }
    }

    /// What the program does the how-many-th time it is called.
    pub(super) fn plays(self, call: usize, play: Play<'_>) -> Rig {
        let write = |kind: &str, bytes: &[u8]| {
            fs::write(self.folder.path().join(format!("{call}.{kind}")), bytes).unwrap();
        };
        write("out", play.output);
        write("err", play.complaint.as_bytes());
        match play.then {
            Then::Wait => {}
            Then::Flood => write("flood", b""),
            Then::Shut => write("shut", b""),
        }
        if let Some(code) = play.code {
            write("code", code.to_string().as_bytes());
        }
        self
    }

    // === running ===

    pub(super) fn start(&mut self, mode: Mode) {
        let pace = Pace {
            first: Duration::from_millis(10),
            longest: Duration::from_millis(100),
            missing: Duration::from_millis(20),
        };
        self.stop = Stop::default();
        let context = SourceContext {
            name: SOURCE.into(),
            cluster: "dev".into(),
            node: "node-1".into(),
            mode,
            outlet: Box::new(Collector {
                collected: self.collected.clone(),
                queue: self.queue.clone(),
                ready: self.ready.clone(),
            }),
            arenas: ArenaPool::new(),
            checkpoints: self.checkpoints.clone(),
            stop: self.stop.clone(),
            metrics: self.metrics.clone(),
        };
        let source = Journal::new(self.settings.clone()).unwrap().with_pace(pace);
        self.thread = Some(std::thread::spawn(move || Box::new(source).run(context)));
    }

    /// Reads what is there and ends.
    pub(super) fn once(&mut self) {
        self.start(Mode::Once);
        self.thread.take().unwrap().join().unwrap();
    }

    /// Follows until so many events came, and stops.
    pub(super) fn follow(&mut self, events: usize) {
        self.start(Mode::Follow);
        self.wait_for(events);
        self.stop();
    }

    /// Stops the source; how long that took.
    pub(super) fn stop(&mut self) -> Duration {
        let start = Instant::now();
        self.stop.stop();
        let thread = self.thread.take().unwrap();
        thread.thread().unpark();
        thread.join().unwrap();
        start.elapsed()
    }

    pub(super) fn wait_for(&self, events: usize) {
        self.wait_until(|rig| rig.collected.lock().unwrap().events.len() >= events);
    }

    pub(super) fn wait_until(&self, holds: impl Fn(&Rig) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < PATIENCE, "it never came; calls: {:?}", self.calls());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Makes everything safe that was sent.
    pub(super) fn release_all(&self) {
        let acks = std::mem::take(&mut self.collected.lock().unwrap().acks);
        acks.into_iter().for_each(Ack::release);
    }

    /// Ends as a killed process does once the checkpoints were written; what was not acked is not safe.
    pub(super) fn kill(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
        self.checkpoints.save().unwrap();
        *self.collected.lock().unwrap() = Collected::default();
        self.checkpoints = Arc::new(Checkpoints::open(self.data.path()).unwrap());
        self.queue = AckQueue::new(SOURCE, self.checkpoints.clone());
    }

    // === what came of it ===

    pub(super) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.collected.lock().unwrap().events)
    }

    /// The messages of the events so far.
    pub(super) fn messages(&self) -> Vec<String> {
        self.take().iter().map(message).collect()
    }

    pub(super) fn batches(&self) -> usize {
        self.collected.lock().unwrap().batches
    }

    pub(super) fn position(&self) -> Option<FilePosition> {
        self.checkpoints.positions(SOURCE).remove(JOURNAL)
    }

    /// Makes this the checkpoint.
    pub(super) fn set_cursor(&self, cursor: &str) {
        let position = FilePosition { path: cursor.to_owned(), ..FilePosition::default() };
        let file = JOURNAL.to_owned();
        let registration = weir_pipeline::checkpoint::Registration { file, position, goes_on: None };
        self.checkpoints.register(SOURCE, vec![registration]).unwrap();
    }

    /// The arguments of each call, without those that are the same in all.
    pub(super) fn calls(&self) -> Vec<String> {
        let calls = self.read("calls");
        let folder = format!(" --directory={}", self.folder.path().display());
        let shared = "--output=export --no-pager --quiet ";
        calls.lines().map(|line| line.replace(&folder, "").replace(shared, "")).collect()
    }

    /// A file that the program left.
    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// The process of the first call.
    pub(super) fn process(&self) -> u32 {
        self.wait_until(|rig| rig.read("processes").contains('\n'));
        self.read("processes").lines().next().unwrap().parse().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the program does in one call.
#[derive(Clone, Copy, Default)]
pub(super) struct Play<'a> {
    pub output: &'a [u8],
    pub complaint: &'a str,
    /// Ends with this code.
    pub code: Option<u8>,
    /// Where it does not end.
    pub then: Then,
}

#[derive(Clone, Copy, Default)]
pub(super) enum Then {
    /// It waits, as if for entries.
    #[default]
    Wait,
    /// It writes its output again and again.
    Flood,
    /// It waits with its output closed.
    Shut,
}

pub(super) fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub(super) fn message(event: &Event) -> String {
    let from = event.content.split_once("\"message\":\"").map_or("", |(_, rest)| rest);
    from.split_once('"').map_or("", |(message, _)| message).to_owned()
}

/// Whether there is a process with this number, also one that has ended and was not reaped.
pub(super) fn is_there(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).try_exists().unwrap()
}

/// The cursor of an entry of a sequence.
pub(super) fn cursor_in(sequence: &str, number: u64) -> String {
    format!("s={sequence};i={number:x};b=b0;m={number:x};t={:x};x={number:x}", 1_700_000_000_000_000 + number)
}

pub(super) fn cursor(number: u64) -> String {
    cursor_in("5e", number)
}

/// An entry in the export format, with a cursor and this message.
pub(super) fn entry_in(sequence: &str, number: u64, message: &str) -> Vec<u8> {
    let cursor = cursor_in(sequence, number);
    let time = 1_700_000_000_000_000 + number;
    format!("__CURSOR={cursor}\n__REALTIME_TIMESTAMP={time}\nMESSAGE={message}\n\n").into_bytes()
}

/// Entries with these numbers, whose messages are `m` and the number.
pub(super) fn entries(numbers: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    numbers.flat_map(|number| entry_in("5e", number, &format!("m{number}"))).collect()
}
