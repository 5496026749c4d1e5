//! Which version is spoken, and when that changes.

use std::time::Duration;

use super::fake::{Act, Fake, Kind, Message, say, written};
use super::rig::Rig;
use crate::exchange::{Answer, Written};
use crate::negotiate::Version::{self, V1, V2};
use crate::settings::{Protocol, Settings};

fn settings(rig: &Rig, protocol: Protocol) -> Settings {
    Settings { shards: 1, protocol, ..rig.settings() }
}

/// Sends so many samples, each in a request of its own, and returns the versions of the requests.
async fn versions(fake: &std::sync::Arc<Fake>, protocol: Protocol, samples: i64) -> (Vec<Version>, Rig) {
    let rig = Rig::new(1 << 20);
    let driver = rig.start(settings(&rig, protocol), fake);
    for time in 1..=samples {
        rig.push_scrape(1, time);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    rig.finish(driver).await;
    (fake.requests().iter().map(|request| request.version).collect(), rig)
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_says_what_it_wrote_gets_2_0() {
    for protocol in [Protocol::Auto, Protocol::V2] {
        let fake = Fake::new(Kind::Both);
        let (got, rig) = versions(&fake, protocol, 3).await;
        assert_eq!((got, rig.delivered(), fake.stored().len()), (vec![V2, V2, V2], 3, 3));
        assert_eq!(rig.metrics.version(), Some("2.0"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_old_receiver_did_not_store_is_sent_once_more_in_1_0() {
    for protocol in [Protocol::Auto, Protocol::V2] {
        let fake = Fake::new(Kind::Old);
        let (got, rig) = versions(&fake, protocol, 3).await;
        assert_eq!(got, [V2, V1, V1, V1]);
        assert_eq!((rig.delivered(), fake.stored().len()), (3, 3));
        let requests = fake.requests();
        assert_eq!(requests[0].samples, requests[1].samples);
        assert!(requests[1].at - requests[0].at < Duration::from_millis(50), "without a pause");
    }
}

#[tokio::test(start_paused = true)]
async fn a_415_falls_back_and_a_400_only_where_nothing_is_known() {
    let fake = Fake::new(Kind::Both);
    fake.then([say(415, "unsupported")]);
    assert_eq!(versions(&fake, Protocol::V2, 2).await.0, [V2, V1, V1]);
    let fake = Fake::new(Kind::Both);
    fake.then([say(400, "unsupported")]);
    assert_eq!(versions(&fake, Protocol::Auto, 2).await.0, [V2, V1, V1]);
    let fake = Fake::new(Kind::Both);
    fake.then([say(400, "unsupported")]);
    let (got, rig) = versions(&fake, Protocol::V2, 2).await;
    assert_eq!((got, rig.dropped()["rejected"]), (vec![V2, V2], 1));
    let fake = Fake::scripted(Kind::Both, |request| (request.samples[0].1 == 2).then(|| say(400, "bad")));
    let (got, rig) = versions(&fake, Protocol::Auto, 3).await;
    assert_eq!((got, rig.dropped()["rejected"]), (vec![V2, V2, V2], 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_speak_1_0_speaks_it() {
    let fake = Fake::new(Kind::Both);
    assert_eq!(versions(&fake, Protocol::V1, 2).await.0, [V1, V1]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_without_1_0_is_not_spoken_to_in_it_for_an_hour() {
    let fake = Fake::scripted(Kind::Both, |request| (request.version == V1).then(|| say(415, "2.0 only")));
    fake.then([say(400, "one sample is wrong")]);
    let (got, rig) = versions(&fake, Protocol::Auto, 3).await;
    assert_eq!(got, [V2, V1, V2, V2]);
    assert_eq!((rig.delivered(), rig.dropped()["rejected"]), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn after_an_hour_or_an_absence_2_0_is_tried_again() {
    let fake = Fake::new(Kind::Old);
    let rig = Rig::new(1 << 20);
    let driver = rig.start(settings(&rig, Protocol::Auto), &fake);
    for time in 1..=3 {
        rig.push_scrape(1, time);
        tokio::time::sleep(Duration::from_secs(1801)).await;
    }
    fake.then([Act::Away]);
    rig.push_scrape(1, 4);
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.finish(driver).await;
    let got: Vec<Version> = fake.requests().iter().map(|request| request.version).collect();
    assert_eq!(got, [V2, V1, V1, V2, V1, V1, V2, V1]);
    assert_eq!((rig.delivered(), fake.stored().len()), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_of_2_0_did_not_write_is_dropped_and_counted() {
    let partial = |status: u16, fewer: u64, said: &'static str| {
        move |request: &super::fake::Request| {
            let Message::V2(message) = &request.message else { return None };
            let all = written(message);
            let written = Some(Written { samples: all.samples - fewer, ..all });
            Some(Act::Say(Answer { status, written, said: said.into(), ..Answer::default() }))
        }
    };
    let said = "out of order sample for series {__name__=\"m\"}\nduplicate sample for timestamp 7 for series {__name__=\"m\"}\n";
    for (status, said, dropped) in [
        (204, "", vec![("partial", 3)]),
        (400, "", vec![("rejected", 3)]),
        (400, said, vec![("duplicate", 1), ("out_of_order", 1), ("rejected", 1)]),
    ] {
        let rig = Rig::new(1 << 20);
        let fake = Fake::scripted(Kind::Both, partial(status, 3, said));
        let driver = rig.start(settings(&rig, Protocol::Auto), &fake);
        rig.push_scrape(10, 1000);
        rig.finish(driver).await;
        let got: Vec<(String, u64)> = rig.dropped().into_iter().collect();
        let wanted: Vec<(String, u64)> = dropped.iter().map(|(reason, n)| ((*reason).into(), *n)).collect();
        assert_eq!((rig.delivered(), got), (7, wanted));
        assert_eq!(fake.requests().len(), 1);
    }
}
