//! Measures the stage that counts events, on one thread: nanoseconds for an event with two labels, one of a field and one
//! of the stream, over calls of 4,000 rows. `cargo run --release -p weir-event --example tally_speed`.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use weir_event::column::{Column, Kind};
use weir_event::tally::{LabelSource, Measure, Metric, Metrics, TallyStage};
use weir_event::transform::{Call, Context, Transform as _};

const ROWS: usize = 4_000;
const STREAMS: usize = 4;
const FOR: Duration = Duration::from_millis(500);

fn column(values: impl Iterator<Item = String>, kind: Kind) -> Column {
    let mut column = Column::default();
    column.clear();
    values.for_each(|value| column.push(kind, value.as_bytes()));
    column
}

fn labels() -> Vec<(String, LabelSource)> {
    vec![
        ("level".to_owned(), LabelSource::Field("level".to_owned())),
        ("namespace".to_owned(), LabelSource::Attribute("namespace".to_owned())),
    ]
}

fn measure(what: &str, max_series: usize, metric: Metric, levels: impl Fn(usize) -> String) {
    let of = Metrics::new("p", max_series, vec![metric]);
    let mut stage = TallyStage::new(&of);
    let columns = vec![
        column((0..ROWS).map(levels), Kind::String),
        column((0..ROWS).map(|row| format!("0.{:03}", row * 7919 % 1000)), Kind::Number),
    ];
    let streams = (0..ROWS).map(|row| (row / 50 % STREAMS) as u32).collect();
    let call = Call { rows: ROWS as u32, streams, times: vec![0; ROWS], columns };
    let namespaces = column((0..STREAMS).map(|stream| format!("namespace-{stream}")), Kind::String);
    let context = Context { attributes: vec![namespaces], ..Context::default() };
    if max_series == 0 {
        of.close(|| vec![Vec::new()]);
    }
    let mut best = Duration::MAX;
    let begun = Instant::now();
    while begun.elapsed() < FOR {
        let call_begun = Instant::now();
        black_box(stage.transform(black_box(&call), &context));
        black_box(stage.take_tally());
        best = best.min(call_begun.elapsed());
    }
    println!("{what:<44} {:>6.1} ns for an event", best.as_nanos() as f64 / ROWS as f64);
}

fn main() {
    let level = |row: usize| ["debug", "info", "warn", "error"][row * row % 7 % 4].to_owned();
    let many = |row: usize| format!("value-{}", row * 7919 % 500);
    let counter = || Metric::new("events_total", "", Measure::Events, labels());
    let bounds = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let took = Measure::Field { path: "took".to_owned(), bounds };
    measure("counter, 16 series", 2_000, counter(), level);
    measure("counter, 2,000 series", 2_000, counter(), many);
    measure("counter, no room for any of 2,000 series", 0, counter(), many);
    measure("histogram of 11 buckets, 16 series", 2_000, Metric::new("took", "", took, labels()), level);
}
