//! That it misbehaves where it should and nowhere else, as far as that can be seen without an agent.

use weir_sdk::bindings::{Batch, Column};

use super::*;

fn batch(levels: &[&str]) -> Batch {
    let mut column = Column { kinds: vec![2; levels.len()], offsets: vec![0], data: Vec::new() };
    for level in levels {
        column.data.extend_from_slice(level.as_bytes());
        column.offsets.push(column.data.len() as u32);
    }
    let rows = levels.len();
    Batch { rows: rows as u32, streams: vec![0; rows], times: vec![0; rows], columns: vec![column] }
}

fn instance(config: &str) -> Misbehave {
    Misbehave::configure(config).map(|(instance, _)| instance).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn only_rows_that_match_make_it_misbehave() {
    let mut instance =
        instance(r#"{"mode":"bad_verdict","when":{"equals":"poison"},"after":1,"drop":"debug"}"#);
    assert_eq!(instance.transform(&batch(&["info", "debug"])).verdicts, [0, 1]);
    assert_eq!(instance.transform(&batch(&["info", "poison"])).verdicts, [0, 0]);
    assert_eq!(instance.transform(&batch(&["info", "poison", "debug"])).verdicts, [0, 255, 1]);
}

#[test]
fn every_mode_of_an_answer_is_different_from_a_good_one() {
    let good = instance(r#"{"mode":"none"}"#).transform(&batch(&["a", "b"]));
    for mode in [
        "huge",
        "flood",
        "undeclared_write",
        "undeclared_column",
        "bad_verdict",
        "short_verdicts",
        "bad_event",
        "bad_parent",
    ] {
        let outcome = instance(&format!(r#"{{"mode":"{mode}"}}"#)).transform(&batch(&["a", "b"]));
        assert_ne!(outcome, good, "{mode}");
    }
}

#[test]
fn plans_ask_for_what_the_manifest_does_not_name() {
    let plan = |mode: &str| Misbehave::configure(&format!(r#"{{"mode":"{mode}"}}"#)).map(|(_, plan)| plan);
    assert_eq!(plan("undeclared_read").map(|plan| plan.reads), Ok(vec!["level".into(), "secret".into()]));
    assert_eq!(plan("undeclared_edit").map(|plan| plan.edits.len()), Ok(1));
    assert!(plan("start_error").is_err_and(|error| error.contains("on purpose")));
}

#[test]
fn the_schema_has_every_mode() {
    let manifest: serde_json::Value =
        serde_json::from_str(include_str!("../manifest.json")).unwrap_or_default();
    let modes =
        manifest["config_schema"]["properties"]["mode"]["enum"].as_array().cloned().unwrap_or_default();
    assert!(modes.len() > 1);
    for mode in modes {
        assert!(serde_json::from_value::<Mode>(mode.clone()).is_ok(), "{mode}");
    }
}
