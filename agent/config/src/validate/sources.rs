//! Sources.

use std::path::Path;
use std::time::Duration;

use super::{Context, parser, paths};
use crate::config::{FileFormat, FileSource, KubernetesLogs, Parser, ReadFrom, Source, SourceKind};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::types::{FieldPath, Glob, Name};

const DEFAULT_LOGS_DIR: &str = "/var/log/pods";
const DEFAULT_LINGER: Duration = Duration::from_millis(200);
/// Longer waits help nobody and delay what the agent does at its end.
const MAX_LINGER: Duration = Duration::from_secs(60);

pub(super) fn source(raw: raw::Source, _: &Name, path: &KeyPath, context: &mut Context<'_>) -> Source {
    match raw {
        raw::Source::KubernetesLogs(raw) => Source {
            read_from: read_from(raw.read_from),
            linger: linger(raw.linger, path, context),
            parser: raw.parse.map_or(Parser::Json, parser),
            time_field: time_field(raw.time_field, path, context),
            kind: SourceKind::KubernetesLogs(KubernetesLogs {
                path: context
                    .absolute(raw.path.as_ref().map_or(Path::new(DEFAULT_LOGS_DIR), |path| &path.0.0)),
                exclude_namespaces: raw.exclude_namespaces.into_iter().map(|glob| glob.0).collect(),
                exclude_pods: raw.exclude_pods.into_iter().map(|glob| glob.0).collect(),
            }),
        },
        raw::Source::File(raw) => Source {
            read_from: read_from(raw.read_from),
            linger: linger(raw.linger, path, context),
            parser: raw.parse.map_or(Parser::Json, parser),
            time_field: time_field(raw.time_field, path, context),
            kind: SourceKind::File(FileSource {
                include: globs(raw.include, &path.key("include"), context),
                exclude: globs(raw.exclude, &path.key("exclude"), context),
                format: match raw.format {
                    Some(raw::FileFormat::Cri) => FileFormat::Cri,
                    Some(raw::FileFormat::Json) => FileFormat::Json,
                    Some(raw::FileFormat::Text) | None => FileFormat::Text,
                },
            }),
        },
    }
}

fn read_from(raw: Option<raw::ReadFrom>) -> ReadFrom {
    match raw {
        Some(raw::ReadFrom::Beginning) | None => ReadFrom::Beginning,
        Some(raw::ReadFrom::End) => ReadFrom::End,
    }
}

fn time_field(
    raw: Option<raw::Text<FieldPath>>,
    path: &KeyPath,
    context: &mut Context<'_>,
) -> Option<String> {
    let field = raw?.0.0;
    if field == "*" {
        let complaint = Complaint::new("the whole event is no time").help("name a member, such as `time`");
        context.error(&path.key("time_field"), complaint);
    }
    Some(field)
}

fn linger(raw: Option<raw::Text<Duration>>, path: &KeyPath, context: &mut Context<'_>) -> Duration {
    let linger = raw.map_or(DEFAULT_LINGER, |linger| linger.0);
    context.at_most(linger, MAX_LINGER, "60s", &path.key("linger"));
    linger
}

fn globs(raw: Vec<raw::Text<Glob>>, path: &KeyPath, context: &mut Context<'_>) -> Vec<Glob> {
    let mut globs = Vec::with_capacity(raw.len());
    for (index, pattern) in raw.iter().enumerate() {
        match paths::absolute_glob(context.base_dir, &pattern.0) {
            Ok(glob) => globs.push(glob),
            Err(complaint) => context.error(&path.index(index), complaint),
        }
    }
    globs
}
