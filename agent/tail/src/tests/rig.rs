//! A folder of files, an engine that is driven step by step under a clock of its own, and an outlet that collects.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use weir_buffer::ack::Ack;
use weir_event::batch::{ArenaPool, Batch, Flags, MAX_BATCH_BYTES, MAX_ROWS};
use weir_event::identity::EventId;
use weir_event::stream::Attributes;
use weir_pipeline::checkpoint::{AckQueue, Checkpoints, FilePosition, Progress};
use weir_pipeline::source::{Mode, Outlet, SourceContext, SourceMetrics, Stop, Stopped};

use crate::engine::{Engine, Options, Step};
use crate::layout::Layout;
use crate::now::Now;
use crate::settings::{FilesSettings, Format, KubernetesLogsSettings, Multiline, OwnPod, ReadFrom};
use crate::watch::Watch;
use crate::{Files, KubernetesLogs};

pub(super) const SOURCE: &str = "apps";
/// The container that most tests write to, below the rig's folder.
pub(super) const CONTAINER: &str = "shop_cart-1_uid-1/main";

/// One event that came out.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub id: EventId,
    pub offset: u64,
    pub content: Vec<u8>,
    pub raw: Vec<u8>,
    pub time: i64,
    pub flags: Flags,
    pub attributes: Attributes,
}

impl Event {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

#[derive(Default)]
pub(super) struct Collected {
    pub events: Vec<Event>,
    /// Number of rows and bytes of each batch.
    pub batches: Vec<(usize, usize)>,
    /// Reason and bytes of what can never be read.
    pub lost: Vec<(&'static str, u64)>,
    /// What is not safe yet.
    acks: Vec<(Ack, Vec<Event>)>,
    /// What is.
    delivered: Vec<Event>,
}

/// Collects what comes, and keeps the acks.
#[derive(Clone)]
struct Collector {
    collected: Arc<Mutex<Collected>>,
    queue: Arc<AckQueue>,
    ready: Arc<AtomicBool>,
}

impl Outlet for Collector {
    fn send(&mut self, batch: Batch, progress: Vec<Progress>) -> Result<(), Stopped> {
        let mut collected = self.collected.lock().unwrap();
        assert!(batch.rows().len() <= MAX_ROWS);
        let event = |row: &weir_event::batch::Row| {
            let stream = &batch.streams()[row.stream as usize];
            let raw = batch.raw(row).to_vec();
            Event {
                id: EventId::new(stream.incarnation(), row.offset, &raw),
                offset: row.offset,
                content: batch.content(row).to_vec(),
                raw,
                time: row.time,
                flags: row.flags,
                attributes: stream.attributes().clone(),
            }
        };
        let events: Vec<Event> = batch.rows().iter().map(event).collect();
        assert!(batch.bytes().len() <= MAX_BATCH_BYTES + 128 * 1024 || events.len() <= 1);
        collected.batches.push((events.len(), batch.bytes().len()));
        collected.events.extend(events.iter().cloned());
        let ack = Ack::new(self.queue.sent(progress), self.queue.clone());
        collected.acks.push((ack, events));
        Ok(())
    }

    fn lost(&mut self, reason: &'static str, bytes: u64, progress: Vec<Progress>) {
        let mut collected = self.collected.lock().unwrap();
        collected.lost.push((reason, bytes));
        let ack = Ack::new(self.queue.sent(progress), self.queue.clone());
        collected.acks.push((ack, Vec::new()));
    }

    fn outstanding(&self) -> usize {
        self.queue.outstanding()
    }

    fn under_way(&self) -> Vec<Progress> {
        self.queue.under_way()
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

pub(super) enum Kind {
    Kubernetes(KubernetesLogsSettings),
    Files(FilesSettings),
}

pub(super) struct Rig {
    data: TempDir,
    logs: TempDir,
    pub kind: Kind,
    pub collected: Arc<Mutex<Collected>>,
    pub metrics: Arc<SourceMetrics>,
    pub checkpoints: Arc<Checkpoints>,
    ready: Arc<AtomicBool>,
    stop: Stop,
    pub engine: Option<Engine>,
    elapsed: Duration,
    /// How long the engines before ran.
    before: Duration,
    queue: Arc<AckQueue>,
}

const LINGER: Duration = Duration::from_millis(200);

impl Rig {
    pub(super) fn kubernetes() -> Rig {
        Rig::new(|logs| {
            Kind::Kubernetes(KubernetesLogsSettings {
                path: logs.to_owned(),
                exclude_namespaces: Vec::new(),
                exclude_pods: Vec::new(),
                own_pod: Some(OwnPod { namespace: "weir".into(), name: "agent".into() }),
                read_from: ReadFrom::Beginning,
                linger: LINGER,
                max_held_bytes: u64::MAX,
                max_held_age: Duration::MAX,
                multiline: None,
            })
        })
    }

    /// The patterns count from the rig's folder.
    pub(super) fn files(include: &[&str], format: Format) -> Rig {
        Rig::new(|logs| {
            let include = include.iter().map(|pattern| format!("{}/{pattern}", logs.display())).collect();
            let (exclude, read_from) = (Vec::new(), ReadFrom::Beginning);
            Kind::Files(FilesSettings {
                include,
                exclude,
                format,
                read_from,
                linger: LINGER,
                max_held_bytes: u64::MAX,
                max_held_age: Duration::MAX,
                multiline: None,
            })
        })
    }

    fn new(kind: impl FnOnce(&Path) -> Kind) -> Rig {
        let (data, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let checkpoints = Arc::new(Checkpoints::open(data.path()).unwrap());
        Rig {
            kind: kind(logs.path()),
            queue: AckQueue::new(SOURCE, checkpoints.clone()),
            checkpoints,
            data,
            logs,
            collected: Arc::default(),
            metrics: Arc::default(),
            ready: Arc::new(AtomicBool::new(true)),
            stop: Stop::default(),
            engine: None,
            elapsed: Duration::ZERO,
            before: Duration::ZERO,
        }
    }

    pub(super) fn multiline(mut self, multiline: Multiline) -> Rig {
        match &mut self.kind {
            Kind::Kubernetes(settings) => settings.multiline = Some(multiline),
            Kind::Files(settings) => settings.multiline = Some(multiline),
        }
        self
    }

    pub(super) fn held(mut self, bytes: u64, age: Duration) -> Rig {
        match &mut self.kind {
            Kind::Kubernetes(settings) => (settings.max_held_bytes, settings.max_held_age) = (bytes, age),
            Kind::Files(settings) => (settings.max_held_bytes, settings.max_held_age) = (bytes, age),
        }
        self
    }

    pub(super) fn read_from(mut self, from: ReadFrom) -> Rig {
        match &mut self.kind {
            Kind::Kubernetes(settings) => settings.read_from = from,
            Kind::Files(settings) => settings.read_from = from,
        }
        self
    }

    // === files ===

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.logs.path().join(name)
    }

    pub(super) fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// Appends to the container's log.
    pub(super) fn log(&self, text: impl AsRef<[u8]>) {
        self.append(&format!("{CONTAINER}/0.log"), text);
    }

    /// Rotates the container's log as kubelet does.
    pub(super) fn rotate(&self, stamp: &str) {
        self.rename(&format!("{CONTAINER}/0.log"), &format!("{CONTAINER}/0.log.{stamp}"));
    }

    // === running ===

    fn parts(&self) -> (Box<dyn Layout>, Options) {
        match &self.kind {
            Kind::Kubernetes(settings) => KubernetesLogs::new(settings.clone()).unwrap().into_parts(),
            Kind::Files(settings) => Files::new(settings.clone()).unwrap().into_parts(),
        }
    }

    pub(super) fn context(&self, mode: Mode) -> SourceContext {
        let outlet = Collector {
            collected: self.collected.clone(),
            queue: self.queue.clone(),
            ready: self.ready.clone(),
        };
        SourceContext {
            name: SOURCE.into(),
            cluster: "dev".into(),
            node: "node-1".into(),
            mode,
            outlet: Box::new(outlet),
            arenas: ArenaPool::new(),
            checkpoints: self.checkpoints.clone(),
            stop: self.stop.clone(),
            metrics: self.metrics.clone(),
        }
    }

    pub(super) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Starts the engine, without notifications: everything is found by looking.
    pub(super) fn start(&mut self, mode: Mode) {
        let (layout, options) = self.parts();
        self.before = self.passed();
        self.elapsed = Duration::ZERO;
        self.engine = Some(Engine::new(layout, options, self.context(mode), Watch::deaf()));
    }

    /// One step; the wall clock is the real one, since files get their times from it.
    pub(super) fn step(&mut self) -> Step {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let now = Now { elapsed: self.elapsed, wall: i64::try_from(wall).unwrap() };
        self.engine.as_mut().unwrap().step(now).unwrap()
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.elapsed + time;
        loop {
            match self.step() {
                Step::Busy => {}
                Step::Idle(wait) => {
                    self.elapsed += wait.max(Duration::from_millis(1));
                    if self.elapsed >= until {
                        return;
                    }
                }
                Step::Done => return,
            }
        }
    }

    pub(super) fn pass_seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// Starts, and lets time pass until everything that is there is read.
    pub(super) fn follow(&mut self) {
        self.start(Mode::Follow);
        self.pass_seconds(3);
    }

    /// Reads what is there and ends.
    pub(super) fn once(&mut self) {
        self.start(Mode::Once);
        self.pass(Duration::from_secs(3_600));
        self.engine = None;
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// How long the engines ran, all together.
    pub(super) fn passed(&self) -> Duration {
        self.before + self.elapsed
    }

    /// Makes the first so many batches safe of those that are not.
    pub(super) fn release(&self, count: usize) {
        for _ in 0..count {
            if !self.release_at(0) {
                return;
            }
        }
    }

    /// Makes one batch safe of those that are not; `false` where there are not so many.
    pub(super) fn release_at(&self, place: usize) -> bool {
        let ack = {
            let mut collected = self.collected.lock().unwrap();
            if place >= collected.acks.len() {
                return false;
            }
            let (ack, events) = collected.acks.remove(place);
            collected.delivered.extend(events);
            ack
        };
        ack.release();
        true
    }

    pub(super) fn release_all(&self) {
        self.release(usize::MAX);
    }

    /// Ends as a killed process does, once the checkpoints were written; what was not acked is not safe.
    pub(super) fn kill(&mut self) {
        self.checkpoints.save().unwrap();
        self.kill_unsaved();
    }

    /// Ends as a process does that is killed before the checkpoints are written again.
    pub(super) fn kill_unsaved(&mut self) {
        self.engine = None;
        self.collected.lock().unwrap().acks.clear();
        self.checkpoints = Arc::new(Checkpoints::open(self.data.path()).unwrap());
        self.queue = AckQueue::new(SOURCE, self.checkpoints.clone());
    }

    /// Puts another engine in the place of the one that runs, while batches are under way.
    pub(super) fn reload(&mut self) {
        if let Some(mut engine) = self.engine.take() {
            engine.end();
        }
        self.start(Mode::Follow);
    }

    /// Whether the engine has a file with this inode open.
    pub(super) fn has_open(&self, inode: u64) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.has_open(inode))
    }

    // === what came out ===

    /// Takes the events so far.
    pub(super) fn take(&self) -> Vec<Event> {
        let mut collected = self.collected.lock().unwrap();
        collected.batches.clear();
        std::mem::take(&mut collected.events)
    }

    /// What is safe, however long ago.
    pub(super) fn delivered(&self) -> Vec<Event> {
        self.collected.lock().unwrap().delivered.clone()
    }

    /// What is safe, and what was sent since the last start and is not.
    pub(super) fn sent(&self) -> Vec<Event> {
        let collected = self.collected.lock().unwrap();
        let waiting = collected.acks.iter().flat_map(|(_, events)| events);
        collected.delivered.iter().chain(waiting).cloned().collect()
    }

    /// Takes the events so far, and gives their contents.
    pub(super) fn texts(&self) -> Vec<String> {
        self.take().iter().map(Event::text).collect()
    }

    pub(super) fn positions(&self) -> Vec<FilePosition> {
        self.checkpoints.positions(SOURCE).into_values().collect()
    }

    /// The data folder, for tests that take it away.
    pub(super) fn data(&self) -> &Path {
        self.data.path()
    }
}

/// A line as runtimes write it, at this many seconds of a day in 2026.
pub(super) fn cri(seconds: u32, stream: &str, tag: &str, content: &str) -> String {
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("2026-11-22T{hour:02}:{minute:02}:{second:02}.000000000Z {stream} {tag} {content}\n")
}

pub(super) fn out(content: &str) -> String {
    cri(0, "stdout", "F", content)
}

/// The time of [`cri`].
pub(super) fn at(seconds: u32) -> i64 {
    const MIDNIGHT: i64 = 1_795_305_600;
    (MIDNIGHT + i64::from(seconds)) * 1_000_000_000
}
