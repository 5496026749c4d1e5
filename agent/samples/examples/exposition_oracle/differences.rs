//! The classes of differences between Weir and Prometheus, as the head of `exposition.rs` lists them.

use prost::Message as _;
use weir_samples::exposition::Format;
use weir_samples::proto::client::MetricFamily;

type Normalise = fn(&str) -> String;

/// Classes of what both accept, with what makes Weir's listing and Prometheus' alike.
const ALIKE: &[(&str, Normalise, Normalise)] = &[
    ("blanks before a series (1)", without_leading_blanks, without_leading_blanks),
    ("escapes in a family's name (2)", as_it_is, without_escapes_of_families),
    ("escapes in an exemplar's labels (3)", as_it_is, without_escapes_of_exemplars),
    ("the time is out of range (4)", without_far_times, without_far_times),
    (
        "bounds and quantiles in hexadecimal or with underscores (14)",
        with_canonical_bounds,
        with_canonical_bounds,
    ),
    ("text that is not UTF-8 in metadata or exemplars (7)", lossy, lossy),
];

/// And of messages.
const ALIKE_MESSAGES: &[(&str, Normalise, Normalise)] = &[
    ("a metric without a value in an untyped family (8)", without_untyped_values, without_untyped_values),
    ("exemplars of a family's later native histograms (9)", without_later_exemplars, without_later_exemplars),
];

/// The class of a difference, if it has one.
pub fn classify(format: Format, body: &[u8], ours: &str, theirs: &str) -> Option<&'static str> {
    match (ours.starts_with("error"), theirs.starts_with("error")) {
        (false, false) => accepted(format, ours, theirs).or(has_nul(format, body)),
        (true, _) => refused(format, body, ours, theirs),
        (false, true) => taken(format, body, ours, theirs),
    }
}

fn accepted(format: Format, ours: &str, theirs: &str) -> Option<&'static str> {
    let ours = ours.trim_end().to_owned();
    let (mut all_of_ours, mut all_of_theirs) = (ours.clone(), theirs.trim_end().to_owned());
    let of_messages = if format == Format::Protobuf { ALIKE_MESSAGES } else { &[] };
    for (class, of_ours, of_theirs) in ALIKE.iter().chain(of_messages) {
        if of_ours(&ours) == of_theirs(theirs.trim_end()) {
            return Some(class);
        }
        (all_of_ours, all_of_theirs) = (of_ours(&all_of_ours), of_theirs(&all_of_theirs));
    }
    if all_of_ours == all_of_theirs {
        return Some("several of these");
    }
    let is_alike = is_mixed(&ours) && without_histograms(&all_of_ours) == without_histograms(&all_of_theirs);
    (format == Format::Protobuf && is_alike).then_some("native and classic histograms in one family (12)")
}

fn as_it_is(list: &str) -> String {
    list.to_owned()
}

/// Weir refuses it, Prometheus does not.
fn refused(format: Format, body: &[u8], ours: &str, theirs: &str) -> Option<&'static str> {
    if theirs.starts_with("error panic") {
        return Some("Prometheus panics (10)");
    }
    if ours.contains("metric's name without quotes") {
        return Some("a name in braces without quotes (6)");
    }
    let fault = if format == Format::Protobuf { prost_error(body) } else { String::new() };
    if fault.contains("UTF-8") {
        return Some("text that is not UTF-8 in metadata or exemplars (7)");
    }
    if !fault.is_empty() {
        return Some("a malformed field that gogo forgives (13)");
    }
    if ours.contains("native histogram with spans that overlap") {
        return Some("an empty span in a native histogram (11)");
    }
    has_nul(format, body)
}

/// Prometheus refuses it, Weir does not.
fn taken(format: Format, body: &[u8], _ours: &str, theirs: &str) -> Option<&'static str> {
    if theirs.starts_with("error panic") {
        return Some("Prometheus panics, and Weir accepts");
    }
    has_nul(format, body)
}

/// Why prost refuses a message.
fn prost_error(mut body: &[u8]) -> String {
    while !body.is_empty() {
        if let Err(error) = MetricFamily::decode_length_delimited(&mut body) {
            return error.to_string();
        }
    }
    String::new()
}

/// Whether a family has both native and classic histograms.
fn is_mixed(list: &str) -> bool {
    let (mut series, mut histogram) = (false, false);
    for line in list.lines() {
        match line.split(' ').next() {
            Some("series") => series = true,
            Some("histogram") => histogram = true,
            _ => (series, histogram) = (false, false),
        }
        if series && histogram {
            return true;
        }
    }
    false
}

fn without_histograms(list: &str) -> String {
    let mut is_histogram = false;
    let lines = list.lines().filter(|line| {
        if line.starts_with("type ") {
            is_histogram = line.ends_with("histogram");
        }
        !(is_histogram && (line.starts_with("series ") || line.starts_with("histogram ")))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn has_nul(format: Format, body: &[u8]) -> Option<&'static str> {
    (format != Format::Protobuf && body.contains(&0)).then_some("a NUL (5)")
}

/// The bytes that a listing stands for.
fn decode(list: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = list.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next(), bytes.next()].map(|digit| char::from(digit.unwrap_or(b'0')).to_digit(16));
        out.push(digits.iter().fold(0, |byte, digit| byte * 16 + digit.unwrap_or(0) as u8));
    }
    out
}

fn lossy(list: &str) -> String {
    let lines = list.lines().map(|line| String::from_utf8_lossy(&decode(line)).replace('\n', "\\0a"));
    lines.collect::<Vec<_>>().join("\n")
}

fn without_leading_blanks(list: &str) -> String {
    let mut list = list.to_owned();
    for blank in [" ", "\\09"] {
        while list.contains(&format!("\"__name__\"=\"{blank}")) {
            list = list.replace(&format!("\"__name__\"=\"{blank}"), "\"__name__\"=\"");
        }
    }
    list
}

fn without_escapes_of_families(list: &str) -> String {
    let lines = list.lines().map(|line| {
        let mut words = line.splitn(3, '"');
        let (keyword, name, rest) = (words.next(), words.next(), words.next());
        match (keyword, name) {
            (Some(keyword @ ("type " | "help " | "unit ")), Some(name)) => {
                format!("{keyword}\"{}\"{}", unescape(name), rest.unwrap_or_default())
            }
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn without_escapes_of_exemplars(list: &str) -> String {
    let lines = list.lines().map(|line| match line.split_once(" # ") {
        Some((series, exemplar)) if line.starts_with("series ") => {
            format!("{series} # {}", unescape(exemplar))
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Of text as the listings write it.
fn unescape(text: &str) -> String {
    let text = text.replace("\\5c\\5c", "\0").replace("\\5c\\22", "\\22").replace("\\5cn", "\\0a");
    text.replace('\0', "\\5c")
}

fn without_far_times(list: &str) -> String {
    list.replace(" at 9223372036854775807", " at -9223372036854775808")
}

fn without_later_exemplars(list: &str) -> String {
    let mut seen = false;
    let lines = list.lines().map(|line| {
        let is_histogram = line.starts_with("histogram ");
        let is_later = is_histogram && seen;
        seen = is_histogram || (seen && line.starts_with("series "));
        if is_later { line.split(" # ").next().unwrap_or_default() } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn without_untyped_values(list: &str) -> String {
    let mut untyped = false;
    let lines = list.lines().map(|line| {
        if line.starts_with("type ") {
            untyped = line.ends_with(" unknown");
        }
        match line.split_once("} ") {
            Some((labels, rest)) if untyped => format!("{labels}}} {}", rest.get(16..).unwrap_or_default()),
            _ => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Of the numbers that the bodies have.
fn with_canonical_bounds(list: &str) -> String {
    let lines = list.lines().map(|line| {
        let (series, exemplar) = line.split_at(line.find(" # ").unwrap_or(line.len()));
        let mut series = series.to_owned();
        for name in ["quantile", "le"] {
            for (number, canonical) in [("0x1p4", "16.0"), ("1_0", "10.0")] {
                series = series
                    .replace(&format!("\"{name}\"=\"{number}\""), &format!("\"{name}\"=\"{canonical}\""));
            }
        }
        series + exemplar
    });
    lines.collect::<Vec<_>>().join("\n")
}
