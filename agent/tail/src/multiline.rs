//! Which lines of a stream make one event.
//!
//! 1. Whether a line belongs to the group before it follows from the lines since the group's first, and from nothing
//!    else: what is read again from there is joined alike. The exception are groups that a timer ended, and those
//!    places are noted in the checkpoints before the event leaves.
//! 2. A line can belong to a group perhaps: a blank one, or the second of a message. Then what follows decides; if it
//!    does not go on with the group, the line was an event of its own.
//! 3. A line that is a JSON object is an event of its own.
//! 4. After a group was cut at its bounds all is as at the beginning: what follows is judged without it.

use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};

use crate::settings::{Joining, Multiline, Preset, SettingsError};

mod dotnet;
mod go;
mod java;
mod python;
mod words;

/// How many languages there are presets for.
const PRESETS: usize = 4;
/// At most so many lines belong to a group perhaps before one does for sure.
pub(crate) const MAX_PENDING: usize = 12;
/// A compiled regular expression takes at most so much memory.
const MAX_REGEX_BYTES: usize = 1024 * 1024;

/// Where a group stands, for each language that it may be of; 0 for those that it cannot be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State([u8; PRESETS]);

/// What a line is to the group before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It belongs to it.
    Joins(State),
    /// It does if a later line does.
    Perhaps(State),
    /// The group ended before it.
    Ends,
}

/// What a language says of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Sure(u8),
    Perhaps(u8),
    No,
}

/// One language: how a group begins, if it does, and how it goes on.
struct Language {
    start: fn(&[u8]) -> Option<u8>,
    next: fn(u8, &[u8]) -> Step,
}

const LANGUAGES: [Language; PRESETS] = [
    Language { start: java::start, next: java::next },
    Language { start: python::start, next: python::next },
    Language { start: go::start, next: go::next },
    Language { start: dotnet::start, next: dotnet::next },
];

/// How a source's lines are joined.
#[derive(Debug)]
pub(crate) struct Grammar {
    rule: Rule,
    pub timeout: Duration,
    pub max_lines: usize,
    pub max_bytes: usize,
}

#[derive(Debug)]
enum Rule {
    Presets([bool; PRESETS]),
    Start(Regex),
}

// === impl Grammar ===

impl Grammar {
    pub(crate) fn new(settings: &Multiline) -> Result<Grammar, SettingsError> {
        let rule = match &settings.joining {
            Joining::Presets(presets) => {
                let mut wanted = [false; PRESETS];
                for preset in presets {
                    wanted[index(*preset)] = true;
                }
                Rule::Presets(wanted)
            }
            Joining::Start(pattern) => {
                let error = |error: regex::Error| SettingsError::Regex {
                    pattern: pattern.clone(),
                    reason: error.to_string(),
                };
                Rule::Start(RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).build().map_err(error)?)
            }
        };
        let Multiline { timeout, max_lines, max_bytes, .. } = *settings;
        Ok(Grammar { rule, timeout, max_lines: max_lines.max(1), max_bytes: max_bytes.max(1) })
    }

    /// Whether a line begins a group, or may.
    #[inline]
    pub(crate) fn start(&self, line: &[u8]) -> Option<State> {
        if line.first() == Some(&b'{') && is_json_object(line) {
            return None;
        }
        match &self.rule {
            Rule::Presets(wanted) => {
                if line.is_empty() {
                    return None;
                }
                let mut state = State::default();
                for ((language, wanted), state) in LANGUAGES.iter().zip(wanted).zip(&mut state.0) {
                    if *wanted {
                        *state = (language.start)(line).unwrap_or(0);
                    }
                }
                (state != State::default()).then_some(state)
            }
            Rule::Start(_) => (!is_json_object(line)).then_some(State::default()),
        }
    }

    /// What a line is to the group before it.
    pub(crate) fn next(&self, state: State, line: &[u8]) -> Next {
        if is_json_object(line) {
            return Next::Ends;
        }
        match &self.rule {
            Rule::Start(start) if start.is_match(line) => Next::Ends,
            Rule::Start(_) => Next::Joins(state),
            Rule::Presets(_) => self.next_of_trace(state, line),
        }
    }

    fn next_of_trace(&self, state: State, line: &[u8]) -> Next {
        let mut next = State::default();
        let mut sure = false;
        for ((language, state), next) in LANGUAGES.iter().zip(state.0).zip(&mut next.0) {
            if state == 0 {
                continue;
            }
            match (language.next)(state, line) {
                Step::Sure(state) => (*next, sure) = (state, true),
                Step::Perhaps(state) => *next = state,
                Step::No => {}
            }
        }
        if sure {
            return Next::Joins(next);
        }
        // What may begin a group is not taken for the message of the one before.
        if next == State::default() || self.start(line).is_some() || words::is_record(line) {
            return Next::Ends;
        }
        Next::Perhaps(next)
    }
}

fn index(preset: Preset) -> usize {
    match preset {
        Preset::Java => 0,
        Preset::Python => 1,
        Preset::Go => 2,
        Preset::Dotnet => 3,
    }
}

/// Whether a line is a JSON object, by its first and last characters.
fn is_json_object(line: &[u8]) -> bool {
    let trimmed = line.trim_ascii();
    trimmed.first() == Some(&b'{') && trimmed.last() == Some(&b'}')
}
