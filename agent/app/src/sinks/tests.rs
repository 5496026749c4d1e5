//! What the tests of several sinks share, and the list of sinks.

use std::sync::Arc;

use weir_buffer::segment::{Documents, Receipt, Record};
use weir_config::{FileSink, SinkKind};
use weir_event::identity::EventId;

use super::build;

/// Finished documents of these lines.
pub fn documents(lines: &[&str]) -> Arc<Documents> {
    let mut documents = Documents::default();
    for line in lines {
        documents.ndjson.extend_from_slice(line.as_bytes());
        let end = documents.ndjson.len() as u32;
        documents.records.push(Record {
            id: EventId([0; 20]),
            time: 0,
            stream: 0,
            bytes: line.len() as u32,
            end,
        });
        documents.ndjson.push(b'\n');
    }
    Arc::new(documents)
}

fn sink(kind: SinkKind) -> weir_config::Sink {
    weir_config::Sink { best_effort: false, buffer: None, kind }
}

#[tokio::test]
async fn a_file_sink_delivers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ndjson");
    let mut file =
        build("local", &sink(SinkKind::File(FileSink { path: path.clone(), rotate: None }))).unwrap();
    assert!(matches!(file.deliver(&documents(&["1", "2"])).await, Receipt::Delivered));
    file.finish().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n");
}

#[tokio::test]
async fn a_blackhole_delivers() {
    let mut blackhole = build("null", &sink(SinkKind::Blackhole)).unwrap();
    assert!(matches!(blackhole.deliver(&documents(&["1"])).await, Receipt::Delivered));
}

#[test]
fn a_path_that_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let kind = SinkKind::File(FileSink { path: folder.path().to_owned(), rotate: None });
    let error = build("local", &sink(kind)).err().unwrap().to_string();
    assert!(error.contains("it is a folder") && error.contains(folder.path().to_str().unwrap()), "{error}");
}
