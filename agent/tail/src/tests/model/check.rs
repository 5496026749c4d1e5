//! What must have come, what may be missing, and what may not have come twice.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use weir_event::batch::Flags;
use weir_event::identity::EventId;

use super::Model;
use super::writer::Line;
use crate::settings::Format;
use crate::tests::rig::Event;

/// The numbers of the lines in an event.
pub(super) fn lines_of(event: &Event) -> Vec<Line> {
    lines_in(&event.text())
}

fn lines_in(text: &str) -> Vec<Line> {
    let marks = text.split('<').skip(1);
    marks.filter_map(|mark| mark.split('>').next()?.split_once(':')?.1.parse().ok()).collect()
}

pub(super) fn check(model: &Model) -> Result<(), TestCaseError> {
    let events: Vec<&Event> = model.runs.iter().flatten().collect();
    let mangled = mangled(model, &events);
    let mut ids: HashMap<EventId, &Event> = HashMap::new();
    for event in &events {
        if let Some(known) = ids.insert(event.id, event) {
            prop_assert_eq!(&known.content, &event.content);
            prop_assert_eq!(&known.raw, &event.raw);
            prop_assert_eq!(known.time, event.time);
        }
        let flags = event.flags.0 & !Flags::AFTER_TRUNCATION.0;
        let is_mangled = lines_of(event).iter().any(|line| mangled.contains(line));
        prop_assert!(flags == 0 || is_mangled, "{} has flags {}", event.text(), flags);
    }
    let delivered = model.rig.delivered();
    let delivered: HashSet<String> = delivered.iter().flat_map(texts).collect();
    let expected: HashSet<&String> = model.writer.expected.iter().collect();
    let is_missing = |text: &&String| {
        let lines = lines_in(text);
        let may_be = |line: &Line| model.unreadable.contains(line) || mangled.contains(line);
        !delivered.contains(*text) && !lines.iter().any(may_be)
    };
    let missing: Vec<&String> = model.writer.expected.iter().filter(is_missing).take(9).collect();
    prop_assert!(missing.is_empty(), "missing {:?}", missing);
    let mut seen: HashSet<Line> = HashSet::new();
    let lines = ids.values().flat_map(|event| lines_of(event));
    let doubled: Vec<Line> =
        lines.filter(|line| !seen.insert(*line) && !mangled.contains(line)).take(9).collect();
    prop_assert!(doubled.is_empty(), "doubled {:?}", doubled);
    let unknown: Vec<String> = delivered
        .iter()
        .filter(|text| !lines_in(text).iter().any(|line| mangled.contains(line)))
        .filter(|text| !expected.contains(text))
        .take(9)
        .cloned()
        .collect();
    prop_assert!(unknown.is_empty(), "nobody wrote {:?}", unknown);
    if model.unreadable.is_empty() {
        prop_assert_eq!(&*model.rig.collected.lock().unwrap().lost, &[]);
    }
    // Names of text files do not say which of them is older: after a restart their order is that of being seen first.
    let ordered = if model.writer.format == Format::Text { 1 } else { model.runs.len() };
    for run in model.runs.iter().take(ordered) {
        check_order(run)?;
    }
    Ok(())
}

fn texts(event: &Event) -> Vec<String> {
    event.text().split('\n').map(str::to_owned).collect()
}

/// Lines that were part of one event with others that cannot be read again: what is left of it is another event. So is
/// what only a line that cannot be read again had kept apart.
fn mangled(model: &Model, events: &[&Event]) -> HashSet<Line> {
    let mut mangled = HashSet::new();
    let marks = model.writer.expected.iter().flat_map(|text| text.split('<').skip(1));
    let outputs: HashMap<Line, &str> = marks
        .filter_map(|mark| mark.split('>').next()?.split_once(':'))
        .filter_map(|(output, line)| Some((line.parse().ok()?, output)))
        .collect();
    let is_one_output = |one: &Line, other: &Line| {
        model.writer.format == Format::Text || outputs.get(one) == outputs.get(other)
    };
    let spans_destroyed = |lines: &[Line]| {
        let (Some(first), Some(last)) = (lines.iter().min(), lines.iter().max()) else { return false };
        model.destroyed.iter().any(|line| first < line && line < last && is_one_output(line, first))
    };
    let written = model.writer.expected.iter().map(|text| lines_in(text));
    let together: Vec<Vec<Line>> = events.iter().map(|event| lines_of(event)).chain(written).collect();
    loop {
        let before = mangled.len();
        for lines in together.iter().filter(|lines| lines.len() > 1) {
            let is_hit = |line: &Line| model.destroyed.contains(line) || mangled.contains(line);
            if lines.iter().any(is_hit) || spans_destroyed(lines) {
                mangled.extend(lines);
            }
        }
        if mangled.len() == before {
            return mangled;
        }
    }
}

/// Within a run, what was written to one output of a container, or to one file, comes in the order of writing.
fn check_order(run: &[Event]) -> Result<(), TestCaseError> {
    let mut last: HashMap<(&str, &str), Line> = HashMap::new();
    for event in run {
        let first = lines_of(event).first().copied().unwrap_or_default();
        let before = last.insert((&event.attributes.path, &event.attributes.stream), first);
        let is_later = before.is_none_or(|before| before < first);
        prop_assert!(is_later, "{} of {} came too late", event.text(), event.attributes.path);
    }
    Ok(())
}
