//! Walking through selected events, frame by frame: hours in order, objects by their first event, frames in order.

use std::collections::{HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::hours::{HourFiles, Hours};
use super::matcher::Matcher;
use super::object::{Asked, OpenObject};
use super::outcome::Outcome;
use super::plan::{Candidate, plan};
use super::seen::Seen;
use super::{Event, ReadError, Reader, Selection};
use crate::key::Hour;
use crate::line::Line;
use crate::object::{Frame, lines};

/// Longest cursor that is read, in bytes: that of an hour with 50,000 objects.
const MAX_CURSOR_BYTES: usize = 8 * 1024 * 1024;

/// Where a replay stands: everything before was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// 1.
    version: u32,
    /// The namespace's folder; empty at the very beginning.
    namespace: String,
    /// The hour in it, as `2023-11-14T22`; empty at the very beginning.
    hour: String,
    /// Names of the data objects of this hour of which everything was given.
    done: Vec<String>,
    /// The data object of which frames were given; empty for none.
    object: String,
    /// The index of the first of its frames that is still to come.
    frame: u64,
}

/// Why a text is no cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of a replay that this version of weir can go on with: {0}; start without it")]
pub struct CursorError(String);

/// Some events of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Their namespace; empty where they have none.
    pub namespace: String,
    /// The hour that they lie in.
    pub hour: Hour,
    /// The key of their object.
    pub key: String,
    /// The events, in the order of time.
    pub events: Vec<Event>,
}

/// Gives the selected events of an archive, each once: namespace by namespace, hour by hour, object by object, and in
/// the order of time within an object.
pub struct Replay {
    reader: Reader,
    asked: Asked,
    matcher: Matcher,
    hours: Hours,
    /// Where an earlier replay stood.
    resume: Option<(Hour, Cursor)>,
    /// The hour that is to be planned.
    next: Option<HourFiles>,
    hour: Option<Walked>,
    /// Where it stood before this hour.
    last: Cursor,
    seen: Seen,
    outcome: Outcome,
}

/// An hour that is being read.
struct Walked {
    files: HourFiles,
    left: VecDeque<Step>,
    open: Option<(OpenObject, Step)>,
    done: Vec<String>,
    /// The frame behind the last that was given of the open object.
    frame: usize,
}

/// A data object of an hour in its turn.
struct Step {
    candidate: Candidate,
    /// Frames before this one were given by an earlier replay; [`ALL`] where nothing of it is to be given again.
    given: usize,
    /// The first time that an object behind this one may hold and give.
    others_from: i64,
}

/// Every frame of an object.
const ALL: usize = usize::MAX;

// === impl Cursor ===

impl Cursor {
    /// As text, to be kept.
    ///
    /// # Errors
    ///
    /// None that can be; serde's type has one.
    pub fn render(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Reads what [`Cursor::render`] made.
    ///
    /// # Errors
    ///
    /// Another text.
    pub fn parse(text: &str) -> Result<Cursor, CursorError> {
        if text.len() > MAX_CURSOR_BYTES {
            return Err(CursorError("it is too long".into()));
        }
        let cursor: Cursor = serde_json::from_str(text).map_err(|error| CursorError(error.to_string()))?;
        if cursor.version != 1 {
            return Err(CursorError(format!("its version is {}", cursor.version)));
        }
        if !cursor.hour.is_empty() && Hour::parse_text(&cursor.hour).is_none() {
            return Err(CursorError("its hour is none".into()));
        }
        Ok(cursor)
    }

    fn at(files: &HourFiles) -> Cursor {
        let (namespace, hour) = (files.namespace_folder.clone(), files.hour.text());
        Cursor { version: 1, namespace, hour, ..Cursor::default() }
    }

    fn is_at(&self, files: &HourFiles) -> bool {
        self.namespace == files.namespace_folder && self.hour == files.hour.text()
    }
}

// === impl Reader ===

impl Reader {
    /// Gives the selected events again, from the beginning or from where a replay of the same selection stood.
    ///
    /// # Errors
    ///
    /// A condition without a path, or a store that does not list its namespaces.
    pub fn replay(&self, selection: &Selection, cursor: Option<Cursor>) -> Result<Replay, ReadError> {
        let mut hours = Hours::new(self, selection.from, selection.to, &selection.namespaces)?;
        let resume = cursor.and_then(|cursor| Some((Hour::parse_text(&cursor.hour)?, cursor)));
        let mut last = Cursor { version: 1, ..Cursor::default() };
        if let Some((hour, cursor)) = &resume {
            hours.skip_to(&cursor.namespace, *hour);
            last = cursor.clone();
        }
        let asked = Asked::new(selection);
        Ok(Replay {
            reader: self.clone(),
            matcher: Matcher::new(&asked)?,
            asked,
            hours,
            resume,
            next: None,
            hour: None,
            last,
            seen: Seen::default(),
            outcome: Outcome::default(),
        })
    }
}

// === impl Replay ===

impl Replay {
    /// The next events; `None` behind the last. After an error it may be called again, and goes on where it was. Blocks.
    ///
    /// # Errors
    ///
    /// A store that does not answer.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, ReadError> {
        loop {
            let Some(hour) = &mut self.hour else {
                if !self.begin_hour()? {
                    return Ok(None);
                }
                continue;
            };
            if hour.open.is_some() {
                if let Some(chunk) = self.read_frame()? {
                    return Ok(Some(chunk));
                }
            } else if let Some(step) = hour.left.front() {
                let open = step.open(&self.reader, &self.asked, &mut self.outcome)?;
                self.seen.forget_before(step.candidate.first.min(step.others_from));
                hour.begin(open);
            } else {
                self.last = hour.cursor();
                self.hour = None;
            }
        }
    }

    /// Where it stands: behind the last events that it gave.
    pub fn cursor(&self) -> Cursor {
        self.hour.as_ref().map_or_else(|| self.last.clone(), Walked::cursor)
    }

    /// What it came to until now.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// What it came to.
    pub fn into_outcome(self) -> Outcome {
        self.outcome
    }

    /// Plans the next hour. False when there is none.
    fn begin_hour(&mut self) -> Result<bool, ReadError> {
        if self.next.is_none() {
            self.next = self.hours.next(&self.reader)?;
        }
        let Some(files) = &self.next else { return Ok(false) };
        let mut outcome = Outcome::default();
        let candidates = plan(&self.reader, files, &self.asked, &mut outcome)?;
        self.outcome.add(outcome);
        let cursor = self.resume.as_ref().map(|(_, cursor)| cursor).filter(|cursor| cursor.is_at(files));
        let left = steps(candidates, cursor.unwrap_or(&Cursor::default()));
        let done = cursor.map(|cursor| cursor.done.clone()).unwrap_or_default();
        self.seen.clear();
        let files = self.next.take();
        self.hour = files.map(|files| Walked { files, left, open: None, done, frame: 0 });
        Ok(true)
    }

    fn read_frame(&mut self) -> Result<Option<Chunk>, ReadError> {
        let Some(hour) = &mut self.hour else { return Ok(None) };
        let Some((object, step)) = &mut hour.open else { return Ok(None) };
        let Some((index, raw)) = object.next(&self.reader, &mut self.outcome)? else {
            hour.end_object();
            return Ok(None);
        };
        hour.frame = hour.frame.max(index.saturating_add(1));
        let mut events = Vec::new();
        for line in lines(raw.as_deref().unwrap_or_default()).filter_map(Line::parse) {
            self.outcome.events_read += 1;
            let is_in_time = (self.asked.from..self.asked.to).contains(&line.time);
            if !is_in_time || !self.matcher.matches(line.document, &self.asked) {
                continue;
            }
            if self.seen.contains(line.time, line.id) {
                self.outcome.duplicates += u64::from(index >= step.given);
                continue;
            }
            if line.time >= step.others_from {
                self.outcome.forgotten += u64::from(self.seen.insert(line.time, line.id));
            }
            if index >= step.given {
                events.push(Event { id: line.id, time: line.time, document: line.document.to_vec() });
            }
        }
        self.outcome.events += events.len() as u64;
        if events.is_empty() {
            return Ok(None);
        }
        Ok(Some(Chunk {
            namespace: object.footer.table.namespace.clone(),
            hour: hour.files.hour,
            key: object.candidate.key.clone(),
            events,
        }))
    }
}

// === impl Walked ===

impl Walked {
    /// Goes over to the first object that is left.
    fn begin(&mut self, open: Option<OpenObject>) {
        let Some(step) = self.left.pop_front() else { return };
        self.frame = if step.given == ALL { 0 } else { step.given };
        match open {
            Some(open) => self.open = Some((open, step)),
            None => self.done.push(step.candidate.name),
        }
    }

    fn end_object(&mut self) {
        if let Some((_, step)) = self.open.take()
            && step.given != ALL
        {
            self.done.push(step.candidate.name);
        }
    }

    fn cursor(&self) -> Cursor {
        let mut cursor = Cursor { done: self.done.clone(), ..Cursor::at(&self.files) };
        let open = self.open.iter().map(|(_, step)| (step, self.frame));
        let partly = open.chain(self.left.iter().map(|step| (step, step.given)));
        if let Some((step, frame)) =
            partly.filter(|(step, _)| step.given != ALL).find(|(_, frame)| *frame > 0)
        {
            (cursor.object, cursor.frame) = (step.candidate.name.clone(), frame as u64);
        }
        cursor
    }
}

// === impl Step ===

impl Step {
    /// Opens the object; `None` where it is damaged. Frames that were given are read again where another object may
    /// hold a copy of their events.
    fn open(
        &self,
        reader: &Reader,
        asked: &Asked,
        outcome: &mut Outcome,
    ) -> Result<Option<OpenObject>, ReadError> {
        let is_over = |at: usize, frame: &Frame| at < self.given && frame.last < self.others_from;
        OpenObject::open(reader, &self.candidate, asked, is_over, outcome)
    }
}

/// The turns of an hour's objects: what an earlier replay gave and others may have copies of, the object in which it
/// stood, the others.
fn steps(candidates: Vec<Candidate>, cursor: &Cursor) -> VecDeque<Step> {
    let done: HashSet<&str> = cursor.done.iter().map(String::as_str).collect();
    let (given, rest): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| done.contains(candidate.name.as_str()));
    let (partly, rest): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|candidate| candidate.name == cursor.object);
    let frame = usize::try_from(cursor.frame).unwrap_or(ALL - 1);
    let ordered = given.into_iter().map(|candidate| (candidate, ALL));
    let ordered = ordered.chain(partly.into_iter().map(|candidate| (candidate, frame)));
    let ordered: Vec<_> = ordered.chain(rest.into_iter().map(|candidate| (candidate, 0))).collect();
    let mut steps = VecDeque::with_capacity(ordered.len());
    let mut others_from = i64::MAX;
    for (candidate, given) in ordered.into_iter().rev() {
        let first = candidate.first;
        if given == ALL && candidate.last < others_from {
            continue;
        }
        steps.push_front(Step { candidate, given, others_from });
        if given != ALL {
            others_from = others_from.min(first);
        }
    }
    steps
}
