//! When targets are scraped.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_pipeline::source::Mode;

use super::rig::{Kept, Reply, Target, run_for, settings};
use crate::settings::{Class, Job, Profile, ScrapeSettings};
use crate::{Scrape, ScrapeMetrics};

async fn times(settings: ScrapeSettings, seconds: u64) -> (Vec<i64>, std::sync::Arc<ScrapeMetrics>) {
    let (kept, scrape) = (Kept::default(), Scrape::new(settings).unwrap());
    let metrics = scrape.metrics();
    run_for(scrape, Mode::Follow, Duration::from_secs(seconds), &kept).await;
    (kept.history("up").into_iter().map(|(time, _)| time).collect(), metrics)
}

#[tokio::test(start_paused = true)]
async fn the_first_scrape_is_at_once_and_the_others_are_evenly_spaced() {
    let target = Target::always(Reply::text("a 1\n")).await;
    let (seen, metrics) =
        times(settings(Job { interval: Some(Duration::from_secs(15)), ..target.job() }), 100).await;
    assert_eq!(seen[0], 0);
    assert!((1..=15_000).contains(&seen[1]), "{seen:?}");
    assert!(seen.len() >= 6, "{seen:?}");
    assert!(seen[1..].windows(2).all(|pair| pair[1] - pair[0] == 15_000), "{seen:?}");
    assert_eq!(metrics.skipped.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn targets_are_spread_over_the_interval() {
    let target = Target::always(Reply::text("a 1\n")).await;
    let mut job = target.job();
    for zone in 0..20 {
        let mut group = job.groups[0].clone();
        group.labels.insert("zone".into(), zone.to_string());
        job.groups.push(group);
    }
    let (seen, _) = times(settings(Job { interval: Some(Duration::from_secs(60)), ..job }), 60).await;
    assert_eq!(seen.iter().filter(|time| **time == 0).count(), 21);
    let later: std::collections::BTreeSet<i64> = seen.into_iter().filter(|time| *time > 0).collect();
    assert!(later.len() >= 18, "{later:?}");
    assert!(later.first().unwrap() + 30_000 < *later.last().unwrap(), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_target_is_not_scraped_twice_at_once() {
    let slow = Reply { delay: Duration::from_millis(2_500), ..Reply::text("a 1\n") };
    let target = Target::always(slow).await;
    let second = Some(Duration::from_secs(1));
    let (seen, metrics) =
        times(settings(Job { interval: second, timeout: second, ..target.job() }), 10).await;
    // It is given up after a second, and the next scrape follows without a pause.
    assert!((9..=11).contains(&seen.len()), "{seen:?}");
    assert_eq!(metrics.failures(crate::Failure::Timeout), seen.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn classes_and_profiles_say_the_interval() {
    let target = Target::always(Reply::text("a 1\n")).await;
    let class = Class { interval: Duration::from_secs(10), timeout: None };
    let profile = Profile {
        name: "late".into(),
        // A test begins at 22:13:20.
        from: "15 22 * * *".into(),
        to: "20 22 * * *".into(),
        time_zone: "UTC".into(),
        intervals: BTreeMap::from([("core".to_owned(), Duration::from_secs(60))]),
    };
    let settings = ScrapeSettings {
        jobs: vec![Job { class: Some("core".into()), ..target.job() }],
        classes: BTreeMap::from([("core".to_owned(), class)]),
        profiles: vec![profile],
    };
    let (seen, metrics) = times(settings, 600).await;
    let during = |from: i64, to: i64| seen.iter().filter(|time| (from..to).contains(time)).count();
    // 22:15:00 is 100 s after the beginning, 22:20:00 is 400 s after it.
    assert!((10..=12).contains(&during(0, 100_000)), "{seen:?}");
    assert!((4..=6).contains(&during(115_000, 400_000)), "{seen:?}");
    assert!((16..=17).contains(&during(435_000, 600_000)), "{seen:?}");
    assert_eq!(metrics.targets()[0].interval, Duration::from_secs(10));
}
