//! Workers with stages that wait for each other, so that each order of events is the one that is tested.

use weir_buffer::ledger::Account;
use weir_buffer::memory::MemoryTier;
use weir_event::batch::{ArenaPool, Batch, BatchBuilder, Flags, Row};
use weir_event::edit::Compiled;
use weir_event::stream::{Attributes, Stream};
use weir_event::transform::{Call, Context, Handled, Plan, Transform};

use super::*;
use crate::pipeline::{FaultPolicy, Stage};

/// Cannot handle batch 2, and says so when batch 3 is done.
struct Second {
    plan: Plan,
    third_is_done: Arc<(Mutex<bool>, Condvar)>,
}

impl Transform for Second {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn transform(&mut self, call: &Call, _: &Context) -> Handled {
        let (is_done, changed) = &*self.third_is_done;
        let mut is_done = is_done.lock().unwrap();
        match call.times[0] {
            2 => {
                while !*is_done {
                    is_done = changed.wait(is_done).unwrap();
                }
                return Handled { suspects: vec![0], ..Handled::default() };
            }
            3 => *is_done = true,
            _ => {}
        }
        changed.notify_all();
        Handled::default()
    }
}

fn output(account: Arc<Account>, ledger: &Arc<Ledger>) -> Output {
    Output {
        buffer: MemoryTier::new(1 << 20, Arc::clone(ledger)),
        account,
        route: None,
        best_effort: false,
        is_urgent: false,
    }
}

fn pipeline(stage: Stage, ledger: &Arc<Ledger>) -> Arc<Pipeline> {
    Arc::new(Pipeline {
        name: "p".into(),
        compiled: Compiled::new(&[&stage.plan]).unwrap(),
        samples: None,
        stages: vec![stage],
        outputs: vec![output(ledger.account("p", "s"), ledger)],
        dead_letters: output(Account::new("p", "dead letters"), ledger),
        weight: 1,
    })
}

/// A batch of one event, with its number for a time.
fn batch(number: i64) -> Batch {
    let mut batch = BatchBuilder::new(Default::default());
    let content = batch.arena.append(b"{}");
    let stream = batch.add_stream(&Stream::new(Attributes::default(), 0));
    batch.push(Row { content, raw: content, offset: 0, time: number, stream, flags: Flags::default() });
    batch.finish(&ArenaPool::new())
}

/// The times of all documents that wait for the sink.
fn documents(output: &Output) -> Vec<i64> {
    output.buffer.close();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut times = Vec::new();
    // One that is dropped would come again.
    let mut leases = Vec::new();
    while let Some(lease) = runtime.block_on(output.buffer.take()) {
        times.extend(lease.documents().records.iter().map(|record| record.time));
        leases.push(lease);
    }
    times
}

/// A stage with this policy, whose instances `make` makes.
fn stage(on_fault: FaultPolicy, make: impl Fn() -> Box<dyn Transform> + Send + Sync + 'static) -> Stage {
    Stage {
        name: "stage".into(),
        plan: Plan::default(),
        on_fault,
        make: Box::new(move |_| make()),
        is_unwell: Box::new(|| false),
        shadow: Arc::default(),
    }
}

/// Lets everything pass.
struct Pass(Plan);

impl Transform for Pass {
    fn plan(&self) -> &Plan {
        &self.0
    }

    fn transform(&mut self, _: &Call, _: &Context) -> Handled {
        Handled::default()
    }
}

fn pass() -> Stage {
    stage(FaultPolicy::Hold, || Box::new(Pass(Plan::default())))
}

/// Cannot handle anything.
struct Never(Plan);

impl Transform for Never {
    fn plan(&self) -> &Plan {
        &self.0
    }

    fn transform(&mut self, call: &Call, _: &Context) -> Handled {
        Handled { suspects: (0..call.times.len() as u32).collect(), ..Handled::default() }
    }
}

fn never() -> Stage {
    stage(FaultPolicy::Hold, || Box::new(Never(Plan::default())))
}

/// Workers with their ledger and checkpoints, and an outlet of one source.
struct Rig {
    ledger: Arc<Ledger>,
    checkpoints: Arc<Checkpoints>,
    workers: Workers,
    outlet: Box<dyn Outlet>,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new(workers: usize) -> Rig {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Arc::new(Checkpoints::open(folder.path()).unwrap());
        let ledger = Arc::new(Ledger::default());
        let workers = Workers::start(Arc::clone(&ledger), Arc::clone(&checkpoints), workers).unwrap();
        let outlet = workers.outlet("source");
        Rig { ledger, checkpoints, workers, outlet, _folder: folder }
    }

    /// Brings the source's batches into these pipelines from now on.
    fn route(&self, pipelines: &[&Arc<Pipeline>]) {
        let pipelines: Vec<_> = pipelines.iter().map(|pipeline| Arc::clone(pipeline)).collect();
        let route =
            |pipeline: &Arc<Pipeline>| Route { pipeline: Arc::clone(pipeline), intake: Arc::default() };
        let routes = pipelines.iter().map(route).collect();
        self.workers.route(Routing { pipelines, sources: BTreeMap::from([("source".into(), routes)]) });
    }

    fn send(&mut self, numbers: impl IntoIterator<Item = i64>) {
        for number in numbers {
            self.outlet.send(batch(number), Vec::new()).unwrap();
        }
    }

    fn balanced(&self) {
        for statement in self.ledger.statements() {
            assert!(statement.balanced, "{statement:?}");
        }
    }

    fn finish(&self) {
        self.workers.finish(Duration::from_secs(60));
        self.balanced();
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let since = std::time::Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn nothing_passes_a_batch_that_is_held() {
    let third_is_done = Arc::default();
    let make = move || -> Box<dyn Transform> {
        Box::new(Second { plan: Plan::default(), third_is_done: Arc::clone(&third_is_done) })
    };
    let stage = stage(FaultPolicy::Hold, make);
    let mut rig = Rig::new(2);
    let pipeline = pipeline(stage, &rig.ledger);
    rig.route(&[&pipeline]);
    rig.send(1..=3);
    rig.finish();
    assert_eq!(documents(&pipeline.outputs[0]), [1]);
    assert_eq!(rig.outlet.outstanding(), 3, "the first is in no sink yet, the others are held");
    let statement = &rig.ledger.statements()[0];
    assert_eq!((statement.in_flight.events, statement.counts.read.events), (2, 3));
}

/// A pipeline of the same name with other stages and the same sinks.
fn with_stage(other: &Arc<Pipeline>, stage: Stage) -> Arc<Pipeline> {
    let share = |output: &Output| Output {
        buffer: Arc::clone(&output.buffer),
        account: Arc::clone(&output.account),
        route: None,
        best_effort: output.best_effort,
        is_urgent: output.is_urgent,
    };
    Arc::new(Pipeline {
        name: Arc::clone(&other.name),
        compiled: Compiled::new(&[&stage.plan]).unwrap(),
        samples: None,
        stages: vec![stage],
        outputs: other.outputs.iter().map(share).collect(),
        dead_letters: share(&other.dead_letters),
        weight: 1,
    })
}

#[test]
fn what_was_held_goes_on_in_order_with_another_plugin() {
    let mut rig = Rig::new(2);
    let held = pipeline(never(), &rig.ledger);
    rig.route(&[&held]);
    rig.send(1..=3);
    until("it is held", || !rig.workers.health().held().is_empty());
    rig.workers.retry_held();
    until("it is held again", || !rig.workers.health().held().is_empty());
    let good = with_stage(&held, pass());
    rig.route(&[&good]);
    rig.send(4..=5);
    rig.finish();
    assert_eq!(documents(&good.outputs[0]), [1, 2, 3, 4, 5]);
    assert!(rig.workers.health().held().is_empty());
}

#[test]
fn what_was_held_goes_to_the_sinks_that_there_are_now() {
    let mut rig = Rig::new(1);
    let held = pipeline(never(), &rig.ledger);
    rig.route(&[&held]);
    rig.send([1]);
    until("it is held", || !rig.workers.health().held().is_empty());
    let mut other = pipeline(pass(), &rig.ledger);
    Arc::get_mut(&mut other).unwrap().outputs = vec![output(rig.ledger.account("p", "other"), &rig.ledger)];
    rig.route(&[&other]);
    rig.finish();
    assert_eq!(documents(&other.outputs[0]), [1]);
    let statements = rig.ledger.statements();
    let (old, new) = (&statements[0], &statements[1]);
    assert_eq!((old.counts.read.events, old.counts.dropped["reload"].events), (1, 1));
    assert_eq!((new.sink.as_str(), new.counts.read.events), ("other", 1));
}

#[test]
fn what_a_removed_pipeline_held_does_not_hold_its_source_back() {
    let mut rig = Rig::new(1);
    let held = pipeline(never(), &rig.ledger);
    rig.route(&[&held]);
    rig.send([1]);
    until("it is held", || !rig.workers.health().held().is_empty());
    rig.route(&[]);
    until("its ack is released", || rig.outlet.outstanding() == 0);
    assert!(!rig.workers.lead_to(&held.outputs[0].buffer), "nothing of it is left");
    rig.finish();
    assert_eq!(rig.checkpoints.counts()[0].2.dropped["reload"].events, 1);
}

/// A full buffer behind a sink that the pipeline does not lead to any more must not keep the others waiting.
#[test]
fn a_full_sink_that_was_taken_away_holds_nothing_back() {
    let mut rig = Rig::new(1);
    let old = pipeline(pass(), &rig.ledger);
    let full = &old.outputs[0].buffer;
    assert!(full.reserve(full.bound()));
    rig.route(&[&old]);
    rig.send(1..=2);
    let mut new = pipeline(pass(), &rig.ledger);
    Arc::get_mut(&mut new).unwrap().outputs = vec![output(rig.ledger.account("p", "other"), &rig.ledger)];
    rig.route(&[&new]);
    rig.send(3..=4);
    rig.finish();
    assert_eq!(documents(&new.outputs[0]), [3, 4]);
    assert_eq!(documents(&old.outputs[0]), [1, 2]);
}

#[test]
fn a_batch_ends_in_the_pipeline_that_it_was_sent_to() {
    let mut rig = Rig::new(2);
    let first = pipeline(pass(), &rig.ledger);
    rig.route(&[&first]);
    rig.send([1]);
    let second = with_stage(&first, pass());
    rig.route(&[&second]);
    rig.send([2]);
    let other = {
        let mut other = pipeline(pass(), &rig.ledger);
        let inner = Arc::get_mut(&mut other).unwrap();
        (inner.name, inner.outputs) = ("q".into(), vec![output(rig.ledger.account("q", "s"), &rig.ledger)]);
        other
    };
    rig.route(&[&second, &other]);
    rig.send([3]);
    rig.route(&[&other]);
    rig.send([4]);
    rig.finish();
    assert_eq!(documents(&first.outputs[0]), [1, 2, 3]);
    assert_eq!(documents(&other.outputs[0]), [3, 4]);
}

#[test]
fn a_source_that_is_closed_is_told_to_end() {
    let mut rig = Rig::new(1);
    let only = pipeline(never(), &rig.ledger);
    rig.route(&[&only]);
    rig.send(1..=3);
    std::thread::scope(|scope| {
        // The inbox is full: it waits.
        let outlet = &mut rig.outlet;
        let waiting = scope.spawn(|| outlet.send(batch(4), Vec::new()));
        rig.workers.close_source("source");
        assert_eq!(waiting.join().unwrap(), Err(crate::source::Stopped));
    });
    rig.finish();
}

#[test]
fn there_are_as_many_workers_as_were_last_asked_for() {
    let mut rig = Rig::new(3);
    let only = pipeline(pass(), &rig.ledger);
    rig.route(&[&only]);
    for (workers, numbers) in [(1, 1..=4), (4, 5..=8), (2, 9..=12)] {
        rig.workers.resize(workers).unwrap();
        rig.send(numbers);
        assert_eq!(rig.workers.threads.lock().unwrap().len(), workers);
    }
    rig.finish();
    assert_eq!(documents(&only.outputs[0]), (1..=12).collect::<Vec<i64>>());
}

#[test]
fn ordinary_events_tell_a_plugin_that_handles_nothing() {
    let ledger = Arc::new(Ledger::default());
    assert_eq!(pipeline(pass(), &ledger).try_out(), Ok(()));
    assert_eq!(pipeline(never(), &ledger).try_out(), Err("stage".into()));
}

mod apart;
mod light;
