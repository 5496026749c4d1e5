//! Pipelines, and what several of them do together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Context, parser, stages};
use crate::config::{Durability, Pipeline, Sink, Source, Stage};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::suggest;
use crate::text::{listed, quoted};
use crate::types::{Format, Name, Origin};
use crate::yaml::{Entry, Node, Value};

/// Native stages and what they may look like, for who writes their name alone.
const NATIVE: [(&str, &str); 7] = [
    ("parse", "auto"),
    ("log_to_metric", "{metrics: […]}"),
    ("relabel", "[{…}]"),
    ("drop_metrics", "[go_.*]"),
    ("keep_metrics", "[up, node_.*]"),
    ("drop_labels", "[pod_uid]"),
    ("cardinality", "{by: [namespace]}"),
];

pub(super) fn pipeline(raw: raw::Pipeline, _: &Name, path: &KeyPath, context: &mut Context<'_>) -> Pipeline {
    let mut found_parser = None;
    let mut checked = Vec::with_capacity(raw.stages.len());
    let stages_at = path.key("stages");
    for (index, stage) in raw.stages.into_iter().enumerate() {
        match stage {
            raw::Stage::Native(raw::NativeStage::Parse(raw)) => found_parser = Some(parser(raw)),
            raw::Stage::Native(native) => {
                checked.extend(stages::native(native, &stages_at.index(index), context));
            }
            raw::Stage::Plugin(name) => checked.push(Stage::Plugin(name.0)),
        }
    }
    stages::check_names(&checked, usize::from(found_parser.is_some()), &stages_at, context);
    let (mut from, mut from_metrics) = (Vec::new(), Vec::new());
    for origin in raw.from {
        match origin.0 {
            Origin::Source(name) => from.push(name),
            Origin::Metrics(name) => from_metrics.push(name),
        }
    }
    Pipeline {
        from,
        from_metrics,
        parser: found_parser,
        stages: checked,
        to: raw.to.into_iter().map(|name| name.0).collect(),
        weight: raw.weight.unwrap_or(1),
        durability: match raw.durability {
            None | Some(raw::Durability::OnPressure) => Durability::OnPressure,
            Some(raw::Durability::Always) => Durability::Always,
        },
    }
}

/// Complains about names that nothing has and stages out of place.
///
/// This looks at what was written and not at what was converted: one wrong stage leaves its pipeline without any, and
/// the other names in it are to be checked all the same.
pub(super) fn check_references(context: &mut Context<'_>) {
    let section = KeyPath::of(&["pipelines"]);
    let tree = context.tree;
    for pipeline in tree.entry("pipelines").into_iter().flat_map(|entry| entry.value.entries()) {
        let path = section.key(&pipeline.key);
        check_names(&pipeline.value, "from", "source", &path, context);
        check_origins(&pipeline.value, &path.key("from"), context);
        check_names(&pipeline.value, "to", "sink", &path, context);
        check_stages(items(&pipeline.value, "stages"), &path.key("stages"), context);
    }
}

/// Names of one section: each known and given once.
fn check_names(pipeline: &Node, key: &str, noun: &str, path: &KeyPath, context: &mut Context<'_>) {
    let path = path.key(key);
    let mut seen = BTreeSet::new();
    for (index, item) in items(pipeline, key).iter().enumerate() {
        let Some(name) = name(item) else { continue };
        let at = path.index(index);
        if !seen.insert(name) {
            context.error(&at, Complaint::new(format!("the {noun} {} is named twice", quoted(name))));
            continue;
        }
        require(name, noun, &at, context);
    }
}

/// Metrics that are taken: each of a pipeline that makes some, and given once.
fn check_origins(pipeline: &Node, path: &KeyPath, context: &mut Context<'_>) {
    let mut seen = BTreeSet::new();
    for (index, item) in items(pipeline, "from").iter().enumerate() {
        let Value::Text(text) = &item.value else { continue };
        let Ok(Origin::Metrics(name)) = Origin::parse(text) else { continue };
        let at = path.index(index);
        if !seen.insert(text) {
            context.error(&at, Complaint::new(format!("{} is named twice", quoted(text))));
            continue;
        }
        require(&name, "pipeline", &at, context);
        let tree = context.tree;
        let other = tree.entry("pipelines").and_then(|entry| entry.value.entry(&name));
        let makes = |entry: &Entry| {
            items(&entry.value, "stages").iter().any(|stage| stage.entry("log_to_metric").is_some())
        };
        if other.is_some_and(|entry| !makes(entry)) {
            let complaint = Complaint::new(format!("the pipeline {} makes no metrics", quoted(&name)));
            context.error(&at, complaint.help("give it a stage {log_to_metric: …}"));
        }
    }
}

fn check_stages(stages: &[Node], path: &KeyPath, context: &mut Context<'_>) {
    let mut has_parser = false;
    for (index, stage) in stages.iter().enumerate() {
        let at = path.index(index);
        if let Some(name) = name(stage) {
            check_plugin(name, &at, context);
        } else if stage.entry("parse").is_some() {
            if has_parser {
                context.error(&at, Complaint::new("a second `parse` stage").help("keep one of them"));
            } else if index > 0 {
                let complaint = Complaint::new("a `parse` stage must be the first stage");
                context
                    .error(&at, complaint.help("what comes before it would see unparsed lines; move it up"));
            }
            has_parser = true;
        }
    }
}

fn check_plugin(name: &str, at: &KeyPath, context: &mut Context<'_>) {
    if let Some((_, example)) = NATIVE.iter().find(|(native, _)| *native == name)
        && !context.names("plugins").contains(&name)
    {
        let complaint = Complaint::new(format!("the native stage {} needs a value", quoted(name)));
        return context.error(at, complaint.help(format!("write {{{name}: {example}}}")));
    }
    require(name, "plugin", at, context);
}

/// Complains about a name that nothing has.
pub(super) fn require(name: &str, noun: &str, at: &KeyPath, context: &mut Context<'_>) {
    let section = format!("{noun}s");
    let known = context.names(&section);
    if known.contains(&name) {
        return;
    }
    let help = suggest::help(name, known.iter().copied(), &format!("known {section}"), '"');
    let complaint = Complaint::new(format!("no {noun} is called {}", quoted(name)));
    context.error(at, Complaint { help, ..complaint });
}

fn items<'a>(map: &'a Node, key: &str) -> &'a [Node] {
    match map.entry(key).map(|entry| &entry.value.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

/// The name that stands here; what is none was complained about before.
fn name(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Name::parse(text).is_ok().then_some(text),
        _ => None,
    }
}

/// Warns about what is there for nothing, and about sinks that wait for each other.
pub(super) fn check_together(
    pipelines: &BTreeMap<Name, Pipeline>,
    sources: &BTreeMap<Name, Source>,
    sinks: &BTreeMap<Name, Sink>,
    context: &mut Context<'_>,
) {
    if pipelines.is_empty() {
        return context.warn(&KeyPath::default(), Complaint::new("there is no pipeline, so nothing is read"));
    }
    check_durability(pipelines, sinks, context);
    check_pushed(pipelines, sources, context);
    let all = || pipelines.values();
    let plugins = all().flat_map(|pipeline| &pipeline.stages).filter_map(plugin_name);
    warn_unused("source", all().flat_map(|pipeline| &pipeline.from).map(|name| &**name).collect(), context);
    warn_unused("plugin", plugins.collect(), context);
    warn_unused("sink", all().flat_map(|pipeline| &pipeline.to).map(|name| &**name).collect(), context);
    warn_unused_metrics(pipelines, context);
    for source in context.names("sources") {
        let of_source = all().filter(|pipeline| pipeline.from.iter().any(|name| &**name == source));
        let names: BTreeSet<&Name> = of_source.flat_map(|pipeline| &pipeline.to).collect();
        let firm = |name: &&&Name| sinks.get(&***name).is_some_and(|sink| !sink.best_effort);
        let firm: Vec<String> = names.iter().filter(firm).map(|name| quoted(name)).collect();
        if firm.len() > 1 {
            let message = format!(
                "its sinks {} wait for each other: what one has not taken, none forgets",
                listed(&firm)
            );
            let complaint = Complaint::new(message);
            let help = "if one of them may lose events, give it best_effort: true";
            context.warn(&KeyPath::of(&["sources", source]), complaint.help(help));
        }
    }
}

/// What is to be on disk at once needs one.
fn check_durability(
    pipelines: &BTreeMap<Name, Pipeline>,
    sinks: &BTreeMap<Name, Sink>,
    context: &mut Context<'_>,
) {
    for (name, pipeline) in pipelines.iter().filter(|(_, pipeline)| pipeline.durability == Durability::Always)
    {
        let without =
            |name: &&Name| sinks.get(&***name).is_some_and(|sink| sink.buffer.is_none() && !sink.best_effort);
        let without: Vec<String> = pipeline.to.iter().filter(without).map(|name| quoted(name)).collect();
        if !without.is_empty() {
            let message = format!("always is not possible: {} has no buffer", listed(&without));
            let help = "give the sink buffer: NAME, or best_effort: true if it may lose events";
            let path = KeyPath::of(&["pipelines", name, "durability"]);
            context.error(&path, Complaint::new(message).help(help));
        }
    }
}

/// What is pushed lies in no file: its sender may forget it when it was told that it was taken.
fn check_pushed(
    pipelines: &BTreeMap<Name, Pipeline>,
    sources: &BTreeMap<Name, Source>,
    context: &mut Context<'_>,
) {
    for (name, pipeline) in pipelines.iter().filter(|(_, pipeline)| pipeline.durability != Durability::Always)
    {
        let is_pushed =
            |name: &&Name| sources.get(&***name).is_some_and(|source| source.listening().is_some());
        if let Some(source) = pipeline.from.iter().find(is_pushed) {
            let message =
                format!("needs durability: always: what is pushed to {} lies nowhere else", quoted(source));
            let help = "its senders then hear that it was taken when it is on disk, and not before";
            context.error(&KeyPath::of(&["pipelines", name]), Complaint::new(message).help(help));
        }
    }
}

fn plugin_name(stage: &Stage) -> Option<&str> {
    match stage {
        Stage::Plugin(name) => Some(name),
        _ => None,
    }
}

/// Metrics that are made and that no pipeline takes.
fn warn_unused_metrics(pipelines: &BTreeMap<Name, Pipeline>, context: &mut Context<'_>) {
    let used: BTreeSet<&Name> = pipelines.values().flat_map(|pipeline| &pipeline.from_metrics).collect();
    for (name, _) in
        pipelines.iter().filter(|(name, pipeline)| pipeline.makes_metrics() && !used.contains(name))
    {
        let complaint = Complaint::new("no pipeline takes the metrics that its stage log_to_metric makes");
        let help = format!("give another pipeline from: [{name}.metrics]");
        context.warn(&KeyPath::of(&["pipelines", name]), complaint.help(help));
    }
}

fn warn_unused(noun: &str, used: BTreeSet<&str>, context: &mut Context<'_>) {
    let section = format!("{noun}s");
    for name in context.names(&section) {
        if !used.contains(name) {
            let message = format!("no pipeline uses this {noun}");
            context.warn(&KeyPath::of(&[&section, name]), Complaint::new(message));
        }
    }
}
