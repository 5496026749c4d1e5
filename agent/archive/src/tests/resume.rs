//! A replay goes on where it stood, and gives each event once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::fake::FakeStore;
use super::rig::{HOUR, Made, TEN, everything, made, of, reader, settings, store};
use crate::Settings;
use crate::reader::{Condition, Cursor, Replay, Selection};

/// Objects of three nodes that overlap and share events.
fn archive(random: &mut StdRng) -> (Arc<FakeStore>, BTreeSet<Made>) {
    let to = Arc::new(FakeStore::new(1));
    let mut all = BTreeSet::new();
    for namespace in ["pay", "shop"] {
        for hour in 0..2 {
            add(&to, random, namespace, TEN + hour * HOUR, 5, &mut all);
        }
    }
    (to, all)
}

fn add(
    to: &Arc<FakeStore>,
    random: &mut StdRng,
    namespace: &str,
    start: i64,
    objects: usize,
    all: &mut BTreeSet<Made>,
) {
    let salt = all.len() as u64 * 1_000;
    let pool: Vec<Made> = (0..300)
        .map(|n| made(salt + n, namespace, start + random.random_range(0..1_000) * 1_000_000))
        .collect();
    for _ in 0..objects {
        let from = random.random_range(0..200);
        let mut events = pool[from..from + 100].to_vec();
        events.sort_by_key(|event| event.time);
        let from = random.random_range(0..50);
        let mut events = events[from..from + 50].to_vec();
        events.shuffle(random);
        let node = format!("node-{}", random.random_range(0..3));
        store(to, &Settings { node, frame_bytes: 1_000, ..settings() }, &events);
        all.extend(events);
    }
}

/// What a replay gives, chunk by chunk, with where it stood behind each; a store that fails is asked again.
fn play(mut replay: Replay) -> Vec<(Vec<Made>, Cursor)> {
    let mut chunks = Vec::new();
    loop {
        match replay.next_chunk() {
            Ok(Some(chunk)) => {
                assert!(chunk.events.is_sorted_by_key(|event| event.time));
                let events = chunk.events.iter().map(|event| of(&chunk.namespace, event)).collect();
                chunks.push((events, replay.cursor()));
            }
            Ok(None) => return chunks,
            Err(_) => {}
        }
    }
}

fn check(chunks: &[(Vec<Made>, Cursor)], before: usize, rest: &[(Vec<Made>, Cursor)], all: &BTreeSet<Made>) {
    let given: Vec<&Made> = chunks[..before].iter().chain(rest).flat_map(|(events, _)| events).collect();
    let set: BTreeSet<Made> = given.iter().map(|event| (*event).clone()).collect();
    assert_eq!(set.len(), given.len(), "each is given once, resumed behind {before} chunks");
    assert!(set == *all, "{} of {}, resumed behind {before} chunks", set.len(), all.len());
}

#[test]
fn a_replay_goes_on_from_any_cursor() {
    let mut random = StdRng::seed_from_u64(5);
    let (from, all) = archive(&mut random);
    let reader = reader(&from);
    let chunks = play(reader.replay(&everything(), None).unwrap());
    check(&chunks, chunks.len(), &[], &all);
    for (at, (_, cursor)) in chunks.iter().enumerate() {
        let cursor = Cursor::parse(&cursor.render().unwrap()).unwrap();
        let rest = play(reader.replay(&everything(), Some(cursor)).unwrap());
        check(&chunks, at + 1, &rest, &all);
    }
    println!("{} chunks, {} events", chunks.len(), all.len());
}

#[test]
fn a_cursor_of_a_resumed_replay_is_as_good() {
    for seed in 0..20 {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (from, all) = archive(&mut random);
        let reader = reader(&from);
        let mut given: Vec<Made> = Vec::new();
        let mut cursor = None;
        loop {
            let mut replay = reader.replay(&everything(), cursor.clone()).unwrap();
            let wanted = random.random_range(0..6);
            let mut got = 0;
            while got < wanted
                && let Some(chunk) = replay.next_chunk().unwrap()
            {
                given.extend(chunk.events.iter().map(|event| of(&chunk.namespace, event)));
                got += 1;
            }
            cursor = Some(replay.cursor());
            if wanted > got {
                break;
            }
        }
        let set: BTreeSet<Made> = given.iter().cloned().collect();
        assert_eq!((set.len(), set == all), (given.len(), true), "seed {seed}");
    }
}

#[test]
fn objects_that_come_late_are_given_too() {
    let mut random = StdRng::seed_from_u64(7);
    let (from, all) = archive(&mut random);
    let reader = reader(&from);
    let chunks = play(reader.replay(&everything(), None).unwrap());
    for at in [0, chunks.len() / 2, chunks.len() - 1] {
        let mut more = all.clone();
        add(&from, &mut random, "shop", TEN + HOUR, 1, &mut more);
        let rest = play(reader.replay(&everything(), Some(chunks[at].1.clone())).unwrap());
        let given: Vec<&Made> = chunks[..=at].iter().chain(&rest).flat_map(|(events, _)| events).collect();
        let set: BTreeSet<&Made> = given.iter().copied().collect();
        assert_eq!(set.len(), given.len());
        assert!(more.iter().all(|event| set.contains(event)));
    }
}

#[test]
fn a_store_that_fails_now_and_then_changes_nothing() {
    let mut random = StdRng::seed_from_u64(9);
    let (from, all) = archive(&mut random);
    let replay = reader(&from).replay(&everything(), None).unwrap();
    from.wrong.store(30, Ordering::SeqCst);
    let chunks = play(replay);
    check(&chunks, chunks.len(), &[], &all);
    assert!(from.failed.load(Ordering::SeqCst) > 10);
}

#[test]
fn a_selection_is_kept_to() {
    let mut random = StdRng::seed_from_u64(11);
    let (from, all) = archive(&mut random);
    let (start, end) = (TEN + 300_000_000, TEN + HOUR + 600_000_000);
    let selection = Selection {
        from: start,
        to: end,
        namespaces: vec!["shop".into(), "none such".into()],
        conditions: vec![Condition::parse("level=warn").unwrap()],
    };
    let expected: BTreeSet<Made> = all
        .into_iter()
        .filter(|event| event.namespace == "shop" && (start..end).contains(&event.time))
        .filter(|event| event.document.contains("\"level\":\"warn\""))
        .collect();
    assert!(expected.len() > 20);
    let chunks = play(reader(&from).replay(&selection, None).unwrap());
    check(&chunks, chunks.len(), &[], &expected);
    for (at, (_, cursor)) in chunks.iter().enumerate() {
        let rest = play(reader(&from).replay(&selection, Some(cursor.clone())).unwrap());
        check(&chunks, at + 1, &rest, &expected);
    }
}

#[test]
fn what_is_no_cursor_is_refused() {
    for text in ["", "{}", "[]", r#"{"version":2,"namespace":"","hour":"","done":[],"object":"","frame":0}"#]
    {
        assert!(Cursor::parse(text).is_err(), "{text}");
    }
    let hour = r#"{"version":1,"namespace":"a","hour":"2023-99-14T22","done":[],"object":"","frame":0}"#;
    assert!(Cursor::parse(hour).is_err());
    assert!(Cursor::parse(&hour.replace("99", "11")).is_ok());
    assert!(Cursor::parse(&" ".repeat(9 << 20)).is_err());
}
