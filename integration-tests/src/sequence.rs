//! Events that can be told apart, and what must become of them: each stream writes the numbers from 0 on, and the oracle
//! looks for every one of them.
//!
//! 1. The content of an event follows from its stream and its number, so every document can be checked whole.
//! 2. The oracle shares no code with the agent, and reads what a search gives, not what anybody reports.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::documents::own_members;
use crate::pod_log::PodLog;

/// One of so many events is a line of text, and one of so many is written in parts.
const EACH_TEXT: u64 = 17;
const EACH_PARTS: u64 = 23;

/// A container that writes numbered events.
#[derive(Debug)]
pub struct SequenceLog {
    stream: u64,
    next: u64,
    rotate_at: u64,
    log: PodLog,
    rotations: u64,
}

/// What the oracle found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Documents.
    pub documents: u64,
    /// Numbers that no document has.
    pub missing: u64,
    /// Documents beyond the first of a number.
    pub doubled: u64,
    /// Documents that are not what their stream and number ask for, or have neither.
    pub malformed: u64,
    /// Some of what is wrong, for a person.
    pub examples: Vec<String>,
}

/// Counts documents by stream and number.
#[derive(Debug)]
pub struct Oracle {
    /// How often each number of each stream was seen.
    seen: Vec<Vec<u8>>,
    malformed: u64,
    documents: u64,
    examples: Vec<String>,
}

/// The name of a stream's pod.
fn pod(stream: u64) -> String {
    format!("writer-{stream}")
}

/// An event's text.
fn text(stream: u64, number: u64) -> String {
    if number % EACH_TEXT == 3 {
        return format!("writer {stream} says {number} in plain words: {:016x}", mark(stream, number));
    }
    event(stream, number).to_string()
}

fn event(stream: u64, number: u64) -> Value {
    let filler = filler(mark(stream, number), number % 200);
    json!({
        "writer": stream,
        "sequence": number,
        "mark": format!("{:016x}", mark(stream, number)),
        "http": {"method": "GET", "path": "/orders", "bytes": number * 3},
        "note": filler,
    })
}

/// Text that no compression makes much smaller.
fn filler(seed: u64, length: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state >> 40) as usize % LETTERS.len()])
    };
    (0..length).map(|_| letter()).collect()
}

/// Differs for each event in a way that a mix-up of two would show.
fn mark(stream: u64, number: u64) -> u64 {
    let mixed = (stream << 40 | number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ mixed >> 29
}

/// The stream and the number of a document whose own members are exactly what they ask for.
pub(crate) fn identify(document: &Value) -> Option<(u64, u64)> {
    let own = own_members(document);
    if let Some(message) = own.get("message").and_then(Value::as_str) {
        let words: Vec<&str> = message.split(' ').collect();
        let ["writer", stream, "says", number, ..] = words.as_slice() else { return None };
        let (stream, number) = (stream.parse().ok()?, number.parse().ok()?);
        return (message == text(stream, number) && own.len() == 1).then_some((stream, number));
    }
    let number = |name: &str| own.get(name).and_then(Value::as_u64);
    let (stream, number) = (number("writer")?, number("sequence")?);
    (Value::Object(own) == event(stream, number)).then_some((stream, number))
}

// === impl SequenceLog ===

impl SequenceLog {
    /// The log of a stream in a tree of pods, rotated whenever it has grown to so many bytes.
    pub fn create(pods: &std::path::Path, stream: u64, rotate_at: u64) -> SequenceLog {
        let log = PodLog::create(pods, &format!("scenario_{}_{:08}", pod(stream), stream));
        SequenceLog { stream, next: 0, rotate_at, log, rotations: 0 }
    }

    /// Writes the next events.
    pub fn write(&mut self, events: u64) {
        let mut whole = Vec::new();
        for number in self.next..self.next + events {
            let text = text(self.stream, number);
            if number % EACH_PARTS == 5 {
                self.log.lines(whole.drain(..));
                self.write_in_parts(&text, number);
            } else {
                whole.push(text);
            }
        }
        self.log.lines(whole);
        self.next += events;
        if self.log.len() >= self.rotate_at {
            self.rotate();
        }
    }

    /// As a runtime does with what is longer than its buffer. Some records begin in one file and end in the next.
    fn write_in_parts(&mut self, text: &str, number: u64) {
        let (first, rest) = text.split_at(text.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        self.log.record("stdout P", first);
        if number.is_multiple_of(2) && self.log.len() >= self.rotate_at {
            self.rotate();
        }
        self.log.record("stdout P", second);
        self.log.record("stdout F", third);
    }

    fn rotate(&mut self) {
        self.log.rotate();
        self.rotations += 1;
    }

    /// Events written so far.
    pub fn written(&self) -> u64 {
        self.next
    }

    /// Files left behind so far.
    pub fn rotations(&self) -> u64 {
        self.rotations
    }
}

// === impl Oracle ===

impl Oracle {
    /// Expects the numbers below `events` of each of so many streams.
    pub fn new(streams: u64, events: u64) -> Oracle {
        let seen = vec![vec![0; events as usize]; streams as usize];
        Oracle { seen, malformed: 0, documents: 0, examples: Vec::new() }
    }

    /// Takes one document into account.
    pub fn take(&mut self, document: &Value) {
        self.documents += 1;
        let seen = self.check(document).and_then(|(stream, number)| {
            self.seen.get_mut(stream as usize).and_then(|numbers| numbers.get_mut(number as usize))
        });
        match seen {
            Some(times) => *times = times.saturating_add(1),
            None => {
                self.malformed += 1;
                self.example(|| format!("malformed: {document}"));
            }
        }
    }

    /// The stream and the number, if everything in the document follows from them.
    fn check(&self, document: &Value) -> Option<(u64, u64)> {
        let (stream, number) = identify(document)?;
        let is_in_place = document["kubernetes"]["pod"] == pod(stream)
            && document["kubernetes"]["namespace"] == "scenario"
            && document["stream"] == "stdout"
            && document["log"]["flags"].is_null();
        is_in_place.then_some((stream, number))
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        const MOST: usize = 8;
        if self.examples.len() < MOST {
            self.examples.push(text());
        }
    }

    /// What came of it.
    pub fn findings(mut self) -> Findings {
        let (mut missing, mut doubled) = (BTreeMap::<usize, Vec<usize>>::new(), 0);
        for (stream, numbers) in self.seen.iter().enumerate() {
            for (number, times) in numbers.iter().enumerate() {
                match times {
                    0 => missing.entry(stream).or_default().push(number),
                    times => doubled += u64::from(times - 1),
                }
            }
        }
        for (stream, numbers) in &missing {
            let (first, last) = (numbers.first(), numbers.last());
            self.example(|| format!("missing: {} of writer {stream}, {first:?} to {last:?}", numbers.len()));
        }
        Findings {
            documents: self.documents,
            missing: missing.values().map(|numbers| numbers.len() as u64).sum(),
            doubled,
            malformed: self.malformed,
            examples: self.examples,
        }
    }
}

// === impl Findings ===

impl Findings {
    /// Whether every event is there once, and nothing else.
    pub fn are_clean(&self) -> bool {
        (self.missing, self.doubled, self.malformed) == (0, 0, 0)
    }
}

/// The document that an event must become, as a sink gets it.
#[cfg(test)]
fn document(stream: u64, number: u64) -> Value {
    let text = text(stream, number);
    let mut document = json!({
        "@timestamp": "2026-11-22T10:00:00.000000123Z", "cluster": "test", "node": "node-1",
        "kubernetes": {"namespace": "scenario", "pod": pod(stream), "container": "main", "uid": "1"},
        "stream": "stdout", "log": {"offset": number},
    });
    let own = serde_json::from_str(&text).unwrap_or_else(|_| json!({"message": text}));
    document.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAMS: u64 = 3;
    const EVENTS: u64 = 60;

    fn findings(change: impl FnOnce(&mut Vec<Value>)) -> Findings {
        let mut documents = Vec::new();
        for stream in 0..STREAMS {
            documents.extend((0..EVENTS).map(|number| document(stream, number)));
        }
        change(&mut documents);
        let mut oracle = Oracle::new(STREAMS, EVENTS);
        documents.iter().for_each(|document| oracle.take(document));
        oracle.findings()
    }

    fn counts(findings: &Findings) -> [u64; 3] {
        [findings.missing, findings.doubled, findings.malformed]
    }

    #[test]
    fn what_is_whole_is_clean() {
        let findings = findings(|_| {});
        assert!(findings.are_clean(), "{findings:?}");
        assert_eq!(findings.documents, STREAMS * EVENTS);
    }

    #[test]
    fn what_is_missing_doubled_or_malformed_is_found() {
        let lost = findings(|documents| drop(documents.remove(70)));
        assert_eq!(counts(&lost), [1, 0, 0]);
        let twice = findings(|documents| documents.push(document(2, 3)));
        assert_eq!(counts(&twice), [0, 1, 0]);
        // The number is there, but the content, the place, or another member is not right.
        type Change = fn(&mut Value);
        let changes: [Change; 6] = [
            |document| document["note"] = json!("other"),
            |document| document["kubernetes"]["pod"] = json!("writer-2"),
            |document| document["stream"] = json!("stderr"),
            |document| document["log"]["flags"] = json!(["partial"]),
            |document| document["more"] = json!(1),
            |document| document["sequence"] = json!(EVENTS),
        ];
        for change in changes {
            assert_eq!(counts(&findings(|documents| change(&mut documents[1]))), [1, 0, 1]);
        }
        let cut = findings(|documents| documents[3]["message"] = json!("writer 0 says 3 in"));
        assert_eq!(counts(&cut), [1, 0, 1]);
    }

    #[test]
    fn a_log_holds_what_the_oracle_expects() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = SequenceLog::create(folder.path(), 1, 4000);
        for _ in 0..6 {
            log.write(EVENTS / 6);
        }
        assert!(log.rotations() >= 2 && log.written() == EVENTS, "{log:?}");
        let main = folder.path().join("scenario_writer-1_00000001/main");
        let mut files: Vec<_> = std::fs::read_dir(main).unwrap().map(|entry| entry.unwrap().path()).collect();
        // Those that were renamed, by their times; then the one that is written.
        files.sort_by_key(|path| (path.ends_with("0.log"), path.clone()));
        let mut joined = String::new();
        let mut texts = Vec::new();
        for file in files {
            for line in std::fs::read_to_string(file).unwrap().lines() {
                let fields: Vec<&str> = line.splitn(4, ' ').collect();
                joined.push_str(fields[3]);
                if fields[2] == "F" {
                    texts.push(std::mem::take(&mut joined));
                }
            }
        }
        let expected: Vec<String> = (0..EVENTS).map(|number| text(1, number)).collect();
        assert_eq!(texts, expected);
    }
}
