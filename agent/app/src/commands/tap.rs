//! `weir tap`: events on their way through the running agent, shown or recorded.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use weir_plugin_kit::redact::Redactor;

use crate::admin::client::{self, Followed};
use crate::admin::place;
use crate::admin::tap::{Condition, Counts, End, Event, Line, Question};
use crate::cli::{DataPlace, Output};
use crate::output::{self, Format, Painter, Style};

mod record;

use record::Recording;

const EXAMPLES: &str = "\
Examples:
  weir tap -c weir.yaml                               What becomes of every event, as it happens
  weir tap -c weir.yaml app-logs --after sampler --limit 20
  weir tap -c weir.yaml --where kubernetes.namespace=shop --where level!=info
  weir tap -c weir.yaml --after source --for 30s --output json | jq .document
  weir tap -c weir.yaml app-logs --record shop.events.ndjson --redact --limit 500

Without --after an event is shown where it ends: behind the last stage, or at the stage that dropped
it, as it came there. `source` is before all stages.

The agent is never held up: it shows 2,000 events a second at the most, and what is left out
beyond that, or because this command is slow, is counted and said at the end. With --where it
looks at 10,000 a second to find those to show, and at none of streams that cannot fit (by
cluster, node, stream, kubernetes.*). A tap goes on over a reload.

--record writes events as they were read, for `weir plugin test`, `bench` and `diff`. With --redact
values are replaced by others of the same kind and length, the same for the same value within one
recording; levels, times and names of members stay, and what --keep names. Read a recording before
you give it away: names of members stay as they are.

Exit codes:
  0  ended by --limit, --for, an interrupt, or because agent or pipeline ended
  1  no agent runs, there is no such pipeline or stage, or the file cannot be written
  2  wrong usage";

/// Show events on their way through the running agent, or record them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The pipeline; all of them where it is left out
    pipeline: Option<String>,
    #[command(flatten)]
    place: DataPlace,
    /// Show events behind this stage; `source` is before all of them
    #[arg(long, value_name = "STAGE|source")]
    after: Option<String>,
    /// Only events whose document has this value, or has it not (path!=value); all must hold
    #[arg(long = "where", value_name = "PATH=VALUE")]
    conditions: Vec<Condition>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End after so long, such as 30s
    #[arg(long = "for", value_name = "DURATION", value_parser = weir_config::parse_duration)]
    duration: Option<Duration>,
    /// Look at this share of the events only, by chance
    #[arg(long, value_name = "SHARE", value_parser = share)]
    sample: Option<f64>,
    /// Write the events into a new file, as they were read, instead of showing them
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Replace values, so that only the shape of the events is shown or recorded
    #[arg(long)]
    redact: bool,
    /// With --redact: leave the values at this path as they are; attributes.NAME for an attribute of the stream
    #[arg(long, value_name = "PATH", requires = "redact")]
    keep: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// What is done with an event.
enum Target {
    Screen { format: Format, painter: Painter },
    File(Recording),
}

/// One that shows or records.
struct Watching {
    target: Target,
    redactor: Option<Redactor>,
    written: u64,
    counts: Counts,
    end: Option<End>,
    /// Why it cannot go on; empty where nobody reads any more.
    failed: Option<String>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "expected a share above 0, and 1 at the most, such as 0.01".to_owned())
}

/// Shows or records until it is over.
pub fn run(arguments: Arguments) -> ExitCode {
    let format = arguments.output.output;
    let question = Question {
        pipeline: arguments.pipeline,
        after: arguments.after,
        conditions: arguments.conditions,
        limit: arguments.limit,
        seconds: arguments.duration.map(|duration| duration.as_secs_f64()),
        share: arguments.sample,
        text: arguments.record.is_some(),
    };
    let data_dir = match arguments.place.folder() {
        Ok(data_dir) => data_dir,
        Err(code) => return code,
    };
    // Made for this run, and forgotten with it.
    let redactor = arguments.redact.then(|| Redactor::new(rand::random(), arguments.keep));
    let watched = watch(&data_dir, &question, arguments.record.as_deref(), redactor, format);
    match watched {
        Ok(watching) => watching.finish(format),
        Err(message) => {
            output::complain(&message);
            ExitCode::FAILURE
        }
    }
}

fn watch(
    data_dir: &Path,
    question: &Question,
    record: Option<&Path>,
    redactor: Option<Redactor>,
    format: Format,
) -> Result<Watching, String> {
    let place = place::find(data_dir).ok_or_else(|| place::nobody(data_dir))?;
    let target = match record {
        Some(path) => Target::File(Recording::create(path)?),
        None => Target::Screen { format, painter: Painter::stdout() },
    };
    let mut watching =
        Watching { target, redactor, written: 0, counts: Counts::default(), end: None, failed: None };
    let json = serde_json::to_vec(question).map_err(|error| error.to_string())?;
    let followed = client::follow(&place, "/api/tap", json, &mut |line| watching.take(line));
    match followed {
        Ok(Followed::Ended) if watching.end.is_none() => {
            Err(format!("the agent at {} broke off; {}", place.address, watching.summary()))
        }
        Ok(_) => match watching.failed.take() {
            Some(message) if !message.is_empty() => Err(message),
            _ => Ok(watching),
        },
        Err(error) if watching.written > 0 => {
            Err(format!("the agent at {} broke off: {error}; {}", place.address, watching.summary()))
        }
        Err(error) => {
            if let Target::File(recording) = &watching.target {
                recording.remove();
            }
            Err(format!("the agent at {} shows nothing: {error}", place.address))
        }
    }
}

// === impl Watching ===

impl Watching {
    fn take(&mut self, line: &[u8]) -> ControlFlow<()> {
        let taken = match serde_json::from_slice(line) {
            Ok(Line::Event(event)) => self.event(*event),
            Ok(Line::Counts(counts)) => {
                self.counts = counts;
                Ok(())
            }
            Ok(Line::Generation(generation)) => {
                output::note(&format!("generation {generation} runs now"));
                Ok(())
            }
            Ok(Line::End(end)) => {
                self.counts = end.counts;
                self.end = Some(end);
                return ControlFlow::Break(());
            }
            Err(error) => Err(format!("the agent's answer is not understood: {error}")),
        };
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(message) => {
                self.failed = Some(message);
                ControlFlow::Break(())
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), String> {
        match &mut self.target {
            Target::File(recording) => self.written += recording.write(&event, self.redactor.as_ref())?,
            Target::Screen { format, painter } => {
                let event = match &self.redactor {
                    Some(redactor) => redacted(event, redactor),
                    None => event,
                };
                let text = match format {
                    Format::Json => serde_json::to_string(&event).unwrap_or_default() + "\n",
                    Format::Text => text(&event, *painter),
                };
                output::print_on(&text)?;
                self.written += 1;
            }
        }
        Ok(())
    }

    fn finish(mut self, format: Format) -> ExitCode {
        if let Target::File(recording) = &mut self.target
            && let Err(message) = recording.finish()
        {
            output::complain(&message);
            return ExitCode::FAILURE;
        }
        let why = self.end.as_ref().map_or("interrupted", |end| end.reason.as_str());
        output::tell(&format!("{why}; {}", self.summary()));
        if let (Target::File(recording), Format::Json) = (&self.target, format) {
            let told = serde_json::json!({
                "file": recording.path(), "events": self.written, "redacted": self.redactor.is_some(), "left_out": self.counts.beyond_rate + self.counts.too_slow, "reason": why,
            });
            return output::print(&output::json(&told), ExitCode::SUCCESS);
        }
        ExitCode::SUCCESS
    }

    /// What was seen, and what was not.
    fn summary(&self) -> String {
        let done = match &self.target {
            Target::File(recording) => format!("recorded in {}", recording.path().display()),
            Target::Screen { .. } => "shown".to_owned(),
        };
        let Counts { beyond_rate, too_slow, .. } = self.counts;
        let mut text = format!("{} events {done}", output::grouped(self.written));
        for (left_out, why) in [
            (beyond_rate, "there were too many in too short a time; --sample chooses among all"),
            (too_slow, "they were not taken fast enough"),
        ] {
            if left_out > 0 {
                text += &format!("; {} left out, since {why}", output::grouped(left_out));
            }
        }
        text
    }
}

fn redacted(event: Event, redactor: &Redactor) -> Event {
    let document = redactor.text(event.document.get());
    let document = serde_json::value::RawValue::from_string(document);
    Event {
        document: document.unwrap_or_else(|_| serde_json::value::RawValue::NULL.to_owned()),
        attributes: redactor.attributes(&event.attributes),
        // The time, the place and the hash of the raw event are in it.
        id: String::new(),
        ..event
    }
}

/// `TIME VERDICT  PLACE  DOCUMENT`.
fn text(event: &Event, painter: Painter) -> String {
    let style = match event.verdict.as_str() {
        "kept" => Style::Green,
        "read" => Style::Dim,
        "failed" => Style::Red,
        _ => Style::Yellow,
    };
    let mut verdict = event.verdict.clone();
    if event.made {
        verdict += ", made";
    }
    if let Some(stage) = &event.stage {
        verdict += &format!(" by {stage}");
    }
    if let Some(reason) = &event.reason {
        verdict += &format!(" ({reason})");
    }
    let of_day = event.time.get(11..23).unwrap_or(&event.time);
    let (verdict, time) = (painter.paint(style, verdict), painter.paint(Style::Dim, of_day));
    let place = painter.paint(Style::Bold, place_of(event));
    format!("{time} {verdict}  {place}  {}\n", event.document.get())
}

/// Where it came from, as short as it can be said.
fn place_of(event: &Event) -> String {
    let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
    let parts: Vec<&str> = ["namespace", "pod", "container"].into_iter().filter_map(attribute).collect();
    let place = match (parts.is_empty(), attribute("path"), attribute("source")) {
        (false, _, _) => parts.join("/"),
        (true, Some(path), _) => path.to_owned(),
        (true, None, source) => source.unwrap_or_default().to_owned(),
    };
    format!("{}: {place}", event.pipeline)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(verdict: &str, stage: Option<&str>, reason: Option<&str>) -> Event {
        let attributes = [("namespace", "shop"), ("pod", "cart-1"), ("container", "app"), ("source", "pods")];
        Event {
            pipeline: "all".into(),
            verdict: verdict.into(),
            stage: stage.map(str::to_owned),
            reason: reason.map(str::to_owned),
            id: "id".into(),
            time: "2026-11-22T10:00:00.123456789Z".into(),
            made: false,
            attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            document: serde_json::value::RawValue::from_string("{\"a\":\"Alice\"}".into()).unwrap(),
            text: None,
        }
    }

    #[test]
    fn an_event_is_one_line() {
        let line = |event: &Event| text(event, Painter::plain());
        assert_eq!(
            line(&event("kept", None, None)),
            "10:00:00.123 kept  all: shop/cart-1/app  {\"a\":\"Alice\"}\n"
        );
        assert_eq!(
            line(&event("sampled", Some("sampler"), Some("level=debug"))),
            "10:00:00.123 sampled by sampler (level=debug)  all: shop/cart-1/app  {\"a\":\"Alice\"}\n"
        );
        let mut of_file = event("read", None, None);
        of_file.attributes = [("path".to_owned(), "/var/log/a".to_owned())].into();
        assert_eq!(line(&of_file), "10:00:00.123 read  all: /var/log/a  {\"a\":\"Alice\"}\n");
    }

    #[test]
    fn what_is_redacted_names_nobody() {
        let hidden = redacted(event("kept", None, None), &Redactor::new([1; 64], Vec::new()));
        let line = serde_json::to_string(&hidden).unwrap();
        for gone in ["Alice", "shop", "cart-1"] {
            assert!(!line.contains(gone), "{line}");
        }
        assert_eq!(hidden.id, "");
    }
}
