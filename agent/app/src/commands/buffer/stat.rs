//! `weir buffer stat`: how much waits for each sink, and where.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde::Serialize;
use weir_buffer::ledger::Amount;

use super::files::{self, SinkFiles};
use super::refuse;
use crate::admin::buffers::BufferStatus;
use crate::admin::{client, place};
use crate::cli::{DataPlace, Output};
use crate::output::{self, Format, Painter, Style, grouped};

const EXAMPLES: &str = "\
Examples:
  weir buffer stat -c weir.yaml
  weir buffer stat --data-dir /srv/weir --output json | jq '.sinks[] | {sink, events, bytes}'

What lies on disk is read from data_dir, whether an agent runs or not; the checkpoint is
written once a second. What is in memory only a running agent can say, at its admin address.

Exit codes:
  0  shown
  1  data_dir cannot be read
  2  wrong usage";

/// Show how much waits for each sink, in memory and on disk
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    place: DataPlace,
    #[command(flatten)]
    output: Output,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether an agent answered.
    agent: bool,
    sinks: Vec<SinkReport>,
}

#[derive(Debug, Default, Serialize)]
struct SinkReport {
    sink: String,
    /// On disk and in the object store, by the checkpoint.
    events: u64,
    /// Of these events, as they were read from their source.
    event_bytes: u64,
    pipelines: BTreeMap<String, Amount>,
    files: u64,
    /// Of these files.
    bytes: u64,
    /// Of these events.
    object_events: u64,
    /// Files in the object store, and their bytes.
    objects: u64,
    object_bytes: u64,
    oldest_seconds: Option<u64>,
    aside_files: u64,
    aside_bytes: u64,
    /// What the running agent says.
    agent: Option<BufferStatus>,
}

/// Shows it.
pub fn run(arguments: &Arguments) -> ExitCode {
    let data_dir = match arguments.place.folder() {
        Ok(data_dir) => data_dir,
        Err(code) => return code,
    };
    match report(&data_dir) {
        Err(message) => refuse(&message),
        Ok(report) if arguments.output.output == Format::Json => {
            output::print(&output::json(&report), ExitCode::SUCCESS)
        }
        Ok(report) => output::print(&text(&report, Painter::stdout()), ExitCode::SUCCESS),
    }
}

fn report(data_dir: &Path) -> Result<Report, String> {
    let mut sinks: Vec<SinkReport> = files::find(data_dir, &[])?.iter().map(of_files).collect();
    let answer = place::read(data_dir).and_then(|address| client::get(&address, "/api/buffers").ok());
    let live: Option<Vec<BufferStatus>> = answer.and_then(|body| serde_json::from_slice(&body).ok());
    let agent = live.is_some();
    for status in live.into_iter().flatten() {
        match sinks.iter_mut().find(|sink| sink.sink == status.sink) {
            Some(sink) => sink.agent = Some(status),
            None => {
                let sink = status.sink.clone();
                sinks.push(SinkReport { sink, agent: Some(status), ..SinkReport::default() });
            }
        }
    }
    sinks.sort_by(|one, other| one.sink.cmp(&other.sink));
    Ok(Report { agent, sinks })
}

fn of_files(of: &SinkFiles) -> SinkReport {
    let mut pipelines: BTreeMap<String, Amount> = BTreeMap::new();
    for (pipeline, amount) in of.named.values().flat_map(|stored| &stored.accounts) {
        *pipelines.entry(pipeline.clone()).or_default() += *amount;
    }
    let mut sum = Amount::default();
    pipelines.values().for_each(|amount| sum += *amount);
    let in_objects = || of.named.values().filter_map(|stored| Some((stored, stored.object.as_ref()?)));
    let amounts = in_objects().flat_map(|(stored, _)| stored.accounts.values());
    let oldest = of.files.values().map(|file| file.written).min();
    let age = oldest.and_then(|oldest| SystemTime::now().duration_since(oldest).ok());
    SinkReport {
        sink: of.sink.clone(),
        events: sum.events,
        event_bytes: sum.bytes,
        pipelines,
        files: of.files.len() as u64,
        bytes: of.files.values().map(|file| file.bytes).sum(),
        object_events: amounts.map(|amount| amount.events).sum(),
        objects: in_objects().count() as u64,
        object_bytes: in_objects().map(|(_, place)| place.bytes).sum(),
        oldest_seconds: age.map(|age| age.as_secs()),
        aside_files: of.aside.len() as u64,
        aside_bytes: of.aside.iter().map(|file| file.bytes).sum(),
        agent: None,
    }
}

fn text(report: &Report, painter: Painter) -> String {
    let mut text = String::new();
    if report.sinks.is_empty() {
        text += "nothing waits on disk\n";
    }
    for sink in &report.sinks {
        let files = if sink.files == 1 { "file" } else { "files" };
        text += &format!("{}\n", painter.paint(Style::Bold, &sink.sink));
        text += &format!(
            "  on disk    {} events, {} bytes in {} {files}",
            grouped(sink.events - sink.object_events),
            grouped(sink.bytes),
            grouped(sink.files)
        );
        if let Some(bound) = sink.agent.as_ref().and_then(|agent| agent.disk_bound) {
            text += &format!(" of {} bytes", grouped(bound));
        }
        if let Some(seconds) = sink.oldest_seconds {
            text += &format!(", the oldest {seconds} s old");
        }
        text += "\n";
        if sink.objects > 0 {
            text += &format!(
                "  in objects {} events, {} bytes in {} objects\n",
                grouped(sink.object_events),
                grouped(sink.object_bytes),
                grouped(sink.objects)
            );
        }
        if let Some(agent) = &sink.agent {
            let (used, bound) = (grouped(agent.memory_used), grouped(agent.memory_bound));
            text += &format!("  in memory  {used} of {bound} bytes\n");
        }
        if sink.aside_files > 0 {
            text += &format!(
                "  aside      {} bytes in {} files that were damaged or unknown; see weir buffer fsck\n",
                grouped(sink.aside_bytes),
                sink.aside_files
            );
        }
        if sink.pipelines.len() > 1 {
            for (pipeline, amount) in &sink.pipelines {
                text += &format!("  of {pipeline}: {} events\n", grouped(amount.events));
            }
        }
    }
    if !report.agent {
        text += "no agent answers; what is in memory is not known\n";
    }
    text
}
