//! Sources.

use std::path::Path;
use std::time::Duration;

use super::{Context, parser, paths};
use crate::config::{
    FileFormat, FileSource, Joining, KubernetesLogs, Multiline, Parser, Preset, ReadFrom, Source, SourceKind,
};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::types::{FieldPath, Glob, Name, Size};

const DEFAULT_LOGS_DIR: &str = "/var/log/pods";
const DEFAULT_LINGER: Duration = Duration::from_millis(200);
/// Longer waits help nobody and delay what the agent does at its end.
const MAX_LINGER: Duration = Duration::from_secs(60);
/// A kubelet keeps five files of 10 MiB: this is room for 20 containers whose rotated files are all gone unread, and
/// little beside the disk of a node.
const DEFAULT_MAX_HELD_BYTES: Size = Size::of_mib(1024);
/// Longer than a restart of the sink or the upgrade of a node takes, and short of a night in which nobody looks.
const DEFAULT_MAX_HELD_AGE: Duration = Duration::from_secs(3_600);
/// The lines of one trace come within milliseconds.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// An event that waits for longer is of no use to who watches.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// The deepest stacks that runtimes print by default have 1,024 frames (Java) or 100 (Go); most have fewer than 200.
const DEFAULT_MAX_LINES: usize = 500;
/// No event is larger.
const MAX_JOINED_BYTES: Size = Size::of_mib(2);

pub(super) fn source(raw: raw::Source, name: &Name, path: &KeyPath, context: &mut Context<'_>) -> Source {
    match raw {
        raw::Source::KubernetesLogs(raw) => Source {
            read_from: read_from(raw.read_from),
            linger: linger(raw.linger, path, context),
            parser: raw.parse.map_or(Parser::Json, parser),
            time_field: time_field(raw.time_field, path, context),
            multiline: raw.multiline.and_then(|raw| multiline(raw, name, &path.key("multiline"), context)),
            max_held_bytes: raw.max_held_bytes.map_or(DEFAULT_MAX_HELD_BYTES, |size| size.0),
            max_held_age: raw.max_held_age.map_or(DEFAULT_MAX_HELD_AGE, |age| age.0),
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
            multiline: raw.multiline.and_then(|raw| multiline(raw, name, &path.key("multiline"), context)),
            max_held_bytes: raw.max_held_bytes.map_or(DEFAULT_MAX_HELD_BYTES, |size| size.0),
            max_held_age: raw.max_held_age.map_or(DEFAULT_MAX_HELD_AGE, |age| age.0),
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

fn multiline(
    raw: raw::Multiline,
    name: &Name,
    path: &KeyPath,
    context: &mut Context<'_>,
) -> Option<Multiline> {
    let timeout = raw.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
    context.at_most(timeout, MAX_TIMEOUT, "60s", &path.key("timeout"));
    let max_bytes = raw.max_bytes.map_or(MAX_JOINED_BYTES, |size| size.0);
    if max_bytes > MAX_JOINED_BYTES {
        let complaint = Complaint::new(format!("must be at most {MAX_JOINED_BYTES}"));
        context.error(&path.key("max_bytes"), complaint.help("larger events are cut in any case"));
    }
    let preset = |preset: &raw::Preset| match preset {
        raw::Preset::Java => Preset::Java,
        raw::Preset::Python => Preset::Python,
        raw::Preset::Go => Preset::Go,
        raw::Preset::Dotnet => Preset::Dotnet,
    };
    let joining = match (raw.preset, raw.start) {
        (Some(presets), None) => Joining::Presets(presets.iter().map(preset).collect()),
        (None, Some(start)) => Joining::Start(start.0),
        (Some(_), Some(_)) => {
            let complaint = Complaint::new("preset and start exclude each other");
            context.error(path, complaint.help("take preset for stack traces, start for an own format"));
            return None;
        }
        // What is given and wrong was said already.
        (None, None) if ["preset", "start"].iter().any(|key| is_given(context, name, key)) => return None,
        (None, None) => {
            let complaint = Complaint::new("it does not say which lines belong together");
            context
                .error(path, complaint.help("give preset: [java, python, go, dotnet], or start: '^\\d{4}-'"));
            return None;
        }
    };
    let max_lines = raw.max_lines.map_or(DEFAULT_MAX_LINES, |lines| lines as usize);
    Some(Multiline { joining, timeout, max_lines, max_bytes })
}

/// Whether a key stands below a source's `multiline`, with whatever value.
fn is_given(context: &Context<'_>, name: &Name, key: &str) -> bool {
    let mut at = Some(context.tree);
    for step in ["sources", name, "multiline", key] {
        at = at.and_then(|node| node.entry(step)).map(|entry| &entry.value);
    }
    at.is_some()
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
