//! `weir plugin inspect`: what an artefact is, without running it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use weir_manifest::Paths;
use weir_plugin_kit::inspect::{Inspection, inspect};

use super::sandbox;
use crate::cli::Output;
use crate::output::{self, Format, Painter, Style};

const EXAMPLES: &str = "\
Examples:
  weir plugin inspect geo-tags.wasm
  weir plugin inspect geo-tags.wasm --output json | jq .config_schema

Nothing of the plugin is run.

Exit codes:
  0  it is a plugin that this agent knows
  1  it is not, or cannot be read
  2  wrong usage";

/// Show what a plugin is, reads, writes and may be told, without running it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Shows it.
pub fn run(arguments: &Arguments) -> ExitCode {
    let found = sandbox::read(&arguments.file)
        .and_then(|wasm| inspect(&wasm).map_err(|error| format!("{}: {error}", arguments.file.display())));
    match found {
        Err(message) => {
            output::complain(&message);
            ExitCode::FAILURE
        }
        Ok(found) => {
            let text = match arguments.output.output {
                Format::Json => output::json(&found),
                Format::Text => describe(&found, Painter::stdout()),
            };
            output::print(&text, ExitCode::SUCCESS)
        }
    }
}

fn describe(found: &Inspection, painter: Painter) -> String {
    let manifest = &found.manifest;
    let title = format!("{} {}", manifest.name, manifest.version);
    let mut text = format!("{}\n", painter.paint(Style::Bold, title));
    if let Some(description) = &manifest.description {
        text += &format!("{description}\n");
    }
    let limits = [
        manifest.limits.memory.map(|bytes| format!("memory {} MiB", bytes.div_ceil(1 << 20))),
        manifest.limits.deadline.map(|deadline| format!("deadline {deadline:?}")),
    ];
    let attributes = match &manifest.attributes {
        Some(names) => listed(names),
        None => "what its plan names".to_owned(),
    };
    let rows = [
        ("worlds", listed(&manifest.worlds)),
        ("exports", listed(&found.interfaces.exports)),
        ("imports", listed(&found.interfaces.imports)),
        ("reads", paths(&manifest.reads)),
        ("writes", paths(&manifest.writes)),
        ("attributes", attributes),
        ("capabilities", listed(&manifest.capabilities)),
        ("fail closed", if manifest.fail_closed { "yes" } else { "no" }.to_owned()),
        ("limits", listed(&limits.into_iter().flatten().collect::<Vec<_>>())),
        ("config", keys(&manifest.config_schema)),
        ("size", format!("{} bytes", output::grouped(found.size))),
        ("digest", format!("sha256:{}", found.digest)),
    ];
    for (name, value) in rows {
        text += &format!("  {name:<13} {value}\n");
    }
    text
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn paths(paths: &Paths) -> String {
    match paths {
        Paths::Any => "any: what its plan names".to_owned(),
        Paths::Listed(paths) => listed(paths),
    }
}

/// The keys at the top of the configuration; the whole schema is in the JSON.
fn keys(schema: &serde_json::Value) -> String {
    let Some(properties) = schema.get("properties").and_then(serde_json::Value::as_object) else {
        return "not described".to_owned();
    };
    listed(&properties.keys().cloned().collect::<Vec<_>>())
}
