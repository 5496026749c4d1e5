//! An agent with a source that is read, one that is pushed to, two pipelines that count, and three sinks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_buffer::ledger::{Account, Ledger};
use weir_buffer::memory::{Lease, MemoryTier};
use weir_event::batch::{ArenaPool, Batch, BatchBuilder, Flags, Row};
use weir_event::edit::Compiled;
use weir_event::stream::{Attributes, Stream};
use weir_event::tally::{Metrics, TallyStage};
use weir_event::transform::{Call, Context, Handled, Plan, Reason, ReasonClass, Transform};
use weir_pipeline::Intake;
use weir_pipeline::checkpoint::{Checkpoints, FilePosition, OnDurable, Progress};
use weir_pipeline::log_metrics::{LogMetric, LogMetricKind, LogMetrics, LogToMetric};
use weir_pipeline::pipeline::{FaultPolicy, Output, Pipeline, Stage};
use weir_pipeline::source::{Mode, Outlet, Source as _, SourceContext, Stop, Stopped};
use weir_pipeline::tap::{After, Tap, Wish};
use weir_pipeline::workers::{Route, Routing, Workers};
use weir_samples::document::{Document, Point};

/// Events of the source that is read, and messages of the one that is pushed to.
pub const ROWS: u64 = 40;
pub const MESSAGES: u64 = 12;
const ROWS_OF_BATCH: u64 = 3;
const LEVELS: [&str; 4] = ["debug", "info", "warn", "error"];
const SINKS: usize = 3;
/// The last sink has so much room, and nobody waits for it.
const LITTLE: u64 = 2_000;

/// What the stage behind the counting does when it meets an event.
pub const GOOD: u8 = 0;
pub const HOLDS: u8 = 1;
pub const FAILS: u8 = 2;

/// Values by series.
pub type Shown = BTreeMap<String, f64>;

/// An agent's life.
pub struct Run {
    pub checkpoints: Arc<Checkpoints>,
    pub workers: Workers,
    pub reads: Box<dyn Outlet>,
    pub pushes: Box<dyn Outlet>,
    pub mood: Arc<AtomicU8>,
    ledger: Arc<Ledger>,
    sinks: Vec<Arc<MemoryTier>>,
    max_series: usize,
    counted: Vec<Arc<Metrics>>,
    pipelines: Vec<Arc<Pipeline>>,
    pub next_row: u64,
}

/// Which messages were answered; it outlives agents.
#[derive(Default)]
pub struct Client {
    pub answered: [Arc<AtomicBool>; MESSAGES as usize],
    /// Those that an agent has and has not let go of.
    under_way: Vec<(usize, std::sync::Weak<()>)>,
}

/// Drops events by a member.
struct Drops(Plan);

/// Does what it is told to.
struct Moody(Plan, Arc<AtomicU8>);

/// Keeps what it is sent.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<Batch>>>);

pub fn level(row: u64) -> &'static str {
    LEVELS[(row * row % 7 % 4) as usize]
}

/// Dropped before it is counted, and behind that.
pub fn is_filtered(row: u64) -> bool {
    row % 5 == 3
}

fn text(row: u64) -> String {
    let (level, early, late, took) = (level(row), is_filtered(row), row.is_multiple_of(3), row % 4);
    format!("{{\"level\":\"{level}\",\"early\":{early},\"late\":{late},\"took\":{took}}}")
}

fn drops(path: &str) -> Stage {
    let reason = Reason { name: "dropped".into(), class: ReasonClass::Sampled };
    let plan = Plan { reads: vec![path.to_owned()], reasons: vec![reason], ..Plan::default() };
    let made = plan.clone();
    stage(path, plan, move || Box::new(Drops(made.clone())))
}

fn stage(name: &str, plan: Plan, make: impl Fn() -> Box<dyn Transform> + Send + Sync + 'static) -> Stage {
    Stage {
        name: name.into(),
        plan,
        on_fault: FaultPolicy::Hold,
        make: Box::new(move |_| make()),
        is_unwell: Box::new(|| false),
        shadow: Arc::default(),
    }
}

fn counts(metrics: &Arc<Metrics>) -> Stage {
    let metrics = Arc::clone(metrics);
    stage("log_to_metric", TallyStage::plan_of(&metrics), move || Box::new(TallyStage::new(&metrics)))
}

impl Transform for Drops {
    fn plan(&self) -> &Plan {
        &self.0
    }

    fn transform(&mut self, call: &Call, _: &Context) -> Handled {
        let is_dropped = |row| call.columns[0].get(row).is_some_and(|(_, value)| value == b"true");
        let mut handled = Handled::default();
        handled.outcome.verdicts = (0..call.rows as usize).map(|row| u8::from(is_dropped(row))).collect();
        handled
    }
}

impl Transform for Moody {
    fn plan(&self) -> &Plan {
        &self.0
    }

    fn transform(&mut self, call: &Call, _: &Context) -> Handled {
        match self.1.load(Ordering::Relaxed) {
            HOLDS => Handled { suspects: (0..call.rows).collect(), ..Handled::default() },
            // As a panic, without a message.
            FAILS => std::panic::resume_unwind(Box::new("fails")),
            _ => Handled::default(),
        }
    }
}

impl Outlet for Collected {
    fn send(&mut self, batch: Batch, progress: Vec<Progress>) -> Result<(), Stopped> {
        assert!(progress.is_empty());
        self.0.lock().unwrap().push(batch);
        Ok(())
    }

    fn lost(&mut self, _: &'static str, _: u64, _: Vec<Progress>) {}

    fn outstanding(&self) -> usize {
        0
    }
}

impl Run {
    pub fn start(data: &Path, max_series: usize) -> Run {
        let checkpoints = Arc::new(Checkpoints::open(data).unwrap());
        let ledger = Arc::new(Ledger::default());
        let workers = Workers::start(Arc::clone(&ledger), Arc::clone(&checkpoints), 2).unwrap();
        let room = |sink| if sink == SINKS - 1 { LITTLE } else { 1 << 20 };
        let sinks = (0..SINKS).map(|sink| MemoryTier::new(room(sink), Arc::clone(&ledger))).collect();
        let next_row = checkpoints.positions("rows").get("file").map_or(0, |at| at.position);
        let mut run = Run {
            reads: workers.outlet("rows"),
            pushes: workers.outlet("messages"),
            mood: Arc::default(),
            checkpoints,
            workers,
            ledger,
            sinks,
            max_series,
            counted: Vec::new(),
            pipelines: Vec::new(),
            next_row,
        };
        run.reload();
        run
    }

    /// The same configuration in new parts.
    pub fn reload(&mut self) {
        let histogram = LogMetricKind::Histogram { field: "took".into(), buckets: vec![1.0, 2.5] };
        let counter = |name: &str, kind| LogMetric {
            name: name.into(),
            kind,
            labels: vec![("level".into(), "level".into())],
            ..LogMetric::default()
        };
        let of = |metrics| LogToMetric { max_series: self.max_series, metrics, ..LogToMetric::default() };
        let first = of(vec![counter("events_total", LogMetricKind::Counter)]).metrics("p");
        let second = of(vec![counter("took", histogram)]).metrics("q");
        let moody = || {
            let mood = Arc::clone(&self.mood);
            stage("moody", Plan::default(), move || Box::new(Moody(Plan::default(), Arc::clone(&mood))))
        };
        let p = self.pipeline("p", vec![drops("early"), counts(&first), drops("late")], &[0, 2]);
        let q = self.pipeline("q", vec![counts(&second), drops("early"), moody()], &[0, 1]);
        let route =
            |pipeline: &Arc<Pipeline>| Route { pipeline: Arc::clone(pipeline), intake: Arc::default() };
        let routes = || vec![route(&p), route(&q)];
        let sources = BTreeMap::from([("rows".into(), routes()), ("messages".into(), routes())]);
        self.workers.route(Routing { pipelines: vec![Arc::clone(&p), Arc::clone(&q)], sources });
        self.counted = vec![first, second];
        self.pipelines = vec![p, q];
        self.checkpoints.keep_counters(&self.counted);
    }

    fn pipeline(&self, name: &str, stages: Vec<Stage>, sinks: &[usize]) -> Arc<Pipeline> {
        let plans: Vec<&Plan> = stages.iter().map(|stage| &stage.plan).collect();
        let output = |buffer: &Arc<MemoryTier>, account: Arc<Account>, best_effort| Output {
            buffer: Arc::clone(buffer),
            account,
            route: None,
            best_effort,
            is_urgent: false,
        };
        let outputs = sinks.iter().map(|sink| {
            let account = self.ledger.account(name, &sink.to_string());
            output(&self.sinks[*sink], account, *sink == SINKS - 1)
        });
        let dead = MemoryTier::new(1 << 20, Arc::clone(&self.ledger));
        Arc::new(Pipeline {
            samples: None,
            name: name.into(),
            compiled: Compiled::new(&plans).unwrap(),
            outputs: outputs.collect(),
            stages,
            dead_letters: output(&dead, Account::new(name, "dead letters"), false),
            weight: 1,
        })
    }

    /// Brings events through the stages that are not on their way to a sink.
    pub fn try_out(&self) {
        for pipeline in self.pipelines.iter().filter(|_| self.mood.load(Ordering::Relaxed) == GOOD) {
            pipeline.try_out().unwrap();
            let explained = pipeline.explain(&Intake::default(), &batch(&[0]), 1).unwrap();
            assert_eq!(explained.steps.len(), pipeline.stages.len());
        }
    }

    /// Somebody looks at all events from now on.
    pub fn look_on(&self) -> Tap {
        let wish = Wish { pipeline: None, after: After::End, share: 1.0, only: None, with_text: true };
        self.workers.taps().open(wish).unwrap()
    }

    /// Reads a batch, if there is one and room for it.
    pub fn read(&mut self) {
        let rows: Vec<u64> = (self.next_row..ROWS).take(ROWS_OF_BATCH as usize).collect();
        let Some(last) = rows.last().filter(|_| self.reads.is_ready()) else { return };
        self.next_row = last + 1;
        let position = FilePosition { position: self.next_row, ..FilePosition::default() };
        self.reads.send(batch(&rows), vec![Progress { file: "file".into(), position }]).unwrap();
        self.settle();
    }

    /// Has the client send a message that nobody answered, where there is one.
    pub fn push(&mut self, client: &mut Client) {
        client.under_way.retain(|(_, message)| message.strong_count() > 0);
        let is_open = |message: &usize| {
            let is_under_way = client.under_way.iter().any(|(other, _)| other == message);
            !client.answered[*message].load(Ordering::Relaxed) && !is_under_way
        };
        let Some(message) = (0..MESSAGES as usize).find(is_open) else { return };
        if !self.pushes.is_ready() {
            return;
        }
        let (answered, held) = (Arc::clone(&client.answered[message]), Arc::new(()));
        client.under_way.push((message, Arc::downgrade(&held)));
        let on_durable = OnDurable::new(move || {
            let _held = held;
            answered.store(true, Ordering::Relaxed);
        });
        let rows = rows_of(message as u64);
        self.pushes.push(batch(&rows), on_durable).unwrap();
        self.settle();
    }

    /// Waits until the workers are done, so that a history depends on its seed as far as it can.
    fn settle(&self) {
        for _ in 0..40 {
            let is_quiet = self.ledger.statements().iter().all(|statement| statement.in_flight.events == 0);
            if is_quiet || !self.workers.health().held().is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    pub fn take(&self, sink: usize, runtime: &tokio::runtime::Runtime) -> Option<Lease> {
        let buffer = self.sinks.get(sink % SINKS).filter(|buffer| buffer.waiting() > 0)?;
        runtime.block_on(buffer.take())
    }

    pub fn is_held(&self) -> bool {
        !self.workers.health().held().is_empty()
    }

    /// What the sources of metrics send now.
    pub fn shown(&self) -> Shown {
        self.shown_of(&self.checkpoints)
    }

    /// What they would send with these checkpoints.
    pub fn shown_of(&self, checkpoints: &Arc<Checkpoints>) -> Shown {
        let collected = Collected::default();
        let context = SourceContext {
            name: "p.metrics".into(),
            cluster: "c".into(),
            node: "n".into(),
            mode: Mode::Once,
            outlet: Box::new(collected.clone()),
            arenas: ArenaPool::new(),
            checkpoints: Arc::clone(checkpoints),
            stop: Stop::default(),
            metrics: Arc::default(),
        };
        let stages = self.counted.iter().map(|of| (Arc::clone(of), Duration::from_secs(15))).collect();
        Box::new(LogMetrics::new(stages)).run(context);
        let mut shown = Shown::new();
        for batch in collected.0.lock().unwrap().iter() {
            for row in batch.rows() {
                let document = Document::read(batch.content(row)).unwrap();
                let Point::Float { value, .. } = document.point else { panic!("no float") };
                assert!(shown.insert(document.labels.to_string(), value).is_none(), "each series once");
            }
        }
        shown
    }

    /// Ends without a trace but the files.
    pub fn end(self) {
        self.workers.finish(Duration::ZERO);
    }
}

/// The rows of a message; no two have the same.
pub fn rows_of(message: u64) -> Vec<u64> {
    (0..2).map(|row| 1_000 + message * 2 + row).collect()
}

fn batch(rows: &[u64]) -> Batch {
    let mut batch = BatchBuilder::new(Default::default());
    let stream = batch.add_stream(&Stream::new(Attributes::default(), 1));
    for row in rows {
        let content = batch.arena.append(text(*row).as_bytes());
        batch.push(Row { content, raw: content, offset: *row, time: 1, stream, flags: Flags::default() });
    }
    batch.finish(&ArenaPool::new())
}

/// For the checkpoints, in memory where there is such a place: they are saved very often.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}
