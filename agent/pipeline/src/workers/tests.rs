//! Workers with stages that wait for each other, so that each order of events is the one that is tested.

use weir_buffer::ledger::Account;
use weir_buffer::memory::MemoryTier;
use weir_event::batch::{ArenaPool, BatchBuilder, Flags, Row};
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
    Output { buffer: MemoryTier::new(1 << 20, Arc::clone(ledger)), account, route: None, best_effort: false }
}

fn pipeline(stage: Stage, ledger: &Arc<Ledger>) -> Arc<Pipeline> {
    Arc::new(Pipeline {
        name: "p".into(),
        compiled: Compiled::new(&[&stage.plan]).unwrap(),
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

#[test]
fn nothing_passes_a_batch_that_is_held() {
    let third_is_done = Arc::default();
    let make = move || -> Box<dyn Transform> {
        Box::new(Second { plan: Plan::default(), third_is_done: Arc::clone(&third_is_done) })
    };
    let stage = Stage {
        name: "second".into(),
        plan: Plan::default(),
        on_fault: FaultPolicy::Hold,
        make: Box::new(make),
    };
    let ledger = Arc::new(Ledger::default());
    let pipeline = pipeline(stage, &ledger);
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Arc::new(Checkpoints::open(folder.path()).unwrap());
    let workers = Workers::start(vec![Arc::clone(&pipeline)], Arc::clone(&ledger), checkpoints, 2).unwrap();
    let mut outlet = workers.outlet("source", vec![(0, Arc::default())]);
    for number in 1..=3 {
        outlet.send(batch(number), Vec::new()).unwrap();
    }
    workers.finish(Duration::from_secs(60));
    assert_eq!(documents(&pipeline.outputs[0]), [1]);
    assert_eq!(outlet.outstanding(), 3, "the first is in no sink yet, the others are held");
    let statement = &ledger.statements()[0];
    assert_eq!((statement.in_flight.events, statement.counts.read.events), (2, 3));
    assert!(statement.balanced, "{statement:?}");
}
