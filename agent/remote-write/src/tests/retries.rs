//! The table of retries: what is sent again, when, and what is dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::fake::{Act, Fake, Kind, say, say_after};
use super::rig::{Made, Rig};
use crate::settings::{Protocol, Settings};

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
}

/// One shard in 1.0: requests follow each other.
fn plain(rig: &Rig) -> Settings {
    Settings { shards: 1, protocol: Protocol::V1, ..rig.settings() }
}

/// Ten samples meet these answers first: how many are delivered, what is dropped, how many requests there were.
async fn check(acts: &[Act], delivered: u64, dropped: &[(&str, u64)], requests: usize) {
    let rig = Rig::new(1 << 20);
    let fake = Fake::new(Kind::Both);
    fake.then(acts.to_vec());
    let driver = rig.start(plain(&rig), &fake);
    rig.push_scrape(10, 1000);
    rig.finish(driver).await;
    assert_eq!((rig.delivered(), rig.dropped()), (delivered, counts(dropped)), "{acts:?}");
    assert_eq!(fake.requests().len(), requests, "{acts:?}");
}

#[tokio::test(start_paused = true)]
async fn what_may_succeed_later_is_sent_again() {
    let lost = Act::Lost { is_stored: false, after: Duration::from_secs(30) };
    for act in [
        say(500, ""),
        say(501, ""),
        say(502, ""),
        say(503, "target not available"),
        say(504, ""),
        say(599, ""),
        say(429, ""),
        say_after(429, 3),
        say_after(503, 3),
        Act::Away,
        lost,
    ] {
        check(&[act.clone(), act.clone(), act], 10, &[], 4).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_somebody_to_put_it_right_is_never_dropped() {
    for status in [301, 302, 307, 308, 401, 403, 404] {
        let acts = vec![say(status, "no"); 12];
        check(&acts, 10, &[], 13).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_not_sent_again() {
    for status in [400, 402, 405, 406, 408, 410, 411, 414, 415, 422, 431, 451, 499] {
        check(&[say(status, "no")], 0, &[("rejected", 10)], 1).await;
    }
    check(&[say(409, "conflict")], 0, &[("conflict", 10)], 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_conflict_with_thanos_drops_what_it_did_not_store() {
    let thanos = "forwarding request to endpoint addr: 127.0.0.1:29801, capnp_addr: 127.0.0.1:19391, az: : writing locally: ";
    let of = |said: &str| say(409, &format!("{thanos}{said}\n"));
    check(&[of("add 3 samples: out of order sample")], 7, &[("out_of_order", 3)], 1).await;
    check(&[of("add 2 samples: duplicate sample for timestamp")], 8, &[("duplicate", 2)], 1).await;
    check(&[of("add 1 exemplars: out of order exemplar")], 10, &[], 1).await;
    let all = "4 errors: add 1 samples: duplicate sample for timestamp; add 2 samples: out of bounds; add 3 samples: out of order sample; add 1 samples: too old sample";
    let dropped = [("out_of_order", 3), ("duplicate", 1), ("out_of_bounds", 2), ("receiver_too_old", 1)];
    check(&[of(all)], 3, &dropped, 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_its_age_may_be_there_only_when_a_try_before_may_have_stored_it() {
    let refused = say(
        409,
        "3 errors: add 3 samples: out of order sample; add 2 samples: out of bounds; add 1 samples: too old sample",
    );
    let as_said = [("out_of_order", 3), ("out_of_bounds", 2), ("receiver_too_old", 1)];
    let as_repeated = [("repeated", 4), ("out_of_bounds", 2)];
    for nothing_stored in [say(429, "slow down"), say(401, "who?"), say(404, "nothing"), Act::Away] {
        check(&[nothing_stored, refused.clone()], 4, &as_said, 2).await;
    }
    let lost = Act::Lost { is_stored: true, after: Duration::from_secs(3) };
    for maybe_stored in [say(503, "no quorum"), say(500, "oh"), lost] {
        check(&[maybe_stored, say(429, "slow down"), refused.clone()], 4, &as_repeated, 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_400_of_prometheus_drops_the_whole_request() {
    check(&[say(400, "out of order sample\n")], 0, &[("out_of_order", 10)], 1).await;
    check(&[say(400, "out of bounds: timestamp is too far in the future\n")], 0, &[("out_of_bounds", 10)], 1)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_too_large_is_halved_down_to_one_sample() {
    let rig = Rig::new(1 << 20);
    let fake = Fake::scripted(Kind::Both, |request| {
        let has_bad = request.samples.iter().any(|(labels, _)| labels.ends_with("series=s6"));
        (request.samples.len() > 3 || has_bad).then(|| say(413, "too many samples"))
    });
    let driver = rig.start(plain(&rig), &fake);
    rig.push_scrape(10, 1000);
    rig.push_scrape(10, 2000);
    rig.finish(driver).await;
    assert_eq!((rig.delivered(), rig.dropped()), (18, counts(&[("too_large", 2)])));
    for (labels, times) in fake.series() {
        assert_eq!(times, [1000, 2000], "{labels}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_receiver_is_learnt_and_one_large_sample_is_forgotten() {
    for (limit, most_requests) in [(30, 75), (1000, 60)] {
        let rig = Rig::new(1 << 22);
        let fake = Fake::scripted(Kind::Both, move |request| {
            let has_bad =
                request.samples.iter().any(|sample| sample.1 == 1 && sample.0.ends_with("series=s50"));
            (request.samples.len() > limit || limit == 1000 && has_bad).then(|| say(413, "too many samples"))
        });
        let driver = rig.start(plain(&rig), &fake);
        for time in 1..=15 {
            rig.push_scrape(100, time);
        }
        rig.finish(driver).await;
        assert_eq!(rig.delivered(), if limit == 1000 { 1499 } else { 1500 });
        assert!(fake.requests().len() <= most_requests, "{limit}: {}", fake.requests().len());
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_pause_is_short_and_pauses_grow_to_their_cap() {
    let rig = Rig::new(1 << 20);
    let fake = Fake::new(Kind::Both);
    *fake.latency.lock().unwrap() = Duration::ZERO;
    fake.then(vec![say(503, ""); 14]);
    let driver = rig.start(plain(&rig), &fake);
    rig.push_scrape(1, 1000);
    rig.finish(driver).await;
    let times: Vec<Instant> = fake.requests().iter().map(|request| request.at).collect();
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let slack = Duration::from_millis(5);
    for (tries, pause) in pauses.iter().enumerate() {
        let full = Duration::from_millis(100 << tries).min(Duration::from_secs(30));
        assert!(*pause >= full / 2 && *pause <= full + slack, "{tries}: {pause:?}");
    }
    assert!(pauses.last().unwrap() >= &Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_holds_for_all_shards_and_has_a_bound() {
    for (asked, least, most) in [(7, 7, 8), (86_400, 300, 301)] {
        let rig = Rig::new(1 << 20);
        let fake = Fake::new(Kind::Both);
        fake.then([say_after(429, asked)]);
        let settings = Settings { protocol: Protocol::V1, ..rig.settings() };
        let driver = rig.start(settings, &fake);
        let begun = Instant::now();
        rig.push(&[Made::float("first", 1000)]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        rig.push_scrape(50, 2000);
        rig.finish(driver).await;
        let again = fake.requests()[1].at - begun;
        assert!(again >= Duration::from_secs(least) && again < Duration::from_secs(most), "{again:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_accepted_reads_its_credentials_again() {
    let rig = Rig::new(1 << 20);
    let fake = Fake::new(Kind::Both);
    fake.then([say(401, ""), say(403, "")]);
    let driver = rig.start(plain(&rig), &fake);
    rig.push_scrape(1, 1000);
    rig.finish(driver).await;
    assert_eq!(*fake.renewed.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_an_absence_all_shards_go_on_at_once() {
    let rig = Rig::new(1 << 20);
    let open = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_open = std::sync::Arc::clone(&open);
    let fake = Fake::scripted(Kind::Both, move |_| {
        (!is_open.load(std::sync::atomic::Ordering::SeqCst)).then_some(Act::Away)
    });
    let driver = rig.start(Settings { protocol: Protocol::V1, ..rig.settings() }, &fake);
    rig.push_scrape(50, 1000);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.totals.failing.load(std::sync::atomic::Ordering::SeqCst), 1);
    open.store(true, std::sync::atomic::Ordering::SeqCst);
    let count = fake.requests().len();
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(rig.delivered(), 50);
    let times: Vec<Instant> = fake.requests()[count..].iter().map(|request| request.at).collect();
    assert!(times[times.len() - 1] - times[0] < Duration::from_millis(100), "{times:?}");
    assert_eq!(rig.totals.failing.load(std::sync::atomic::Ordering::SeqCst), 0);
    rig.finish(driver).await;
}
