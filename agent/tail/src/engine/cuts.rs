//! Ends groups of lines that nothing was added to for a while. Where a group was ended by the clock stands in the
//! checkpoints on disk before its event leaves: read again, with more lines behind it, it ends in the same place.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use weir_event::batch::Flags;
use weir_pipeline::checkpoint::FileKey;
use weir_pipeline::source::{Mode, Stopped};

use super::Engine;
use crate::chain::ChainNumber;
use crate::file::Output;
use crate::now::Now;
use crate::record::Group;

/// A group that is to end, and where.
struct Due {
    chain: ChainNumber,
    output: Output,
    cut: (FileKey, u8, u64),
}

impl Engine {
    /// A chain has nothing more for now. Its groups are over when the last line is old enough and no other file
    /// follows; whoever is slow to read ends none.
    pub(super) fn note_due_groups(&mut self, number: ChainNumber, now: Now) {
        let Some(grammar) = &self.options.grammar else { return };
        let Some(chain) = self.chains.get(&number).filter(|chain| chain.members.len() <= 1) else { return };
        let is_old = |group: &Group| now.elapsed >= group.seen + grammar.timeout;
        // A record of which parts are missing may go on with the group before it.
        let is_over = |(output, group)| is_old(group) && chain.records.get(output).is_none();
        if chain.records.groups().any(is_over) {
            self.silent.insert(number);
        }
    }

    /// Ends the groups that are over, of all chains at once: one write to the disk is enough for them.
    pub(super) fn end_silent_groups(&mut self, now: Now) -> Result<(), Stopped> {
        if self.silent.is_empty() {
            return Ok(());
        }
        let chains = std::mem::take(&mut self.silent);
        let Some(timeout) = self.options.grammar.as_ref().map(|grammar| grammar.timeout) else {
            return Ok(());
        };
        self.end_groups(&chains, |group| now.elapsed >= group.seen + timeout, now)
    }

    /// Ends all groups of a chain: nothing more comes for them.
    pub(super) fn end_all_groups(&mut self, chain: ChainNumber, now: Now) -> Result<(), Stopped> {
        let has_none = self.chains.get(&chain).is_none_or(|chain| chain.records.groups().next().is_none());
        if has_none {
            return Ok(());
        }
        self.end_groups(&BTreeSet::from([chain]), |_| true, now)
    }

    fn end_groups(
        &mut self,
        chains: &BTreeSet<ChainNumber>,
        is_over: impl Fn(&Group) -> bool,
        now: Now,
    ) -> Result<(), Stopped> {
        let due: Vec<Due> = chains.iter().flat_map(|chain| self.due(*chain, &is_over)).collect();
        let cuts: Vec<_> = due.iter().map(|due| due.cut.clone()).collect();
        if let Err(error) = self.checkpoints.note_cuts(&self.name, &cuts) {
            self.metrics.errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(source = &*self.name, %error, "cannot note where groups of lines end, they wait");
            // Who reads only once does not wait for a better time.
            if self.mode == Mode::Follow {
                return Ok(());
            }
        }
        for Due { chain, output, .. } in due {
            let Some(group) = self.chains.get(&chain).and_then(|chain| chain.records.group(output)) else {
                continue;
            };
            let (bytes, rows) = (group.bytes_needed(), 1 + group.pending.len());
            if rows > self.outgoing.row_room() || bytes > self.outgoing.room() {
                self.outgoing.send(&mut self.files)?;
            }
            let format = self.options.format;
            if let Some(mut lines) = self.lines(chain, now) {
                lines.end_group(output, None, Flags::default(), format);
            }
        }
        Ok(())
    }

    fn due(&self, number: ChainNumber, is_over: &impl Fn(&Group) -> bool) -> Vec<Due> {
        let Some(chain) = self.chains.get(&number) else { return Vec::new() };
        let due = |(output, group): (Output, &Group)| {
            let (file, end) = group.last;
            let key = self.files.get(&file)?.key.clone();
            is_over(group).then_some(Due { chain: number, output, cut: (key, output.index() as u8, end) })
        };
        chain.records.groups().filter_map(due).collect()
    }
}
