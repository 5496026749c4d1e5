//! What who looks sees, and that nothing is otherwise because somebody looks.

use weir_buffer::ledger::{Account, Ledger};
use weir_buffer::memory::MemoryTier;
use weir_event::batch::{ArenaPool, BatchBuilder, Flags, Row};
use weir_event::edit::Compiled;
use weir_event::sheet::OnFault;
use weir_event::stream::Attributes;
use weir_event::transform::{Call, Context, Handled, NewEvent, Plan, Reason, Transform};
use weir_samples::labels::LabelSet;
use weir_samples::row::RowWriter;
use weir_samples::stage::{Fate, SampleStage};

use super::*;
use crate::pipeline::{Output, Stage};
use crate::process::{Intake, Processed, Processor};
use crate::samples::SampleStep;

/// Drops what has `"do":"drop"`, fails on `"do":"fail"`, makes an event of `"do":"make"`.
struct Doing(Plan);

impl Transform for Doing {
    fn plan(&self) -> &Plan {
        &self.0
    }

    fn transform(&mut self, call: &Call, _: &Context) -> Handled {
        let mut handled = Handled::default();
        let column = &call.columns[0];
        for row in 0..call.rows {
            let value = column.get(row as usize).map(|(_, value)| value).unwrap_or_default();
            handled.outcome.verdicts.push(u8::from(value == b"drop"));
            match value {
                b"fail" => handled.suspects.push(row),
                b"make" => handled
                    .outcome
                    .events
                    .push(NewEvent { parent: row, document: b"{\"made\":true}".to_vec() }),
                _ => {}
            }
        }
        handled
    }
}

fn plan() -> Plan {
    Plan {
        reads: vec!["do".into()],
        reasons: vec![Reason { name: "told".into(), class: ReasonClass::Sampled }],
        ..Plan::default()
    }
}

fn stage(name: &str, plan: Plan) -> Stage {
    let of = plan.clone();
    Stage {
        name: name.into(),
        plan,
        on_fault: FaultPolicy::Handle(OnFault::Drop),
        make: Box::new(move |_| Box::new(Doing(of.clone()))),
        is_unwell: Box::new(|| false),
        shadow: Arc::default(),
    }
}

fn pipeline() -> Arc<Pipeline> {
    let ledger = Arc::new(Ledger::default());
    let output = |account| Output {
        buffer: MemoryTier::new(1 << 20, Arc::clone(&ledger)),
        account,
        route: None,
        best_effort: false,
        is_urgent: false,
    };
    let stages = vec![stage("one", plan()), stage("two", plan())];
    Arc::new(Pipeline {
        name: "p".into(),
        compiled: Compiled::new(&[&stages[0].plan, &stages[1].plan]).unwrap(),
        samples: None,
        stages,
        outputs: vec![output(ledger.account("p", "s"))],
        dead_letters: output(Account::new("p", "dead letters")),
        weight: 1,
    })
}

fn batch(texts: &[&str]) -> Batch {
    let mut batch = BatchBuilder::new(Default::default());
    let stream = batch.add_stream(&Stream::new(Attributes::default(), 0));
    for (number, text) in texts.iter().enumerate() {
        let content = batch.arena.append(text.as_bytes());
        let offset = number as u64;
        batch.push(Row { content, raw: content, offset, time: 1, stream, flags: Flags::default() });
    }
    batch.finish(&ArenaPool::new())
}

fn wish(after: After) -> Wish {
    Wish { pipeline: None, after, share: 1.0, only: None, with_text: true }
}

fn run(taps: &Taps, texts: &[&str]) -> Processed {
    let (pipeline, batch) = (pipeline(), batch(texts));
    let mut looking = taps.looking(&pipeline, &batch);
    let mut processor = Processor::new(&pipeline);
    let done = processor.run(&batch, &Intake::default(), 0, &|| false, looking.as_mut()).ok().unwrap();
    if let Some(looking) = looking {
        looking.tell();
    }
    done
}

/// What is there to be seen, as `verdict document-without-envelope`.
fn seen(tap: &mut Tap) -> Vec<String> {
    let mut lines = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while !tap.sightings.is_empty() {
        let sighting = runtime.block_on(tap.next()).unwrap();
        let verdict = match &sighting.verdict {
            Verdict::Read => "read".to_owned(),
            Verdict::Kept => "kept".to_owned(),
            Verdict::Dropped { stage, reason, .. } => format!("dropped by {stage}: {reason}"),
            Verdict::Failed { stage, .. } => format!("failed in {stage}"),
        };
        let text = sighting.text.as_deref().map(String::from_utf8_lossy);
        lines.push(format!("{verdict} {}", text.as_deref().unwrap_or("made")));
        let document = String::from_utf8(sighting.document).unwrap();
        assert!(document.starts_with("{\"@timestamp\":") && document.ends_with('}'), "{document}");
        assert_eq!(document.contains("\"made\""), sighting.is_made, "{document}");
    }
    lines
}

const TEXTS: [&str; 5] =
    [r#"{"do":"pass"}"#, r#"{"do":"drop"}"#, r#"{"do":"fail"}"#, r#"{"do":"make"}"#, "no JSON"];

#[test]
fn every_event_is_seen_once_where_it_is_looked_at() {
    let taps = Arc::new(Taps::default());
    let mut source = taps.open(wish(After::Source)).unwrap();
    let mut one = taps.open(wish(After::Stage("one".into()))).unwrap();
    let mut two = taps.open(wish(After::Stage("two".into()))).unwrap();
    let mut end = taps.open(wish(After::End)).unwrap();
    assert_eq!(taps.open(wish(After::End)).unwrap_err(), TooMany);
    run(&taps, &TEXTS);
    assert_eq!(seen(&mut source), TEXTS.map(|text| format!("read {text}")));
    assert_eq!(
        seen(&mut one),
        [
            r#"kept {"do":"pass"}"#,
            r#"dropped by one: told {"do":"drop"}"#,
            r#"failed in one {"do":"fail"}"#,
            r#"kept {"do":"make"}"#,
            "kept no JSON",
            "kept made",
        ]
    );
    let two = seen(&mut two);
    let kept = [r#"kept {"do":"pass"}"#, r#"kept {"do":"make"}"#, "kept no JSON", "kept made", "kept made"];
    assert_eq!(two, kept);
    assert_eq!(
        seen(&mut end),
        [
            r#"kept {"do":"pass"}"#,
            r#"dropped by one: told {"do":"drop"}"#,
            r#"failed in one {"do":"fail"}"#,
            r#"kept {"do":"make"}"#,
            "kept no JSON",
            "kept made",
            "kept made",
        ]
    );
    assert_eq!(end.counts(), Counts { passed: 5, beyond_rate: 0, too_slow: 0 });
}

#[test]
fn who_looks_changes_nothing() {
    let taps = Arc::new(Taps::default());
    let plain = run(&taps, &TEXTS);
    let _taps: Vec<_> = [After::Source, After::Stage("one".into()), After::Stage("two".into()), After::End]
        .map(|after| taps.open(wish(after)).unwrap())
        .into();
    let watched = run(&taps, &TEXTS);
    assert_eq!(watched.documents.ndjson, plain.documents.ndjson);
    assert_eq!(watched.documents.records.len(), 5);
    assert_eq!(watched.entries, plain.entries);
    assert_eq!(watched.kept, plain.kept);
}

#[test]
fn nobody_looks_at_other_pipelines_or_after_the_end() {
    let taps = Arc::new(Taps::default());
    let (pipeline, batch) = (pipeline(), batch(&TEXTS));
    let is_watched = || taps.looking(&pipeline, &batch).is_some();
    assert!(!is_watched());
    let of = |name: &str| Wish { pipeline: Some(name.into()), ..wish(After::End) };
    let other = taps.open(of("q")).unwrap();
    assert!(!is_watched());
    let own = taps.open(of("p")).unwrap();
    assert!(is_watched());
    drop(own);
    assert!(!is_watched());
    let nowhere = taps.open(wish(After::Stage("three".into()))).unwrap();
    let never = taps.open(Wish { share: 0.0, ..wish(After::End) }).unwrap();
    assert!(!is_watched());
    drop((other, nowhere, never));
    assert_eq!(taps.count(), 0);
}

#[test]
fn what_is_too_much_is_counted_and_left_out() {
    let taps = Arc::new(Taps::default());
    let mut tap = taps.open(wish(After::End)).unwrap();
    // A window may end while this runs, but not many do.
    let began = Instant::now();
    let many = vec![r#"{"do":"pass"}"#; 4_000];
    run(&taps, &many);
    let windows = 1 + (began.elapsed().as_millis() / WINDOW.as_millis()) as u64;
    let counts = tap.counts();
    assert_eq!(counts.passed, 4_000);
    assert!(counts.beyond_rate >= 4_000_u64.saturating_sub(EVENTS_IN_WINDOW * windows), "{counts:?}");
    assert_eq!(seen(&mut tap).len() as u64, 4_000 - counts.beyond_rate);

    // Nobody takes what waits: the queue has a bound, and nobody is held up.
    for _ in 0..16 {
        std::thread::sleep(WINDOW);
        run(&taps, &many[..EVENTS_IN_WINDOW as usize]);
    }
    let counts = tap.counts();
    assert!(counts.too_slow >= 16 * EVENTS_IN_WINDOW - QUEUE as u64, "{counts:?}");
    assert_eq!(tap.sightings.len(), QUEUE);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    while !tap.sightings.is_empty() {
        runtime.block_on(tap.next());
    }
    // What was left out by the queue's bound takes no room in it.
    run(&taps, &TEXTS[..1]);
    let queued = tap.watch.queued_bytes.load(Ordering::Relaxed);
    assert!(queued < 4_096, "{queued}");
}

/// Documents with this text in them, of streams of this namespace.
#[derive(Debug)]
struct Holding {
    namespace: &'static str,
    text: &'static [u8],
}

impl Wanted for Holding {
    fn may_be_of(&self, stream: &Stream) -> bool {
        stream.attributes().namespace == self.namespace
    }

    fn is(&self, document: &[u8]) -> bool {
        document.windows(self.text.len()).any(|part| part == self.text)
    }
}

fn only(namespace: &'static str, text: &'static [u8]) -> Wish {
    Wish { only: Some(Arc::new(Holding { namespace, text })), ..wish(After::End) }
}

#[test]
fn what_is_not_wanted_takes_no_room_from_what_is() {
    let taps = Arc::new(Taps::default());
    let mut rare = taps.open(only("", b"rare")).unwrap();
    let mut others = taps.open(only("shop", b"rare")).unwrap();
    // All of them fit into what is looked at in one window, and not into what is shown.
    let texts: Vec<&str> = (0..900).map(|n| if n % 9 == 8 { r#"{"rare":1}"# } else { "{}" }).collect();
    run(&taps, &texts);
    assert_eq!(seen(&mut rare), vec![r#"kept {"rare":1}"#; 100]);
    assert_eq!((rare.counts().passed, rare.counts().beyond_rate), (900, 0));
    assert!(seen(&mut others).is_empty());
    assert_eq!(others.counts(), Counts::default(), "of another namespace nothing is looked at");
}

#[test]
fn what_is_wanted_beyond_the_bounds_is_counted() {
    let taps = Arc::new(Taps::default());
    let mut tap = taps.open(only("", b"rare")).unwrap();
    let began = Instant::now();
    run(&taps, &vec![r#"{"rare":1}"#; 4_000]);
    let windows = 1 + (began.elapsed().as_millis() / WINDOW.as_millis()) as u64;
    let counts = tap.counts();
    assert!(counts.beyond_rate >= 4_000_u64.saturating_sub(EVENTS_IN_WINDOW * windows), "{counts:?}");
    assert_eq!(seen(&mut tap).len() as u64, 4_000 - counts.beyond_rate);
}

#[test]
fn a_large_event_is_seen_alone() {
    let taps = Arc::new(Taps::default());
    let mut tap = taps.open(wish(After::Source)).unwrap();
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(BYTES_IN_WINDOW as usize));
    run(&taps, &[&large, "{}"]);
    assert_eq!(seen(&mut tap), [format!("read {large}")]);
    assert_eq!(tap.counts().beyond_rate, 1);
}

/// Drops every second sample that it sees.
struct EverySecond(u64, Arc<str>);

impl SampleStage for EverySecond {
    fn look<'a>(&'a mut self, _: LabelSet<'_>, _: u64, _: i64) -> Fate<'a> {
        self.0 += 1;
        if self.0.is_multiple_of(2) { Fate::Drop(&self.1) } else { Fate::Keep }
    }
}

#[test]
fn samples_are_seen_as_json_at_their_end() {
    let step = |name: &str| SampleStep {
        name: name.into(),
        make: Box::new(|| Box::new(EverySecond(0, "second".into()))),
    };
    let mut pipeline = Arc::into_inner(pipeline()).unwrap();
    pipeline.stages.clear();
    pipeline.samples = Some(vec![step("one"), step("two")]);
    let pipeline = Arc::new(pipeline);
    let mut batch = BatchBuilder::new(Default::default());
    let stream = batch.add_stream(&Stream::new(Attributes::default(), 0));
    for at in 1..=4 {
        RowWriter::default().push_float(&mut batch, stream, (LabelSet::default(), 7), (at, 0.5));
    }
    let batch = batch.finish(&ArenaPool::new());
    let taps = Arc::<Taps>::default();
    let places = [After::Source, After::Stage("one".into()), After::End];
    let mut open: Vec<Tap> = places.map(|after| taps.open(wish(after)).unwrap()).into();
    let mut looking = taps.looking(&pipeline, &batch);
    let mut processor = Processor::new(&pipeline);
    let done = processor.run(&batch, &Intake::default(), 0, &|| false, looking.as_mut()).ok().unwrap();
    looking.unwrap().tell();
    assert_eq!(done.kept.events, 1);
    let verdicts: Vec<String> = open
        .iter_mut()
        .map(|tap| {
            let of = |sighting: Sighting| match sighting.verdict {
                Verdict::Dropped { stage, .. } => format!("-{stage}"),
                _ => "+".to_owned(),
            };
            std::iter::from_fn(|| tap.sightings.try_recv().ok()).map(of).collect()
        })
        .collect();
    assert_eq!(verdicts, ["++++", "+-one+-one", "+-one-two-one"]);
}
