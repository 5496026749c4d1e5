//! Runs a plugin as the agent would, without WebAssembly: events are lines of JSON, the plugin sees columns of what
//! its plan reads, and what it decides comes back row by row. For unit tests and benches of plugins.
//!
//! The documents are the event's own members, before the agent adds its envelope (`@timestamp`, `cluster`, `node`,
//! `kubernetes`, `stream`, `log`, `event`).

mod document;
mod fixtures;
mod outcome;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use crate::bindings::{self, Column, Context, Plan};
use crate::transform::{ConfigError, Transform};
use crate::{Json, Kind, export};
use document::{Members, Node};

pub use fixtures::check_fixtures;

/// 2026-01-01T00:00:00Z: what [`Agent::now`] begins with.
const NEW_YEAR_NANOSECONDS: i64 = 1_767_225_600_000_000_000;
const MILLISECOND_NANOSECONDS: i64 = 1_000_000;

/// What can go wrong in a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The plugin refused its configuration.
    Config(ConfigError),
    /// The plugin answered what the agent would treat as a fault.
    Fault(String),
    /// A fixture can't be read or came out differently.
    Fixture(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(error) => write!(formatter, "the plugin refused its configuration: {error}"),
            Error::Fault(what) => {
                write!(formatter, "the agent would treat this as a fault of the plugin: {what}")
            }
            Error::Fixture(what) => formatter.write_str(what),
        }
    }
}

impl std::error::Error for Error {}

/// What became of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// Kept; the document after all edits.
    Kept(Json),
    /// Dropped for the reason of this name.
    Dropped(String),
}

/// An event that the plugin made.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The row that it was made from.
    pub parent: usize,
    /// Its members.
    pub document: Json,
}

/// What came of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// One for each event, in order.
    pub rows: Vec<Fate>,
    /// Events that the plugin made.
    pub events: Vec<Made>,
}

/// An event to run a plugin on.
#[derive(Clone, Debug)]
pub struct Event {
    text: String,
    attributes: BTreeMap<String, String>,
    time: Option<i64>,
}

impl Event {
    /// An event of one line. A line that is not a JSON object becomes one with the text as `message`.
    pub fn new(line: impl Into<String>) -> Event {
        Event { text: line.into(), attributes: BTreeMap::new(), time: None }
    }

    /// Gives the event's stream an attribute, such as `namespace`.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Event {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// Sets the event's time, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn time(mut self, nanoseconds: i64) -> Event {
        self.time = Some(nanoseconds);
        self
    }
}

impl<T: Into<String>> From<T> for Event {
    fn from(line: T) -> Event {
        Event::new(line)
    }
}

/// Stands for the agent: holds one configured plugin and hands it batches.
pub struct Agent<T> {
    plugin: T,
    plan: Plan,
    /// Now, in nanoseconds since the Unix epoch. Events without a time of their own follow it by a millisecond each.
    pub now: i64,
    /// How full the buffers behind the pipeline are: 0 empty, 1 full.
    pub pressure: f32,
}

// Not derived: a plugin need not be `Debug` for a test to unwrap the error of configuring it.
impl<T> fmt::Debug for Agent<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Agent").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<T: Transform> Agent<T> {
    /// Configures the plugin.
    ///
    /// # Errors
    /// [`Error::Config`] where the plugin refuses the configuration.
    pub fn configure(config: Json) -> Result<Agent<T>, Error> {
        let (plugin, plan) = export::build(config).map_err(Error::Config)?;
        Ok(Agent { plugin, plan, now: NEW_YEAR_NANOSECONDS, pressure: 0.0 })
    }

    /// The plan as the agent gets it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Runs the plugin on one batch.
    ///
    /// # Errors
    /// [`Error::Fault`] where the plugin's answer is not what the agent accepts.
    pub fn run<E: Into<Event>>(&mut self, events: impl IntoIterator<Item = E>) -> Result<Run, Error> {
        let events: Vec<Event> = events.into_iter().map(Into::into).collect();
        let documents: Vec<Node> = events.iter().map(|event| parse(&event.text)).collect();
        let (batch, context) = self.batch(&events, &documents);
        let answer = self.call(&batch, &context);
        outcome::apply(&self.plan, documents.into_iter().map(members).collect(), answer).map_err(Error::Fault)
    }

    /// The batch and context that the plugin would be handed for these events, to call it with by itself.
    pub fn prepare<E: Into<Event>>(&self, events: impl IntoIterator<Item = E>) -> (bindings::Batch, Context) {
        let events: Vec<Event> = events.into_iter().map(Into::into).collect();
        let documents: Vec<Node> = events.iter().map(|event| parse(&event.text)).collect();
        self.batch(&events, &documents)
    }

    /// Calls the plugin and nothing more: what a bench measures.
    pub fn call(&mut self, batch: &bindings::Batch, context: &Context) -> bindings::Outcome {
        export::run(&mut self.plugin, batch, context)
    }

    fn batch(&self, events: &[Event], documents: &[Node]) -> (bindings::Batch, Context) {
        let mut attributes: Vec<&BTreeMap<String, String>> = Vec::new();
        let mut streams = Vec::new();
        for event in events {
            let known = attributes.iter().position(|&known| *known == event.attributes);
            let stream = known.unwrap_or_else(|| {
                attributes.push(&event.attributes);
                attributes.len() - 1
            });
            streams.push(stream as u32);
        }
        let later = (0..).map(|row| self.now + row * MILLISECOND_NANOSECONDS);
        let times = events.iter().zip(later).map(|(event, later)| event.time.unwrap_or(later)).collect();
        let columns =
            self.plan.reads.iter().map(|path| column(documents.iter().map(|node| read(node, path))));
        let batch = bindings::Batch { rows: events.len() as u32, streams, times, columns: columns.collect() };
        let attribute = |name: &String| {
            column(attributes.iter().map(|stream| match stream.get(name) {
                Some(value) => (Kind::String, value.clone().into_bytes()),
                None => (Kind::Absent, Vec::new()),
            }))
        };
        let attributes = self.plan.attributes.iter().map(attribute).collect();
        (batch, Context { now: self.now, pressure: self.pressure, attributes })
    }
}

fn parse(line: &str) -> Node {
    match Node::parse(line) {
        Ok(node @ Node::Object { .. }) => node,
        _ => {
            let message = Node::Other(Json::from(line).to_string());
            let text = crate::json!({"message": line}).to_string();
            Node::Object { text, members: vec![("message".into(), message)] }
        }
    }
}

fn members(node: Node) -> Members {
    match node {
        Node::Object { members, .. } => members,
        Node::Array { .. } | Node::Other(_) => Members::new(),
    }
}

fn read(event: &Node, path: &str) -> (Kind, Vec<u8>) {
    let found = match event {
        Node::Object { .. } if path == "*" => Some(event),
        Node::Object { members, .. } => document::find(members, path),
        Node::Array { .. } | Node::Other(_) => None,
    };
    found.map_or((Kind::Absent, Vec::new()), Node::kind_and_bytes)
}

fn column(values: impl Iterator<Item = (Kind, Vec<u8>)>) -> Column {
    let mut column = Column { kinds: Vec::new(), offsets: vec![0], data: Vec::new() };
    for (kind, bytes) in values {
        column.kinds.push(kind as u8);
        column.data.extend_from_slice(&bytes);
        column.offsets.push(column.data.len() as u32);
    }
    column
}
