//! Buffers, and the sinks that name them.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::pipelines::require;
use crate::config::{Buffer, Sink, WhenFull};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::types::{Format as _, Name, Size};
use crate::yaml::Value;

const DEFAULT_MEMORY: Size = Size::of_mib(16);
/// A few segments, so that one can be read back while others come in.
const MIN_MEMORY: Size = Size::of_mib(4);
/// A segment is to be an eighth of it at the most.
const MIN_DISK: Size = Size::of_mib(32);

pub(super) fn buffer(raw: raw::Buffer, _: &Name, path: &KeyPath, context: &mut Context<'_>) -> Buffer {
    let memory = raw.memory.map_or(DEFAULT_MEMORY, |size| size.0);
    for (key, size, least) in [("memory", memory, MIN_MEMORY), ("disk", raw.disk.0, MIN_DISK)] {
        if size < least {
            let message = format!("must be at least {least}, found {size}");
            context.error(&path.key(key), Complaint::new(message));
        }
    }
    let when_full = match raw.when_full {
        None | Some(raw::WhenFull::Block) => WhenFull::Block,
    };
    Buffer { memory, disk: raw.disk.0, when_full }
}

/// Complains about sinks with a buffer that is none. Looks at what was written, as for the names in pipelines.
pub(super) fn check_references(context: &mut Context<'_>) {
    let tree = context.tree;
    for sink in tree.entry("sinks").into_iter().flat_map(|entry| entry.value.entries()) {
        let Some(Value::Text(name)) = sink.value.entry("buffer").map(|entry| &entry.value.value) else {
            continue;
        };
        if Name::parse(name).is_ok() {
            require(name, "buffer", &KeyPath::of(&["sinks", &sink.key, "buffer"]), context);
        }
    }
}

/// Warns about buffers that are there for nothing.
pub(super) fn check_use(sinks: &BTreeMap<Name, Sink>, context: &mut Context<'_>) {
    let used: BTreeSet<&str> = sinks.values().filter_map(|sink| sink.buffer.as_deref()).collect();
    for name in context.names("buffers") {
        if !used.contains(name) {
            let complaint = Complaint::new("no sink uses this buffer").help("give a sink buffer: NAME");
            context.warn(&KeyPath::of(&["buffers", name]), complaint);
        }
    }
}
