//! Events of a buffer as lines of JSON: what `weir buffer export` writes and `weir buffer replay` reads. Each line is one
//! object, whose last member is the document, byte for byte as it lay in the buffer; that of a sample, which is no text, as
//! a string in base64. docs/FORMATS.md describes it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use weir_event::identity::EventId;
use weir_event::json::write_string;
use weir_event::stream::Stream;
use weir_event::time::{parse_rfc3339, write_rfc3339};

use crate::disk::format::{PartContent, StreamText};
use crate::segment::{Documents, Record, Targets};

/// Where the document begins. No text of JSON holds these bytes: its quotation marks are escaped.
const DOCUMENT: &[u8] = b",\"document\":";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<'a> {
    id: Cow<'a, str>,
    time: Cow<'a, str>,
    sink: Cow<'a, str>,
    pipeline: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<Cow<'a, str>>,
    bytes: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream: Option<StreamText<'a>>,
}

/// Documents of one pipeline, as they were exported.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The pipeline's name.
    pub pipeline: String,
    /// The documents.
    pub documents: Documents,
    /// Where they go.
    pub targets: Targets,
}

/// Appends the documents of a part, a line for each.
pub fn write(sink: &str, pipeline: &str, content: &PartContent, out: &mut Vec<u8>) {
    let PartContent { documents, targets, .. } = content;
    for (place, (record, document)) in documents.iter().enumerate() {
        let mut time = Vec::new();
        write_rfc3339(&mut time, record.time);
        let stream = documents.streams.get(record.stream as usize);
        let head = Head {
            id: record.id.text().into(),
            time: String::from_utf8_lossy(&time).into_owned().into(),
            sink: sink.into(),
            pipeline: pipeline.into(),
            index: targets.name(place).map(|name| (**name).into()),
            bytes: record.bytes,
            stream: stream.map(|stream| StreamText::of(stream)),
        };
        let head = serde_json::to_vec(&head).unwrap_or_default();
        out.extend_from_slice(head.strip_suffix(b"}").unwrap_or_default());
        out.extend_from_slice(DOCUMENT);
        match stream.is_some_and(|stream| stream.attributes().family.is_some()) {
            true => write_string(out, &BASE64.encode(document)),
            false => out.extend_from_slice(document),
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Reads lines, and puts those of one pipeline that follow each other together. An error says which line is none, and
/// why.
pub fn read(lines: &[u8]) -> Result<Vec<Gathered>, String> {
    let mut all: Vec<Gathered> = Vec::new();
    let mut known = Known::default();
    for (number, line) in lines.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        take(line, &mut all, &mut known).map_err(|reason| format!("line {}: {reason}", number + 1))?;
    }
    Ok(all)
}

/// Indices in the tables of what is gathered last.
#[derive(Default)]
struct Known {
    streams: HashMap<Vec<u8>, u32>,
    targets: HashMap<String, u16>,
}

fn take(line: &[u8], all: &mut Vec<Gathered>, known: &mut Known) -> Result<(), String> {
    let line = line.trim_ascii();
    let at = line.windows(DOCUMENT.len()).position(|window| window == DOCUMENT);
    let at =
        at.ok_or("it has no member `document` behind the others; was it written by weir buffer export?")?;
    let (head, document) = line.split_at_checked(at).unwrap_or_default();
    let document = document.get(DOCUMENT.len()..).and_then(|document| document.strip_suffix(b"}"));
    let document = document.ok_or("it does not end as an object")?;
    let head = [head, b"}"].concat();
    let head: Head<'_> = serde_json::from_slice(&head).map_err(|error| error.to_string())?;
    let document = match head.stream.as_ref().is_some_and(StreamText::is_of_samples) {
        true => sample(document)?.into(),
        false => Cow::Borrowed(object(document)?),
    };
    let id = EventId::parse(&head.id).ok_or("its id is none")?;
    let time = parse_rfc3339(head.time.as_bytes()).ok_or("its time is none")?;
    // Either all documents of a run have an index or none has.
    let is_same = |last: &Gathered| {
        last.pipeline == head.pipeline && last.targets.names.is_empty() == head.index.is_none()
    };
    if !all.last().is_some_and(is_same) {
        all.push(Gathered { pipeline: head.pipeline.clone().into_owned(), ..Gathered::default() });
        *known = Known::default();
    }
    let Some(Gathered { documents, targets, .. }) = all.last_mut() else { return Ok(()) };
    let stream = match head.stream {
        None => u32::MAX,
        Some(stream) => stream_index(stream, &mut documents.streams, &mut known.streams)?,
    };
    if let Some(index) = head.index {
        let next = u16::try_from(targets.names.len()).map_err(|_| "there are too many indices")?;
        let of = *known.targets.entry(index.clone().into_owned()).or_insert_with(|| {
            targets.names.push((*index).into());
            next
        });
        targets.of.push(of);
    }
    documents.ndjson.extend_from_slice(&document);
    let end = u32::try_from(documents.ndjson.len()).map_err(|_| "there is too much at once")?;
    documents.ndjson.push(b'\n');
    documents.records.push(Record { id, time, stream, bytes: head.bytes, end });
    Ok(())
}

fn object(document: &[u8]) -> Result<&[u8], String> {
    if !document.starts_with(b"{") || serde_json::from_slice::<IgnoredAny>(document).is_err() {
        return Err("its document is no JSON object".to_owned());
    }
    Ok(document)
}

/// The document of a sample.
fn sample(document: &[u8]) -> Result<Vec<u8>, String> {
    let text: Cow<'_, str> = serde_json::from_slice(document).map_err(|_| "its sample is no JSON string")?;
    BASE64.decode(&*text).map_err(|_| "its sample is not in base64".to_owned())
}

fn stream_index(
    stream: StreamText<'_>,
    streams: &mut Vec<Arc<Stream>>,
    known: &mut HashMap<Vec<u8>, u32>,
) -> Result<u32, String> {
    let key = serde_json::to_vec(&stream).map_err(|error| error.to_string())?;
    if let Some(index) = known.get(&key) {
        return Ok(*index);
    }
    let index = streams.len() as u32;
    streams.push(stream.stream().ok_or("its stream has no incarnation of 16 hexadecimal digits")?);
    known.insert(key, index);
    Ok(index)
}

#[cfg(test)]
mod tests {
    use weir_event::stream::{Attributes, Family};

    use super::*;

    fn content() -> PartContent {
        let pod = |name: &str| Attributes { pod: name.into(), ..Attributes::default() };
        let streams = vec![Stream::new(pod("a"), 7), Stream::new(pod("b\","), 8)];
        let mut documents = Documents { streams, ..Documents::default() };
        for (index, text) in
            ["{\"n\":1.50,\"t\":\"\\u00fc\"}", "{\"document\":{\"document\":1}}", "{}"].iter().enumerate()
        {
            documents.ndjson.extend_from_slice(text.as_bytes());
            documents.records.push(Record {
                id: EventId([index as u8; 20]),
                time: 1_700_000_000_123_456_789 - index as i64,
                stream: [0, 1, u32::MAX][index],
                bytes: 10,
                end: documents.ndjson.len() as u32,
            });
            documents.ndjson.push(b'\n');
        }
        let targets = Targets { names: vec!["x,\"document\":".into(), "y".into()], of: vec![0, 1, 0] };
        PartContent { documents, targets, places: vec![0, 1, 2], is_damaged: false }
    }

    #[test]
    fn what_is_exported_is_put_back_byte_for_byte() {
        let content = content();
        let mut lines = Vec::new();
        write("search", "app", &content, &mut lines);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let object: serde_json::Value = serde_json::from_slice(line).unwrap();
            assert!(object["document"].is_object() && object["sink"] == "search", "{object}");
        }
        let gathered = read(&lines).unwrap();
        let [all] = gathered.as_slice() else { panic!("{gathered:?}") };
        assert_eq!((&*all.pipeline, &all.documents.ndjson), ("app", &content.documents.ndjson));
        assert_eq!(all.targets, content.targets);
        for (one, other) in all.documents.records.iter().zip(&content.documents.records) {
            assert_eq!(
                (one.id, one.time, one.bytes, one.end),
                (other.id, other.time, other.bytes, other.end)
            );
            let pod = |documents: &Documents, record: &Record| {
                Some(documents.streams.get(record.stream as usize)?.attributes().pod.clone())
            };
            assert_eq!(pod(&all.documents, one), pod(&content.documents, other));
        }
    }

    #[test]
    fn a_sample_is_put_back_byte_for_byte() {
        let family = Some(Box::new(Family { name: "up".into(), ..Family::default() }));
        let stream = Stream::new(Attributes { family, ..Attributes::default() }, 0);
        let mut content = content();
        content.documents.streams = vec![Arc::clone(&stream), stream];
        let (mut lines, mut again) = (Vec::new(), Vec::new());
        for record in &mut content.documents.records {
            record.stream = 0;
        }
        content.documents.ndjson.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(7));
        write("thanos", "metrics", &content, &mut lines);
        let gathered = read(&lines).unwrap();
        for (one, other) in gathered[0].documents.iter().zip(content.documents.iter()) {
            assert_eq!((one.0.id, one.1), (other.0.id, other.1));
        }
        let stream = gathered[0].documents.streams[0].attributes();
        assert_eq!(stream.family.as_ref().unwrap().name, "up");
        again.extend_from_slice(
            String::from_utf8(lines).unwrap().replace("\"document\":\"", "\"document\":\"*").as_bytes(),
        );
        assert!(read(&again).unwrap_err().contains("base64"));
    }

    #[test]
    fn what_is_no_line_is_told_with_its_number() {
        let mut good = Vec::new();
        write("search", "app", &content(), &mut good);
        let text = String::from_utf8(good.clone()).unwrap();
        let last = text.lines().last().unwrap();
        let ends_with = |document: &str| last.replace("\"document\":{}}", document);
        for (bad, said) in [
            ("hello".to_owned(), "no member `document`"),
            ("{\"id\":\"x\",\"document\":{}}".to_owned(), "missing field"),
            (ends_with("\"document\":{}"), "no JSON object"),
            (ends_with("\"document\":[]}"), "no JSON object"),
            (ends_with("\"document\":{}"), "no JSON object"),
            (ends_with("\"document\":"), "does not end"),
        ] {
            let error = read(&[&good, bad.as_bytes()].concat()).unwrap_err();
            assert!(error.starts_with("line 4: ") && error.contains(said), "{error}");
        }
    }
}
