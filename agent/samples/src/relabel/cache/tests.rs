//! What a stage remembers of series, and what it forgets.

use super::*;
use crate::relabel::{Lists, Rule};

const SECOND: i64 = 1_000_000_000;

fn set(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = LabelsBuilder::new();
    pairs.iter().for_each(|(name, value)| builder.push(name, value));
    let mut out = Vec::new();
    builder.finish(&mut out).unwrap();
    out
}

fn stage(rules: &[Rule], limits: Limits) -> Relabel {
    Relabel::new(Rules::new(rules).unwrap(), "rules".into(), "invalid".into(), limits)
}

fn fate(stage: &mut Relabel, labels: &[u8], now: i64) -> String {
    let labels = LabelSet::new(labels);
    match stage.look(labels, labels.hash(), now * SECOND) {
        Fate::Keep => "keep".to_owned(),
        Fate::Change { labels, hash } => {
            assert_eq!(hash, labels.hash());
            labels.to_string()
        }
        Fate::Drop(reason) => format!("drop: {reason}"),
    }
}

fn rules() -> Vec<Rule> {
    let lists =
        Lists { drop_metrics: vec!["gone".into()], drop_labels: vec!["ip".into()], ..Lists::default() };
    lists.rules().unwrap()
}

#[test]
fn an_answer_is_the_same_every_time() {
    let mut stage = stage(&rules(), Limits::default());
    for _ in 0..3 {
        assert_eq!(fate(&mut stage, &set(&[("__name__", "up")]), 1), "keep");
        assert_eq!(fate(&mut stage, &set(&[("__name__", "up"), ("ip", "7")]), 1), "up");
        assert_eq!(fate(&mut stage, &set(&[("__name__", "gone")]), 1), "drop: rules");
        assert_eq!(fate(&mut stage, &set(&[("ip", "7")]), 1), "drop: rules");
        assert_eq!(fate(&mut stage, &set(&[("job", "a"), ("ip", "7")]), 1), "drop: invalid");
    }
    assert_eq!((stage.usage().worked_out, stage.usage().series), (5, 5));
}

#[test]
fn a_nameless_label_is_invalid() {
    let map = Rule {
        action: "labelmap".parse().unwrap(),
        regex: "x(.*)".into(),
        replacement: "$1".into(),
        ..Rule::default()
    };
    let mut stage = stage(&[map], Limits::default());
    assert_eq!(fate(&mut stage, &set(&[("__name__", "up"), ("x", "7")]), 1), "drop: invalid");
    assert_eq!(fate(&mut stage, &set(&[("__name__", "up"), ("xa", "7")]), 1), "up{a=\"7\",xa=\"7\"}");
}

#[test]
fn series_with_one_hash_do_not_take_each_others_labels() {
    let mut stage = stage(&rules(), Limits::default());
    let (one, other) = (set(&[("__name__", "a"), ("ip", "7")]), set(&[("__name__", "b"), ("ip", "7")]));
    for (labels, metric) in [(&one, "a"), (&other, "b"), (&one, "a"), (&other, "b")] {
        let Fate::Change { labels, .. } = stage.look(LabelSet::new(labels), 42, 0) else { panic!() };
        assert_eq!(labels.metric(), metric);
    }
}

#[test]
fn the_unused_go_and_the_used_stay() {
    let mut stage = stage(&rules(), Limits { unused: Duration::from_secs(100), ..Limits::default() });
    let (used, unused) = (set(&[("__name__", "a"), ("ip", "7")]), set(&[("__name__", "b")]));
    fate(&mut stage, &unused, 1000);
    for now in (1000..1160).step_by(10) {
        fate(&mut stage, &used, now);
    }
    assert_eq!(
        stage.usage(),
        Usage { series: 1, bytes: 112 + set(&[("__name__", "a")]).len(), worked_out: 2 }
    );
}

#[test]
fn without_room_answers_are_right_and_the_known_stay() {
    let series: Vec<_> =
        (0..20).map(|n| set(&[("__name__", "a"), ("n", &n.to_string()), ("ip", "1")])).collect();
    let by_series = Limits { max_series: 10, ..Limits::default() };
    let by_bytes = Limits { max_bytes: 10 * 135, ..Limits::default() };
    for limits in [by_series, by_bytes] {
        let mut stage = stage(&rules(), limits);
        for _ in 0..3 {
            for (n, labels) in series.iter().enumerate() {
                assert_eq!(fate(&mut stage, labels, 1), format!("a{{n=\"{n}\"}}"));
            }
        }
        let usage = stage.usage();
        assert!(usage.series >= 9 && usage.series <= 10 && usage.bytes <= limits.max_bytes, "{usage:?}");
        assert_eq!(usage.worked_out, (20 + 2 * (20 - usage.series)) as u64);
    }
}
