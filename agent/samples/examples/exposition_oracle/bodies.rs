//! Random bodies: valid ones, and such with a few random changes.

use prost::Message as _;
use weir_samples::exposition::Format;
use weir_samples::proto::client::{
    Bucket, Counter, Exemplar, Gauge, Histogram, LabelPair, Metric, MetricFamily, Quantile, Summary,
    Timestamp, Untyped,
};
use weir_samples::proto::write_v2::BucketSpan;

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Random) -> T) -> Option<T> {
        self.once_in(2).then(|| make(self))
    }
}

/// A body. Half of them are changed somewhere.
pub fn body(random: &mut Random) -> (Format, Vec<u8>) {
    let (format, mut body) = match random.below(3) {
        0 => (Format::Text, text(random, false).into_bytes()),
        1 => (Format::OpenMetrics, text(random, true).into_bytes()),
        _ => (Format::Protobuf, messages(random)),
    };
    if random.once_in(2) {
        for _ in 0..=random.below(3) {
            mutate(random, &mut body, format);
        }
    }
    (format, body)
}

fn mutate(random: &mut Random, body: &mut Vec<u8>, format: Format) {
    const WORDS: &[&str] = &[
        "\"",
        "{",
        "}",
        ",",
        "=",
        " ",
        "\t",
        "\n",
        "\\",
        "\\n",
        "\\\"",
        "#",
        "# ",
        "# EOF",
        "# EOF\n",
        "# TYPE ",
        "# HELP ",
        "# UNIT ",
        " # {",
        "le=\"1\"",
        "\0",
        "\r\n",
        "é",
        "1",
        "-",
        "+",
        ".",
        "e",
        "_",
        "0x1p1",
        "1e999",
        "NaN",
        "Inf",
        "nan",
        "+infinity",
        "99999999999999999999",
        "1_0",
        "a",
        ":",
        "{\"",
        "\"}",
    ];
    let at = random.below(body.len() + 1);
    let length = random.below(4).min(body.len() - at);
    match random.below(6) {
        0 => body.truncate(at),
        1 => drop(body.drain(at..at + length)),
        2 if at < body.len() => body[at] = random.next() as u8,
        3 => {
            let copy = body[at..(at + random.below(30)).min(body.len())].to_vec();
            let to = random.below(body.len() + 1);
            body.splice(to..to, copy);
        }
        _ if format == Format::Protobuf && !body.is_empty() => {
            let at = at.min(body.len() - 1);
            body[at] = body[at].wrapping_add([1, 255, 8, 248][random.below(4)]);
        }
        _ => drop(body.splice(at..at + length, random.pick(WORDS).bytes())),
    }
}

const NAMES: &[&str] =
    &["a", "http_requests_total", "h_bucket", "x:y", "s_sum", "s_count", "_", "h", "c_created"];
const QUOTED_NAMES: &[&str] = &[
    "a.b", "a b", "ü", "a\\\"b", "a\\\\", "a\\nb", "a", "le", "1", "a\nb", "c d", "e", "f.g", "h-i", "j", "",
];
const LABELS: &[&str] = &[
    "le", "quantile", "job", "instance", "a", "b", "_c", "__d__", "e1", "f", "g", "h", "node", "pod", "code",
    "method", "i",
];
const VALUES: &[&str] = &[
    "", "a", "1", "0.5", "1e6", "+Inf", "NaN", "1.0", "100000", "1000000", "0.00001", "a\\\"b", "a\\\\",
    "a\\nb", "a\\xb", "ü", "{}", "a,b", "#", " ", "1e-5", ".5", "5.", "-1", "\t", "0x1p4", "1_0", "1e400",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "1027",
    "12.47",
    "1.458255915e9",
    "-3.14",
    "+Inf",
    "-Inf",
    "NaN",
    "nan",
    "Infinity",
    "1e-320",
    "0.1",
    "1.",
    ".5",
    "1e+3",
    "1E3",
    "123456789012345678",
    "1234567890123456789012",
    "9007199254740993",
    "00012",
    "+5",
    "-0",
    "2.2250738585072011e-308",
    "0.000000000000000000000000000000000001",
];
const KINDS: &[&str] = &["counter", "gauge", "histogram", "summary"];
const TEXT_KINDS: &[&str] = &["untyped", "counter", "unknown"];
const OPEN_METRICS_KINDS: &[&str] = &["gaugehistogram", "info", "stateset", "unknown", "untyped"];

fn text(random: &mut Random, open_metrics: bool) -> String {
    let mut out = String::new();
    for _ in 0..random.below(8) {
        match random.below(8) {
            0 | 1 => metadata(random, &mut out, open_metrics),
            2 if !open_metrics => {
                out += random.pick(&["\n", "  \n", "# comment\n", "#\n", "# HELPx\n", " # TYPE\n"])
            }
            _ => line(random, &mut out, open_metrics),
        }
    }
    if open_metrics && !random.once_in(30) {
        out += "# EOF";
        out += random.pick(&["\n", "\n", ""]);
    } else if random.once_in(4) {
        out.pop();
    }
    out
}

fn metadata(random: &mut Random, out: &mut String, open_metrics: bool) {
    *out += "# ";
    let keyword =
        random.pick(if open_metrics { &["TYPE", "HELP", "UNIT"] } else { &["TYPE", "TYPE", "HELP"] });
    *out += keyword;
    *out += " ";
    let quotes = random.once_in(4);
    let name = random.pick(if quotes { QUOTED_NAMES } else { NAMES });
    *out += &if quotes { format!("\"{name}\"") } else { name.to_owned() };
    *out += " ";
    match keyword {
        "TYPE" if random.once_in(3) => {
            *out += random.pick(if open_metrics { OPEN_METRICS_KINDS } else { TEXT_KINDS })
        }
        "TYPE" => *out += random.pick(KINDS),
        "HELP" => *out += random.pick(&["", "help", " two  words ", "a\\nb\\\\c\\\"", "ü"]),
        _ => *out += name.rsplit_once('_').map_or("", |(_, unit)| unit),
    }
    *out += "\n";
}

fn line(random: &mut Random, out: &mut String, open_metrics: bool) {
    let blank =
        |random: &mut Random| if open_metrics { "" } else { random.pick(&["", "", "", " ", "\t", "  "]) };
    if random.once_in(40) {
        *out += blank(random);
    }
    let quoted = random.once_in(5);
    let count = random.below(4);
    if !quoted {
        *out += random.pick(NAMES);
        *out += blank(random);
    }
    if quoted || count > 0 || random.once_in(5) {
        *out += "{";
        if quoted {
            *out += &format!("\"{}\"", random.pick(QUOTED_NAMES));
            *out += if count > 0 || random.once_in(4) { "," } else { "" };
        }
        for index in 0..count {
            let quoted = random.once_in(5);
            let name = random.pick(if quoted { QUOTED_NAMES } else { LABELS });
            let name = if quoted { format!("\"{name}\"") } else { name.to_owned() };
            let value = random.pick(VALUES);
            *out += &format!(
                "{}{name}{}={}\"{value}\"{}",
                blank(random),
                blank(random),
                blank(random),
                blank(random)
            );
            *out += if index + 1 < count || random.once_in(6) { "," } else { "" };
        }
        *out += blank(random);
        *out += "}";
    }
    *out += if open_metrics { " " } else { random.pick(&[" ", " ", "\t", "  "]) };
    *out += random.pick(NUMBERS);
    if random.once_in(3) {
        *out += " ";
        *out += &timestamp(random, open_metrics);
    }
    if open_metrics && random.once_in(4) {
        *out += " # {";
        for _ in 0..random.below(3) {
            *out += &format!("{}=\"{}\",", random.pick(LABELS), random.pick(VALUES));
        }
        *out += "} ";
        *out += random.pick(NUMBERS);
        if random.once_in(2) {
            *out += " ";
            *out += &timestamp(random, true);
        }
    } else if !open_metrics {
        *out += blank(random);
    }
    *out += "\n";
}

fn timestamp(random: &mut Random, open_metrics: bool) -> String {
    match random.below(20) {
        0 if open_metrics => random.pick(NUMBERS).to_owned(),
        1..10 if open_metrics => format!("{}.{:03}", random.below(2_000_000_000), random.below(1000)),
        _ => random.below(2_000_000_000_000).to_string(),
    }
}

fn messages(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..random.below(4) {
        let kind = random.below(6) as i32;
        let is_native = random.once_in(2);
        let mut family = MetricFamily {
            name: Some(random.pick(&["a", "h_total", "a.b", "ü", "a\"b", "a\nb\\", "1"]).to_owned()),
            help: random.maybe(|random| random.pick(&["", "help", "a\nb\\"]).to_owned()),
            r#type: Some(kind),
            metric: (0..random.below(4)).map(|_| metric(random, kind, is_native)).collect(),
            unit: random.maybe(|random| random.pick(&["", "seconds"]).to_owned()),
        };
        if random.once_in(30) {
            family.r#type = Some(random.below(9) as i32);
        }
        family.encode_length_delimited(&mut out).unwrap();
    }
    out
}

fn labels(random: &mut Random) -> Vec<LabelPair> {
    let label = |random: &mut Random| LabelPair {
        name: Some(random.pick(&["a", "b", "c.d", "le", "x:y", "quantile", "ü", "e"]).to_owned()),
        value: random.maybe(|random| random.pick(&["", "1", "x\"y\n\\", "ü", "z"]).to_owned()),
    };
    (0..random.below(3)).map(|_| label(random)).collect()
}

fn number(random: &mut Random) -> f64 {
    const NUMBERS: &[f64] = &[
        0.0,
        1.0,
        -1.0,
        0.5,
        2.5,
        10.0,
        1e6,
        123_456.0,
        1_234_567.0,
        1e-5,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e22,
    ];
    match random.below(8) {
        0 => f64::from_bits(random.next()),
        _ => NUMBERS[random.below(NUMBERS.len())],
    }
}

fn time(random: &mut Random) -> Timestamp {
    Timestamp { seconds: random.below(2_000_000_000) as i64, nanos: random.below(1_000_000_000) as i32 }
}

fn exemplar(random: &mut Random) -> Exemplar {
    Exemplar { label: labels(random), value: Some(number(random)), timestamp: random.maybe(time) }
}

fn metric(random: &mut Random, kind: i32, is_native: bool) -> Metric {
    let mut metric = Metric {
        label: labels(random),
        timestamp_ms: random.maybe(|random| random.below(2_000_000_000_000) as i64),
        ..Metric::default()
    };
    match kind {
        0 => {
            metric.counter = Some(Counter {
                value: Some(number(random)),
                exemplar: random.maybe(exemplar),
                created_timestamp: random.maybe(time),
            });
        }
        1 => metric.gauge = Some(Gauge { value: Some(number(random)) }),
        2 => {
            let quantile = |random: &mut Random| Quantile {
                quantile: Some(number(random)),
                value: Some(number(random)),
            };
            metric.summary = Some(Summary {
                sample_count: Some(random.next() >> random.below(64)),
                sample_sum: Some(number(random)),
                quantile: (0..random.below(3)).map(|_| quantile(random)).collect(),
                created_timestamp: random.maybe(time),
            });
        }
        3 => metric.untyped = Some(Untyped { value: Some(number(random)) }),
        _ => metric.histogram = Some(histogram(random, is_native)),
    }
    metric
}

fn histogram(random: &mut Random, is_native: bool) -> Histogram {
    let is_float = random.once_in(3);
    let bucket = |random: &mut Random| Bucket {
        cumulative_count: (!is_float).then(|| random.below(100) as u64),
        cumulative_count_float: is_float.then(|| random.below(100) as f64 / 4.0),
        upper_bound: Some(number(random)),
        exemplar: random.maybe(exemplar),
    };
    let mut histogram = Histogram {
        sample_sum: Some(number(random)),
        bucket: (0..random.below(4)).map(|_| bucket(random)).collect(),
        created_timestamp: random.maybe(time),
        ..Histogram::default()
    };
    let mut count = 0;
    if is_native {
        histogram.schema = Some(random.below(13) as i32 - 4);
        histogram.zero_threshold = Some(1e-128);
        histogram.exemplars = (0..random.below(3)).map(|_| exemplar(random)).collect();
        let zero = random.below(5);
        count += zero;
        let (positive, positive_counts) = buckets(random);
        let (negative, negative_counts) = buckets(random);
        count += positive_counts.iter().chain(&negative_counts).sum::<usize>();
        (histogram.positive_span, histogram.negative_span) = (positive, negative);
        if is_float {
            histogram.zero_count_float = Some(zero as f64);
            histogram.positive_count = positive_counts.iter().map(|count| *count as f64).collect();
            histogram.negative_count = negative_counts.iter().map(|count| *count as f64).collect();
        } else {
            histogram.zero_count = Some(zero as u64);
            histogram.positive_delta = deltas(&positive_counts);
            histogram.negative_delta = deltas(&negative_counts);
        }
    }
    if is_float {
        histogram.sample_count_float = Some(count as f64 + 0.5);
    } else {
        histogram.sample_count = Some(count as u64 + u64::from(random.once_in(40)));
    }
    histogram
}

fn buckets(random: &mut Random) -> (Vec<BucketSpan>, Vec<usize>) {
    let (mut spans, mut counts) = (Vec::new(), Vec::new());
    for index in 0..random.below(4) {
        let length = random.below(4);
        let offset = random.below(9) as i32 - if index == 0 { 4 } else { 0 };
        spans.push(BucketSpan { offset, length: length as u32 });
        counts.extend((0..length).map(|_| random.below(5)));
    }
    (spans, counts)
}

fn deltas(counts: &[usize]) -> Vec<i64> {
    let before = std::iter::once(&0).chain(counts);
    counts.iter().zip(before).map(|(count, before)| *count as i64 - *before as i64).collect()
}
