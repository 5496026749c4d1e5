//! `weir archive search`: the events of an archive for which conditions hold.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use weir_archive::{Condition, Event};

use super::{Span, Summary, Which, code, condition, refuse, tell_damages};
use crate::cli::Output;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  weir archive search -c weir.yaml --from 2h --where trace_id=4bf92f3577b34da6a3ce929d0e0e4736
  weir archive search -c weir.yaml --from 1d --namespace shop --where level=error | jq .message
  weir archive search -c weir.yaml --from 1d --where user.id=4711 --limit 100 --output json

Each event is a line on standard output, as it was written; what was read for it is told on
standard error. With --output json a line has id, time, namespace and document, and the last line
is {\"summary\":{…}}. Events come by namespace and hour, each once. Those that are younger than the
sink's max_object_age may not be there yet.

A condition compares a field's value as text: strings without escapes, numbers and booleans as they
are written, any of those in an array. Fields among the sink's index_fields are found without
reading everything; for others, every event of the time is read.

Exit codes:
  0  searched, whether something was found or not
  1  the store does not answer, or something is damaged or missing; it is named
  2  wrong usage";

/// Print the events for which conditions hold
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
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    output: Output,
}

/// Searches.
pub fn run(arguments: &Arguments) -> ExitCode {
    let archive = match arguments.which.find() {
        Ok(archive) => archive,
        Err(code) => return code,
    };
    let reader = match archive.reader() {
        Ok(reader) => reader,
        Err(message) => return refuse(&message),
    };
    let format = arguments.output.output;
    let is_watched = io::stdout().is_terminal();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut failed = None;
    let selection = arguments.span.selection(&arguments.conditions);
    let searched = reader.search(&selection, arguments.limit.unwrap_or(u64::MAX), |namespace, event| {
        let written = match format {
            Format::Json => write_json(&mut out, namespace, &event),
            Format::Text => out.write_all(&event.document).and_then(|()| out.write_all(b"\n")),
        };
        // Who looks on sees at once what is found.
        let written = written.and_then(|()| if is_watched { out.flush() } else { Ok(()) });
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    let outcome = match searched {
        Ok(outcome) => outcome,
        Err(error) => {
            // What was found until then is right.
            let _ = out.flush();
            return refuse(&error.to_string());
        }
    };
    let summary = Summary::of(&outcome);
    let ended = match failed {
        Some(error) => Err(error),
        None => match format {
            Format::Json => writeln!(out, "{}", json!({ "summary": summary })),
            Format::Text => Ok(()),
        },
    };
    match ended.and_then(|()| out.flush()) {
        // A reader that has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
        Err(error) => return refuse(&format!("cannot write to standard output: {error}")),
        Ok(()) => {}
    }
    let any = tell_damages(&outcome.damages, outcome.more_damages);
    if format == Format::Text {
        output::tell(&summary.text());
    }
    code(any)
}

/// `{"id":…,"time":…,"namespace":…,"document":…}`, the document byte for byte.
pub(super) fn write_json(out: &mut impl Write, namespace: &str, event: &Event) -> io::Result<()> {
    let mut time = Vec::new();
    weir_event::time::write_rfc3339(&mut time, event.time);
    let time = String::from_utf8_lossy(&time);
    let namespace = serde_json::Value::from(namespace);
    write!(
        out,
        "{{\"id\":\"{}\",\"time\":\"{time}\",\"namespace\":{namespace},\"document\":",
        event.id.text()
    )?;
    out.write_all(&event.document)?;
    out.write_all(b"}\n")
}
