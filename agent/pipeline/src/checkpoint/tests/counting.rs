//! What stages counted: when it becomes durable, what of it is shown, and how much there is room for.

use weir_event::tally::{LabelSource, LabelValues, Measure, Metric};

use super::*;

fn metrics(pipeline: &str, name: &str, max_series: usize) -> Arc<Metrics> {
    let labels = vec![("level".to_owned(), LabelSource::Field("level".to_owned()))];
    Metrics::new(pipeline, max_series, vec![Metric::new(name, "", Measure::Events, labels)])
}

fn values(values: &[&str]) -> LabelValues {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// One event with each of these levels.
fn tally(of: &Arc<Metrics>, levels: &[&str]) -> Tally {
    let counted =
        |level: &&str| Counted { metric: 0, labels: Some(values(&[level])), total: Total::Events(1) };
    Tally { of: Arc::clone(of), counted: levels.iter().map(counted).collect(), skipped: vec![0] }
}

/// Levels with their counts, and how many are in none of them.
fn shown(counters: &Counters, of: &Metrics) -> (Vec<(String, u64)>, u64) {
    let Some(totals) = counters.totals(of.pipeline(), &of.metrics()[0]) else { return (Vec::new(), 0) };
    let series = totals.series.iter().map(|(labels, total)| (labels[0].clone(), total.events())).collect();
    (series, totals.overflow.as_ref().map_or(0, Total::events))
}

fn level(level: &str, count: u64) -> (String, u64) {
    (level.to_owned(), count)
}

fn open(dir: &tempfile::TempDir) -> Arc<Checkpoints> {
    Arc::new(Checkpoints::open(dir.path()).unwrap())
}

#[test]
fn counts_are_shown_when_they_are_on_disk_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let of = metrics("p", "events_total", 10);
    let checkpoints = open(&dir);
    let queue = AckQueue::new("apps", checkpoints.clone());
    let now = || shown(&checkpoints.durable_counters(), &of);
    let [first, second] = [1, 2].map(|to| Ack::new(queue.sent(progress(to)), queue.clone()));
    second.count(tally(&of, &["warn"]));
    first.count(tally(&of, &["info", "warn"]));
    second.release();
    checkpoints.save().unwrap();
    assert_eq!(now(), (vec![], 0), "the one before it may be read again, and this one with it");
    first.release();
    assert_eq!(now(), (vec![], 0), "only memory knows");
    checkpoints.save().unwrap();
    let both = (vec![level("info", 1), level("warn", 2)], 0);
    assert_eq!(now(), both);
    assert_eq!(shown(&open(&dir).durable_counters(), &of), both);
    assert_eq!(position(&open(&dir)), Some(2));
}

#[test]
fn what_cannot_be_written_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let of = metrics("p", "events_total", 10);
    let checkpoints = open(&dir);
    checkpoints.settle_counts(vec![Posting::Counted(tally(&of, &["info"]))]);
    std::fs::create_dir(dir.path().join("checkpoint.new")).unwrap();
    assert!(checkpoints.save().is_err());
    assert_eq!(shown(&checkpoints.durable_counters(), &of), (vec![], 0));
}

#[test]
fn what_was_pushed_and_is_unsafe_is_not_counted_even_if_a_sink_has_it_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let of = metrics("p", "events_total", 10);
    let checkpoints = open(&dir);
    let queue = AckQueue::new("agents", checkpoints.clone());
    let (on_durable, heard) = awaited();
    let ack = Ack::new(queue.pushed(on_durable), queue.clone());
    ack.count(tally(&of, &["info"]));
    let one = Amount { events: 1, bytes: 1 };
    let account = Account::new("p", "s");
    let booked = Posting::Booked { account: account.clone(), entry: Entry::Read, amount: one };
    let stored = Posting::Stored { account, amount: one, file: file(dir.path(), 1), part: 0 };
    drop(ack);
    assert_eq!(heard(), Some(false), "its sender sends it again");
    let (on_durable, _) = awaited();
    let postings = vec![booked, stored, Posting::Counted(tally(&of, &["info"]))];
    weir_buffer::ack::Acknowledge::acknowledge(&*queue, queue.pushed(on_durable), false, postings);
    checkpoints.save().unwrap();
    assert_eq!(checkpoints.stored_of("p", "s"), one, "what is on disk is counted by the ledger");
    assert_eq!(shown(&checkpoints.durable_counters(), &of), (vec![], 0));
}

#[test]
fn no_stage_has_more_series_than_it_may_also_after_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let levels = [["a", "b", "c"], ["c", "d", "a"], ["e", "b", "a"]];
    for levels in levels {
        let checkpoints = open(&dir);
        let of = metrics("p", "events_total", 2);
        checkpoints.settle_counts(vec![Posting::Counted(tally(&of, &levels))]);
        checkpoints.save().unwrap();
    }
    let of = metrics("p", "events_total", 2);
    assert_eq!(shown(&open(&dir).durable_counters(), &of), (vec![level("a", 3), level("b", 2)], 4));
    // A stage that may have more has room again; what was counted together stays so.
    let of = metrics("p", "events_total", 3);
    let checkpoints = open(&dir);
    checkpoints.settle_counts(vec![Posting::Counted(tally(&of, &["c"]))]);
    checkpoints.save().unwrap();
    assert_eq!(checkpoints.durable_counters().series_of(&of), 3);
}

#[test]
fn counters_of_what_is_no_more_go_and_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other, gone] =
        [("p", "one"), ("p", "other"), ("q", "one")].map(|(p, name)| metrics(p, name, 10));
    let checkpoints = open(&dir);
    for of in [&one, &other, &gone] {
        checkpoints.settle_counts(vec![Posting::Counted(tally(of, &["info"]))]);
    }
    checkpoints.save().unwrap();
    checkpoints.keep_counters(&[metrics("p", "one", 3), metrics("p", "new", 3)]);
    checkpoints.save().unwrap();
    let counters = open(&dir).durable_counters();
    assert_eq!(shown(&counters, &one), (vec![level("info", 1)], 0));
    assert_eq!((shown(&counters, &other), shown(&counters, &gone)), ((vec![], 0), (vec![], 0)));
    let version = checkpoints.lock().version;
    checkpoints.keep_counters(&[one]);
    assert_eq!(checkpoints.lock().version, version, "nothing is written for nothing");
    checkpoints.keep_counters(&[]);
    checkpoints.save().unwrap();
    let text = std::fs::read_to_string(dir.path().join("checkpoint")).unwrap();
    assert!(!text.contains("counters"), "{text}");
}

/// Sums come back to the last bit, and beyond what JSON can say.
#[test]
fn totals_are_read_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let measure = Measure::Field { path: "took".into(), bounds: vec![0.1] };
    let metric = Metric::new("seconds", "", measure, Vec::new());
    let of = Metrics::new("p", 1, vec![metric]);
    for sum in [0.1 + 0.2, 1e-300 / 3.0, -1.0 / 3.0, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e22] {
        let total = Total::Numbers { buckets: [3, u64::MAX].into(), sum };
        let counted = vec![Counted { metric: 0, labels: Some(values(&[])), total: total.clone() }];
        let checkpoints = open(&dir);
        checkpoints.keep_counters(&[]);
        let tally = Tally { of: Arc::clone(&of), counted, skipped: vec![7] };
        checkpoints.settle_counts(vec![Posting::Counted(tally)]);
        checkpoints.save().unwrap();
        let counters = open(&dir).durable_counters();
        let totals = counters.totals("p", &of.metrics()[0]).unwrap();
        assert_eq!((&totals.series[&values(&[])], totals.skipped), (&total, 7));
    }
}

#[test]
fn a_file_from_before_there_were_counters_is_read() {
    let text = br#"{"sources":{},"ledger":[],"buffers":{}}"#;
    let header = format!("weir-checkpoint 1 {:08x} {}\n", crc32c::crc32c(text), text.len());
    let state = decode(&[header.as_bytes(), text].concat()).unwrap();
    assert!(state.counters.is_empty());
}

#[test]
fn a_sum_that_is_none_is_damage() {
    let text = br#"{"counters":{"p":{"took{}[1]":{"series":[{"buckets":[1,2],"sum":"x"}]}}}}"#;
    let header = format!("weir-checkpoint 1 {:08x} {}\n", crc32c::crc32c(text), text.len());
    assert!(decode(&[header.as_bytes(), text].concat()).is_err());
}

/// However many stages there are, and however long their labels: a file that is too large could not be read.
#[test]
fn the_file_stays_one_that_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = open(&dir);
    let of = metrics("p", "events_total", usize::MAX);
    let long = "\u{1}".repeat(250);
    let levels: Vec<String> = (0..20_000).map(|number| format!("{long}{number}")).collect();
    let levels: Vec<&str> = levels.iter().map(String::as_str).collect();
    checkpoints.settle_counts(vec![Posting::Counted(tally(&of, &levels))]);
    checkpoints.save().unwrap();
    let (series, overflow) = shown(&open(&dir).durable_counters(), &of);
    assert!(series.len() > 10_000 && overflow > 0);
    assert_eq!(series.len() as u64 + overflow, 20_000);
    let length = std::fs::metadata(dir.path().join("checkpoint")).unwrap().len();
    assert!(length < 24 << 20, "{length}");
    assert_eq!(open(&dir).lock().state, checkpoints.lock().state);
}
