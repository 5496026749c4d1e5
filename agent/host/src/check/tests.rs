//! Answers, well-formed and not, against the check.

use proptest::prelude::*;
use weir_event::transform::{Edit, Reason, ReasonClass};

use super::*;

fn plan() -> Plan {
    let reason = |name: &str| Reason { name: name.into(), class: ReasonClass::Dropped };
    Plan {
        writes: vec!["rate".into(), "user".into(), "*".into()],
        reasons: vec![reason("a"), reason("b")],
        ..Plan::default()
    }
}

fn narrow_plan() -> Plan {
    Plan { writes: vec!["rate".into(), "user".into()], ..plan() }
}

fn column(values: &[(Kind, &str)]) -> Column {
    let mut column = Column::default();
    column.clear();
    for (kind, value) in values {
        column.push(*kind, value.as_bytes());
    }
    column
}

fn good_column() -> Column {
    column(&[(Kind::Number, "0.1"), (Kind::Number, "0.1"), (Kind::Absent, "")])
}

fn written(field: u32, values: Column) -> Outcome {
    Outcome { columns: vec![WrittenColumn { field, values }], ..Outcome::default() }
}

fn patched(row: u32, edit: Edit) -> Outcome {
    Outcome { patches: vec![Patch { row, edit }], ..Outcome::default() }
}

fn made(parent: u32, document: &str) -> Outcome {
    Outcome { events: vec![NewEvent { parent, document: document.into() }], ..Outcome::default() }
}

fn long_document(bytes: usize) -> String {
    format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8))
}

fn damaged(damage: impl FnOnce(&mut Column)) -> Outcome {
    let mut values = good_column();
    damage(&mut values);
    written(0, values)
}

#[test]
fn a_good_answer_is_left_as_it_is() {
    let every_kind = column(&[(Kind::String, "a\"b\nü"), (Kind::Object, "{}"), (Kind::Null, "null")]);
    let cases = [
        Outcome::default(),
        Outcome { verdicts: vec![0, 1, 2], ..Outcome::default() },
        written(0, good_column()),
        written(1, every_kind),
        patched(2, Edit::Set("user.email".into(), "\"x\"".into())),
        patched(0, Edit::Rename("user.a".into(), "user.b".into())),
        patched(0, Edit::KeepOnly(vec!["level".into()])),
        made(1, "{\"a\":1}"),
        Outcome { events: vec![made(1, "{}").events.remove(0); MAX_NEW_EVENTS], ..Outcome::default() },
        made(0, &long_document(MAX_EVENT_BYTES)),
    ];
    for outcome in cases {
        let mut checked = outcome.clone();
        assert_eq!(check(&mut checked, 3, &plan()), Ok(0), "{outcome:?}");
        assert_eq!(checked, outcome);
    }
}

#[test]
fn a_malformed_answer_is_a_fault() {
    let cases: [(Outcome, &str); 19] = [
        (Outcome { verdicts: vec![0; 2], ..Outcome::default() }, "2 verdicts for 3 rows"),
        (Outcome { verdicts: vec![0; 4], ..Outcome::default() }, "4 verdicts for 3 rows"),
        (Outcome { verdicts: vec![0, 3, 0], ..Outcome::default() }, "verdict 3, but its plan has 2 reasons"),
        (damaged(|c| c.kinds.truncate(2)), "2 kinds for 3 rows"),
        (damaged(|c| c.offsets.truncate(3)), "3 offsets for 3 rows"),
        (damaged(|c| c.kinds[1] = 7), "kind 7, which does not exist"),
        (damaged(|c| c.offsets[0] = 4), "offsets that descend"),
        (damaged(|c| c.offsets[3] = 7), "offsets up to 7 for 6 bytes"),
        (damaged(|c| c.data[0] = b'x'), "in row 0 that is not of its kind, Number"),
        (damaged(|c| c.kinds[1] = Kind::Object as u8), "in row 1 that is not of its kind, Object"),
        (written(0, column(&[(Kind::Absent, ""), (Kind::Absent, ""), (Kind::Bool, "yes")])), "in row 2"),
        (damaged(|c| (c.kinds[0], c.data[0]) = (Kind::String as u8, 0xff)), "not of its kind, String"),
        (
            Outcome {
                columns: [written(0, good_column()), written(0, good_column())].map(|o| o.columns).concat(),
                ..Outcome::default()
            },
            "two columns to field 0",
        ),
        (patched(3, Edit::Remove("user".into())), "patched row 3 of 3"),
        (patched(0, Edit::Set("user.x".into(), "{".into())), "not JSON"),
        (made(3, "{}"), "event of row 3 of 3"),
        (made(0, "[]"), "not a JSON object"),
        (made(0, &long_document(MAX_EVENT_BYTES + 1)), "2097153 bytes, more than 2097152"),
        (
            Outcome {
                events: vec![made(1, "{}").events.remove(0); MAX_NEW_EVENTS + 1],
                ..Outcome::default()
            },
            "it made 4097 events, more than 4096",
        ),
    ];
    for (mut outcome, expected) in cases {
        let error = check(&mut outcome, 3, &plan()).unwrap_err();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
    }
}

#[test]
fn undeclared_writes_are_taken_out_and_the_rest_holds() {
    let edits = [
        (Edit::Remove("level".into()), 1),
        (Edit::Remove("user.email".into()), 0),
        (Edit::Set("users".into(), "1".into()), 1),
        (Edit::Rename("user.a".into(), "b".into()), 1),
        (Edit::KeepOnly(vec!["user".into()]), 1),
    ];
    for (edit, undeclared) in edits {
        let mut outcome = Outcome { verdicts: vec![1, 0, 2], ..patched(1, edit.clone()) };
        assert_eq!(check(&mut outcome, 3, &narrow_plan()), Ok(undeclared), "{edit:?}");
        assert_eq!((outcome.patches.len() as u64, outcome.verdicts), (1 - undeclared, vec![1, 0, 2]));
    }
    for (field, undeclared) in [(0, 0), (1, 0), (2, 1), (9, 1)] {
        let mut outcome = written(field, good_column());
        assert_eq!(check(&mut outcome, 3, &plan()), Ok(undeclared), "field {field}");
        assert_eq!(outcome.columns.len() as u64, 1 - undeclared);
    }
}

proptest! {
    #[test]
    fn any_column_is_either_malformed_or_readable(
        kinds in prop::collection::vec(0u8..9, 0..5),
        offsets in prop::collection::vec(0u32..9, 0..6),
        data in prop::collection::vec(prop::sample::select(&b"01\"{}tn"[..]), 0..8),
        rows in 0u32..5,
    ) {
        let mut outcome = written(0, Column { kinds, offsets, data });
        if check(&mut outcome, rows, &plan()).is_ok() {
            let values = &outcome.columns[0].values;
            for row in 0..rows as usize {
                let (kind, value) = values.get(row).unwrap();
                let is_free = matches!(kind, Kind::Absent | Kind::String);
                prop_assert!(is_free || json::kind_of(value) == Some(kind));
            }
        }
    }
}
