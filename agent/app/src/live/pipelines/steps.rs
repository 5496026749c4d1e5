//! Native stages that need something to work with: the steps of pipelines of samples, and the stages that count events.

use std::sync::Arc;
use std::time::Duration;

use weir_config::LogMetricKind;
use weir_event::sheet::OnFault;
use weir_event::tally::{Metrics, TallyStage};
use weir_event::transform::Transform;
use weir_pipeline::log_metrics::{self, LogMetric};
use weir_pipeline::pipeline::{FaultPolicy, Stage};
use weir_pipeline::samples::SampleStep;
use weir_samples::cardinality::{self, Crossing, Guard};
use weir_samples::relabel::{Limits, Lists, Relabel, Rule, Rules};
use weir_samples::stage::SampleStage;

/// Why the ledger says that a sample is gone whose labels the rules have left without a name, or with a nameless one.
const INVALID: &str = "invalid_labels";
/// Why it says that a rule dropped a sample.
const RULE: &str = "rule";

/// What a stage of a pipeline of samples is made into.
pub struct Step {
    /// For the workers.
    pub step: SampleStep,
    /// What it watches, to be shown.
    pub guard: Option<Guard>,
}

/// What counts events in a pipeline, with the interval at which it is sent.
pub type Counting = (Arc<Metrics>, Duration);

/// The step that a stage is; `None` for one of events.
pub fn step(stage: &weir_config::Stage) -> Option<Result<Step, String>> {
    let lists = match stage {
        weir_config::Stage::Relabel(rules) => {
            return Some(relabel(stage.name(), rules));
        }
        weir_config::Stage::Cardinality(settings) => return Some(Ok(guard(settings))),
        weir_config::Stage::DropMetrics(patterns) => {
            Lists { drop_metrics: patterns.clone(), ..Lists::default() }
        }
        weir_config::Stage::KeepMetrics(patterns) => {
            Lists { keep_metrics: patterns.clone(), ..Lists::default() }
        }
        weir_config::Stage::DropLabels(patterns) => {
            Lists { drop_labels: patterns.clone(), ..Lists::default() }
        }
        weir_config::Stage::Plugin(_) | weir_config::Stage::LogToMetric(_) => return None,
        #[cfg(feature = "bench-native")]
        weir_config::Stage::BenchW1 => return None,
    };
    let rules = lists.rules().map_err(|error| error.to_string());
    Some(rules.and_then(|rules| relabel(stage.name(), &rules)))
}

fn relabel(name: &str, rules: &[Rule]) -> Result<Step, String> {
    let rules = Rules::new(rules).map_err(|error| error.to_string())?;
    let make = move || {
        let relabel = Relabel::new(rules.clone(), RULE.into(), INVALID.into(), Limits::default());
        Box::new(relabel) as Box<dyn SampleStage>
    };
    Ok(Step { step: SampleStep { name: name.into(), make: Box::new(make) }, guard: None })
}

fn guard(settings: &weir_config::Cardinality) -> Step {
    let name = settings.name.clone();
    let notify = move |crossing: &Crossing| tell(&name, crossing);
    let watch = cardinality::Settings {
        group_by: settings.by.clone(),
        limit: settings.limit as usize,
        on_limit: match settings.on_limit {
            weir_config::OnLimit::Report => cardinality::OnLimit::Report,
            weir_config::OnLimit::Cut => cardinality::OnLimit::Cut,
        },
        window: settings.window,
        ..cardinality::Settings::default()
    };
    let guard = Guard::new(watch, Box::new(notify));
    let instances = guard.clone();
    let make = Box::new(move || Box::new(instances.stage()) as Box<dyn SampleStage>);
    Step { step: SampleStep { name: settings.name.as_str().into(), make }, guard: Some(guard) }
}

/// Once for each time that a group goes beyond its limit, and once when it is back.
fn tell(guard: &str, crossing: &Crossing) {
    let labels: Vec<String> =
        crossing.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let (group, series, limit) = (labels.join(","), crossing.series, crossing.limit);
    match crossing.is_over {
        true => tracing::warn!(
            guard,
            group,
            series,
            limit,
            "a group has more series than its limit; weir top --metrics shows the metrics with the most"
        ),
        false => tracing::info!(guard, group, series, limit, "a group is within its limit again"),
    }
}

/// What a stage counts in the events of a pipeline.
pub fn counting(pipeline: &str, settings: &weir_config::LogToMetric) -> Counting {
    let metric = |metric: &weir_config::LogMetric| LogMetric {
        name: metric.name.clone(),
        help: metric.help.clone(),
        kind: match &metric.kind {
            LogMetricKind::Counter => log_metrics::LogMetricKind::Counter,
            LogMetricKind::Histogram { field, buckets } => {
                log_metrics::LogMetricKind::Histogram { field: field.clone(), buckets: buckets.clone() }
            }
        },
        labels: metric.labels.clone(),
        attributes: metric.attributes.iter().map(|attribute| attribute.name().to_owned()).collect(),
    };
    let stage = log_metrics::LogToMetric {
        interval: settings.interval,
        max_series: settings.max_series as usize,
        metrics: settings.metrics.iter().map(metric).collect(),
    };
    (stage.metrics(pipeline), settings.interval)
}

/// The stage that counts.
pub fn counting_stage(name: &str, of: &Arc<Metrics>) -> Stage {
    let instances = Arc::clone(of);
    Stage {
        name: name.into(),
        plan: TallyStage::plan_of(of),
        on_fault: FaultPolicy::Handle(OnFault::Pass),
        make: Box::new(move |_| Box::new(TallyStage::new(&instances)) as Box<dyn Transform>),
        is_unwell: Box::new(|| false),
        shadow: Arc::default(),
    }
}
