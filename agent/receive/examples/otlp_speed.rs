//! Measures what is done for each OTLP log record: decoding its request, its key, its document. Prints nanoseconds per
//! record, the best of several runs. `cargo run --release -p weir-receive --example otlp_speed`
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::hint::black_box;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use weir_receive::documents::Documents;
use weir_receive::otlp::{Encoding, decode, key, write_documents};

const RECORDS: usize = 1_000;
const RUNS: usize = 300;
const LIMIT: usize = 1 << 30;

fn text(key: &str, text: &str) -> KeyValue {
    member(key, Value::StringValue(text.to_owned()))
}

fn member(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// As the collector's filelog receiver and the usual SDKs write them: a line of text, some attributes, a trace.
fn record(index: usize) -> LogRecord {
    let line = format!("GET /api/v1/carts/{index} returned 200 in {} ms for user \"u-{index}\"", index % 400);
    LogRecord {
        time_unix_nano: 1_795_341_600_000_000_000 + index as u64 * 37_000_123,
        observed_time_unix_nano: 1_795_341_601_000_000_000 + index as u64 * 37_000_123,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(line)) }),
        attributes: vec![
            text("http.request.method", "GET"),
            text("url.path", "/api/v1/carts"),
            member("http.response.status_code", Value::IntValue(200)),
            text("code.function.name", "cart.Handler.get"),
            text("thread.name", "worker-7"),
            member("duration_ms", Value::DoubleValue(index as f64 / 7.0)),
        ],
        trace_id: (0..16).map(|byte: u8| byte.wrapping_mul(13).wrapping_add(index as u8)).collect(),
        span_id: (0..8).map(|byte: u8| byte.wrapping_mul(29).wrapping_add(index as u8)).collect(),
        flags: 1,
        ..LogRecord::default()
    }
}

fn request() -> ExportLogsServiceRequest {
    let attributes = vec![
        text("service.name", "cart"),
        text("service.version", "1.42.0"),
        text("service.instance.id", "0b1c2d3e-0000-4000-8000-000000000001"),
        text("k8s.namespace.name", "shop"),
        text("k8s.pod.name", "cart-7d9f8b6c5d-x2v4q"),
        text("k8s.container.name", "cart"),
        text("k8s.node.name", "node-1"),
        text("telemetry.sdk.language", "java"),
    ];
    let scope =
        InstrumentationScope { name: "com.example.cart".to_owned(), ..InstrumentationScope::default() };
    let log_records = (0..RECORDS).map(record).collect();
    let scope = ScopeLogs { scope: Some(scope), log_records, ..ScopeLogs::default() };
    let resource = Resource { attributes, ..Resource::default() };
    let logs = ResourceLogs { resource: Some(resource), scope_logs: vec![scope], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![logs] }
}

fn bench(name: &str, mut call: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        call();
        best = best.min(start.elapsed().as_nanos() as f64 / RECORDS as f64);
    }
    println!("{name:<44} {best:8.1} ns");
}

fn documents(request: &ExportLogsServiceRequest) -> Documents {
    let mut documents = Documents::new(LIMIT);
    write_documents(request, true, &mut documents).expect("they are few");
    documents
}

fn main() {
    let request = request();
    let protobuf = request.encode_to_vec();
    let json = serde_json::to_vec(&request).expect("it is JSON");
    let written = documents(&request).bytes();
    println!(
        "a record: {} bytes of protobuf, {} of JSON; its document {}",
        protobuf.len() / RECORDS,
        json.len() / RECORDS,
        written / RECORDS
    );
    bench("decode protobuf", || {
        black_box(decode(black_box(&protobuf), Encoding::Protobuf, LIMIT).expect("it is a request"));
    });
    bench("  of it prost alone", || {
        black_box(ExportLogsServiceRequest::decode(black_box(&protobuf[..])).expect("it is a request"));
    });
    bench("decode JSON", || {
        black_box(decode(black_box(&json), Encoding::Json, LIMIT).expect("it is a request"));
    });
    bench("key", || {
        black_box(key(black_box(&request)));
    });
    bench("documents", || {
        black_box(documents(black_box(&request)));
    });
    bench("all, from protobuf", || {
        let request = decode(black_box(&protobuf), Encoding::Protobuf, LIMIT).expect("it is a request");
        black_box((documents(&request), key(&request)));
    });
    bench("all, from JSON", || {
        let request = decode(black_box(&json), Encoding::Json, LIMIT).expect("it is a request");
        black_box((documents(&request), key(&request)));
    });
}
