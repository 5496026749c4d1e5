//! What Weir reads of a body, written as the oracle writes it (`integration-tests/oracles/prometheus/main.go`).

use std::fmt::Write as _;

use weir_samples::exposition::{
    Exemplar, ExpositionError, Format, HistogramSeries, Item, Kind, Next, Parser, read_labels,
};
use weir_samples::labels::{LabelSet, LabelsBuilder};
use weir_samples::proto::write_v2::{BucketSpan, Count, Histogram, ResetHint, ZeroCount};

/// Reads a body that comes in pieces.
pub fn list(format: Format, body: &[u8], mut piece: impl FnMut() -> usize) -> String {
    match read(format, body, &mut piece) {
        Ok(list) => list + "end\n",
        Err(error) => format!("error {error}\n"),
    }
}

fn read(format: Format, body: &[u8], piece: &mut impl FnMut() -> usize) -> Result<String, String> {
    let mut parser = Parser::new(format);
    let (mut list, mut start, mut end) = (String::new(), 0, 0);
    loop {
        let next = parser.next(&body[start..end], end == body.len(), &mut ());
        match next.map_err(|error: ExpositionError| error.to_string())? {
            Next::Item(item, used) => {
                show(&mut list, &item, format)?;
                start += used;
            }
            Next::More => end = (end + piece()).min(body.len()),
            Next::End => return Ok(list),
        }
    }
}

fn show(list: &mut String, item: &Item<'_>, format: Format) -> Result<(), String> {
    match item {
        Item::Nothing => {}
        Item::Type { family, kind } => writeln!(list, "type {} {}", quote(family), kind.name()).unwrap(),
        Item::Help { family, text } => writeln!(list, "help {} {}", quote(family), quote(text)).unwrap(),
        Item::Unit { family, unit } => writeln!(list, "unit {} {}", quote(family), quote(unit)).unwrap(),
        Item::Series(series) => {
            write!(
                list,
                "series {} {:016x}",
                labels(series.text, format, series.kind)?,
                series.value.to_bits()
            )
            .unwrap();
            write_times(list, series.timestamp, series.start_timestamp);
            series.exemplar.iter().for_each(|exemplar| write_exemplar(list, exemplar));
            list.push('\n');
        }
        Item::Histogram(series) => write_histogram(list, series, format)?,
    }
    Ok(())
}

fn write_times(list: &mut String, timestamp: Option<i64>, start: i64) {
    if let Some(timestamp) = timestamp {
        write!(list, " at {timestamp}").unwrap();
    }
    if start != 0 {
        write!(list, " since {start}").unwrap();
    }
}

fn labels(text: &[u8], format: Format, kind: Kind) -> Result<String, String> {
    let (mut builder, mut out) = (LabelsBuilder::new(), Vec::new());
    read_labels(text, format, kind, &mut builder).map_err(|error| error.to_string())?;
    builder.finish(&mut out).map_err(|error| error.to_string())?;
    Ok(pairs(LabelSet::new(&out).iter()))
}

fn pairs<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: String = labels.map(|(name, value)| format!("{}={},", quote(name), quote(value))).collect();
    format!("{{{pairs}}}")
}

fn write_exemplar(list: &mut String, exemplar: &Exemplar<'_>) {
    let mut builder = LabelsBuilder::new();
    exemplar.read_labels(&mut builder);
    let mut labels: Vec<(&str, &str)> = builder.iter().collect();
    labels.sort_by_key(|(name, _)| *name);
    write!(list, " # {} {:016x}", pairs(labels.into_iter()), exemplar.value.to_bits()).unwrap();
    if let Some(timestamp) = exemplar.timestamp {
        write!(list, " at {timestamp}").unwrap();
    }
}

fn write_histogram(list: &mut String, series: &HistogramSeries<'_>, format: Format) -> Result<(), String> {
    write!(list, "histogram {} ", labels(series.text, format, series.kind)?).unwrap();
    let histogram = &series.histogram;
    let is_whole = matches!(histogram.count, Some(Count::Int(_)));
    write!(list, "{} {} ", if is_whole { "whole" } else { "float" }, histogram.schema).unwrap();
    write!(list, "{:016x} ", histogram.sum.to_bits()).unwrap();
    match histogram.count.unwrap() {
        Count::Int(count) => write!(list, "{count} ").unwrap(),
        Count::Float(count) => write!(list, "{:016x} ", count.to_bits()).unwrap(),
    }
    write!(list, "{:016x} ", histogram.zero_threshold.to_bits()).unwrap();
    match histogram.zero_count.unwrap() {
        ZeroCount::Int(count) => write!(list, "{count}").unwrap(),
        ZeroCount::Float(count) => write!(list, "{:016x}", count.to_bits()).unwrap(),
    }
    write_buckets(list, histogram);
    write!(list, " {}", histogram.reset_hint == ResetHint::Gauge as i32).unwrap();
    write_times(list, series.timestamp, histogram.start_timestamp);
    series.exemplars.iter().for_each(|exemplar| write_exemplar(list, exemplar));
    list.push('\n');
    Ok(())
}

fn write_buckets(list: &mut String, histogram: &Histogram) {
    let sides = [
        ("positive", &histogram.positive_spans, &histogram.positive_deltas, &histogram.positive_counts),
        ("negative", &histogram.negative_spans, &histogram.negative_deltas, &histogram.negative_counts),
    ];
    for (name, spans, deltas, counts) in sides {
        let mut total = 0_i64;
        let whole = deltas.iter().map(|delta| {
            total += delta;
            (total != 0).then(|| total.to_string())
        });
        let floats = counts.iter().map(|count| (*count != 0.0).then(|| format!("{:016x}", count.to_bits())));
        write!(list, " {name}").unwrap();
        let counts: Vec<Option<String>> = whole.chain(floats).collect();
        for (index, count) in indices(spans).zip(counts) {
            if let Some(count) = count {
                write!(list, " {index}:{count}").unwrap();
            }
        }
    }
}

fn indices(spans: &[BucketSpan]) -> impl Iterator<Item = i32> {
    let mut index = 0_i32;
    spans.iter().flat_map(move |span| {
        let start = index.wrapping_add(span.offset);
        index = start.wrapping_add(span.length as i32);
        (0..span.length).map(move |at| start.wrapping_add(at as i32))
    })
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | ..0x20 | 0x7f.. => write!(out, "\\{byte:02x}").unwrap(),
            byte => out.push(char::from(byte)),
        }
    }
    out.push('"');
    out
}
