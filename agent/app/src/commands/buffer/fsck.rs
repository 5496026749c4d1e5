//! `weir buffer fsck`: looks into every file of the buffers and says what is damaged.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use weir_buffer::disk::inspect::{InspectError, Inspected};

use super::files::{self, OneFile, SinkFiles};
use super::refuse;
use crate::cli::{DataPlace, Output};
use crate::output::{self, Format, Painter, Style, grouped};

const EXAMPLES: &str = "\
Examples:
  weir buffer fsck -c weir.yaml
  weir buffer fsck --data-dir /srv/weir --sink search --output json | jq '.files[] | select(.state != \"whole\")'

Nothing is changed. Every record's checksum is verified. Beside a running agent, files that
are delivered meanwhile are left out, and one that was just written may not be named yet.
Damage is met by the agent itself: it skips what is damaged, counts it as lost (corrupt),
and keeps the file aside.

States:
  whole    the checkpoint names it, and everything in it can be read
  unnamed  whole, but no checkpoint names it: a start removes it, its events are read again
  aside    kept aside; how much of it can be read stands beside
  damaged  something in it cannot be read
  missing  the checkpoint names it, and it is not there
  object   it lies in the object store, where the checkpoint says; it is not looked at

Exit codes:
  0  no file is damaged or missing
  1  one is, or data_dir cannot be read
  2  wrong usage";

/// Verify every file of the buffers; say what is damaged, missing, or named by no checkpoint
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    place: DataPlace,
    /// Only this sink; may be given several times
    #[arg(long, value_name = "NAME")]
    sink: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Report {
    damaged: u64,
    missing: u64,
    files: Vec<FileReport>,
}

#[derive(Debug, Serialize)]
struct FileReport {
    sink: String,
    path: String,
    state: &'static str,
    bytes: u64,
    /// Records that the file says it holds.
    records: u64,
    /// Those that can be read.
    readable: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Looks and tells.
pub fn run(arguments: &Arguments) -> ExitCode {
    let data_dir = match arguments.place.folder() {
        Ok(data_dir) => data_dir,
        Err(code) => return code,
    };
    let sinks = match files::find(&data_dir, &arguments.sink) {
        Ok(sinks) => sinks,
        Err(message) => return refuse(&message),
    };
    let mut report = Report { damaged: 0, missing: 0, files: Vec::new() };
    for sink in &sinks {
        report.files.extend(of_sink(&data_dir, sink));
    }
    let count = |state| report.files.iter().filter(|file| file.state == state).count() as u64;
    (report.damaged, report.missing) = (count("damaged"), count("missing"));
    let is_good = report.damaged == 0 && report.missing == 0;
    let code = if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match arguments.output.output {
        Format::Json => output::print(&output::json(&report), code),
        Format::Text => output::print(&text(&report, Painter::stdout()), code),
    }
}

fn of_sink(data_dir: &Path, of: &SinkFiles) -> Vec<FileReport> {
    let mut reports = Vec::new();
    for (number, file) in &of.files {
        let state = if of.named.contains_key(number) { "whole" } else { "unnamed" };
        reports.extend(look(&of.sink, file, state));
    }
    for file in &of.aside {
        reports.extend(look(&of.sink, file, "aside"));
    }
    for (number, stored) in of.named.iter().filter(|(number, _)| !of.files.contains_key(number)) {
        let events = stored.accounts.values().map(|amount| amount.events).sum();
        if let Some(place) = &stored.object {
            let (sink, path) = (of.sink.clone(), place.key.clone());
            let (state, bytes, reason) = ("object", place.bytes, Some("not looked at".to_owned()));
            reports.push(FileReport { sink, path, state, bytes, records: events, readable: 0, reason });
            continue;
        }
        let path = super::folder(data_dir).join(&of.sink).join(format!("{number:016x}.seg"));
        // Beside a running agent: delivered since the checkpoint was read.
        let is_still_named = weir_pipeline::checkpoint::Checkpoints::open(data_dir)
            .is_ok_and(|checkpoints| checkpoints.stored(&of.sink).contains_key(number));
        if is_still_named && !fs::exists(&path).unwrap_or(true) {
            reports.push(FileReport {
                sink: of.sink.clone(),
                path: path.display().to_string(),
                state: "missing",
                bytes: 0,
                records: events,
                readable: 0,
                reason: None,
            });
        }
    }
    reports
}

/// `None` for a file that is gone meanwhile.
fn look(sink: &str, file: &OneFile, state: &'static str) -> Option<FileReport> {
    let mut report = FileReport {
        sink: sink.to_owned(),
        path: file.path.display().to_string(),
        state,
        bytes: file.bytes,
        records: 0,
        readable: 0,
        reason: None,
    };
    let damage = |report: &mut FileReport, reason: String| {
        if state != "aside" {
            report.state = "damaged";
        }
        report.reason.get_or_insert(reason);
    };
    let inspected = match Inspected::open(&file.path) {
        Ok(inspected) => inspected,
        Err(InspectError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            damage(&mut report, error.to_string());
            return Some(report);
        }
    };
    for (index, part) in (0_u8..).zip(&inspected.header.parts) {
        report.records += u64::from(part.records());
        match inspected.part(&file.path, index) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => damage(&mut report, error.to_string()),
            Ok(content) => {
                report.readable += content.places.len() as u64;
                if content.is_damaged {
                    let missing = u64::from(part.records()) - content.places.len() as u64;
                    damage(&mut report, format!("{missing} records of its part {index} cannot be read"));
                }
            }
        }
    }
    Some(report)
}

fn text(report: &Report, painter: Painter) -> String {
    let mut text = String::new();
    for file in &report.files {
        let style = match file.state {
            "damaged" | "missing" => Style::Red,
            "object" => Style::Yellow,
            _ => Style::Green,
        };
        text += &format!("{} {}", painter.paint(style, format!("{:<8}", file.state)), file.path);
        text += &format!("  {} of {} records", grouped(file.readable), grouped(file.records));
        if let Some(reason) = &file.reason {
            text += &format!(": {reason}");
        }
        text += "\n";
    }
    text += &format!(
        "{} files, {} damaged, {} missing\n",
        grouped(report.files.len() as u64),
        report.damaged,
        report.missing
    );
    text
}
