//! One followed file: its descriptor, where it stands, and how far it was read.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::OFlags;
use weir_event::cri::OutputStream;
use weir_event::stream::{Attributes, Stream};
use weir_event::time::Rfc3339Reader;
use weir_pipeline::checkpoint::{FileKey, FilePosition, OUTPUTS};

use crate::chain::ChainNumber;
use crate::fingerprint::{Fingerprint, Head};
use crate::handle::{Handle, Packing};
use crate::layout::Order;

/// How many streams of events a file can have.
pub(crate) const STREAMS: usize = OUTPUTS;

/// Which of a file's streams an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// It does not say.
    Unknown,
    Stdout,
    Stderr,
}

impl Output {
    pub(crate) const ALL: [Output; STREAMS] = [Output::Unknown, Output::Stdout, Output::Stderr];

    pub(crate) fn of(stream: OutputStream) -> Output {
        match stream {
            OutputStream::Stdout => Output::Stdout,
            OutputStream::Stderr => Output::Stderr,
        }
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        match self {
            Output::Unknown => "",
            Output::Stdout => OutputStream::Stdout.name(),
            Output::Stderr => OutputStream::Stderr.name(),
        }
    }
}

/// What the system tells files apart by; used again once a file is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    pub device: u64,
    pub inode: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// What this source tells files apart by while it runs; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileNumber(pub u64);

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Known, but not yet in the checkpoints: nothing of it may leave.
    New,
    /// Read, now and later.
    Followed,
    /// Read to its end, and nothing more is expected. It may lie there for long.
    Finished,
}

/// A followed file.
#[derive(Debug)]
pub(crate) struct FollowedFile {
    pub id: FileId,
    pub key: FileKey,
    pub path: PathBuf,
    pub chain: ChainNumber,
    /// Path of its chain's current file, where its own is another.
    pub chain_path: PathBuf,
    pub order: Order,
    pub packing: Packing,
    pub phase: Phase,
    /// Closed where descriptors are short, and when it is finished.
    pub handle: Option<Handle>,
    pub first_seen: i64,
    pub incarnation: Option<u64>,
    pub fingerprint: Fingerprint,
    pub progress: ReadProgress,
    pub signs: Signs,
    /// Number of the last batch with something of it.
    pub last_batch: u64,
    /// Whether the batch being filled has something of it.
    pub touched: bool,
    /// Whether it began anew when it was found shorter than what was read of it.
    pub after_truncation: bool,
    /// Until it is in the checkpoints: the key under which they know it.
    pub goes_on: Option<FileKey>,
    streams: [Option<Arc<Stream>>; STREAMS],
    /// The streams' places in the batch with this number.
    pub stream_indices: (u64, [Option<u32>; STREAMS]),
}

/// How far a file was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadProgress {
    /// The first byte that was not looked at, always the first of a line (but see `overlong_from`).
    pub offset: u64,
    /// Events that end here or before were sent before the start.
    pub sent_until: u64,
    /// From where on this file must be read again for a record that is not complete, by output stream.
    pub held_from: [Option<u64>; STREAMS],
    /// Where the line begins whose rest is being skipped because it is too long.
    pub overlong_from: Option<u64>,
    /// Bytes behind `offset` at the last look that make no whole line.
    pub unfinished: u64,
    /// Time of the last dated event; 0 where there is none.
    pub last_time: i64,
    /// Reads the lines' time stamps.
    pub reader: Rfc3339Reader,
    /// Bytes per line, to guess how many make a batch; 0 where nothing is known.
    pub line_bytes: usize,
    /// Nothing that begins here or later is read: the size when the source started, where it reads only once.
    pub limit: Option<u64>,
    /// Where lines are joined: of each output nothing that begins earlier is looked at, it was sent before the start.
    pub needed_from: [u64; STREAMS],
    /// Where lines are joined: behind which lines a timer ended a group before the start, by output.
    pub cuts: Vec<(u8, u64)>,
    /// Of a compressed file: whether everything in it was read.
    pub complete: bool,
}

/// What was noticed of a file from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signs {
    /// Whether the last read came to the end.
    pub at_end: bool,
    /// When another file took its place.
    pub succeeded_at: Option<Duration>,
    /// When it was seen to have no name any more, or none that is followed.
    pub deleted_at: Option<Duration>,
    /// Whether it had no name at all. Once it is closed, what has its inode is another file.
    pub unlinked: bool,
    /// When it was last asked for its size.
    pub checked_at: Option<Duration>,
    /// What it said.
    pub size: u64,
    /// When it was written to last, as it said.
    pub modified: (i64, i64),
    /// The same, when it was last found to begin as it is known to.
    pub verified: (i64, i64),
    /// Its size when it was opened and found to begin as it is known to.
    pub seen: u64,
    /// Of a compressed file that ends too early: its size on the disk, and since when it has that.
    pub settling: Option<(u64, Duration)>,
    /// The number of complete looks when it was finished.
    pub finished_in: u64,
    /// When something was last read from it.
    pub read_at: Duration,
    /// The last look through everything that found it.
    pub seen_in: u64,
    /// How many complete looks since then did not.
    pub missed: u32,
}

// === impl ReadProgress ===

impl ReadProgress {
    /// Reading that begins at an offset.
    pub(crate) fn starting_at(offset: u64) -> ReadProgress {
        ReadProgress { offset, sent_until: offset, needed_from: [offset; STREAMS], ..ReadProgress::default() }
    }

    /// Reading that goes on where a checkpoint says.
    pub(crate) fn resuming(position: &FilePosition) -> ReadProgress {
        ReadProgress {
            offset: position.resume_from.min(position.position),
            sent_until: position.position,
            last_time: position.last_time,
            needed_from: std::array::from_fn(|output| position.needed_from(output)),
            cuts: position.cuts.clone(),
            // Read again are the parts of a record that goes on behind it.
            complete: position.finished && position.resume_from >= position.position,
            ..ReadProgress::default()
        }
    }

    /// Where what waits begins, by output. As long as what was sent before the start is gone through again, it may not
    /// have been met yet.
    fn held(&self) -> [Option<u64>; STREAMS] {
        let mut held = self.held_from;
        if self.offset < self.sent_until {
            for (held, needed) in held.iter_mut().zip(self.needed_from) {
                *held = held.or((needed < self.sent_until).then_some(needed));
            }
        }
        held
    }

    fn resume_from(&self) -> u64 {
        let held = self.held_from.iter().flatten().copied().min();
        let earliest = held.into_iter().chain(self.overlong_from).min();
        earliest.map_or(self.offset, |earliest| earliest.min(self.offset))
    }
}

// === impl Signs ===

impl Signs {
    /// Takes note of what the system says of the open file.
    pub(crate) fn note(&mut self, stat: &rustix::fs::Stat, now: Duration) {
        self.checked_at = Some(now);
        self.size = u64::try_from(stat.st_size).unwrap_or(0);
        self.modified = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0));
        if stat.st_nlink == 0 {
            self.unlinked = true;
            self.deleted_at.get_or_insert(now);
        }
    }
}

// === impl FollowedFile ===

/// Where a file was found.
pub(crate) struct Opened {
    pub id: FileId,
    pub path: PathBuf,
    pub chain: ChainNumber,
    pub chain_path: PathBuf,
    pub order: Order,
    pub packing: Packing,
    pub handle: Handle,
}

/// What is known of a file: that it is new, or where it goes on.
pub(crate) struct Known {
    pub key: FileKey,
    pub phase: Phase,
    pub first_seen: i64,
    pub incarnation: Option<u64>,
    pub fingerprint: Fingerprint,
    pub progress: ReadProgress,
    pub after_truncation: bool,
    pub goes_on: Option<FileKey>,
}

impl FollowedFile {
    pub(crate) fn new(opened: Opened, known: Known, signs: Signs) -> FollowedFile {
        FollowedFile {
            id: opened.id,
            key: known.key,
            path: opened.path,
            chain: opened.chain,
            chain_path: opened.chain_path,
            order: opened.order,
            packing: opened.packing,
            phase: known.phase,
            handle: Some(opened.handle),
            first_seen: known.first_seen,
            incarnation: known.incarnation,
            fingerprint: known.fingerprint,
            progress: known.progress,
            signs,
            last_batch: 0,
            touched: false,
            after_truncation: known.after_truncation,
            goes_on: known.goes_on,
            streams: [const { None }; STREAMS],
            stream_indices: (0, [None; STREAMS]),
        }
    }

    /// The key that tells it from every other file of the source, also from later ones with the same inode.
    pub(crate) fn key_of(id: FileId, first_seen: i64) -> FileKey {
        format!("{:x}:{:x}:{:x}", id.device, id.inode, first_seen)
    }

    /// How far it is brought by the batch that holds everything read of it so far.
    pub(crate) fn position(&self) -> FilePosition {
        let position = self.progress.offset.max(self.progress.sent_until);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        FilePosition {
            path: text(&self.path),
            device: self.id.device,
            inode: self.id.inode,
            incarnation: self.incarnation.unwrap_or_default(),
            first_seen: self.first_seen,
            position,
            resume_from: self.progress.resume_from().min(position),
            fingerprint: self.fingerprint.hash,
            fingerprint_len: self.fingerprint.len,
            last_time: self.progress.last_time,
            held: self.progress.held(),
            cuts: self.progress.cuts.clone(),
            chain: if self.chain_path == self.path { String::new() } else { text(&self.chain_path) },
            after_truncation: self.after_truncation,
            finished: self.progress.complete,
        }
    }

    /// Where its plain bytes end, as far as that is known.
    pub(crate) fn end(&self) -> u64 {
        let stated = || self.handle.as_ref().and_then(Handle::stated_size);
        match self.packing {
            Packing::Plain => self.signs.size,
            Packing::Gzip => stated().unwrap_or(self.progress.offset),
        }
    }

    /// Covers more of the file with its fingerprint, once more of it is known.
    pub(crate) fn extend_fingerprint(&mut self) {
        if !self.fingerprint.can_grow() || self.progress.offset <= self.fingerprint.len {
            return;
        }
        if let Some(handle) = &self.handle
            && let Ok(head) = Head::read(handle, self.progress.offset)
            && self.fingerprint.matches(head.as_slice())
        {
            self.fingerprint = Fingerprint::of(head.as_slice());
        }
    }

    /// The stream of one of its outputs.
    pub(crate) fn stream(&mut self, output: Output, attributes: &Attributes) -> Arc<Stream> {
        let incarnation = self.incarnation.unwrap_or_default();
        let make = || {
            Stream::new(Attributes { stream: output.name().to_owned(), ..attributes.clone() }, incarnation)
        };
        match self.streams.get_mut(output.index()) {
            Some(stream) => Arc::clone(stream.get_or_insert_with(make)),
            None => make(),
        }
    }

    /// Begins anew with what is another file in the same place: a truncated one, or one with a reused inode.
    pub(crate) fn begin_anew(&mut self, first_seen: i64, incarnation: Option<u64>, fingerprint: Fingerprint) {
        self.key = FollowedFile::key_of(self.id, first_seen);
        self.phase = Phase::New;
        self.first_seen = first_seen;
        self.incarnation = incarnation;
        self.fingerprint = fingerprint;
        self.progress = ReadProgress { limit: self.progress.limit, ..ReadProgress::default() };
        let Signs { seen_in, succeeded_at, .. } = self.signs;
        self.signs = Signs { seen_in, succeeded_at, ..Signs::default() };
        self.last_batch = 0;
        self.touched = false;
        self.after_truncation = false;
        self.goes_on = None;
        self.streams = [const { None }; STREAMS];
        self.stream_indices = (0, [None; STREAMS]);
    }
}

/// Opens a file for reading; what is no regular file is refused.
pub(crate) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // Without waiting: a pipe would hold the thread until somebody writes to it. Without noting the time of each
    // read in the inode, which costs half as much as reading; only the owner and root may ask for that.
    let open =
        |flags: OFlags| OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = match open(OFlags::NONBLOCK | OFlags::NOATIME) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(OFlags::NONBLOCK)?,
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok((file, metadata))
}

/// When a file was written to last.
pub(crate) fn modified(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

/// Whether a path leads to this file.
pub(crate) fn leads_to(path: &Path, id: FileId) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| FileId::of(&metadata) == id)
}
