//! The kit against a plugin that does a bit of everything.

use super::*;
use crate::{Batch, ColumnBuilder, NoConfig, Outcome, Plan, Read, Reason, Transform, Write, json};

/// Drops `level: debug`, writes the length of `msg`, and obeys the member `do`.
struct Everything {
    level: Read,
    message: Read,
    namespace: crate::Attribute,
    order: Read,
    length: Write,
    debug: Reason,
}

impl Transform for Everything {
    type Config = NoConfig;

    fn configure(_: NoConfig, plan: &mut Plan) -> Result<Everything, ConfigError> {
        plan.remove("secret");
        plan.set("stage.name", "everything");
        plan.rename("msg", "message");
        plan.write("extra");
        Ok(Everything {
            level: plan.read("level"),
            message: plan.read("msg"),
            order: plan.read("do"),
            namespace: plan.attribute("namespace"),
            length: plan.write("length"),
            debug: plan.dropped("debug"),
        })
    }

    fn transform(&mut self, batch: &Batch<'_>, outcome: &mut Outcome) {
        let (message, namespace) = (batch.column(self.message), batch.attribute(self.namespace));
        let mut lengths = ColumnBuilder::new(batch.rows());
        for (row, (_, level)) in batch.column(self.level).iter().enumerate() {
            if level == b"debug" {
                outcome.drop(row, self.debug);
                continue;
            }
            if let Some(text) = message.str(row) {
                lengths.number(row, text.len() as u32);
            }
            match batch.column(self.order).str(row) {
                Some("set") => outcome.set(row, "extra.namespace", namespace.str(row)),
                Some("write elsewhere") => outcome.remove(row, "level"),
                Some("make") => outcome.event(row, &json!({"made": batch.times()[row] - batch.now()})),
                _ => {}
            }
        }
        outcome.write(self.length, lengths);
    }
}

fn agent() -> Agent<Everything> {
    Agent::configure(json!({})).unwrap()
}

#[test]
fn a_batch_comes_back_row_by_row() {
    let run = agent().run([
        Event::new(r#"{"level":"debug"}"#),
        Event::new(r#"{"level":"info","msg":"grün","secret":1}"#),
        Event::new("plain text"),
        Event::new(r#"{"do":"set"}"#).attribute("namespace", "shop"),
        Event::new(r#"{"do":"make"}"#),
    ]);
    let stage = json!({"name": "everything"});
    let expected = [
        Fate::Dropped("debug".into()),
        Fate::Kept(json!({"level": "info", "message": "grün", "stage": stage, "length": 5})),
        Fate::Kept(json!({"message": "plain text", "stage": stage})),
        Fate::Kept(json!({"do": "set", "stage": stage, "extra": {"namespace": "shop"}})),
        Fate::Kept(json!({"do": "make", "stage": stage})),
    ];
    let made = Made { parent: 4, document: json!({"made": 4 * MILLISECOND_NANOSECONDS}) };
    assert_eq!(run, Ok(Run { rows: expected.into(), events: vec![made] }));
}

#[test]
fn an_undeclared_write_is_a_fault() {
    let error = agent().run([r#"{"do":"write elsewhere"}"#]).unwrap_err();
    assert!(matches!(&error, Error::Fault(what) if what.contains("edit of level")), "{error}");
}

#[test]
fn a_misspelt_key_is_refused_by_name() {
    let error = Agent::<Everything>::configure(json!({"levle": 1})).unwrap_err();
    assert!(error.to_string().contains("levle: unknown field `levle`"), "{error}");
}

#[test]
fn faults_are_found_in_every_part_of_an_outcome() {
    let agent = agent();
    let good = || bindings::Outcome { verdicts: vec![], columns: vec![], patches: vec![], events: vec![] };
    let values = |kinds: &[u8], offsets: &[u32], data: &str| bindings::WrittenColumn {
        field: 1,
        values: Column { kinds: kinds.into(), offsets: offsets.into(), data: data.into() },
    };
    let patch = |row, path: &str, json: &str| bindings::Patch {
        row,
        edit: bindings::Edit::Set((path.into(), json.into())),
    };
    let event = |parent, document: &str| bindings::NewEvent { parent, document: document.into() };
    let faulty = [
        ("verdicts", bindings::Outcome { verdicts: vec![0], ..good() }),
        ("verdict 2", bindings::Outcome { verdicts: vec![2, 0], ..good() }),
        (
            "undeclared write",
            bindings::Outcome {
                columns: vec![bindings::WrittenColumn { field: 2, ..values(&[], &[], "") }],
                ..good()
            },
        ),
        (
            "two columns",
            bindings::Outcome {
                columns: vec![values(&[0, 0], &[0, 0, 0], ""), values(&[0, 0], &[0, 0, 0], "")],
                ..good()
            },
        ),
        ("1 kinds", bindings::Outcome { columns: vec![values(&[0], &[0, 0, 0], "")], ..good() }),
        ("outside", bindings::Outcome { columns: vec![values(&[3, 3], &[0, 1, 9], "12")], ..good() }),
        ("outside", bindings::Outcome { columns: vec![values(&[3, 3], &[1, 0, 1], "12")], ..good() }),
        ("another kind", bindings::Outcome { columns: vec![values(&[3, 4], &[0, 1, 2], "12")], ..good() }),
        ("not JSON", bindings::Outcome { columns: vec![values(&[3, 0], &[0, 1, 1], "{")], ..good() }),
        ("row 2 of 2", bindings::Outcome { patches: vec![patch(2, "extra", "1")], ..good() }),
        ("not JSON", bindings::Outcome { patches: vec![patch(0, "extra", "1 2")], ..good() }),
        ("edit of extras", bindings::Outcome { patches: vec![patch(0, "extras", "1")], ..good() }),
        ("row 2 of 2", bindings::Outcome { events: vec![event(2, "{}")], ..good() }),
        ("not a JSON object", bindings::Outcome { events: vec![event(0, "[]")], ..good() }),
    ];
    for (expected, answer) in faulty {
        let fault = outcome::apply(agent.plan(), vec![Members::new(), Members::new()], answer).unwrap_err();
        assert!(fault.contains(expected), "expected {expected}, got {fault}");
    }
}
