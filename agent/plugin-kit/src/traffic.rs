//! Events as files: one line each, either the event's own text or an event as `weir tap --record` writes it. The form is
//! in docs/FORMATS.md.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_event::batch::MAX_EVENT_BYTES;
use weir_event::stream::{ATTRIBUTE_NAMES, Attributes};
use weir_event::time::{parse_rfc3339, write_rfc3339};

/// The version that is written.
const VERSION: u64 = 1;
/// JSON makes up to six bytes of one, and the attributes need room.
const MAX_LINE_BYTES: u64 = 6 * MAX_EVENT_BYTES as u64 + (64 << 10);

/// An event, with as much as is known of where and when it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its text as it was read.
    pub text: String,
    /// The attributes of its stream, such as `namespace`.
    pub attributes: BTreeMap<String, String>,
    /// Nanoseconds since the Unix epoch.
    pub time: Option<i64>,
}

/// A recorded event as a line of JSON has it.
#[derive(Debug, Deserialize, Serialize)]
struct Recorded {
    v: u64,
    time: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    text: String,
}

/// What is wrong with a file of events.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// It cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line is not what it begins as.
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// The events of a file, one after the other: recordings may be larger than memory.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    lines: BufReader<File>,
    line: usize,
}

// === impl Event ===

impl Event {
    /// An event of which only the text is known.
    pub fn new(text: impl Into<String>) -> Event {
        Event { text: text.into(), ..Event::default() }
    }

    /// What a line of a file says. An error is for a recorded event that is not whole.
    pub fn parse(line: &str) -> Result<Event, String> {
        // A log line may be any JSON; one that begins as we write it was written by us.
        if !line.starts_with("{\"v\":") {
            return Ok(Event::new(line));
        }
        let recorded: Recorded = serde_json::from_str(line)
            .map_err(|error| format!("it begins as a recorded event and is none: {error}"))?;
        if recorded.v != VERSION {
            return Err(format!("it is of version {}, and {VERSION} is what is known here", recorded.v));
        }
        if let Some(name) = recorded.attributes.keys().find(|name| !ATTRIBUTE_NAMES.contains(&name.as_str()))
        {
            let known = ATTRIBUTE_NAMES.join(", ");
            return Err(format!("`{name}` is no attribute of a stream; there are {known}"));
        }
        let time = parse_rfc3339(recorded.time.as_bytes()).ok_or_else(|| {
            "its `time` is not of RFC 3339, as 2026-01-02T03:04:05.000000000Z is".to_owned()
        })?;
        Ok(Event { text: recorded.text, attributes: recorded.attributes, time: Some(time) })
    }

    /// The attributes of its stream, empty where they are not known.
    pub fn stream_attributes(&self) -> Attributes {
        let value = |name: &str| self.attributes.get(name).cloned().unwrap_or_default();
        Attributes {
            source: value("source"),
            cluster: value("cluster"),
            node: value("node"),
            namespace: value("namespace"),
            pod: value("pod"),
            container: value("container"),
            uid: value("uid"),
            stream: value("stream"),
            path: value("path"),
            tag: value("tag"),
            family: None,
        }
    }

    /// Appends it as a recorded event, with a newline behind it. An event without a time gets that of the epoch.
    pub fn record(&self, out: &mut Vec<u8>) {
        let mut time = Vec::new();
        write_rfc3339(&mut time, self.time.unwrap_or_default());
        let recorded = Recorded {
            v: VERSION,
            time: String::from_utf8_lossy(&time).into_owned(),
            attributes: self.attributes.clone(),
            text: self.text.clone(),
        };
        // Maps with text for keys and no failing member: there is nothing that could go wrong.
        out.extend(serde_json::to_vec(&recorded).unwrap_or_default());
        out.push(b'\n');
    }
}

// === impl Events ===

impl Events {
    /// Opens a file of events.
    pub fn open(path: &Path) -> Result<Events, TrafficError> {
        let file = File::open(path).map_err(|source| TrafficError::Read { path: path.to_owned(), source })?;
        Ok(Events { path: path.to_owned(), lines: BufReader::new(file), line: 0 })
    }

    fn read_line(&mut self) -> Result<Option<Event>, TrafficError> {
        let mut bytes = Vec::new();
        let mut capped = (&mut self.lines).take(MAX_LINE_BYTES + 1);
        capped
            .read_until(b'\n', &mut bytes)
            .map_err(|source| TrafficError::Read { path: self.path.clone(), source })?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        let at = |problem| TrafficError::Line { path: self.path.clone(), line: self.line, problem };
        if bytes.len() as u64 > MAX_LINE_BYTES {
            return Err(at(format!("it has more than {MAX_LINE_BYTES} bytes")));
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Event::parse(text).map(Some).map_err(at)
    }
}

impl Iterator for Events {
    type Item = Result<Event, TrafficError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_line().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_event_comes_back() {
        let event = Event {
            text: "{\"level\":\"info\"}\u{0} \"quoted\"".into(),
            attributes: [("namespace".to_owned(), "shop".to_owned())].into(),
            time: Some(1_795_341_600_123_456_789),
        };
        let mut line = Vec::new();
        event.record(&mut line);
        let line = String::from_utf8(line).unwrap();
        assert!(
            line.starts_with("{\"v\":1,\"time\":\"2026-11-22T10:00:00.123456789Z\",\"attributes\":{"),
            "{line}"
        );
        assert_eq!(Event::parse(line.trim_end()), Ok(event));
    }

    #[test]
    fn any_other_line_is_the_event_itself() {
        for line in ["", "plain", "{\"level\":\"info\"}", "{\"version\":1,\"text\":\"a\"}"] {
            assert_eq!(Event::parse(line), Ok(Event::new(line)));
        }
    }

    #[test]
    fn a_recorded_event_that_is_not_whole_is_an_error() {
        let cases = [
            (r#"{"v":1,"time":"2026-11-22T10:00:00Z"}"#, "missing field `text`"),
            (r#"{"v":2,"time":"2026-11-22T10:00:00Z","text":""}"#, "version 2"),
            (r#"{"v":1,"time":"yesterday","text":""}"#, "RFC 3339"),
            (r#"{"v":1,"time":"2026-11-22T10:00:00Z","attributes":{"host":"a"},"text":""}"#, "`host`"),
        ];
        for (line, expected) in cases {
            let error = Event::parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn a_file_is_read_line_by_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"one\n\xff\n{\"v\":1}\n").unwrap();
        let events: Vec<_> = Events::open(file.path()).unwrap().map(|event| event.map(|e| e.text)).collect();
        assert_eq!(events[0].as_deref().ok(), Some("one"));
        assert_eq!(events[1].as_deref().ok(), Some("\u{fffd}"));
        assert!(events[2].as_ref().unwrap_err().to_string().contains("line 3"));
        assert_eq!(events.len(), 3);
    }
}
