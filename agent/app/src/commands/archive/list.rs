//! `weir archive list`: what an archive holds, by namespace and hour.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use weir_archive::{HourSummary, Survey};
use weir_event::time::write_rfc3339;

use super::{DamageView, Span, Which, code, refuse, tell_damages, views};
use crate::cli::Output;
use crate::output::{self, Format, Painter, Style, grouped, size};

const EXAMPLES: &str = "\
Examples:
  weir archive list -c weir.yaml --from 1d
  weir archive list -c weir.yaml --from 2026-11-22 --to 2026-11-23 --namespace shop
  weir archive list -c weir.yaml --from 7d --output json | jq '[.hours[].bytes] | add'

Whole hours are listed, from that of --from to the last one before --to, in UTC. Only indices are
read. Events that the archive holds several times are counted several times.

Exit codes:
  0  listed
  1  the store does not answer, or something is damaged or missing; it is named
  2  wrong usage";

/// Show what the archive holds, by namespace and hour
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    span: Span,
    #[command(flatten)]
    output: Output,
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Report {
    hours: Vec<HourView>,
    damages: Vec<DamageView>,
    more_damages: u64,
}

/// What a namespace has in an hour.
#[derive(Debug, Serialize)]
struct HourView {
    namespace: String,
    hour: String,
    events: u64,
    objects: u64,
    bytes: u64,
    raw_bytes: u64,
    first: String,
    last: String,
    nodes: Vec<String>,
}

/// Shows it.
pub fn run(arguments: &Arguments) -> ExitCode {
    let archive = match arguments.which.find() {
        Ok(archive) => archive,
        Err(code) => return code,
    };
    let Span { from, to, namespace } = &arguments.span;
    let listed = archive
        .reader()
        .and_then(|reader| reader.list(from.time, to.time, namespace).map_err(|error| error.to_string()));
    let survey = match listed {
        Ok(survey) => survey,
        Err(message) => return refuse(&message),
    };
    let code = code(tell_damages(&survey.damages, survey.more_damages));
    match arguments.output.output {
        Format::Json => output::print(&output::json(&report(survey)), code),
        Format::Text => output::print(&text(&survey, Painter::stdout()), code),
    }
}

fn report(survey: Survey) -> Report {
    let hour = |hour: HourSummary| HourView {
        namespace: hour.namespace,
        hour: hour.hour,
        events: hour.events,
        objects: hour.objects,
        bytes: hour.bytes,
        raw_bytes: hour.raw_bytes,
        first: stamp(hour.first),
        last: stamp(hour.last),
        nodes: hour.nodes.into_iter().collect(),
    };
    let (damages, more_damages) = (views(&survey.damages), survey.more_damages);
    Report { hours: survey.hours.into_iter().map(hour).collect(), damages, more_damages }
}

fn stamp(time: i64) -> String {
    let mut text = Vec::new();
    write_rfc3339(&mut text, time);
    String::from_utf8_lossy(&text).into_owned()
}

/// A line for each namespace and hour, and one for all.
pub(super) fn text(survey: &Survey, painter: Painter) -> String {
    if survey.hours.is_empty() {
        return "the archive holds nothing there\n".to_owned();
    }
    let name = |hour: &HourSummary| match hour.namespace.as_str() {
        "" => "(none)".to_owned(),
        name => name.to_owned(),
    };
    let width = survey.hours.iter().map(|hour| name(hour).chars().count()).max().unwrap_or(0).max(9);
    let row = |name: &str, [hour, events, objects, bytes, raw]: [&str; 5], nodes: &str| {
        let line =
            format!("{name:<width$}  {hour:<13}  {events:>13}  {objects:>7}  {bytes:>9}  {raw:>9}  {nodes}");
        line.trim_end().to_owned()
    };
    let head = row("NAMESPACE", ["HOUR (UTC)", "EVENTS", "OBJECTS", "STORED", "RAW"], "NODES");
    let mut text = format!("{}\n", painter.paint(Style::Bold, head));
    let mut sum = HourSummary::default();
    for hour in &survey.hours {
        let nodes: Vec<&str> = hour.nodes.iter().map(String::as_str).collect();
        text += &row(&name(hour), cells(hour, &hour.hour).each_ref().map(String::as_str), &nodes.join(", "));
        text.push('\n');
        sum.events += hour.events;
        sum.objects += hour.objects;
        sum.bytes += hour.bytes;
        sum.raw_bytes += hour.raw_bytes;
    }
    let all = row("all", cells(&sum, "").each_ref().map(String::as_str), "");
    text + &format!("{}\n", painter.paint(Style::Dim, all))
}

fn cells(of: &HourSummary, hour: &str) -> [String; 5] {
    [
        hour.to_owned(),
        grouped(of.events),
        grouped(of.objects),
        size(of.bytes as f64),
        size(of.raw_bytes as f64),
    ]
}
