//! Who exposes the most series, and what is sent of them: for `weir top --metrics`.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use weir_remote_write::Reason;
use weir_samples::cardinality::{GroupView, NameView};
use weir_scrape::{Health, TargetSnapshot};

use crate::state::{GuardView, View};

/// Entries of each list where nobody says how many.
const DEFAULT_TOP: usize = 20;
/// The most that are given.
const MAX_TOP: usize = 1_000;

/// What may be asked.
#[derive(Debug, Default, Deserialize)]
pub struct Question {
    /// Entries of each list.
    top: Option<usize>,
}

/// Who has the most series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesReport {
    /// Targets that are scraped, in all.
    pub targets_total: u64,
    /// Series that they expose now.
    pub series_total: u64,
    /// Those with the most series.
    pub targets: Vec<Target>,
    /// Families of metrics with the most series, over all targets.
    pub metrics: Vec<Metric>,
    /// Stages that watch how many series there are.
    pub guards: Vec<Guarded>,
    /// Where samples go by remote write.
    pub sinks: Vec<Written>,
}

/// A target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The source that scrapes it.
    pub source: String,
    /// Its label `job`.
    pub job: String,
    /// Its label `instance`.
    pub instance: String,
    /// What is asked.
    pub url: String,
    /// Its class; empty where it has none.
    pub class: String,
    /// How often it is scraped now.
    pub interval_seconds: f64,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// What was wrong with the last scrape.
    pub last_error: Option<String>,
    /// How long ago it was scraped; `null` for never.
    pub age_seconds: Option<f64>,
    /// How long the last scrape took.
    pub scrape_seconds: f64,
    /// Series that it exposes now.
    pub series: u64,
    /// Samples of the last scrape that were left after relabelling.
    pub samples: u64,
    /// The same for each second of its interval.
    pub samples_per_second: f64,
    /// Bytes of its last answer, unpacked.
    pub bytes: u64,
}

/// A metric's name, and how many series it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its series.
    pub series: u64,
}

/// What a stage `cardinality` knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// The pipeline that it stands in.
    pub pipeline: String,
    /// What it is called there.
    pub guard: String,
    /// Series that a group may have.
    pub limit: u64,
    /// Series of all groups.
    pub series: u64,
    /// Groups in all.
    pub groups_total: u64,
    /// Those beyond their limit.
    pub groups_over: u64,
    /// Samples that were dropped for that.
    pub cut: u64,
    /// Those with the most series.
    pub groups: Vec<Group>,
    /// Metrics with the most series.
    pub metrics: Vec<Metric>,
}

/// A group of series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The labels that make it one.
    pub labels: BTreeMap<String, String>,
    /// Its series.
    pub series: u64,
    /// Whether that is counted and not estimated.
    pub exact: bool,
    /// Samples that came.
    pub samples: u64,
    /// Samples that were dropped.
    pub cut: u64,
    /// Whether it is beyond its limit.
    pub over: bool,
}

/// What is known of a sink `remote_write`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// Its name.
    pub sink: String,
    /// The version that was spoken last.
    pub protocol: Option<String>,
    /// How far the youngest sample that the receiver has lies back.
    pub lag_seconds: Option<f64>,
    /// Samples that it holds.
    pub pending: u64,
    /// Samples that were refused for good, by why.
    pub dropped: BTreeMap<String, u64>,
}

/// The report as of now.
pub fn report(view: &View, question: &Question) -> SeriesReport {
    let top = question.top.unwrap_or(DEFAULT_TOP).min(MAX_TOP);
    let now = now();
    let mut report = SeriesReport::default();
    let mut metrics: BTreeMap<String, u64> = BTreeMap::new();
    for (source, scrape) in &view.scrapes {
        for target in scrape.targets() {
            report.targets_total += 1;
            report.series_total += target.series;
            for (name, series) in &target.top {
                *metrics.entry(name.to_string()).or_default() += series;
            }
            report.targets.push(of_target(source, target, now));
        }
    }
    report
        .targets
        .sort_by(|one, other| other.series.cmp(&one.series).then_with(|| one.instance.cmp(&other.instance)));
    report.targets.truncate(top);
    report.metrics = metrics.into_iter().map(|(name, series)| Metric { name, series }).collect();
    report
        .metrics
        .sort_by(|one, other| other.series.cmp(&one.series).then_with(|| one.name.cmp(&other.name)));
    report.metrics.truncate(top);
    report.guards = view.guards.iter().map(|guard| of_guard(guard, top, now)).collect();
    report.sinks = view
        .remote_writes
        .iter()
        .map(|(sink, metrics)| {
            let dropped = Reason::ALL.into_iter().map(|why| (why.name().to_owned(), metrics.dropped(why)));
            Written {
                sink: sink.clone(),
                protocol: metrics.version().map(str::to_owned),
                lag_seconds: metrics.lag(now / 1_000_000).map(|lag| lag.as_secs_f64()),
                pending: metrics.pending.load(std::sync::atomic::Ordering::Relaxed),
                dropped: dropped.filter(|(_, count)| *count > 0).collect(),
            }
        })
        .collect();
    report
}

fn of_target(source: &str, target: TargetSnapshot, now: i64) -> Target {
    let interval = target.interval.as_secs_f64();
    Target {
        source: source.to_owned(),
        job: target.job,
        instance: target.instance,
        url: target.url,
        class: target.class,
        interval_seconds: interval,
        health: match target.health {
            Health::Up => "up",
            Health::Down => "down",
            Health::Unknown => "unknown",
        }
        .to_owned(),
        last_error: target.last_error,
        age_seconds: (target.last_scrape > 0)
            .then(|| now.saturating_sub(target.last_scrape).max(0) as f64 / 1e9),
        scrape_seconds: target.last_duration.as_secs_f64(),
        series: target.series,
        samples: target.samples_after_relabelling,
        samples_per_second: target.samples_after_relabelling as f64 / interval.max(0.001),
        bytes: target.bytes,
    }
}

fn of_guard(view: &GuardView, top: usize, now: i64) -> Guarded {
    let snapshot = view.guard.snapshot(top, now);
    let groups = snapshot.groups.into_iter().chain(snapshot.overflow);
    Guarded {
        pipeline: view.pipeline.clone(),
        guard: view.name.clone(),
        limit: view.limit,
        series: snapshot.series,
        groups_total: snapshot.groups_total,
        groups_over: snapshot.groups_over,
        cut: snapshot.cut,
        groups: groups.map(of_group).collect(),
        metrics: snapshot
            .names
            .into_iter()
            .map(|NameView { name, series }| Metric { name, series })
            .collect(),
    }
}

fn of_group(group: GroupView) -> Group {
    Group {
        labels: group.labels.into_iter().collect(),
        series: group.series,
        exact: group.is_exact,
        samples: group.samples,
        cut: group.cut,
        over: group.is_over,
    }
}

/// Nanoseconds since the Unix epoch.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}
