//! Checkpoints: up to where each file is safe, and the durable part of the ledger, in one file.
//!
//! 1. A position moves only over batches that were acked, in the order in which the source sent them: no gaps.
//! 2. The ledger's durable counts move in the same step, and both are written in one transaction (a temporary file,
//!    synced, renamed over the old one, directory synced).
//! 3. What is not in the file happens again after a crash, and is counted once.
//! 4. What was read for good and only lay in memory, before a best-effort sink, is counted as lost at the next start.
//!
//! The format is described in docs/FORMATS.md.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use weir_buffer::ack::{Acknowledge, Posting};
use weir_buffer::ledger::{Amount, Counts, Entry};

/// First line of the file: this, the version, the CRC32C of the rest and its length.
const MAGIC: &str = "weir-checkpoint";
const VERSION: u32 = 1;
/// Why events are lost that a best-effort sink had not taken when the agent ended.
const AGENT_ENDED: &str = "agent_ended";
/// A larger file is refused: 64 MiB holds some 200,000 followed files.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The outputs that a file's lines can belong to.
pub const OUTPUTS: usize = 3;

/// Which file of a source: `device:inode` or whatever the source tells its files apart by.
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

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct State {
    sources: BTreeMap<String, BTreeMap<FileKey, FilePosition>>,
    ledger: Vec<AccountState>,
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
    state: Mutex<Versioned>,
    /// Held while the file is written, so that two writers cannot swap their order.
    writer: Mutex<u64>,
}

#[derive(Debug, Default)]
struct Versioned {
    state: State,
    version: u64,
    /// By source: the new keys of files that batches may still name by their old ones.
    renamed: HashMap<String, HashMap<FileKey, FileKey>>,
}

impl State {
    fn post(&mut self, entries: Vec<Posting>) {
        for Posting { account, entry, amount } in entries {
            let (pipeline, sink) = (account.pipeline(), account.sink());
            let found = self.ledger.iter().position(|a| a.pipeline == pipeline && a.sink == sink);
            let at = found.unwrap_or_else(|| {
                let (pipeline, sink) = (pipeline.to_owned(), sink.to_owned());
                self.ledger.push(AccountState { pipeline, sink, counts: Counts::default() });
                self.ledger.len() - 1
            });
            if let Some(account) = self.ledger.get_mut(at) {
                account.counts.book(&entry, amount);
            }
        }
    }

    /// Gives what was in memory when the agent ended its fate.
    fn close_accounts(&mut self) {
        for AccountState { counts, .. } in &mut self.ledger {
            let mut missing = counts.incoming();
            missing -= counts.settled();
            if missing != Amount::default() {
                counts.book(&Entry::Lost(AGENT_ENDED.into()), missing);
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
        let mut state = match read_file(&path) {
            Ok(state) => state.unwrap_or_default(),
            Err(error @ CheckpointError::Damaged { .. }) => {
                let previous = read_file(&previous_path(&path)).ok().flatten();
                let Some(state) = previous else { return Err(error) };
                tracing::warn!(%error, "using the previous checkpoint file");
                state
            }
            Err(error) => return Err(error),
        };
        state.close_accounts();
        Ok(Checkpoints {
            path,
            state: Mutex::new(Versioned { state, version: 0, renamed: HashMap::new() }),
            writer: Mutex::new(0),
        })
    }

    /// The positions of a source's files.
    pub fn positions(&self, source: &str) -> BTreeMap<FileKey, FilePosition> {
        self.lock().state.sources.get(source).cloned().unwrap_or_default()
    }

    /// The durable counts of every account, as (pipeline, sink, counts).
    pub fn counts(&self) -> Vec<(String, String, Counts)> {
        let state = self.lock();
        state.state.ledger.iter().map(|a| (a.pipeline.clone(), a.sink.clone(), a.counts.clone())).collect()
    }

    /// Makes files known, durably: returns when they are on disk, before their first event may leave.
    pub fn register(&self, source: &str, files: Vec<(FileKey, FilePosition)>) -> Result<(), CheckpointError> {
        {
            let mut state = self.lock();
            state.state.sources.entry(source.to_owned()).or_default().extend(files);
            state.version += 1;
        }
        self.save()
    }

    /// Lets a file go on under another key, durably: it lies elsewhere now, as `place` says (its path, chain, device,
    /// inode and fingerprint). Batches that were sent under the old key bring the new one further.
    pub fn rename(
        &self,
        source: &str,
        old: &FileKey,
        new: &FileKey,
        place: &FilePosition,
    ) -> Result<(), CheckpointError> {
        {
            let mut state = self.lock();
            let files = state.state.sources.entry(source.to_owned()).or_default();
            let position = files.remove(old).unwrap_or_default();
            files.insert(new.clone(), position.moved_to(place));
            if old != new {
                state.renamed.entry(source.to_owned()).or_default().insert(old.clone(), new.clone());
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

    /// Moves positions and counts over a batch that is safe.
    fn settle(&self, source: &str, progress: Vec<Progress>, entries: Vec<Posting>) {
        let mut guard = self.lock();
        let Versioned { state, renamed, .. } = &mut *guard;
        if !progress.is_empty() {
            let files = state.sources.entry(source.to_owned()).or_default();
            for Progress { mut file, mut position } in progress {
                // Sent before the file was given another key.
                if let Some(new) = renamed.get(source).and_then(|renamed| renamed.get(&file)) {
                    file.clone_from(new);
                    position = files.get(&file).map_or(position.clone(), |known| position.moved_to(known));
                }
                // A batch that was sent before a cut was noted does not know of it.
                let known = files.get(&file).map_or(&[][..], |known| &known.cuts);
                position.cuts = known
                    .iter()
                    .copied()
                    .filter(|(o, end)| *end > position.needed_from((*o).into()))
                    .collect();
                files.insert(file, position);
            }
        }
        state.post(entries);
        guard.version += 1;
    }

    /// Books entries whose position was settled before.
    fn settle_counts(&self, entries: Vec<Posting>) {
        let mut guard = self.lock();
        guard.state.post(entries);
        guard.version += 1;
    }

    /// Writes the file if something changed since the last time.
    pub fn save(&self) -> Result<(), CheckpointError> {
        let mut written = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, version) = {
            let guard = self.lock();
            if guard.version == *written {
                return Ok(());
            }
            (guard.state.clone(), guard.version)
        };
        write_file(&self.path, &state)?;
        *written = version;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Versioned> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === the order of acks ===

/// The batches of one source that are on their way, in the order in which it sent them.
pub struct AckQueue {
    source: String,
    checkpoints: Arc<Checkpoints>,
    state: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    /// Sequence number of the first entry of `progress`.
    first: u64,
    progress: VecDeque<Vec<Progress>>,
    /// Batches that are safe but have one before them that is not.
    safe: HashMap<u64, Vec<Posting>>,
    /// What is known of batches beside, that are not settled themselves.
    late: HashMap<u64, Vec<Posting>>,
}

impl AckQueue {
    /// An empty queue for a source.
    pub fn new(source: &str, checkpoints: Arc<Checkpoints>) -> Arc<AckQueue> {
        Arc::new(AckQueue { source: source.to_owned(), checkpoints, state: Mutex::default() })
    }

    /// Notes a batch that is sent; its ack comes back with the number returned.
    pub fn sent(&self, progress: Vec<Progress>) -> u64 {
        let mut pending = self.lock();
        pending.progress.push_back(progress);
        pending.first + pending.progress.len() as u64 - 1
    }

    /// How many batches are not settled.
    pub fn outstanding(&self) -> usize {
        self.lock().progress.len()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Acknowledge for AckQueue {
    /// An unsafe batch stays in the queue for ever: no position passes it, and a restart reads it again.
    fn acknowledge(&self, sequence: u64, safe: bool, entries: Vec<Posting>) {
        if !safe {
            return;
        }
        let mut guard = self.lock();
        guard.safe.insert(sequence, entries);
        loop {
            let first = guard.first;
            let Some(mut entries) = guard.safe.remove(&first) else { break };
            entries.extend(guard.late.remove(&first).unwrap_or_default());
            let progress = guard.progress.pop_front().unwrap_or_default();
            guard.first += 1;
            self.checkpoints.settle(&self.source, progress, entries);
        }
    }

    fn acknowledge_late(&self, sequence: u64, entries: Vec<Posting>) {
        let mut guard = self.lock();
        if sequence < guard.first {
            self.checkpoints.settle_counts(entries);
        } else {
            guard.late.entry(sequence).or_default().extend(entries);
        }
    }
}

// === the file ===

fn previous_path(path: &Path) -> PathBuf {
    path.with_extension("previous")
}

fn read_file(path: &Path) -> Result<Option<State>, CheckpointError> {
    let io = |action, error| CheckpointError::Io { action, path: path.to_owned(), error };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("open", error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| io("read", error))?;
    decode(&bytes).map(Some).map_err(|reason| CheckpointError::Damaged { path: path.to_owned(), reason })
}

fn decode(bytes: &[u8]) -> Result<State, String> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("longer than {MAX_FILE_BYTES} bytes"));
    }
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("no header line")?;
    let (header, rest) = bytes.split_at(end);
    let body = rest.get(1..).unwrap_or_default();
    let header = std::str::from_utf8(header).map_err(|_| "header is not text")?;
    let mut words = header.split(' ');
    if words.next() != Some(MAGIC) {
        return Err("not a checkpoint file".into());
    }
    if words.next() != Some("1") {
        return Err("written by a newer version".into());
    }
    let crc = words.next().and_then(|w| u32::from_str_radix(w, 16).ok()).ok_or("no checksum")?;
    let length = words.next().and_then(|w| w.parse::<usize>().ok()).ok_or("no length")?;
    if body.len() != length {
        return Err(format!("{} bytes where the header says {length}", body.len()));
    }
    if crc32c::crc32c(body) != crc {
        return Err("checksum mismatch".into());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn encode(state: &State) -> Vec<u8> {
    let body = serde_json::to_vec(state).unwrap_or_default();
    let mut out = format!("{MAGIC} {VERSION} {:08x} {}\n", crc32c::crc32c(&body), body.len()).into_bytes();
    out.extend_from_slice(&body);
    out
}

fn write_file(path: &Path, state: &State) -> Result<(), CheckpointError> {
    let temporary = path.with_extension("new");
    let io = |action, error| CheckpointError::Io { action, path: path.to_owned(), error };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&temporary).map_err(|error| io("create", error))?;
    file.write_all(&encode(state)).map_err(|error| io("write", error))?;
    file.sync_data().map_err(|error| io("sync", error))?;
    drop(file);
    // A hard link keeps the previous one reachable without a moment in which there is none.
    let previous = previous_path(path);
    let _ = std::fs::remove_file(&previous);
    let _ = std::fs::hard_link(path, &previous);
    std::fs::rename(&temporary, path).map_err(|error| io("replace", error))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| io("sync the directory of", error))
}

#[cfg(test)]
mod tests {
    use weir_buffer::ack::Ack;
    use weir_buffer::ledger::Account;

    use super::*;

    fn progress(to: u64) -> Vec<Progress> {
        let position = FilePosition { position: to, resume_from: to, ..FilePosition::default() };
        vec![Progress { file: "1:2".into(), position }]
    }

    fn position(checkpoints: &Checkpoints) -> Option<u64> {
        checkpoints.positions("apps").get("1:2").map(|p| p.position)
    }

    #[test]
    fn positions_move_over_acked_batches_in_order_only() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Arc::new(Checkpoints::open(dir.path()).unwrap());
        let queue = AckQueue::new("apps", checkpoints.clone());
        let acks: Vec<Ack> = (1..=4).map(|n| Ack::new(queue.sent(progress(n * 10)), queue.clone())).collect();
        let mut acks = acks.into_iter();
        let (first, second, third, fourth) =
            (acks.next().unwrap(), acks.next().unwrap(), acks.next().unwrap(), acks.next().unwrap());
        second.release();
        assert_eq!(position(&checkpoints), None);
        first.release();
        assert_eq!(position(&checkpoints), Some(20));
        drop(third);
        fourth.release();
        assert_eq!(position(&checkpoints), Some(20), "an unsafe batch holds everything behind it");
        assert_eq!(queue.outstanding(), 2);
    }

    #[test]
    fn counts_become_durable_with_the_position() {
        let dir = tempfile::tempdir().unwrap();
        let account = Account::new("p", "s");
        {
            let checkpoints = Arc::new(Checkpoints::open(dir.path()).unwrap());
            let queue = AckQueue::new("apps", checkpoints.clone());
            for amount in [3, 4] {
                let ack = Ack::new(queue.sent(progress(amount)), queue.clone());
                ack.book(&account, Entry::Read, Amount { events: amount, bytes: 1 });
                if amount == 3 {
                    ack.release();
                }
            }
            checkpoints.save().unwrap();
        }
        let checkpoints = Checkpoints::open(dir.path()).unwrap();
        assert_eq!(position(&checkpoints), Some(3));
        let counts = checkpoints.counts();
        assert_eq!(counts[0].2.read, Amount { events: 3, bytes: 1 });
    }

    /// A batch of ten events for two sinks, one of which nobody waits for.
    fn two_sinks(queue: &Arc<AckQueue>) -> (Ack, Ack, [Arc<Account>; 2]) {
        let accounts = [Account::new("p", "awaited"), Account::new("p", "best-effort")];
        let ack = Ack::new(queue.sent(progress(10)), queue.clone());
        for account in &accounts {
            ack.book(account, Entry::Read, Amount { events: 10, bytes: 10 });
        }
        let late = ack.late();
        (ack, late, accounts)
    }

    #[test]
    fn a_best_effort_sink_is_counted_with_the_batch_or_after_it_never_before() {
        let ten = Amount { events: 10, bytes: 10 };
        for is_first in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let checkpoints = Arc::new(Checkpoints::open(dir.path()).unwrap());
            let (ack, late, [awaited, best_effort]) = two_sinks(&AckQueue::new("apps", checkpoints.clone()));
            let deliver = |ack: Ack, account: &Arc<Account>| {
                ack.book(account, Entry::Delivered, ten);
                ack.release();
            };
            if is_first {
                deliver(late, &best_effort);
                assert_eq!(checkpoints.counts(), [], "the batch may yet be read again");
                deliver(ack, &awaited);
            } else {
                deliver(ack, &awaited);
                deliver(late, &best_effort);
            }
            checkpoints.save().unwrap();
            let counts = Checkpoints::open(dir.path()).unwrap().counts();
            assert_eq!(counts.len(), 2);
            assert!(counts.iter().all(|(_, _, counts)| (counts.read, counts.delivered) == (ten, ten)));
        }
    }

    #[test]
    fn what_a_best_effort_sink_had_not_taken_is_lost_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Arc::new(Checkpoints::open(dir.path()).unwrap());
        let (ack, late, [awaited, _]) = two_sinks(&AckQueue::new("apps", checkpoints.clone()));
        ack.book(&awaited, Entry::Delivered, Amount { events: 10, bytes: 10 });
        ack.release();
        checkpoints.save().unwrap();
        drop(late);
        let lost = |sink: &str| {
            let counts = Checkpoints::open(dir.path()).unwrap().counts();
            let (.., counts) = counts.into_iter().find(|(_, name, _)| name == sink).unwrap();
            assert_eq!(counts.incoming(), counts.settled());
            counts.lost.get(AGENT_ENDED).map_or(0, |lost| lost.events)
        };
        assert_eq!((lost("awaited"), lost("best-effort")), (0, 10));
    }

    #[test]
    fn a_damaged_file_falls_back_to_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(dir.path()).unwrap();
        checkpoints.settle("apps", progress(1), Vec::new());
        checkpoints.save().unwrap();
        checkpoints.settle("apps", progress(2), Vec::new());
        checkpoints.save().unwrap();
        let path = dir.path().join("checkpoint");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(position(&Checkpoints::open(dir.path()).unwrap()), Some(1));
        std::fs::remove_file(dir.path().join("checkpoint.previous")).unwrap();
        assert!(matches!(Checkpoints::open(dir.path()), Err(CheckpointError::Damaged { .. })));
    }

    #[test]
    fn the_written_form_is_the_documented_one() {
        let mut state = State::default();
        let file = FilePosition { path: "/var/log/a.log".into(), position: 7, ..FilePosition::default() };
        state.sources.entry("apps".into()).or_default().insert("1:2".into(), file);
        let golden = include_bytes!("../tests/golden/checkpoint.v1");
        assert_eq!(String::from_utf8_lossy(&encode(&state)), String::from_utf8_lossy(golden));
        assert_eq!(decode(golden).unwrap(), state);
    }
}
