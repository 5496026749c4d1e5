//! Connections to the service, and requests.

use std::sync::Arc;

use hyper::{Request, StatusCode};
use prost::Message as _;
use snap::raw::Encoder;
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_samples::labels::LabelSet;
use weir_samples::proto::prometheus::{self, WriteRequest};
use weir_samples::proto::write_v2;

pub use crate::http::testing::{Answered, Client, FakeIntake, Protocol, Verdict, answered, streamed};
use crate::intake::Parcel;
use crate::remote_write::{ConnectionError, DEFAULT_PATH, Settings, serve};

pub const LIMIT: usize = 1 << 20;
pub const V1: &str = "application/x-protobuf";
pub const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
pub const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// A connection to the service, from both ends.
pub struct Connection {
    pub intake: FakeIntake,
    pub stop: watch::Sender<bool>,
    pub server: JoinHandle<Result<(), ConnectionError>>,
    pub stream: DuplexStream,
}

pub fn settings() -> Settings {
    Settings::new(LIMIT, "c1", "n1")
}

pub fn connect(settings: Settings) -> Connection {
    let (stream, server) = tokio::io::duplex(64 * 1024);
    let intake = FakeIntake::default();
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(serve(server, Arc::new(settings), intake.clone(), stopped));
    Connection { intake, stop, server, stream }
}

/// Sends one request over a new connection.
pub async fn send(
    protocol: Protocol,
    settings: Settings,
    request: Request<Vec<u8>>,
) -> (Answered, FakeIntake) {
    let connection = connect(settings);
    let answered = Client::new(protocol, connection.stream).await.send(request).await;
    (answered, connection.intake)
}

/// As Prometheus sends it.
pub fn post<B>(content_type: &str, body: B) -> Request<B> {
    let version = if content_type == V2 { "2.0.0" } else { "0.1.0" };
    let request = Request::post(format!("http://weir{DEFAULT_PATH}"))
        .header("content-type", content_type)
        .header("content-encoding", "snappy")
        .header("user-agent", "Prometheus/3.9.1")
        .header("x-prometheus-remote-write-version", version);
    request.body(body).unwrap()
}

pub fn pack(plain: &[u8]) -> Vec<u8> {
    Encoder::new().compress_vec(plain).unwrap()
}

/// One series for each metric, with a sample at this time in milliseconds. A metric without a name breaks a rule.
pub fn v1_body(metrics: &[&str], timestamp: i64) -> Vec<u8> {
    let label = |name: &str, value: &str| prometheus::Label { name: name.into(), value: value.into() };
    let series = |metric: &&str| prometheus::TimeSeries {
        labels: match *metric {
            "" => vec![label("job", "a")],
            metric => vec![label("__name__", metric), label("job", "a")],
        },
        samples: vec![prometheus::Sample { value: 1.5, timestamp }],
        ..prometheus::TimeSeries::default()
    };
    let timeseries = metrics.iter().map(series).collect();
    WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec()
}

/// The same in 2.0.
pub fn v2_body(metrics: &[&str], timestamp: i64) -> Vec<u8> {
    let mut symbols: Vec<String> = ["", "__name__", "job", "a"].map(String::from).to_vec();
    let first = symbols.len() as u32;
    symbols.extend(metrics.iter().map(|metric| (*metric).to_owned()));
    let series = |(index, metric): (usize, &&str)| write_v2::TimeSeries {
        labels_refs: if metric.is_empty() { vec![2, 3] } else { vec![1, first + index as u32, 2, 3] },
        samples: vec![write_v2::Sample { value: 1.5, timestamp, start_timestamp: 0 }],
        ..write_v2::TimeSeries::default()
    };
    let timeseries = metrics.iter().enumerate().map(series).collect();
    write_v2::Request { symbols, timeseries }.encode_to_vec()
}

pub fn v1(metrics: &[&str]) -> Request<Vec<u8>> {
    post(V1, pack(&v1_body(metrics, 1_000)))
}

pub fn v2(metrics: &[&str]) -> Request<Vec<u8>> {
    post(V2, pack(&v2_body(metrics, 1_000)))
}

/// A way to send the same samples.
pub fn ways() -> Vec<(Protocol, Request<Vec<u8>>)> {
    let metrics = ["up", "down"];
    PROTOCOLS.into_iter().flat_map(|protocol| [(protocol, v1(&metrics)), (protocol, v2(&metrics))]).collect()
}

impl FakeIntake {
    /// The series of all rows that were taken, message by message.
    pub fn series(&self) -> Vec<Vec<String>> {
        let state = self.state.lock().unwrap();
        let taken = |parcel: &Parcel| match parcel {
            Parcel::Samples(message) => {
                message.samples.rows().map(|row| LabelSet::new(row.labels).to_string()).collect()
            }
            Parcel::Events(_) => panic!("events"),
        };
        state.parcels.iter().map(taken).collect()
    }

    pub fn keys(&self) -> Vec<Option<u64>> {
        self.state.lock().unwrap().parcels.iter().map(Parcel::key).collect()
    }
}

/// 204 without a body.
pub fn is_success(answered: &Answered) -> bool {
    answered.status == StatusCode::NO_CONTENT && answered.body.is_empty()
}

/// 503 with a time.
pub fn is_unavailable(answered: &Answered) -> bool {
    answered.status == StatusCode::SERVICE_UNAVAILABLE
        && (1..=5).contains(&answered.header("retry-after").parse::<u32>().unwrap())
}

/// What the three headers of 2.0 say; nothing where they are not there.
pub fn written(answered: &Answered) -> Option<[u64; 3]> {
    let headers = ["samples", "histograms", "exemplars"].map(|kind| {
        let name = format!("x-prometheus-remote-write-{kind}-written");
        assert!(answered.headers.get_all(&name).iter().count() <= 1);
        answered.headers.get(&name).map(|value| value.to_str().unwrap().parse().unwrap())
    });
    match headers {
        [Some(samples), Some(histograms), Some(exemplars)] => Some([samples, histograms, exemplars]),
        [None, None, None] => None,
        _ => panic!("{headers:?}"),
    }
}
