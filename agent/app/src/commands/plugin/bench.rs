//! `weir plugin bench`: what an event costs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use weir_event::batch::MAX_ROWS;
use weir_plugin_kit::bench::{Costs, Effort, measure};
use weir_plugin_kit::fixture::{for_bench, read_all};
use weir_plugin_kit::project::Project;
use weir_plugin_kit::traffic::{Event, Events};

use super::sandbox;
use crate::cli::Output;
use crate::output::{self, Format, Painter, Style};

const EXAMPLES: &str = "\
Examples:
  weir plugin bench
  weir plugin bench --against geo-tags-1.2.0.wasm
  weir plugin bench geo-tags.wasm --events traffic.ndjson --config config.json

Measured is CPU time of the host and the plugin together: handing the columns over, the plugin's work,
checking its answer. Without --events the events and the configuration are those of the fixture `bench`,
or of the largest. \"in a pipeline\" is what the plugin adds to everything between a batch of 512
events and its documents, \"behind itself\" what the same adds once more; \"start\" is the CPU time of
loading it when it is compiled already. --against measures both by turns on the same events.

Exit codes:
  0  measured
  1  it could not be measured, or the plugin failed on a call
  2  wrong usage";

/// Measure what an event costs at several sizes of batches, and the plugin's memory
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The plugin's folder, or a component
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    plugin: PathBuf,
    /// Another version, measured beside it
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Events to measure with: lines, or as `weir tap --record` writes them
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// The configuration as JSON
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// CPU time for each plugin and size, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    time: u64,
    #[command(flatten)]
    output: Output,
}

/// What is measured.
struct Work {
    plugins: Vec<Arc<[u8]>>,
    config: String,
    events: Vec<Event>,
}

/// Measures it.
pub fn run(arguments: &Arguments) -> ExitCode {
    let costs = prepare(arguments).and_then(|work| {
        let effort = Effort { time: Duration::from_millis(arguments.time) };
        measure(&sandbox::open()?, &work.plugins, &work.config, &work.events, effort)
            .map_err(|error| error.to_string())
    });
    let costs = match costs {
        Ok(costs) => costs,
        Err(message) => {
            output::complain(&message);
            return ExitCode::FAILURE;
        }
    };
    let failed: u64 = costs.iter().map(|costs| costs.failed_calls).sum();
    if failed > 0 {
        output::complain(&format!(
            "{failed} calls failed, so the figures say little; see `weir plugin test`"
        ));
    }
    let code = if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match arguments.output.output {
        Format::Json => {
            let report = json!({"plugin": costs.first(), "against": costs.get(1)});
            output::print(&output::json(&report), code)
        }
        Format::Text => output::print(&table(&costs, Painter::stdout()), code),
    }
}

fn prepare(arguments: &Arguments) -> Result<Work, String> {
    let (wasm, fixture) = if arguments.plugin.is_dir() {
        let project = Project::open(&arguments.plugin).map_err(|error| error.to_string())?;
        let needs_fixture = arguments.events.is_none() || arguments.config.is_none();
        let fixtures = match needs_fixture {
            true => read_all(&project.fixtures()).map_err(|error| error.to_string())?,
            false => Vec::new(),
        };
        (sandbox::read_component(&project)?, for_bench(fixtures))
    } else {
        (sandbox::read(&arguments.plugin)?, None)
    };
    let mut plugins = vec![wasm];
    if let Some(other) = &arguments.against {
        plugins.push(sandbox::read(other)?);
    }
    let config = match (&arguments.config, &fixture) {
        (Some(file), _) => read_text(file)?,
        (None, Some(fixture)) => fixture.config.clone(),
        (None, None) => "{}".to_owned(),
    };
    let events = match (&arguments.events, &fixture) {
        (Some(file), _) => read_events(file)?,
        (None, Some(fixture)) => fixture.events().to_vec(),
        (None, None) => return Err("a component alone has no events; give some with --events".to_owned()),
    };
    if events.is_empty() {
        return Err("there is no event to measure with".to_owned());
    }
    Ok(Work { plugins, config, events })
}

fn read_text(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("failed to read {}: {error}", file.display()))
}

/// As many as the largest batch takes.
fn read_events(file: &Path) -> Result<Vec<Event>, String> {
    let events = Events::open(file).map_err(|error| error.to_string())?;
    events.take(MAX_ROWS).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())
}

fn table(costs: &[Costs], painter: Painter) -> String {
    let mut text = String::new();
    let name = |costs: &Costs| format!("{} {}", costs.name, costs.version);
    let width = costs.iter().map(|costs| name(costs).chars().count()).max().unwrap_or_default().max(14);
    let head: String = costs.iter().map(|costs| format!("  {:>width$}", name(costs))).collect();
    text += &format!("{}\n", painter.paint(Style::Bold, format!("{:<14}{head}", "events a call")));
    let sizes = costs.first().map(|costs| costs.batches.as_slice()).unwrap_or_default();
    for (at, size) in sizes.iter().enumerate() {
        text += &format!("{:<14}", size.rows);
        for costs in costs {
            let cost = costs.batches.get(at).map_or(0.0, |cost| cost.ns_per_event);
            text += &format!("  {:>width$}", format!("{cost:.1} ns"));
        }
        if let (Some(old), true) = (costs.get(1).and_then(|old| old.batches.get(at)), size.ns_per_event > 0.0)
        {
            let change = 100.0 * (size.ns_per_event / old.ns_per_event - 1.0);
            text += &format!("  {change:+.0} %");
        }
        text.push('\n');
    }
    let mut line = |title: &str, value: fn(&Costs) -> String| {
        let cells: String = costs.iter().map(|costs| format!("  {:>width$}", value(costs))).collect();
        text += &format!("{title:<14}{cells}\n");
    };
    line("in a pipeline", |costs| format!("{:.1} ns", costs.chain.first_ns));
    line("behind itself", |costs| format!("{:.1} ns", costs.chain.second_ns));
    line("start", |costs| costs.start_ms.map_or_else(|| "-".to_owned(), |start| format!("{start:.1} ms")));
    let row = |title: &str, value: fn(&Costs) -> u64| {
        let cells: String = costs
            .iter()
            .map(|costs| format!("  {:>width$}", format!("{} KiB", output::grouped(value(costs) / 1024))))
            .collect();
        format!("{title:<14}{cells}\n")
    };
    text += &row("memory", |costs| costs.memory_bytes);
    text += &row("size", |costs| costs.size);
    text
}
