//! Processing: one batch through the stages of one pipeline to finished documents, on one worker.

use std::sync::Arc;
use std::time::Instant;

use weir_buffer::ack::Ack;
use weir_buffer::ledger::{Amount, Entry};
use weir_buffer::segment::{Documents, Record, Targets};
use weir_event::batch::Batch;
use weir_event::edit::Compiled;
use weir_event::json::write_string;
use weir_event::parse::Parser;
use weir_event::sheet::{Applied, Encoded, OnFault, Sheet};
use weir_event::tally::Tally;
use weir_event::transform::{Context, Handled, ReasonClass, Transform};

use crate::explain::{Explanation, Fate, Step, as_if};
use crate::pipeline::{FaultPolicy, Output, Pipeline, Purpose};
use crate::samples::SampleProcessor;
use crate::tap::{At, Looking};

/// How a pipeline takes up the events of one source.
#[derive(Debug, Default)]
pub struct Intake {
    /// For lines that are not JSON objects.
    pub parser: Parser,
    /// Where an event may say its time itself, as a field of the pipeline's compiled plans.
    pub time_field: Option<u16>,
}

/// A batch on its way into one pipeline.
pub(crate) struct Job {
    pub batch: Arc<Batch>,
    /// The name of the source that it is of.
    pub source: Arc<str>,
    /// What it goes through.
    pub pipeline: Arc<Pipeline>,
    pub intake: Arc<Intake>,
    pub amount: Amount,
    pub ack: Ack,
}

/// What one worker keeps for one pipeline.
pub(crate) struct Processor {
    pipeline: Arc<Pipeline>,
    /// In a pipeline of samples, in the place of everything below.
    samples: Option<SampleProcessor>,
    stages: Vec<Box<dyn Transform>>,
    sheet: Sheet,
    context: Context,
    /// How large the last documents were, to make room for the next.
    expected: usize,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(crate) struct Processed {
    pub documents: Documents,
    /// Where each output puts the documents.
    pub targets: Vec<Targets>,
    pub kept: Amount,
    pub dead_letters: Documents,
    /// What else is to be booked, in each account of the pipeline.
    pub entries: Vec<(Entry, Amount)>,
    /// What stages counted.
    pub tallies: Vec<Tally>,
}

/// A stage that holds the pipeline met rows that it cannot handle.
pub(crate) struct Held {
    pub stage: Arc<str>,
    pub suspects: u64,
}

impl Processor {
    pub fn new(pipeline: &Arc<Pipeline>) -> Processor {
        Processor::for_purpose(pipeline, Purpose::Work)
    }

    /// For events that are not on their way to a sink.
    pub fn on_trial(pipeline: &Arc<Pipeline>) -> Processor {
        Processor::for_purpose(pipeline, Purpose::Trial)
    }

    fn for_purpose(pipeline: &Arc<Pipeline>, purpose: Purpose) -> Processor {
        let stages = pipeline.stages.iter().map(|stage| (stage.make)(purpose)).collect();
        let samples = pipeline.samples.as_deref().map(SampleProcessor::new);
        let (pipeline, context) = (Arc::clone(pipeline), Context::default());
        Processor { pipeline, samples, stages, sheet: Sheet::new(), context, expected: 0 }
    }

    /// What a stage says of the events that are left; `None` when there are none.
    fn ask(&mut self, compiled: &Compiled, stage: usize, batch: &Batch) -> Option<Handled> {
        Sheet::context(compiled, stage, batch, &mut self.context);
        let call = self.sheet.call(compiled, stage, batch)?;
        Some(self.stages.get_mut(stage)?.transform(call, &self.context))
    }

    /// Whether it is for this pipeline.
    pub fn is_of(&self, pipeline: &Arc<Pipeline>) -> bool {
        Arc::ptr_eq(&self.pipeline, pipeline)
    }

    /// Brings a batch through the stages and throws away what comes of it; the name of the first stage that cannot
    /// handle it.
    pub fn try_out(&mut self, batch: &Batch, now: i64) -> Result<(), Arc<str>> {
        let pipeline = Arc::clone(&self.pipeline);
        let compiled = &pipeline.compiled;
        self.context.now = now;
        self.context.pressure = 0.0;
        self.sheet.load(compiled, &Parser::default(), None, batch);
        for (index, stage) in pipeline.stages.iter().enumerate() {
            let Some(handled) = self.ask(compiled, index, batch) else { break };
            if !handled.suspects.is_empty() {
                return Err(Arc::clone(&stage.name));
            }
            self.sheet.apply(compiled, index, batch, &handled, OnFault::Pass);
        }
        self.encode(&pipeline, batch, &mut Processed::default());
        Ok(())
    }

    /// The same as [`Processor::run`], slowly, with a look at the event behind each stage.
    pub fn explain(&mut self, batch: &Batch, intake: &Intake, now: i64) -> Explanation {
        let pipeline = Arc::clone(&self.pipeline);
        let compiled = &pipeline.compiled;
        let mut explanation = Explanation::default();
        self.context.now = now;
        self.context.pressure = pipeline.pressure();
        self.sheet.load(compiled, &intake.parser, intake.time_field, batch);
        self.sheet.encode_loaded(compiled, batch, &mut explanation.loaded);
        for (index, stage) in pipeline.stages.iter().enumerate() {
            let begun = Instant::now();
            let Some(handled) = self.ask(compiled, index, batch) else { break };
            let took = begun.elapsed();
            let applied = self.sheet.apply(compiled, index, batch, &handled, as_if(stage.on_fault));
            let drop = applied.drops.first();
            let fate = match drop {
                _ if applied.suspects.0 > 0 => Fate::Failed { policy: stage.on_fault },
                Some(drop) => Fate::Dropped { reason: drop.reason.clone(), class: drop.class },
                None => Fate::Kept,
            };
            let mut documents = Vec::new();
            self.sheet.encode_behind(compiled, batch, index, &mut documents);
            let (created, refused) = (applied.created.0, applied.refused);
            explanation.steps.push(Step {
                stage: Arc::clone(&stage.name),
                fate,
                documents,
                created,
                refused,
                took,
            });
        }
        let mut done = Processed::default();
        self.encode(&pipeline, batch, &mut done);
        explanation.documents = pipeline.leaving(&done.documents);
        explanation
    }

    /// Source → **stages → encode** → buffer. `now` in nanoseconds since the Unix epoch. Who looks changes nothing; while
    /// `is_queueing`, nothing is done that could wait.
    pub fn run(
        &mut self,
        batch: &Batch,
        intake: &Intake,
        now: i64,
        is_queueing: &dyn Fn() -> bool,
        mut looking: Option<&mut Looking>,
    ) -> Result<Processed, Held> {
        let pipeline = Arc::clone(&self.pipeline);
        if let Some(samples) = &mut self.samples {
            let mut done = samples.run(batch, now, looking);
            done.targets = targets(&pipeline, &done.documents);
            return Ok(done);
        }
        let compiled = &pipeline.compiled;
        let mut done = Processed::default();
        self.context.now = now;
        self.context.pressure = pipeline.pressure();
        self.sheet.load(compiled, &intake.parser, intake.time_field, batch);
        if let Some(looking) = looking.as_deref_mut() {
            looking.loaded(&mut At { pipeline: &pipeline, sheet: &mut self.sheet, batch });
        }
        for (index, stage) in pipeline.stages.iter().enumerate() {
            let Some(handled) = self.ask(compiled, index, batch) else { break };
            let mut at = At { pipeline: &pipeline, sheet: &mut self.sheet, batch };
            let on_fault = match on_fault(stage.on_fault, &stage.name, &handled) {
                Ok(on_fault) => on_fault,
                Err(held) => {
                    if let Some(looking) = looking {
                        looking.held(&mut at, index, &handled);
                    }
                    return Err(held);
                }
            };
            let offer = stage.shadow.get().and_then(|shadow| {
                shadow.wants(at.sheet, (compiled, index), batch, &self.context, is_queueing)
            });
            let applied = at.sheet.apply(compiled, index, batch, &handled, on_fault);
            if let Some(looking) = looking.as_deref_mut() {
                looking.behind(&mut at, index, &handled);
            }
            book(&mut done.entries, &stage.name, &applied, on_fault);
            done.tallies.extend(self.stages.get_mut(index).and_then(|stage| stage.take_tally()));
            if applied.suspects.0 > 0 && on_fault == OnFault::DeadLetter {
                self.write_dead_letters(&pipeline, &stage.name, batch, &mut done);
            }
            if let Some(offer) = offer {
                offer.compare_with(handled);
            }
        }
        if let Some(looking) = looking {
            looking.ended(&mut At { pipeline: &pipeline, sheet: &mut self.sheet, batch });
        }
        self.encode(&pipeline, batch, &mut done);
        Ok(done)
    }

    fn encode(&mut self, pipeline: &Pipeline, batch: &Batch, done: &mut Processed) {
        let (mut ndjson, mut records) =
            (Vec::with_capacity(self.expected), Vec::with_capacity(self.sheet.live()));
        let mut kept = Amount::default();
        self.sheet.encode(&pipeline.compiled, batch, Encoded::Kept, &mut ndjson, |finished, end| {
            kept += Amount::one(finished.bytes);
            let (id, time, stream) = (finished.id, finished.time, finished.stream);
            let bytes = u32::try_from(finished.bytes).unwrap_or(u32::MAX);
            records.push(Record { id, time, stream, bytes, end: end as u32 });
        });
        self.expected = ndjson.len() + ndjson.len() / 16;
        done.kept = kept;
        done.documents = Documents { ndjson, records, streams: batch.streams().to_vec() };
        done.targets = targets(pipeline, &done.documents);
    }

    /// What the stage could not handle, each as an object with the reason, the id and the document.
    fn write_dead_letters(&mut self, pipeline: &Pipeline, stage: &str, batch: &Batch, done: &mut Processed) {
        let mut plain = Vec::new();
        let mut ends = Vec::new();
        self.sheet.encode(&pipeline.compiled, batch, Encoded::Dead, &mut plain, |finished, end| {
            ends.push((finished, end));
        });
        let letters = &mut done.dead_letters;
        letters.streams = batch.streams().to_vec();
        let mut start = 0;
        for (finished, end) in ends {
            let out = &mut letters.ndjson;
            out.extend_from_slice(b"{\"reason\":\"plugin_error\",\"pipeline\":");
            write_string(out, &pipeline.name);
            out.extend_from_slice(b",\"stage\":");
            write_string(out, stage);
            out.extend_from_slice(b",\"id\":");
            write_string(out, &finished.id.text());
            out.extend_from_slice(b",\"document\":");
            out.extend_from_slice(plain.get(start..end).unwrap_or_default());
            out.push(b'}');
            let (id, time, stream) = (finished.id, finished.time, finished.stream);
            // Booked in the accounts of the pipeline's sinks, when the stage gave it up.
            letters.records.push(Record { id, time, stream, bytes: 0, end: out.len() as u32 });
            out.push(b'\n');
            start = end + 1;
        }
    }
}

/// Where each output puts the documents.
fn targets(pipeline: &Pipeline, documents: &Documents) -> Vec<Targets> {
    let route = |output: &Output| output.route.as_ref().map(|route| route.route(documents));
    pipeline.outputs.iter().map(|output| route(output).unwrap_or_default()).collect()
}

fn on_fault(policy: FaultPolicy, stage: &Arc<str>, handled: &Handled) -> Result<OnFault, Held> {
    match policy {
        FaultPolicy::Handle(on_fault) => Ok(on_fault),
        FaultPolicy::Hold if handled.suspects.is_empty() => Ok(OnFault::Pass),
        FaultPolicy::Hold => Err(Held { stage: Arc::clone(stage), suspects: handled.suspects.len() as u64 }),
    }
}

/// Books what a stage did, under `stage.reason`.
fn book(entries: &mut Vec<(Entry, Amount)>, stage: &str, applied: &Applied, on_fault: OnFault) {
    for drops in &applied.drops {
        let reason: Arc<str> = format!("{stage}.{}", drops.reason).into();
        let entry = match drops.class {
            ReasonClass::Sampled => Entry::Sampled(reason),
            ReasonClass::Dropped => Entry::Dropped(reason),
        };
        entries.push((entry, Amount { events: drops.events, bytes: drops.bytes }));
    }
    let amount = |(events, bytes)| Amount { events, bytes };
    if applied.created.0 > 0 {
        entries.push((Entry::Created, amount(applied.created)));
    }
    let reason = || format!("{stage}.plugin_error").into();
    match on_fault {
        OnFault::Drop if applied.suspects.0 > 0 => {
            entries.push((Entry::Dropped(reason()), amount(applied.suspects)));
        }
        OnFault::DeadLetter if applied.suspects.0 > 0 => {
            entries.push((Entry::DeadLettered(reason()), amount(applied.suspects)));
        }
        _ => {}
    }
}
