//! One outcome at a time.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::fake::{Fake, Item, Way};
use super::rig::Rig;
use crate::metrics::ItemOutcome;
use crate::outcome::{Failure, Refusal};
use crate::settings::{Compression, DeadLetters, Settings};

fn set(ids: &[String]) -> BTreeSet<String> {
    ids.iter().cloned().collect()
}

fn oversize() -> Failure {
    Failure::Split(Refusal { status: 413, kind: String::new(), reason: "too large".into() })
}

#[tokio::test(start_paused = true)]
async fn documents_of_many_segments_share_a_request_and_wait_for_others_no_longer_than_told() {
    let (rig, fake) = (Rig::new(1 << 20), Fake::willing());
    let driver = rig.start(rig.settings(), &fake);
    let began = Instant::now();
    let mut ids = rig.push_many("logs", 3);
    tokio::time::sleep(Duration::from_millis(600)).await;
    ids.extend(rig.push_many("logs", 2));
    while rig.delivered() < 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_millis(1100), "{took:?}");
    assert_eq!(fake.counts(), [5]);
    // At the end nothing waits.
    ids.extend(rig.push_many("logs", 1));
    let began = Instant::now();
    rig.finish(driver).await;
    assert!(began.elapsed() < Duration::from_millis(200));
    assert_eq!(fake.ids("logs"), set(&ids));
}

#[tokio::test(start_paused = true)]
async fn a_request_has_no_more_bytes_and_documents_than_told() {
    for compression in [Compression::None, Compression::Gzip] {
        let (rig, fake) = (Rig::new(1 << 24), Fake::willing());
        let settings = Settings { max_bytes: 20_000, max_events: 100, compression, ..rig.settings() };
        let driver = rig.start(settings, &fake);
        let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(900));
        for _ in 0..5 {
            rig.push(&vec![("logs", text.as_str()); 70]);
            rig.push_many("logs", 250);
        }
        rig.finish(driver).await;
        assert_eq!(rig.delivered(), 1600);
        let world = fake.world.lock().unwrap();
        assert!(world.requests.iter().all(|request| request.len() <= 100));
        let is_small = |size: &usize| *size <= 20_000;
        assert!(world.sizes.iter().all(is_small), "{:?}", world.sizes);
        let large = world.requests.iter().filter(|request| request.len() > 15).count();
        assert!(large >= 12, "requests are filled");
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_was_refused_as_busy_is_sent_again() {
    let item = |request, document: &super::fake::Arrived| match document.document["n"].as_u64() {
        Some(n) if request == 0 && n % 3 == 0 => {
            Item::Refuse(429, "rejected_execution_exception", "queue is full".into())
        }
        Some(n) if request == 0 && n % 3 == 1 => {
            Item::Refuse(503, "unavailable_shards_exception", "x".into())
        }
        _ => Item::Take,
    };
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(|_, _| Way::Items, item));
    let driver = rig.start(rig.settings(), &fake);
    let ids = rig.push_many("logs", 9);
    rig.finish(driver).await;
    assert_eq!(fake.counts(), [9, 6]);
    assert_eq!(fake.ids("logs"), set(&ids));
    assert_eq!(rig.metrics.items(ItemOutcome::Throttled), 3);
    assert_eq!(rig.metrics.items(ItemOutcome::Unavailable), 3);
    assert_eq!(rig.metrics.items(ItemOutcome::Created), 9);
}

#[tokio::test(start_paused = true)]
async fn fewer_requests_are_under_way_while_opensearch_is_busy() {
    let busy = Arc::new(AtomicBool::new(false));
    let is_busy = Arc::clone(&busy);
    let item = move |_, _: &super::fake::Arrived| match is_busy.load(Ordering::SeqCst) {
        true => Item::Refuse(429, "rejected_execution_exception", "x".into()),
        false => Item::Take,
    };
    let (rig, fake) = (Rig::new(1 << 24), Fake::new(|_, _| Way::Items, item));
    let settings = Settings { max_events: 10, concurrency: 8, ..rig.settings() };
    let driver = rig.start(settings, &fake);
    rig.push_many("logs", 1000);
    while rig.delivered() < 1000 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(rig.metrics.concurrency.load(Ordering::SeqCst), 8);
    assert_eq!(fake.world.lock().unwrap().most_under_way, 8);
    busy.store(true, Ordering::SeqCst);
    rig.push_many("logs", 50);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(rig.metrics.concurrency.load(Ordering::SeqCst), 1);
    busy.store(false, Ordering::SeqCst);
    rig.finish(driver).await;
    assert_eq!(rig.delivered(), 1050);
}

#[tokio::test(start_paused = true)]
async fn when_nothing_is_known_the_same_ids_are_sent_again() {
    let unknown = || Failure::Unknown("connection reset".into());
    let ways = [Way::ThenFail(unknown()), Way::Fail(unknown()), Way::Cut, Way::Short, Way::Items];
    let request = move |number: usize, _: &[_]| ways[number.min(4)].clone();
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(request, |_, _| Item::Take));
    let driver = rig.start(rig.settings(), &fake);
    let ids = rig.push_many("logs", 4);
    rig.finish(driver).await;
    assert_eq!(fake.counts(), [4, 4, 4, 4, 4]);
    assert_eq!(fake.ids("logs"), set(&ids));
    assert_eq!(rig.delivered(), 4);
    assert_eq!(rig.metrics.items(ItemOutcome::Existed), 4);
    assert_eq!(rig.metrics.items(ItemOutcome::Unknown), 16);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_too_large_is_split_down_to_the_document() {
    let request = |_, documents: &[super::fake::Arrived]| {
        let is_large = documents.len() > 3 || documents.iter().any(|document| document.document["n"] == 7);
        if is_large { Way::Fail(oversize()) } else { Way::Items }
    };
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(request, |_, _| Item::Take));
    let driver = rig.start(rig.settings(), &fake);
    let mut ids = rig.push_many("logs", 10);
    rig.finish(driver).await;
    let large = ids.remove(7);
    assert_eq!(fake.ids("logs"), set(&ids));
    assert_eq!((rig.delivered(), rig.dead("oversize")), (9, 1));
    let letter = &rig.letters()[0];
    let expected = json!({"reason":"oversize","status":413,"error":"too large","index":"logs","id":large,"document":{"n":7}});
    assert_eq!(*letter, expected);
    let mode = std::fs::metadata(rig.letter_path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(start_paused = true)]
async fn a_mapping_conflict_is_repaired_once() {
    let item = |_, document: &super::fake::Arrived| {
        let reason = |field: &str| format!("failed to parse field [{field}] of type [long] in document");
        let members = &document.document;
        match () {
            () if members.get("size").is_some() => {
                Item::Refuse(400, "mapper_parsing_exception", reason("size"))
            }
            () if members.get("hopeless__str").is_some() || members.get("hopeless").is_some() => {
                Item::Refuse(400, "mapper_parsing_exception", reason("hopeless"))
            }
            () => Item::Take,
        }
    };
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(|_, _| Way::Items, item));
    let driver = rig.start(rig.settings(), &fake);
    let ids = rig.push(&[
        ("logs", r#"{"a":1}"#),
        ("logs", r#"{"size":"big","b":1.50}"#),
        ("logs", r#"{"hopeless":[]}"#),
        ("logs", r#"{"c":2}"#),
    ]);
    rig.finish(driver).await;
    assert_eq!(fake.counts(), [4, 2]);
    assert_eq!(fake.ids("logs"), set(&[ids[0].clone(), ids[1].clone(), ids[3].clone()]));
    let repaired = &fake.world.lock().unwrap().store[&("logs".to_owned(), ids[1].clone())];
    assert_eq!(*repaired, json!({"size__str":"big","b":1.50}));
    assert_eq!((rig.delivered(), rig.dead("mapping")), (3, 1));
    let letters = rig.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["id"], json!(ids[2]));
    assert_eq!(letters[0]["status"], 400);
    assert_eq!(letters[0]["document"], json!({"hopeless":[]}), "as it was before the repair");
}

#[tokio::test(start_paused = true)]
async fn one_index_that_takes_nothing_stops_no_other() {
    let is_open = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&is_open);
    let item = move |_, document: &super::fake::Arrived| match document.index.as_str() {
        "flooded" if !open.load(Ordering::SeqCst) => Item::Refuse(
            403,
            "cluster_block_exception",
            "index [flooded] blocked by: [FORBIDDEN/12/index read-only / allow delete (api)];".into(),
        ),
        "absent" if !open.load(Ordering::SeqCst) => {
            Item::Refuse(404, "index_not_found_exception", "no such index [absent]".into())
        }
        _ => Item::Take,
    };
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(|_, _| Way::Items, item));
    let driver = rig.start(rig.settings(), &fake);
    let mut flooded = Vec::new();
    for _ in 0..20 {
        let ids = rig.push(&[("flooded", "{}"), ("logs", "{}"), ("absent", "{}"), ("flooded", "{}")]);
        flooded.extend([ids[0].clone(), ids[3].clone()]);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(rig.delivered(), 20, "the healthy index has all of its documents");
    let held: Vec<_> =
        rig.tier.held().into_iter().map(|(key, amount)| (key.to_string(), amount.events)).collect();
    assert_eq!(held, [("absent".to_owned(), 20), ("flooded".to_owned(), 40)]);
    let probes = fake.world.lock().unwrap().requests.len();
    assert!(probes < 20 + 2 * 20, "indices are looked after with pauses: {probes}");
    is_open.store(true, Ordering::SeqCst);
    rig.finish(driver).await;
    assert_eq!(fake.ids("flooded"), set(&flooded));
    assert_eq!(rig.delivered(), 80);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_never_more_than_half_of_the_buffer() {
    let is_open = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&is_open);
    let item = move |_, document: &super::fake::Arrived| match document.index.as_str() {
        "closed" if !open.load(Ordering::SeqCst) => {
            Item::Refuse(403, "security_exception", "no permissions".into())
        }
        _ => Item::Take,
    };
    let bound = 100_000;
    let (rig, fake) = (Rig::new(bound), Fake::new(|_, _| Way::Items, item));
    let driver = rig.start(rig.settings(), &fake);
    let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(900));
    for _ in 0..100 {
        rig.push(&[("closed", &text), ("logs", &text)]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(rig.tier.held_memory() <= bound / 2);
    }
    while rig.delivered() < 100 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let dead = rig.dead("index_held");
    assert!(dead > 20 && dead < 80, "{dead}");
    assert_eq!(rig.letters().len() as u64, dead);
    is_open.store(true, Ordering::SeqCst);
    rig.finish(driver).await;
    assert_eq!(rig.delivered(), 200 - dead);
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_closed_for_good_makes_dead_letters() {
    let item = |_, document: &super::fake::Arrived| match document.index.as_str() {
        "old" => Item::Refuse(
            403,
            "cluster_block_exception",
            "blocked by: [FORBIDDEN/8/index write (api)];".into(),
        ),
        "closed" => Item::Refuse(400, "index_closed_exception", "closed".into()),
        _ => Item::Take,
    };
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(|_, _| Way::Items, item));
    let driver = rig.start(rig.settings(), &fake);
    rig.push(&[("old", "{}"), ("logs", "{}"), ("closed", "{}")]);
    rig.finish(driver).await;
    assert_eq!((rig.delivered(), rig.dead("index_read_only"), rig.dead("index_closed")), (1, 1, 1));
    assert_eq!(rig.letters().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_accepted_waits_and_drops_nothing() {
    let request = |number, _: &[_]| match number {
        0..5 => Way::Fail(Failure::Unauthorized("HTTP 401".into())),
        5..7 => Way::Fail(Failure::Busy("HTTP 429".into(), Some(Duration::from_secs(20)))),
        _ => Way::Items,
    };
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(request, |_, _| Item::Take));
    let driver = rig.start(rig.settings(), &fake);
    let began = Instant::now();
    rig.push_many("logs", 4);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(rig.totals.failing.load(Ordering::SeqCst), 1);
    assert_eq!(rig.metrics.unauthorized.load(Ordering::SeqCst), 1);
    rig.finish(driver).await;
    assert!(began.elapsed() > Duration::from_secs(40), "Retry-After counts");
    assert_eq!((rig.delivered(), fake.world.lock().unwrap().renewed), (4, 5));
    assert_eq!(rig.metrics.unauthorized.load(Ordering::SeqCst), 0);
    assert_eq!(rig.totals.failing.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn one_request_at_a_time_is_tried_while_nothing_answers() {
    let request = |_, _: &[_]| Way::Fail(Failure::Unknown("connection refused".into()));
    let (rig, fake) = (Rig::new(1 << 24), Fake::new(request, |_, _| Item::Take));
    let settings = Settings { max_events: 10, ..rig.settings() };
    let driver = rig.start(settings, &fake);
    rig.push_many("logs", 100);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let tries = fake.counts().len();
    assert!((8..20).contains(&tries), "{tries}");
    // The agent goes: nothing is delivered, so nothing is safe, and the ledger says where it lies.
    rig.tier.close();
    rig.give_up();
    driver.await.unwrap();
    assert_eq!(rig.totals.abandoned.load(Ordering::SeqCst), 1);
    let statement = rig.statement();
    assert!(statement.balanced && statement.buffered["memory"].events == 100, "{statement:?}");
    assert_eq!(rig.acks.safe.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_reached_is_offered_one_request_and_the_rest_stays_in_the_buffer() {
    let is_there = Arc::new(AtomicBool::new(false));
    let there = Arc::clone(&is_there);
    let request = move |_, _: &[_]| match there.load(Ordering::SeqCst) {
        true => Way::Items,
        false => Way::Fail(Failure::NoConnection("connection refused".into())),
    };
    let (rig, fake) = (Rig::new(1 << 24), Fake::new(request, |_, _| Item::Take));
    let settings = Settings { max_events: 10, ..rig.settings() };
    let driver = rig.start(settings, &fake);
    rig.push_many("logs", 100);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let offered: BTreeSet<String> =
        fake.world.lock().unwrap().requests.iter().flatten().map(|arrived| arrived.id.clone()).collect();
    assert!(fake.counts().len() > 5 && offered.len() <= 10, "{offered:?}");
    is_there.store(true, Ordering::SeqCst);
    rig.finish(driver).await;
    assert_eq!(rig.delivered(), 100);
}

#[tokio::test(start_paused = true)]
async fn an_end_lets_answers_under_way_arrive() {
    let (rig, fake) = (Rig::new(1 << 20), Fake::willing());
    let settings = Settings { max_events: 2, concurrency: 1, ..rig.settings() };
    let driver = rig.start(settings, &fake);
    rig.push_many("logs", 2);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(rig.delivered(), 0);
    rig.give_up();
    driver.await.unwrap();
    assert_eq!(rig.delivered(), 2);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_go_to_their_index_and_to_the_file_where_that_refuses() {
    let item = |_, document: &super::fake::Arrived| match document.index.as_str() {
        "dead" if document.document["reason"] == "index_closed" => {
            Item::Refuse(400, "mapper_parsing_exception", "no".into())
        }
        "dead" => Item::Take,
        "closed" => Item::Refuse(400, "index_closed_exception", "closed".into()),
        _ => Item::Refuse(403, "cluster_block_exception", "[FORBIDDEN/5/index read-only (api)]".into()),
    };
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(|_, _| Way::Items, item));
    let dead_letters = DeadLetters::Index { index: "Dead".into(), otherwise: rig.letter_path() };
    let driver = rig.start(Settings { dead_letters, ..rig.settings() }, &fake);
    let ids = rig.push(&[("old", r#"{"a":"ä\n"}"#), ("closed", "{}")]);
    rig.finish(driver).await;
    assert_eq!((rig.delivered(), rig.dead("index_read_only"), rig.dead("index_closed")), (0, 1, 1));
    let letter = fake.world.lock().unwrap().store[&("dead".to_owned(), ids[0].clone())].clone();
    assert_eq!(letter["document"], json!(r#"{"a":"ä\n"}"#));
    assert_eq!(
        (&letter["index"], &letter["@timestamp"]),
        (&json!("old"), &json!("1970-01-01T00:00:00.000000000Z"))
    );
    let letters = rig.letters();
    assert_eq!(
        (letters.len(), &letters[0]["id"], &letters[0]["document"]),
        (1, &json!(ids[1]), &json!("{}"))
    );
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_cannot_be_written_are_tried_again() {
    let item = |_, _: &super::fake::Arrived| Item::Refuse(422, "some_exception", "never".into());
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(|_, _| Way::Items, item));
    // A file where the folder should be.
    std::fs::write(rig.folder.path().join("dead-letters"), "").unwrap();
    let driver = rig.start(rig.settings(), &fake);
    rig.push_many("logs", 3);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((rig.dead("refused"), rig.totals.failing.load(Ordering::SeqCst)), (0, 1));
    std::fs::remove_file(rig.folder.path().join("dead-letters")).unwrap();
    rig.finish(driver).await;
    assert_eq!((rig.dead("refused"), rig.letters().len()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn documents_beyond_the_limits_are_changed_or_buried_without_being_sent() {
    let (rig, fake) = (Rig::new(1 << 20), Fake::willing());
    let limits = crate::limits::FieldLimits { max_depth: 2, max_fields: 3, dedot: false };
    let driver = rig.start(Settings { limits, ..rig.settings() }, &fake);
    let many = r#"{"a":1,"b":2,"c":3,"d":4}"#;
    let ids = rig.push(&[("logs", many), ("logs", r#"{"a":{"b":{"c":1}}}"#), ("logs", r#"{"a":1}"#)]);
    rig.finish(driver).await;
    assert_eq!(fake.counts(), [2]);
    assert_eq!((rig.delivered(), rig.dead("too_many_fields")), (2, 1));
    let world = fake.world.lock().unwrap();
    assert_eq!(world.store[&("logs".to_owned(), ids[1].clone())], json!({"a":{"b":"{\"c\":1}"}}));
    assert_eq!(world.store[&("logs".to_owned(), ids[2].clone())], json!({"a":1}));
}

#[tokio::test(start_paused = true)]
async fn what_always_ends_its_request_keeps_no_other_back() {
    let request = |_, documents: &[super::fake::Arrived]| {
        let is_poisoned = documents.iter().any(|document| document.document.get("poison").is_some());
        if is_poisoned { Way::Fail(Failure::Unknown("connection reset".into())) } else { Way::Items }
    };
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(request, |_, _| Item::Take));
    let settings = Settings { max_events: 50, ..rig.settings() };
    let driver = rig.start(settings, &fake);
    rig.push_many("logs", 20);
    rig.push(&[("logs", r#"{"poison":1}"#)]);
    for _ in 0..40 {
        rig.push_many("logs", 25);
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.delivered(), 1020, "all but the one");
    let poisoned =
        |request: &&Vec<super::fake::Arrived>| request.iter().any(|d| d.document.get("poison").is_some());
    let tries = fake.world.lock().unwrap().requests.iter().filter(poisoned).count();
    assert!(tries < 100, "{tries}");
    rig.tier.close();
    rig.give_up();
    driver.await.unwrap();
    assert_eq!(rig.statement().buffered["memory"].events, 1);
}

/// What one driver leaves, its successor finds: nothing is lost, and what was under way has the same ids.
#[tokio::test(start_paused = true)]
async fn another_driver_takes_over_what_is_left() {
    let closed = Arc::new(AtomicBool::new(true));
    let is_closed = Arc::clone(&closed);
    let blocked = "index [closed] blocked by: [FORBIDDEN/12/x];";
    let item = move |_, document: &super::fake::Arrived| match is_closed.load(Ordering::SeqCst)
        && document.index == "closed"
    {
        true => Item::Refuse(403, "cluster_block_exception", blocked.into()),
        false => Item::Take,
    };
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(|_, _| Way::Items, item));
    let first = rig.start(rig.settings(), &fake);
    let mut ids = rig.push_many("open", 3);
    let held = rig.push_many("closed", 4);
    while rig.tier.held().is_empty() || rig.delivered() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rig.retire(true);
    first.await.unwrap();
    assert!(rig.tier.held().is_empty(), "what was held waits for the next driver");
    assert_eq!(rig.totals.abandoned.load(Ordering::SeqCst), 0);
    ids.extend(rig.push_many("open", 2));
    rig.retire(false);
    closed.store(false, Ordering::SeqCst);
    let second = rig.start(rig.settings(), &fake);
    rig.finish(second).await;
    assert_eq!(fake.ids("open"), set(&ids));
    assert_eq!(fake.ids("closed"), set(&held));
    assert_eq!(rig.delivered(), 9);
}
