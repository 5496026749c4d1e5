//! The one memory budget, and whether what is configured fits into it.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use super::Context;
use crate::config::{Plugin, Sink, Source};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::types::{Name, Size};

/// Where the container has no limit.
const DEFAULT_MEMORY: Size = Size::of_mib(256);
/// Of the container's limit: the rest is for code, stacks, connections and the allocator.
const DEFAULT_SHARE_PERCENT: u64 = 60;
/// Batches of one source: the arenas that it keeps for reuse.
const SOURCE_MEMORY: Size = Size::of_mib(4);
/// Documents that wait for one sink.
const SINK_MEMORY: Size = Size::of_mib(16);

/// The memory that was given, else a share of the container's limit.
pub(super) fn memory(
    given: Option<Size>,
    plugins: &BTreeMap<Name, Plugin>,
    sources: &BTreeMap<Name, Source>,
    sinks: &BTreeMap<Name, Sink>,
    workers: NonZeroUsize,
    context: &mut Context<'_>,
) -> Size {
    let limit = context.host.memory_limit();
    let at = KeyPath::of(&["memory"]);
    let of_plugins = plugins.values().map(|plugin| plugin.limits.memory.bytes());
    let of_plugins = of_plugins.fold(0, u64::saturating_add).saturating_mul(workers.get() as u64);
    let of_sources = SOURCE_MEMORY.bytes().saturating_mul(sources.len() as u64);
    let of_sinks = SINK_MEMORY.bytes().saturating_mul(sinks.len() as u64);
    let needed = Size::of_bytes(of_plugins.saturating_add(of_sources).saturating_add(of_sinks));
    if let (Some(given), Some(limit)) = (given, limit)
        && given.bytes() > limit
    {
        let message = format!("more than the container's memory limit of {}", rounded(limit));
        context.warn(
            &at,
            Complaint::new(message).help("the kernel would end the agent before it uses that much"),
        );
    }
    let memory = match (given, limit) {
        (Some(given), _) => given,
        (None, Some(limit)) => Size::of_bytes(limit / 100 * DEFAULT_SHARE_PERCENT),
        (None, None) => return DEFAULT_MEMORY.max(needed),
    };
    // A `memory` that is not valid was complained about already.
    let is_known = given.is_some() || context.tree.entry("memory").is_none();
    if memory < needed && is_known {
        let message = format!(
            "{} is too small: {} for plugins (limits.memory × {workers} workers), {} for sources and {} for sinks make {}",
            rounded(memory.bytes()),
            rounded(of_plugins),
            rounded(of_sources),
            rounded(of_sinks),
            rounded(needed.bytes()),
        );
        let help = "raise memory or the container's limit, or lower workers or the plugins' limits.memory";
        context.error(&at, Complaint::new(message).help(help));
    }
    memory
}

/// In whole MiB where it is that large: a share of a limit is seldom a round number.
fn rounded(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{bytes}B"),
        mib => format!("{mib}MiB"),
    }
}
