//! Random samples against a receiver with random faults, and drivers that take over from each other: every sample has
//! one end, the ledger balances, and each series arrives in its order.

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::fake::{Act, Fake, Kind, Request, say, say_after};
use super::rig::{Made, Rig};
use crate::settings::{Protocol, Settings};

/// What goes wrong, with how many samples of the request are dropped then.
fn fault(random: &mut StdRng, request: &Request) -> Option<Act> {
    let count = request.samples.len() as u64;
    Some(match random.random_range(0..24) {
        0 => Act::Away,
        1 => say(500, ""),
        2 => say(503, ""),
        3 => say_after(503, random.random_range(0..5)),
        4 => say_after(429, random.random_range(0..400)),
        5 => say(401, ""),
        6 => say(404, ""),
        7 => say(307, ""),
        8 if count > 1 => say(413, ""),
        9 => Act::Lost { is_stored: false, after: Duration::from_secs(30) },
        10 => Act::Lost { is_stored: true, after: Duration::from_secs(30) },
        _ => return None,
    })
}

async fn play(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut of_fake = StdRng::seed_from_u64(!seed);
    let kind = if random.random_bool(0.5) { Kind::Both } else { Kind::Old };
    let has_faults = random.random_bool(0.9);
    let fake =
        Fake::scripted(kind, move |request| if has_faults { fault(&mut of_fake, request) } else { None });
    // Slow ones want more shards.
    *fake.latency.lock().unwrap() = Duration::from_millis([0, 5, 1500, 4000][random.random_range(0..4)]);
    let rig = Rig::new(random.random_range(20_000..400_000));
    let mut times: HashMap<String, i64> = HashMap::new();
    let settings = |random: &mut StdRng| Settings {
        shards: random.random_range(1..9),
        max_samples: random.random_range(1..60),
        max_bytes: random.random_range(1024..20_000),
        max_wait: Duration::from_millis(random.random_range(0..3000)),
        protocol: [Protocol::Auto, Protocol::V1, Protocol::V2][random.random_range(0..3)],
        ..rig.settings()
    };
    let mut driver = rig.start(settings(&mut random), &fake);
    for _ in 0..random.random_range(1..60) {
        let mut samples = Vec::new();
        for _ in 0..random.random_range(1..50) {
            let series = format!("s{}", random.random_range(0..30));
            let time = times.entry(series.clone()).or_insert(0);
            *time += 1;
            samples.push(Made { is_histogram: random.random_bool(0.1), ..Made::float(&series, *time) });
        }
        rig.push(&samples);
        if random.random_bool(0.3) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..8000))).await;
        }
        if random.random_bool(0.1) {
            rig.retire(true);
            driver.await.unwrap();
            assert!(rig.statement().balanced, "seed {seed}");
            rig.retire(false);
            driver = rig.start(settings(&mut random), &fake);
        }
    }
    rig.finish(driver).await;
    assert_eq!(*fake.twice.lock().unwrap(), [""; 0], "seed {seed}: under way twice");
    let total: i64 = times.values().sum();
    assert_eq!(rig.delivered() as i64, total, "seed {seed}");
    let mut stored = fake.series();
    for (series, last) in times {
        let arrived = stored.remove(&super::rig::text(&series)).unwrap_or_default();
        // What was stored and not answered comes again, behind itself: a repeat begins nowhere behind what is known.
        let mut known = 0;
        for time in arrived {
            assert!(time <= known + 1, "seed {seed}: {series} misses {}", known + 1);
            known = known.max(time);
        }
        assert_eq!(known, last, "seed {seed}: {series} is complete");
    }
    assert!(stored.is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_sample_arrives_in_order_and_is_booked_once_whatever_fails() {
    for seed in 0..60 {
        play(seed).await;
    }
}
