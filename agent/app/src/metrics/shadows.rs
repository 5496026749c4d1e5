//! How shadows of plugins compare.

use weir_host::{Cause, Plugin};
use weir_pipeline::shadow::{Counts, Difference, Skipped};

use super::exposition::{Exposition, Sample};
use super::families as f;
use crate::shadows::{Candidate, State};
use crate::state::View;

/// All shadows, those that could not be loaded too.
pub fn shadows(out: &mut Exposition, view: &View) {
    let states = view.shadows.iter().flat_map(|candidate| states(candidate));
    out.add(&f::SHADOW_STATE, states);
    let loaded = view
        .shadows
        .iter()
        .filter_map(|candidate| Some((candidate.name(), candidate.plugin()?, candidate.shadow()?)));
    let loaded: Vec<_> = loaded.collect();
    out.add(&f::SHADOW, loaded.iter().map(|(name, plugin, _)| info(name, plugin)));
    out.add(&f::SHADOW_BATCHES, loaded.iter().flat_map(|(name, _, shadow)| batches(name, shadow.counts())));
    out.add(&f::SHADOW_EVENTS, loaded.iter().flat_map(|(name, _, shadow)| events(name, shadow.counts())));
    let cpu = |plugin: &Plugin| plugin.metrics().cpu().as_secs_f64();
    out.add(
        &f::SHADOW_CPU,
        loaded.iter().map(|(name, plugin, _)| Sample::new([("plugin", *name)], cpu(plugin))),
    );
    out.add(&f::SHADOW_ERRORS, loaded.iter().flat_map(|(name, plugin, _)| errors(name, plugin)));
    let memory = |plugin: &Plugin| plugin.metrics().memory_bytes();
    out.add(
        &f::SHADOW_MEMORY,
        loaded.iter().map(|(name, plugin, _)| Sample::count([("plugin", *name)], memory(plugin))),
    );
}

fn states(candidate: &Candidate) -> impl Iterator<Item = Sample<'_>> {
    let now = candidate.state();
    State::ALL.into_iter().map(move |state| {
        let labels = [("plugin", candidate.name()), ("state", state.name())];
        Sample::count(labels, u64::from(state == now))
    })
}

fn info<'a>(name: &'a str, plugin: &'a Plugin) -> Sample<'a> {
    let manifest = plugin.manifest();
    let own = [("name", manifest.name.as_str()), ("version", manifest.version.as_str())];
    let labels = [("plugin", name)].into_iter().chain(own).chain([("digest", plugin.digest())]);
    Sample::count(labels.collect::<Vec<_>>(), 1)
}

fn batches<'a>(name: &'a str, counts: &Counts) -> Vec<Sample<'a>> {
    let sample = |outcome, count| Sample::count([("plugin", name), ("outcome", outcome)], count);
    let skipped = Skipped::ALL.map(|why| {
        let outcome = match why {
            Skipped::Queue => "skipped_queue",
            Skipped::Busy => "skipped_busy",
            Skipped::Large => "skipped_large",
        };
        sample(outcome, counts.skipped(why))
    });
    [sample("compared", counts.compared())].into_iter().chain(skipped).collect()
}

fn events<'a>(name: &'a str, counts: &Counts) -> Vec<Sample<'a>> {
    let sample = |result: Difference| {
        Sample::count([("plugin", name), ("result", result.name())], counts.events(result))
    };
    Difference::ALL.map(sample).into()
}

fn errors<'a>(name: &'a str, plugin: &Plugin) -> Vec<Sample<'a>> {
    let sample = |cause: Cause| {
        Sample::count([("plugin", name), ("cause", cause.name())], plugin.metrics().faults(cause))
    };
    Cause::ALL.map(sample).into()
}
