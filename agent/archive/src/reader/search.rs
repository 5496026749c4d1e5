//! Searching: the events that conditions hold for, up to a limit.

use std::ops::ControlFlow;

use super::{Event, Outcome, ReadError, Reader, Selection};

impl Reader {
    /// Tells the selected events with their namespaces, as [`Reader::replay`] gives them, until there are `limit` or
    /// whoever is told has enough. Only frames whose filters admit every condition's value are read. Blocks.
    ///
    /// # Errors
    ///
    /// A condition without a path, or a store that does not answer: events that were told before are right.
    pub fn search(
        &self,
        selection: &Selection,
        limit: u64,
        mut tell: impl FnMut(&str, Event) -> ControlFlow<()>,
    ) -> Result<Outcome, ReadError> {
        let mut replay = self.replay(selection, None)?;
        let mut told = 0;
        while told < limit {
            let Some(chunk) = replay.next_chunk()? else { break };
            for event in chunk.events {
                told += 1;
                if tell(&chunk.namespace, event).is_break() || told >= limit {
                    let mut outcome = replay.into_outcome();
                    // Those of the last frame that nobody wanted were not told.
                    outcome.events = told;
                    return Ok(outcome);
                }
            }
        }
        Ok(replay.into_outcome())
    }
}
