//! The guard by cases, by a model, and by several threads.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::labels::{LabelSet, LabelsBuilder};
use crate::stage::{Fate, SampleStage as _};

/// A tick is a second in these tests.
const SECOND: i64 = 1_000_000_000;

fn set(metric: &str, pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = LabelsBuilder::new();
    builder.push("__name__", metric);
    pairs.iter().for_each(|(name, value)| builder.push(name, value));
    let mut out = Vec::new();
    builder.finish(&mut out).unwrap();
    out
}

/// A guard, one of its stages, and what it told.
struct Fixture {
    guard: Guard,
    stage: Stage,
    told: Arc<Mutex<Vec<String>>>,
}

impl Fixture {
    fn new(settings: Settings) -> Fixture {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = told.clone();
        let notify = Box::new(move |crossing: &Crossing| log.lock().unwrap().push(crossing.to_string()));
        let guard = Guard::new(Settings { window: Duration::from_secs(6), ..settings }, notify);
        Fixture { stage: guard.stage(), guard, told }
    }

    /// Series number `series` of a job comes; says whether it goes on.
    fn comes(&mut self, job: &str, series: usize, second: i64) -> bool {
        let labels = set(&format!("m_{}", series % 3), &[("job", job), ("n", &series.to_string())]);
        let labels = LabelSet::new(&labels);
        match self.stage.look(labels, labels.hash(), second * SECOND) {
            Fate::Keep => true,
            Fate::Drop(reason) => {
                assert_eq!(&**reason, "cardinality");
                false
            }
            Fate::Change { .. } => panic!("a guard changes nothing"),
        }
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    /// Series, samples and samples cut of a job.
    fn counts(&self, job: &str, second: i64) -> Option<(u64, u64, u64)> {
        let snapshot = self.guard.snapshot(1000, second * SECOND);
        let group =
            snapshot.groups.into_iter().find(|group| group.labels.iter().any(|(_, value)| value == job))?;
        Some((group.series, group.samples, group.cut))
    }
}

fn by_job(limit: usize, on_limit: OnLimit) -> Settings {
    Settings { group_by: vec!["job".into()], limit, on_limit, ..Settings::default() }
}

#[test]
fn new_series_are_cut_and_known_ones_go_on() {
    let mut fixture = Fixture::new(by_job(3, OnLimit::Cut));
    for round in 0..3 {
        for series in 0..5 {
            assert_eq!(fixture.comes("a", series, round), series < 3, "{series} in {round}");
        }
        assert!(fixture.comes("b", 9, round));
    }
    assert_eq!(fixture.counts("a", 3), Some((5, 15, 6)));
    assert_eq!(fixture.counts("b", 3), Some((1, 3, 0)));
    assert_eq!(fixture.told(), ["samples with {job=\"a\"} have 4 series, which is over the limit of 3"]);
    // The known ones stay away for a window: their places are free.
    assert!(!fixture.comes("a", 4, 8));
    assert!(fixture.comes("a", 4, 9));
    assert!(fixture.comes("a", 3, 9));
}

#[test]
fn a_report_lets_all_pass() {
    let mut fixture = Fixture::new(by_job(3, OnLimit::Report));
    assert!((0..50).all(|series| fixture.comes("a", series, 0)));
    let snapshot = fixture.guard.snapshot(5, 0);
    let [group] = &snapshot.groups[..] else { panic!() };
    assert!((45..=55).contains(&group.series) && !group.is_exact && group.is_over, "{group:?}");
    assert_eq!((snapshot.groups_over, snapshot.cut, snapshot.samples), (1, 0, 50));
    assert_eq!(fixture.told().len(), 1);
}

#[test]
fn a_group_that_comes_back_is_told_of_once() {
    let mut fixture = Fixture::new(by_job(2, OnLimit::Cut));
    for second in 0..20 {
        for series in 0..(if second < 5 { 4 } else { 2 }) {
            fixture.comes("a", series, second);
        }
    }
    assert_eq!(
        fixture.told(),
        [
            "samples with {job=\"a\"} have 3 series, which is over the limit of 2",
            "samples with {job=\"a\"} are within the limit of 2 series again, with 2"
        ]
    );
    fixture.comes("a", 7, 20);
    fixture.guard.snapshot(1, 100 * SECOND);
    assert_eq!(fixture.told().len(), 2);
    assert_eq!(fixture.counts("a", 100), None);
}

#[test]
fn groups_without_a_place_are_counted_together_and_never_cut() {
    let mut fixture = Fixture::new(Settings { max_groups: 2, ..by_job(1, OnLimit::Cut) });
    for job in 0..5 {
        assert!(fixture.comes(&job.to_string(), 1, 0));
        assert_eq!(fixture.comes(&job.to_string(), 2, 0), job >= 2);
    }
    let snapshot = fixture.guard.snapshot(9, 0);
    assert_eq!((snapshot.groups_total, snapshot.groups_over), (2, 2));
    let overflow = snapshot.overflow.unwrap();
    // Six, as a sketch sees them.
    assert!((5..=7).contains(&overflow.series), "{}", overflow.series);
    assert_eq!((overflow.samples, overflow.cut, overflow.is_over), (6, 0, false));
    // After a window the places are free.
    assert!(fixture.comes("7", 1, 20));
    let snapshot = fixture.guard.snapshot(9, 20 * SECOND);
    assert_eq!((snapshot.groups_total, snapshot.samples, snapshot.cut), (1, 11, 2));
    assert_eq!(snapshot.overflow.unwrap().series, 0);
}

#[test]
fn without_room_nobody_is_cut() {
    let mut fixture = Fixture::new(Settings { max_series: 10, ..by_job(100, OnLimit::Cut) });
    assert!((0..50).all(|series| fixture.comes("a", series, 0)));
    let snapshot = fixture.guard.snapshot(1, 0);
    assert!(
        (45..=55).contains(&snapshot.series) && !snapshot.groups[0].is_exact && snapshot.groups_over == 0
    );
    // Room that was given back is there again.
    for second in [20, 40] {
        assert!((0..10).all(|series| fixture.comes("b", series, second)));
        assert_eq!(fixture.guard.snapshot(1, second * SECOND).groups[0].series, 10);
        assert!(fixture.guard.snapshot(1, second * SECOND).groups[0].is_exact);
    }
}

#[test]
fn names_are_counted_over_all_groups() {
    let mut fixture = Fixture::new(by_job(100, OnLimit::Report));
    for second in 0..30 {
        for series in 0..8 {
            fixture.comes("a", series, second);
            fixture.comes("b", series, second);
        }
    }
    let names: Vec<_> = fixture.guard.snapshot(2, 29 * SECOND).names;
    let name = |name: &str, series| NameView { name: name.into(), series };
    assert_eq!(names, [name("m_0", 6), name("m_1", 6)]);
    assert_eq!(fixture.guard.snapshot(2, 90 * SECOND).names, []);
}

#[test]
fn a_group_has_the_values_of_its_labels_in_the_order_of_the_settings() {
    let names = ["job", "instance", "absent"].map(str::to_owned).to_vec();
    let mut fixture = Fixture::new(Settings { group_by: names, ..Settings::default() });
    for (job, instance) in [("a", "1"), ("a", "2"), ("", "1"), ("1", "a")] {
        let labels = set("up", &[("instance", instance), ("job", job), ("zone", "z")]);
        fixture.stage.look(LabelSet::new(&labels), LabelSet::new(&labels).hash(), 0);
    }
    let long = "x".repeat(2000);
    let labels = set("up", &[("job", &long)]);
    fixture.stage.look(LabelSet::new(&labels), 1, 0);
    let snapshot = fixture.guard.snapshot(9, 0);
    let mut values: Vec<String> = snapshot
        .groups
        .iter()
        .map(|group| group.labels.iter().map(|(name, value)| format!("{name}={value} ")).collect())
        .collect();
    values.sort();
    assert_eq!(
        values,
        [
            "job= instance=1 absent= ",
            "job=1 instance=a absent= ",
            "job=a instance=1 absent= ",
            "job=a instance=2 absent= "
        ]
    );
    assert_eq!(snapshot.overflow.map(|group| group.samples), Some(1));
}

#[test]
fn workers_count_into_one_state() {
    let fixture = Fixture::new(by_job(500, OnLimit::Cut));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut worker =
                Fixture { guard: fixture.guard.clone(), stage: fixture.guard.stage(), told: Arc::default() };
            scope.spawn(move || {
                for second in 0..5 {
                    (0..400).for_each(|series| assert!(worker.comes("a", series, second)));
                    for series in 0..600 {
                        worker.comes("b", series, second);
                    }
                }
            });
        }
    });
    assert_eq!(fixture.counts("a", 5), Some((400, 8000, 0)));
    let (series, samples, cut) = fixture.counts("b", 5).unwrap();
    assert_eq!((samples, cut), (12_000, 2_000));
    assert!((590..=610).contains(&series), "{series}");
    assert_eq!(fixture.told().len(), 1);
}

/// The same in few words: for each job its series with the tick in which each came last.
#[derive(Default)]
struct Model {
    jobs: BTreeMap<usize, HashMap<usize, i64>>,
    cut: u64,
}

impl Model {
    fn comes(&mut self, (job, series, second): (usize, usize, i64), limit: usize) -> bool {
        let known = self.jobs.entry(job).or_default();
        known.retain(|_, last| *last + TICKS as i64 >= second);
        let passes = known.contains_key(&series) || known.len() < limit;
        if passes {
            known.insert(series, second);
        }
        self.cut += u64::from(!passes);
        passes
    }
}

proptest! {
    #[test]
    fn a_guard_does_what_the_model_does(
        steps in prop::collection::vec((0usize..3, 0usize..12, prop_oneof![20 => Just(0i64), 3 => 1i64..3, 1 => 3i64..20]), 1..400),
        limit in 1usize..14,
    ) {
        let (mut fixture, mut model, mut second) = (Fixture::new(by_job(limit, OnLimit::Cut)), Model::default(), 100);
        for (job, series, later) in &steps {
            second += later;
            let expected = model.comes((*job, *series, second), limit);
            prop_assert_eq!(fixture.comes(&job.to_string(), *series, second), expected);
        }
        let snapshot = fixture.guard.snapshot(10, second * SECOND);
        prop_assert_eq!((snapshot.cut, snapshot.samples), (model.cut, steps.len() as u64));
        let mut by_name = BTreeMap::<String, u64>::new();
        for (job, known) in &mut model.jobs {
            known.retain(|_, last| *last + TICKS as i64 >= second);
            known.keys().for_each(|series| *by_name.entry(format!("m_{}", series % 3)).or_default() += 1);
            let name = job.to_string();
            let group = snapshot.groups.iter().find(|group| group.labels[0].1 == name);
            prop_assert!(group.is_some() || known.is_empty());
            if let Some(group) = group.filter(|group| group.is_exact) {
                prop_assert_eq!((group.series, group.is_over), (known.len() as u64, false));
            }
        }
        let names: BTreeMap<_, _> = snapshot.names.into_iter().map(|view| (view.name, view.series)).collect();
        prop_assert_eq!(names, by_name);
    }
}
