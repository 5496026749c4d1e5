//! Plugins that work.

use std::sync::Arc;

use weir_event::column::{Column, Kind};
use weir_event::transform::{Call, Edit, Plan, Reason, ReasonClass, Transform};
use weir_host::{Cause, Isolation, Plugin};

use crate::guest::Guest;
use crate::support::{call, context, load, load_with, run};

#[test]
fn verdicts_come_back_per_row() {
    let plugin = load(&Guest::by_row());
    let mut instance = plugin.instance();
    let handled = run(&mut instance, &["keep", "drop", "keep", "drop"]);
    assert_eq!((handled.outcome.verdicts, handled.suspects), (vec![0, 1, 0, 1], vec![]));
    assert!(handled.outcome.columns.is_empty() && handled.outcome.patches.is_empty());
    assert_eq!((plugin.metrics().calls(), plugin.metrics().rows()), (1, 4));
    assert!(!plugin.metrics().cpu().is_zero() && !plugin.metrics().wall().is_zero());
}

#[test]
fn the_plan_is_what_configure_answers() {
    let plan = Plan {
        reads: vec!["level".into(), "user.email".into()],
        attributes: vec!["namespace".into(), "pod".into()],
        writes: vec!["sample_rate".into()],
        reasons: vec![
            Reason { name: "debug".into(), class: ReasonClass::Sampled },
            Reason { name: "noise".into(), class: ReasonClass::Dropped },
        ],
        edits: vec![
            Edit::Remove("labels".into()),
            Edit::Set("cluster".into(), "\"dev-1\"".into()),
            Edit::Rename("a".into(), "b.c".into()),
            Edit::KeepOnly(vec!["x".into(), "y.z".into()]),
        ],
    };
    let plugin = load(&Guest { plan: plan.clone(), ..Guest::default() });
    assert_eq!((plugin.plan(), plugin.instance().plan()), (&plan, &plan));
}

#[test]
fn a_column_survives_byte_for_byte() {
    let plugin = load(&Guest::echo());
    let mut instance = plugin.instance();
    let large = "\u{0}x\u{7f}ü\n".repeat(200_000);
    for messages in [vec![""], vec!["a", "", "\u{0}\u{0}"], vec![large.as_str(), "after"]] {
        let call = call(&messages);
        let handled = instance.transform(&call, &context());
        assert_eq!(handled.outcome.columns.len(), 1);
        assert_eq!(handled.outcome.columns[0].values, call.columns[0]);
        assert!(handled.suspects.is_empty());
    }
}

#[test]
fn every_kind_survives() {
    let values: [(Kind, &str); 7] = [
        (Kind::Absent, ""),
        (Kind::Null, "null"),
        (Kind::String, "a \"b\""),
        (Kind::Number, "-1.5e3"),
        (Kind::Bool, "true"),
        (Kind::Object, "{\"a\":[1]}"),
        (Kind::Array, "[]"),
    ];
    let mut column = Column::default();
    values.iter().for_each(|(kind, value)| column.push(*kind, value.as_bytes()));
    let call = Call { rows: 7, streams: vec![0; 7], times: vec![0; 7], columns: vec![column.clone()] };
    let handled = load(&Guest::echo()).instance().transform(&call, &context());
    assert_eq!(handled.outcome.columns[0].values, column);
}

#[test]
fn the_context_arrives() {
    // The verdict of every row is 1 if now, pressure and the first attribute's last byte are as expected.
    let transform = r#"
        (i32.store8 (i32.const 700) (i32.and (i32.and
          (i64.eq (local.get $now) (i64.const 1700000000000000000))
          (f32.eq (local.get $pressure) (f32.const 0.5)))
          (i32.eq (i32.load8_u offset=3 (i32.load offset=16 (local.get $attributes))) (i32.const 112))))
        (i32.store (i32.const 512) (i32.const 700))
        (i32.store (i32.const 516) (local.get $rows))
        (i32.const 512)"#;
    let plugin = load(&Guest { transform: transform.into(), ..Guest::default() });
    assert_eq!(run(&mut plugin.instance(), &["a"]).outcome.verdicts, [1]);
}

#[test]
fn no_rows_cost_no_call() {
    let plugin = load(&Guest::by_row());
    let handled = plugin.instance().transform(&Call::default(), &context());
    assert_eq!(handled.outcome, Default::default());
    assert_eq!(plugin.metrics().calls(), 0);
}

/// Drops the rows of the first call of each instance only.
fn remembering() -> Guest {
    let transform = r#"
        (if (i32.eqz (global.get $calls)) (then
          (i32.store8 (i32.const 700) (i32.const 1))
          (i32.store (i32.const 512) (i32.const 700))
          (i32.store (i32.const 516) (i32.const 1)))
        (else (i32.store (i32.const 516) (i32.const 0))))
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.const 512)"#;
    Guest { transform: transform.into(), ..Guest::default() }
}

fn verdicts(plugin: &Arc<Plugin>, calls: usize) -> Vec<Vec<u8>> {
    let mut instance = plugin.instance();
    (0..calls).map(|_| run(&mut instance, &["a"]).outcome.verdicts).collect()
}

#[test]
fn a_shared_instance_remembers_and_a_fresh_one_does_not() {
    let none: Vec<u8> = Vec::new();
    assert_eq!(verdicts(&load(&remembering()), 3), [vec![1], none.clone(), none]);
    let fresh = load_with(&remembering(), |spec| spec.isolation = Isolation::Fresh);
    assert_eq!(verdicts(&fresh, 3), [[1], [1], [1]]);
    assert_eq!((fresh.metrics().recycles(), fresh.metrics().memory_bytes()), (0, 0));
}

#[test]
fn an_instance_is_recycled_by_calls() {
    let plugin = load(&remembering());
    let begun =
        verdicts(&plugin, 20_001).into_iter().enumerate().filter(|(_, verdicts)| !verdicts.is_empty());
    assert_eq!(begun.map(|(call, _)| call).collect::<Vec<_>>(), [0, 10_000, 20_000]);
    assert_eq!(plugin.metrics().recycles(), 2);
}

#[test]
fn a_leaking_plugin_is_recycled_by_size_and_loses_nothing() {
    let leaking = Guest {
        post: String::new(),
        transform: format!("(drop (call $allocate (i32.const 65536)))\n{}", Guest::by_row().transform),
        ..Guest::by_row()
    };
    // Declarations of locals come first in a function.
    let leaking = Guest { transform: reorder(&leaking.transform), ..leaking };
    let plugin = load_with(&leaking, |spec| spec.limits.memory = Some(4 << 20));
    let mut instance = plugin.instance();
    for _ in 0..500 {
        assert_eq!(run(&mut instance, &["keep", "drop"]).outcome.verdicts, [0, 1]);
    }
    let metrics = plugin.metrics();
    assert!(metrics.recycles() >= 5, "{} recycles", metrics.recycles());
    assert!(metrics.memory_peak_bytes() <= 4 << 20, "peak {}", metrics.memory_peak_bytes());
    assert!(Cause::ALL.iter().all(|cause| metrics.faults(*cause) == 0));
    drop(instance);
    assert_eq!(metrics.memory_bytes(), 0);
}

fn reorder(body: &str) -> String {
    let (locals, rest): (Vec<&str>, Vec<&str>) = body.lines().partition(|line| line.starts_with("(local $"));
    [locals.join("\n"), rest.join("\n")].join("\n")
}
