//! Events and samples: a pipeline carries one of them, and all of its parts must be for that.

use std::collections::BTreeMap;

use super::Context;
use crate::config::{Carries, Pipeline, Sink, Source};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::text::quoted;
use crate::types::Name;

/// Where something comes from, for messages.
struct Giver {
    /// As it stands in `from`.
    written: String,
    /// `the source "pods" (kubernetes_logs)`.
    shown: String,
    gives: Carries,
}

/// Complains about pipelines whose parts do not fit together.
pub(super) fn check(
    pipelines: &BTreeMap<Name, Pipeline>,
    sources: &BTreeMap<Name, Source>,
    sinks: &BTreeMap<Name, Sink>,
    context: &mut Context<'_>,
) {
    for (name, pipeline) in pipelines {
        let path = KeyPath::of(&["pipelines", name]);
        let givers = givers(pipeline, sources);
        let Some(first) = givers.first() else { continue };
        if let Some(other) = givers.iter().find(|giver| giver.gives != first.gives) {
            let message = format!(
                "{} gives {}, and {} gives {}",
                other.shown,
                word(other.gives),
                first.shown,
                word(first.gives)
            );
            let at = context.index_of(&path.key("from"), &other.written);
            context.error(&at, Complaint::new(message).help("a pipeline carries one of them: make two"));
            continue;
        }
        check_stages(pipeline, first, &path.key("stages"), context);
        check_sinks((name, pipeline), first, sinks, context);
    }
}

fn givers(pipeline: &Pipeline, sources: &BTreeMap<Name, Source>) -> Vec<Giver> {
    let of_source = |name: &Name| {
        let source = sources.get(name)?;
        let shown = format!("the source {} ({})", quoted(name), source.kind.name());
        Some(Giver { written: name.to_string(), shown, gives: source.gives() })
    };
    let of_metrics = |name: &Name| {
        let written = format!("{name}.metrics");
        Giver { shown: quoted(&written), written, gives: Carries::Samples }
    };
    let sources = pipeline.from.iter().filter_map(of_source);
    sources.chain(pipeline.from_metrics.iter().map(of_metrics)).collect()
}

fn check_stages(pipeline: &Pipeline, giver: &Giver, path: &KeyPath, context: &mut Context<'_>) {
    let parser = pipeline.parser.is_some();
    if parser && giver.gives == Carries::Samples {
        let message = format!("the stage parse works on events, and {} gives samples", giver.shown);
        context.error(&path.index(0), Complaint::new(message).help("remove it"));
    }
    for (index, stage) in pipeline.stages.iter().enumerate() {
        let wanted = stage.works_on();
        if wanted == giver.gives {
            continue;
        }
        let message = format!(
            "the stage {} works on {}, and {} gives {}",
            stage.name(),
            word(wanted),
            giver.shown,
            word(giver.gives)
        );
        let help = match wanted {
            Carries::Samples => {
                "make metrics of the events with log_to_metric, and put it into the pipeline that takes them"
            }
            Carries::Events => {
                "for samples there are relabel, drop_metrics, keep_metrics, drop_labels and cardinality"
            }
        };
        context.error(&path.index(index + usize::from(parser)), Complaint::new(message).help(help));
    }
}

fn check_sinks(
    (pipeline_name, pipeline): (&Name, &Pipeline),
    giver: &Giver,
    sinks: &BTreeMap<Name, Sink>,
    context: &mut Context<'_>,
) {
    let path = KeyPath::of(&["pipelines", pipeline_name, "to"]);
    for name in &pipeline.to {
        let Some(sink) = sinks.get(name).filter(|sink| !sink.kind.takes(giver.gives)) else { continue };
        let (takes, help) = match giver.gives {
            Carries::Events => (
                Carries::Samples,
                format!(
                    "send events to a sink for them, or make metrics of them: a stage log_to_metric here, and another pipeline from: [{pipeline_name}.metrics] to this sink"
                ),
            ),
            Carries::Samples => (
                Carries::Events,
                "send samples to a sink of the kind remote_write, or file, console or blackhole".to_owned(),
            ),
        };
        let message = format!(
            "the sink {} ({}) takes {}, and {} gives {}",
            quoted(name),
            sink.kind.name(),
            word(takes),
            giver.shown,
            word(giver.gives)
        );
        let at = context.index_of(&path, name);
        context.error(&at, Complaint::new(message).help(help));
    }
}

fn word(what: Carries) -> &'static str {
    match what {
        Carries::Events => "events",
        Carries::Samples => "samples",
    }
}
