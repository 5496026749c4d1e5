//! When groups are closed, and what becomes of leases.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::rig::{HOUR, Made, Rig, TEN, everything, made, settings};
use crate::Settings;
use crate::reader::DamageKind;

const BOUND: u64 = 1 << 20;

fn events(from: u64, count: u64, namespace: &str) -> Vec<Made> {
    (from..from + count).map(|number| made(number, namespace, TEN + number as i64 * 1_000_000)).collect()
}

async fn wait(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_is_stored_when_it_is_old() {
    let rig = Rig::new(0, BOUND);
    let driver = rig.start(Settings { max_object_age: Duration::from_secs(300), ..settings() });
    rig.push(&events(0, 10, "shop"));
    wait(299).await;
    assert_eq!((rig.safe(), rig.store.keys("").len()), (0, 0));
    rig.push(&events(10, 10, "shop"));
    wait(2).await;
    assert_eq!((rig.safe(), rig.store.keys("").len()), (2, 2));
    rig.finish(driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_is_stored_when_it_is_large() {
    let rig = Rig::new(0, BOUND);
    let driver = rig.start(Settings { max_object_bytes: 5_000, ..settings() });
    rig.push(&events(0, 100, "shop"));
    wait(1).await;
    assert_eq!(rig.safe(), 0);
    for batch in 1..6 {
        rig.push(&events(batch * 100, 100, "shop"));
    }
    wait(1).await;
    assert!(rig.safe() >= 4, "{}", rig.safe());
    rig.finish(driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_largest_group_makes_room() {
    let rig = Rig::new(0, 400_000);
    let driver = rig.start(settings());
    rig.push(&events(0, 3, "small"));
    for batch in 1..20 {
        rig.push(&events(batch * 100, 100, "large"));
        wait(1).await;
        assert!(rig.metrics.memory.load(Ordering::Relaxed) <= 200_000);
    }
    assert!(rig.safe() > 0 && rig.store.keys("/small/").is_empty());
    rig.finish(driver).await;
    assert_eq!(rig.store.keys("/small/").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_say_namespace_hour_and_node() {
    let rig = Rig::new(0, BOUND);
    let driver = rig.start(settings());
    rig.push(&[
        made(1, "shop", TEN),
        made(2, "", TEN + 5),
        made(3, "..", TEN - 1),
        made(4, "shop", TEN + HOUR),
    ]);
    rig.finish(driver).await;
    let keys = rig.store.keys("");
    let keys: Vec<&str> = keys.iter().map(|key| key.split_once('-').unwrap().0).collect();
    let folder = |folder: &str| format!("archive/dev/{folder}/node");
    let expected =
        ["%2E./2023/11/14/21", "_none/2023/11/14/22", "shop/2023/11/14/22", "shop/2023/11/14/23"].map(folder);
    assert_eq!(keys, expected.iter().flat_map(|key| [key, key]).collect::<Vec<_>>());
    assert!(rig.store.keys("-20231114T220000.000000005Z-").len() == 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_before_the_index_says_so() {
    let rig = Rig::new(0, BOUND);
    rig.store.refuses_indices.store(true, Ordering::SeqCst);
    let driver = rig.start(Settings { max_object_age: Duration::from_secs(1), ..settings() });
    rig.push(&events(0, 10, "shop"));
    wait(60).await;
    assert_eq!((rig.safe(), rig.store.keys(".zst").len()), (0, 1));
    assert_eq!(rig.totals.failing.load(Ordering::Relaxed), 1);
    // What is stored is found nevertheless.
    assert_eq!(rig.read(&everything()).0.len(), 10);
    let survey = rig.reader().list(i64::MIN, i64::MAX, &[]).unwrap();
    assert_eq!(survey.damages[0].kind, DamageKind::Unindexed);
    assert_eq!(survey.hours[0].events, 10);
    rig.store.refuses_indices.store(false, Ordering::SeqCst);
    wait(40).await;
    assert_eq!((rig.safe(), rig.totals.failing.load(Ordering::Relaxed)), (1, 0));
    rig.finish(driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_asked_seldom_and_memory_stays_bounded() {
    let rig = Rig::new(0, 400_000);
    rig.store.is_away.store(true, Ordering::SeqCst);
    let driver = rig.start(Settings { max_object_age: Duration::from_secs(1), ..settings() });
    for batch in 0..30 {
        rig.push(&events(batch * 100, 100, "shop"));
        rig.push(&events(10_000 + batch * 100, 100, "pay"));
        wait(1).await;
        assert!(rig.metrics.memory.load(Ordering::Relaxed) <= 230_000);
    }
    wait(3_600).await;
    let retries = rig.totals.retries.load(Ordering::Relaxed);
    assert!((100..400).contains(&retries), "{retries} tries within 61 minutes");
    assert_eq!(rig.safe(), 0);
    rig.store.is_away.store(false, Ordering::SeqCst);
    wait(60).await;
    assert_eq!(rig.totals.failing.load(Ordering::Relaxed), 0);
    rig.finish(driver).await;
    assert_eq!(rig.read(&everything()).0.len(), 6_000);
}

#[tokio::test(start_paused = true)]
async fn another_driver_finds_everything_in_its_place() {
    let rig = Rig::new(0, BOUND);
    let driver = rig.start(settings());
    rig.push(&events(0, 10, "shop"));
    rig.push(&events(10, 10, "pay"));
    wait(1).await;
    rig.retire.send_replace(true);
    driver.await.unwrap();
    assert!(rig.store.keys("").is_empty());
    assert_eq!(rig.totals.abandoned.load(Ordering::Relaxed), 0);
    rig.retire.send_replace(false);
    let driver = rig.start(settings());
    rig.finish(driver).await;
    assert_eq!(rig.read(&everything()).0.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_says_so_and_loses_nothing() {
    let rig = Rig::new(0, BOUND);
    rig.store.is_away.store(true, Ordering::SeqCst);
    let driver = rig.start(settings());
    rig.push(&events(0, 10, "shop"));
    rig.tier.close();
    wait(10).await;
    rig.give_up.send_replace(true);
    driver.await.unwrap();
    assert_eq!((rig.totals.abandoned.load(Ordering::Relaxed), rig.tier.waiting()), (1, 1));
    assert!(rig.acks.lost.lock().unwrap().is_empty() && rig.acks.safe.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_writers_of_one_name_lose_nothing() {
    let one = Rig::new(0, BOUND);
    let other = Rig { store: Arc::clone(&one.store), ..Rig::new(0, BOUND) };
    let settings = Settings { max_object_age: Duration::from_secs(1), ..settings() };
    let drivers = [one.start(settings.clone()), other.start(settings)];
    for batch in 0..20 {
        one.push(&events(batch * 10, 10, "shop"));
        other.push(&events(10_000 + batch * 10, 10, "shop"));
        wait(1).await;
    }
    let [first, second] = drivers;
    one.finish(first).await;
    other.finish(second).await;
    assert_eq!(one.read(&everything()).0.len(), 400);
    let survey = one.reader().list(i64::MIN, i64::MAX, &[]).unwrap();
    assert!(survey.damages.is_empty(), "{:?}", survey.damages);
    assert_eq!(survey.hours.iter().map(|hour| hour.events).sum::<u64>(), 400);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_twice_in_an_object_is_there_once() {
    let rig = Rig::new(0, BOUND);
    let driver = rig.start(settings());
    rig.push(&events(0, 10, "shop"));
    rig.push(&events(5, 10, "shop"));
    rig.finish(driver).await;
    let (found, outcome) = rig.read(&everything());
    assert_eq!((found.len(), outcome.duplicates), (15, 0));
    assert_eq!(rig.metrics.duplicates.load(Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn what_lies_on_disk_is_read_as_groups_make_room() {
    let rig = Rig::with_disk(BOUND);
    for batch in 0..40 {
        rig.push(&events(batch * 1_000, 1_000, "shop"));
        rig.tier.store_old();
    }
    let driver = rig.start(Settings { max_object_age: Duration::from_secs(86_400), ..settings() });
    wait(120).await;
    // The memory that open groups may have, and what is read next.
    let rest = 40_000 - rig.totals.events.load(Ordering::Relaxed);
    assert!(rest <= 4_000 && rig.tier.waiting() == 0, "{rest} events are left, {} wait", rig.tier.waiting());
    rig.tier.close();
    driver.await.unwrap();
    assert_eq!(rig.read(&everything()).0.len(), 40_000);
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_finds_no_room_closes_groups() {
    let rig = Rig::with_disk(BOUND);
    let driver = rig.start(Settings { max_object_age: Duration::from_secs(86_400), ..settings() });
    rig.push(&events(0, 1_000, "shop"));
    wait(10).await;
    assert_eq!(rig.store.keys("").len(), 0);
    rig.push(&events(1_000, 4_000, "pay"));
    rig.tier.store_old();
    wait(120).await;
    assert_eq!(rig.tier.waiting(), 0);
    assert!(rig.store.keys("").len() >= 2);
    rig.tier.close();
    driver.await.unwrap();
    assert_eq!(rig.read(&everything()).0.len(), 5_000);
}
