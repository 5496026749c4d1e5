//! `weir archive …`: what the sinks `s3` of a configuration wrote, on all nodes of its cluster. One file for each command,
//! which has its own arguments and help. All but `replay` read the object store alone, and need no agent.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use weir_archive::{Condition, Damage, DamageKind, Outcome, Reader, Selection};
use weir_config::{Config, Name, S3Sink, SinkKind};

use crate::cli::ConfigPath;
use crate::output::{self, grouped, size};
use crate::sinks::archive_reader;

mod lifecycle;
mod list;
mod replay;
mod search;
mod when;

use when::When;

/// The commands.
#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    List(list::Arguments),
    Search(search::Arguments),
    Replay(replay::Arguments),
    Lifecycle(lifecycle::Arguments),
}

/// Which archive.
#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    config: ConfigPath,
    /// The sink that writes the archive; may be left out where there is only one of the type s3
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
}

/// Which part of it.
#[derive(Debug, Args)]
struct Span {
    /// The first time: 2026-11-23T14:05:00Z, 2026-11-23T14, 2026-11-23, all UTC, or so long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    from: When,
    /// The first time that is not wanted any more
    #[arg(long, value_name = "TIME", value_parser = When::parse, default_value = "now")]
    to: When,
    /// Only this namespace; may be given several times. '' is for events that have none
    #[arg(long, value_name = "NAME")]
    namespace: Vec<String>,
}

/// An archive that was found in a configuration.
struct Archive {
    config: Config,
    /// The sink that writes it.
    name: Name,
    sink: S3Sink,
}

/// What reading came to, as `--output json` prints it.
#[derive(Debug, Serialize)]
struct Summary {
    hours: u64,
    objects: u64,
    objects_skipped: u64,
    frames: u64,
    frames_read: u64,
    bytes_read: u64,
    events_read: u64,
    events: u64,
    duplicates: u64,
    /// Events of which a copy may have been given too.
    forgotten: u64,
    damages: Vec<DamageView>,
    more_damages: u64,
}

/// Something that is damaged or missing.
#[derive(Debug, Serialize)]
struct DamageView {
    kind: &'static str,
    key: String,
    message: String,
}

/// Does what the command line says.
pub fn run(command: ArchiveCommand) -> ExitCode {
    match command {
        ArchiveCommand::List(arguments) => list::run(&arguments),
        ArchiveCommand::Search(arguments) => search::run(&arguments),
        ArchiveCommand::Replay(arguments) => replay::run(&arguments),
        ArchiveCommand::Lifecycle(arguments) => lifecycle::run(&arguments),
    }
}

fn refuse(message: &str) -> ExitCode {
    output::complain(message);
    ExitCode::FAILURE
}

/// Reads `path=value`.
fn condition(text: &str) -> Result<Condition, String> {
    let condition = Condition::parse(text).ok_or("expected PATH=VALUE, such as trace_id=4bf92f35")?;
    weir_event::path::check(&condition.field).map_err(|error| error.to_string())?;
    Ok(condition)
}

// === impl Which ===

impl Which {
    /// Finds the archive; says what is wrong where there is none.
    fn find(&self) -> Result<Archive, ExitCode> {
        let (config, _) = weir_config::load(&self.config.config).map_err(|errors| {
            output::complain_of_config(&errors.0);
            ExitCode::FAILURE
        })?;
        Archive::of(config, self.sink.as_deref()).map_err(|message| refuse(&message))
    }
}

// === impl Span ===

impl Span {
    fn selection(&self, conditions: &[Condition]) -> Selection {
        Selection {
            from: self.from.time,
            to: self.to.time,
            namespaces: self.namespace.clone(),
            conditions: conditions.to_vec(),
        }
    }
}

// === impl Archive ===

impl Archive {
    /// The archive of this sink, or of the only one.
    fn of(config: Config, wanted: Option<&str>) -> Result<Archive, String> {
        let mut found = config.sinks.iter().filter_map(|(name, sink)| match &sink.kind {
            SinkKind::S3(sink) if wanted.is_none_or(|wanted| wanted == &**name) => Some((name, sink)),
            _ => None,
        });
        let one = found.next();
        let others: Vec<&str> = found.map(|(name, _)| &**name).collect();
        match (one, wanted) {
            (Some((name, sink)), _) if others.is_empty() => {
                let (name, sink) = (name.clone(), S3Sink::clone(sink));
                Ok(Archive { config, name, sink })
            }
            (Some((name, _)), _) => Err(format!(
                "the configuration has several sinks of the type s3; choose one with --sink: {name}, {}",
                others.join(", ")
            )),
            (None, Some(wanted)) => {
                Err(format!("the configuration has no sink of the type s3 called {wanted:?}"))
            }
            (None, None) => Err("the configuration has no sink of the type s3".to_owned()),
        }
    }

    fn reader(&self) -> Result<Reader, String> {
        archive_reader(&self.sink, &self.config).map_err(|error| error.to_string())
    }
}

// === impl Summary ===

impl Summary {
    fn of(outcome: &Outcome) -> Summary {
        Summary {
            hours: outcome.hours,
            objects: outcome.objects,
            objects_skipped: outcome.objects_skipped,
            frames: outcome.frames,
            frames_read: outcome.frames_read,
            bytes_read: outcome.bytes_read,
            events_read: outcome.events_read,
            events: outcome.events,
            duplicates: outcome.duplicates,
            forgotten: outcome.forgotten,
            damages: views(&outcome.damages),
            more_damages: outcome.more_damages,
        }
    }

    /// What it cost to find so much, in a few lines for people.
    fn text(&self) -> String {
        let mut text = format!(
            "{} events; {} of {} frames read, in {} objects ({} passed over by their index) of {} hours; {}",
            grouped(self.events),
            grouped(self.frames_read),
            grouped(self.frames),
            grouped(self.objects),
            grouped(self.objects_skipped),
            grouped(self.hours),
            size(self.bytes_read as f64),
        );
        if self.duplicates > 0 {
            text += &format!("; {} copies left out", grouped(self.duplicates));
        }
        if self.forgotten > 0 {
            text += &format!("; up to {} events may be there twice", grouped(self.forgotten));
        }
        text
    }
}

// --- damage ---

/// Names what is damaged; whether anything is that keeps events away or makes them hard to find.
fn tell_damages(damages: &[Damage], more: u64) -> bool {
    let mut any = more > 0;
    for Damage { kind, key, message } in damages {
        // It was read, and may have been stored a moment ago.
        if *kind == DamageKind::Unindexed {
            output::note(&format!("{key}: {message}"));
            continue;
        }
        any = true;
        output::complain(&format!("{key}: {message}"));
    }
    if more > 0 {
        output::complain(&format!("{} more are damaged or missing", grouped(more)));
    }
    any
}

/// Failure where something is damaged.
fn code(any: bool) -> ExitCode {
    if any { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn views(damages: &[Damage]) -> Vec<DamageView> {
    let view = |damage: &Damage| DamageView {
        kind: match damage.kind {
            DamageKind::Index => "index",
            DamageKind::Missing => "missing",
            DamageKind::Unindexed => "unindexed",
            DamageKind::Object => "object",
            DamageKind::Frame => "frame",
        },
        key: damage.key.clone(),
        message: damage.message.clone(),
    };
    damages.iter().map(view).collect()
}

#[cfg(test)]
mod tests;
