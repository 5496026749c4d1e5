//! `weir buffer fsck`: looks into every file of the buffers and says what is damaged.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use weir_buffer::disk::inspect::{InspectError, Inspected};

use super::files::{self, OneFile, SinkFiles};
use super::objects::{Buckets, Looked};
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
  missing  the checkpoint names it, and it is not there; of an object another agent may know more
  object   it lies in the object store, and was not looked at: for that it takes the configuration
           (-c) and a store that answers

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
    let buckets = match Buckets::new(&arguments.place) {
        Ok(buckets) => buckets,
        Err(message) => return refuse(&message),
    };
    let mut report = Report { damaged: 0, missing: 0, files: Vec::new() };
    for sink in &sinks {
        report.files.extend(of_sink(&data_dir, sink, &buckets));
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

fn of_sink(data_dir: &Path, of: &SinkFiles, buckets: &Buckets) -> Vec<FileReport> {
    let mut reports = Vec::new();
    for (number, file) in &of.files {
        let state = if of.named.contains_key(number) { "whole" } else { "unnamed" };
        reports.extend(look(&of.sink, file, state));
    }
    for file in &of.aside {
        reports.extend(look(&of.sink, file, "aside"));
    }
    for (number, stored) in of.named.iter().filter(|(number, _)| !of.files.contains_key(number)) {
        let records = stored.accounts.values().map(|amount| amount.events).sum();
        let report = |path: String, state, bytes, reason| {
            let sink = of.sink.clone();
            FileReport { sink, path, state, bytes, records, readable: 0, reason }
        };
        // Beside a running agent: delivered since the checkpoint was read.
        let is_still_named = || {
            weir_pipeline::checkpoint::Checkpoints::open(data_dir)
                .is_ok_and(|checkpoints| checkpoints.stored(&of.sink).contains_key(number))
        };
        if let Some(place) = &stored.object {
            let (key, bytes) = (place.key.clone(), place.bytes);
            match buckets.look(&of.sink, place) {
                Looked::Found(inspected) => {
                    let mut report = FileReport { records: 0, ..report(key, "whole", bytes, None) };
                    read_all(&inspected, &mut report);
                    reports.push(report);
                }
                Looked::Damaged(reason) => reports.push(report(key, "damaged", bytes, Some(reason))),
                Looked::Unknown(reason) => reports.push(report(key, "object", bytes, Some(reason))),
                Looked::Missing if is_still_named() => reports.push(report(key, "missing", 0, None)),
                Looked::Missing => {}
            }
            continue;
        }
        let path = super::folder(data_dir).join(&of.sink).join(format!("{number:016x}.seg"));
        if is_still_named() && !fs::exists(&path).unwrap_or(true) {
            reports.push(report(path.display().to_string(), "missing", 0, None));
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
    let inspected = match Inspected::open(&file.path) {
        Ok(inspected) => inspected,
        Err(InspectError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            report.note_damage(error.to_string());
            return Some(report);
        }
    };
    read_all(&inspected, &mut report).then_some(report)
}

/// Reads every part. False where the file is gone meanwhile.
fn read_all(inspected: &Inspected, report: &mut FileReport) -> bool {
    for (index, part) in (0_u8..).zip(&inspected.header.parts) {
        report.records += u64::from(part.records());
        match inspected.part(index) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            Err(error) => report.note_damage(error.to_string()),
            Ok(content) => {
                report.readable += content.places.len() as u64;
                if content.is_damaged {
                    let missing = u64::from(part.records()) - content.places.len() as u64;
                    report.note_damage(format!("{missing} records of its part {index} cannot be read"));
                }
            }
        }
    }
    true
}

// === impl FileReport ===

impl FileReport {
    /// The first that is found is told.
    fn note_damage(&mut self, reason: String) {
        if self.state != "aside" {
            self.state = "damaged";
        }
        self.reason.get_or_insert(reason);
    }
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
