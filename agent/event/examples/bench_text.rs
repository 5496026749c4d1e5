//! Measures what is done to every line's text: its time stamp, its CRI head, its parser. Prints nanoseconds per
//! call, the best of several runs. `cargo run --release -p weir-event --example bench_text`
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::hint::black_box;
use std::time::Instant;

use weir_event::cri;
use weir_event::parse::{Parser, RegexParser};
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

    bench_parsers();
}

fn bench_parsers() {
    let prometheus = r#"time=2026-11-22T10:57:23.224Z level=INFO source=head.go:885 msg="WAL replay completed" component=tsdb checkpoint_replay_duration=28.061us wal_replay_duration=773.754us wbl_replay_duration=190ns mmap_chunk_replay_duration=1.903us total_replay_duration=817.96us"#;
    let klog = r#"E1122 11:04:26.091579    6111 controller.go:201] "Failed to ensure lease exists, will retry" err="namespaces \"kube-system\" not found" interval="200ms""#;
    let plain = "2026-11-22T10:20:09.458Z\tinfo\tVictoriaMetrics/app/vmstorage/main.go:108\topening storage at \"d\" with -retentionPeriod=1";
    let stack = "\tat org.opensearch.common.settings.AbstractScopedSettings.validate(AbstractScopedSettings.java:495)";
    let clean = "x".repeat(300);
    let pattern = r"^(?<time>\S+)\t(?<level>\w+)\t(?<source>\S+)\t";
    let regex = Parser::Regex(Box::new(RegexParser::new(pattern).expect("a pattern")));
    for (name, parser, text) in [
        ("parse: json, 300 clean bytes", &Parser::Json, &clean[..]),
        ("parse: json, plain line", &Parser::Json, plain),
        ("parse: auto, plain line", &Parser::Auto, plain),
        ("parse: json, stack trace", &Parser::Json, stack),
        ("parse: auto, stack trace", &Parser::Auto, stack),
        ("parse: json, logfmt line", &Parser::Json, prometheus),
        ("parse: logfmt, 10 pairs", &Parser::Logfmt, prometheus),
        ("parse: auto, 10 pairs", &Parser::Auto, prometheus),
        ("parse: json, klog line", &Parser::Json, klog),
        ("parse: klog", &Parser::Klog, klog),
        ("parse: regex, 3 groups", &regex, plain),
    ] {
        let mut out = Vec::with_capacity(1024);
        bench(name, &[text; 100], |text| {
            out.clear();
            parser.render(text, &mut out);
            black_box(&out);
        });
    }
}
