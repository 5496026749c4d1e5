//! Measures what is done for each sample of a remote write request: unpacking, decoding, and the bytes of its row. Prints
//! samples a second of one core, the best of several runs.
//! `cargo run --release -p weir-receive --example remote_write_speed`
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::hint::black_box;
use std::time::Instant;

use prost::Message;
use weir_receive::remote_write::{Decoder, Version};
use weir_samples::proto::prometheus::{self, WriteRequest};
use weir_samples::proto::write_v2::{self, Request};

/// As many as Prometheus sends at once.
const SERIES: usize = 2_000;
const FAMILIES: usize = 100;
const RUNS: usize = 300;
const LIMIT: usize = 1 << 30;

/// As the usual targets of a cluster have them.
fn labels(index: usize) -> Vec<(String, String)> {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    vec![
        pair("__name__", format!("container_network_transmit_packets_{}_total", index * FAMILIES / SERIES)),
        pair("container", "cart".into()),
        pair("endpoint", "https-metrics".into()),
        pair("instance", format!("10.42.{}.17:10250", index % 7)),
        pair("interface", format!("eth{}", index % 5)),
        pair("job", "kubelet".into()),
        pair("metrics_path", "/metrics/cadvisor".into()),
        pair("namespace", "shop".into()),
        pair("pod", format!("cart-7d9f8b6c5d-{index:05}")),
        pair("service", "kubelet".into()),
    ]
}

fn v1() -> Vec<u8> {
    let series = |index| prometheus::TimeSeries {
        labels: labels(index).into_iter().map(|(name, value)| prometheus::Label { name, value }).collect(),
        samples: vec![prometheus::Sample { value: index as f64, timestamp: 1_795_341_600_000 }],
        ..prometheus::TimeSeries::default()
    };
    WriteRequest { timeseries: (0..SERIES).map(series).collect(), metadata: Vec::new() }.encode_to_vec()
}

fn v2() -> Vec<u8> {
    let mut symbols = vec![String::new()];
    let mut known = std::collections::HashMap::from([(String::new(), 0)]);
    let mut refer = |text: String| {
        *known.entry(text).or_insert_with_key(|text| {
            symbols.push(text.clone());
            symbols.len() as u32 - 1
        })
    };
    let mut timeseries = Vec::new();
    for index in 0..SERIES {
        let labels = labels(index).into_iter().flat_map(|(name, value)| [name, value]);
        let labels_refs = labels.map(&mut refer).collect();
        let metadata =
            write_v2::Metadata { r#type: 1, help_ref: refer("Packets that were sent.".into()), unit_ref: 0 };
        timeseries.push(write_v2::TimeSeries {
            labels_refs,
            samples: vec![write_v2::Sample {
                value: index as f64,
                timestamp: 1_795_341_600_000,
                start_timestamp: 1_795_000_000_000,
            }],
            metadata: Some(metadata),
            ..write_v2::TimeSeries::default()
        });
    }
    Request { symbols, timeseries }.encode_to_vec()
}

fn bench(name: &str, mut call: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        call();
        best = best.min(start.elapsed().as_nanos() as f64 / SERIES as f64);
    }
    println!("{name:<32} {best:8.1} ns a sample, {:6.2} million samples a second", 1_000.0 / best);
}

fn main() {
    let external = [("cluster", "prod-1"), ("node", "node-1")];
    let decoder = Decoder::new(external.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (name, version, body) in [("1.0", Version::V1, v1()), ("2.0", Version::V2, v2())] {
        let packed = snap::raw::Encoder::new().compress_vec(&body).expect("it is short");
        let decode = || decoder.decode(version, &body, LIMIT).expect("it is a request").samples;
        let row = decode().rows().map(|row| row.bytes()).sum::<usize>() / SERIES;
        println!(
            "{name}: {} bytes a sample, {} packed; its row {row}",
            body.len() / SERIES,
            packed.len() / SERIES
        );
        bench("  unpack", || {
            black_box(snap::raw::Decoder::new().decompress_vec(black_box(&packed)).expect("it is packed"));
        });
        bench("  decode", || {
            black_box(decode());
        });
        bench("  of it prost alone, to a tree", || match version {
            Version::V1 => drop(black_box(WriteRequest::decode(&body[..]))),
            Version::V2 => drop(black_box(Request::decode(&body[..]))),
        });
        let samples = decode();
        let mut arena = Vec::new();
        bench("  copy rows", || {
            arena.clear();
            samples.rows().for_each(|row| row.write(&mut arena));
            black_box(&arena);
        });
        bench("  all", || {
            let body = snap::raw::Decoder::new().decompress_vec(black_box(&packed)).expect("it is packed");
            let samples = decoder.decode(version, &body, LIMIT).expect("it is a request").samples;
            arena.clear();
            samples.rows().for_each(|row| row.write(&mut arena));
            black_box(&arena);
        });
    }
}
