//! Checkpoints: up to where each file is safe, and the durable part of the ledger, in one file.
//!
//! 1. A position moves only over batches that were acked, in the order in which the source sent them: no gaps.
//! 2. The ledger's durable counts move in the same step, and both are written in one transaction (a temporary file,
//!    synced, renamed over the old one, directory synced).
//! 3. What is not in the file happens again after a crash, and is counted once.
//! 4. What was read for good and only lay in memory, before a best-effort sink, is counted as lost at the next start.
//! 5. Which parts of which files of a sink's disk buffer hold events is said here and nowhere else. A part comes in with
//!    the position behind its events and goes with the counts of what became of them. A file may go when neither this
//!    file nor the one before it names it.
//!
//! 6. What stages count in events (for metrics) moves in the same step as well. What is shown of it is what the file on
//!    disk says ([`Checkpoints::durable_counters`]).
//!
//! The format is described in docs/FORMATS.md.

mod ack_queue;
mod buffered;
mod counters;
mod durable;
mod file;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use ack_queue::AckQueue;
use ack_queue::Sent;
pub use counters::{Counters, MetricTotals};
pub use durable::OnDurable;
use durable::{Waiting, Wake};
use file::{previous_path, read_file, write_file};
use serde::{Deserialize, Serialize};
use weir_buffer::ack::Posting;
use weir_buffer::disk::{DiskFile, StoredParts};
use weir_buffer::ledger::{Account, Amount, Counts, Entry};
use weir_buffer::presence::Adoption;

/// Why events are lost that a best-effort sink had not taken when the agent ended.
const AGENT_ENDED: &str = "agent_ended";

/// The outputs that a file's lines can belong to.
pub const OUTPUTS: usize = 3;

/// Which file of a source: whatever the source tells its files apart by, such as `device:inode:first_seen`.
pub type FileKey = String;

/// Where reading of a file goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilePosition {
    /// Where the file was last seen.
    pub path: String,
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// The first part of its events' ids.
    pub incarnation: u64,
    /// When it was first seen, in nanoseconds since the Unix epoch.
    pub first_seen: i64,
    /// Every event that ends at or before this offset is safe.
    pub position: u64,
    /// Where reading starts again: before `position` where a record that is written in parts began earlier.
    pub resume_from: u64,
    /// Hash of the file's first bytes, as far as they are known, to tell a reused inode.
    pub fingerprint: u64,
    /// How many bytes `fingerprint` covers.
    pub fingerprint_len: u64,
    /// Time of the last dated event before `position`, in nanoseconds since the Unix epoch; 0 where there is none.
    /// An event without a time of its own has it, also when it is read again.
    pub last_time: i64,
    /// For each output of the file (unknown, stdout, stderr) where a record or a group of lines begins that is not
    /// complete. Of that output nothing before it is needed again; where there is none, nothing before `position`.
    #[serde(skip_serializing_if = "no_output_waits")]
    pub held: [Option<u64>; OUTPUTS],
    /// Ends of lines behind which a timer ended a group of lines, by output, as far as they may be read again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<(u8, u64)>,
    /// Path of the file that was written to before this one was renamed, where it has another name now.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub chain: String,
    /// Whether it began anew when it was found shorter than what was read of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub after_truncation: bool,
    /// Whether nothing more can be read of it, whatever its size says: of a compressed file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
}

fn no_output_waits(held: &[Option<u64>; OUTPUTS]) -> bool {
    held.iter().all(Option::is_none)
}

impl FilePosition {
    /// The same progress of a file that lies elsewhere now.
    fn moved_to(&self, place: &FilePosition) -> FilePosition {
        FilePosition {
            path: place.path.clone(),
            chain: place.chain.clone(),
            device: place.device,
            inode: place.inode,
            fingerprint: place.fingerprint,
            fingerprint_len: place.fingerprint_len,
            ..self.clone()
        }
    }

    /// Lines of an output that begin here or later may be needed again, no earlier ones.
    pub fn needed_from(&self, output: usize) -> u64 {
        self.held.get(output).copied().flatten().unwrap_or(self.position)
    }
}

/// How far a batch brings a file.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The file.
    pub file: FileKey,
    /// Its position once the batch is safe.
    pub position: FilePosition,
}

/// A file to make known.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its key.
    pub file: FileKey,
    /// Where reading goes on.
    pub position: FilePosition,
    /// The key that it had before: what is safe is taken from there, and batches under way bring the new key further.
    pub goes_on: Option<FileKey>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct State {
    sources: BTreeMap<String, BTreeMap<FileKey, FilePosition>>,
    ledger: Vec<AccountState>,
    /// By sink, then by the number of the file as it stands in the file's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    buffers: BTreeMap<String, BTreeMap<String, StoredParts>>,
    /// By sink, the number that its next file has at least: an object of an earlier one may be known by its number.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    next_files: BTreeMap<String, u64>,
    /// Which agents were taken over, as far as something of them is left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    adoptions: Vec<Adoption>,
    /// What stages counted.
    #[serde(skip_serializing_if = "Counters::is_empty")]
    counters: Counters,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct AccountState {
    pipeline: String,
    sink: String,
    counts: Counts,
}

/// Why checkpoints could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system said no.
    #[error("cannot {action} the checkpoint file {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// Neither the file nor the one before it is whole.
    #[error(
        "the checkpoint file {path} is damaged ({reason}); move it away to read all files from their beginning"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// All checkpoints of an agent.
#[derive(Debug)]
pub struct Checkpoints {
    path: PathBuf,
    is_complete: bool,
    state: Mutex<Versioned>,
    /// Held while the file is written, so that two writers cannot swap their order.
    writer: Mutex<Written>,
    /// Told when somebody waits for the next save.
    wake: Wake,
}

#[derive(Debug, Default)]
struct Versioned {
    state: State,
    version: u64,
    /// Parts, by sink and file, that were removed before they were heard to be stored: a late share may come first.
    early: HashMap<(String, u64), u64>,
    /// What nobody needs any more, with the version that does not name it.
    removed: Vec<Removed>,
    /// Who waits until the state is on disk.
    waiting: Waiting,
    /// By source: the new keys of files that batches may still name by their old ones.
    renamed: HashMap<String, HashMap<FileKey, FileKey>>,
    /// What stages counted, as the file on disk says.
    durable_counters: Counters,
}

/// What waits until no checkpoint names it.
#[derive(Debug)]
struct Removed {
    version: u64,
    handle: Arc<DiskFile>,
    what: Unnamed,
}

#[derive(Debug)]
enum Unnamed {
    /// Parts of a file, one bit each.
    Parts(u64),
    /// A file's place on the disk: it lies in the store of objects.
    OnDisk,
}

/// The versions of the state in the file and in the one before it.
#[derive(Debug, Default)]
struct Written {
    last: u64,
    before: u64,
}

impl Versioned {
    fn post(&mut self, entries: Vec<Posting>) {
        self.version += 1;
        for posting in entries {
            match posting {
                Posting::Booked { account, entry, amount } => self.state.book(&account, &entry, amount),
                Posting::Stored { account, amount, file, part } => {
                    self.store(&account, amount, &file, 1 << part)
                }
                Posting::Moved { sink, file: handle } => {
                    let files = self.state.buffers.get_mut(&*sink);
                    if let Some(stored) = files.and_then(|files| files.get_mut(&file_key(handle.number()))) {
                        stored.object = handle.place();
                    }
                    self.removed.push(Removed { version: self.version, handle, what: Unnamed::OnDisk });
                }
                Posting::Adopted { sink, file, stored } => {
                    self.state.files_before(&sink, file.number()).insert(file_key(file.number()), stored);
                }
                Posting::Counted(tally) => self.state.counters.add(&tally),
                Posting::Adoption(adoption) => {
                    self.state.forget_adoption(&adoption);
                    self.state.adoptions.push(adoption);
                }
                Posting::AdoptionOver(adoption) => self.state.forget_adoption(&adoption),
                Posting::Removed { account, amount, file, parts, handle } => {
                    self.remove(&account, amount, file, parts);
                    let version = self.version;
                    let what = Unnamed::Parts(parts);
                    self.removed.extend(handle.map(|handle| Removed { version, handle, what }));
                }
            }
        }
    }

    /// Lets a file go on under another key.
    fn rename(&mut self, source: &str, old: FileKey, new: FileKey, place: FilePosition) {
        let files = self.state.sources.entry(source.to_owned()).or_default();
        let position = files.remove(&old).map_or_else(|| place.clone(), |known| known.moved_to(&place));
        files.insert(new.clone(), position);
        let renamed = self.renamed.entry(source.to_owned()).or_default();
        for known in renamed.values_mut().filter(|known| **known == old) {
            known.clone_from(&new);
        }
        renamed.insert(old, new);
    }

    fn store(&mut self, account: &Account, amount: Amount, file: &DiskFile, part: u64) {
        let early = (account.sink().to_owned(), file.number());
        if let Some(parts) = self.early.get_mut(&early).filter(|parts| **parts & part != 0) {
            *parts &= !part;
            if *parts == 0 {
                self.early.remove(&early);
            }
            return;
        }
        let files = self.state.files_before(account.sink(), file.number());
        let stored = files.entry(file_key(file.number())).or_default();
        // It may have been moved before its batch was safe.
        stored.object = file.place();
        stored.parts |= part;
        *stored.accounts.entry(account.pipeline().to_owned()).or_default() += amount;
    }

    fn remove(&mut self, account: &Account, amount: Amount, file: u64, parts: u64) {
        let key = file_key(file);
        let files = self.state.buffers.get_mut(account.sink());
        let stored = files.and_then(|files| files.get_mut(&key));
        let known = stored.as_ref().map_or(0, |stored| stored.parts & parts);
        if known != parts {
            *self.early.entry((account.sink().to_owned(), file)).or_default() |= parts & !known;
            return;
        }
        let Some(stored) = stored else { return };
        stored.parts &= !parts;
        if let Some(sum) = stored.accounts.get_mut(account.pipeline()) {
            *sum -= amount;
            if *sum == Amount::default() {
                stored.accounts.remove(account.pipeline());
            }
        }
        if stored.parts == 0
            && stored.accounts.is_empty()
            && let Some(files) = self.state.buffers.get_mut(account.sink())
        {
            files.remove(&key);
            if files.is_empty() {
                self.state.buffers.remove(account.sink());
            }
        }
    }
}

/// As in the file's name.
fn file_key(file: u64) -> String {
    format!("{file:016x}")
}

impl State {
    /// The files of a sink, to which one with this number comes.
    fn files_before(&mut self, sink: &str, number: u64) -> &mut BTreeMap<String, StoredParts> {
        let next = self.next_files.entry(sink.to_owned()).or_default();
        *next = number.saturating_add(1).max(*next);
        self.buffers.entry(sink.to_owned()).or_default()
    }

    fn forget_adoption(&mut self, adoption: &Adoption) {
        self.adoptions.retain(|known| known.folder != adoption.folder || known.epoch != adoption.epoch);
    }

    fn book(&mut self, account: &Account, entry: &Entry, amount: Amount) {
        let (pipeline, sink) = (account.pipeline(), account.sink());
        let found = self.ledger.iter().position(|a| a.pipeline == pipeline && a.sink == sink);
        let at = found.unwrap_or_else(|| {
            let (pipeline, sink) = (pipeline.to_owned(), sink.to_owned());
            self.ledger.push(AccountState { pipeline, sink, counts: Counts::default() });
            self.ledger.len() - 1
        });
        if let Some(account) = self.ledger.get_mut(at) {
            account.counts.book(entry, amount);
        }
    }

    /// What lies on disk before a sink, of one pipeline.
    fn stored(&self, pipeline: &str, sink: &str) -> Amount {
        let mut sum = Amount::default();
        for stored in self.buffers.get(sink).into_iter().flat_map(BTreeMap::values) {
            sum += stored.accounts.get(pipeline).copied().unwrap_or_default();
        }
        sum
    }

    /// Gives what was in memory when the agent ended its fate. What lies on disk is not missing.
    fn close_accounts(&mut self) {
        let missing: Vec<Amount> = self
            .ledger
            .iter()
            .map(|account| {
                let mut missing = account.counts.incoming();
                missing -= account.counts.settled();
                missing -= self.stored(&account.pipeline, &account.sink);
                missing
            })
            .collect();
        for (account, missing) in self.ledger.iter_mut().zip(missing) {
            if missing != Amount::default() {
                account.counts.book(&Entry::Lost(AGENT_ENDED.into()), missing);
            }
        }
    }
}

// === impl Checkpoints ===

impl Checkpoints {
    /// Opens the checkpoints in a data directory, empty where there is no file yet. A damaged file is replaced by the
    /// one before it, which reads some events again and loses none.
    pub fn open(data_dir: &Path) -> Result<Checkpoints, CheckpointError> {
        let path = data_dir.join("checkpoint");
        let is_complete;
        let mut state = match read_file(&path) {
            Ok(state) => {
                is_complete = state.is_some();
                state.unwrap_or_default()
            }
            Err(error @ CheckpointError::Damaged { .. }) => {
                let previous = read_file(&previous_path(&path)).ok().flatten();
                let Some(state) = previous else { return Err(error) };
                tracing::warn!(%error, "using the previous checkpoint file");
                is_complete = false;
                state
            }
            Err(error) => return Err(error),
        };
        state.close_accounts();
        let durable_counters = state.counters.clone();
        let state = Mutex::new(Versioned { state, durable_counters, ..Versioned::default() });
        Ok(Checkpoints { path, is_complete, state, writer: Mutex::default(), wake: Wake::default() })
    }

    /// Whether all is known that was safe: not after a damaged file was replaced by the one before it, nor where there
    /// was none.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The positions of a source's files.
    pub fn positions(&self, source: &str) -> BTreeMap<FileKey, FilePosition> {
        self.lock().state.sources.get(source).cloned().unwrap_or_default()
    }

    /// The positions of a source's files as they will be when these batches are safe.
    pub fn positions_behind(
        &self,
        source: &str,
        under_way: Vec<Progress>,
    ) -> BTreeMap<FileKey, FilePosition> {
        let guard = self.lock();
        let mut files = guard.state.sources.get(source).cloned().unwrap_or_default();
        advance(&mut files, guard.renamed.get(source), under_way);
        files
    }

    /// The durable counts of every account, as (pipeline, sink, counts).
    pub fn counts(&self) -> Vec<(String, String, Counts)> {
        let state = self.lock();
        state.state.ledger.iter().map(|a| (a.pipeline.clone(), a.sink.clone(), a.counts.clone())).collect()
    }

    /// Makes files known, durably: returns when they are on disk, before their first event may leave.
    pub fn register(&self, source: &str, files: Vec<Registration>) -> Result<(), CheckpointError> {
        {
            let mut state = self.lock();
            for Registration { file, position, goes_on } in files {
                match goes_on.filter(|old| *old != file) {
                    Some(old) => state.rename(source, old, file, position),
                    None => {
                        state.state.sources.entry(source.to_owned()).or_default().insert(file, position);
                    }
                }
            }
            state.version += 1;
        }
        self.save()
    }

    /// Notes, durably, behind which lines groups were ended by a timer, as (file, output, end of the line). What is
    /// read again is then cut in the same places.
    pub fn note_cuts(&self, source: &str, cuts: &[(FileKey, u8, u64)]) -> Result<(), CheckpointError> {
        {
            let mut state = self.lock();
            let Some(known) = state.state.sources.get_mut(source) else { return Ok(()) };
            for (file, output, end) in cuts {
                if let Some(position) = known.get_mut(file)
                    && !position.cuts.contains(&(*output, *end))
                {
                    position.cuts.push((*output, *end));
                }
            }
            state.version += 1;
        }
        self.save()
    }

    /// Forgets files that are gone and wholly safe. Becomes durable with the next save.
    pub fn forget(&self, source: &str, files: &[FileKey]) {
        let mut state = self.lock();
        let Some(known) = state.state.sources.get_mut(source) else { return };
        for file in files {
            known.remove(file);
        }
        if let Some(renamed) = state.renamed.get_mut(source) {
            renamed.retain(|_, new| !files.contains(new));
        }
        state.version += 1;
    }

    /// Calls this, from any thread, whenever somebody waits for the next [`Checkpoints::save`]. The first that is given
    /// stays.
    pub fn on_wanted(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.wake.set(wake);
    }

    /// Moves positions and counts over a batch that is safe, and tells who waits for it when that is on disk.
    fn settle(&self, source: &str, sent: Sent, entries: Vec<Posting>) {
        let Sent { progress, on_durable } = sent;
        let mut guard = self.lock();
        let Versioned { state, renamed, .. } = &mut *guard;
        if !progress.is_empty() {
            let files = state.sources.entry(source.to_owned()).or_default();
            advance(files, renamed.get(source), progress);
        }
        guard.post(entries);
        if let Some(on_durable) = on_durable {
            let version = guard.version;
            guard.waiting.add(version, on_durable);
            drop(guard);
            self.wake.wake();
        }
    }

    /// Books entries whose position was settled before.
    fn settle_counts(&self, entries: Vec<Posting>) {
        self.lock().post(entries);
    }

    /// Writes the file if something changed since the last time, then lets go of files that no checkpoint names.
    pub fn save(&self) -> Result<(), CheckpointError> {
        let mut written = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, version) = {
            let guard = self.lock();
            // What was removed must leave the file and the one before it, so it is written once more.
            if guard.version == written.last && guard.removed.is_empty() {
                return Ok(());
            }
            (guard.state.clone(), guard.version)
        };
        write_file(&self.path, &state)?;
        *written = Written { last: version, before: written.last };
        let (free, durable) = {
            let mut guard = self.lock();
            guard.durable_counters = state.counters;
            let free: Vec<Removed> =
                guard.removed.extract_if(.., |removed| removed.version <= written.before).collect();
            (free, guard.waiting.take(version))
        };
        durable.into_iter().for_each(OnDurable::call);
        for Removed { handle, what, .. } in free {
            match what {
                Unnamed::Parts(parts) => handle.forget(parts),
                Unnamed::OnDisk => handle.leave_the_disk(),
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Versioned> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves positions on, batch by batch.
fn advance(
    files: &mut BTreeMap<FileKey, FilePosition>,
    renamed: Option<&HashMap<FileKey, FileKey>>,
    progress: Vec<Progress>,
) {
    for Progress { mut file, mut position } in progress {
        // Sent before the file was given another key.
        if let Some(new) = renamed.and_then(|renamed| renamed.get(&file)) {
            file.clone_from(new);
            position = files.get(&file).map_or(position.clone(), |known| position.moved_to(known));
        }
        // A batch that was sent before a cut was noted does not know of it.
        let known = files.get(&file).map_or(&[][..], |known| &known.cuts);
        position.cuts =
            known.iter().copied().filter(|(o, end)| *end > position.needed_from((*o).into())).collect();
        files.insert(file, position);
    }
}

#[cfg(test)]
mod tests;
