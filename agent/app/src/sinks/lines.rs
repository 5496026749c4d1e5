//! Documents of samples as lines of JSON, for sinks that write lines.

use weir_buffer::segment::{Documents, Record};
use weir_samples::document::Document;
use weir_samples::json::write_json;

/// The same documents as JSON; `None` where they are JSON already.
pub fn as_lines(documents: &Documents) -> Option<Documents> {
    let is_of_samples = documents.streams.iter().any(|stream| stream.attributes().family.is_some());
    if !is_of_samples {
        return None;
    }
    let mut lines = Documents { streams: documents.streams.clone(), ..Documents::default() };
    for (record, document) in documents.iter() {
        match Document::read(document) {
            Ok(document) => write_json(&document, &mut lines.ndjson),
            // Nobody makes such a one; what comes of a damaged disk was found out before.
            Err(_) => lines.ndjson.extend_from_slice(b"{}"),
        }
        lines.records.push(Record { end: lines.ndjson.len() as u32, ..*record });
        lines.ndjson.push(b'\n');
    }
    Some(lines)
}
