//! The end of files: when to leave one for the next, and when to forget it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_pipeline::source::{Mode, Stopped};

use super::read::{Outcome, Tail};
use super::{Engine, Next};
use crate::chain::{Chain, ChainNumber};
use crate::file::{FileNumber, FollowedFile, Phase};
use crate::handle::{Handle, Packing};
use crate::now::Now;

/// A runtime may still write to a file for a moment after its successor appeared.
const GRACE: Duration = Duration::from_secs(1);
/// A compressed file that ends too early is taken for damaged when it did not change for so long.
const PACKED_GRACE: Duration = Duration::from_secs(10);
/// A record that is not complete at the end of a compressed file waits so long for a file with its rest.
const RECORD_GRACE: Duration = Duration::from_secs(600);
/// Why bytes of a compressed file are lost that cannot be decoded.
const CORRUPT_GZIP: &str = "corrupt_gzip";
/// A file that cannot be read is left for its successor after this long.
const BROKEN_GRACE: Duration = Duration::from_secs(60);
/// A file at its end is asked for its size and links this often.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl Engine {
    /// The first file of a chain has nothing more for now.
    pub(super) fn at_end(
        &mut self,
        chain: ChainNumber,
        number: FileNumber,
        now: Now,
    ) -> Result<Next, Stopped> {
        if self.mode == Mode::Once {
            return self.at_end_once(chain, number, now);
        }
        if self.files.get(&number).is_some_and(|file| file.packing == Packing::Gzip) {
            return self.at_end_of_packed(chain, number, now);
        }
        if self.check(number, now)? {
            return Ok(Next::Now);
        }
        let Some(file) = self.files.get_mut(&number) else { return Ok(Next::Later) };
        file.signs.at_end = true;
        if file.phase == Phase::New {
            return Ok(Next::Later);
        }
        if is_over(file, now, GRACE) {
            return self.finish(chain, number, now);
        }
        self.note_due_groups(chain, now);
        let ended = self.chains.get(&chain).and_then(|chain| chain.ended_at);
        if ended.is_some_and(|ended| now.elapsed >= ended + GRACE) {
            self.give_up_records(chain, now)?;
        }
        Ok(Next::Later)
    }

    /// Nothing more can be decoded of a compressed file: it is over, unless it is still being written.
    fn at_end_of_packed(
        &mut self,
        chain: ChainNumber,
        number: FileNumber,
        now: Now,
    ) -> Result<Next, Stopped> {
        let Some(file) = self.files.get_mut(&number) else { return Ok(Next::Later) };
        file.signs.at_end = true;
        if file.phase == Phase::New {
            return Ok(Next::Later);
        }
        let is_short = |handle: &Handle| handle.damage().is_some_and(|damage| damage.is_short);
        if let Some(handle) = file.handle.as_ref().filter(|handle| is_short(handle)) {
            let size = handle.metadata().map_or(0, |metadata| metadata.len());
            match file.signs.settling {
                Some((known, since)) if known == size && now.elapsed >= since + PACKED_GRACE => {}
                Some((known, _)) if known == size => return Ok(Next::Later),
                Some(_) => {
                    handle.try_again();
                    file.signs.settling = None;
                    return Ok(Next::Retry);
                }
                None => {
                    file.signs.settling = Some((size, now.elapsed));
                    return Ok(Next::Later);
                }
            }
        }
        // The next file may not be found yet, and have the rest of a record.
        let Some(members) = self.chains.get(&chain) else { return Ok(Next::Later) };
        let has_next = members.members.len() > 1;
        let grace = if members.records.outputs().is_empty() { PACKED_GRACE } else { RECORD_GRACE };
        let waited = self
            .files
            .get(&number)
            .map_or(Duration::MAX, |file| now.elapsed.saturating_sub(file.signs.read_at));
        if !has_next && waited < grace {
            return Ok(Next::Later);
        }
        self.finish(chain, number, now)
    }

    /// Notes, with what is lost of it, that a compressed file is never looked at again.
    fn complete_packed(&mut self, number: FileNumber, now: Now) -> Result<(), Stopped> {
        let Some(file) = self.files.get_mut(&number).filter(|file| file.packing == Packing::Gzip) else {
            return Ok(());
        };
        file.progress.complete = true;
        self.outgoing.touch(number, file, now.elapsed);
        let Some(damage) = file.handle.as_ref().and_then(Handle::damage) else { return Ok(()) };
        self.metrics.errors.fetch_add(1, Ordering::Relaxed);
        tracing::error!(
            source = &*self.name, path = %file.path.display(), reason = damage.reason,
            delivered_bytes = file.progress.offset, lost_compressed_bytes = damage.rest,
            "a compressed log is damaged: what could be decoded is delivered, the rest is lost"
        );
        // First what was decoded, then that it was all.
        self.outgoing.send(&mut self.files)?;
        if let Some(file) = self.files.get_mut(&number) {
            // Of one that merely ends too early nobody knows how much is missing, but that it is shows.
            self.outgoing.lost(CORRUPT_GZIP, damage.rest.max(1), file);
        }
        Ok(())
    }

    /// The first file of a chain cannot be read.
    pub(super) fn at_failure(
        &mut self,
        chain: ChainNumber,
        number: FileNumber,
        now: Now,
    ) -> Result<Next, Stopped> {
        let is_over = |file: &FollowedFile| is_over(file, now, BROKEN_GRACE);
        if self.mode == Mode::Once || self.files.get(&number).is_some_and(is_over) {
            return self.finish(chain, number, now);
        }
        Ok(Next::Retry)
    }

    fn at_end_once(&mut self, chain: ChainNumber, number: FileNumber, now: Now) -> Result<Next, Stopped> {
        if self.files.get(&number).is_some_and(|file| file.phase == Phase::New) {
            return Ok(Next::Later);
        }
        self.finish(chain, number, now)
    }

    /// Asks a file at its end for its size and links. `true` where it was truncated and begins anew.
    fn check(&mut self, number: FileNumber, now: Now) -> Result<bool, Stopped> {
        let Some(file) = self.files.get_mut(&number) else { return Ok(false) };
        let Some(handle) = &file.handle else { return Ok(false) };
        let is_due = |checked_at| now.elapsed >= checked_at + CHECK_INTERVAL;
        let known_size = file.signs.size;
        if file.signs.checked_at.is_none_or(is_due) {
            let Ok(stat) = handle.stat() else { return Ok(false) };
            file.signs.note(&stat, now.elapsed);
        }
        let is_fresh = file.signs.checked_at == Some(now.elapsed) && file.phase != Phase::New;
        if !is_fresh {
            return Ok(false);
        }
        if file.signs.size < file.progress.offset {
            // What was noted earlier in this round is less than what was read since of a file that grows.
            let Ok(stat) = handle.stat() else { return Ok(false) };
            file.signs.note(&stat, now.elapsed);
        }
        if file.signs.size < file.progress.offset {
            self.truncated(number, known_size, now)?;
            return Ok(true);
        }
        // Truncated and written to again, it may be as long as before.
        let modified = file.signs.modified;
        if file.signs.verified == modified {
            return Ok(false);
        }
        file.signs.verified = modified;
        let replaced = self.was_replaced(number);
        if replaced {
            self.begin_anew(number, now)?;
        }
        Ok(replaced)
    }

    /// Leaves a file for the next of its chain. What it ends with is an event also without a newline.
    pub(super) fn finish(
        &mut self,
        chain: ChainNumber,
        number: FileNumber,
        now: Now,
    ) -> Result<Next, Stopped> {
        if self.read(number, Tail::Take, now)? == Outcome::More {
            return Ok(Next::Now);
        }
        self.complete_packed(number, now)?;
        let Some(file) = self.files.get_mut(&number) else { return Ok(Next::Later) };
        file.phase = Phase::Finished;
        file.signs.finished_in = self.rounds;
        if !self.is_needed(number) {
            self.close(number);
        }
        if let Some(chain) = self.chains.get_mut(&chain) {
            chain.members.retain(|member| *member != number);
        }
        Ok(Next::Now)
    }

    /// All files of a chain are finished: nothing more comes for its records.
    pub(super) fn end_chain(&mut self, chain: ChainNumber, now: Now) -> Result<Next, Stopped> {
        let rounds = self.rounds;
        if self.mode == Mode::Follow
            && let Some(chain) = self.chains.get_mut(&chain)
            && !chain.records.outputs().is_empty()
            && rounds <= *chain.empty_since.get_or_insert(rounds)
        {
            // What was made of the last file may not be found yet, and then the next file not be there yet.
            return Ok(Next::Later);
        }
        self.give_up_records(chain, now)?;
        let waits = |chain: &Chain| chain.records.groups().next().is_some();
        if self.chains.get(&chain).is_some_and(waits) {
            // Where they end could not be noted.
            return Ok(Next::Retry);
        }
        if let Some(chain) = self.chains.remove(&chain) {
            self.by_path.remove(&chain.path);
        }
        Ok(Next::Later)
    }

    /// Sends the records of a chain on their way of which the last part never came.
    fn give_up_records(&mut self, chain: ChainNumber, now: Now) -> Result<(), Stopped> {
        self.end_all_groups(chain, now)?;
        let Some(records) = self.chains.get(&chain).map(|chain| &chain.records) else { return Ok(()) };
        for output in records.outputs() {
            let record = self.chains.get(&chain).and_then(|chain| chain.records.get(output));
            let needed = record.map_or(0, |record| record.bytes_needed());
            if self.outgoing.row_room() == 0 || needed > self.outgoing.room() {
                self.outgoing.send(&mut self.files)?;
            }
            if let Some(mut lines) = self.lines(chain, now) {
                lines.give_up(output);
            }
        }
        Ok(())
    }

    /// Closes what is no longer needed, and forgets what is gone and safe.
    pub(super) fn sweep(&mut self, now: Now) {
        let finished = self.files.iter().filter(|(_, file)| file.phase == Phase::Finished);
        let finished: Vec<FileNumber> = finished.map(|(number, _)| *number).collect();
        for number in finished {
            if self.is_needed(number) {
                continue;
            }
            self.close(number);
            let Some(file) = self.files.get(&number) else { continue };
            let is_safe = !file.touched && self.outgoing.is_safe(file.last_batch);
            // A look that began later would have found what was made of it.
            let is_over = file.signs.deleted_at.is_some() && self.rounds > file.signs.finished_in;
            if is_over && is_safe {
                // What was made of it may be found only now.
                self.memory.note_gone(file.key.clone(), file.position(), 0, now.elapsed);
                self.by_id.remove(&file.id);
                self.files.remove(&number);
            }
        }
        self.forget_copies(now);
        self.bound_held(now);
        self.forget_stale(now);
        let followed = self.files.values().filter(|file| file.phase != Phase::Finished).count();
        self.metrics.files.store(followed as u64, Ordering::Relaxed);
    }

    /// Whether a part of a record lies in a file, so that it must be read again.
    pub(super) fn is_needed(&self, number: FileNumber) -> bool {
        let chain = self.files.get(&number).and_then(|file| self.chains.get(&file.chain));
        chain.is_some_and(|chain| chain.records.has_piece_in(number))
    }

    fn forget_stale(&mut self, now: Now) {
        let outgoing = &self.outgoing;
        let safe = self.stale.extract_if(.., |(_, batch)| outgoing.is_safe(*batch));
        let mut keys: Vec<_> = safe.map(|(key, _)| key).collect();
        keys.extend(self.memory.forget(now.elapsed, |batch| outgoing.is_safe(batch)));
        if !keys.is_empty() {
            self.checkpoints.forget(&self.name, &keys);
        }
    }
}

/// Whether it is so long since a file lost its place that nothing more is expected of it.
fn is_over(file: &FollowedFile, now: Now, grace: Duration) -> bool {
    let since = file.signs.succeeded_at.into_iter().chain(file.signs.deleted_at).min();
    since.is_some_and(|since| now.elapsed >= since + grace)
}
