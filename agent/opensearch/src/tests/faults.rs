//! Documents that fail by themselves, while others of their index are taken.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::fake::{Arrived, Fake, Item, Way};
use super::rig::Rig;
use crate::outcome::Failure;
use crate::settings::DeadLetters;

const POISON: &str = r#"{"poison":1}"#;

fn is_poisoned(document: &Arrived) -> bool {
    document.document.get("poison").is_some()
}

fn fails(_: usize, document: &Arrived) -> Item {
    match is_poisoned(document) {
        true => Item::Refuse(500, "null_pointer_exception", "it fails".into()),
        false => Item::Take,
    }
}

/// How often a poisoned document was sent.
fn tries(fake: &Fake) -> usize {
    let world = fake.world.lock().unwrap();
    world.requests.iter().filter(|request| request.iter().any(is_poisoned)).count()
}

#[tokio::test(start_paused = true)]
async fn a_document_that_always_fails_is_given_up_while_others_are_taken() {
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(|_, _| Way::Items, fails));
    let driver = rig.start(rig.settings(), &fake);
    let poisoned = rig.push(&[("logs", "{}"), ("logs", POISON), ("other", "{}")])[1].clone();
    let began = Instant::now();
    while rig.dead("retries_exhausted") == 0 {
        rig.push_many("logs", 3);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(began.elapsed() < Duration::from_secs(1200), "{} tries", tries(&fake));
    }
    assert!(began.elapsed() >= Duration::from_secs(600), "{:?}", began.elapsed());
    assert!(tries(&fake) >= 20, "{}", tries(&fake));
    rig.finish(driver).await;
    let letters = rig.letters();
    let expected = json!({
        "reason": "retries_exhausted", "status": 500, "error": "null_pointer_exception: it fails",
        "index": "logs", "id": poisoned, "document": {"poison": 1},
    });
    assert_eq!(letters, [expected]);
    assert_eq!(rig.delivered(), u64::from(rig.batches() - 1) * 3 + 2, "all others");
}

/// Nothing is wrong with a document whose index takes no other, nor while many fail, nor where somebody just does not
/// answer.
#[tokio::test(start_paused = true)]
async fn what_fails_beside_others_that_fail_waits() {
    let unavailable = |_: usize, document: &Arrived| match is_poisoned(document) {
        true => Item::Refuse(503, "unavailable_shards_exception", "primary shard is not active".into()),
        false => Item::Take,
    };
    let one_shard_of_five = |request: usize, document: &Arrived| match document.document["n"] == 4 {
        true => Item::Refuse(500, "i_o_exception", "No space left on device".into()),
        false => fails(request, document),
    };
    let elsewhere = |request: usize, document: &Arrived| match document.index.as_str() {
        "logs" => Item::Refuse(500, "i_o_exception", "No space left on device".into()),
        _ => fails(request, document),
    };
    type Answer = fn(usize, &Arrived) -> Item;
    let cases: [(&str, Answer, &str); 3] = [
        ("a shard is away", unavailable, "logs"),
        ("a shard is broken", one_shard_of_five, "logs"),
        ("only another index takes", elsewhere, "other"),
    ];
    for (case, item, index_of_others) in cases {
        let (rig, fake) = (Rig::new(1 << 24), Fake::new(|_, _| Way::Items, item));
        let driver = rig.start(rig.settings(), &fake);
        rig.push(&[("logs", POISON)]);
        for _ in 0..360 {
            rig.push_many(index_of_others, 5);
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert_eq!(rig.dead("retries_exhausted"), 0, "{case}");
        assert!(tries(&fake) > 60, "{case}: {}", tries(&fake));
        assert!(rig.delivered() >= 360 * 4, "{case}: {}", rig.delivered());
        rig.tier.close();
        rig.give_up();
        driver.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_document_whose_request_always_fails_is_given_up() {
    let request = |_, documents: &[Arrived]| match documents.iter().any(is_poisoned) {
        true => Way::Fail(Failure::Unknown("connection reset".into())),
        false => Way::Items,
    };
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(request, |_, _| Item::Take));
    let driver = rig.start(rig.settings(), &fake);
    let ids = rig.push(&[("logs", r#"{"n":1}"#), ("logs", POISON), ("logs", r#"{"n":2}"#)]);
    let began = Instant::now();
    while rig.dead("retries_exhausted") == 0 {
        rig.push_many("logs", 1);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(began.elapsed() < Duration::from_secs(3600), "{} tries", tries(&fake));
    }
    assert!(began.elapsed() >= Duration::from_secs(600), "{:?}", began.elapsed());
    rig.finish(driver).await;
    let letter = &rig.letters()[0];
    assert_eq!((&letter["id"], &letter["error"]), (&json!(ids[1]), &json!("connection reset")));
    let taken: BTreeSet<String> = fake.ids("logs");
    assert!(taken.contains(&ids[0]) && taken.contains(&ids[2]) && !taken.contains(&ids[1]));
}

/// A letter over which its index fails is written to the file.
#[tokio::test(start_paused = true)]
async fn a_letter_that_always_fails_lies_in_the_file() {
    let item = |_: usize, document: &Arrived| match document.index.as_str() {
        "dead" if document.document["reason"] == "oversize" => {
            Item::Refuse(500, "null_pointer_exception", "it fails".into())
        }
        "dead" => Item::Take,
        _ if is_poisoned(document) => Item::Refuse(413, "", "too large".into()),
        _ => Item::Refuse(422, "some_exception", "never".into()),
    };
    let (rig, fake) = (Rig::new(1 << 20), Fake::new(|_, _| Way::Items, item));
    let dead_letters = DeadLetters::Index { index: "dead".into(), otherwise: rig.letter_path() };
    let driver = rig.start(crate::settings::Settings { dead_letters, ..rig.settings() }, &fake);
    let poisoned = rig.push(&[("logs", POISON)])[0].clone();
    let began = Instant::now();
    while rig.dead("oversize") == 0 {
        rig.push_many("logs", 3);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(began.elapsed() < Duration::from_secs(1200), "{}", rig.dead("refused"));
    }
    rig.finish(driver).await;
    assert_eq!((rig.letters().len(), &rig.letters()[0]["id"]), (1, &json!(poisoned)));
    assert_eq!(fake.ids("dead").len() as u64, rig.dead("refused"));
}
