//! Shows what a receiver answers to requests that go wrong: `cargo run -p weir-remote-write --example receiver_answers --
//! URL [1.0|2.0]`. Each line is a request, the status, the headers that matter and the body. What Thanos and Prometheus
//! said here stands in the tests of `verdict.rs`.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::sync::Arc;
use std::time::SystemTime;

use weir_event::stream::{Attributes, Stream};
use weir_remote_write::encode::{Encoder, Options};
use weir_samples::document::{Document, Point, write_exemplar};
use weir_samples::labels::{LabelSet, LabelsBuilder};

fn labels(name: &str) -> Vec<u8> {
    let (mut builder, mut out) = (LabelsBuilder::new(), Vec::new());
    builder.push("__name__", name);
    builder.push("job", "receiver_answers");
    builder.finish(&mut out).expect("no name is there twice");
    out
}

/// A document: the metric's name, its time and value, and the time of an exemplar.
fn document(name: &str, (timestamp, value): (i64, f64), exemplar: Option<i64>) -> Vec<u8> {
    let (labels, mut exemplars, mut out) = (labels(name), Vec::new(), Vec::new());
    if let Some(time) = exemplar {
        write_exemplar(&mut exemplars, LabelSet::new(&labels), value, time);
    }
    let point = Point::Float { timestamp, value, start_timestamp: 0 };
    Document { labels: LabelSet::new(&labels), point, exemplars: &exemplars }.write(&mut out);
    out
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let url = arguments.get(1).expect("a URL");
    let is_v2 = arguments.get(2).is_some_and(|version| version == "2.0");
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time behind 1970");
    let now = since.as_millis() as i64;
    let hour = 3_600_000;
    let one = |name: &str, time: i64, value: f64| document(name, (time, value), None);
    let cases = [
        ("good", vec![one("a", now, 1.0), one("b", now, 1.0)]),
        ("out of order", vec![one("a", now - 5000, 1.0), one("b", now + 1, 1.0)]),
        ("duplicate with another value", vec![one("a", now, 2.0), one("b", now + 2, 1.0)]),
        ("duplicate with the same value", vec![one("a", now, 1.0)]),
        ("too old", vec![one("a", now - 100 * hour, 1.0), one("b", now + 3, 1.0)]),
        ("in the future", vec![one("a", now + hour, 1.0), one("b", now + 4, 1.0)]),
        ("several", vec![one("a", now, 3.0), one("a", now - 1, 1.0), one("b", now - 100 * hour, 1.0)]),
        ("exemplar", vec![document("a", (now + 10, 1.0), Some(now + 10))]),
        ("exemplar out of order", vec![document("a", (now + 11, 1.0), Some(now - 1000))]),
        ("many series", (0..2000).map(|n| one(&format!("m{n}"), now, 1.0)).collect()),
    ];
    let stream = Stream::new(Attributes::default(), 0);
    let (client, mut encoder) = (reqwest::Client::new(), Encoder::new());
    let options = Options { exemplars: true, native_histograms: true, metadata: true };
    for (what, documents) in cases {
        let items = documents.iter().map(|document| (&document[..], Some(&stream) as Option<&Arc<Stream>>));
        let (encoded, version, message) = match is_v2 {
            true => (encoder.v2(items, options), "2.0.0", ";proto=io.prometheus.write.v2.Request"),
            false => (encoder.v1(items, &[], options), "0.1.0", ""),
        };
        let request = client
            .post(url)
            .header("content-encoding", "snappy")
            .header("content-type", format!("application/x-protobuf{message}"))
            .header("x-prometheus-remote-write-version", version)
            .body(encoded.body);
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let told = |name: &str| name.starts_with("x-prometheus") || name == "retry-after";
        let headers: Vec<String> = answer
            .headers()
            .iter()
            .filter(|(name, _)| told(name.as_str()))
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default()))
            .collect();
        let said = answer.text().await.expect("a body");
        println!("{what}: {status} {headers:?} {:?}", said.get(..400).unwrap_or(&said));
    }
}
