//! The picture: a head, and a table for each kind of part.

use super::rates::{AgentRates, PipelineRates, PluginRates, ReasonRates, SinkRates, Snapshot, SourceRates};
use super::table::{self, Align, Column, Row};
use crate::output::{Painter, Style, grouped, size};

const LEFT: Align = Align::Left;
const RIGHT: Align = Align::Right;
/// Reasons below a pipeline.
const MAX_REASONS: usize = 4;

/// The picture in so many columns and lines; each line ends with a newline.
pub fn draw(snapshot: &Snapshot, width: usize, height: usize, painter: Painter) -> String {
    let tables = [
        pipelines(&snapshot.pipelines, width, painter),
        sinks(&snapshot.sinks, width, painter),
        plugins(&snapshot.plugins, width, painter),
        sources(&snapshot.sources, width, painter),
    ];
    table::picture(head(&snapshot.agent, width, painter), tables, height)
}

fn head(agent: &AgentRates, width: usize, painter: Painter) -> Vec<String> {
    let state = match agent.rejected {
        true => format!("{}, the last configuration was not taken", agent.state),
        false => agent.state.clone(),
    };
    let first = format!(
        "weir {} on {} in {}: {state}, generation {}, up {}",
        agent.version,
        agent.node,
        agent.cluster,
        agent.generation,
        span(agent.up_seconds)
    );
    let bound = match agent.memory_bound_bytes {
        0 => String::new(),
        bound => format!(" of {}", size(bound as f64)),
    };
    let mut second = format!(
        "CPU {} of {}, memory {}{bound}, over {:.1} s",
        percent(agent.cpu),
        match agent.workers {
            1 => "1 worker".to_owned(),
            workers => format!("{workers} workers"),
        },
        size(agent.memory_bytes as f64),
        agent.seconds,
    );
    if agent.taps > 0 {
        second += &format!(", {} looking at events", agent.taps);
    }
    let style = if agent.rejected || agent.state != "ready" { Style::Yellow } else { Style::Bold };
    vec![painter.paint(style, table::cut(&first, width)), table::cut(&second, width)]
}

fn pipelines(pipelines: &[PipelineRates], width: usize, painter: Painter) -> Vec<String> {
    let columns = [
        Column("PIPELINE", LEFT),
        Column("SINK", LEFT),
        Column("IN/s", RIGHT),
        Column("DELIVERED/s", RIGHT),
        Column("DROPPED/s", RIGHT),
        Column("WAITING", RIGHT),
        Column("OLDEST", RIGHT),
        Column("STATE", LEFT),
    ];
    let row = |row: &PipelineRates| {
        let (state, style) = match (&row.held_by, row.balanced) {
            (Some(stage), _) => (format!("held by {stage}"), Some(Style::Red)),
            (None, false) => ("does not balance".to_owned(), Some(Style::Red)),
            (None, true) => ("ok".to_owned(), None),
        };
        Row {
            cells: vec![
                row.pipeline.clone(),
                row.sink.clone(),
                rate(row.read_per_second),
                rate(row.delivered_per_second),
                rate(row.dropped_per_second),
                grouped(row.waiting),
                age(row.oldest_seconds),
                state,
            ],
            style,
            notes: reasons(&row.reasons),
        }
    };
    table::draw(&columns, &pipelines.iter().map(row).collect::<Vec<_>>(), width, painter)
}

fn reasons(reasons: &[ReasonRates]) -> Vec<String> {
    let told = |reason: &ReasonRates| {
        let ReasonRates { state, reason, per_second, total } = reason;
        format!("{state} {reason}: {}/s, {} in all", rate(*per_second), grouped(*total))
    };
    let mut notes: Vec<String> = reasons.iter().take(MAX_REASONS).map(told).collect();
    if let Some(more) = reasons.len().checked_sub(MAX_REASONS).filter(|more| *more > 0) {
        notes.push(format!("and {more} more reasons"));
    }
    notes
}

fn sinks(sinks: &[SinkRates], width: usize, painter: Painter) -> Vec<String> {
    let columns = [
        Column("SINK", LEFT),
        Column("STATE", LEFT),
        Column("DOCS/s", RIGHT),
        Column("BYTES/s", RIGHT),
        Column("RETRIES/s", RIGHT),
        Column("MEMORY", RIGHT),
        Column("DISK", RIGHT),
        Column("OBJECTS", RIGHT),
        Column("HELD", RIGHT),
        Column("OLDEST", RIGHT),
    ];
    let of = |used: u64, bound: u64| format!("{} of {}", size(used as f64), size(bound as f64));
    let row = |row: &SinkRates| Row {
        cells: vec![
            row.sink.clone(),
            row.state.replace('_', " "),
            rate(row.documents_per_second),
            size(row.bytes_per_second),
            rate(row.retries_per_second),
            of(row.memory_bytes, row.memory_bound_bytes),
            match (row.disk_bytes, row.disk_bound_bytes) {
                (Some(used), Some(bound)) => of(used, bound),
                _ => "-".to_owned(),
            },
            row.object_bytes.map_or_else(|| "-".to_owned(), |used| size(used as f64)),
            grouped(row.held_events),
            age(row.oldest_seconds),
        ],
        style: (row.state != "ok").then_some(Style::Red),
        notes: Vec::new(),
    };
    table::draw(&columns, &sinks.iter().map(row).collect::<Vec<_>>(), width, painter)
}

fn plugins(plugins: &[PluginRates], width: usize, painter: Painter) -> Vec<String> {
    let columns = [
        Column("PLUGIN", LEFT),
        Column("VERSION", LEFT),
        Column("STATE", LEFT),
        Column("EVENTS/s", RIGHT),
        Column("ns/EVENT", RIGHT),
        Column("CPU", RIGHT),
        Column("FAULTS/s", RIGHT),
        Column("MEMORY", RIGHT),
    ];
    let row = |row: &PluginRates| {
        let fault = row.last_fault.as_deref().filter(|_| row.faults > 0);
        let fault = fault.and_then(|fault| fault.lines().next());
        Row {
            cells: vec![
                row.plugin.clone(),
                row.version.clone(),
                row.state.replace('_', " "),
                rate(row.events_per_second),
                rate(row.nanoseconds_per_event),
                percent(row.cpu),
                rate(row.faults_per_second),
                size(row.memory_bytes as f64),
            ],
            style: match row.state.as_str() {
                "healthy" => None,
                "degraded" => Some(Style::Yellow),
                _ => Some(Style::Red),
            },
            notes: fault
                .map(|fault| format!("{} faults; the last: {fault}", grouped(row.faults)))
                .into_iter()
                .collect(),
        }
    };
    table::draw(&columns, &plugins.iter().map(row).collect::<Vec<_>>(), width, painter)
}

fn sources(sources: &[SourceRates], width: usize, painter: Painter) -> Vec<String> {
    let columns = [
        Column("SOURCE", LEFT),
        Column("EVENTS/s", RIGHT),
        Column("BYTES/s", RIGHT),
        Column("OPEN", RIGHT),
        Column("ERRORS", RIGHT),
    ];
    let row = |row: &SourceRates| Row {
        cells: vec![
            row.source.clone(),
            rate(row.events_per_second),
            size(row.bytes_per_second),
            grouped(row.open),
            grouped(row.errors),
        ],
        style: (row.errors > 0).then_some(Style::Yellow),
        notes: Vec::new(),
    };
    table::draw(&columns, &sources.iter().map(row).collect::<Vec<_>>(), width, painter)
}

// --- numbers for people ---

pub fn rate(per_second: f64) -> String {
    match per_second {
        nothing if nothing <= 0.0 => "0".to_owned(),
        few if few < 10.0 => format!("{few:.1}"),
        many => grouped(many.round() as u64),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

pub fn age(seconds: f64) -> String {
    if seconds < 0.05 { "-".to_owned() } else { span(seconds) }
}

fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7_200 => format!("{} min", whole / 60),
        7_200..172_800 => format!("{} h", whole / 3_600),
        _ => format!("{} d", whole / 86_400),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
