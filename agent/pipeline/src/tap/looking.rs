//! Looking at one batch on its way through one pipeline: what was chosen of it is followed from stage to stage.

use std::sync::Arc;

use weir_event::batch::{Batch, Row};
use weir_event::identity::EventId;
use weir_event::sheet::{Sheet, Upto};
use weir_event::stream::Stream;
use weir_event::transform::{Handled, ReasonClass};

use super::{After, Sighting, Verdict, Watch};
use crate::pipeline::{Pipeline, Stage};

/// Who looks at a batch.
pub(crate) struct Looking {
    lookers: Vec<Looker>,
    pipeline: Arc<str>,
    streams: Vec<Arc<Stream>>,
}

struct Looker {
    watch: Arc<Watch>,
    /// The stage behind which it looks.
    stage: Option<usize>,
    /// The rows that it looks at, ascending.
    rows: Vec<u32>,
    /// Of these, what did not meet its end yet. A row is the event of the same number.
    followed: Vec<u32>,
    /// With the number of the event.
    sightings: Vec<(u32, Sighting)>,
}

/// Where a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Source,
    /// Behind the step of this number.
    Behind(usize),
    End,
}

/// Where a batch is.
pub(crate) struct At<'a> {
    pub pipeline: &'a Pipeline,
    pub sheet: &'a mut Sheet,
    pub batch: &'a Batch,
}

// === impl Looking ===

impl Looking {
    /// Nothing, where nobody looks at any of it.
    pub(super) fn of<'a>(
        watches: impl Iterator<Item = &'a Arc<Watch>>,
        pipeline: &Pipeline,
        batch: &Batch,
    ) -> Option<Looking> {
        let looker = |watch: &Arc<Watch>| {
            let stage = match &watch.wish.after {
                After::Source | After::End => None,
                // A pipeline without such a stage has nothing to show.
                After::Stage(name) => Some(pipeline.stage(name)?),
            };
            let rows = watch.choose(batch);
            let followed = rows.clone();
            let watch = Arc::clone(watch);
            (!rows.is_empty()).then(|| Looker { watch, stage, rows, followed, sightings: Vec::new() })
        };
        let lookers: Vec<_> = watches.filter_map(looker).collect();
        let streams = || batch.streams().to_vec();
        (!lookers.is_empty()).then(|| Looking {
            lookers,
            pipeline: Arc::clone(&pipeline.name),
            streams: streams(),
        })
    }

    /// A sample is at a place of its pipeline; where it ends there, by which stage and for which reason.
    pub fn sample(
        &mut self,
        index: u32,
        row: &Row,
        place: Place,
        dropped: Option<(&Arc<str>, &Arc<str>)>,
        document: &dyn Fn() -> Vec<u8>,
    ) {
        for looker in &mut self.lookers {
            let looks_here = match (&looker.watch.wish.after, place) {
                (After::Source, Place::Source) | (After::End, Place::End) => true,
                (After::Stage(_), Place::Behind(number)) => looker.stage == Some(number),
                _ => false,
            };
            let is_end = dropped.is_some() && looker.watch.wish.after != After::Source;
            let Ok(at) = looker.followed.binary_search(&index) else { continue };
            let Some(stream) = self.streams.get(row.stream as usize).filter(|_| looks_here || is_end) else {
                continue;
            };
            looker.followed.remove(at);
            let verdict = match (dropped, place) {
                (Some((stage, reason)), _) => Verdict::Dropped {
                    stage: Arc::clone(stage),
                    reason: reason.to_string(),
                    class: ReasonClass::Dropped,
                },
                (None, Place::Source) => Verdict::Read,
                (None, _) => Verdict::Kept,
            };
            let sighting = Sighting {
                pipeline: Arc::clone(&self.pipeline),
                verdict,
                id: EventId::of_sample(row.offset, row.time),
                time: row.time,
                stream: Arc::clone(stream),
                is_made: false,
                document: document(),
                text: None,
            };
            looker.sightings.push((index, sighting));
        }
    }

    /// The batch was loaded, and no stage has seen it.
    pub fn loaded(&mut self, at: &mut At<'_>) {
        for looker in self.lookers.iter_mut().filter(|looker| looker.watch.wish.after == After::Source) {
            for event in std::mem::take(&mut looker.followed) {
                looker.see(at, event, Upto::Loaded, Verdict::Read);
            }
        }
    }

    /// A stage was applied.
    pub fn behind(&mut self, at: &mut At<'_>, number: usize, handled: &Handled) {
        let Some(stage) = at.pipeline.stages.get(number) else { return };
        for looker in &mut self.lookers {
            let looks_here = match looker.watch.wish.after {
                After::Source => continue,
                After::Stage(_) if looker.stage != Some(number) => continue,
                After::Stage(_) => true,
                After::End => false,
            };
            let mut followed = std::mem::take(&mut looker.followed);
            followed.retain(|event| {
                let Ok(row) = at.sheet.called().binary_search(event) else { return false };
                let is_live = at.sheet.is_live(*event);
                let verdict = verdict(stage, handled, row, is_live);
                if is_live && !looks_here {
                    return true;
                }
                let upto = if is_live { Upto::Behind(number) } else { Upto::Before(number) };
                looker.see(at, *event, upto, verdict);
                false
            });
            looker.followed = followed;
            if looks_here {
                looker.see_made(at, Upto::Behind(number));
            }
        }
    }

    /// A stage holds the batch: it comes again.
    pub fn held(&mut self, at: &mut At<'_>, number: usize, handled: &Handled) {
        let Some(stage) = at.pipeline.stages.get(number) else { return };
        for looker in &mut self.lookers {
            for event in std::mem::take(&mut looker.followed) {
                let row = at.sheet.called().binary_search(&event).ok();
                if row.is_some_and(|row| handled.suspects.contains(&(row as u32))) {
                    let verdict = Verdict::Failed { stage: Arc::clone(&stage.name), policy: stage.on_fault };
                    looker.see(at, event, Upto::Before(number), verdict);
                }
            }
        }
    }

    /// All stages were applied.
    pub fn ended(&mut self, at: &mut At<'_>) {
        for looker in self.lookers.iter_mut().filter(|looker| looker.watch.wish.after == After::End) {
            for event in std::mem::take(&mut looker.followed) {
                looker.see(at, event, Upto::End, Verdict::Kept);
            }
            looker.see_made(at, Upto::End);
        }
    }

    /// Hands over what was seen.
    pub fn tell(self) {
        for Looker { watch, mut sightings, .. } in self.lookers {
            // As they were read, wherever they met their end.
            sightings.sort_by_key(|(event, _)| *event);
            watch.offer(sightings.into_iter().map(|(_, sighting)| sighting));
        }
    }
}

fn verdict(stage: &Stage, handled: &Handled, row: usize, is_live: bool) -> Verdict {
    let name = || Arc::clone(&stage.name);
    let given = handled.outcome.verdicts.get(row).copied().unwrap_or_default();
    let reason = usize::from(given).checked_sub(1).and_then(|reason| stage.plan.reasons.get(reason));
    if let (false, Some(reason)) = (is_live, reason) {
        return Verdict::Dropped { stage: name(), reason: reason.name.clone(), class: reason.class };
    }
    // What is gone without a reason had too many edits.
    if !is_live || handled.suspects.binary_search(&(row as u32)).is_ok() {
        return Verdict::Failed { stage: name(), policy: stage.on_fault };
    }
    Verdict::Kept
}

// === impl Looker ===

impl Looker {
    fn see(&mut self, at: &mut At<'_>, event: u32, upto: Upto, verdict: Verdict) {
        let At { pipeline, sheet, batch } = at;
        let mut document = Vec::new();
        let seen = sheet.look(&pipeline.compiled, batch, event as usize, upto, &mut document);
        let Some(finished) = seen else { return };
        let Some(stream) = batch.streams().get(finished.stream as usize) else { return };
        let row = batch.rows().get(event as usize);
        let sighting = Sighting {
            pipeline: Arc::clone(&pipeline.name),
            verdict,
            id: finished.id,
            time: finished.time,
            stream: Arc::clone(stream),
            is_made: row.is_none(),
            document,
            text: row.filter(|_| self.watch.wish.with_text).map(|row| batch.content(row).to_vec()),
        };
        self.sightings.push((event, sighting));
    }

    /// Events that stages made so far of those that it looks at.
    fn see_made(&mut self, at: &mut At<'_>, upto: Upto) {
        for event in at.batch.rows().len()..at.sheet.events() {
            let parent = at.sheet.row_of(event);
            let is_wanted = parent.is_some_and(|row| self.rows.binary_search(&row).is_ok());
            if is_wanted && at.sheet.is_live(event as u32) {
                self.see(at, event as u32, upto, Verdict::Kept);
            }
        }
    }
}
