//! What the tests of several sinks share, and the list of sinks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_buffer::ack::{Ack, Acknowledge, Posting};
use weir_buffer::ledger::Ledger;
use weir_buffer::memory::MemoryTier;
use weir_buffer::segment::{Documents, Record, Segment, Targets};
use weir_config::{Bucket, FileSink, S3Sink, SinkKind, Size};
use weir_event::identity::EventId;
use weir_pipeline::sink::{Driving, SinkMetrics};

use super::{Names, build};

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

fn names() -> Names {
    Names { cluster: "dev".into(), node: "node-1".into() }
}

/// Builds the sink and drives it over these lines to its end.
async fn drive(kind: SinkKind, lines: &[&str]) -> Arc<SinkMetrics> {
    let built = build("local", &kind, &names(), Path::new("/nonexistent")).unwrap();
    let ledger = Arc::new(Ledger::default());
    let buffer = MemoryTier::new(1 << 20, Arc::clone(&ledger));
    let documents = documents(lines);
    let ack = Ack::new(0, Arc::new(Nobody));
    let segment = Segment { amount: documents.amount(), documents, targets: Targets::default(), ack };
    buffer.push(segment, &ledger.account("p", "local"), 0);
    buffer.close();
    let metrics = Arc::<SinkMetrics>::default();
    let give_up = tokio::sync::watch::channel(false).1;
    let driving = Driving {
        name: "local".into(),
        buffer,
        metrics: Arc::clone(&metrics),
        give_up,
        retire: tokio::sync::watch::channel(false).1,
    };
    built.driver.drive(driving).await;
    metrics
}

struct Nobody;

impl Acknowledge for Nobody {
    fn acknowledge(&self, _: u64, _: bool, _: Vec<Posting>) {}

    fn acknowledge_late(&self, _: u64, _: Vec<Posting>) {}
}

#[tokio::test]
async fn a_file_sink_delivers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.ndjson");
    let metrics = drive(SinkKind::File(FileSink { path: path.clone(), rotate: None }), &["1", "2"]).await;
    assert_eq!(metrics.events.load(Ordering::Relaxed), 2);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n");
}

#[tokio::test]
async fn a_blackhole_delivers() {
    let metrics = drive(SinkKind::Blackhole, &["1"]).await;
    assert_eq!(metrics.events.load(Ordering::Relaxed), 1);
}

#[test]
fn a_path_that_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let kind = SinkKind::File(FileSink { path: folder.path().to_owned(), rotate: None });
    let error = build("local", &kind, &names(), folder.path()).err().unwrap().to_string();
    assert!(error.contains("it is a folder") && error.contains(folder.path().to_str().unwrap()), "{error}");
}

/// A store that is away keeps no agent from starting.
#[test]
fn an_archive_is_made_without_asking_its_store() {
    let bucket = Bucket {
        endpoint: "https://127.0.0.1:1".into(),
        name: "logs".into(),
        create: false,
        region: "us-east-1".into(),
        keys: None,
        ca: Some("/nonexistent/ca.pem".into()),
        path_style: true,
    };
    let sink = S3Sink {
        bucket,
        prefix: "logs/{cluster}".into(),
        index_fields: vec!["trace_id".into()],
        level: 3,
        max_object_bytes: Size::of_mib(32),
        max_object_age: std::time::Duration::from_secs(300),
    };
    let built = build("archive", &SinkKind::S3(Box::new(sink.clone())), &names(), Path::new("/nonexistent"));
    let built = built.unwrap();
    assert!(matches!(built.counts, super::Counts::Archive(_)) && built.route.is_none());
    let wrong = S3Sink { index_fields: vec!["a".into(), "a".into()], ..sink };
    let error = build("archive", &SinkKind::S3(Box::new(wrong)), &names(), Path::new("/nonexistent")).err();
    assert!(error.unwrap().to_string().contains("stands there twice"));
}
