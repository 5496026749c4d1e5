//! Stops the agent's storing at every single operation of the file system, and looks what the next start makes of it.
//!
//! The files of the buffer lie in a model of a file system that knows what survives: a kill leaves everything that was
//! done, a power failure only what was synced, or names that were not synced over content that was not. Checkpoints lie
//! in a real one, where each save is one step. Whatever the step: every event is either read again, or on disk, or has
//! its fate, and is counted once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::runtime::Runtime;
use weir_buffer::ack::{Ack, Acknowledge};
use weir_buffer::disk::Unnamed;
use weir_buffer::disk::filesystem::{FileSystem, Found, NewFile};
use weir_buffer::ledger::{Account, Amount, Entry, Ledger, Statement};
use weir_buffer::memory::{Disk, DiskSettings, Held, Lease, MemoryTier};
use weir_buffer::segment::{Documents, Record, Segment, Targets};
use weir_event::identity::EventId;
use weir_event::stream::{Attributes, Stream};
use weir_pipeline::checkpoint::{AckQueue, Checkpoints, FilePosition, Progress};

// === the model of a file system ===

/// What is left of what was done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Survives {
    /// Everything: only the process died.
    Everything,
    /// What was synced.
    OnlySynced,
    /// Names as they were last, content as it was synced.
    NamesBeforeContent,
}

#[derive(Default)]
struct Model {
    names: BTreeMap<PathBuf, u64>,
    synced_names: BTreeMap<PathBuf, u64>,
    /// By number: what was written, and what of it was synced.
    contents: HashMap<u64, (Vec<u8>, Vec<u8>)>,
    next: u64,
    steps: u64,
    dies_at: Option<u64>,
    is_dead: bool,
}

#[derive(Clone, Default)]
struct ModelDisk(Arc<Mutex<Model>>);

struct ModelFile {
    disk: ModelDisk,
    number: u64,
}

impl ModelDisk {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap()
    }

    /// Counts a step; `Err` from the one on at which everything ends.
    fn step(&self) -> io::Result<MutexGuard<'_, Model>> {
        let mut model = self.model();
        model.is_dead |= model.dies_at == Some(model.steps);
        model.steps += 1;
        if model.is_dead { Err(io::Error::other("the machine is gone")) } else { Ok(model) }
    }

    fn is_dead(&self) -> bool {
        self.model().is_dead
    }

    /// The same disk at the next start.
    fn restart(&self, survives: Survives) {
        let mut guard = self.model();
        let model = &mut *guard;
        match survives {
            Survives::Everything => {}
            Survives::OnlySynced => model.names = model.synced_names.clone(),
            Survives::NamesBeforeContent => {}
        }
        for (content, synced) in model.contents.values_mut() {
            match survives {
                Survives::Everything => {}
                _ => *content = synced.clone(),
            }
            *synced = content.clone();
        }
        model.synced_names = model.names.clone();
        (model.dies_at, model.is_dead) = (None, false);
    }

    fn segments(&self) -> usize {
        self.model().names.keys().filter(|path| path.extension().is_some_and(|e| e == "seg")).count()
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl FileSystem for ModelDisk {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        self.step().map(drop)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Found>> {
        let model = self.model();
        let here = model.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let found = here.map(|(path, number)| Found {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            bytes: model.contents[number].0.len() as u64,
            modified: SystemTime::now(),
        });
        Ok(found.collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let mut model = self.step()?;
        let number = model.next;
        model.next += 1;
        model.contents.insert(number, Default::default());
        model.names.insert(path.to_owned(), number);
        drop(model);
        Ok(Box::new(ModelFile { disk: self.clone(), number }))
    }

    fn read(&self, path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let model = self.model();
        let number = model.names.get(path).ok_or_else(missing)?;
        let rest = model.contents[number].0.get(offset as usize..).unwrap_or_default();
        Ok(rest[..length.min(rest.len())].to_vec())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut model = self.step()?;
        let number = model.names.remove(from).ok_or_else(missing)?;
        model.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?.names.remove(path).map(drop).ok_or_else(missing)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut model = self.step()?;
        model.synced_names = model.names.clone();
        Ok(())
    }
}

impl NewFile for ModelFile {
    /// The step at which everything ends still writes half.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.disk.step().map(|mut model| {
            model.contents.get_mut(&self.number).unwrap().0.extend_from_slice(bytes);
        });
        written.inspect_err(|_| {
            let half = &bytes[..bytes.len() / 2];
            self.disk.model().contents.get_mut(&self.number).unwrap().0.extend_from_slice(half);
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut model = self.disk.step()?;
        let content = model.contents.get_mut(&self.number).unwrap();
        content.1 = content.0.clone();
        Ok(())
    }
}

// === the agent ===

const ROWS: u64 = 18;
const ROWS_OF_BATCH: u64 = 3;
/// The sink with a disk buffer, and the one beside it that has none.
const BUFFERED: &str = "buffered";
const PLAIN: &str = "plain";

/// An agent with one source of rows, and two sinks.
struct Run {
    disk: ModelDisk,
    best_effort: bool,
    checkpoints: Arc<Checkpoints>,
    ledger: Arc<Ledger>,
    queue: Arc<AckQueue>,
    buffered: Arc<MemoryTier>,
    plain: Arc<MemoryTier>,
    stream: Arc<Stream>,
    next_row: u64,
    /// Rows that came to the buffered sink, in this run.
    taken: Vec<u64>,
}

fn key() -> String {
    "file".to_owned()
}

impl Run {
    fn start(data: &Path, disk: &ModelDisk, best_effort: bool) -> Option<Run> {
        let checkpoints = Arc::new(Checkpoints::open(data).unwrap());
        let ledger = Arc::new(Ledger::default());
        for (pipeline, sink, counts) in checkpoints.counts() {
            ledger.account(&pipeline, &sink).restore(counts);
        }
        let settings = DiskSettings {
            sink: BUFFERED.to_owned(),
            folder: PathBuf::from("/buffer"),
            bound: 1 << 20,
            unnamed: Unnamed::Remove,
        };
        let direct = Arc::clone(&checkpoints) as Arc<dyn Acknowledge>;
        let stored = checkpoints.stored(BUFFERED);
        let opened = Disk::open(&settings, stored, &ledger, direct, Arc::new(disk.clone())).ok()?;
        let next_row = checkpoints.positions("rows").get(&key()).map_or(0, |at| at.position);
        Some(Run {
            disk: disk.clone(),
            best_effort,
            queue: AckQueue::new("rows", Arc::clone(&checkpoints)),
            buffered: MemoryTier::with_disk(1 << 20, Arc::clone(&ledger), Some(opened)),
            plain: MemoryTier::new(1 << 20, Arc::clone(&ledger)),
            stream: Stream::new(Attributes { path: "/rows".into(), ..Attributes::default() }, 1),
            checkpoints,
            ledger,
            next_row,
            taken: Vec::new(),
        })
    }

    fn account(&self, sink: &str) -> Arc<Account> {
        self.ledger.account("p", sink)
    }

    /// Reads a batch, if there is one.
    fn read(&mut self) {
        let rows: Vec<u64> = (self.next_row..ROWS).take(ROWS_OF_BATCH as usize).collect();
        let Some(last) = rows.last() else { return };
        self.next_row = last + 1;
        let position = FilePosition { position: self.next_row, ..FilePosition::default() };
        let sequence = self.queue.sent(vec![Progress { file: key(), position }]);
        let ack = Ack::new(sequence, Arc::clone(&self.queue) as Arc<dyn Acknowledge>);
        let mut documents = Documents { streams: vec![Arc::clone(&self.stream)], ..Documents::default() };
        for row in rows {
            documents.ndjson.extend_from_slice(row.to_string().as_bytes());
            let (end, bytes) = (documents.ndjson.len() as u32, 10 + row as u32);
            documents.records.push(Record { id: EventId([row as u8; 20]), time: 0, stream: 0, bytes, end });
            documents.ndjson.push(b'\n');
        }
        let documents = Arc::new(documents);
        let moving = self.ledger.moving();
        for (sink, buffer) in [(BUFFERED, &self.buffered), (PLAIN, &self.plain)] {
            let account = self.account(sink);
            ack.book(&account, Entry::Read, documents.amount());
            let is_late = self.best_effort && sink == BUFFERED;
            let (targets, amount) = (Targets::default(), documents.amount());
            let ack = if is_late { ack.late() } else { ack.share() };
            buffer.push(Segment { documents: Arc::clone(&documents), targets, amount, ack }, &account, 0);
        }
        drop(moving);
        ack.release();
    }

    fn save(&self) {
        // Written whole or not at all, so one step; what it removes afterwards are steps of their own.
        if self.disk.step().is_ok() {
            self.checkpoints.save().unwrap();
        }
    }

    fn take(&self, runtime: &Runtime) -> Lease {
        runtime.block_on(self.buffered.take()).unwrap()
    }

    fn deliver(&mut self, lease: Lease) {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<u64>().unwrap();
        self.taken.extend(lease.documents().iter().map(|(_, document)| text(document)));
        lease.delivered();
    }

    fn deliver_plain(&self, runtime: &Runtime) {
        runtime.block_on(self.plain.take()).unwrap().delivered();
    }

    /// Reads the rest and delivers everything.
    fn finish(&mut self, runtime: &Runtime) {
        while self.next_row < ROWS {
            self.read();
        }
        for buffer in [Arc::clone(&self.buffered), Arc::clone(&self.plain)] {
            buffer.close();
            while let Some(lease) = runtime.block_on(buffer.take()) {
                match Arc::ptr_eq(&buffer, &self.buffered) {
                    true => self.deliver(lease),
                    false => lease.delivered(),
                }
            }
        }
    }

    fn statement(&self, sink: &str) -> Statement {
        let _ = self.account(sink);
        self.ledger.statements().into_iter().find(|statement| statement.sink == sink).unwrap()
    }
}

/// One step of what an agent does.
type Step = Box<dyn Fn(&mut Run, &mut Vec<Lease>, &Runtime)>;

/// Everything that storing, delivering and saving do to each other. `Vec<Lease>` is what the sink has at the time.
fn steps() -> Vec<Step> {
    let read: fn() -> Step = || Box::new(|run, _, _| run.read());
    let save: fn() -> Step = || Box::new(|run, _, _| run.save());
    let store: fn() -> Step = || Box::new(|run, _, _| run.buffered.store_all());
    let take: fn() -> Step = || Box::new(|run, leases, runtime| leases.push(run.take(runtime)));
    let deliver: fn() -> Step = || {
        Box::new(|run, leases, _| {
            let lease = leases.remove(0);
            run.deliver(lease);
        })
    };
    let plain: fn() -> Step = || Box::new(|run, _, runtime| run.deliver_plain(runtime));
    let divide: fn() -> Step = || {
        Box::new(|_, leases, _| {
            let (one, two) = leases.remove(0).divide(&[false, true, false]);
            leases.extend([one, two]);
        })
    };
    let hold: fn() -> Step = || Box::new(|run, leases, _| run.buffered.hold("lane".into(), leases.remove(0)));
    let take_held: fn() -> Step = || {
        Box::new(|run, leases, runtime| {
            let held = runtime.block_on(run.buffered.take_held("lane"));
            let Held::Segment(lease) = held else { panic!("nothing is held: {held:?}") };
            leases.push(lease);
        })
    };
    let give_up: fn() -> Step = || Box::new(|_, leases, _| drop(leases.remove(0)));
    vec![
        // Stored while it is at the sink, and delivered from there.
        read(),
        read(),
        take(),
        store(),
        save(),
        deliver(),
        plain(),
        plain(),
        save(),
        // The second comes from disk, is divided, one part held: its batch is safe, the rest of it is settled late.
        take(),
        divide(),
        deliver(),
        save(),
        hold(),
        save(),
        // Stored and delivered before the sink beside it lets the batch be safe.
        read(),
        store(),
        take(),
        deliver(),
        save(),
        plain(),
        save(),
        save(),
        // Divided in memory, then stored in two parts of which one is held.
        read(),
        take(),
        divide(),
        hold(),
        store(),
        save(),
        deliver(),
        plain(),
        save(),
        // Given up, taken again, stored by the way.
        read(),
        take(),
        give_up(),
        store(),
        take(),
        save(),
        deliver(),
        save(),
        take_held(),
        deliver(),
        save(),
        take_held(),
        deliver(),
        plain(),
        save(),
        save(),
    ]
}

/// Runs the steps until the file system ends, and says whether it did.
fn play(run: &mut Run, runtime: &Runtime) -> bool {
    let mut leases = Vec::new();
    for step in steps() {
        if run.disk.is_dead() {
            break;
        }
        step(run, &mut leases, runtime);
    }
    run.disk.is_dead()
}

/// One crash at one step. Returns false when the steps were over before it.
fn crash_at(n: u64, survives: Survives, best_effort: bool, runtime: &Runtime) -> bool {
    let what = format!("step {n}, {survives:?}, best effort {best_effort}");
    let data = tempfile::tempdir().unwrap();
    let disk = ModelDisk::default();
    disk.model().dies_at = Some(n);
    let before = match Run::start(data.path(), &disk, best_effort) {
        Some(mut run) => {
            if !play(&mut run, runtime) {
                return false;
            }
            run.taken
        }
        None => Vec::new(),
    };

    disk.restart(survives);
    let mut run = Run::start(data.path(), &disk, best_effort).unwrap();
    for sink in [BUFFERED, PLAIN] {
        let statement = run.statement(sink);
        assert!(statement.balanced, "{what}: at the start {statement:#?}");
        assert_eq!(statement.counts.read.events, run.next_row, "{what}: {sink}");
    }
    run.finish(runtime);
    let mut after = run.taken.clone();
    after.sort_unstable();
    assert!(after.windows(2).all(|two| two[0] != two[1]), "{what}: twice in one run: {after:?}");
    let statement = run.statement(BUFFERED);
    let counts = &statement.counts;
    let missing: Vec<u64> = (0..ROWS).filter(|row| !before.contains(row) && !after.contains(row)).collect();
    // Nobody waits for a best-effort sink: what only lay in memory before it is lost, and counted.
    let lost: u64 = counts.lost.values().map(|amount| amount.events).sum();
    assert!(missing.len() as u64 <= lost && (best_effort || lost == 0), "{what}: {missing:?}, {counts:#?}");
    assert_eq!(counts.read.events, ROWS, "{what}");
    assert_eq!(counts.delivered.events + lost, ROWS, "{what}: each is counted once: {counts:#?}");
    assert_eq!(statement.buffered["disk"], Amount::default(), "{what}");
    for sink in [BUFFERED, PLAIN] {
        assert!(run.statement(sink).balanced, "{what}: at the end {:#?}", run.statement(sink));
    }
    assert_eq!(run.statement(PLAIN).counts.delivered.events, ROWS, "{what}");

    // What is durable says the same, and nothing is left on disk.
    for _ in 0..2 {
        run.save();
    }
    assert_eq!(disk.segments(), 0, "{what}");
    assert_eq!(run.buffered.disk().unwrap().store().used(), 0, "{what}");
    let last = Run::start(data.path(), &disk, best_effort).unwrap();
    assert_eq!(last.statement(BUFFERED).counts, statement.counts, "{what}");
    assert!(last.checkpoints.sinks_with_stored().is_empty(), "{what}");
    true
}

#[test]
fn no_step_at_which_all_ends_loses_or_doubles() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for best_effort in [false, true] {
        for survives in [Survives::Everything, Survives::OnlySynced, Survives::NamesBeforeContent] {
            let crashes = (0..).take_while(|n| crash_at(*n, survives, best_effort, &runtime)).count();
            assert!(crashes > 30, "only {crashes} steps: the scenario does not do what it is meant to");
        }
    }
}

/// Files outlive the first checkpoint without them: the one before it may yet be needed.
#[test]
fn the_checkpoint_before_a_damaged_one_finds_its_files() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let data = tempfile::tempdir().unwrap();
    let disk = ModelDisk::default();
    let mut run = Run::start(data.path(), &disk, false).unwrap();
    for _ in 0..3 {
        run.read();
        run.deliver_plain(&runtime);
    }
    run.buffered.store_all();
    run.save();
    run.finish(&runtime);
    run.save();
    assert!(disk.segments() > 0, "the checkpoint before names them");
    let path = data.path().join("checkpoint");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let mut run = Run::start(data.path(), &disk, false).unwrap();
    assert!(!run.checkpoints.is_complete());
    let statement = run.statement(BUFFERED);
    assert_eq!((statement.counts.read.events, statement.buffered["disk"].events), (9, 9));
    run.finish(&runtime);
    let counts = run.statement(BUFFERED).counts;
    assert_eq!((counts.delivered.events, counts.lost.len()), (ROWS, 0));
    for _ in 0..2 {
        run.save();
    }
    assert_eq!(disk.segments(), 0);
}

/// A disk that fails now and then, without end: nothing is lost, and what could not be stored is delivered from memory.
#[test]
fn a_disk_that_fails_loses_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for n in 0..40 {
        let data = tempfile::tempdir().unwrap();
        let disk = ModelDisk::default();
        let mut run = Run::start(data.path(), &disk, false).unwrap();
        for _ in 0..4 {
            run.read();
        }
        let at = disk.model().steps + n;
        disk.model().dies_at = Some(at);
        run.buffered.store_all();
        disk.model().dies_at = None;
        let failed = std::mem::take(&mut disk.model().is_dead);
        assert!(run.statement(BUFFERED).balanced);
        run.finish(&runtime);
        run.taken.sort_unstable();
        assert_eq!(run.taken, (0..ROWS).collect::<Vec<_>>(), "step {n}, failed: {failed}");
        let statement = run.statement(BUFFERED);
        assert!(statement.balanced && statement.counts.delivered.events == ROWS);
        for _ in 0..3 {
            run.save();
            run.buffered.store_all();
        }
        assert_eq!((disk.segments(), run.buffered.disk().unwrap().store().used()), (0, 0), "step {n}");
        if !failed {
            assert!(n > 3, "the disk never failed");
            return;
        }
    }
    panic!("storing takes more steps than were tried");
}
