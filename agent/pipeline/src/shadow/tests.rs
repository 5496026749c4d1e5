//! Stages and their shadows, both made by hand.

use weir_buffer::ledger::{Account, Ledger};
use weir_buffer::memory::MemoryTier;
use weir_event::batch::{Flags, Row};
use weir_event::column::Kind;
use weir_event::stream::{Attributes, Stream};
use weir_event::transform::{Call, Edit, NewEvent, Patch, Reason, ReasonClass};

use super::*;
use crate::pipeline::{FaultPolicy, Output, Pipeline, Stage};
use crate::process::{Intake, Processor};

/// A stage that reads `level` and does with each event what it is told.
struct Scripted<F> {
    plan: Plan,
    act: F,
}

/// What a stage does with an event.
enum Act {
    Keep,
    Drop(u8),
    Set(&'static str, &'static str),
    Make(&'static str),
    Fail,
}

impl<F: FnMut(&str) -> Act + Send> Transform for Scripted<F> {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn transform(&mut self, call: &Call, context: &Context) -> Handled {
        assert_eq!((context.now, context.pressure), (7, 0.0));
        let namespaces: Vec<_> = context.attributes.iter().map(|column| column.get(0)).collect();
        assert_eq!(namespaces, [Some((Kind::String, b"shop".as_slice()))]);
        let mut handled = Handled::default();
        let outcome = &mut handled.outcome;
        for row in 0..call.rows {
            let (_, level) = call.columns[0].get(row as usize).unwrap();
            let mut verdict = 0;
            match (self.act)(std::str::from_utf8(level).unwrap()) {
                Act::Keep => {}
                Act::Drop(reason) => verdict = reason,
                Act::Set(path, value) => {
                    outcome.patches.push(Patch { row, edit: Edit::Set(path.into(), value.into()) });
                }
                Act::Make(document) => {
                    outcome.events.push(NewEvent { parent: row, document: document.into() });
                }
                Act::Fail => handled.suspects.push(row),
            }
            outcome.verdicts.push(verdict);
        }
        handled
    }
}

fn scripted(reasons: [&str; 2], act: impl FnMut(&str) -> Act + Send + 'static) -> Box<dyn Transform> {
    let reason = |name: &str| Reason { name: name.to_owned(), class: ReasonClass::Dropped };
    let plan = Plan {
        reads: vec!["level".to_owned()],
        attributes: vec!["namespace".to_owned()],
        writes: vec!["*".to_owned()],
        reasons: reasons.map(reason).into(),
        edits: vec![Edit::Remove("secret".to_owned())],
    };
    Box::new(Scripted { plan, act })
}

fn live(level: &str) -> Act {
    match level {
        "debug" | "trace" => Act::Drop(1),
        "warn" => Act::Set("team", "\"a\""),
        "error" => Act::Make("{\"alert\":1}"),
        "poison" => Act::Fail,
        _ => Act::Keep,
    }
}

struct Scene {
    shadow: Arc<Shadow>,
    pipeline: Arc<Pipeline>,
    processor: Processor,
}

impl Scene {
    fn new(share: u32, candidate: Box<dyn Transform>) -> Scene {
        Scene::with_quarantine(share, candidate, || false)
    }

    fn with_quarantine(
        share: u32,
        candidate: Box<dyn Transform>,
        has_given_up: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Scene {
        let ledger = Arc::new(Ledger::default());
        let output = |account| Output {
            buffer: MemoryTier::new(1 << 20, Arc::clone(&ledger)),
            account,
            route: None,
            best_effort: false,
            is_urgent: false,
        };
        let slot = Arc::new(Slot::default());
        let edits = Stage {
            name: "before".into(),
            plan: Plan { edits: vec![Edit::Set("host".into(), "1".into())], ..Plan::default() },
            on_fault: FaultPolicy::Handle(weir_event::sheet::OnFault::Pass),
            make: Box::new(|_| Box::new(Nothing(Plan::default()))),
            is_unwell: Box::new(|| false),
            shadow: Arc::default(),
        };
        let plan = scripted(["quiet", "other"], live).plan().clone();
        let stage = Stage {
            name: "stage".into(),
            plan: plan.clone(),
            on_fault: FaultPolicy::Handle(weir_event::sheet::OnFault::DeadLetter),
            make: Box::new(|_| scripted(["quiet", "other"], live)),
            is_unwell: Box::new(|| false),
            shadow: Arc::clone(&slot),
        };
        let candidate =
            Candidate { name: "stage".into(), transform: candidate, has_given_up: Box::new(has_given_up) };
        let shadow = Shadow::new(&plan, candidate, share, &Thread::start().unwrap()).unwrap();
        slot.set(Some(Arc::clone(&shadow)));
        let pipeline = Arc::new(Pipeline {
            name: "p".into(),
            compiled: Compiled::new(&[&edits.plan, &stage.plan]).unwrap(),
            samples: None,
            stages: vec![edits, stage],
            outputs: vec![output(ledger.account("p", "s"))],
            dead_letters: output(Account::new("p", "dead letters")),
            weight: 1,
        });
        let processor = Processor::new(&pipeline);
        Scene { shadow, pipeline, processor }
    }

    /// Brings events with these levels through the pipeline, and returns the documents.
    fn run(&mut self, levels: &[&str], is_queueing: bool) -> String {
        let mut batch = BatchBuilder::new(Arena::default());
        let attributes = Attributes { namespace: "shop".to_owned(), ..Attributes::default() };
        let stream = batch.add_stream(&Stream::new(attributes, 0));
        for (level, offset) in levels.iter().zip(0..) {
            let text = format!("{{ \"level\":\"{level}\",\"secret\":1}}");
            let content = batch.arena.append(text.as_bytes());
            let flags = Flags::default();
            batch.push(Row { content, raw: content, offset, time: 0, stream, flags });
        }
        let batch = batch.finish(&ArenaPool::new());
        let done = self.processor.run(&batch, &Intake::default(), 7, &|| is_queueing, None);
        let Ok(done) = done else { panic!("it holds nothing") };
        String::from_utf8(done.documents.ndjson).unwrap()
    }

    /// The same, and waits until it is compared and the thread is free again.
    fn compare(&mut self, levels: &[&str]) -> String {
        let before = self.shadow.counts().compared();
        let documents = self.run(levels, false);
        wait(|| self.shadow.counts().compared() > before);
        wait(|| !self.shadow.thread.is_busy.load(Ordering::SeqCst));
        documents
    }

    fn events(&self) -> Vec<(&'static str, u64)> {
        let counts = self.shadow.counts();
        let all = Difference::ALL.map(|kind| (kind.name(), counts.events(kind)));
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// Only its plan does something.
struct Nothing(Plan);

impl Transform for Nothing {
    fn plan(&self) -> &Plan {
        &self.0
    }

    fn transform(&mut self, _: &Call, _: &Context) -> Handled {
        Handled::default()
    }
}

fn wait(is_so: impl Fn() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
}

const LEVELS: [&str; 7] = ["info", "debug", "warn", "error", "poison", "trace", "info"];

#[test]
fn one_that_is_the_same_is_the_same() {
    let mut scene = Scene::new(1_000_000, scripted(["quiet", "other"], live));
    let compared = scene.compare(&LEVELS);
    assert_eq!(scene.events(), [("same", 6), ("faulted", 1)]);
    // The one that both cannot handle is of no interest but for the candidate's sake.
    assert_eq!(scene.shadow.counts().samples().len(), 1);
    // What comes out is what comes out without anybody watching.
    for stage in &scene.pipeline.stages {
        stage.shadow.set(None);
    }
    assert_eq!(scene.run(&LEVELS, false), compared);
    assert_eq!(scene.shadow.counts().compared(), 1);
}

#[test]
fn every_kind_of_difference_is_told_from_the_others() {
    let candidate = |level: &str| match level {
        "info" => Act::Drop(2),
        "debug" => Act::Keep,
        "trace" => Act::Drop(2),
        "warn" => Act::Set("team", "\"b\""),
        "error" => Act::Make("{\"alert\":2}"),
        "poison" => Act::Keep,
        "fatal" => Act::Fail,
        _ => Act::Keep,
    };
    let mut scene = Scene::new(1_000_000, scripted(["quiet", "other"], candidate));
    let levels = ["info", "debug", "trace", "warn", "error", "poison", "fatal", "notice", "notice"];
    let documents = scene.compare(&levels);
    assert_eq!(documents.lines().count(), 7, "the stage's own answer: {documents}");
    let expected = [
        ("same", 2),
        ("kept_to_dropped", 1),
        ("dropped_to_kept", 1),
        ("other_reason", 1),
        ("other_edits", 1),
        ("other_events", 1),
        ("faulted", 1),
        ("live_faulted", 1),
    ];
    assert_eq!(scene.events(), expected);
    let counts = scene.shadow.counts();
    assert_eq!((counts.all_events(), counts.different_events()), (9, 6));
    let samples = counts.samples();
    let of = |kind| samples.iter().find(|sample| sample.difference == kind).unwrap();
    let edits = of(Difference::Edits);
    // As it stood before the stage: with what the one before it did.
    assert_eq!(edits.event, r#"{ "level":"warn","secret":1,"host":1}"#);
    assert_eq!(edits.live.kept.as_deref(), Some(r#"{ "level":"warn","host":1,"team":"a"}"#));
    assert_eq!(edits.candidate.kept.as_deref(), Some(r#"{ "level":"warn","host":1,"team":"b"}"#));
    let reason = of(Difference::Reason);
    let dropped = |name: &str| Some((name.to_owned(), ReasonClass::Dropped));
    assert_eq!((&reason.live.dropped, &reason.candidate.dropped), (&dropped("quiet"), &dropped("other")));
    assert_eq!(of(Difference::Events).candidate.events, [r#"{"alert":2}"#]);
    assert!(of(Difference::Faulted).candidate.faulted);
}

/// The same reason under another number is the same reason.
#[test]
fn reasons_are_told_by_their_names() {
    let candidate = |level: &str| match live(level) {
        Act::Drop(1) => Act::Drop(2),
        act => act,
    };
    let mut scene = Scene::new(1_000_000, scripted(["other", "quiet"], candidate));
    scene.compare(&["debug", "trace"]);
    assert_eq!(scene.events(), [("same", 2)]);
}

#[test]
fn few_samples_are_kept_and_they_are_the_last() {
    let mut scene = Scene::new(1_000_000, scripted(["quiet", "other"], |_| Act::Drop(1)));
    let long = "x".repeat(10_000);
    for _ in 0..7 {
        scene.compare(&["info", "info"]);
    }
    scene.compare(&[&long]);
    let samples = scene.shadow.counts().samples();
    assert_eq!((scene.shadow.counts().all_events(), samples.len()), (15, 5));
    assert!(samples.iter().all(|sample| sample.event.len() < 5_000));
    assert!(samples[4].event.ends_with('…') && samples[3].event.contains("info"));
}

#[test]
fn batches_are_skipped_while_others_wait_and_while_it_is_busy() {
    let (hold, held) = std::sync::mpsc::sync_channel::<()>(1);
    let candidate = move |level: &str| {
        let _ = held.recv_timeout(Duration::from_secs(60));
        live(level)
    };
    let mut scene = Scene::new(1_000_000, scripted(["quiet", "other"], candidate));
    scene.run(&["info"], true);
    scene.run(&["info"], false);
    scene.run(&["info"], false);
    let skipped = |scene: &Scene| Skipped::ALL.map(|why| scene.shadow.counts().skipped(why));
    assert_eq!((skipped(&scene), scene.shadow.counts().compared()), ([1, 1, 0], 0));
    hold.send(()).unwrap();
    wait(|| scene.shadow.counts().compared() == 1);
    wait(|| !scene.shadow.thread.is_busy.load(Ordering::SeqCst));
    assert_eq!(scene.events(), [("same", 1)]);
}

#[test]
fn one_that_has_given_up_is_asked_no_more() {
    let asked = Arc::new(AtomicU64::new(0));
    let (counted, failures) = (Arc::clone(&asked), Arc::clone(&asked));
    let candidate = move |_: &str| {
        counted.fetch_add(1, Ordering::SeqCst);
        Act::Fail
    };
    let has_given_up = move || failures.load(Ordering::SeqCst) >= 3;
    let mut scene = Scene::with_quarantine(1_000_000, scripted(["a", "b"], candidate), has_given_up);
    for _ in 0..3 {
        assert!(!scene.shadow.is_off());
        scene.compare(&["info"]);
    }
    wait(|| scene.shadow.is_off());
    for _ in 0..5 {
        assert!(scene.run(&["info"], false).contains("info"));
    }
    assert_eq!((asked.load(Ordering::SeqCst), scene.events()), (3, vec![("faulted", 3)]));
}

/// A candidate whose host panics is a fault of the agent, and of nobody else's concern.
#[test]
fn a_panic_ends_the_comparison_and_nothing_else() {
    let mut scene =
        Scene::new(1_000_000, scripted(["a", "b"], |_| std::panic::resume_unwind(Box::new("on purpose"))));
    scene.run(&["info"], false);
    wait(|| scene.shadow.is_off());
    assert!(scene.run(&["info"], false).contains("info"));
}

#[test]
fn a_share_of_the_batches_is_due() {
    for (share, of, expected) in
        [(50_000, 1000, 50), (1_000_000, 77, 77), (1, 3_000_000, 3), (333_333, 1_000_000, 333_333)]
    {
        let due = (0..of).filter(|number| is_due(*number, share)).count();
        assert_eq!(due, expected, "{share} of {of}");
    }
    assert!(is_due(u64::MAX, WHOLE));
}
