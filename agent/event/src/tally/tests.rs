//! The stage by itself: which series it counts, and what it does where there are too many.

use proptest::prelude::*;

use super::*;
use crate::column::{Column, Kind};
use crate::transform::{Call, Context, Handled, Transform as _};

fn label(name: &str, path: &str) -> (String, LabelSource) {
    (name.to_owned(), LabelSource::Field(path.to_owned()))
}

fn column(values: &[(Kind, &str)]) -> Column {
    let mut column = Column::default();
    column.clear();
    values.iter().for_each(|(kind, value)| column.push(*kind, value.as_bytes()));
    column
}

fn call(columns: Vec<Column>, streams: &[u32]) -> Call {
    let rows = streams.len();
    Call { rows: rows as u32, streams: streams.to_vec(), times: vec![0; rows], columns }
}

fn counter(labels: Vec<(String, LabelSource)>) -> Arc<Metrics> {
    Metrics::new("p", 10, vec![Metric::new("events_total", "", Measure::Events, labels)])
}

/// Series and counts, sorted.
fn counts(tally: &Tally) -> Vec<(Option<Vec<String>>, u64)> {
    let counted = tally.counted.iter();
    let mut counts: Vec<_> =
        counted.map(|one| (one.labels.as_deref().map(<[String]>::to_vec), one.total.events())).collect();
    counts.sort();
    counts
}

fn values(values: &[&str]) -> Option<Vec<String>> {
    Some(values.iter().map(|value| (*value).to_owned()).collect())
}

#[test]
fn values_of_every_kind_are_labels_as_they_are_written() {
    let of = counter(vec![label("l", "level")]);
    let mut stage = TallyStage::new(&of);
    assert_eq!(stage.plan().reads, ["level"]);
    let kinds = [
        (Kind::String, "a\"b\\"),
        (Kind::Number, "1.50"),
        (Kind::Bool, "true"),
        (Kind::Null, "null"),
        (Kind::Absent, ""),
        (Kind::Object, "{}"),
        (Kind::Array, "[1]"),
        (Kind::String, ""),
    ];
    let handled = stage.transform(&call(vec![column(&kinds)], &[0; 8]), &Context::default());
    assert_eq!((handled.outcome, handled.suspects), (Handled::default().outcome, Vec::new()));
    let expected =
        [(values(&[""]), 5), (values(&["1.50"]), 1), (values(&["a\"b\\"]), 1), (values(&["true"]), 1)];
    assert_eq!(counts(&stage.take_tally().unwrap()), expected);
}

#[test]
fn long_values_are_cut_at_a_character() {
    let mut stage = TallyStage::new(&counter(vec![label("l", "level")]));
    let (plain, wide) = ("x".repeat(300), format!("x{}", "é".repeat(200)));
    let texts = [(Kind::String, plain.as_str()), (Kind::String, wide.as_str())];
    stage.transform(&call(vec![column(&texts)], &[0; 2]), &Context::default());
    let counts = counts(&stage.take_tally().unwrap());
    let cut = format!("x{}", "é".repeat(127));
    assert_eq!(counts, [(values(&["x".repeat(256).as_str()]), 1), (values(&[&cut]), 1)]);
}

#[test]
fn labels_come_from_fields_and_from_the_stream_in_the_order_of_their_names() {
    let labels =
        vec![label("z", "level"), ("namespace".to_owned(), LabelSource::Attribute("namespace".to_owned()))];
    let of = counter(labels);
    assert_eq!(of.metrics()[0].key(), "events_total{namespace,z}");
    let mut stage = TallyStage::new(&of);
    assert_eq!(stage.plan().attributes, ["namespace"]);
    let context = Context {
        attributes: vec![column(&[(Kind::String, "web"), (Kind::Absent, "")])],
        ..Context::default()
    };
    let levels = column(&[(Kind::String, "info"), (Kind::String, "info"), (Kind::String, "warn")]);
    stage.transform(&call(vec![levels], &[0, 1, 0]), &context);
    let expected = [(values(&["", "info"]), 1), (values(&["web", "info"]), 1), (values(&["web", "warn"]), 1)];
    assert_eq!(counts(&stage.take_tally().unwrap()), expected);
    assert!(stage.take_tally().is_none(), "it is told once");
}

#[test]
fn a_histogram_takes_numbers_and_skips_everything_else() {
    let measure = Measure::Field { path: "took".into(), bounds: vec![10.0, 0.1, 1.0, 1.0, f64::INFINITY] };
    let metric = Metric::new("seconds", "", measure, Vec::new());
    assert_eq!(metric.key(), "seconds{}[0.1,1,10]");
    let mut stage = TallyStage::new(&Metrics::new("p", 10, vec![metric]));
    let good =
        [(Kind::Number, "0.1"), (Kind::Number, "1e1"), (Kind::String, "-0.5E+1"), (Kind::Number, "11")];
    let bad = ["NaN", "inf", "+1", ".5", "1.", "01", "1e", " 1", "0x1", "", "1e999"];
    let mut cells: Vec<(Kind, &str)> = good.to_vec();
    cells.extend(bad.iter().map(|text| (Kind::String, *text)));
    cells.extend([(Kind::Number, "1e999"), (Kind::Null, "null"), (Kind::Absent, ""), (Kind::Bool, "true")]);
    stage.transform(&call(vec![column(&cells)], &vec![0; cells.len()]), &Context::default());
    let tally = stage.take_tally().unwrap();
    let total = Total::Numbers { buckets: [2, 0, 1, 1].into(), sum: 0.1 + 10.0 - 5.0 + 11.0 };
    assert_eq!(tally.counted, [Counted { metric: 0, labels: Some([].into()), total }]);
    assert_eq!(tally.skipped, [15]);
}

#[test]
fn what_nobody_asked_for_is_forgotten() {
    let mut stage = TallyStage::new(&counter(Vec::new()));
    for _ in 0..3 {
        stage.transform(&call(Vec::new(), &[0; 2]), &Context::default());
    }
    assert_eq!(counts(&stage.take_tally().unwrap()), [(values(&[]), 2)]);
}

#[test]
fn where_there_is_no_room_all_others_are_one() {
    let of = counter(vec![label("l", "level")]);
    let mut stage = TallyStage::new(&of);
    let levels =
        || column(&[(Kind::String, "a"), (Kind::String, "b"), (Kind::String, "c"), (Kind::String, "a")]);
    stage.transform(&call(vec![levels()], &[0; 4]), &Context::default());
    of.close(|| vec![vec![["a".to_owned()].into()]]);
    stage.transform(&call(vec![levels()], &[0; 4]), &Context::default());
    assert_eq!(counts(&stage.take_tally().unwrap()), [(None, 2), (values(&["a"]), 2)]);
}

#[test]
fn a_worker_remembers_no_more_than_it_may() {
    let mut stage = TallyStage::new(&counter(vec![label("l", "level")]));
    for batch in 0..10 {
        let texts: Vec<String> = (0..4096).map(|row| format!("{batch}-{row}")).collect();
        let cells: Vec<(Kind, &str)> = texts.iter().map(|text| (Kind::String, text.as_str())).collect();
        stage.transform(&call(vec![column(&cells)], &[0; 4096]), &Context::default());
        assert_eq!(stage.take_tally().unwrap().counted.len(), 4096);
        assert!(stage.known() <= 4 * 4096);
    }
}

proptest! {
    /// Whatever the values, each label set is counted by itself.
    #[test]
    fn series_are_those_of_the_values(rows in prop::collection::vec(("[ab\\u{0}é]{0,3}", "[ab]{0,2}"), 0..60)) {
        let of = counter(vec![label("one", "one"), label("two", "two")]);
        let mut stage = TallyStage::new(&of);
        let cells = |which: fn(&(String, String)) -> &str| {
            column(&rows.iter().map(|row| (Kind::String, which(row))).collect::<Vec<_>>())
        };
        let columns = vec![cells(|row| &row.0), cells(|row| &row.1)];
        stage.transform(&call(columns, &vec![0; rows.len()]), &Context::default());
        let mut expected = std::collections::BTreeMap::new();
        for (one, two) in &rows {
            *expected.entry(Some(vec![one.clone(), two.clone()])).or_insert(0) += 1;
        }
        let got = stage.take_tally().map(|tally| counts(&tally)).unwrap_or_default();
        prop_assert_eq!(got, expected.into_iter().collect::<Vec<_>>());
    }
}
