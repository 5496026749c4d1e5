//! The batch being filled, and the way out.

use std::sync::Arc;
use std::time::Duration;

use weir_event::batch::{Arena, ArenaPool, BatchBuilder, MAX_BATCH_BYTES, MAX_ROWS};
use weir_event::stream::Attributes;
use weir_pipeline::checkpoint::Progress;
use weir_pipeline::source::{Outlet, Stopped};

use crate::chain::FileTable;
use crate::file::{FileNumber, FollowedFile, Output};

/// With less room than this a batch is full: smaller reads are not worth their cost.
const MIN_ROOM_BYTES: usize = 16 * 1024;
/// So much of a batch is left to events that are put together from what was read. Without it the first of them in the
/// last read would find no room, and most of that read would be for nothing.
const JOIN_BYTES: usize = 64 * 1024;

/// The batch being filled, and the way out.
pub(crate) struct Outgoing {
    /// The batch being filled.
    pub batch: BatchBuilder,
    /// Its number, from 1.
    number: u64,
    /// The files that it brings further.
    touched: Vec<FileNumber>,
    /// When it got its first row.
    since: Option<Duration>,
    outlet: Box<dyn Outlet>,
    arenas: Arc<ArenaPool>,
}

impl Outgoing {
    pub(crate) fn new(outlet: Box<dyn Outlet>, arenas: Arc<ArenaPool>) -> Outgoing {
        let batch = BatchBuilder::new(arenas.take());
        Outgoing { batch, number: 1, touched: Vec::new(), since: None, outlet, arenas }
    }

    /// Bytes that are still to be read into the batch.
    pub(crate) fn room_to_read(&self) -> usize {
        self.room().saturating_sub(JOIN_BYTES)
    }

    /// Bytes that the batch still takes.
    pub(crate) fn room(&self) -> usize {
        MAX_BATCH_BYTES.saturating_sub(self.batch.arena.len())
    }

    /// Rows that the batch still takes.
    pub(crate) fn row_room(&self) -> usize {
        MAX_ROWS.saturating_sub(self.batch.rows())
    }

    /// Whether it is time to send, whatever else there is to read.
    pub(crate) fn is_full(&self) -> bool {
        self.row_room() == 0 || self.room_to_read() < MIN_ROOM_BYTES
    }

    /// Whether nothing was read into it.
    pub(crate) fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.batch.rows() == 0
    }

    /// Whether what waits longest would wait for longer than `linger`, were it not sent before `next`.
    pub(crate) fn is_due(&self, next: Duration, linger: Duration) -> bool {
        self.since.is_some_and(|since| next >= since + linger)
    }

    /// Whether the pipelines would take a batch at once.
    pub(crate) fn is_ready(&self) -> bool {
        self.outlet.is_ready()
    }

    /// Notes that the batch brings a file further.
    pub(crate) fn touch(&mut self, number: FileNumber, file: &mut FollowedFile, now: Duration) {
        self.since.get_or_insert(now);
        if !file.touched {
            file.touched = true;
            self.touched.push(number);
        }
    }

    /// The place of a file's stream in the batch.
    pub(crate) fn stream_index(&mut self, file: &mut FollowedFile, output: Output, of: &Attributes) -> u32 {
        let (number, indices) = file.stream_indices;
        let known = indices.get(output.index()).copied().flatten();
        if number == self.number
            && let Some(index) = known
        {
            return index;
        }
        let index = self.batch.add_stream(&file.stream(output, of));
        let (number, indices) = &mut file.stream_indices;
        if *number != self.number {
            *number = self.number;
            indices.fill(None);
        }
        if let Some(known) = indices.get_mut(output.index()) {
            *known = Some(index);
        }
        index
    }

    /// Sends what there is; blocks while the pipelines are behind.
    pub(crate) fn send(&mut self, files: &mut FileTable) -> Result<(), Stopped> {
        if self.is_empty() {
            self.batch.arena.truncate(0);
            return Ok(());
        }
        let mut progress = Vec::with_capacity(self.touched.len());
        for number in self.touched.drain(..) {
            let Some(file) = files.get_mut(&number) else { continue };
            file.extend_fingerprint();
            file.touched = false;
            file.last_batch = self.number;
            progress.push(Progress { file: file.key.clone(), position: file.position() });
        }
        let batch = std::mem::replace(&mut self.batch, BatchBuilder::new(Arena::default()));
        self.number += 1;
        self.since = None;
        let sent = self.outlet.send(batch.finish(&self.arenas), progress);
        // Taken only now: where the pipelines are quick, it is the one that they have just let go of.
        self.batch = BatchBuilder::new(self.arenas.take());
        sent
    }

    /// Books bytes that can never be read, and how far that brings their file. It counts as a batch.
    pub(crate) fn lost(&mut self, reason: &'static str, bytes: u64, file: &mut FollowedFile) {
        let progress = Progress { file: file.key.clone(), position: file.position() };
        self.outlet.lost(reason, bytes, vec![progress]);
        file.last_batch = self.number;
        self.number += 1;
    }

    /// Whether a batch is safe, and all those before it.
    pub(crate) fn is_safe(&self, number: u64) -> bool {
        let sent = self.number - 1;
        number <= sent.saturating_sub(self.outlet.outstanding() as u64)
    }
}
