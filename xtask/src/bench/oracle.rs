//! What the agent must make of an input, computed the slow and simple way. It shares no code with the agent.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{generator, sampler};
use crate::{
    error::{Error, IoContext, Result},
    ui::Step,
};

/// Changes with every change of what is expected.
const VERSION: u32 = 1;
/// Members that the agent adds to every event; everything else in a document is the event's own.
const ENVELOPE: [&str; 6] = ["@timestamp", "cluster", "node", "kubernetes", "stream", "log"];

/// The exact outcome of each workload on one input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Events after parts are joined: what W0 delivers.
    pub events: u64,
    /// Events that W1's logic keeps.
    pub kept_by_w1: u64,
    /// Events that the two first-party plugins, as W2 configures them, keep.
    pub kept_by_w2: u64,
    /// A hash over the own members of every event that W1 keeps, in any order.
    pub content_of_w1: u64,
}

impl Expected {
    /// Reads what an earlier run found out about this input, or finds it out.
    pub fn ensure(input: &Path) -> Result<Self> {
        let path = input.with_extension(format!("expected-v{VERSION}.json"));
        if let Some(known) = fs::read_to_string(&path).ok().and_then(|text| Self::from_json(&text)) {
            return Ok(known);
        }
        let step = Step::start("oracle", "the exact counts that every workload is held to");
        let expected = Self::of_file(input)?;
        fs::write(&path, format!("{:#}\n", expected.to_json())).while_doing("write", &path)?;
        step.done(format!("{} events, W1 keeps {}", expected.events, expected.kept_by_w1));
        Ok(expected)
    }

    /// Computes it from a log of one container.
    pub fn of_file(path: &Path) -> Result<Self> {
        let file = File::open(path).while_doing("open", path)?;
        Self::of(BufReader::with_capacity(1 << 20, file)).while_doing("read", path)
    }

    fn of(log: impl BufRead) -> io::Result<Self> {
        let mut expected = Expected::default();
        for_each_event(log, |text| expected.add(text))?;
        Ok(expected)
    }

    fn add(&mut self, text: &str) {
        self.events += 1;
        let event = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(members)) => Some(members),
            _ => None,
        };
        if event.as_ref().is_none_or(sampler::keeps) {
            self.kept_by_w2 += 1;
        }
        if event.as_ref().is_none_or(w1_keeps) {
            self.kept_by_w1 += 1;
            let own = event.unwrap_or_else(|| Map::from_iter([("message".to_owned(), json!(text))]));
            self.content_of_w1 = self.content_of_w1.wrapping_add(content_hash(w1_edits(own)));
        }
    }

    /// Adds what another container's log must give.
    pub fn and(self, other: Expected) -> Expected {
        Expected {
            events: self.events + other.events,
            kept_by_w1: self.kept_by_w1 + other.kept_by_w1,
            kept_by_w2: self.kept_by_w2 + other.kept_by_w2,
            content_of_w1: self.content_of_w1.wrapping_add(other.content_of_w1),
        }
    }

    fn to_json(self) -> Value {
        json!({
            "generator": generator::VERSION,
            "events": self.events,
            "kept_by_w1": self.kept_by_w1,
            "kept_by_w2": self.kept_by_w2,
            "content_of_w1": self.content_of_w1,
        })
    }

    fn from_json(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let number = |name: &str| value[name].as_u64();
        Some(Expected {
            events: number("events")?,
            kept_by_w1: number("kept_by_w1")?,
            kept_by_w2: number("kept_by_w2")?,
            content_of_w1: number("content_of_w1")?,
        })
    }
}

/// What a file of W1f's documents holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Documents {
    /// Lines.
    pub lines: u64,
    /// As [`Expected::content_of_w1`].
    pub content: u64,
    /// The sum of the documents' hashes, as a null sink reports it.
    pub checksum: u64,
}

impl Documents {
    /// Reads a file of documents, one a line.
    pub fn of_file(path: &Path) -> Result<Self> {
        let mut log = BufReader::with_capacity(1 << 20, File::open(path).while_doing("open", path)?);
        let mut documents = Documents::default();
        let mut line = Vec::new();
        while log.read_until(b'\n', &mut line).while_doing("read", path)? > 0 {
            let document = line.strip_suffix(b"\n").unwrap_or(&line);
            let Ok(Value::Object(members)) = serde_json::from_slice(document) else {
                let number = documents.lines + 1;
                return Err(Error::failed(format!("{}:{number} is not a JSON object", path.display())));
            };
            documents.lines += 1;
            documents.checksum = documents.checksum.wrapping_add(xxh3_64(document));
            documents.content = documents.content.wrapping_add(content_hash(own_members(members)));
            line.clear();
        }
        Ok(documents)
    }
}

impl Documents {
    /// Only counts the lines.
    pub fn counted_in_file(path: &Path) -> Result<Self> {
        let mut log = BufReader::with_capacity(1 << 20, File::open(path).while_doing("open", path)?);
        let mut documents = Documents::default();
        while log.skip_until(b'\n').while_doing("read", path)? > 0 {
            documents.lines += 1;
        }
        Ok(documents)
    }
}

/// Joins the parts of each stream and hands over every event's text.
fn for_each_event(mut log: impl BufRead, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut first_parts: [Option<String>; 2] = [None, None];
    let mut line = String::new();
    while log.read_line(&mut line)? > 0 {
        let mut fields = line.trim_end_matches('\n').splitn(4, ' ');
        let (Some(_time), Some(stream), Some(tag), Some(text)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not a CRI line: {line}")));
        };
        let waiting = &mut first_parts[usize::from(stream == "stderr")];
        match (tag, waiting.take()) {
            ("P", before) => *waiting = Some(before.unwrap_or_default() + text),
            (_, Some(before)) => each(&(before + text)),
            (_, None) => each(text),
        }
        line.clear();
    }
    Ok(())
}

/// Drop debug; keep info when the last two hex digits of its trace id are below 26; keep the rest.
fn w1_keeps(event: &Map<String, Value>) -> bool {
    match event.get("level").and_then(Value::as_str) {
        Some("debug") => false,
        Some("info") => {
            let trace_id = event.get("trace_id").and_then(Value::as_str).unwrap_or_default();
            let end = trace_id.get(trace_id.len().saturating_sub(2)..).unwrap_or_default();
            u8::from_str_radix(end, 16).is_ok_and(|end| end < 26)
        }
        _ => true,
    }
}

/// Remove `user.email` and `labels`; add `cluster`, which is a name of the envelope and so goes into `event`.
fn w1_edits(mut event: Map<String, Value>) -> Map<String, Value> {
    event.remove("labels");
    if let Some(Value::Object(user)) = event.get_mut("user") {
        user.remove("email");
    }
    event.insert("event".to_owned(), json!({"cluster": "dev-1"}));
    event
}

fn own_members(mut document: Map<String, Value>) -> Map<String, Value> {
    document.retain(|name, _| !ENVELOPE.contains(&name.as_str()));
    document
}

/// The order of members does not matter, their values do.
fn content_hash(members: Map<String, Value>) -> u64 {
    let mut value = Value::Object(members);
    value.sort_all_objects();
    xxh3_64(value.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(lines: &[&str]) -> Expected {
        let log: String =
            lines.iter().map(|line| format!("2026-11-22T10:00:00.000000001Z {line}\n")).collect();
        Expected::of(log.as_bytes()).unwrap()
    }

    #[test]
    fn w1_keeps_by_level_and_trace() {
        for (line, kept) in [
            (r#"stdout F {"level":"debug","trace_id":"00"}"#, 0),
            (r#"stdout F {"level":"info","trace_id":"ab19"}"#, 1),
            (r#"stdout F {"level":"info","trace_id":"ab1a"}"#, 0),
            (r#"stdout F {"level":"info"}"#, 0),
            (r#"stdout F {"level":"warn","trace_id":"ff"}"#, 1),
            (r#"stdout F {"level":"error"}"#, 1),
            ("stdout F plain text", 1),
            ("stdout F ", 1),
            ("stderr F [1,2]", 1),
        ] {
            assert_eq!(expect(&[line]).kept_by_w1, kept, "{line}");
            assert_eq!(expect(&[line]).events, 1, "{line}");
        }
    }

    #[test]
    fn parts_are_joined_per_stream() {
        let expected = expect(&[
            r#"stdout P {"level":"#,
            "stderr F a line between",
            r#"stdout F "debug"}"#,
            "stderr P never ended",
        ]);
        assert_eq!((expected.events, expected.kept_by_w1), (2, 1));
    }

    #[test]
    fn what_is_expected_survives_its_file() {
        let expected = Expected { events: 3, kept_by_w1: 2, kept_by_w2: 1, content_of_w1: u64::MAX };
        assert_eq!(Expected::from_json(&expected.to_json().to_string()), Some(expected));
        assert_eq!(Expected::from_json("{}"), None);
    }

    #[test]
    fn documents_are_compared_by_their_own_members() {
        let expected = expect(&[
            r#"stdout F {"level":"warn","user":{"id":1,"email":"a@example.com"},"labels":{"app":"x"}}"#,
            "stdout F text",
        ]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.ndjson");
        let right = concat!(
            r#"{"message":"text","event":{"cluster":"dev-1"},"@timestamp":"t","node":"n"}"#,
            "\n",
            r#"{"user":{"id":1},"level":"warn","@timestamp":"t","cluster":"c","event":{"cluster":"dev-1"}}"#,
            "\n"
        );
        fs::write(&path, right).unwrap();
        let documents = Documents::of_file(&path).unwrap();
        assert_eq!((documents.lines, documents.content), (2, expected.content_of_w1));
        let [first, second] = right.lines().map(|line| xxh3_64(line.as_bytes())).collect::<Vec<_>>()[..]
        else {
            panic!("two lines");
        };
        assert_eq!(documents.checksum, first.wrapping_add(second));

        fs::write(&path, right.replace("\"id\":1", "\"id\":2")).unwrap();
        assert_ne!(Documents::of_file(&path).unwrap().content, expected.content_of_w1);
        fs::write(&path, "{}\n{\"cut\n").unwrap();
        assert!(Documents::of_file(&path).unwrap_err().to_string().contains("out.ndjson:2 is not"));
    }
}
