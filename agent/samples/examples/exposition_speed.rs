//! Measures how long the text parser takes for a line, with series that were met before and with new ones.
//!
//! ```sh
//! cargo run --release -p weir-samples --example exposition_speed
//! ```
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use twox_hash::XxHash3_128;
use weir_samples::exposition::{Format, Item, Known, Next, Parser};
use weir_samples::labels::LabelsBuilder;

const FAMILIES: usize = 200;
const SERIES: usize = 500;
const ROUNDS: usize = 15;
/// How much of a body comes at once, as from a socket.
const PIECE: usize = 64 << 10;

/// Expects the series in the order in which they came the last time.
#[derive(Default)]
struct Expected {
    series: Vec<(usize, u128)>,
    at: usize,
}

impl Known for Expected {
    #[inline]
    fn recognise(&mut self, line: &[u8]) -> Option<usize> {
        let (length, hash) = *self.series.get(self.at)?;
        if XxHash3_128::oneshot(line.get(..length)?) != hash {
            return None;
        }
        self.at += 1;
        Some(length)
    }
}

fn main() {
    for format in [Format::Text, Format::OpenMetrics] {
        for (name, floats) in [("whole numbers", false), ("floats", true)] {
            let body = body(format, floats);
            let mut known = Expected::default();
            let mut texts = Vec::new();
            read(format, &body, &mut (), |text| texts.push((text.len(), XxHash3_128::oneshot(text))));
            known.series = texts;
            let line = body.len() / (FAMILIES * SERIES);
            let met = best(|| {
                known.at = 0;
                read(format, &body, &mut known, |_| {})
            });
            let hash = best(|| hash_all(&body, &known));
            let new = best(|| read(format, &body, &mut (), |_| {}));
            let mut labels = LabelsBuilder::new();
            let mut out = Vec::new();
            let labelled = best(|| {
                read(format, &body, &mut (), |text| {
                    labels.clear();
                    out.clear();
                    weir_samples::exposition::read_labels(
                        text,
                        format,
                        weir_samples::exposition::Kind::Counter,
                        &mut labels,
                    )
                    .unwrap();
                    labels.finish(&mut out).unwrap();
                })
            });
            println!(
                "{format:?}, {name}, {line} bytes a line: {met:.1} ns met before (of which {hash:.1} ns hash), \
                 {new:.1} ns new, {labelled:.1} ns new with labels"
            );
        }
    }
}

fn body(format: Format, floats: bool) -> Vec<u8> {
    let mut body = String::new();
    for family in 0..FAMILIES {
        writeln!(body, "# HELP some_component_operations_{family:03}_total How many operations there were.")
            .unwrap();
        let name = format!("some_component_operations_{family:03}");
        let of_family = if format == Format::OpenMetrics { name.clone() } else { format!("{name}_total") };
        writeln!(body, "# TYPE {of_family} counter").unwrap();
        for series in 0..SERIES {
            let value = family * 7919 + series * 104_729;
            write!(
                body,
                "{name}_total{{code=\"200\",handler=\"/api/v1/{series:03}\",instance=\"i{}\",method=\"GET\",zone=\"a\"}} {value}",
                series % 10
            )
            .unwrap();
            body += if floats { ".25718\n" } else { "\n" };
        }
    }
    body += if format == Format::OpenMetrics { "# EOF\n" } else { "" };
    body.into_bytes()
}

/// Reads the body in pieces; how many series it had.
fn read(format: Format, body: &[u8], known: &mut impl Known, mut see: impl FnMut(&[u8])) -> usize {
    let mut parser = Parser::new(format);
    let (mut start, mut end, mut count) = (0, 0, 0);
    let mut sum = 0.0;
    loop {
        match parser.next(&body[start..end], end == body.len(), known).unwrap() {
            Next::Item(item, used) => {
                start += used;
                if let Item::Series(series) = item {
                    count += 1;
                    sum += series.value;
                    see(series.text);
                }
            }
            Next::More => end = (end + PIECE).min(body.len()),
            Next::End => break,
        }
    }
    std::hint::black_box(sum);
    count
}

/// What a hash of each series' text takes, without anything else.
fn hash_all(body: &[u8], known: &Expected) -> usize {
    let mut found = 0;
    for (length, hash) in &known.series {
        found += usize::from(XxHash3_128::oneshot(&body[..*length]) == *hash);
    }
    std::hint::black_box(found);
    known.series.len()
}

/// Nanoseconds a series, of the fastest round.
fn best(mut round: impl FnMut() -> usize) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        assert_eq!(round(), FAMILIES * SERIES);
        best = best.min(start.elapsed());
    }
    best.as_nanos() as f64 / (FAMILIES * SERIES) as f64
}
