//! The page for people at `/`: what runs, how it hangs together, what became of every event.
//!
//! It is one HTML document without scripts and without anything from elsewhere, drawn anew every few seconds by the
//! browser. Every text in it is escaped.

mod html;
mod shadows;
mod style;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use html::Html;
use weir_buffer::ledger::{Amount, Statement};
use weir_host::{Cause, Plugin, Provenance, Standing};
use weir_opensearch::ItemOutcome;
use weir_pipeline::sink::SinkMetrics;

use crate::output::grouped;
use crate::reload::{Outcome, Status};
use crate::state::{AgentState, PipelineView, View};

/// Seconds after which a browser asks again.
const REFRESH: &str = "5";

/// Draws the page.
pub fn draw(state: &AgentState) -> String {
    let mut html = Html::new("Weir", REFRESH, style::CSS);
    let view = state.view();
    head(&mut html, state);
    last_reload(&mut html, &state.reloads.status());
    let held = state.health.held();
    for pipeline in &view.pipelines {
        draw_pipeline(&mut html, pipeline, &held);
    }
    ledger(&mut html, &state.ledger.statements());
    sources(&mut html, &view);
    sinks(&mut html, &view);
    opensearch(&mut html, &view);
    plugins(&mut html, &view);
    shadows::draw(&mut html, &view);
    html.links(&["/metrics", "/api/ledger", "/api/status", "/api/generation", "/healthz", "/readyz"]);
    html.finish()
}

fn head(html: &mut Html, state: &AgentState) {
    let (class, readiness) = match state.readiness.reason() {
        None => ("good", "ready"),
        Some(reason) => ("warn", reason),
    };
    let up = state.started.elapsed().unwrap_or_default();
    html.open("header");
    html.heading(1, "Weir");
    html.badge(class, readiness);
    let Status { generation, config_hash, since, .. } = state.reloads.status();
    let hash: String = config_hash.chars().take(12).collect();
    let since = span(since.elapsed().unwrap_or_default());
    let (version, up) = (env!("CARGO_PKG_VERSION"), span(up));
    html.text(&format!(
        "version {version}, up {up}, configuration {hash}, generation {generation} for {since}"
    ));
    html.close("header");
}

/// Why the last configuration was not taken.
fn last_reload(html: &mut Html, status: &Status) {
    let Some(last) = status.last_reload.as_ref().filter(|last| last.outcome == Outcome::Rejected) else {
        return;
    };
    html.heading(2, "Configuration");
    html.badge("bad", &format!("the last one was not taken, generation {} runs on", status.generation));
    html.table(&["file", "#line", "key", "problem"]);
    for error in &last.errors {
        html.row(&error.file);
        html.number(u64::from(error.line), "");
        html.cell("", &error.path);
        let help = error.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        html.cell("bad", &format!("{}{help}", error.message));
        html.end_row();
    }
    html.close("table");
}

/// Boxes from left to right with arrows between them.
fn draw_pipeline(html: &mut Html, pipeline: &PipelineView, held: &[(Arc<str>, Arc<str>)]) {
    html.heading(2, &pipeline.name);
    if let Some((_, stage)) = held.iter().find(|(name, _)| **name == *pipeline.name) {
        html.badge("bad", &format!("stands still: {stage} cannot handle a batch"));
    }
    html.open("div class=flow");
    html.boxes("source", &pipeline.sources);
    for stage in &pipeline.stages {
        html.arrow();
        html.boxes("stage", std::slice::from_ref(stage));
    }
    html.arrow();
    html.boxes("sink", &pipeline.sinks);
    html.close("div");
}

fn ledger(html: &mut Html, statements: &[Statement]) {
    html.heading(2, "Ledger");
    if statements.is_empty() {
        html.text("no events yet");
        return;
    }
    html.table(&[
        "pipeline → sink",
        "#read",
        "#created",
        "#adopted",
        "#delivered",
        "#sampled",
        "#dropped",
        "#dead-lettered",
        "#lost",
        "#handed over",
        "#buffered",
        "#in flight",
        "balanced",
    ]);
    for statement in statements {
        let counts = &statement.counts;
        let sum = |reasons: &std::collections::BTreeMap<String, Amount>| {
            reasons.values().map(|amount| amount.events).sum::<u64>()
        };
        html.row(&format!("{} → {}", statement.pipeline, statement.sink));
        for events in [
            counts.read.events,
            counts.created.events,
            counts.adopted.events,
            counts.delivered.events,
            sum(&counts.sampled),
            sum(&counts.dropped),
        ] {
            html.number(events, "");
        }
        for bad in [sum(&counts.dead_lettered), sum(&counts.lost)] {
            html.number(bad, if bad > 0 { "bad" } else { "" });
        }
        html.number(counts.handed_over.events, "");
        html.number(sum(&statement.buffered), "");
        html.number(statement.in_flight.events, "");
        match statement.balanced {
            true => html.cell("good", "yes"),
            false => html.cell("bad", "NO"),
        }
        html.end_row();
    }
    html.close("table");
    reasons(html, statements);
}

/// Why events did not arrive.
fn reasons(html: &mut Html, statements: &[Statement]) {
    let lines: Vec<_> = statements.iter().flat_map(of_statement).collect();
    if lines.is_empty() {
        return;
    }
    html.table(&["pipeline → sink", "state", "reason", "#events", "#bytes"]);
    for (statement, state, reason, amount) in lines {
        html.row(&format!("{} → {}", statement.pipeline, statement.sink));
        html.cell("", state);
        html.cell("", reason);
        html.number(amount.events, "");
        html.number(amount.bytes, "");
        html.end_row();
    }
    html.close("table");
}

fn of_statement(statement: &Statement) -> Vec<(&Statement, &'static str, &str, Amount)> {
    let counts = &statement.counts;
    let groups = [
        ("sampled", &counts.sampled),
        ("dropped", &counts.dropped),
        ("dead-lettered", &counts.dead_lettered),
        ("lost", &counts.lost),
    ];
    let mut lines = Vec::new();
    for (state, reasons) in groups {
        for (reason, amount) in reasons.iter().filter(|(_, amount)| amount.events > 0) {
            lines.push((statement, state, reason.as_str(), *amount));
        }
    }
    lines
}

fn sources(html: &mut Html, view: &View) {
    html.heading(2, "Sources");
    html.table(&["source", "#files", "#events", "#bytes", "#malformed lines", "#cut events", "#errors"]);
    for (name, metrics) in &view.sources {
        html.row(name);
        let (malformed, truncated) = (metrics.malformed.load(Relaxed), metrics.truncated.load(Relaxed));
        for number in [metrics.files.load(Relaxed), metrics.events.load(Relaxed), metrics.bytes.load(Relaxed)]
        {
            html.number(number, "");
        }
        for number in [malformed, truncated, metrics.errors.load(Relaxed)] {
            html.number(number, if number > 0 { "warn" } else { "" });
        }
        html.end_row();
    }
    html.close("table");
}

fn sinks(html: &mut Html, view: &View) {
    html.heading(2, "Sinks");
    html.table(&["sink", "state", "#events", "#bytes", "#retries", "#buffer bytes", "#buffer bytes at most"]);
    for (name, metrics, buffer) in &view.sinks {
        html.row(name);
        let (class, word) = sink_state(metrics);
        html.cell(class, word);
        for number in
            [metrics.events.load(Relaxed), metrics.bytes.load(Relaxed), metrics.retries.load(Relaxed)]
        {
            html.number(number, "");
        }
        html.number(buffer.used(), "");
        html.number(buffer.bound(), "");
        html.end_row();
    }
    html.close("table");
}

/// Requests and what waits for which index.
fn opensearch(html: &mut Html, view: &View) {
    if view.opensearch.is_empty() {
        return;
    }
    html.heading(2, "OpenSearch");
    html.table(&[
        "sink",
        "indices",
        "#requests",
        "#failed",
        "#at once",
        "#sent again",
        "#repaired",
        "#bytes sent",
    ]);
    for (name, of) in &view.opensearch {
        let metrics = &of.metrics;
        html.row(name);
        let buffer = view.sinks.iter().find(|(sink, _, _)| sink == name).map(|(_, _, buffer)| buffer);
        let held = buffer.map(|buffer| buffer.held()).unwrap_or_default();
        match (metrics.unauthorized.load(Relaxed), held.as_slice()) {
            (0, []) => html.cell("good", "all take documents"),
            (0, held) => {
                let lane =
                    |(index, amount): &(_, Amount)| format!("{index} holds {}", grouped(amount.events));
                html.cell("bad", &held.iter().map(lane).collect::<Vec<_>>().join(", "));
            }
            _ => html.cell("bad", "the agent is not accepted"),
        }
        let items = |outcome| metrics.items(outcome);
        let again =
            items(ItemOutcome::Throttled) + items(ItemOutcome::Unavailable) + items(ItemOutcome::Unknown);
        html.number(metrics.requests_answered.load(Relaxed), "");
        let failed = metrics.requests_failed.load(Relaxed);
        html.number(failed, if failed > 0 { "warn" } else { "" });
        html.number(metrics.concurrency.load(Relaxed), "");
        for number in [again, items(ItemOutcome::Repaired)] {
            html.number(number, if number > 0 { "warn" } else { "" });
        }
        html.number(metrics.sent_bytes.load(Relaxed), "");
        html.end_row();
    }
    html.close("table");
}

fn sink_state(metrics: &SinkMetrics) -> (&'static str, &'static str) {
    match (metrics.abandoned.load(Relaxed), metrics.failing.load(Relaxed)) {
        (0, 0) => ("good", "takes documents"),
        (0, _) => ("bad", "fails, is tried again"),
        _ => ("bad", "given up"),
    }
}

fn plugins(html: &mut Html, view: &View) {
    if view.plugins.is_empty() {
        return;
    }
    html.heading(2, "Plugins");
    html.table(&[
        "plugin",
        "artefact",
        "state",
        "#calls",
        "#events",
        "#CPU s",
        "#ns an event",
        "#memory bytes",
        "#errors",
        "#failed events",
        "last fault",
    ]);
    for plugin in &view.plugins {
        plugin_row(html, plugin);
    }
    html.close("table");
}

fn plugin_row(html: &mut Html, plugin: &Plugin) {
    let (manifest, metrics) = (plugin.manifest(), plugin.metrics());
    let digest: String = plugin.digest().chars().take(12).collect();
    html.row(plugin.name());
    let had = plugin.provenance().map(|provenance| had(&provenance)).unwrap_or_default();
    html.cell("", &format!("{} {} {digest}{had}", manifest.name, manifest.version));
    let (class, standing) = standing(plugin.standing());
    html.cell(class, standing);
    html.number(metrics.calls(), "");
    html.number(metrics.rows(), "");
    html.cell("number", &format!("{:.3}", metrics.cpu().as_secs_f64()));
    html.number((metrics.cpu().as_nanos() / u128::from(metrics.rows().max(1))) as u64, "");
    html.number(metrics.memory_bytes(), "");
    let errors = Cause::ALL.into_iter().map(|cause| metrics.faults(cause)).sum::<u64>();
    for number in [errors, metrics.suspects()] {
        html.number(number, if number > 0 { "bad" } else { "" });
    }
    let fault = plugin.last_fault().map(|fault| format!("{}: {}", fault.cause, fault.detail));
    html.cell("", &fault.unwrap_or_else(|| "none".to_owned()));
    html.end_row();
}

/// Where an artefact was had, behind what it is.
fn had(provenance: &Provenance) -> String {
    let Provenance { reference, digest, key, stale, .. } = provenance;
    let signed = match key {
        Some(key) => format!("signed by {key}"),
        None => "not signed".to_owned(),
    };
    let stale = if stale.is_some() { "; its tag could not be looked up" } else { "" };
    format!(", {reference} as {digest}, {signed}{stale}")
}

fn standing(standing: Standing) -> (&'static str, &'static str) {
    match standing {
        Standing::Healthy => ("good", "healthy"),
        Standing::Degraded => ("warn", "degraded, keeps failing"),
        Standing::HalfOpen => ("bad", "quarantined, is tried"),
        Standing::Quarantined => ("bad", "quarantined, not asked"),
    }
}

/// A time span in its two largest units.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{} d {hours} h", grouped(days)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_have_two_units() {
        let cases = [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7_260, "2 h 1 min"), (90_000, "1 d 1 h")];
        for (seconds, expected) in cases {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }
}
