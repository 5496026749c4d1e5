//! Sources.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{Context, parser, paths, scrape};
use crate::config::{
    FileFormat, FileSource, Following, ForwardSource, Joining, JournaldSource, KubernetesLogs, ListenTls,
    Listening, Multiline, OtlpSource, Parser, Preset, ReadFrom, RemoteWriteAuth, RemoteWriteSource, Secret,
    Source, SourceKind,
};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::text::quoted;
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
/// Fluent Bit's chunks have 2 MiB, fluentd's in memory 8 MiB; collectors send 4 MiB at the most.
const DEFAULT_MAX_MESSAGE: Size = Size::of_mib(8);
/// What Prometheus' own receiver takes, unpacked.
const DEFAULT_MAX_WRITE: Size = Size::of_mib(32);
const DEFAULT_WRITE_PATH: &str = "/api/v1/write";
const MIN_MAX_MESSAGE: Size = Size::of_bytes(64 * 1024);
/// fluentd's chunks in files have so much by default.
const MAX_MAX_MESSAGE: Size = Size::of_mib(256);
/// Some for each of the pods that a node may run.
const DEFAULT_MAX_CONNECTIONS: u32 = 1024;
/// Clients keep connections open between their batches.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const IDLE_TIMEOUTS: [(Duration, &str); 2] =
    [(Duration::from_secs(1), "1s"), (Duration::from_secs(86_400), "24h")];

pub(super) fn source(raw: raw::Source, name: &Name, path: &KeyPath, context: &mut Context<'_>) -> Source {
    match raw {
        raw::Source::KubernetesLogs(raw) => Source {
            parser: raw.parse.map_or(Parser::Json, parser),
            time_field: time_field(raw.time_field, path, context),
            kind: SourceKind::KubernetesLogs(KubernetesLogs {
                path: context
                    .absolute(raw.path.as_ref().map_or(Path::new(DEFAULT_LOGS_DIR), |path| &path.0.0)),
                exclude_namespaces: raw.exclude_namespaces.into_iter().map(|glob| glob.0).collect(),
                exclude_pods: raw.exclude_pods.into_iter().map(|glob| glob.0).collect(),
                following: Following {
                    read_from: read_from(raw.read_from),
                    linger: linger(raw.linger, path, context),
                    multiline: raw
                        .multiline
                        .and_then(|raw| multiline(raw, name, &path.key("multiline"), context)),
                    max_held_bytes: raw.max_held_bytes.map_or(DEFAULT_MAX_HELD_BYTES, |size| size.0),
                    max_held_age: raw.max_held_age.map_or(DEFAULT_MAX_HELD_AGE, |age| age.0),
                },
            }),
        },
        raw::Source::File(raw) => Source {
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
                following: Following {
                    read_from: read_from(raw.read_from),
                    linger: linger(raw.linger, path, context),
                    multiline: raw
                        .multiline
                        .and_then(|raw| multiline(raw, name, &path.key("multiline"), context)),
                    max_held_bytes: raw.max_held_bytes.map_or(DEFAULT_MAX_HELD_BYTES, |size| size.0),
                    max_held_age: raw.max_held_age.map_or(DEFAULT_MAX_HELD_AGE, |age| age.0),
                },
            }),
        },
        raw::Source::Forward(raw) => pushed(raw.time_field, path, context, |context| {
            let users = users(raw.users, &path.key("users"), context);
            let limits = Limits {
                max_message: raw.max_message,
                max_connections: raw.max_connections,
                max_rate: raw.max_rate,
                idle_timeout: raw.idle_timeout,
            };
            SourceKind::Forward(ForwardSource {
                listening: listening(raw.listen.0.0, raw.tls, limits, path, context),
                shared_key: raw.shared_key.map(|secret| context.secret(secret)),
                users,
            })
        }),
        raw::Source::Journald(raw) => Source {
            parser: Parser::Json,
            time_field: None,
            kind: SourceKind::Journald(journald(raw, path, context)),
        },
        raw::Source::Scrape(raw) => of_samples(SourceKind::Scrape(scrape::source(*raw, name, path, context))),
        raw::Source::RemoteWrite(raw) => {
            of_samples(SourceKind::RemoteWrite(remote_write(raw, path, context)))
        }
        raw::Source::Otlp(raw) => pushed(raw.time_field, path, context, |context| {
            let limits = Limits {
                max_message: raw.max_message,
                max_connections: raw.max_connections,
                max_rate: raw.max_rate,
                idle_timeout: raw.idle_timeout,
            };
            SourceKind::Otlp(OtlpSource {
                listening: listening(raw.listen.0.0, raw.tls, limits, path, context),
                bearer: raw.bearer.map(|secret| context.secret(secret)),
                trust_kubernetes: raw.trust_kubernetes.unwrap_or(false),
            })
        }),
    }
}

/// A source of samples, which are not parsed.
fn of_samples(kind: SourceKind) -> Source {
    Source { parser: Parser::Json, time_field: None, kind }
}

fn remote_write(raw: raw::RemoteWriteSource, path: &KeyPath, context: &mut Context<'_>) -> RemoteWriteSource {
    if raw.bearer.is_some() && raw.basic.is_some() {
        let complaint = Complaint::new("bearer and basic exclude each other").help("keep one of them");
        context.error(path, complaint);
    }
    let auth = match (raw.bearer, raw.basic) {
        (Some(token), _) => RemoteWriteAuth::Bearer(context.secret(token)),
        (None, Some(basic)) => {
            RemoteWriteAuth::Basic { username: basic.username.0.0, password: context.secret(basic.password) }
        }
        (None, None) => RemoteWriteAuth::None,
    };
    let limits = Limits {
        max_message: raw.max_message.or(Some(raw::Text(DEFAULT_MAX_WRITE))),
        max_connections: raw.max_connections,
        max_rate: raw.max_rate,
        idle_timeout: raw.idle_timeout,
    };
    RemoteWriteSource {
        listening: listening(raw.listen.0.0, raw.tls, limits, path, context),
        path: raw.path.map_or_else(|| DEFAULT_WRITE_PATH.to_owned(), |path| path.0.0),
        auth,
    }
}

fn users(raw: Vec<raw::BasicAuth>, path: &KeyPath, context: &mut Context<'_>) -> BTreeMap<String, Secret> {
    let mut users = BTreeMap::new();
    for (index, user) in raw.into_iter().enumerate() {
        let name = user.username.0.0;
        if users.contains_key(&name) {
            let complaint = Complaint::new(format!("the user {} is there twice", quoted(&name)));
            context.error(&path.index(index), complaint);
        }
        users.insert(name, context.secret(user.password));
    }
    users
}

fn journald(raw: raw::JournaldSource, path: &KeyPath, context: &mut Context<'_>) -> JournaldSource {
    JournaldSource {
        units: raw.units.into_iter().map(|unit| unit.0.0).collect(),
        identifiers: raw.identifiers.into_iter().map(|identifier| identifier.0.0).collect(),
        kernel: raw.kernel.unwrap_or(false),
        // In the order of their numbers.
        priority: raw.priority.map(|priority| priority as u8),
        directory: raw.directory.map(|directory| context.absolute(&directory.0.0)),
        namespace: raw.namespace.map(|namespace| namespace.0.0),
        all_fields: matches!(raw.fields, Some(raw::JournalFields::All)),
        extra_fields: raw.extra_fields.into_iter().map(|field| field.0.0).collect(),
        read_from: match raw.read_from {
            Some(raw::JournalReadFrom::Beginning) | None => ReadFrom::Beginning,
            Some(raw::JournalReadFrom::End) => ReadFrom::End,
        },
        linger: linger(raw.linger, path, context),
    }
}

/// A source whose events come as JSON objects.
fn pushed(
    field: Option<raw::Text<FieldPath>>,
    path: &KeyPath,
    context: &mut Context<'_>,
    kind: impl FnOnce(&mut Context<'_>) -> SourceKind,
) -> Source {
    Source { parser: Parser::Json, time_field: time_field(field, path, context), kind: kind(context) }
}

/// What a client may do, as it was written.
struct Limits {
    max_message: Option<raw::Text<Size>>,
    max_connections: Option<u32>,
    max_rate: Option<raw::Text<Size>>,
    idle_timeout: Option<raw::Text<Duration>>,
}

fn listening(
    listen: SocketAddr,
    tls: Option<raw::ListenTls>,
    limits: Limits,
    path: &KeyPath,
    context: &mut Context<'_>,
) -> Listening {
    let max_message = limits.max_message.map_or(DEFAULT_MAX_MESSAGE, |size| size.0);
    if !(MIN_MAX_MESSAGE..=MAX_MAX_MESSAGE).contains(&max_message) {
        let message = format!("must be from {MIN_MAX_MESSAGE} to {MAX_MAX_MESSAGE}, found {max_message}");
        context.error(&path.key("max_message"), Complaint::new(message));
    }
    let idle_timeout = limits.idle_timeout.map_or(DEFAULT_IDLE_TIMEOUT, |timeout| timeout.0);
    context.within(idle_timeout, IDLE_TIMEOUTS, &path.key("idle_timeout"));
    Listening {
        listen,
        tls: tls.map(|tls| ListenTls {
            certificate: context.absolute(&tls.cert.file.0.0),
            key: context.absolute(&tls.key.file.0.0),
            client_ca: tls.client_ca.map(|ca| context.absolute(&ca.file.0.0)),
        }),
        max_message,
        max_connections: limits.max_connections.unwrap_or(DEFAULT_MAX_CONNECTIONS),
        max_rate: limits.max_rate.map(|rate| rate.0),
        idle_timeout,
    }
}

/// Complains about secrets and certificates that cannot be had, and about what cannot be together, whatever else may be
/// wrong with their sources.
pub(super) fn check_secrets(context: &mut Context<'_>) {
    let section = KeyPath::of(&["sources"]);
    let tree = context.tree;
    for source in tree.entry("sources").into_iter().flat_map(|entry| entry.value.entries()) {
        let at = section.key(&source.key);
        context.check_given(&source.value, &at, &["shared_key", "users", "bearer", "basic"], &["tls"]);
        scrape::check_secrets(&source.value, &at, context);
        if source.value.entry("users").is_some() && source.value.entry("shared_key").is_none() {
            let complaint = Complaint::new("users need shared_key: without it nobody is asked who they are");
            context.error(&at.key("users"), complaint.help("give shared_key: {file: PATH} or {env: NAME}"));
        }
    }
}

/// Two sources cannot listen at one address.
pub(super) fn check_addresses(sources: &BTreeMap<Name, Source>, context: &mut Context<'_>) {
    let mut listeners: BTreeMap<SocketAddr, &Name> = BTreeMap::new();
    for (name, source) in sources {
        let Some(listening) = source.listening().filter(|listening| listening.listen.port() != 0) else {
            continue;
        };
        if let Some(other) = listeners.insert(listening.listen, name) {
            let message = format!("the source {} listens at this address", quoted(other));
            context.error(&KeyPath::of(&["sources", name, "listen"]), Complaint::new(message));
        }
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
