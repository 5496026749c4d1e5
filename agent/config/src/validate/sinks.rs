//! Sinks.

mod opensearch;
mod remote_write;
mod s3;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Context, paths};
use crate::config::{FileSink, OpenSearchDeadLetters, Rotation, Sink, SinkKind, Source, SourceKind};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::text::quoted;
use crate::types::{Name, Size};

pub(super) use s3::check_archives;

const DEFAULT_KEEP: u16 = 5;
/// Smaller files would be renamed at every few events.
const MIN_ROTATED: Size = Size::of_bytes(4096);

pub(super) fn sink(raw: raw::Sink, _: &Name, path: &KeyPath, context: &mut Context<'_>) -> Sink {
    match raw {
        raw::Sink::File(raw) => Sink {
            best_effort: raw.best_effort.unwrap_or(false),
            buffer: raw.buffer.map(|name| name.0),
            kind: SinkKind::File(FileSink {
                path: context.absolute(&raw.path.0.0),
                rotate: raw.rotate.map(|raw| rotation(&raw, &path.key("rotate"), context)),
            }),
        },
        raw::Sink::Console(raw) => Sink {
            best_effort: raw.best_effort.unwrap_or(false),
            buffer: raw.buffer.map(|name| name.0),
            kind: SinkKind::Console,
        },
        raw::Sink::Blackhole(raw) => Sink {
            best_effort: raw.best_effort.unwrap_or(false),
            buffer: raw.buffer.map(|name| name.0),
            kind: SinkKind::Blackhole,
        },
        raw::Sink::Opensearch(raw) => Sink {
            best_effort: raw.best_effort.unwrap_or(false),
            buffer: raw.buffer.as_ref().map(|name| name.0.clone()),
            kind: SinkKind::OpenSearch(Box::new(opensearch::sink(*raw, path, context))),
        },
        raw::Sink::S3(raw) => Sink {
            best_effort: raw.best_effort.unwrap_or(false),
            buffer: raw.buffer.as_ref().map(|name| name.0.clone()),
            kind: SinkKind::S3(Box::new(s3::sink(*raw, path, context))),
        },
        raw::Sink::RemoteWrite(raw) => Sink {
            best_effort: raw.best_effort.unwrap_or(false),
            buffer: raw.buffer.as_ref().map(|name| name.0.clone()),
            kind: SinkKind::RemoteWrite(Box::new(remote_write::sink(*raw, path, context))),
        },
    }
}

/// Complains about secrets and certificates that cannot be had, whatever else may be wrong with their sinks.
pub(super) fn check_secrets(context: &mut Context<'_>) {
    opensearch::check_secrets(context);
    s3::check_secrets(context);
}

fn rotation(raw: &raw::Rotation, path: &KeyPath, context: &mut Context<'_>) -> Rotation {
    if raw.size.0 < MIN_ROTATED {
        let message = format!("must be at least {MIN_ROTATED}, found {}", raw.size.0);
        context.error(&path.key("size"), Complaint::new(message));
    }
    Rotation { size: raw.size.0, keep: raw.keep.unwrap_or(DEFAULT_KEEP) }
}

/// Two sinks must not write one file, and none may write what a source reads: that would never end.
pub(super) fn check_paths(
    sinks: &BTreeMap<Name, Sink>,
    sources: &BTreeMap<Name, Source>,
    context: &mut Context<'_>,
) {
    let mut writers: BTreeMap<PathBuf, &Name> = BTreeMap::new();
    for (name, sink) in sinks {
        let (at, path) = match &sink.kind {
            SinkKind::File(file) => (KeyPath::of(&["sinks", name, "path"]), &file.path),
            SinkKind::OpenSearch(sink) => match &sink.dead_letters {
                OpenSearchDeadLetters::File(Some(path)) => {
                    (KeyPath::of(&["sinks", name, "dead_letters", "file"]), path)
                }
                OpenSearchDeadLetters::File(None) | OpenSearchDeadLetters::Index(_) => continue,
            },
            SinkKind::Console | SinkKind::Blackhole | SinkKind::S3(_) | SinkKind::RemoteWrite(_) => {
                continue;
            }
        };
        let path = paths::normal(path);
        if let Some(reader) = sources.iter().find(|(_, source)| reads(source, &path)) {
            let message =
                format!("the source {} reads this file, so events would go round for ever", quoted(reader.0));
            let complaint = Complaint::new(message);
            context.error(&at, complaint.help("write elsewhere, or exclude the file from the source"));
        }
        if let Some(other) = writers.get(&path) {
            let message = format!("the sink {} writes the same file", quoted(other));
            context.error(&at, Complaint::new(message));
            continue;
        }
        writers.insert(path, name);
    }
}

fn reads(source: &Source, path: &Path) -> bool {
    match &source.kind {
        SourceKind::KubernetesLogs(logs) => path.starts_with(paths::normal(&logs.path)),
        SourceKind::File(files) => {
            let is_excluded = files.exclude.iter().any(|glob| glob.matcher().is_match(path));
            !is_excluded && files.include.iter().any(|glob| glob.matcher().is_match(path))
        }
        SourceKind::Forward(_)
        | SourceKind::Otlp(_)
        | SourceKind::Journald(_)
        | SourceKind::Scrape(_)
        | SourceKind::RemoteWrite(_) => false,
    }
}
