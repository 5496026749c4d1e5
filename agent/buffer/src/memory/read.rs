//! Reading segments back from disk, off the reactor. What cannot be read is counted as lost and left behind: it stops
//! nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng as _;
use tokio::task::JoinHandle;

use super::disk::AdoptedFile;
use super::{Disk, Duty, MemoryTier, OnDisk, Slot, Stub, Waiting};
use crate::disk::format::{Header, PartContent};
use crate::disk::{DiskFile, ReadError};
use crate::ledger::Entry;

/// Why events are lost of which nothing could be read.
const UNREADABLE: &str = "buffer_unreadable";
/// Why events are lost whose bytes on disk are not what was written.
const CORRUPT: &str = "corrupt";
/// A disk that says no so often in a row will not say yes.
const MAX_FAILURES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// A read under way. It goes on when nobody waits for it, and who comes next takes its outcome.
pub(super) struct Reading {
    number: u64,
    file: Arc<DiskFile>,
    task: JoinHandle<Outcome>,
}

/// What became of a read.
pub(super) enum ReadOutcome {
    /// The entry is another now, or gone.
    Done,
    /// It is to be tried again after this long.
    Failed(Duration),
    /// The disk has not answered yet.
    Stalled,
}

/// What is to be read.
enum Wanted {
    Header(Arc<DiskFile>),
    Part { file: Arc<DiskFile>, part: u8, places: Option<Vec<u32>> },
}

enum Outcome {
    Header(Result<Arc<Header>, ReadError>),
    Part(Result<PartContent, ReadError>),
}

impl MemoryTier {
    /// Reads the entry with this number, so that it lies in memory, or is gone. One step of it: who calls looks again.
    pub(super) async fn read(&self, number: u64) -> ReadOutcome {
        let Some(wanted) = self.wanted(number) else { return ReadOutcome::Done };
        let mut reading = self.reading.lock().await;
        if reading.as_ref().is_none_or(|reading| reading.number != number) {
            let file = Arc::clone(wanted.file());
            *reading = Some(Reading { number, file, task: tokio::task::spawn_blocking(|| wanted.read()) });
        }
        let Some(under_way) = reading.as_mut() else { return ReadOutcome::Done };
        // It goes on: a disk that answers late has answered.
        let Ok(outcome) = tokio::time::timeout(self.read_patience, &mut under_way.task).await else {
            // An object store has its own limits, and its own errors.
            if !under_way.file.is_elsewhere() {
                self.note_stall();
            }
            return ReadOutcome::Stalled;
        };
        *reading = None;
        drop(reading);
        // A read that was ended with the runtime says nothing about the disk.
        let Ok(outcome) = outcome else { return ReadOutcome::Failed(FIRST_PAUSE) };
        match self.take_in(number, outcome) {
            None => ReadOutcome::Done,
            Some(pause) => ReadOutcome::Failed(pause.mul_f64(rand::rng().random_range(0.5..1.0))),
        }
    }

    fn note_stall(&self) {
        let Some(disk) = self.disk.get() else { return };
        // Said again every ten minutes or so.
        if disk.store.metrics.stalled_reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(60) {
            let seconds = self.read_patience.as_secs();
            tracing::error!(
                sink = disk.sink(),
                "the disk of the sink's buffer has not answered a read for {seconds} s; what lies there waits, see to the disk"
            );
        }
    }

    fn wanted(&self, number: u64) -> Option<Wanted> {
        let state = self.lock();
        let mut waiting = state.queue.iter().chain(state.held.values().flatten());
        match waiting.find(|waiting| waiting.number() == number)? {
            Waiting::Memory(_) => None,
            Waiting::Disk(Stub { on_disk: OnDisk { file, part, places, .. }, .. }) => {
                Some(Wanted::Part { file: Arc::clone(file), part: *part, places: places.clone() })
            }
            Waiting::File(adopted) => Some(Wanted::Header(Arc::clone(&adopted.file))),
        }
    }

    /// Puts what was read in the place of the entry. The answer is how long to wait before the next try.
    fn take_in(&self, number: u64, outcome: Outcome) -> Option<Duration> {
        let disk = self.disk.get()?;
        // Before the state's lock: who pushes holds it then.
        let moving = self.ledger.moving();
        let mut state = self.lock();
        let (waiting, spot) = state.remove(number)?;
        let (entries, pause) = match (waiting, outcome) {
            (Waiting::Disk(stub), Outcome::Part(read)) => {
                if let (Ok(content), Some(rate)) = (&read, self.policy().replay_rate) {
                    state.turns.note_replayed(content.documents.memory(), rate);
                }
                part_read(stub, read)
            }
            (Waiting::File(adopted), Outcome::Header(read)) => {
                self.header_read(disk, adopted, read, || state.number())
            }
            (other, _) => (vec![other], None),
        };
        state.insert(spot, entries);
        drop(state);
        drop(moving);
        self.tell_room();
        pause
    }

    fn header_read(
        &self,
        disk: &Disk,
        mut adopted: AdoptedFile,
        read: Result<Arc<Header>, ReadError>,
        number: impl FnMut() -> u64,
    ) -> (Vec<Waiting>, Option<Duration>) {
        let file = Arc::clone(&adopted.file);
        let handle = (file.number(), Some(&file));
        match read {
            Ok(header) => {
                let (stubs, unknown, left) = disk.expand(&adopted, &header, &self.ledger, number);
                if unknown != 0 || !left.is_empty() {
                    file.note_damage();
                    disk.lose(&self.ledger, handle, unknown, &left, CORRUPT);
                }
                (stubs, None)
            }
            Err(error) => match verdict(&error, &mut adopted.failures) {
                Verdict::Again(pause) => (vec![Waiting::File(adopted)], Some(pause)),
                Verdict::Lost(reason) => {
                    file.note_damage();
                    disk.lose(&self.ledger, handle, adopted.live, &adopted.amounts, reason);
                    (Vec::new(), None)
                }
            },
        }
    }
}

fn part_read(mut stub: Stub, read: Result<PartContent, ReadError>) -> (Vec<Waiting>, Option<Duration>) {
    let (content, reason) = match read {
        Ok(content) => (Some(content), CORRUPT),
        Err(error) => match verdict(&error, &mut stub.failures) {
            Verdict::Again(pause) => return (vec![Waiting::Disk(stub)], Some(pause)),
            Verdict::Lost(reason) => {
                stub.on_disk.file.note_damage();
                (None, reason)
            }
        },
    };
    let Stub { number, place, amount, account, since, on_disk, .. } = stub;
    let OnDisk { ack, file, part, places } = on_disk;
    let there = content.as_ref().map(|content| content.documents.amount()).unwrap_or_default();
    let mut lost = amount;
    lost -= there;
    if lost.events > 0 {
        tracing::error!(
            sink = account.sink(),
            file = format!("{:016x}", file.number()),
            part,
            events = lost.events,
            reason,
            "events of the buffer are lost"
        );
        file.leave(&account, lost);
        ack.book(&account, Entry::Lost(reason.into()), lost);
    }
    let Some(content) = content.filter(|content| !content.documents.records.is_empty()) else {
        ack.release();
        return (Vec::new(), None);
    };
    let places = if content.is_damaged || places.is_some() { Some(content.places) } else { None };
    let duty = Duty::Disk(OnDisk { ack, file: Arc::clone(&file), part, places });
    let contents = (Arc::new(content.documents), content.targets, there);
    let mut slot = Slot::new(number, place, contents, &account, duty);
    slot.since = since;
    file.note_replayed(there);
    (vec![Waiting::Memory(Arc::new(slot))], None)
}

/// What follows from a read that failed.
enum Verdict {
    Again(Duration),
    Lost(&'static str),
}

fn verdict(error: &ReadError, failures: &mut u32) -> Verdict {
    let error = match error {
        ReadError::Damaged { .. } => {
            tracing::error!(%error, "a file of the buffer cannot be used");
            return Verdict::Lost(CORRUPT);
        }
        ReadError::Io { error: kind, .. } => (error, kind),
    };
    *failures = failures.saturating_add(1);
    // Too many open files, a mode that somebody changed: that passes. A bad block or a file that is gone does not.
    let is_lasting = error.1.kind() == io::ErrorKind::NotFound || error.1.raw_os_error() == Some(EIO);
    if is_lasting && *failures >= MAX_FAILURES {
        tracing::error!(error = %error.0, "a file of the buffer cannot be read; giving it up");
        return Verdict::Lost(UNREADABLE);
    }
    if *failures == 1 {
        tracing::warn!(error = %error.0, "a file of the buffer cannot be read; trying again");
    }
    Verdict::Again((FIRST_PAUSE * 2_u32.saturating_pow(*failures - 1)).min(LAST_PAUSE))
}

/// The number is the same on every Linux.
const EIO: i32 = 5;

impl Wanted {
    fn file(&self) -> &Arc<DiskFile> {
        match self {
            Wanted::Header(file) | Wanted::Part { file, .. } => file,
        }
    }

    fn read(self) -> Outcome {
        match self {
            Wanted::Header(file) => Outcome::Header(file.header()),
            Wanted::Part { file, part, places } => Outcome::Part(file.read(part, places.as_deref())),
        }
    }
}
