//! The agent's own log: to standard error, for people on a terminal, else as one JSON object a line.

mod writer;

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use writer::LogWriter;

/// `text` or `json`, in place of what standard error suggests.
const FORMAT_VARIABLE: &str = "WEIR_LOG_FORMAT";
/// What is logged: a level, or directives such as `info,weir_tail=debug`.
const LEVEL_VARIABLE: &str = "WEIR_LOG";
// What hands out keys says on each of them who it is.
const DEFAULT_LEVEL: &str = "info,aws_config=warn";

/// The way out, once the log is started.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// How a log record looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

/// Starts the log. A setting that makes no sense is told in it and otherwise ignored: it must not keep an agent from
/// its work.
pub fn start() {
    let (format, odd_format) =
        format(std::env::var(FORMAT_VARIABLE).ok().as_deref(), io::stderr().is_terminal());
    let (filter, odd_level) = filter(std::env::var(LEVEL_VARIABLE).ok().as_deref());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(way_out(format))
        .with_ansi(crate::output::takes_colour(&io::stderr()))
        // It would be told on standard error, which just failed, and fail the thread that logs.
        .log_internal_errors(false);
    // Only a second start could fail, and there is none.
    let _ = match format {
        Format::Text => builder.with_target(false).try_init(),
        Format::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    for complaint in odd_format.into_iter().chain(odd_level) {
        tracing::warn!("{complaint}");
    }
}

/// Waits a moment for what was logged last.
pub fn finish() {
    if let Some(writer) = WRITER.get() {
        writer.finish();
    }
}

/// Where no thread can be started, standard error itself.
fn way_out(format: Format) -> BoxMakeWriter {
    match LogWriter::start(io::stderr(), dropped(format)) {
        Ok(writer) => {
            let writer = WRITER.get_or_init(|| writer).clone();
            BoxMakeWriter::new(move || writer.clone())
        }
        Err(_) => BoxMakeWriter::new(io::stderr),
    }
}

/// How so many lines that were dropped are told.
fn dropped(format: Format) -> fn(u64) -> String {
    match format {
        Format::Text => {
            |lines| format!(" WARN lines of this log were dropped: nobody read them lines={lines}\n")
        }
        Format::Json => |lines| {
            let message = "lines of this log were dropped: nobody read them";
            let record = serde_json::json!({"level": "WARN", "message": message, "lines": lines});
            format!("{record}\n")
        },
    }
}

fn format(wanted: Option<&str>, is_terminal: bool) -> (Format, Option<String>) {
    let usual = if is_terminal { Format::Text } else { Format::Json };
    match wanted {
        Some("text") => (Format::Text, None),
        Some("json") => (Format::Json, None),
        None | Some("") => (usual, None),
        Some(other) => (usual, Some(format!("{FORMAT_VARIABLE}={other} is not known; use text or json"))),
    }
}

fn filter(wanted: Option<&str>) -> (EnvFilter, Option<String>) {
    let usual = || EnvFilter::new(DEFAULT_LEVEL);
    match wanted.filter(|wanted| !wanted.is_empty()).map(|wanted| (wanted, EnvFilter::try_new(wanted))) {
        None => (usual(), None),
        Some((_, Ok(filter))) => (filter, None),
        Some((wanted, Err(_))) => {
            let help = "use error, warn, info, debug, trace, or directives such as info,weir_tail=debug";
            (usual(), Some(format!("{LEVEL_VARIABLE}={wanted} is not known; {help}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_text_and_programs_json_unless_told_otherwise() {
        let cases = [
            (None, true, Format::Text, false),
            (None, false, Format::Json, false),
            (Some(""), false, Format::Json, false),
            (Some("text"), false, Format::Text, false),
            (Some("json"), true, Format::Json, false),
            (Some("xml"), true, Format::Text, true),
        ];
        for (wanted, is_terminal, expected, complains) in cases {
            let (format, complaint) = format(wanted, is_terminal);
            assert_eq!((format, complaint.is_some()), (expected, complains), "{wanted:?}");
        }
    }

    #[test]
    fn an_odd_level_is_told_and_info_taken() {
        let cases = [
            (None, "aws_config=warn,info", false),
            (Some("debug"), "debug", false),
            (Some("warn,weir_tail=debug"), "weir_tail=debug,warn", false),
            (Some("a=b=c"), "aws_config=warn,info", true),
        ];
        for (wanted, expected, complains) in cases {
            let (filter, complaint) = filter(wanted);
            assert_eq!(
                (filter.to_string().as_str(), complaint.is_some()),
                (expected, complains),
                "{wanted:?}"
            );
        }
    }
}
