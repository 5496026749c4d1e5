//! `weir plugin test`: a plugin's fixtures, run in the real host.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use weir_plugin_kit::fixture::{Difference, Outcome, read_all};
use weir_plugin_kit::project::Project;

use super::sandbox;
use crate::cli::Output;
use crate::output::{self, Format, Painter, Style};

/// More of one fixture would scroll the rest away.
const MAX_SHOWN: usize = 10;
/// Longer values are cut: the file has them whole.
const MAX_VALUE_BYTES: usize = 400;

const EXAMPLES: &str = "\
Examples:
  weir plugin test
  weir plugin test plugins/geo-tags --output json
  weir plugin test --update        Write down what comes out as what is expected; read the difference
                                   before you commit it

A fixture is NAME.config.json, NAME.events.ndjson and NAME.expected.ndjson in the folder fixtures, and
NAME.context.json where the time, the pressure or where events come from matters. Events are plain
lines, or as `weir tap --record` writes them.

Exit codes:
  0  every event came out as expected; with --update: every fixture could be run
  1  one did not, or a fixture could not be run
  2  wrong usage";

/// Run a plugin's fixtures as the agent would, and compare what comes out
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The plugin's folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Only fixtures whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write down what comes out as what is expected
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    output: Output,
}

/// Runs them.
pub fn run(arguments: &Arguments) -> ExitCode {
    let outcomes = match run_all(arguments) {
        Ok(outcomes) => outcomes,
        Err(message) => {
            output::complain(&message);
            return ExitCode::FAILURE;
        }
    };
    let is_good = |outcome: &Outcome| matches!(outcome, Outcome::Passed { .. } | Outcome::Updated { .. });
    let all_good = outcomes.iter().all(|(_, outcome)| is_good(outcome));
    let code = if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match arguments.output.output {
        Format::Json => {
            let fixtures: Vec<Value> = outcomes.iter().map(|(name, outcome)| view(name, outcome)).collect();
            output::print(&output::json(&json!({"passed": all_good, "fixtures": fixtures})), code)
        }
        Format::Text => {
            let painter = Painter::stdout();
            let text: String = outcomes.iter().map(|(name, outcome)| tell(name, outcome, painter)).collect();
            output::print(&text, code)
        }
    }
}

fn run_all(arguments: &Arguments) -> Result<Vec<(String, Outcome)>, String> {
    let project = Project::open(&arguments.folder).map_err(|error| error.to_string())?;
    let wasm = sandbox::read_component(&project)?;
    let mut fixtures = read_all(&project.fixtures()).map_err(|error| error.to_string())?;
    if let Some(only) = &arguments.only {
        fixtures.retain(|fixture| fixture.name.contains(only));
        if fixtures.is_empty() {
            return Err(format!("no fixture's name contains `{only}`"));
        }
    }
    let sandbox = sandbox::open()?;
    let mut outcomes = Vec::new();
    for fixture in fixtures {
        let outcome =
            if arguments.update { fixture.update(&sandbox, &wasm) } else { fixture.check(&sandbox, &wasm) };
        outcomes.push((fixture.name.clone(), outcome.map_err(|error| error.to_string())?));
    }
    Ok(outcomes)
}

fn tell(name: &str, outcome: &Outcome, painter: Painter) -> String {
    let head = |style, word: &str, rest: &str| format!("{} {name}: {rest}\n", painter.paint(style, word));
    let events = |count: usize| format!("{count} event{}", if count == 1 { "" } else { "s" });
    match outcome {
        Outcome::Passed { events: count } => head(Style::Green, "ok     ", &events(*count)),
        Outcome::Updated { events: count } => head(Style::Yellow, "updated", &events(*count)),
        Outcome::NotRun(why) => head(Style::Red, "failed ", why),
        Outcome::Differs(differences) => {
            let count = differences.len();
            let mut text = head(Style::Red, "failed ", &format!("{} came out differently", events(count)));
            for difference in differences.iter().take(MAX_SHOWN) {
                text += &tell_difference(difference, painter);
            }
            if count > MAX_SHOWN {
                text += &format!("  and {} more\n", count - MAX_SHOWN);
            }
            text
        }
    }
}

fn tell_difference(difference: &Difference, painter: Painter) -> String {
    let value = |value: &Option<Value>| match value {
        Some(value) => cut(&value.to_string()),
        None => "nothing".to_owned(),
    };
    let (line, event) = (difference.line, cut(&difference.event));
    let mut text = format!("  event {line}   {}\n", painter.paint(Style::Dim, event));
    text += &format!("  {} {}\n", painter.paint(Style::Red, "- expected"), value(&difference.expected));
    text += &format!("  {} {}\n", painter.paint(Style::Green, "+ got     "), value(&difference.got));
    for member in difference.members() {
        text += &format!("      {}\n", cut(&member));
    }
    text
}

/// Text of a plugin or an event, made fit for a terminal.
pub fn cut(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if out.len() > MAX_VALUE_BYTES {
            out.push('…');
            break;
        }
        out.push(if character.is_control() { '\u{fffd}' } else { character });
    }
    out
}

fn view(name: &str, outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Passed { events } => json!({"name": name, "outcome": "passed", "events": events}),
        Outcome::Updated { events } => json!({"name": name, "outcome": "updated", "events": events}),
        Outcome::NotRun(why) => json!({"name": name, "outcome": "not_run", "error": why}),
        Outcome::Differs(differences) => {
            let one = |difference: &Difference| {
                json!({
                    "line": difference.line,
                    "event": difference.event,
                    "expected": difference.expected,
                    "got": difference.got,
                    "members": difference.members(),
                })
            };
            let differences: Vec<Value> = differences.iter().map(one).collect();
            json!({"name": name, "outcome": "differs", "differences": differences})
        }
    }
}
