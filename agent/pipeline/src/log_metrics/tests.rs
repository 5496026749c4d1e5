//! What the source sends, and when.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use weir_buffer::ack::{Acknowledge as _, Posting};
use weir_event::batch::{ArenaPool, Batch};
use weir_event::stream::Family;
use weir_event::tally::{Counted, Tally, Total};
use weir_samples::document::{Document, Point};

use super::float::canonical;
use super::*;
use crate::checkpoint::{Checkpoints, Progress};
use crate::source::{Mode, Outlet, Source as _, SourceContext, Stop, Stopped};

#[test]
fn floats_are_written_as_prometheus_does() {
    let cases = [
        (0.1, "0.1"),
        (1.0, "1.0"),
        (0.0, "0.0"),
        (-2.5, "-2.5"),
        (100_000.0, "100000.0"),
        (123_456.5, "123456.5"),
        (1e6, "1e+06"),
        (1_234_567.0, "1.234567e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1e100, "1e+100"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::NAN, "NaN"),
    ];
    for (number, text) in cases {
        assert_eq!(canonical(number), text);
    }
}

/// Hands batches on, and says that it is over when nobody takes them.
struct Handing(SyncSender<Batch>);

impl Outlet for Handing {
    fn send(&mut self, batch: Batch, _: Vec<Progress>) -> Result<(), Stopped> {
        self.0.send(batch).map_err(|_| Stopped)
    }

    fn lost(&mut self, _: &'static str, _: u64, _: Vec<Progress>) {}

    fn outstanding(&self) -> usize {
        0
    }
}

struct Rig {
    checkpoints: Arc<Checkpoints>,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Rig {
        let folder = tempfile::tempdir().unwrap();
        Rig { checkpoints: Arc::new(Checkpoints::open(folder.path()).unwrap()), _folder: folder }
    }

    fn count(&self, of: &Arc<Metrics>, counted: Vec<Counted>, skipped: Vec<u64>) {
        let tally = Tally { of: Arc::clone(of), counted, skipped };
        self.checkpoints.acknowledge(0, true, vec![Posting::Counted(tally)]);
        self.checkpoints.save().unwrap();
    }

    fn context(&self, mode: Mode) -> (SourceContext, Receiver<Batch>) {
        let (sender, receiver) = sync_channel(64);
        let context = SourceContext {
            name: "apps.metrics".into(),
            cluster: "dev-1".into(),
            node: "n1".into(),
            mode,
            outlet: Box::new(Handing(sender)),
            arenas: ArenaPool::new(),
            checkpoints: Arc::clone(&self.checkpoints),
            stop: Stop::default(),
            metrics: Arc::default(),
        };
        (context, receiver)
    }

    /// Batches that are sent now.
    fn batches(&self, of: &Arc<Metrics>) -> Vec<Batch> {
        let (context, receiver) = self.context(Mode::Once);
        Box::new(LogMetrics::new(vec![(Arc::clone(of), DEFAULT_INTERVAL)])).run(context);
        receiver.iter().collect()
    }

    fn lines(&self, of: &Arc<Metrics>) -> Vec<String> {
        self.batches(of).iter().flat_map(lines).collect()
    }
}

fn lines(batch: &Batch) -> Vec<String> {
    let line = |row: &weir_event::batch::Row| {
        let document = Document::read(batch.content(row)).unwrap();
        let Point::Float { value, timestamp, .. } = document.point else { panic!("no float") };
        assert_eq!((row.time, row.offset), (timestamp * 1_000_000, document.labels.hash()));
        assert!(timestamp > 1_700_000_000_000, "milliseconds");
        format!("{} {value}", document.labels)
    };
    batch.rows().iter().map(line).collect()
}

fn settings() -> LogToMetric {
    let events = LogMetric {
        name: "events_total".into(),
        help: "Events.".into(),
        labels: vec![("level".into(), "log.level".into())],
        attributes: vec!["namespace".into(), "node".into()],
        ..LogMetric::default()
    };
    let took = LogMetric {
        name: "seconds".into(),
        kind: LogMetricKind::Histogram { field: "took".into(), buckets: vec![10.0, 0.1] },
        ..LogMetric::default()
    };
    LogToMetric { metrics: vec![events, took], ..LogToMetric::default() }
}

fn events(values: Option<[&str; 3]>, count: u64) -> Counted {
    let labels = values.map(|values| values.map(str::to_owned).into());
    Counted { metric: 0, labels, total: Total::Events(count) }
}

fn numbers(buckets: &[u64], sum: f64) -> Counted {
    Counted { metric: 1, labels: Some([].into()), total: Total::Numbers { buckets: buckets.into(), sum } }
}

#[test]
fn what_never_happened_is_not_sent() {
    let rig = Rig::new();
    assert!(rig.batches(&settings().metrics("apps")).is_empty());
}

#[test]
fn totals_are_sent_as_series_with_the_labels_of_the_agent() {
    let rig = Rig::new();
    let of = settings().metrics("apps");
    let counted = vec![
        events(Some(["error", "web", ""]), 5),
        events(Some(["", "", "other"]), 2),
        events(None, 9),
        numbers(&[1, 2, 4], 50.5),
    ];
    rig.count(&of, counted, vec![0, 3]);
    let expected = [
        "events_total{cluster=\"dev-1\",node=\"other\"} 2",
        "events_total{cluster=\"dev-1\",level=\"error\",namespace=\"web\",node=\"n1\"} 5",
        "events_total{cluster=\"dev-1\",node=\"n1\",overflow=\"true\"} 9",
        "weir_log_metric_overflow_total{cluster=\"dev-1\",metric=\"events_total\",node=\"n1\",pipeline=\"apps\"} 9",
        "seconds_bucket{cluster=\"dev-1\",le=\"0.1\",node=\"n1\"} 1",
        "seconds_bucket{cluster=\"dev-1\",le=\"10.0\",node=\"n1\"} 3",
        "seconds_bucket{cluster=\"dev-1\",le=\"+Inf\",node=\"n1\"} 7",
        "seconds_sum{cluster=\"dev-1\",node=\"n1\"} 50.5",
        "seconds_count{cluster=\"dev-1\",node=\"n1\"} 7",
        "weir_log_metric_skipped_total{cluster=\"dev-1\",metric=\"seconds\",node=\"n1\",pipeline=\"apps\"} 3",
    ];
    assert_eq!(rig.lines(&of), expected);
    let batches = rig.batches(&of);
    let family = |row: usize| {
        let batch = &batches[0];
        let stream = &batch.streams()[batch.rows()[row].stream as usize];
        stream.attributes().family.as_deref().cloned().unwrap()
    };
    let counter = Family { name: "events_total".into(), kind: "counter".into(), ..Family::default() };
    assert_eq!(family(1), Family { help: "Events.".into(), ..counter });
    assert_eq!((family(8).name.as_str(), family(8).kind.as_str()), ("seconds", "histogram"));
    assert_eq!(family(9).name, "weir_log_metric_skipped_total");
}

#[test]
fn a_metric_with_other_labels_or_buckets_begins_anew() {
    let rig = Rig::new();
    let of = settings().metrics("apps");
    rig.count(&of, vec![events(Some(["error", "web", ""]), 5), numbers(&[1, 2, 4], 50.5)], vec![0, 0]);
    let mut other = settings();
    other.metrics[0].attributes.push("pod".into());
    other.metrics[1].kind = LogMetricKind::Histogram { field: "took".into(), buckets: vec![0.1] };
    assert!(rig.batches(&other.metrics("apps")).is_empty());
    let mut same = settings();
    same.metrics.reverse();
    same.metrics[1].attributes.reverse();
    assert_eq!(rig.lines(&same.metrics("apps")).len(), 6, "the order says nothing");
}

#[test]
fn many_series_are_sent_in_batches_of_the_usual_size() {
    let rig = Rig::new();
    let of = LogToMetric { max_series: 10_000, ..settings() }.metrics("apps");
    let texts: Vec<String> = (0..9_000).map(|number| number.to_string()).collect();
    rig.count(&of, texts.iter().map(|text| events(Some([text, "", ""]), 1)).collect(), vec![0, 0]);
    let batches = rig.batches(&of);
    assert!(batches.iter().all(|batch| batch.rows().len() <= weir_event::batch::MAX_ROWS));
    assert_eq!(batches.iter().map(|batch| batch.rows().len()).sum::<usize>(), 9_000);
    assert!(batches.iter().all(|batch| batch.streams().len() == 1));
}

#[test]
fn metrics_are_sent_at_once_and_then_at_intervals_until_the_end() {
    let rig = Rig::new();
    let of = settings().metrics("apps");
    rig.count(&of, vec![events(None, 1)], vec![0, 0]);
    let (context, receiver) = rig.context(Mode::Follow);
    let (stop, metrics) = (context.stop.clone(), Arc::clone(&context.metrics));
    let source = Box::new(LogMetrics::new(vec![(of, Duration::from_millis(200))]));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| source.run(context));
        let times: Vec<i64> = (0..3).map(|_| receiver.recv().unwrap().rows()[0].time).collect();
        assert!(times.windows(2).all(|two| two[1] > two[0]), "{times:?}");
        stop.stop();
        running.thread().unpark();
        running.join().unwrap();
    });
    assert!(metrics.events.load(std::sync::atomic::Ordering::Relaxed) >= 6);
}
