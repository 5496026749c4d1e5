//! Pipelines with a plugin that keeps failing, on a thread of their own.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::*;

/// A stage of the pipeline `slow`, which does what `transform` does.
struct Slow<F> {
    plan: Plan,
    transform: F,
    alive: Arc<Alive>,
}

/// How many instances there are, and were at the most.
#[derive(Default)]
struct Alive {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl<F: FnMut(i64) + Send> Transform for Slow<F> {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn transform(&mut self, call: &Call, _: &Context) -> Handled {
        (self.transform)(call.times[0]);
        Handled::default()
    }
}

impl<F> Drop for Slow<F> {
    fn drop(&mut self) {
        self.alive.now.fetch_sub(1, SeqCst);
    }
}

fn slow(
    ledger: &Arc<Ledger>,
    is_unwell: impl Fn() -> bool + Send + Sync + 'static,
    transform: impl Fn(i64) + Send + Sync + 'static,
) -> (Arc<Pipeline>, Arc<Alive>) {
    let (alive, transform) = (Arc::<Alive>::default(), Arc::new(transform));
    let counted = Arc::clone(&alive);
    let make = move || -> Box<dyn Transform> {
        let now = counted.now.fetch_add(1, SeqCst) + 1;
        counted.most.fetch_max(now, SeqCst);
        let transform = Arc::clone(&transform);
        let transform = move |time| transform(time);
        Box::new(Slow { plan: Plan::default(), transform, alive: Arc::clone(&counted) })
    };
    let mut stage = stage(FaultPolicy::Hold, make);
    stage.is_unwell = Box::new(is_unwell);
    let mut pipeline = pipeline(stage, ledger);
    let inner = Arc::get_mut(&mut pipeline).unwrap();
    (inner.name, inner.outputs) = ("slow".into(), vec![output(ledger.account("slow", "s"), ledger)]);
    (pipeline, alive)
}

/// Each pipeline has a source of its own, of its name.
fn route_apart(rig: &Rig, pipelines: [&Arc<Pipeline>; 2]) -> [Box<dyn Outlet>; 2] {
    let route = |pipeline: &Arc<Pipeline>| Route { pipeline: Arc::clone(pipeline), intake: Arc::default() };
    let sources = pipelines.map(|pipeline| (Arc::clone(&pipeline.name), vec![route(pipeline)]));
    let all = pipelines.iter().map(|pipeline| Arc::clone(pipeline)).collect();
    rig.workers.route(Routing { pipelines: all, sources: sources.into() });
    pipelines.map(|pipeline| rig.workers.outlet(&pipeline.name))
}

/// With one worker, a plugin that is stuck in a batch would stop everything.
#[test]
fn others_do_not_wait_for_a_plugin_that_is_stuck() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let waits = Arc::clone(&gate);
    let rig = Rig::new(1);
    let (stuck, _) = slow(
        &rig.ledger,
        || true,
        move |_| {
            let (is_open, changed) = &*waits;
            let mut is_open = is_open.lock().unwrap();
            while !*is_open {
                is_open = changed.wait(is_open).unwrap();
            }
        },
    );
    let healthy = pipeline(pass(), &rig.ledger);
    let [mut to_stuck, mut to_healthy] = route_apart(&rig, [&stuck, &healthy]);
    for number in 1..=3 {
        to_stuck.send(batch(number), Vec::new()).unwrap();
    }
    for number in 1..=200 {
        to_healthy.send(batch(number), Vec::new()).unwrap();
    }
    let in_flight = |pipeline: &str| {
        let statements = rig.ledger.statements();
        statements.iter().find(|one| one.pipeline == pipeline).unwrap().in_flight.events
    };
    until("the healthy one is done", || in_flight("p") == 0);
    assert_eq!(in_flight("slow"), 3, "the other still waits");
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    rig.finish();
    assert_eq!(documents(&stuck.outputs[0]), [1, 2, 3]);
    assert_eq!(documents(&healthy.outputs[0]), (1..=200).collect::<Vec<i64>>());
}

/// While a plugin gets better and worse again, every batch goes through, in order, and there are never more instances than
/// memory was set aside for: one for each worker.
#[test]
fn moving_keeps_the_order_and_the_number_of_instances() {
    let is_unwell = Arc::new(AtomicBool::new(false));
    let (seen, changes) = (Arc::clone(&is_unwell), Arc::clone(&is_unwell));
    let rig = Rig::new(2);
    let (moved, alive) = slow(
        &rig.ledger,
        move || seen.load(SeqCst),
        move |time| {
            if time % 7 == 0 {
                changes.store(time % 2 == 0, SeqCst);
            }
        },
    );
    let healthy = pipeline(pass(), &rig.ledger);
    let [mut to_moved, mut to_healthy] = route_apart(&rig, [&moved, &healthy]);
    for number in 1..=700 {
        to_moved.send(batch(number), Vec::new()).unwrap();
        to_healthy.send(batch(number), Vec::new()).unwrap();
    }
    rig.finish();
    let all: Vec<i64> = (1..=700).collect();
    assert_eq!(documents(&moved.outputs[0]), all);
    assert_eq!(documents(&healthy.outputs[0]), all);
    assert!(alive.most.load(SeqCst) <= 2, "{}", alive.most.load(SeqCst));
    assert_eq!(alive.now.load(SeqCst), 0);
}
