//! `weir plugin diff`: which events two versions treat differently, and what the new one wants beyond the old one.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use weir_plugin_kit::diff::{Comparison, Input, compare};

use super::sandbox;
use super::test::cut;
use crate::cli::Output;
use crate::output::{self, Format, Painter, Style};

/// More would scroll the summary away; the JSON has up to a hundred.
const MAX_SHOWN: usize = 10;

const EXAMPLES: &str = "\
Examples:
  weir plugin diff geo-tags-1.2.0.wasm geo-tags.wasm --traffic traffic.ndjson
  weir plugin diff old.wasm new.wasm --traffic traffic.ndjson --config config.json --output json

The events are lines, or as `weir tap --record` writes them. Both versions run in the real host, one
after the other on the same events.

Exit codes:
  0  the same: every event comes out alike, and the new one may do nothing more
  1  different, or it could not be found out
  2  wrong usage";

/// Show which events two versions treat differently, and what the new one may do that the old one may not
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The old component
    old: PathBuf,
    /// The new component
    new: PathBuf,
    /// Events to hand both
    #[arg(long, value_name = "FILE")]
    traffic: PathBuf,
    /// The configuration of both, as JSON [default: {}]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// Compares them.
pub fn run(arguments: &Arguments) -> ExitCode {
    let found = match find(arguments) {
        Ok(found) => found,
        Err(message) => {
            output::complain(&message);
            return ExitCode::FAILURE;
        }
    };
    let code = if found.is_same() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match arguments.output.output {
        Format::Json => output::print(&output::json(&found), code),
        Format::Text => output::print(&describe(&found, Painter::stdout()), code),
    }
}

fn find(arguments: &Arguments) -> Result<Comparison, String> {
    let (old, new) = (sandbox::read(&arguments.old)?, sandbox::read(&arguments.new)?);
    let config = match &arguments.config {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| format!("failed to read {}: {error}", file.display()))?,
        None => "{}".to_owned(),
    };
    let input = Input { config: &config, traffic: &arguments.traffic };
    compare(&sandbox::open()?, &old, &new, input).map_err(|error| error.to_string())
}

fn describe(found: &Comparison, painter: Painter) -> String {
    let mut text = String::new();
    for changed in found.shown.iter().take(MAX_SHOWN) {
        text += &format!("event {}  {}\n", changed.line, painter.paint(Style::Dim, cut(&changed.event)));
        text += &format!("  {} {}\n", painter.paint(Style::Red, "- old"), cut(&changed.old.to_string()));
        text += &format!("  {} {}\n", painter.paint(Style::Green, "+ new"), cut(&changed.new.to_string()));
        for member in &changed.members {
            text += &format!("      {}\n", cut(member));
        }
    }
    if found.different > MAX_SHOWN as u64 {
        text += &format!("and {} more\n", output::grouped(found.different - MAX_SHOWN as u64));
    }
    let (events, different) = (output::grouped(found.events), output::grouped(found.different));
    text += &match found.different {
        0 => format!("{events} events come out alike\n"),
        _ => format!("{different} of {events} events come out differently\n"),
    };
    for (kind, count) in &found.by_kind {
        text += &format!("  {:>8}  {}\n", output::grouped(*count), cut(kind));
    }
    for line in &found.manifest {
        text += &format!("manifest: {}\n", cut(line));
    }
    for line in &found.grown {
        text += &format!("{} {}\n", painter.paint(Style::Yellow, "the new one"), cut(line));
    }
    text
}
