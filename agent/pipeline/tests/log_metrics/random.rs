//! The histories. `WEIR_MODEL_CASES` says how many, `WEIR_MODEL_SEED` runs the one that failed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::runtime::Runtime;
use weir_buffer::memory::Lease;
use weir_pipeline::checkpoint::Checkpoints;

use crate::agent::{Client, FAILS, GOOD, HOLDS, MESSAGES, ROWS, Run, Shown, is_filtered, level, rows_of};

const DEFAULT_CASES: u64 = 150;
/// Steps of one life.
const STEPS: usize = 60;

/// No counter is lower than it was, nor higher than what a restart finds.
fn look(run: &Run, data: &Path, before: &mut Shown) {
    let now = run.shown();
    for (series, value) in before.iter() {
        let now = now.get(series).copied().unwrap_or_default();
        assert!(now >= *value, "{series} fell from {value} to {now}");
    }
    let restarted = run.shown_of(&Arc::new(Checkpoints::open(data).unwrap()));
    for (series, value) in &now {
        let durable = restarted.get(series).copied().unwrap_or_default();
        assert!(*value <= durable, "{series} is shown as {value}, a restart finds {durable}");
    }
    *before = now;
}

fn step(
    run: &mut Run,
    client: &mut Client,
    leases: &mut Vec<Lease>,
    random: &mut SmallRng,
    runtime: &Runtime,
) {
    match random.random_range(0..100) {
        0..25 => run.read(),
        25..40 => run.push(client),
        40..55 => leases.extend(run.take(random.random_range(0..3), runtime)),
        55..75 if !leases.is_empty() => {
            leases.swap_remove(random.random_range(0..leases.len())).delivered();
        }
        75..78 if !leases.is_empty() => drop(leases.remove(0)),
        78..82 => run.reload(),
        82..84 => run.try_out(),
        84..86 => run.mood.store(HOLDS, Ordering::Relaxed),
        86..87 => run.mood.store(FAILS, Ordering::Relaxed),
        87..92 => {
            run.mood.store(GOOD, Ordering::Relaxed);
            run.workers.retry_held();
        }
        _ => run.checkpoints.save().unwrap(),
    }
}

/// Reads and delivers everything.
fn bring_to_an_end(run: &mut Run, client: &mut Client, runtime: &Runtime) {
    let since = std::time::Instant::now();
    loop {
        run.read();
        run.push(client);
        for sink in 0..3 {
            while let Some(lease) = run.take(sink, runtime) {
                lease.delivered();
            }
        }
        run.checkpoints.save().unwrap();
        let all_answered = client.answered.iter().all(|answered| answered.load(Ordering::Relaxed));
        if run.next_row == ROWS && all_answered && run.reads.outstanding() == 0 {
            return run.checkpoints.save().unwrap();
        }
        assert!(since.elapsed().as_secs() < 60 && !run.is_held(), "it does not come to an end");
    }
}

/// What is to be shown at the end, where there is room for all series.
fn expected() -> Shown {
    let mut expected = Shown::new();
    let mut add = |series: String, value: f64| *expected.entry(series).or_default() += value;
    for row in (0..ROWS).chain((0..MESSAGES).flat_map(rows_of)) {
        let (level, took) = (level(row), row % 4);
        let labels = format!("cluster=\"c\",level=\"{level}\",node=\"n\"");
        if !is_filtered(row) {
            add(format!("events_total{{{labels}}}"), 1.0);
        }
        for (le, bound) in [("1.0", 1), ("2.5", 2), ("+Inf", 9)] {
            let labels = format!("cluster=\"c\",le=\"{le}\",level=\"{level}\",node=\"n\"");
            add(format!("took_bucket{{{labels}}}"), f64::from(u8::from(took <= bound)));
        }
        add(format!("took_sum{{{labels}}}"), took as f64);
        add(format!("took_count{{{labels}}}"), 1.0);
    }
    expected
}

/// The sum of the series of a metric, and how many there are.
fn sum(shown: &Shown, name: &str) -> (f64, usize) {
    let of: Vec<f64> =
        shown.iter().filter(|(series, _)| series.starts_with(name)).map(|(_, value)| *value).collect();
    (of.iter().sum(), of.len())
}

fn check_end(shown: &Shown, max_series: usize) {
    let expected = expected();
    if max_series >= 4 {
        assert_eq!(*shown, expected);
        return;
    }
    for name in ["events_total{", "took_count{", "took_sum{"] {
        let ((got, series), (wanted, _)) = (sum(shown, name), sum(&expected, name));
        assert_eq!((got, series), (wanted, max_series + 1), "{name} {shown:#?}");
    }
    let overflow =
        |name: &str| sum(shown, &format!("{name}{{cluster=\"c\",node=\"n\",overflow=\"true\"}}")).0;
    let lines: Vec<_> =
        shown.iter().filter(|(series, _)| series.starts_with("weir_log_metric_overflow")).collect();
    assert_eq!(
        lines.iter().map(|(_, value)| **value).sum::<f64>(),
        overflow("events_total") + overflow("took_count")
    );
}

fn one_case(seed: u64, runtime: &Runtime) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut data = crate::agent::folder();
    let max_series = if random.random_ratio(1, 3) { 2 } else { 4 };
    let (mut client, mut shown) = (Client::default(), Shown::new());
    for _ in 0..random.random_range(1..4) {
        let mut run = Run::start(data.path(), max_series);
        let mut leases = Vec::new();
        let _tap = random.random_ratio(1, 4).then(|| run.look_on());
        look(&run, data.path(), &mut shown);
        for _ in 0..random.random_range(0..STEPS) {
            step(&mut run, &mut client, &mut leases, &mut random, runtime);
            if random.random_ratio(1, 4) {
                look(&run, data.path(), &mut shown);
            }
        }
        // A kill: what is in the file now is all that the next life has.
        let next = crate::agent::folder();
        for name in ["checkpoint", "checkpoint.previous"] {
            let _ = std::fs::copy(data.path().join(name), next.path().join(name));
        }
        drop(leases);
        run.end();
        data = next;
    }
    let mut run = Run::start(data.path(), max_series);
    bring_to_an_end(&mut run, &mut client, runtime);
    look(&run, data.path(), &mut shown);
    check_end(&shown, max_series);
    run.end();
    assert!(Checkpoints::open(data.path()).unwrap().is_complete());
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_histories_count_every_event_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(seed) = number("WEIR_MODEL_SEED") {
        return one_case(seed, &runtime);
    }
    let first = rand::rng().random_range(0..u64::MAX / 2);
    let cases = number("WEIR_MODEL_CASES").unwrap_or(DEFAULT_CASES);
    for seed in first..first + cases {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one_case(seed, &runtime)));
        if let Err(panic) = ran {
            eprintln!("failed with WEIR_MODEL_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
    eprintln!("{cases} histories from seed {first} on");
}
