//! `weir plugin shadow`: how a plugin's shadow compares with it in the running agent.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::test::cut;
use crate::admin::shadow::{Answer, Sampled, Version};
use crate::admin::{client, place};
use crate::cli::{DataPlace, Output};
use crate::output::{self, Format, Painter, Style, grouped};

const EXAMPLES: &str = "\
Examples:
  weir plugin shadow sampler -c weir.yaml
  weir plugin shadow sampler --data-dir /srv/weir --output json | jq '.samples[].members'

A plugin with `shadow: oci://…` or `shadow: file:…` in the configuration is compared with it on some
of the batches: the shadow is handed the same events, and what it makes of them goes nowhere.

Exit codes:
  0  every event that was compared would come out alike
  1  one would not, nothing was compared yet, the shadow does not run, or there is none
  2  wrong usage";

/// Show how a plugin's shadow compares with it in the running agent, with events that differ
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The plugin's name in the configuration
    #[arg(value_name = "NAME")]
    plugin: String,
    #[command(flatten)]
    place: DataPlace,
    #[command(flatten)]
    output: Output,
}

/// Shows it.
pub fn run(arguments: &Arguments) -> ExitCode {
    let folder = match arguments.place.folder() {
        Ok(folder) => folder,
        Err(code) => return code,
    };
    let answer = match ask(&folder, &arguments.plugin) {
        Ok(answer) => answer,
        Err(message) => {
            output::complain(&message);
            return ExitCode::FAILURE;
        }
    };
    let is_good = answer.state == "running" && answer.compared > 0 && answer.different == 0;
    let code = if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match arguments.output.output {
        Format::Json => output::print(&output::json(&answer), code),
        Format::Text => output::print(&describe(&answer, Painter::stdout()), code),
    }
}

/// Asks the agent with this data folder.
pub fn ask(data_dir: &Path, plugin: &str) -> Result<Answer, String> {
    let place = place::find(data_dir).ok_or_else(|| {
        format!(
            "no agent runs with the data_dir {}: there is no {} that can be read; a shadow is compared by a running agent with `admin:`",
            data_dir.display(),
            place::path(data_dir).display()
        )
    })?;
    // A name of the configuration needs no escaping in a path.
    if !plugin.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(format!("`{plugin}` is no name of a plugin"));
    }
    let body = client::get_trusted(&place, &format!("/api/plugins/{plugin}/shadow"))
        .map_err(|error| format!("the agent at {}: {error}", place.address))?;
    serde_json::from_slice(&body)
        .map_err(|error| format!("the answer of {} is not understood: {error}", place.address))
}

/// The comparison for people.
pub fn describe(answer: &Answer, painter: Painter) -> String {
    let mut text = String::new();
    for sample in &answer.samples {
        text += &describe_sample(sample, painter);
    }
    text += &format!("plugin   {}  {}\n", painter.paint(Style::Bold, &answer.plugin), version(&answer.live));
    let reference = cut(&answer.reference);
    text += &match &answer.shadow {
        Some(shadow) => format!("shadow   {reference}  {}\n", version(shadow)),
        None => format!("shadow   {reference}\n"),
    };
    text += &match answer.state.as_str() {
        "running" => {
            format!("state    {}, {} of the batches\n", painter.paint(Style::Green, "running"), answer.share)
        }
        "off" => {
            format!("state    {}: it kept failing, and is asked no more\n", painter.paint(Style::Red, "off"))
        }
        other => format!(
            "state    {}: {}\n",
            painter.paint(Style::Red, other),
            cut(answer.error.as_deref().unwrap_or_default())
        ),
    };
    if let Some(fault) = answer.shadow.as_ref().and_then(|shadow| shadow.last_fault.as_ref()) {
        text += &format!("fault    {}\n", cut(fault));
    }
    let batch = |key: &str| grouped(answer.batches.get(key).copied().unwrap_or_default());
    text += &format!(
        "batches  {} compared; skipped: {} while others waited, {} while it was busy, {} too large\n",
        batch("compared"),
        batch("skipped_queue"),
        batch("skipped_busy"),
        batch("skipped_large"),
    );
    text += &format!("events   {} compared\n", grouped(answer.compared));
    for (kind, count) in answer.events.iter().filter(|(_, count)| **count > 0) {
        let style = if kind == "same" { Style::Green } else { Style::Yellow };
        let share = 100.0 * *count as f64 / answer.compared.max(1) as f64;
        text += &format!("{:>12}  {:>6.2}%  {}\n", grouped(*count), share, painter.paint(style, told(kind)));
    }
    for line in &answer.grown {
        text += &format!("{} {}\n", painter.paint(Style::Yellow, "the shadow"), cut(line));
    }
    text
}

fn describe_sample(sample: &Sampled, painter: Painter) -> String {
    let mut text = format!(
        "{} {}  {}\n",
        painter.paint(Style::Yellow, &sample.difference),
        sample.time,
        painter.paint(Style::Dim, cut(&sample.event.to_string()))
    );
    text += &format!("  {} {}\n", painter.paint(Style::Red, "- plugin"), cut(&sample.live.to_string()));
    text += &format!("  {} {}\n", painter.paint(Style::Green, "+ shadow"), cut(&sample.shadow.to_string()));
    for member in &sample.members {
        text += &format!("      {}\n", cut(member));
    }
    text
}

fn version(version: &Version) -> String {
    let digest = version.digest.as_deref().unwrap_or(&version.component);
    let digest: String = digest.chars().take("sha256:".len() + 12).collect();
    let cost = version.nanoseconds.map(|each| format!(", {} ns an event", grouped(each)));
    format!("{} {} {digest}{}", cut(&version.name), cut(&version.version), cost.unwrap_or_default())
}

fn told(kind: &str) -> &str {
    match kind {
        "same" => "the same",
        "kept_to_dropped" => "kept_to_dropped: the plugin keeps them, the shadow drops them",
        "dropped_to_kept" => "dropped_to_kept: the plugin drops them, the shadow keeps them",
        "other_reason" => "other_reason: both drop them, for different reasons",
        "other_edits" => "other_edits: both keep them, and they come out differently",
        "other_events" => "other_events: they make different events of them",
        "faulted" => "faulted: the shadow cannot handle them",
        "live_faulted" => "live_faulted: the plugin itself cannot handle them",
        other => other,
    }
}
