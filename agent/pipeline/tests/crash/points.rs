//! One scenario, stopped at every step.

use tokio::runtime::Runtime;
use weir_buffer::ledger::Amount;
use weir_buffer::memory::{Held, Lease};

use crate::agent::{BUFFERED, PLAIN, ROWS, Run, folder};
use crate::disk::{ModelDisk, Survives};

/// One step of what an agent does.
type Step = Box<dyn Fn(&mut Run, &mut Vec<Lease>, &Runtime)>;

/// Everything that storing, delivering and saving do to each other. `Vec<Lease>` is what the sink has at the time.
fn steps() -> Vec<Step> {
    let read: fn() -> Step = || Box::new(|run, _, _| run.read());
    let save: fn() -> Step = || Box::new(|run, _, _| run.save());
    let store: fn() -> Step = || Box::new(|run, _, _| run.buffered.store_all());
    let take: fn() -> Step = || Box::new(|run, leases, runtime| leases.push(run.take(runtime)));
    let deliver: fn() -> Step = || {
        Box::new(|run, leases, _| {
            let lease = leases.remove(0);
            run.deliver(lease);
        })
    };
    let plain: fn() -> Step = || Box::new(|run, _, runtime| run.deliver_plain(runtime));
    let divide: fn() -> Step = || {
        Box::new(|_, leases, _| {
            let (one, two) = leases.remove(0).divide(&[false, true, false]);
            leases.extend([one, two]);
        })
    };
    let hold: fn() -> Step = || Box::new(|run, leases, _| run.buffered.hold("lane".into(), leases.remove(0)));
    let take_held: fn() -> Step = || {
        Box::new(|run, leases, runtime| {
            let held = runtime.block_on(run.buffered.take_held("lane"));
            let Held::Segment(lease) = held else { panic!("nothing is held: {held:?}") };
            leases.push(lease);
        })
    };
    let give_up: fn() -> Step = || Box::new(|_, leases, _| drop(leases.remove(0)));
    vec![
        // Stored while it is at the sink, and delivered from there.
        read(),
        read(),
        take(),
        store(),
        save(),
        deliver(),
        plain(),
        plain(),
        save(),
        // The second comes from disk, is divided, one part held: its batch is safe, the rest of it is settled late.
        take(),
        divide(),
        deliver(),
        save(),
        hold(),
        save(),
        // Stored and delivered before the sink beside it lets the batch be safe.
        read(),
        store(),
        take(),
        deliver(),
        save(),
        plain(),
        save(),
        save(),
        // Divided in memory, then stored in two parts of which one is held.
        read(),
        take(),
        divide(),
        hold(),
        store(),
        save(),
        deliver(),
        plain(),
        save(),
        // Given up, taken again, stored by the way.
        read(),
        take(),
        give_up(),
        store(),
        take(),
        save(),
        deliver(),
        save(),
        take_held(),
        deliver(),
        save(),
        take_held(),
        deliver(),
        plain(),
        save(),
        save(),
    ]
}

/// Runs the steps until the file system ends, and says whether it did.
fn play(run: &mut Run, runtime: &Runtime) -> bool {
    let mut leases = Vec::new();
    for step in steps() {
        if run.disk.is_dead() {
            break;
        }
        step(run, &mut leases, runtime);
    }
    run.disk.is_dead()
}

/// One crash at one step. Returns false when the steps were over before it.
fn crash_at(n: u64, survives: Survives, best_effort: bool, runtime: &Runtime) -> bool {
    let what = format!("step {n}, {survives:?}, best effort {best_effort}");
    let data = folder();
    let disk = ModelDisk::default();
    disk.model().dies_at = Some(n);
    let before = match Run::start(data.path(), &disk, best_effort) {
        Some(mut run) => {
            if !play(&mut run, runtime) {
                return false;
            }
            run.taken
        }
        None => Vec::new(),
    };

    disk.restart(survives);
    let mut run = Run::start(data.path(), &disk, best_effort).unwrap();
    for sink in [BUFFERED, PLAIN] {
        let statement = run.statement(sink);
        assert!(statement.balanced, "{what}: at the start {statement:#?}");
        assert_eq!(statement.counts.read.events, run.next_row, "{what}: {sink}");
        assert_eq!(run.counted(), run.next_row, "{what}");
    }
    run.finish(runtime);
    let mut after = run.taken.clone();
    after.sort_unstable();
    assert!(after.windows(2).all(|two| two[0] != two[1]), "{what}: twice in one run: {after:?}");
    let statement = run.statement(BUFFERED);
    let counts = &statement.counts;
    let missing: Vec<u64> = (0..ROWS).filter(|row| !before.contains(row) && !after.contains(row)).collect();
    // Nobody waits for a best-effort sink: what only lay in memory before it is lost, and counted.
    let lost: u64 = counts.lost.values().map(|amount| amount.events).sum();
    assert!(missing.len() as u64 <= lost && (best_effort || lost == 0), "{what}: {missing:?}, {counts:#?}");
    assert_eq!(counts.read.events, ROWS, "{what}");
    assert_eq!(counts.delivered.events + lost, ROWS, "{what}: each is counted once: {counts:#?}");
    assert_eq!(statement.buffered["disk"], Amount::default(), "{what}");
    for sink in [BUFFERED, PLAIN] {
        assert!(run.statement(sink).balanced, "{what}: at the end {:#?}", run.statement(sink));
    }
    assert_eq!(run.statement(PLAIN).counts.delivered.events, ROWS, "{what}");

    // What is durable says the same, and nothing is left on disk.
    for _ in 0..2 {
        run.save();
    }
    assert_eq!(disk.segments(), 0, "{what}");
    assert_eq!(run.buffered.disk().unwrap().store().used(), 0, "{what}");
    let last = Run::start(data.path(), &disk, best_effort).unwrap();
    assert_eq!(last.statement(BUFFERED).counts, statement.counts, "{what}");
    assert_eq!(last.counted(), ROWS, "{what}");
    assert!(last.checkpoints.sinks_with_stored().is_empty(), "{what}");
    true
}

#[test]
fn no_step_at_which_all_ends_loses_or_doubles() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for best_effort in [false, true] {
        for survives in [Survives::Everything, Survives::OnlySynced, Survives::NamesBeforeContent] {
            let crashes = (0..).take_while(|n| crash_at(*n, survives, best_effort, &runtime)).count();
            assert!(crashes > 30, "only {crashes} steps: the scenario does not do what it is meant to");
        }
    }
}

/// Files outlive the first checkpoint without them: the one before it may yet be needed.
#[test]
fn the_checkpoint_before_a_damaged_one_finds_its_files() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let data = folder();
    let disk = ModelDisk::default();
    let mut run = Run::start(data.path(), &disk, false).unwrap();
    for _ in 0..3 {
        run.read();
        run.deliver_plain(&runtime);
    }
    run.buffered.store_all();
    run.save();
    run.finish(&runtime);
    run.save();
    assert!(disk.segments() > 0, "the checkpoint before names them");
    let path = data.path().join("checkpoint");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let mut run = Run::start(data.path(), &disk, false).unwrap();
    assert!(!run.checkpoints.is_complete());
    let statement = run.statement(BUFFERED);
    assert_eq!((statement.counts.read.events, statement.buffered["disk"].events), (9, 9));
    run.finish(&runtime);
    let counts = run.statement(BUFFERED).counts;
    assert_eq!((counts.delivered.events, counts.lost.len()), (ROWS, 0));
    for _ in 0..2 {
        run.save();
    }
    assert_eq!(disk.segments(), 0);
}

/// A disk that fails now and then, without end: nothing is lost, and what could not be stored is delivered from memory.
#[test]
fn a_disk_that_fails_loses_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for n in 0..40 {
        let data = folder();
        let disk = ModelDisk::default();
        let mut run = Run::start(data.path(), &disk, false).unwrap();
        for _ in 0..4 {
            run.read();
        }
        let at = disk.model().steps + n;
        disk.model().dies_at = Some(at);
        run.buffered.store_all();
        disk.model().dies_at = None;
        let failed = std::mem::take(&mut disk.model().is_dead);
        assert!(run.statement(BUFFERED).balanced);
        run.finish(&runtime);
        run.taken.sort_unstable();
        assert_eq!(run.taken, (0..ROWS).collect::<Vec<_>>(), "step {n}, failed: {failed}");
        let statement = run.statement(BUFFERED);
        assert!(statement.balanced && statement.counts.delivered.events == ROWS);
        for _ in 0..3 {
            run.save();
            run.buffered.store_all();
        }
        assert_eq!((disk.segments(), run.buffered.disk().unwrap().store().used()), (0, 0), "step {n}");
        if !failed {
            assert!(n > 3, "the disk never failed");
            return;
        }
    }
    panic!("storing takes more steps than were tried");
}
