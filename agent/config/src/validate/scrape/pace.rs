//! How often targets are scraped: intervals, timeouts, classes, profiles.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::Context;
use crate::config::{ScrapeClass, ScrapeProfile, ScrapeSource};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::suggest;
use crate::text::quoted;
use crate::types::{ClassKey, Name, PrometheusDuration};

/// Shorter ones are no economy.
const MIN_PROFILE_INTERVAL: Duration = Duration::from_millis(100);
/// Stands for every class.
const ALL: &str = "*";

/// A duration that cannot be zero.
pub(super) fn own(
    given: Option<raw::Text<PrometheusDuration>>,
    at: &KeyPath,
    context: &mut Context<'_>,
) -> Option<Duration> {
    let duration = given?.0.0;
    if duration.is_zero() {
        context.error(at, Complaint::new("must be more than zero"));
    }
    Some(duration)
}

pub(super) fn classes(
    raw: BTreeMap<raw::Text<Name>, raw::ScrapeClass>,
    at: &KeyPath,
    context: &mut Context<'_>,
) -> BTreeMap<Name, ScrapeClass> {
    let mut classes = BTreeMap::new();
    for (name, raw) in raw {
        let at = at.key(&name.0);
        let interval = own(Some(raw.interval), &at.key("interval"), context).unwrap_or_default();
        let timeout = own(raw.timeout, &at.key("timeout"), context);
        if timeout.is_some_and(|timeout| timeout > interval) {
            context.error(&at.key("timeout"), Complaint::new("the timeout is longer than the interval"));
        }
        classes.insert(name.0, ScrapeClass { interval, timeout });
    }
    classes
}

pub(super) fn profiles(
    raw: Vec<raw::ScrapeProfile>,
    at: &KeyPath,
    context: &mut Context<'_>,
) -> Vec<ScrapeProfile> {
    let mut profiles: Vec<ScrapeProfile> = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let at = at.index(index);
        let name = raw.name.0.to_string();
        if profiles.iter().any(|other| other.name == name) {
            let complaint = Complaint::new(format!("a second profile is called {}", quoted(&name)));
            context.error(&at.key("name"), complaint);
        }
        if raw.from == raw.to {
            let complaint = Complaint::new("it ends when it begins, so it is never active");
            context.error(&at.key("to"), complaint);
        }
        let intervals = intervals(raw.intervals, &at.key("intervals"), context);
        let (from, to, time_zone) = (raw.from.0.0, raw.to.0.0, raw.time_zone.0.0);
        profiles.push(ScrapeProfile { name, from, to, time_zone, intervals });
    }
    profiles
}

fn intervals(
    raw: BTreeMap<raw::Text<ClassKey>, raw::Text<PrometheusDuration>>,
    at: &KeyPath,
    context: &mut Context<'_>,
) -> BTreeMap<String, Duration> {
    if raw.is_empty() && !context.has_entries(at) {
        context.error(
            at,
            Complaint::new("it names no interval").help("give {CLASS: INTERVAL}, or {\"*\": INTERVAL}"),
        );
    }
    let mut intervals = BTreeMap::new();
    for (class, interval) in raw {
        let interval = interval.0.0;
        if interval < MIN_PROFILE_INTERVAL {
            context.error(&at.key(&class.0.0), Complaint::new("must be at least 100ms"));
        }
        intervals.insert(class.0.0, interval);
    }
    intervals
}

/// Complains about timeouts that are longer than their interval, and about classes that nothing knows.
pub(super) fn check(source: &ScrapeSource, is_short: bool, path: &KeyPath, context: &mut Context<'_>) {
    let in_profiles = source.profiles.iter().flat_map(|profile| profile.intervals.keys());
    let in_profiles: BTreeSet<&str> = in_profiles.map(String::as_str).filter(|class| *class != ALL).collect();
    let known: BTreeSet<&str> = source.classes.keys().map(|name| &**name).chain(in_profiles).collect();
    let is_known_at_all = !context.has_entries(&path.key("classes")) || !source.classes.is_empty();
    for (index, job) in source.jobs.iter().enumerate() {
        let at = match index.checked_sub(usize::from(is_short)) {
            None => path.clone(),
            Some(index) => path.key("scrape_configs").index(index),
        };
        let key =
            |short: &str| at.key(&if at == *path { short.to_owned() } else { format!("scrape_{short}") });
        let class = job.class.as_deref();
        // Without the timeout of the job, which is what is looked at.
        let (interval, _) = source.pace(job, class);
        if job.timeout.is_some_and(|timeout| timeout > interval) {
            context.error(&key("timeout"), Complaint::new("the timeout is longer than the interval"));
        }
        if let Some(class) = class.filter(|class| !known.contains(class) && is_known_at_all) {
            let complaint = Complaint::new(format!("no class is called {}", quoted(class)));
            let help = suggest::help(class, known.iter().copied(), "known classes", '"')
                .or_else(|| Some(format!("give classes: {{{class}: {{interval: 15s}}}}")));
            context.error(&at.key("class"), Complaint { help, ..complaint });
        }
    }
    check_profiles(source, path, context);
}

/// A class may be known by a label of targets alone; one that looks like another is probably that.
fn check_profiles(source: &ScrapeSource, path: &KeyPath, context: &mut Context<'_>) {
    let of_jobs = source.jobs.iter().filter_map(|job| job.class.as_deref());
    let known: BTreeSet<&str> = source.classes.keys().map(|name| &**name).chain(of_jobs).collect();
    for (index, profile) in source.profiles.iter().enumerate() {
        let at = path.key("profiles").index(index).key("intervals");
        for class in profile.intervals.keys().filter(|class| *class != ALL && !known.contains(class.as_str()))
        {
            if let Some(meant) = suggest::closest(class, known.iter().copied()) {
                let complaint = Complaint::new(format!("no class is called {}", quoted(class)));
                context.warn(&at.key(class), complaint.help(format!("did you mean {}?", quoted(meant))));
            }
        }
    }
}
