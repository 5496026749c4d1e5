//! `weir explain`: what becomes of one event, asked of the running agent.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use weir_event::batch::MAX_EVENT_BYTES;

use crate::admin::explain::{Answer, LeavingAnswer, Question, StageAnswer};
use crate::admin::{client, place};
use crate::output::{self, Format, Painter, Style};

/// Asks the agent with this data folder, and shows its answer. `event` of `-` is read from standard input.
pub fn explain(data_dir: &Path, mut question: Question, format: Format) -> ExitCode {
    if question.event == "-" {
        match read_event() {
            Ok(event) => question.event = event,
            Err(error) => return refuse(&format!("cannot read the event from standard input: {error}")),
        }
    }
    match ask(data_dir, &question) {
        Ok(answer) => match format {
            Format::Json => output::print(&output::json(&answer), ExitCode::SUCCESS),
            Format::Text => output::print(&text(&answer, Painter::stdout()), ExitCode::SUCCESS),
        },
        Err(message) => refuse(&message),
    }
}

fn refuse(message: &str) -> ExitCode {
    output::complain(message);
    ExitCode::FAILURE
}

/// The first line: one event is explained at a time.
fn read_event() -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(2 * MAX_EVENT_BYTES as u64).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn ask(data_dir: &Path, question: &Question) -> Result<Answer, String> {
    let place = place::find(data_dir).ok_or_else(|| place::nobody(data_dir))?;
    let json = serde_json::to_vec(question).map_err(|error| error.to_string())?;
    let answer = client::post(&place, "/api/explain", json)
        .map_err(|error| format!("the agent at {} cannot explain it: {error}", place.address))?;
    serde_json::from_slice(&answer)
        .map_err(|error| format!("the answer of {} is not understood: {error}", place.address))
}

fn text(answer: &Answer, painter: Painter) -> String {
    let mut lines = Vec::new();
    let Answer { generation, pipeline, source, .. } = answer;
    lines.push(format!("source {source} → pipeline {pipeline}, generation {generation}"));
    lines.push(String::new());
    lines.push(painter.paint(Style::Bold, "read as"));
    lines.push(format!("  {}", answer.document.get()));
    let mut before = answer.document.get();
    for stage in &answer.stages {
        lines.push(String::new());
        before = stage_text(stage, before, painter, &mut lines);
    }
    lines.push(String::new());
    for LeavingAnswer { id, to, .. } in &answer.leaves {
        for place in to {
            let index = place.index.as_ref().map(|index| format!(", index {index}")).unwrap_or_default();
            lines.push(format!("{} {}{index}, id {id}", painter.paint(Style::Green, "goes to"), place.sink));
        }
    }
    if answer.leaves.is_empty() {
        lines.push("nothing leaves the pipeline".to_owned());
    } else {
        lines.push("ids are made of an event's place in its file too, which is not known here".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Says what a stage did; what is left of the document.
fn stage_text<'a>(
    stage: &'a StageAnswer,
    before: &'a str,
    painter: Painter,
    lines: &mut Vec<String>,
) -> &'a str {
    let style = match stage.fate.as_str() {
        "kept" => Style::Green,
        "failed" => Style::Red,
        _ => Style::Yellow,
    };
    let why = match (stage.fate.as_str(), &stage.reason) {
        ("failed", Some(policy)) => format!(", on_error: {policy}"),
        (_, Some(reason)) => format!(", reason {reason}"),
        (_, None) => String::new(),
    };
    let name = painter.paint(Style::Bold, &stage.stage);
    lines.push(format!("{name}: {}{why} ({} µs)", painter.paint(style, &stage.fate), stage.microseconds));
    if stage.created > 0 {
        lines.push(format!("  made {} events", stage.created));
    }
    if stage.refused > 0 {
        lines.push(format!("  {} edits or events of its answer were refused", stage.refused));
    }
    let mut after = before;
    for (number, document) in stage.documents.iter().enumerate() {
        if number == 0 && document.get() == before {
            lines.push("  changed nothing".to_owned());
        } else {
            lines.push(format!("  {}", document.get()));
        }
        if number == 0 {
            after = document.get();
        }
    }
    after
}
