//! Outcomes: verdicts and their accounts, rows that a stage could not handle, events that it made.

use std::collections::HashSet;

use super::harness::{
    Stage, TIME, batch, check, new_event, own, reason, remove, run, run_batch, set, strings, values,
};
use crate::batch::{ArenaPool, BatchBuilder, Flags, Row};
use crate::column::Kind;
use crate::identity::EventId;
use crate::parse::Parser;
use crate::sheet::{Drops, MAX_NEW_EVENTS, MAX_ROW_EDITS, OnFault};
use crate::stream::{Attributes, Stream};
use crate::transform::{Handled, Outcome, Plan, ReasonClass};

fn own_of(documents: &[String]) -> Vec<String> {
    documents.iter().map(|document| own(document)).collect()
}

/// A stage with two reasons that answers the same verdicts each time.
fn verdicts<'a>(verdicts: &[u8]) -> Stage<'a> {
    let outcome = Outcome { verdicts: verdicts.to_vec(), ..Outcome::default() };
    let mut stage = Stage::answers(&[], outcome);
    stage.plan.reasons = vec![reason("debug", ReasonClass::Sampled), reason("health", ReasonClass::Dropped)];
    stage
}

fn suspects<'a>(rows: &[u32], on_fault: OnFault) -> Stage<'a> {
    let suspects = rows.to_vec();
    let mut stage =
        Stage::new(Plan::default(), move |_, _| Handled { suspects: suspects.clone(), ..Handled::default() });
    stage.on_fault = on_fault;
    stage
}

#[test]
fn what_is_dropped_is_counted_by_reason_in_events_and_bytes() {
    let lines = [r#"{"a":1}"#, "two", "", r#"{"d":[4]}"#, "five"];
    let out = run(&lines, &Parser::Json, &mut [verdicts(&[0, 1, 2, 1, 0])]);
    assert_eq!(own_of(&out.documents), [r#"{"a":1}"#, r#"{"message":"five"}"#]);
    let drops =
        |reason: &str, class, events, bytes| Drops { reason: reason.to_owned(), class, events, bytes };
    let expected = [drops("debug", ReasonClass::Sampled, 2, 12), drops("health", ReasonClass::Dropped, 1, 0)];
    assert_eq!(out.applied[0].drops, expected);
    assert_eq!(out.finished.iter().map(|finished| finished.bytes).sum::<u64>(), 11);
}

#[test]
fn every_row_is_kept_dropped_or_refused() {
    let out = run(&["a", "b", "c"], &Parser::Json, &mut [verdicts(&[0, 0, 0])]);
    assert_eq!((out.documents.len(), out.applied[0].drops.len()), (3, 0));
    // A reason that is none drops nothing; verdicts that are missing keep.
    let out = run(&["a", "b", "c"], &Parser::Json, &mut [verdicts(&[3, 1])]);
    assert_eq!(own_of(&out.documents), [r#"{"message":"a"}"#, r#"{"message":"c"}"#]);
    assert_eq!((out.applied[0].drops.len(), out.applied[0].refused), (1, 1));
    // When nothing is left, no further stage is called.
    let out = run(&["a", "b"], &Parser::Json, &mut [verdicts(&[1, 1]), verdicts(&[1, 1])]);
    assert_eq!((out.documents.len(), out.applied.len()), (0, 1));
}

#[test]
fn rows_are_counted_among_those_that_are_left() {
    let mut seen = Vec::new();
    let lines = ["0", "1", "2", "3", "4"].map(|n| format!("{{\"n\":{n}}}"));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let patch = |row| crate::transform::Patch { row, edit: set("m", &row.to_string()) };
    let patches = Outcome { patches: vec![patch(2), patch(0)], ..Outcome::default() };
    let mut stages = [
        verdicts(&[1, 0, 0, 2, 0]),
        Stage::reads(&["n"], &mut seen),
        Stage::answers(&["m"], patches),
        verdicts(&[0, 1, 0]),
    ];
    let out = run(&lines, &Parser::Json, &mut stages);
    drop(stages);
    let numbers: Vec<_> = values(&seen[0].columns[0]).into_iter().map(|(_, text)| text).collect();
    assert_eq!(numbers, ["1", "2", "4"]);
    assert_eq!(own_of(&out.documents), [r#"{"n":1,"m":0}"#, r#"{"n":4,"m":2}"#]);
}

#[test]
fn rows_that_a_stage_could_not_handle_meet_its_policy() {
    let lines = [r#"{"s":"x","n":0}"#, r#"{"s":"x","n":1}"#, r#"{"s":"x","n":2}"#];
    let kept = [r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":2}"#];
    for (on_fault, documents, dead) in [
        (OnFault::Pass, &kept[..], &kept[..0]),
        (OnFault::Drop, &kept[..1], &kept[..0]),
        (OnFault::DeadLetter, &kept[..1], &kept[1..]),
    ] {
        // Whatever becomes of them, what plans do to every event is done to them too, by later stages as well.
        let mut first = suspects(&[1, 2], on_fault);
        first.plan.edits = vec![remove("s")];
        let out = run(&lines, &Parser::Json, &mut [first, Stage::edits(&[remove("t")])]);
        assert_eq!(own_of(&out.documents), documents, "{on_fault:?}");
        assert_eq!(own_of(&out.dead), dead, "{on_fault:?}");
        assert_eq!((out.applied[0].suspects, out.applied[1].suspects), ((2, 30), (0, 0)));
    }
}

#[test]
fn a_dead_letter_is_written_once_and_with_the_edits_so_far() {
    let lines = ["a", "b", "c"];
    let mut stages = [
        Stage::patches(&["x"], &[set("x", "1")]),
        suspects(&[0], OnFault::DeadLetter),
        suspects(&[1], OnFault::DeadLetter),
    ];
    let out = run(&lines, &Parser::Json, &mut stages);
    assert_eq!(own_of(&out.dead), [r#"{"message":"a","x":1}"#, r#"{"message":"c"}"#]);
    assert_eq!(own_of(&out.documents), [r#"{"message":"b"}"#]);
}

#[test]
fn a_row_with_too_many_edits_is_one_that_could_not_be_handled() {
    let many = |count: usize| (0..count).map(|n| set("n", &n.to_string())).collect::<Vec<_>>();
    for (count, writes, suspects) in
        [(MAX_ROW_EDITS, "n", 0), (MAX_ROW_EDITS + 1, "n", 1), (MAX_ROW_EDITS + 1, "*", 1)]
    {
        let mut stage = Stage::patches(&[writes], &many(count));
        stage.on_fault = OnFault::DeadLetter;
        let out = run(&["a"], &Parser::Json, &mut [stage]);
        assert_eq!(
            (out.applied[0].suspects.0, out.dead.len(), out.documents.len()),
            (suspects, suspects as usize, 1 - suspects as usize)
        );
    }
}

#[test]
fn what_no_stage_may_write_is_refused_alone() {
    let patches = ["a", "b..c", "", "d"].map(|path| set(path, "1"));
    let out = run(&["{}"], &Parser::Json, &mut [Stage::patches(&["*"], &patches)]);
    assert_eq!(own_of(&out.documents), [r#"{"a":1,"d":1}"#]);
    assert_eq!(out.applied[0].refused, 2);
    let outcome = Outcome {
        columns: vec![
            super::harness::column(1, &[(Kind::Null, "null")]),
            super::harness::column(0, &[(Kind::Null, "null")]),
        ],
        patches: vec![crate::transform::Patch { row: 7, edit: remove("a") }],
        ..Outcome::default()
    };
    let out = run(&["{}"], &Parser::Json, &mut [Stage::answers(&["*"], outcome)]);
    assert_eq!((own_of(&out.documents), out.applied[0].refused), (vec!["{}".to_owned()], 3));
}

#[test]
fn events_that_a_stage_makes() {
    let mut seen = Vec::new();
    let events = vec![
        new_event(1, r#"{"made":1,"gone":0,"cluster":"x"}"#),
        new_event(0, r#" {"made" : 2} "#),
        new_event(1, r#"{"made":3}"#),
    ];
    let mut maker =
        Stage::answers(&["early"], Outcome { events, verdicts: vec![0, 1], ..Outcome::default() });
    maker.plan.reasons = vec![reason("r", ReasonClass::Dropped)];
    maker.plan.edits = vec![set("early", "0")];
    let mut stages =
        [maker, Stage::reads(&["made"], &mut seen), Stage::edits(&[remove("gone"), set("late", "1")])];
    let lines = [r#"{"n":0}"#, r#"{"n":1}"#];
    let out = run(&lines, &Parser::Json, &mut stages);
    drop(stages);
    // They come behind the rows, without the edits of the stage that made them, with those of the stages behind it.
    assert_eq!(
        own_of(&out.documents),
        [
            r#"{"n":0,"early":0,"late":1}"#,
            r#"{"made":1,"late":1,"event":{"cluster":"x"}}"#,
            r#"{"made" : 2,"late":1}"#,
            r#"{"made":3,"late":1}"#,
        ]
    );
    let made: Vec<_> = values(&seen[0].columns[0]).into_iter().map(|(_, text)| text).collect();
    assert_eq!((seen[0].rows, made), (4, ["", "1", "2", "3"].map(str::to_owned).to_vec()));
    assert_eq!(out.applied[0].created, (3, 33 + 14 + 10));
    let ids: Vec<EventId> = out.finished.iter().map(|finished| finished.id).collect();
    let row = |at: usize| EventId::new(7, at as u64 * 7, lines[at].as_bytes());
    assert_eq!(ids, [row(0), row(1).child(0), row(0).child(0), row(1).child(1)]);
    assert!(out.finished.iter().all(|finished| finished.time == TIME && finished.stream == 0));
    assert_eq!(out.finished.iter().map(|finished| finished.bytes).collect::<Vec<_>>(), [7, 33, 14, 10]);
}

#[test]
fn events_of_events_have_ids_of_their_own() {
    let events = |parents: &[u32]| {
        let events = parents.iter().map(|parent| new_event(*parent, r#"{"a":1}"#)).collect();
        Stage::answers(&[], Outcome { events, ..Outcome::default() })
    };
    let mut stages = [events(&[0, 0]), events(&[1, 2, 0]), events(&[3, 5])];
    let out = run(&["x"], &Parser::Json, &mut stages);
    let ids: HashSet<EventId> = out.finished.iter().map(|finished| finished.id).collect();
    assert_eq!((out.documents.len(), ids.len()), (8, 8));
    let expected: HashSet<EventId> = (0..7).map(|n| EventId::new(7, 0, b"x").child(n)).collect();
    assert_eq!(ids.intersection(&expected).count(), 7);
}

#[test]
fn what_is_no_event_is_refused() {
    let bad = ["", "[]", "1", "{", "{}{}", r#"{"a":1,}"#, "text"];
    let mut events: Vec<_> = bad.iter().map(|document| new_event(0, document)).collect();
    events.push(new_event(9, "{}"));
    events.push(new_event(0, r#"{"good":1}"#));
    events[6].document = b"{\"a\":\"\xff\"}".to_vec();
    let out =
        run(&["x"], &Parser::Json, &mut [Stage::answers(&[], Outcome { events, ..Outcome::default() })]);
    assert_eq!(own_of(&out.documents), [r#"{"message":"x"}"#, r#"{"good":1}"#]);
    assert_eq!((out.applied[0].created.0, out.applied[0].refused), (1, 8));
}

#[test]
fn events_of_one_call_are_bounded() {
    let events = vec![new_event(0, "{}"); MAX_NEW_EVENTS + 10];
    let out =
        run(&["x"], &Parser::Json, &mut [Stage::answers(&[], Outcome { events, ..Outcome::default() })]);
    assert_eq!(out.documents.len(), MAX_NEW_EVENTS + 1);
    assert_eq!((out.applied[0].created.0, out.applied[0].refused), (MAX_NEW_EVENTS as u64, 10));
}

/// Ids are made of the place and the raw bytes, whatever the stages do.
#[test]
fn ids_and_places_are_those_of_the_rows() {
    let pool = ArenaPool::new();
    let mut builder = BatchBuilder::new(pool.take());
    let attributes =
        |pod: &str| Attributes { cluster: "dev".into(), pod: pod.into(), ..Attributes::default() };
    let streams = [
        builder.add_stream(&Stream::new(attributes("p"), 11)),
        builder.add_stream(&Stream::new(attributes("q"), 12)),
    ];
    for (at, line) in ["P {\"a\":1}", "Q {\"a\":1}", "R {\"a\":1}"].iter().enumerate() {
        let raw = builder.arena.append(line.as_bytes());
        let content = crate::batch::Span::between(raw.start as usize + 2, raw.end());
        let row = Row {
            content,
            raw,
            offset: 1_000 * at as u64,
            time: at as i64 - 1,
            stream: streams[at % 2],
            flags: Flags::default(),
        };
        builder.push(row);
    }
    let batch = builder.finish(&pool);
    let plan = Plan { edits: vec![set("a", "2")], ..Plan::default() };
    let compiled = crate::edit::Compiled::new(&[&plan]).unwrap();
    let mut sheet = crate::sheet::Sheet::new();
    sheet.load(&compiled, &Parser::Json, None, &batch);
    let (mut text, mut finished) = (Vec::new(), Vec::new());
    sheet.encode(&compiled, &batch, crate::sheet::Encoded::Kept, &mut text, |one, _| finished.push(one));
    assert_eq!(
        String::from_utf8(text).unwrap(),
        concat!(
            r#"{"@timestamp":"1969-12-31T23:59:59.999999999Z","cluster":"dev","kubernetes":{"pod":"p"},"log":{"offset":0},"a":2}"#,
            "\n",
            r#"{"@timestamp":"1970-01-01T00:00:00.000000000Z","cluster":"dev","kubernetes":{"pod":"q"},"log":{"offset":1000},"a":2}"#,
            "\n",
            r#"{"@timestamp":"1970-01-01T00:00:00.000000001Z","cluster":"dev","kubernetes":{"pod":"p"},"log":{"offset":2000},"a":2}"#,
            "\n",
        )
    );
    assert_eq!(
        finished.iter().map(|one| (one.time, one.stream, one.bytes)).collect::<Vec<_>>(),
        [(-1, 0, 9), (0, 1, 9), (1, 0, 9)]
    );
    let id = |incarnation, offset, raw: &[u8]| EventId::new(incarnation, offset, raw);
    assert_eq!(finished[1].id, id(12, 1_000, b"Q {\"a\":1}"));
    assert_eq!(finished[2].id, id(11, 2_000, b"R {\"a\":1}"));
}

#[test]
fn no_stage_at_all() {
    check(r#"{"a":1}"#, &mut [], r#"{"a":1}"#);
    assert!(run_batch(&batch(&[]), &Parser::Json, &mut []).documents.is_empty());
    let plan = Plan { reads: strings(&["a"]), ..Plan::default() };
    let out =
        run_batch(&batch(&[]), &Parser::Json, &mut [Stage::new(plan, |_, _| panic!("called without rows"))]);
    assert!(out.documents.is_empty());
}
