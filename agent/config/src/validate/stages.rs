//! Native stages: those that work on samples, and the one that makes them.

use std::collections::BTreeSet;
use std::time::Duration;

use weir_event::path;
use weir_samples::relabel::Lists;

use super::{Context, relabel};
use crate::config::{Cardinality, LogMetric, LogMetricKind, LogToMetric, OnLimit, Stage, StreamAttribute};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::text::quoted;
use crate::types::{FieldPath, MetricLabel, PlainText};

const DEFAULT_LIMIT: u32 = 10_000;
const DEFAULT_WINDOW: Duration = Duration::from_secs(3_600);
const WINDOWS: [(Duration, &str); 2] =
    [(Duration::from_secs(60), "1m"), (Duration::from_secs(7 * 86_400), "7d")];
/// What tells one target from another.
const DEFAULT_BY: [&str; 2] = ["job", "instance"];
const DEFAULT_INTERVAL: Duration = Duration::from_secs(15);
const INTERVALS: [(Duration, &str); 2] = [(Duration::from_secs(1), "1s"), (Duration::from_secs(3_600), "1h")];
const DEFAULT_MAX_SERIES: u32 = 2_000;
/// Each bucket is a series in the end.
const MAX_BUCKETS: usize = 64;
/// Further labels make series that nobody looks at.
const MAX_LABELS: usize = 32;
/// What the series of a histogram are called.
const HISTOGRAM_SUFFIXES: [&str; 4] = ["", "_bucket", "_sum", "_count"];

/// The stage at `at`; `None` is the parser, which is kept apart.
pub(super) fn native(raw: raw::NativeStage, at: &KeyPath, context: &mut Context<'_>) -> Option<Stage> {
    Some(match raw {
        raw::NativeStage::Parse(_) => return None,
        raw::NativeStage::LogToMetric(raw) => {
            Stage::LogToMetric(log_to_metric(raw, &at.key("log_to_metric"), context))
        }
        raw::NativeStage::Relabel(raw) => Stage::Relabel(relabel::rules(raw, &at.key("relabel"), context)),
        raw::NativeStage::DropMetrics(raw) => {
            let list = |drop_metrics| Lists { drop_metrics, ..Lists::default() };
            Stage::DropMetrics(relabel::names(raw, &at.key("drop_metrics"), context, list))
        }
        raw::NativeStage::KeepMetrics(raw) => {
            let list = |keep_metrics| Lists { keep_metrics, ..Lists::default() };
            Stage::KeepMetrics(relabel::names(raw, &at.key("keep_metrics"), context, list))
        }
        raw::NativeStage::DropLabels(raw) => {
            let list = |drop_labels| Lists { drop_labels, ..Lists::default() };
            Stage::DropLabels(relabel::names(raw, &at.key("drop_labels"), context, list))
        }
        raw::NativeStage::Cardinality(raw) => {
            Stage::Cardinality(cardinality(raw, &at.key("cardinality"), context))
        }
        #[cfg(feature = "bench-native")]
        raw::NativeStage::BenchW1(_) => Stage::BenchW1,
    })
}

fn cardinality(raw: raw::Cardinality, at: &KeyPath, context: &mut Context<'_>) -> Cardinality {
    let by: Vec<String> = match raw.by {
        Some(labels) => labels.into_iter().map(|label| label.0.0).collect(),
        None => DEFAULT_BY.map(str::to_owned).into(),
    };
    for (index, label) in by.iter().enumerate() {
        if by.iter().take(index).any(|other| other == label) {
            let complaint = Complaint::new(format!("the label {} is there twice", quoted(label)));
            context.error(&at.key("by").index(index), complaint);
        }
    }
    let window = raw.window.map_or(DEFAULT_WINDOW, |window| window.0.0);
    context.within(window, WINDOWS, &at.key("window"));
    Cardinality {
        name: raw.name.map_or_else(|| by.join(","), |name| name.0.to_string()),
        by,
        limit: raw.limit.unwrap_or(DEFAULT_LIMIT),
        on_limit: match raw.on_limit {
            Some(raw::OnLimit::Report) | None => OnLimit::Report,
            Some(raw::OnLimit::Cut) => OnLimit::Cut,
        },
        window,
    }
}

fn log_to_metric(raw: raw::LogToMetric, at: &KeyPath, context: &mut Context<'_>) -> LogToMetric {
    let interval = raw.interval.map_or(DEFAULT_INTERVAL, |interval| interval.0.0);
    context.within(interval, INTERVALS, &at.key("interval"));
    let metrics_at = at.key("metrics");
    let metrics = raw.metrics.into_iter().enumerate();
    LogToMetric {
        interval,
        max_series: raw.max_series.unwrap_or(DEFAULT_MAX_SERIES),
        metrics: metrics.map(|(index, raw)| metric(raw, &metrics_at.index(index), context)).collect(),
    }
}

/// What both kinds of metrics have.
struct Common {
    name: String,
    help: Option<raw::Text<PlainText>>,
    labels: std::collections::BTreeMap<raw::Text<MetricLabel>, raw::Text<FieldPath>>,
    attributes: Vec<raw::StreamAttribute>,
}

fn metric(raw: raw::LogMetric, at: &KeyPath, context: &mut Context<'_>) -> LogMetric {
    let (common, kind) = match raw {
        raw::LogMetric::Counter(raw) => {
            let name = raw.name.0.0;
            if !name.ends_with("_total") {
                let complaint = Complaint::new("the name of a counter should end in _total");
                let help = format!("call it {}", quoted(&format!("{name}_total")));
                context.warn(&at.key("name"), complaint.help(help));
            }
            let common = Common { name, help: raw.help, labels: raw.labels, attributes: raw.attributes };
            (common, LogMetricKind::Counter)
        }
        raw::LogMetric::Histogram(raw) => {
            let field = raw.field.0.0;
            check_field(&field, &at.key("field"), context);
            check_buckets(&raw.buckets, &at.key("buckets"), context);
            let common =
                Common { name: raw.name.0.0, help: raw.help, labels: raw.labels, attributes: raw.attributes };
            (common, LogMetricKind::Histogram { field, buckets: raw.buckets })
        }
    };
    let attributes: Vec<StreamAttribute> = common.attributes.into_iter().map(attribute).collect();
    let labels: Vec<(String, String)> =
        common.labels.into_iter().map(|(name, field)| (name.0.0, field.0.0)).collect();
    check_labels(&labels, &attributes, at, context);
    let help = common.help.map(|help| help.0.0).unwrap_or_default();
    LogMetric { name: common.name, help, labels, attributes, kind }
}

fn check_labels(
    labels: &[(String, String)],
    attributes: &[StreamAttribute],
    at: &KeyPath,
    context: &mut Context<'_>,
) {
    for (name, field) in labels {
        check_field(field, &at.key("labels").key(name), context);
    }
    for (index, attribute) in attributes.iter().enumerate() {
        let name = attribute.name();
        let is_label = labels.iter().any(|(label, _)| label == name);
        if is_label || attributes.iter().take(index).any(|other| other == attribute) {
            let complaint = Complaint::new(format!("the label {} is there twice", quoted(name)));
            context.error(&at.key("attributes").index(index), complaint);
        }
    }
    if labels.len() + attributes.len() > MAX_LABELS {
        context.error(at, Complaint::new(format!("more than {MAX_LABELS} labels")));
    }
}

fn check_field(field: &str, at: &KeyPath, context: &mut Context<'_>) {
    if field == "*" {
        let complaint = Complaint::new("the whole event has no value");
        context.error(at, complaint.help("name a member, such as `level`"));
    } else if let Err(error) = path::check(field) {
        context.error(at, Complaint::new(error.to_string()));
    }
}

fn check_buckets(buckets: &[f64], at: &KeyPath, context: &mut Context<'_>) {
    if buckets.len() > MAX_BUCKETS {
        let message = format!("{} buckets, and {MAX_BUCKETS} are the most", buckets.len());
        context.error(at, Complaint::new(message));
    }
    for (index, pair) in buckets.windows(2).enumerate() {
        if let [lower, upper] = pair
            && lower >= upper
        {
            let complaint = Complaint::new(format!("{upper} does not lie above {lower}"));
            context.error(&at.index(index + 1), complaint.help("give bounds in ascending order, each once"));
        }
    }
    if let Some(index) = buckets.iter().position(|bound| !bound.is_finite()) {
        let complaint = Complaint::new("a bound must be finite");
        context.error(&at.index(index), complaint.help("the bucket for all that is larger is there anyway"));
    }
}

fn attribute(raw: raw::StreamAttribute) -> StreamAttribute {
    match raw {
        raw::StreamAttribute::Source => StreamAttribute::Source,
        raw::StreamAttribute::Namespace => StreamAttribute::Namespace,
        raw::StreamAttribute::Pod => StreamAttribute::Pod,
        raw::StreamAttribute::Container => StreamAttribute::Container,
        raw::StreamAttribute::Uid => StreamAttribute::Uid,
        raw::StreamAttribute::Stream => StreamAttribute::Stream,
        raw::StreamAttribute::Path => StreamAttribute::Path,
        raw::StreamAttribute::Tag => StreamAttribute::Tag,
    }
}

/// Complains about stages of one pipeline that use a name twice. `offset` is how many stages stand before the first.
pub(super) fn check_names(stages: &[Stage], offset: usize, path: &KeyPath, context: &mut Context<'_>) {
    let mut guards = BTreeSet::new();
    let mut series = BTreeSet::new();
    for (index, stage) in stages.iter().enumerate() {
        let at = path.index(index + offset);
        match stage {
            Stage::Cardinality(guard) if !guards.insert(&guard.name) => {
                let complaint = Complaint::new(format!("a second guard is called {}", quoted(&guard.name)));
                context.error(&at.key("cardinality"), complaint.help("give it a name of its own"));
            }
            Stage::LogToMetric(stage) => {
                for (index, metric) in stage.metrics.iter().enumerate() {
                    let suffixes = match metric.kind {
                        LogMetricKind::Counter => HISTOGRAM_SUFFIXES.get(..1),
                        LogMetricKind::Histogram { .. } => HISTOGRAM_SUFFIXES.get(..),
                    };
                    let names =
                        suffixes.into_iter().flatten().map(|suffix| format!("{}{suffix}", metric.name));
                    let taken: Vec<String> = names.filter(|name| !series.insert(name.clone())).collect();
                    if let Some(name) = taken.first() {
                        let complaint = Complaint::new(format!("the metric {} is there twice", quoted(name)));
                        let at = at.key("log_to_metric").key("metrics").index(index).key("name");
                        context.error(&at, complaint.help("give it a name of its own"));
                    }
                }
            }
            _ => {}
        }
    }
}
