//! One batch, as a stage treated it and as its candidate does.
//!
//! Both are brought to copies of the same events, each with its own plan, and what comes out is compared byte for byte:
//! the reason of an event that is dropped, the object of one that is kept, the events that are made of it.

use std::collections::BTreeMap;
use std::ops::Range;

use weir_event::batch::Batch;
use weir_event::edit::{CompileError, Compiled};
use weir_event::parse::Parser;
use weir_event::sheet::{OnFault, Sheet};
use weir_event::transform::{Call, Context, Handled, Plan, Reason, Transform};

use super::Candidate;
use super::report::{Counts, Difference, Sample, Treatment, text};

/// What comparing needs of both.
pub(super) struct Comparer {
    live: Side,
    candidate: Side,
    transform: Box<dyn Transform>,
    has_given_up: Box<dyn Fn() -> bool + Send + Sync>,
}

/// What is known of one of the two.
struct Side {
    compiled: Compiled,
    reasons: Vec<Reason>,
}

/// What one of the two made of a batch.
struct Treated<'a> {
    side: &'a Side,
    verdicts: Vec<u8>,
    texts: Vec<u8>,
    /// By row.
    rows: Vec<Fate>,
    /// By row, what was made of it.
    events: BTreeMap<u32, Vec<Range<usize>>>,
}

#[derive(Clone, Debug, Default)]
enum Fate {
    #[default]
    Dropped,
    Faulted,
    Kept(Range<usize>),
}

// === impl Comparer ===

impl Comparer {
    pub fn new(live: &Plan, candidate: Candidate) -> Result<Comparer, CompileError> {
        let Candidate { transform, has_given_up, name: _ } = candidate;
        let (live, candidate) = (Side::new(live)?, Side::new(transform.plan())?);
        Ok(Comparer { live, candidate, transform, has_given_up })
    }

    pub fn has_given_up(&self) -> bool {
        (self.has_given_up)()
    }

    /// Asks the candidate, and counts how what it answers compares with what the stage answered.
    pub fn compare(
        &mut self,
        batch: &Batch,
        handled: &Handled,
        (now, pressure): (i64, f32),
        counts: &Counts,
    ) {
        // What a giant batch takes is given back with it.
        let mut sheet = Sheet::new();
        let live = self.live.treat(&mut sheet, batch, |_| handled.clone());
        let mut context = Context { now, pressure, attributes: Vec::new() };
        Sheet::context(&self.candidate.compiled, 0, batch, &mut context);
        let transform = &mut self.transform;
        let candidate = self.candidate.treat(&mut sheet, batch, |call| transform.transform(call, &context));

        let mut events = [0; Difference::ALL.len()];
        let mut samples: Vec<Sample> = Vec::new();
        for (row, read) in (0..).zip(batch.rows()) {
            let difference = difference(&live, &candidate, row);
            if let Some(count) = events.get_mut(difference as usize) {
                *count += 1;
            }
            if difference.is_different() && samples.iter().all(|sample| sample.difference != difference) {
                samples.push(Sample {
                    difference,
                    time: read.time,
                    event: text(batch.content(read)),
                    live: live.treatment(row),
                    candidate: candidate.treatment(row),
                });
            }
        }
        counts.note(events, samples);
    }
}

fn difference(live: &Treated<'_>, candidate: &Treated<'_>, row: u32) -> Difference {
    match (live.fate(row), candidate.fate(row)) {
        (_, Fate::Faulted) => Difference::Faulted,
        (Fate::Faulted, _) => Difference::LiveFaulted,
        (Fate::Kept(_), Fate::Dropped) => Difference::KeptToDropped,
        (Fate::Dropped, Fate::Kept(_)) => Difference::DroppedToKept,
        (Fate::Dropped, Fate::Dropped) if live.reason(row) != candidate.reason(row) => Difference::Reason,
        (Fate::Kept(one), Fate::Kept(other)) if live.bytes(one) != candidate.bytes(other) => {
            Difference::Edits
        }
        (Fate::Dropped, Fate::Dropped) | (Fate::Kept(_), Fate::Kept(_)) => {
            match live.events_of(row).eq(candidate.events_of(row)) {
                true => Difference::Same,
                false => Difference::Events,
            }
        }
    }
}

// === impl Side ===

impl Side {
    fn new(plan: &Plan) -> Result<Side, CompileError> {
        Ok(Side { compiled: Compiled::new(&[plan])?, reasons: plan.reasons.clone() })
    }

    /// Brings an answer to the batch.
    fn treat(&self, sheet: &mut Sheet, batch: &Batch, answer: impl FnOnce(&Call) -> Handled) -> Treated<'_> {
        let compiled = &self.compiled;
        let mut treated = Treated {
            side: self,
            verdicts: Vec::new(),
            texts: Vec::with_capacity(batch.bytes().len()),
            rows: vec![Fate::Dropped; batch.rows().len()],
            events: BTreeMap::new(),
        };
        sheet.load(compiled, &Parser::Json, None, batch);
        let Some(call) = sheet.call(compiled, 0, batch) else { return treated };
        let handled = answer(call);
        sheet.apply(compiled, 0, batch, &handled, OnFault::DeadLetter);
        let mut start = 0;
        let mut texts = std::mem::take(&mut treated.texts);
        let Treated { rows, events, .. } = &mut treated;
        sheet.texts_behind(compiled, batch, &mut texts, |standing, end| {
            let bytes = start..end;
            start = end;
            match (standing.ordinal, rows.get_mut(standing.row as usize)) {
                (0, Some(fate)) if standing.is_dead => *fate = Fate::Faulted,
                (0, Some(fate)) => *fate = Fate::Kept(bytes),
                _ => events.entry(standing.row).or_default().push(bytes),
            }
        });
        treated.texts = texts;
        treated.verdicts = handled.outcome.verdicts;
        treated
    }
}

// === impl Treated ===

impl Treated<'_> {
    fn fate(&self, row: u32) -> &Fate {
        self.rows.get(row as usize).unwrap_or(&Fate::Dropped)
    }

    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.texts.get(range.clone()).unwrap_or_default()
    }

    /// Why a row was dropped.
    fn reason(&self, row: u32) -> Option<&Reason> {
        let verdict = self.verdicts.get(row as usize).copied().unwrap_or_default();
        self.side.reasons.get(usize::from(verdict).checked_sub(1)?)
    }

    fn events_of(&self, row: u32) -> impl Iterator<Item = &[u8]> {
        self.events.get(&row).into_iter().flatten().map(|range| self.bytes(range))
    }

    fn treatment(&self, row: u32) -> Treatment {
        let treatment = match self.fate(row) {
            Fate::Faulted => Treatment { faulted: true, ..Treatment::default() },
            Fate::Kept(range) => Treatment { kept: Some(text(self.bytes(range))), ..Treatment::default() },
            Fate::Dropped => {
                let reason = self.reason(row).map(|reason| (reason.name.clone(), reason.class));
                Treatment { dropped: reason, ..Treatment::default() }
            }
        };
        treatment.with_events(self.events_of(row))
    }
}
