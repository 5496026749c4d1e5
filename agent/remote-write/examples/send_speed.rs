//! Measures what sending costs: `cargo run --release -p weir-remote-write --example send_speed -- [URL [1.0|2.0|auto
//! [SERIES [SCRAPES]]]]`. First what a sample takes to be encoded and packed in both versions, then a sink at work on so
//! many scrapes of so many series, towards the URL or, without one or with `-`, somebody here who takes everything.

#![allow(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing)]

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use weir_buffer::ack::{Ack, Acknowledge, Posting};
use weir_buffer::ledger::{Entry, Ledger};
use weir_buffer::memory::MemoryTier;
use weir_buffer::segment::{Documents, Record, Segment, Targets};
use weir_event::identity::EventId;
use weir_event::stream::{Attributes, Family, Stream};
use weir_pipeline::sink::{Drive as _, Driving, SinkMetrics};
use weir_remote_write::encode::{Encoder, Options};
use weir_remote_write::{Metrics, Protocol, Reason, RemoteWrite, Settings};
use weir_samples::document::write_sample;
use weir_samples::labels::{LabelSet, LabelsBuilder};

/// Samples of a segment.
const SEGMENT: usize = 2000;
const OPTIONS: Options = Options { exemplars: true, native_histograms: true, metadata: true };

/// The labels of a series, of about 130 bytes.
fn labels(series: usize) -> Vec<u8> {
    let (mut builder, mut out) = (LabelsBuilder::new(), Vec::new());
    builder.push("__name__", &format!("node_network_{}_total", series / 50));
    builder.push("cluster", "dev");
    builder.push("instance", "10.12.0.7:9100");
    builder.push("interface", &format!("eth{}", series % 50));
    builder.push("job", "node");
    builder.push("node", "worker-17");
    builder.finish(&mut out).unwrap();
    out
}

struct Nobody;

impl Acknowledge for Nobody {
    fn acknowledge(&self, _: u64, safe: bool, _: Vec<Posting>) {
        assert!(safe);
    }

    fn acknowledge_late(&self, _: u64, _: Vec<Posting>) {}
}

/// One scrape as segments.
fn scrape(sets: &[(u64, Vec<u8>)], streams: &[Arc<Stream>], timestamp: i64) -> Vec<Documents> {
    let mut segments = Vec::new();
    for (chunk, sets) in sets.chunks(SEGMENT).enumerate() {
        let mut made = Documents { streams: streams.to_vec(), ..Documents::default() };
        for (index, (series, set)) in sets.iter().enumerate() {
            let begin = made.ndjson.len();
            made.ndjson.extend_from_slice(set);
            write_sample(&mut made.ndjson, timestamp, (timestamp % 100_000) as f64 + index as f64 * 0.37, 0);
            let (end, time) = (made.ndjson.len() as u32, timestamp * 1_000_000);
            let stream = ((chunk * SEGMENT + index) / 50 % streams.len()) as u32;
            let bytes = made.ndjson.len() as u32 - begin as u32;
            made.records.push(Record { id: EventId::of_sample(*series, time), time, stream, bytes, end });
            made.ndjson.push(b'\n');
        }
        segments.push(made);
    }
    segments
}

/// CPU seconds of this process so far.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn measure_encoding(documents: &[Documents], count: usize) {
    let items = || {
        documents.iter().flat_map(|documents| {
            documents.iter().map(|(record, bytes)| (bytes, documents.streams.get(record.stream as usize)))
        })
    };
    let mut encoder = Encoder::new();
    let mut message = Vec::new();
    let show = |what: &str, run: &mut dyn FnMut() -> (usize, usize)| {
        let (rounds, mut sizes) = (300, (0, 0));
        run();
        let begun = cpu();
        for _ in 0..rounds {
            sizes = run();
        }
        let each = (cpu() - begun) * 1e9 / (rounds * count) as f64;
        let (packed, unpacked) = (sizes.0 as f64 / count as f64, sizes.1 as f64 / count as f64);
        println!("{what}: {each:.0} ns a sample; {unpacked:.1} bytes, packed {packed:.1}");
    };
    let mut of_v1 = || {
        let encoded = encoder.v1(items(), &[], OPTIONS);
        (encoded.body.len(), encoded.unpacked)
    };
    show("1.0, encoded and packed", &mut of_v1);
    let body = encoder.v1(items(), &[], OPTIONS).body;
    snap::raw::Decoder::new().decompress_vec(&body).unwrap().clone_into(&mut message);
    let mut packed = vec![0; snap::raw::max_compress_len(message.len())];
    let mut snappy = snap::raw::Encoder::new();
    let mut pack = || (snappy.compress(&message, &mut packed).unwrap(), message.len());
    show("1.0, packed only", &mut pack);
    let mut encoder = Encoder::new();
    let mut of_v2 = || {
        let encoded = encoder.v2(items(), OPTIONS);
        (encoded.body.len(), encoded.unpacked)
    };
    show("2.0, encoded and packed", &mut of_v2);
    let body = encoder.v2(items(), OPTIONS).body;
    let message = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    let mut pack = || (snappy.compress(&message, &mut packed).unwrap(), message.len());
    show("2.0, packed only", &mut pack);
}

/// Takes everything; says of 2.0 that it wrote more than there was.
async fn listen() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/write", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(async |request: Request<Incoming>| {
                let mut body = request.into_body();
                while body.frame().await.is_some() {}
                let answer =
                    Response::builder().header("x-prometheus-remote-write-samples-written", "9999999");
                Ok::<_, Infallible>(answer.body(Empty::<Bytes>::new()).unwrap())
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    url
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let url = match argument(0) {
        None | Some("-") => listen().await,
        Some(url) => url.to_owned(),
    };
    let protocol = match argument(1) {
        None | Some("1.0") => Protocol::V1,
        Some("2.0") => Protocol::V2,
        Some(_) => Protocol::Auto,
    };
    let number = |index, otherwise| argument(index).map_or(otherwise, |text| text.parse::<usize>().unwrap());
    let (series, scrapes) = (number(2, 100_000), number(3, 20));
    let sets: Vec<(u64, Vec<u8>)> =
        (0..series).map(labels).map(|set| (LabelSet::new(&set).hash(), set)).collect();
    println!("{series} series of {} bytes", sets.iter().map(|(_, set)| set.len()).sum::<usize>() / series);
    let stream = |n: usize| {
        let (name, help) = (format!("container_network_receive_{n}"), format!("Received of kind {n}."));
        let family = Family { name, kind: "counter".into(), unit: String::new(), help };
        Stream::new(Attributes { family: Some(Box::new(family)), ..Attributes::default() }, 0)
    };
    let streams: Vec<Arc<Stream>> = (0..200).map(stream).collect();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = since.as_millis() as i64;
    measure_encoding(&scrape(&sets[..sets.len().min(10_000)], &streams, now), sets.len().min(10_000));

    let (ledger, metrics) = (Arc::new(Ledger::default()), Arc::new(Metrics::default()));
    let (account, tier) = (ledger.account("p", "s"), MemoryTier::new(64 << 20, Arc::clone(&ledger)));
    let settings = Settings { url, protocol, ..Settings::default() };
    let sink = RemoteWrite::new(settings, Arc::clone(&metrics)).unwrap();
    let driving = Driving {
        name: "send_speed".into(),
        buffer: Arc::clone(&tier),
        metrics: Arc::new(SinkMetrics::default()),
        give_up: watch::channel(false).1,
        retire: watch::channel(false).1,
    };
    let driver = tokio::spawn(Box::new(sink).drive(driving));
    let (mut making, begun, of_cpu) = (0.0, Instant::now(), cpu());
    for number in 0..scrapes {
        let before = cpu();
        let segments = scrape(&sets, &streams, now + number as i64);
        making += cpu() - before;
        for made in segments {
            while tier.used() > 60 << 20 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let amount = made.amount();
            let ack = Ack::new(0, Arc::new(Nobody));
            let _moving = ledger.moving();
            ack.book(&account, Entry::Read, amount);
            let documents = Arc::new(made);
            tier.push(Segment { documents, targets: Targets::default(), amount, ack }, &account, 0);
        }
    }
    tier.close();
    driver.await.unwrap();
    let (seconds, of_cpu) = (begun.elapsed().as_secs_f64(), cpu() - of_cpu);
    let count = (series * scrapes) as f64;
    println!(
        "{count} samples in {seconds:.2} s and {of_cpu:.2} CPU seconds, about {making:.2} of which to make them"
    );
    println!(
        "{:.0} samples a second, {:.0} a CPU second",
        count / seconds,
        count / (of_cpu - making).max(0.01)
    );
    let statement = ledger.statements().remove(0);
    println!(
        "version {:?}, balanced {}, delivered {:?}",
        metrics.version(),
        statement.balanced,
        statement.counts.delivered
    );
    for reason in Reason::ALL {
        println!("dropped {}: {}", reason.name(), metrics.dropped(reason));
    }
    println!("{metrics:?}");
}
