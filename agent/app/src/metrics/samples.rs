//! What scrapes, sends and watches samples.

use std::sync::atomic::{AtomicU64, Ordering};

use weir_remote_write::{AnswerClass, Kind, Metrics, Reason};
use weir_samples::cardinality::Snapshot;
use weir_scrape::{Failure, Health, ScrapeMetrics};

use super::exposition::{Exposition, Sample};
use super::families::samples as f;
use crate::admin::series::now;
use crate::state::View;

/// The sources that scrape.
pub fn scrapes(out: &mut Exposition, view: &View) {
    let health = [("up", Health::Up), ("down", Health::Down), ("unknown", Health::Unknown)];
    let targets = view.scrapes.iter().flat_map(|(source, metrics)| {
        health.map(|(name, health)| {
            Sample::count([("source", source.as_str()), ("health", name)], metrics.count(health))
        })
    });
    out.add(&f::SCRAPE_TARGETS, targets);
    let series = view.scrapes.iter();
    let series =
        series.map(|(source, metrics)| Sample::count([("source", source.as_str())], metrics.series()));
    out.add(&f::SCRAPE_SERIES, series);
    let mut add = |family, number: fn(&ScrapeMetrics) -> &AtomicU64| {
        let samples = view.scrapes.iter().map(|(source, metrics)| {
            Sample::count([("source", source.as_str())], number(metrics).load(Ordering::Relaxed))
        });
        out.add(family, samples);
    };
    add(&f::SCRAPES, |metrics| &metrics.scrapes);
    add(&f::SCRAPES_SKIPPED, |metrics| &metrics.skipped);
    add(&f::SCRAPE_BYTES, |metrics| &metrics.bytes);
    add(&f::SCRAPE_STALE, |metrics| &metrics.stale_markers);
    add(&f::SCRAPE_DISCOVERY_FAILURES, |metrics| &metrics.discovery_failures);
    add(&f::SCRAPE_INVALID_TARGETS, |metrics| &metrics.invalid_targets);
    let failures = view.scrapes.iter().flat_map(|(source, metrics)| {
        Failure::ALL.into_iter().map(move |why| {
            let labels = [("source", source.as_str()), ("reason", why.name())];
            Sample::count(labels, metrics.failures(why))
        })
    });
    out.add(&f::SCRAPE_FAILURES, failures);
    let dropped = view.scrapes.iter().flat_map(|(source, metrics)| {
        let reasons = [
            ("duplicate", &metrics.duplicates),
            ("out_of_order", &metrics.out_of_order),
            ("out_of_bounds", &metrics.out_of_bounds),
        ];
        reasons.map(|(reason, count)| {
            let labels = [("source", source.as_str()), ("reason", reason)];
            Sample::count(labels, count.load(Ordering::Relaxed))
        })
    });
    out.add(&f::SCRAPE_DROPPED, dropped);
}

/// The sinks that send by remote write.
pub fn remote_writes(out: &mut Exposition, view: &View) {
    let mut add = |family, number: fn(&Metrics) -> &AtomicU64| {
        let samples = view.remote_writes.iter().map(|(sink, metrics)| {
            Sample::count([("sink", sink.as_str())], number(metrics).load(Ordering::Relaxed))
        });
        out.add(family, samples);
    };
    add(&f::WRITE_REQUESTS, |metrics| &metrics.requests);
    add(&f::WRITE_PACKED, |metrics| &metrics.packed_bytes);
    add(&f::WRITE_UNPACKED, |metrics| &metrics.unpacked_bytes);
    add(&f::WRITE_RETRIES, |metrics| &metrics.retries);
    add(&f::WRITE_SPLITS, |metrics| &metrics.splits);
    add(&f::WRITE_FALL_BACKS, |metrics| &metrics.fall_backs);
    add(&f::WRITE_IN_FLIGHT, |metrics| &metrics.in_flight);
    add(&f::WRITE_PENDING, |metrics| &metrics.pending);
    add(&f::WRITE_UNAUTHORIZED, |metrics| &metrics.unauthorized);
    let sinks = || view.remote_writes.iter();
    let answers = sinks().flat_map(|(sink, metrics)| {
        AnswerClass::ALL.into_iter().map(move |class| {
            Sample::count([("sink", sink.as_str()), ("status", class.name())], metrics.answers(class))
        })
    });
    out.add(&f::WRITE_ANSWERS, answers);
    let samples = sinks().flat_map(|(sink, metrics)| {
        Kind::ALL.into_iter().map(move |kind| {
            Sample::count([("sink", sink.as_str()), ("type", kind.name())], metrics.samples(kind))
        })
    });
    out.add(&f::WRITE_SAMPLES, samples);
    let dropped = sinks().flat_map(|(sink, metrics)| {
        Reason::ALL.into_iter().map(move |reason| {
            Sample::count([("sink", sink.as_str()), ("reason", reason.name())], metrics.dropped(reason))
        })
    });
    out.add(&f::WRITE_DROPPED, dropped);
    let version = sinks().flat_map(|(sink, metrics)| {
        ["1.0", "2.0"].map(|version| {
            let is_spoken = metrics.version() == Some(version);
            Sample::count([("sink", sink.as_str()), ("version", version)], u64::from(is_spoken))
        })
    });
    out.add(&f::WRITE_VERSION, version);
    let highest = sinks().map(|(sink, metrics)| {
        let seconds = metrics.highest_sent().unwrap_or_default() as f64 / 1000.0;
        Sample::new([("sink", sink.as_str())], seconds)
    });
    out.add(&f::WRITE_HIGHEST, highest);
}

/// The stages that watch how many series there are.
pub fn guards(out: &mut Exposition, view: &View) {
    let now = now();
    let snapshots: Vec<(&str, &str, Snapshot)> = view
        .guards
        .iter()
        .map(|view| (view.pipeline.as_str(), view.name.as_str(), view.guard.snapshot(0, now)))
        .collect();
    let mut add = |family, number: fn(&Snapshot) -> u64| {
        let samples = snapshots.iter().map(|(pipeline, guard, snapshot)| {
            Sample::count([("pipeline", *pipeline), ("guard", *guard)], number(snapshot))
        });
        out.add(family, samples);
    };
    add(&f::GUARD_SERIES, |snapshot| snapshot.series);
    add(&f::GUARD_CUT, |snapshot| snapshot.cut);
    add(&f::GUARD_BYTES, |snapshot| snapshot.bytes);
    let groups = snapshots.iter().flat_map(|(pipeline, guard, snapshot)| {
        let over = snapshot.groups_over;
        let states = [("within", snapshot.groups_total.saturating_sub(over)), ("over", over)];
        states.map(|(state, count)| {
            let labels = [("pipeline", *pipeline), ("guard", *guard), ("state", state)];
            Sample::count(labels, count)
        })
    });
    out.add(&f::GUARD_GROUPS, groups);
}
