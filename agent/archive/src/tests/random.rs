//! Nothing is lost, whatever the store does, and whoever ends when.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::rig::{HOUR, Made, Rig, TEN, everything, made, settings};
use crate::Settings;

const SEEDS: u64 = 60;
const NAMESPACES: [&str; 4] = ["shop", "", "..", "pay/ment"];

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_and_readers_give_each_event_once() {
    let (mut failed, mut duplicates) = (0, 0);
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let wrong = if seed % 4 == 0 { 0 } else { seed % 60 };
        let (fails, doubles) = play(seed, wrong).await;
        if wrong == 0 {
            assert_eq!((fails, doubles), (0, 0), "seed {seed}: without failures nothing is stored twice");
        }
        (failed, duplicates) = (failed + fails, duplicates + doubles);
    }
    println!("{SEEDS} seeds: {failed} requests failed, {duplicates} copies dropped by readers");
    assert!(failed > 100 && duplicates > 0);
}

/// How many requests failed, and how many copies the reader dropped.
async fn play(seed: u64, wrong: u64) -> (u64, u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let rig = Rig::new(seed, 1 << 20);
    rig.store.wrong.store(wrong, Ordering::SeqCst);
    let settings = Settings {
        max_object_age: Duration::from_secs(random.random_range(1..20)),
        max_object_bytes: random.random_range(300..20_000),
        uploads: random.random_range(1..4),
        ..settings()
    };
    let mut driver = rig.start(settings.clone());
    let mut number = 0;
    for _ in 0..random.random_range(10..40) {
        match random.random_range(0..10) {
            0..6 => push(&rig, &mut random, &mut number),
            6 => {
                rig.retire.send_replace(true);
                driver.await.unwrap();
                rig.retire.send_replace(false);
                driver = rig.start(settings.clone());
            }
            // The process ends: whoever comes next finds everything that was not confirmed.
            7 if wrong > 0 => {
                driver.abort();
                let _ = driver.await;
                driver = rig.start(settings.clone());
            }
            _ => tokio::time::sleep(Duration::from_millis(random.random_range(0..8_000))).await,
        }
        if random.random_ratio(1, 10) {
            what_is_safe_is_found(&rig, wrong);
        }
    }
    rig.store.wrong.store(0, Ordering::SeqCst);
    rig.finish(driver).await;
    let (found, outcome) = rig.read(&everything());
    assert_eq!(outcome.events, found.len() as u64);
    let set: BTreeSet<Made> = found.iter().cloned().collect();
    assert_eq!(set.len(), found.len(), "seed {seed}: each is given once");
    assert!(set == rig.all(), "seed {seed}: {} found of {}", set.len(), rig.all().len());
    assert!(outcome.damages.is_empty(), "seed {seed}: {:?}", outcome.damages);
    (rig.store.failed.load(Ordering::SeqCst), outcome.duplicates)
}

fn push(rig: &Rig, random: &mut StdRng, number: &mut u64) {
    let events = (0..random.random_range(1..120)).map(|_| {
        *number += 1;
        let namespace = NAMESPACES[random.random_range(0..NAMESPACES.len())];
        made(*number, namespace, TEN + random.random_range(0..3 * HOUR))
    });
    rig.push(&events.collect::<Vec<Made>>());
}

/// What was confirmed is in the archive at any time.
fn what_is_safe_is_found(rig: &Rig, wrong: u64) {
    let safe = rig.acks.safe.lock().unwrap().clone();
    rig.store.wrong.store(0, Ordering::SeqCst);
    let found: BTreeSet<Made> = rig.read(&everything()).0.into_iter().collect();
    rig.store.wrong.store(wrong, Ordering::SeqCst);
    let made = rig.made.lock().unwrap();
    for sequence in safe {
        assert!(made[&sequence].iter().all(|event| found.contains(event)), "batch {sequence} was confirmed");
    }
}
