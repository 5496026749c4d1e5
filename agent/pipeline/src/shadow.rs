//! Shadows: a candidate for a stage's place sees some of the stage's batches and is compared with it, event by event.
//!
//! 1. The candidate is handed what the stage was handed, when the stage has answered already. Nothing that it answers goes
//!    anywhere but into the comparison.
//! 2. A worker does no more for it than copy the events of a batch, and of such batches only that are due. It never
//!    waits: while batches wait for workers, or the batch before is still being compared, the batch is skipped.
//! 3. All candidates share one thread, which has the least priority and works one part of the time and rests nine.
//! 4. A candidate that keeps failing is asked no more. Its faults are its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use weir_event::batch::{Arena, ArenaPool, Batch, BatchBuilder, Flags, Row};
use weir_event::edit::{CompileError, Compiled};
use weir_event::sheet::Sheet;
use weir_event::transform::{Context, Handled, Outcome, Plan, Transform};

use crate::thread;

mod compare;
mod report;

use compare::Comparer;
pub use report::{Counts, Difference, Sample, Skipped, Treatment};

/// What a batch may have, in bytes of its events and of its answer each.
const MAX_BYTES: usize = 4 << 20;
/// Memory that comparing takes at the most, beside the candidates' own: the copies of one batch, what both made of it, and
/// the samples of each candidate.
pub const MEMORY: u64 = 32 << 20;
/// The thread rests so many times as long as it worked: it takes at most a tenth of one CPU.
const REST: u32 = 9;
/// A candidate that spins uses up all its tries at each batch.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Shares are in millionths.
const WHOLE: u64 = 1_000_000;

/// The place for a stage's shadow. It belongs to the stage for as long as that lives; who is in it may change at any time.
#[derive(Default)]
pub struct Slot {
    is_taken: AtomicBool,
    shadow: Mutex<Option<Arc<Shadow>>>,
}

/// A candidate, and how it compares with the stage whose place it may take.
pub struct Shadow {
    name: String,
    /// In millionths.
    share: u64,
    batches: AtomicU64,
    is_off: AtomicBool,
    counts: Counts,
    /// Only the thread asks it, so nobody waits.
    comparer: Mutex<Comparer>,
    thread: Arc<Thread>,
}

/// Who wants the place of a stage.
pub struct Candidate {
    /// The name of the plugin whose place it may take, for the log.
    pub name: String,
    /// The instance that is asked.
    pub transform: Box<dyn Transform>,
    /// Whether it failed so often that nobody should ask it any more.
    pub has_given_up: Box<dyn Fn() -> bool + Send + Sync>,
}

/// The thread on which all candidates run. It ends when no shadow uses it any more.
pub struct Thread {
    jobs: SyncSender<Job>,
    is_busy: Arc<AtomicBool>,
}

/// The right to hand the thread one batch; nobody else can meanwhile.
struct Claim(Arc<AtomicBool>);

/// A batch as a stage was handed it, before the stage's answer is known to whoever compares.
pub(crate) struct Offer {
    shadow: Arc<Shadow>,
    claim: Claim,
    batch: Batch,
    now: i64,
    pressure: f32,
}

struct Job {
    offer: Offer,
    handled: Handled,
}

// === impl Slot ===

impl Slot {
    /// Puts a shadow into the place, or nobody.
    pub fn set(&self, shadow: Option<Arc<Shadow>>) {
        let is_taken = shadow.is_some();
        let before = std::mem::replace(&mut *self.lock(), shadow);
        self.is_taken.store(is_taken, Ordering::Release);
        drop(before);
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<Arc<Shadow>> {
        if !self.is_taken.load(Ordering::Acquire) {
            return None;
        }
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Shadow>>> {
        self.shadow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Shadow ===

impl Shadow {
    /// A candidate for the place of the stage with this plan, which sees `share` millionths of its batches.
    pub fn new(
        live: &Plan,
        candidate: Candidate,
        share: u32,
        thread: &Arc<Thread>,
    ) -> Result<Arc<Shadow>, CompileError> {
        Ok(Arc::new(Shadow {
            name: candidate.name.clone(),
            share: u64::from(share).min(WHOLE),
            batches: AtomicU64::new(0),
            is_off: AtomicBool::new(false),
            counts: Counts::default(),
            comparer: Mutex::new(Comparer::new(live, candidate)?),
            thread: Arc::clone(thread),
        }))
    }

    /// What was compared, and how.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether the candidate is asked no more, because it kept failing.
    pub fn is_off(&self) -> bool {
        self.is_off.load(Ordering::Relaxed)
    }

    /// The right to compare the batch at hand, if it is due and nobody is kept waiting by it.
    pub(crate) fn wants(
        self: Arc<Shadow>,
        sheet: &mut Sheet,
        (compiled, stage): (&Compiled, usize),
        batch: &Batch,
        context: &Context,
        is_queueing: &dyn Fn() -> bool,
    ) -> Option<Offer> {
        if self.is_off() {
            return None;
        }
        let number = self.batches.fetch_add(1, Ordering::Relaxed);
        if !is_due(number, self.share) {
            return None;
        }
        if batch.bytes().len() > MAX_BYTES {
            return self.skip(Skipped::Large);
        }
        if is_queueing() {
            return self.skip(Skipped::Queue);
        }
        let Some(claim) = self.thread.claim() else { return self.skip(Skipped::Busy) };
        let Some(copy) = copy(sheet, compiled, stage, batch) else { return self.skip(Skipped::Large) };
        let (now, pressure) = (context.now, context.pressure);
        Some(Offer { shadow: self, claim, batch: copy, now, pressure })
    }

    fn skip(&self, why: Skipped) -> Option<Offer> {
        self.counts.skip(why);
        None
    }

    fn compare(&self, offer: &Offer, handled: &Handled) {
        let mut comparer = self.comparer.lock().unwrap_or_else(PoisonError::into_inner);
        comparer.compare(&offer.batch, handled, (offer.now, offer.pressure), &self.counts);
        if comparer.has_given_up() {
            tracing::error!(plugin = %self.name, "the shadow of a plugin keeps failing and is asked no more; the plugin itself is not touched by that");
            self.turn_off();
        }
    }

    fn turn_off(&self) {
        self.is_off.store(true, Ordering::Relaxed);
    }
}

/// So that of `n` batches `n × share` are due, evenly.
fn is_due(number: u64, share: u64) -> bool {
    // Beyond that many batches it begins anew; no product can be too large.
    let number = number % WHOLE;
    (number + 1) * share / WHOLE > number * share / WHOLE
}

/// The events of a batch as they stand before a stage; `None` where they are too large by now.
fn copy(sheet: &mut Sheet, compiled: &Compiled, stage: usize, batch: &Batch) -> Option<Batch> {
    let mut texts = Vec::with_capacity(batch.bytes().len());
    let mut standing = Vec::with_capacity(sheet.live());
    sheet.texts_before(compiled, batch, stage, &mut texts, |event, end| standing.push((event, end)));
    if texts.len() > MAX_BYTES {
        return None;
    }
    let mut builder = BatchBuilder::new(Arena::with_capacity(texts.len()));
    let streams: Vec<u32> = batch.streams().iter().map(|stream| builder.add_stream(stream)).collect();
    let mut start = 0;
    for (number, (event, end)) in standing.iter().filter(|(event, _)| !event.is_dead).enumerate() {
        let content = builder.arena.append(texts.get(start..*end).unwrap_or_default());
        start = *end;
        let stream = batch.rows().get(event.row as usize).and_then(|row| streams.get(row.stream as usize));
        builder.push(Row {
            content,
            raw: content,
            offset: number as u64,
            time: event.time,
            stream: *stream?,
            flags: Flags::default(),
        });
    }
    Some(builder.finish(&ArenaPool::new()))
}

// === impl Offer ===

impl Offer {
    /// Has what the stage answered compared with what the candidate answers. Does not wait.
    pub fn compare_with(self, handled: Handled) {
        if size(&handled.outcome) > MAX_BYTES {
            self.shadow.counts.skip(Skipped::Large);
            return;
        }
        let thread = Arc::clone(&self.shadow.thread);
        // Who has the claim finds room; if not, the thread is gone, and the claim with it.
        let _ = thread.jobs.try_send(Job { offer: self, handled });
    }
}

/// Bytes of an answer, by rule of thumb.
fn size(outcome: &Outcome) -> usize {
    let columns = outcome.columns.iter().map(|column| column.values.data.len() + 5 * column.values.len());
    let events = outcome.events.iter().map(|event| event.document.len() + 64);
    outcome.verdicts.len() + columns.sum::<usize>() + outcome.patches.len() * 128 + events.sum::<usize>()
}

// === impl Thread ===

impl Thread {
    /// Starts it.
    pub fn start() -> std::io::Result<Arc<Thread>> {
        let (jobs, received) = sync_channel(1);
        std::thread::Builder::new().name("shadow".to_owned()).spawn(move || {
            thread::lower_priority(thread::LEAST);
            serve(&received);
        })?;
        Ok(Arc::new(Thread { jobs, is_busy: Arc::default() }))
    }

    fn claim(&self) -> Option<Claim> {
        let was_busy = self.is_busy.swap(true, Ordering::AcqRel);
        (!was_busy).then(|| Claim(Arc::clone(&self.is_busy)))
    }
}

/// Until nobody can send anything any more. The claim is given back when the rest is over.
fn serve(jobs: &Receiver<Job>) {
    while let Ok(Job { offer, handled }) = jobs.recv() {
        let begun = Instant::now();
        let shadow = Arc::clone(&offer.shadow);
        let compared =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shadow.compare(&offer, &handled)));
        if compared.is_err() {
            tracing::error!(plugin = %shadow.name, "comparing a plugin with its shadow failed, which is a fault of the agent; the shadow is not asked any more");
            shadow.turn_off();
        }
        let Offer { claim, .. } = offer;
        drop((handled, shadow));
        std::thread::sleep(begun.elapsed().saturating_mul(REST).min(LONGEST_REST));
        drop(claim);
    }
}

// === impl Claim ===

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
