//! Deleted files that are held open because not all of them was read: as long as they are, they take room on the disk
//! that nobody sees. They are bounded by bytes and by age; past a bound the oldest is let go.
//!
//! A file that was only renamed takes no room on our account and is there to be read later, so it is not counted here.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Engine;
use crate::file::{FileNumber, FollowedFile, Phase};
use crate::now::Now;

/// Why bytes of a file are lost that was let go.
const ROTATION: &str = "rotation";

/// Bounds of what is held open of deleted files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldLimits {
    /// All their bytes on the disk.
    pub bytes: u64,
    /// Since the file was seen to be gone.
    pub age: Duration,
}

struct Held {
    number: FileNumber,
    since: Duration,
    size: u64,
}

impl Engine {
    /// Lets go of deleted files past the bounds, and counts the rest.
    pub(super) fn bound_held(&mut self, now: Now) {
        let mut held: Vec<Held> =
            self.files.iter_mut().filter_map(|(number, file)| held(*number, file, now)).collect();
        held.sort_by_key(|held| (held.since, held.number));
        let mut bytes: u64 = held.iter().map(|held| held.size).sum();
        let mut count = held.len() as u64;
        let limits = self.options.held;
        for Held { number, since, size } in held {
            let is_old = now.elapsed.saturating_sub(since) >= limits.age;
            if !is_old && bytes <= limits.bytes {
                continue;
            }
            bytes -= size;
            count -= 1;
            self.let_go_unread(number, now);
        }
        self.metrics.held_files.store(count, Ordering::Relaxed);
        self.metrics.held_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Leaves a file whose rest can never be read again.
    fn let_go_unread(&mut self, number: FileNumber, now: Now) {
        let Some(file) = self.files.get_mut(&number) else { return };
        let end = file.end();
        let mut lost = end.saturating_sub(file.progress.offset);
        file.phase = Phase::Finished;
        file.progress.offset = end.max(file.progress.offset);
        file.progress.unfinished = 0;
        file.progress.overlong_from = None;
        let (path, since) = (file.path.clone(), file.signs.deleted_at);
        if let Some(chain) = self.chains.get_mut(&file.chain) {
            lost += chain.records.leave_out(number);
            chain.members.retain(|member| *member != number);
        }
        file.progress.held_from.fill(None);
        if lost == 0 {
            self.outgoing.touch(number, file, now.elapsed);
            return self.close(number);
        }
        self.outgoing.lost(ROTATION, lost, file);
        self.close(number);
        let held_for_seconds = now.elapsed.saturating_sub(since.unwrap_or(now.elapsed)).as_secs();
        tracing::error!(
            source = &*self.name, path = %path.display(), bytes = lost, held_for_seconds,
            "let go of a deleted file that was not read to its end, what was not read is lost; \
             the sinks were too slow for it: give them a buffer on disk, or raise max_held_bytes and max_held_age"
        );
    }
}

/// What is held of a file that has no name any more.
fn held(number: FileNumber, file: &mut FollowedFile, now: Now) -> Option<Held> {
    let signs = &file.signs;
    let lost_its_place = signs.missed > 0 || signs.deleted_at.is_some() || signs.succeeded_at.is_some();
    if !lost_its_place {
        return None;
    }
    let stat = file.handle.as_ref()?.stat().ok()?;
    file.signs.note(&stat, now.elapsed);
    let since = file.signs.deleted_at.filter(|_| file.signs.unlinked)?;
    Some(Held { number, since, size: u64::try_from(stat.st_size).unwrap_or(0) })
}
