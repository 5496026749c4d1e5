//! Measures what is done to every line's text: its time stamp, its CRI head, its parser. Prints nanoseconds per
//! call, the best of several runs. `cargo run --release -p weir-event --example bench_text`
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use weir_event::cri;
use weir_event::time::{Rfc3339Reader, Rfc3339Writer, parse_rfc3339, write_rfc3339};

const ROUNDS: usize = 2;
const RUNS: usize = 3_000;

fn bench<T>(name: &str, inputs: &[T], mut call: impl FnMut(&T)) {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            inputs.iter().for_each(|input| call(black_box(input)));
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (ROUNDS * inputs.len()) as f64);
    }
    println!("{name:<44} {best:8.1} ns");
}

fn main() {
    let times: Vec<i64> = (0..1000).map(|i| 1_795_341_600_000_000_000 + i * 37_000_123).collect();
    let stamp = |ns: &i64| {
        let mut out = Vec::new();
        write_rfc3339(&mut out, *ns);
        out
    };
    let stamps: Vec<Vec<u8>> = times.iter().map(stamp).collect();
    let short: Vec<Vec<u8>> = stamps.iter().map(|s| [&s[..26], b"Z"].concat()).collect();
    let offset: Vec<Vec<u8>> = stamps.iter().map(|s| [&s[..29], b"+00:00"].concat()).collect();
    let lines: Vec<Vec<u8>> = stamps
        .iter()
        .map(|s| [s, &b" stdout F {\"level\":\"info\",\"msg\":\"hello\"}"[..]].concat())
        .collect();
    let crio: Vec<Vec<u8>> = offset.iter().map(|s| [s, &b" stdout F hello"[..]].concat()).collect();

    let mut reader = Rfc3339Reader::default();
    bench("time: read, same minute", &stamps, |s| {
        black_box(reader.read(s));
    });
    bench("time: read, same minute, 6 digits", &short, |s| {
        black_box(reader.read(s));
    });
    bench("time: read, same minute, offset", &offset, |s| {
        black_box(reader.read(s));
    });
    bench("time: read, alone", &stamps, |s| {
        black_box(parse_rfc3339(s));
    });
    let mut out = Vec::with_capacity(64);
    let mut writer = Rfc3339Writer::default();
    bench("time: write, same minute", &times, |ns| {
        out.clear();
        writer.write(&mut out, *ns);
        black_box(&out);
    });
    bench("time: write, alone", &times, |ns| {
        out.clear();
        write_rfc3339(&mut out, *ns);
        black_box(&out);
    });
    bench("cri: line", &lines, |line| {
        let _ = black_box(cri::parse_line(line, &mut reader));
    });
    bench("cri: line with an offset", &crio, |line| {
        let _ = black_box(cri::parse_line(line, &mut reader));
    });
}
