//! Batches that their source's thread brings through itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;

use super::super::hands::Pace;
use super::*;

/// Notes on which thread each batch was seen to.
struct Notes {
    plan: Plan,
    seen: Arc<Mutex<Vec<(i64, ThreadId)>>>,
}

impl Transform for Notes {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn transform(&mut self, call: &Call, _: &Context) -> Handled {
        self.seen.lock().unwrap().push((call.times[0], std::thread::current().id()));
        Handled::default()
    }
}

#[test]
fn a_light_batch_stays_on_the_thread_that_read_it() {
    let seen = Arc::<Mutex<Vec<(i64, ThreadId)>>>::default();
    let notes = Arc::clone(&seen);
    let mut rig = Rig::new(2);
    let make =
        move || -> Box<dyn Transform> { Box::new(Notes { plan: Plan::default(), seen: Arc::clone(&notes) }) };
    let pipeline = pipeline(stage(FaultPolicy::Hold, make), &rig.ledger);
    rig.route(&[&pipeline]);
    let all: Vec<i64> = (1..=300).collect();
    // Whoever asks for the ledger stops what moves in it for a moment: nobody may wait for that with a foot in the door.
    let (ledger, is_over) = (Arc::clone(&rig.ledger), Arc::new(AtomicBool::new(false)));
    let over = Arc::clone(&is_over);
    let asks = std::thread::spawn(move || {
        while !over.load(Ordering::SeqCst) {
            ledger.statements();
        }
    });
    for number in &all {
        rig.outlet.send(batch(*number), Vec::new()).unwrap();
    }
    is_over.store(true, Ordering::SeqCst);
    asks.join().unwrap();
    rig.finish();
    assert_eq!(documents(&pipeline.outputs[0]), all, "in order, whoever did it");
    let seen = seen.lock().unwrap();
    let here = std::thread::current().id();
    let mine = seen.iter().filter(|(_, thread)| *thread == here).count();
    assert!(seen.iter().filter(|(number, _)| *number <= 16).all(|(_, thread)| *thread != here));
    assert!(mine > 150, "only {mine} of {} stayed", all.len());
    let threads: BTreeSet<String> = seen.iter().map(|(_, thread)| format!("{thread:?}")).collect();
    assert!(threads.len() <= 3, "{threads:?}");
}

#[test]
fn a_pipeline_is_light_when_its_batches_were() {
    let (short, long) = (Duration::from_micros(500), Duration::from_millis(5));
    let mut pace = Pace::default();
    for number in 0..16 {
        assert!(!pace.is_light(), "after {number} batches");
        pace.note(short);
    }
    assert!(pace.is_light());
    for _ in 0..5 {
        pace.note(long);
    }
    assert!(!pace.is_light());
    for _ in 0..16 {
        pace.note(short);
    }
    assert!(pace.is_light());
}
