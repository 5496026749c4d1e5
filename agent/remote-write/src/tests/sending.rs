//! What requests hold, when they go, and what happens at an end.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::fake::{Act, Fake, Kind, Message, say};
use super::rig::{Made, Rig, text};
use crate::metrics::{AnswerClass, Kind as Sent};
use crate::settings::{Protocol, Settings};

#[tokio::test(start_paused = true)]
async fn the_first_request_goes_at_once_and_later_ones_wait_for_more() {
    let rig = Rig::new(1 << 20);
    let fake = Fake::new(Kind::Both);
    let settings = Settings { shards: 1, max_wait: Duration::from_secs(5), ..rig.settings() };
    let driver = rig.start(settings, &fake);
    let begun = Instant::now();
    rig.push_scrape(3, 1000);
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.push_scrape(3, 2000);
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.push_scrape(3, 3000);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let requests = fake.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[0].at - begun < Duration::from_millis(100));
    assert_eq!((requests[0].samples.len(), requests[1].samples.len()), (3, 6));
    let waited = requests[1].at - begun;
    assert!(waited >= Duration::from_secs(6) && waited < Duration::from_millis(6100), "{waited:?}");
    rig.finish(driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_has_no_more_samples_and_bytes_than_it_may() {
    let rig = Rig::new(1 << 22);
    let fake = Fake::new(Kind::Both);
    let settings = Settings { shards: 2, max_samples: 70, max_bytes: 4096, ..rig.settings() };
    let driver = rig.start(settings, &fake);
    for time in 1..20 {
        rig.push_scrape(100, time);
    }
    rig.finish(driver).await;
    for request in fake.requests() {
        assert!(request.samples.len() <= 70);
        let bytes = request.samples.iter().map(|(labels, _)| labels.len() + 30).sum::<usize>();
        assert!(bytes <= 4096 + 1000, "{bytes}");
    }
    assert_eq!(fake.stored().len(), 1900);
}

#[tokio::test(start_paused = true)]
async fn series_are_spread_over_shards_when_one_falls_behind_and_each_is_of_one() {
    let rig = Rig::new(1 << 22);
    let fake = Fake::new(Kind::Both);
    *fake.latency.lock().unwrap() = Duration::from_millis(800);
    let settings = Settings { shards: 4, protocol: Protocol::V1, max_samples: 50, ..rig.settings() };
    let driver = rig.start(settings, &fake);
    for time in 1..=40 {
        rig.push_scrape(100, time);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let before = fake.requests().len();
    *fake.latency.lock().unwrap() = Duration::from_millis(1);
    for time in 41..=450 {
        rig.push_scrape(100, time);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    rig.finish(driver).await;
    let requests = fake.requests();
    let set = |range: std::ops::Range<usize>| -> HashSet<String> {
        requests[range]
            .iter()
            .flat_map(|request| &request.samples)
            .map(|(labels, _)| labels.clone())
            .collect()
    };
    assert_eq!(set(0..2).len(), 100, "one shard has all series at first");
    let mut shards: Vec<HashSet<String>> = Vec::new();
    for at in before - 12..before {
        match shards.iter_mut().find(|shard| !shard.is_disjoint(&set(at..at + 1))) {
            Some(shard) => shard.extend(set(at..at + 1)),
            None => shards.push(set(at..at + 1)),
        }
    }
    assert_eq!(shards.len(), 4);
    assert_eq!(shards.iter().map(HashSet::len).sum::<usize>(), 100, "a series is in two shards");
    let last = requests.len();
    assert_eq!(set(last - 2..last).len(), 100, "one shard is enough again");
    for (labels, times) in fake.series() {
        assert_eq!(times, (1..=450).collect::<Vec<i64>>(), "{labels}");
    }
}

#[tokio::test(start_paused = true)]
async fn families_are_described_once_a_minute_in_1_0_and_with_each_series_in_2_0() {
    for (kind, metadata) in [(Kind::Old, true), (Kind::Old, false), (Kind::Both, true), (Kind::Both, false)] {
        let rig = Rig::new(1 << 20);
        let fake = Fake::new(kind);
        let settings = Settings { shards: 1, metadata, ..rig.settings() };
        let driver = rig.start(settings, &fake);
        for time in 1..=4 {
            rig.push_scrape(2, time);
            tokio::time::sleep(Duration::from_secs(25)).await;
        }
        rig.finish(driver).await;
        let mut described = 0;
        for request in fake.requests() {
            match &request.message {
                Message::V1(message) => {
                    described += message.metadata.len();
                    for family in &message.metadata {
                        assert_eq!((&*family.metric_family_name, &*family.unit), ("m", "seconds"));
                    }
                }
                Message::V2(message) if kind == Kind::Both => {
                    for series in &message.timeseries {
                        let Some(metadata) = series.metadata else { continue };
                        described += 1;
                        assert_eq!(metadata.r#type, 1);
                        assert_eq!(message.symbols[metadata.help_ref as usize], "What it is.");
                        assert_eq!(message.symbols[metadata.unit_ref as usize], "seconds");
                    }
                }
                Message::V2(_) => {}
            }
        }
        let wanted = match (kind, metadata) {
            (_, false) => 0,
            (Kind::Old, true) => 2,
            (Kind::Both, true) => 8,
        };
        assert_eq!(described, wanted, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn exemplars_histograms_and_start_times_are_sent_as_each_version_has_them() {
    let made = [
        Made { start: 500, exemplars: vec![900, 0], ..Made::float("a", 1000) },
        Made { is_histogram: true, start: 600, ..Made::float("b", 1001) },
    ];
    for kind in [Kind::Old, Kind::Both] {
        let rig = Rig::new(1 << 20);
        let fake = Fake::new(kind);
        let driver = rig.start(Settings { shards: 1, ..rig.settings() }, &fake);
        rig.push(&made);
        rig.finish(driver).await;
        match &fake.requests().last().unwrap().message {
            Message::V1(message) => {
                let [a, b] = &message.timeseries[..] else { panic!("{message:?}") };
                let times: Vec<i64> = a.exemplars.iter().map(|exemplar| exemplar.timestamp).collect();
                assert_eq!((times, a.exemplars[0].labels[0].value.as_str()), (vec![900, 1000], "abc"));
                assert_eq!((b.histograms[0].timestamp, b.histograms[0].start_timestamp), (1001, 0));
            }
            Message::V2(message) => {
                let [a, b] = &message.timeseries[..] else { panic!("{message:?}") };
                assert_eq!(a.samples[0].start_timestamp, 500);
                let times: Vec<i64> = a.exemplars.iter().map(|exemplar| exemplar.timestamp).collect();
                assert_eq!(times, [900, 1000]);
                let refs = &a.exemplars[0].labels_refs;
                assert_eq!(message.symbols[refs[1] as usize], "abc");
                assert_eq!((b.histograms[0].timestamp, b.histograms[0].start_timestamp), (1001, 600));
            }
        }
        let sent = |kind| rig.metrics.samples(kind);
        assert_eq!((sent(Sent::Float), sent(Sent::Histogram), sent(Sent::Exemplar)), (1, 1, 2));
        assert_eq!(rig.metrics.highest_sent(), Some(1001));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_or_unreadable_is_dropped_by_reason() {
    let rig = Rig::new(1 << 20);
    let fake = Fake::new(Kind::Both);
    let settings = Settings { shards: 1, native_histograms: false, exemplars: false, ..rig.settings() };
    let driver = rig.start(settings, &fake);
    rig.push(&[
        Made { is_histogram: true, ..Made::float("h", 1) },
        Made { exemplars: vec![1], ..Made::float("a", 1) },
        Made { is_histogram: true, ..Made::float("i", 1) },
    ]);
    rig.push_bytes(&[(7, b"nonsense".to_vec(), 1)]);
    rig.finish(driver).await;
    assert_eq!((rig.delivered(), fake.stored()), (1, vec![(text("a"), 1)]));
    assert_eq!((rig.dropped()["native_histogram"], rig.dropped()["malformed"]), (2, 1));
    assert_eq!(rig.metrics.samples(Sent::Exemplar), 0);
}

#[tokio::test(start_paused = true)]
async fn leases_hold_no_more_than_half_of_the_buffer() {
    let rig = Rig::new(100_000);
    let fake = Fake::scripted(Kind::Both, |_| Some(say(503, "")));
    let driver = rig.start(Settings { protocol: Protocol::V1, ..rig.settings() }, &fake);
    for time in 1..=40 {
        rig.push_scrape(10, time);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let pending = rig.metrics.pending.load(Ordering::SeqCst);
    assert!(pending > 0 && pending < 400, "{pending}");
    assert!(rig.tier.waiting() > 10);
    rig.give_up();
    driver.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_driver_goes_on_where_this_one_stopped() {
    let rig = Rig::new(1 << 20);
    let blocked = |labels: &str| labels.ends_with('1') || labels.ends_with('2');
    let fake = Fake::scripted(Kind::Both, move |request| {
        request.samples.iter().any(|(labels, _)| blocked(labels)).then(|| say(503, ""))
    });
    let settings = Settings { protocol: Protocol::V1, max_samples: 1, shards: 4, ..rig.settings() };
    let driver = rig.start(settings.clone(), &fake);
    for time in 1..=3 {
        rig.push_scrape(10, time);
    }
    tokio::time::sleep(Duration::from_secs(20)).await;
    rig.retire(true);
    driver.await.unwrap();
    let before = fake.stored().len();
    assert!(before > 0 && before < 30, "{before}");
    assert!(rig.statement().balanced);
    rig.retire(false);
    let well = Fake::new(Kind::Both);
    let driver = rig.start(Settings { shards: 3, ..settings }, &well);
    rig.finish(driver).await;
    assert_eq!(rig.delivered(), 30);
    assert_eq!(before + well.stored().len(), 30, "nothing is sent twice");
    for (labels, times) in well.series() {
        let mut all = fake.series().remove(&labels).unwrap_or_default();
        all.extend(times);
        assert_eq!(all, [1, 2, 3], "{labels}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_is_waited_for_before_another_driver_goes_on() {
    let rig = Rig::new(1 << 20);
    let fake = Fake::new(Kind::Both);
    *fake.latency.lock().unwrap() = Duration::from_secs(20);
    let driver = rig.start(rig.settings(), &fake);
    rig.push_scrape(1, 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.retire(true);
    driver.await.unwrap();
    assert_eq!(rig.delivered(), 1);
    assert!(rig.statement().balanced);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_gives_up_leaves_what_was_not_answered() {
    let rig = Rig::new(1 << 20);
    let fake = Fake::scripted(Kind::Both, |_| Some(Act::Away));
    let driver = rig.start(rig.settings(), &fake);
    rig.push_scrape(5, 1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let begun = Instant::now();
    rig.give_up();
    driver.await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(2));
    assert_eq!((rig.delivered(), rig.totals.abandoned.load(Ordering::SeqCst)), (0, 1));
    assert!(rig.statement().balanced);
    assert_eq!(rig.tier.waiting(), 1, "it goes back to its place");
}

#[tokio::test(start_paused = true)]
async fn what_is_counted_adds_up() {
    let rig = Rig::new(1 << 20);
    let fake = Fake::new(Kind::Both);
    fake.then([say(503, ""), Act::Away, say(429, ""), say(302, "")]);
    let driver = rig.start(Settings { shards: 1, protocol: Protocol::V1, ..rig.settings() }, &fake);
    rig.push_scrape(5, 1_700_000_000_000);
    rig.finish(driver).await;
    let metrics = &rig.metrics;
    assert_eq!(metrics.requests.load(Ordering::SeqCst), 5);
    assert_eq!(metrics.retries.load(Ordering::SeqCst), 4);
    for class in [
        AnswerClass::Success,
        AnswerClass::ServerError,
        AnswerClass::None,
        AnswerClass::Throttled,
        AnswerClass::Redirect,
    ] {
        assert_eq!(metrics.answers(class), 1, "{class:?}");
    }
    assert!(metrics.unpacked_bytes.load(Ordering::SeqCst) > metrics.packed_bytes.load(Ordering::SeqCst));
    assert_eq!(metrics.lag(1_700_000_060_000), Some(Duration::from_secs(60)));
    assert_eq!(metrics.version(), Some("1.0"));
}
