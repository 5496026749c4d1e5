//! Many events: everything is found exactly, and little is read for it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rig::{HOUR, Made, Rig, TEN, everything, made, settings};
use crate::Settings;
use crate::reader::{Condition, Selection};

const EVENTS: u64 = 100_000;
const NAMESPACES: [&str; 5] = ["shop", "pay", "kube-system", "", "dev/ops"];

/// Time and namespace of the event with this number: streams of their own speed, over six hours.
fn event(number: u64) -> Made {
    let time = TEN + (number as i64 * 6 * HOUR) / EVENTS as i64 + (number as i64 * 7_919) % 1_000_000;
    made(number, NAMESPACES[((number / 4) % NAMESPACES.len() as u64) as usize], time)
}

#[tokio::test(start_paused = true)]
async fn of_many_events_those_asked_for_are_found() {
    let rig = Rig::new(0, 16 << 20);
    let settings = Settings { frame_bytes: 32 * 1024, max_object_age: Duration::from_secs(30), ..settings() };
    let driver = rig.start(settings);
    for batch in 0..EVENTS / 1_000 {
        rig.push(&(batch * 1_000..batch * 1_000 + 1_000).map(event).collect::<Vec<Made>>());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    rig.finish(driver).await;
    let events = rig.all();
    let parse = |event: &Made| serde_json::from_str(&event.document).unwrap();
    let all: Vec<(Made, serde_json::Value)> =
        events.iter().map(|event| (event.clone(), parse(event))).collect();

    let (found, outcome) = rig.read(&everything());
    assert_eq!((found.len(), outcome.duplicates, outcome.damages.len()), (EVENTS as usize, 0, 0));
    assert!(found.into_iter().collect::<BTreeSet<Made>>() == events);

    let survey = rig.reader().list(i64::MIN, i64::MAX, &[]).unwrap();
    assert_eq!(survey.hours.iter().map(|hour| hour.events).sum::<u64>(), EVENTS);
    assert_eq!(survey.hours.len(), 30);

    let (from, to) = (TEN + HOUR + HOUR / 2, TEN + 3 * HOUR + 12_345);
    check(&rig, &all, "time", &Selection::of_time(from, to));
    let shop = Selection { namespaces: vec!["shop".into(), "".into()], ..everything() };
    check(&rig, &all, "namespaces", &shop);
    let level = vec![Condition::parse("level=error").unwrap()];
    check(
        &rig,
        &all,
        "level and time",
        &Selection { conditions: level.clone(), ..Selection::of_time(from, to) },
    );
    for number in [0, 33_333, 99_999] {
        let trace = Condition::parse(&format!("trace_id=trace-{:08x}", number / 4)).unwrap();
        let one = Selection { conditions: vec![trace.clone()], ..everything() };
        let (read, of) = check(&rig, &all, "trace", &one);
        assert!(read * 20 < of, "{read} of {of} frames were read for one trace");
        let both = Selection { conditions: [level.clone(), vec![trace]].concat(), ..everything() };
        check(&rig, &all, "trace and level", &both);
    }
    let nothing = Selection { conditions: vec![Condition::parse("n=-1").unwrap()], ..everything() };
    check(&rig, &all, "a field without an index", &nothing);
    let number = Selection { conditions: vec![Condition::parse("n=77777").unwrap()], ..everything() };
    check(&rig, &all, "a field without an index", &number);
}

/// A search finds what looking at everything finds. Frames that were read, and that there are.
fn check(rig: &Rig, all: &[(Made, serde_json::Value)], what: &str, selection: &Selection) -> (u64, u64) {
    let expected: BTreeSet<Made> =
        all.iter().filter(|event| is_wanted(event, selection)).map(|(event, _)| event.clone()).collect();
    let (found, outcome) = rig.read(selection);
    println!(
        "{what}: {} events; {} of {} objects passed over, {} of {} frames and {} bytes read",
        found.len(),
        outcome.objects_skipped,
        outcome.objects,
        outcome.frames_read,
        outcome.frames,
        outcome.bytes_read
    );
    assert_eq!(found.len(), expected.len(), "{what}");
    assert!(found.into_iter().collect::<BTreeSet<Made>>() == expected, "{what}");
    (outcome.frames_read, outcome.frames)
}

fn is_wanted((event, document): &(Made, serde_json::Value), selection: &Selection) -> bool {
    let holds = |condition: &Condition| match &document[&condition.field] {
        serde_json::Value::String(text) => *text == condition.value,
        other => format!("{other}") == condition.value,
    };
    (selection.from..selection.to).contains(&event.time)
        && (selection.namespaces.is_empty() || selection.namespaces.contains(&event.namespace))
        && selection.conditions.iter().all(holds)
}

#[tokio::test(start_paused = true)]
async fn a_limit_ends_a_search() {
    let rig = Rig::new(0, 16 << 20);
    let driver = rig.start(settings());
    rig.push(&(0..1_000).map(|number| made(number, "shop", TEN + number as i64)).collect::<Vec<Made>>());
    rig.finish(driver).await;
    let mut told = Vec::new();
    let outcome = rig.reader().search(&everything(), 10, |_, event| {
        told.push(event.time - TEN);
        std::ops::ControlFlow::Continue(())
    });
    let outcome = outcome.unwrap();
    assert_eq!(told, (0..10).collect::<Vec<i64>>());
    assert_eq!((outcome.events, outcome.frames_read), (10, 1));
    let outcome =
        rig.reader().search(&everything(), u64::MAX, |_, _| std::ops::ControlFlow::Break(())).unwrap();
    assert_eq!(outcome.events, 1);
}
