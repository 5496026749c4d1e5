//! Buffers, and the sinks that name them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Context;
use super::bucket::{self, Written};
use super::pipelines::require;
use crate::config::{Buffer, ObjectStore, Order, Sink, SinkKind, WhenFull};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::types::{Format as _, Name, Size};
use crate::yaml::Value;

const DEFAULT_MEMORY: Size = Size::of_mib(16);
/// A few segments, so that one can be read back while others come in.
const MIN_MEMORY: Size = Size::of_mib(4);
/// A restart, or a node that is drained, takes longer than less would help.
const MIN_AGE: Duration = Duration::from_secs(60);
/// So that a segment comes in seconds.
const MIN_REPLAY_RATE: Size = Size::of_bytes(64 * 1024);
/// A segment is to be an eighth of it at the most.
const MIN_DISK: Size = Size::of_mib(32);
/// There it is what passes on to the store.
const MIN_DISK_BEFORE_OBJECTS: Size = Size::of_mib(8);
const DEFAULT_PREFIX: &str = "{cluster}/{node}";

/// After so long without a sign of life an agent is gone.
const DEFAULT_GONE_AFTER: Duration = Duration::from_secs(600);
const MIN_GONE_AFTER: Duration = Duration::from_secs(2);

pub(super) fn buffer(raw: raw::Buffer, _: &Name, path: &KeyPath, context: &mut Context<'_>) -> Buffer {
    let memory = raw.memory.map_or(DEFAULT_MEMORY, |size| size.0);
    let min_disk = if raw.object_store.is_some() { MIN_DISK_BEFORE_OBJECTS } else { MIN_DISK };
    for (key, size, least) in [("memory", memory, MIN_MEMORY), ("disk", raw.disk.0, min_disk)] {
        if size < least {
            let message = format!("must be at least {least}, found {size}");
            context.error(&path.key(key), Complaint::new(message));
        }
    }
    let object_store = raw.object_store.map(|raw| object_store(raw, &path.key("object_store"), context));
    let max_age = raw.max_age.map(|age| age.0);
    if max_age.is_some_and(|age| age < MIN_AGE) {
        context.error(&path.key("max_age"), Complaint::new("must be at least 1m"));
    }
    let replay_rate = raw.replay_rate.map(|size| size.0);
    if let Some(rate) = replay_rate.filter(|rate| *rate < MIN_REPLAY_RATE) {
        let message = format!("must be at least {MIN_REPLAY_RATE}, found {rate}");
        context.error(&path.key("replay_rate"), Complaint::new(message));
    }
    Buffer {
        memory,
        disk: raw.disk.0,
        when_full: match raw.when_full {
            None | Some(raw::WhenFull::Block) => WhenFull::Block,
            Some(raw::WhenFull::DropOldest) => WhenFull::DropOldest,
        },
        max_age,
        order: match raw.order {
            None | Some(raw::Order::OldestFirst) => Order::OldestFirst,
            Some(raw::Order::NewestFirst) => Order::NewestFirst,
        },
        replay_rate,
        object_store,
    }
}

/// Complains about sinks that promise an order and have a buffer that does not keep it.
pub(super) fn check_order(
    sinks: &BTreeMap<Name, Sink>,
    buffers: &BTreeMap<Name, Buffer>,
    context: &mut Context<'_>,
) {
    for (name, sink) in sinks {
        let is_ordered =
            matches!(sink.kind, SinkKind::File(_) | SinkKind::Console | SinkKind::RemoteWrite(_));
        let buffer = sink.buffer.as_ref().and_then(|buffer| buffers.get(buffer));
        if is_ordered && buffer.is_some_and(|buffer| buffer.order == Order::NewestFirst) {
            let message = "this kind of sink keeps the order of events, and the buffer does not";
            let help = "give it a buffer with order: oldest_first";
            let path = KeyPath::of(&["sinks", name, "buffer"]);
            context.error(&path, Complaint::new(message).help(help));
        }
    }
}

fn object_store(raw: raw::ObjectStore, path: &KeyPath, context: &mut Context<'_>) -> ObjectStore {
    let prefix = raw.prefix.map_or_else(|| DEFAULT_PREFIX.to_owned(), |prefix| prefix.0.0);
    let gone_after = raw.gone_after.map_or(DEFAULT_GONE_AFTER, |gone_after| gone_after.0);
    if gone_after < MIN_GONE_AFTER {
        context.error(&path.key("gone_after"), Complaint::new("must be at least 2s"));
    }
    let written = Written {
        endpoint: raw.endpoint,
        bucket: raw.bucket,
        create_bucket: raw.create_bucket,
        region: raw.region,
        access_key: raw.access_key,
        secret_key: raw.secret_key,
        ca: raw.ca,
        path_style: raw.path_style,
    };
    ObjectStore {
        bucket: bucket::bucket(written, "what waits", path, context),
        max_size: raw.max_size.map(|size| size.0),
        drain_on_stop: raw.drain_on_stop.unwrap_or(false),
        gone_after,
        adopt: raw.adopt.map(|adopt| adopt.0.0),
        prefix,
    }
}

/// Complains about keys and certificates of object stores that cannot be had, whatever else may be wrong with them.
pub(super) fn check_secrets(context: &mut Context<'_>) {
    let section = KeyPath::of(&["buffers"]);
    let tree = context.tree;
    for buffer in tree.entry("buffers").into_iter().flat_map(|entry| entry.value.entries()) {
        let Some(store) = buffer.value.entry("object_store") else { continue };
        bucket::check_secrets(&store.value, &section.key(&buffer.key).key("object_store"), context);
    }
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
