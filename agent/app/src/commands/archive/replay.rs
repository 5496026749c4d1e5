//! `weir archive replay`: brings events of an archive into a sink of the running agent.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use weir_archive::line::Line;
use weir_archive::{Chunk, Condition, Outcome, Reader};
use weir_config::{SinkKind, Size, parse_size};

use super::{Archive, Span, Summary, Which, code, condition, refuse, tell_damages};
use crate::admin::place::{self, Place};
use crate::admin::{client, replay as agent};
use crate::cli::Output;
use crate::output::{self, Format, grouped, size};

mod resume;

use resume::Kept;

/// Sent at once; a single event may be larger.
const CHUNK_BYTES: usize = 512 * 1024;
/// Between two tries while the sink's buffer is full.
const FULL_PAUSE: Duration = Duration::from_millis(500);
/// A buffer that stays full for so long has a sink that takes nothing.
const FULL_PATIENCE: Duration = Duration::from_secs(600);
/// How often is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  weir archive replay -c weir.yaml --from 2h --to 1h --to-sink search --dry-run
  weir archive replay -c weir.yaml --from 2h --to 1h --to-sink search --rate 10MiB
  weir archive replay -c weir.yaml --from 1d --where level=error --to-sink search --cursor at.json

The events go into the buffer of a sink of the running agent, behind what waits there already, with
the ids, times and indices that they would have had: into OpenSearch, one that is there already is
not doubled. They pass no pipeline, so no plugin. The ledger counts them as created, in the account
of the pipeline archive-replay. The sink needs a buffer with a disk; each part is on it, and in the
checkpoint, before the next one is sent. While the buffer is full, this waits.

With --cursor it can be ended at any time: the same command goes on behind what the agent has
taken. A time such as 1d stays what it was at the first start. The file is removed when all is
brought back.

Exit codes:
  0  all of it was brought back; with --dry-run: could be
  1  no agent runs, the sink takes nothing, the store does not answer, or something is damaged;
     it is named
  2  wrong usage";

/// Bring events back, through the running agent, into one of its sinks
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    span: Span,
    /// Only events whose field has this value; all must hold
    #[arg(long = "where", value_name = "PATH=VALUE", value_parser = condition)]
    conditions: Vec<Condition>,
    /// The sink of the same configuration that gets them
    #[arg(long, value_name = "NAME")]
    to_sink: String,
    /// So many bytes of events in a second at the most, such as 10MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    rate: Option<Size>,
    /// Keep in this file how far it is, and go on from there
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    /// Send nothing, only read and count what would be sent
    #[arg(long, conflicts_with = "cursor")]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Report {
    sink: String,
    /// Events that the agent has taken; with `--dry-run` those that it would have been sent.
    events: u64,
    /// Bytes of their documents.
    bytes: u64,
    dry_run: bool,
    /// What reading them came to.
    summary: Summary,
}

/// Events on their way to the agent.
struct Sending {
    place: Option<Place>,
    path: String,
    rate: Option<Size>,
    began: Instant,
    told: Instant,
    events: u64,
    bytes: u64,
}

/// Brings back.
pub fn run(arguments: &Arguments) -> ExitCode {
    let archive = match arguments.which.find() {
        Ok(archive) => archive,
        Err(code) => return code,
    };
    let mut sending = match Sending::new(&archive, arguments) {
        Ok(sending) => sending,
        Err(message) => return refuse(&message),
    };
    let replayed = archive.reader().and_then(|reader| replay(&archive, &reader, arguments, &mut sending));
    let outcome = match replayed {
        Ok(outcome) => outcome,
        Err(message) => return refuse(&format!("{message}; {}", sending.progress())),
    };
    let any = tell_damages(&outcome.damages, outcome.more_damages);
    let report = Report {
        sink: arguments.to_sink.clone(),
        events: sending.events,
        bytes: sending.bytes,
        dry_run: arguments.dry_run,
        summary: Summary::of(&outcome),
    };
    if arguments.output.output == Format::Json {
        return output::print(&output::json(&report), code(any));
    }
    output::tell(&report.summary.text());
    let done = match arguments.dry_run {
        true => "would be brought back into",
        false => "wait for",
    };
    let (events, bytes) = (grouped(report.events), size(report.bytes as f64));
    output::print(&format!("{events} events, {bytes}, {done} {}\n", report.sink), code(any))
}

fn replay(
    archive: &Archive,
    reader: &Reader,
    arguments: &Arguments,
    sending: &mut Sending,
) -> Result<Outcome, String> {
    let mut kept = Kept::begin(archive, arguments)?;
    let cursor = kept.cursor()?;
    let mut replay = reader.replay(&kept.selection(), cursor).map_err(|error| error.to_string())?;
    while let Some(chunk) = replay.next_chunk().map_err(|error| error.to_string())? {
        sending.send(&chunk)?;
        if let Some(path) = &arguments.cursor {
            kept.keep(path, &replay.cursor())?;
        }
    }
    if let Some(path) = &arguments.cursor {
        resume::remove(path)?;
    }
    Ok(replay.into_outcome())
}

// === impl Sending ===

impl Sending {
    fn new(archive: &Archive, arguments: &Arguments) -> Result<Sending, String> {
        let name = &arguments.to_sink;
        let Some(sink) = archive.config.sinks.get(name.as_str()) else {
            return Err(format!("the configuration has no sink called {name:?}"));
        };
        if matches!(sink.kind, SinkKind::S3(_)) {
            return Err(format!("{name} is an archive itself; events are not brought from one into another"));
        }
        if sink.buffer.is_none() {
            return Err(format!(
                "the sink {name} has no buffer, so nothing could say that events are safe; give it buffer: NAME"
            ));
        }
        let data_dir = &archive.config.data_dir;
        let place = match arguments.dry_run {
            true => None,
            false => Some(place::find(data_dir).ok_or_else(|| place::nobody(data_dir))?),
        };
        let (path, began) = (agent::path_of(name), Instant::now());
        Ok(Sending { place, path, rate: arguments.rate, began, told: began, events: 0, bytes: 0 })
    }

    fn send(&mut self, chunk: &Chunk) -> Result<(), String> {
        let mut lines = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        for event in &chunk.events {
            if !lines.is_empty() && lines.len() + Line::most_bytes(event.document.len()) > CHUNK_BYTES {
                self.send_part(
                    std::mem::take(&mut lines),
                    std::mem::take(&mut events),
                    std::mem::take(&mut bytes),
                )?;
            }
            Line { id: event.id, time: event.time, document: &event.document }.write(&mut lines);
            events += 1;
            bytes += event.document.len() as u64;
        }
        self.send_part(lines, events, bytes)
    }

    /// Sends one part; waits while the sink's buffer is full, and as long as the rate wants.
    fn send_part(&mut self, lines: Vec<u8>, events: u64, bytes: u64) -> Result<(), String> {
        if let Some(place) = &self.place {
            let since = Instant::now();
            while client::replay(place, &self.path, lines.clone())? == agent::Taken::Full {
                if since.elapsed() > FULL_PATIENCE {
                    let minutes = FULL_PATIENCE.as_secs() / 60;
                    return Err(format!("the sink's buffer has been full for {minutes} minutes"));
                }
                std::thread::sleep(FULL_PAUSE);
            }
        }
        self.events += events;
        self.bytes += bytes;
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            output::tell(&self.progress());
        }
        if let (Some(rate), Some(_)) = (self.rate, &self.place) {
            let due = Duration::from_secs_f64(self.bytes as f64 / rate.bytes().max(1) as f64);
            std::thread::sleep(due.saturating_sub(self.began.elapsed()));
        }
        Ok(())
    }

    fn progress(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        format!(
            "{} events, {} until now, {} a second",
            grouped(self.events),
            size(self.bytes as f64),
            size(self.bytes as f64 / seconds)
        )
    }
}
