//! The `s3` sink.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_event::path;

use super::super::Context;
use super::super::bucket::{self, Written};
use crate::config::{S3Sink, Sink, SinkKind};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::text::quoted;
use crate::types::{Name, Size};

const DEFAULT_PREFIX: &str = "archive";
/// What people look for by, when they look for one thing.
const DEFAULT_INDEX_FIELD: &str = "trace_id";
/// Each takes memory while an object is made, and a filter in every frame.
const MAX_INDEX_FIELDS: usize = 16;
const DEFAULT_LEVEL: u8 = 3;
const DEFAULT_OBJECT_BYTES: Size = Size::of_mib(32);
/// Less would be a request for a few events each.
const MIN_OBJECT_BYTES: Size = Size::of_bytes(64 * 1024);
/// An object is put together in memory.
const MAX_OBJECT_BYTES: Size = Size::of_mib(64);
const DEFAULT_OBJECT_AGE: Duration = Duration::from_secs(300);
/// Objects are by the hour.
const OBJECT_AGES: [(Duration, &str); 2] =
    [(Duration::from_secs(1), "1s"), (Duration::from_secs(3600), "1h")];

pub(super) fn sink(raw: raw::S3Sink, at: &KeyPath, context: &mut Context<'_>) -> S3Sink {
    let prefix = raw.prefix.map_or_else(|| DEFAULT_PREFIX.to_owned(), |prefix| prefix.0.0);
    if prefix.contains("{node}") {
        let complaint = Complaint::new("the archive is one for all nodes of a cluster");
        context.error(&at.key("prefix"), complaint.help("leave {node} out; it is in the objects' names"));
    }
    let max_object_bytes = raw.max_object_bytes.map_or(DEFAULT_OBJECT_BYTES, |size| size.0);
    if !(MIN_OBJECT_BYTES..=MAX_OBJECT_BYTES).contains(&max_object_bytes) {
        let message =
            format!("must be from {MIN_OBJECT_BYTES} to {MAX_OBJECT_BYTES}, found {max_object_bytes}");
        context.error(&at.key("max_object_bytes"), Complaint::new(message));
    }
    let max_object_age = raw.max_object_age.map_or(DEFAULT_OBJECT_AGE, |age| age.0);
    context.within(max_object_age, OBJECT_AGES, &at.key("max_object_age"));
    let index_fields = match raw.index_fields {
        None => vec![DEFAULT_INDEX_FIELD.to_owned()],
        Some(fields) => fields.into_iter().map(|field| field.0.0).collect(),
    };
    check_fields(&index_fields, &at.key("index_fields"), context);
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
    S3Sink {
        bucket: bucket::bucket(written, "what is archived", at, context),
        prefix,
        index_fields,
        level: raw.level.unwrap_or(DEFAULT_LEVEL),
        max_object_bytes,
        max_object_age,
    }
}

fn check_fields(fields: &[String], at: &KeyPath, context: &mut Context<'_>) {
    if fields.len() > MAX_INDEX_FIELDS {
        let message = format!("{} fields, and {MAX_INDEX_FIELDS} are the most", fields.len());
        context.error(at, Complaint::new(message));
    }
    for (index, field) in fields.iter().enumerate() {
        let wrong = match path::check(field) {
            Err(error) => error.to_string(),
            Ok(()) if field == "*" => "the whole event has no value to be looked for".to_owned(),
            Ok(()) if fields.iter().take(index).any(|other| other == field) => {
                format!("the field {} is there twice", quoted(field))
            }
            Ok(()) => continue,
        };
        context.error(&at.index(index), Complaint::new(wrong));
    }
}

/// Two sinks must not write one archive: all that both have would be there twice.
pub(in crate::validate) fn check_archives(sinks: &BTreeMap<Name, Sink>, context: &mut Context<'_>) {
    let mut writers: BTreeMap<[&str; 3], &Name> = BTreeMap::new();
    for (name, sink) in sinks {
        let SinkKind::S3(sink) = &sink.kind else { continue };
        let place = [&*sink.bucket.endpoint, &*sink.bucket.name, &*sink.prefix];
        if let Some(other) = writers.insert(place, name) {
            let complaint = Complaint::new(format!("the sink {} writes the same archive", quoted(other)));
            let at = KeyPath::of(&["sinks", name, "prefix"]);
            context.error(
                &at,
                complaint.help("send both pipelines to one sink, or give this one another prefix"),
            );
        }
    }
}

/// Complains about keys and certificates that cannot be had, whatever else may be wrong with their sinks.
pub(in crate::validate) fn check_secrets(context: &mut Context<'_>) {
    let section = KeyPath::of(&["sinks"]);
    let tree = context.tree;
    for sink in tree.entry("sinks").into_iter().flat_map(|entry| entry.value.entries()) {
        bucket::check_secrets(&sink.value, &section.key(&sink.key), context);
    }
}
