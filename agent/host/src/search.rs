//! What happens to a batch after a fault.
//!
//! 1. It is tried once more on a fresh instance: what the old one remembered may have been at fault.
//! 2. Then it is halved until the rows that cause the fault stand alone. Where the first half of what failed
//!    does not fail, the second must, and is halved without being tried.
//! 3. All tries together have five deadlines. Rows that are not cleared by then are suspects too, as are rows
//!    whose answers together exceed what one answer may hold, in bytes or in new events.

use std::ops::Range;

use weir_event::sheet::MAX_NEW_EVENTS;
use weir_event::transform::{Call, Context, Handled, Outcome};

use crate::check::size;
use crate::deadline::Budget;
use crate::fault::Cause;
use crate::instance::Instance;
use crate::rows::{Part, merge, slice};

/// Handles a call whose first try failed.
pub(crate) fn recover(instance: &mut Instance, call: &Call, context: &Context, budget: Budget) -> Handled {
    instance.plugin().metrics().retried();
    let mut search = Search {
        instance,
        call,
        context,
        budget,
        parts: Vec::new(),
        suspects: Vec::new(),
        output: 0,
        events: 0,
    };
    match search.instance.attempt(call, context, || budget.whole_call()) {
        Ok(outcome) => return Handled { outcome, suspects: Vec::new() },
        // Halving finds no row at fault where no instance can be made.
        Err(fault) if fault.cause == Cause::Instantiate => search.suspects.push(0..call.rows),
        Err(_) => search.halve(0..call.rows),
    }
    search.finish()
}

/// The search for the rows at fault.
struct Search<'a> {
    instance: &'a mut Instance,
    call: &'a Call,
    context: &'a Context,
    budget: Budget,
    /// Answers, in ascending order of their rows.
    parts: Vec<Part>,
    /// In ascending order.
    suspects: Vec<Range<u32>>,
    /// Bytes of all answers.
    output: usize,
    /// New events of all answers.
    events: usize,
}

// === impl Search ===

impl Search<'_> {
    /// Goes through rows that fail together.
    fn halve(&mut self, rows: Range<u32>) {
        if rows.len() <= 1 || self.budget.is_used_up() {
            self.suspects.push(rows);
            return;
        }
        let middle = rows.start + (rows.end - rows.start) / 2;
        let (first, second) = (rows.start..middle, middle..rows.end);
        let first_is_clear = self.clear(first.clone());
        if !first_is_clear {
            self.halve(first);
        }
        let is_known_to_fail = first_is_clear && second.len() > 1;
        if is_known_to_fail || !self.clear(second.clone()) {
            self.halve(second);
        }
    }

    /// Tries these rows, and keeps the answer to them.
    fn clear(&mut self, rows: Range<u32>) -> bool {
        if self.budget.is_used_up() {
            return false;
        }
        let part = slice(self.call, rows.clone());
        let (budget, halvings) = (self.budget, part.rows.next_power_of_two().trailing_zeros());
        let usual = self.instance.usual(part.rows);
        self.instance.plugin().metrics().retried();
        match self.instance.attempt(&part, self.context, || budget.part(halvings, usual)) {
            Ok(outcome) => self.keep(rows, outcome),
            Err(_) => return false,
        }
        true
    }

    /// Each answer is within the limit by itself; thousands of them need not be.
    fn keep(&mut self, rows: Range<u32>, outcome: Outcome) {
        let output = self.output.saturating_add(size(&outcome));
        let events = self.events + outcome.events.len();
        if output > self.instance.plugin().program().output || events > MAX_NEW_EVENTS {
            self.instance.plugin().metrics().fault(Cause::Output, 1);
            self.suspects.push(rows);
            return;
        }
        (self.output, self.events) = (output, events);
        self.parts.push(Part { rows, outcome });
    }

    fn finish(self) -> Handled {
        let suspects: Vec<u32> = self.suspects.into_iter().flatten().collect();
        self.instance.plugin().metrics().suspected(suspects.len() as u64);
        Handled { outcome: merge(self.parts, self.call.rows), suspects }
    }
}
