//! Bodies and what is read of them.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::labels::LabelSet;
use crate::proto::client;

/// Recognises the texts that it holds.
#[derive(Default)]
struct Texts(Vec<Vec<u8>>);

impl Known for Texts {
    fn recognise(&mut self, line: &[u8]) -> Option<usize> {
        self.0.iter().filter(|text| line.starts_with(text)).map(Vec::len).max()
    }
}

/// Reads a body that comes in pieces of these lengths, in turn; what was read as lines, and the error, if any.
fn read_in_pieces(
    format: Format,
    body: &[u8],
    pieces: &[usize],
    settings: Settings,
    known: &mut impl Known,
) -> (Vec<String>, Option<String>) {
    let mut parser = Parser::with_settings(format, settings);
    let (mut out, mut start, mut end) = (Vec::new(), 0, 0);
    let mut pieces = pieces.iter().cycle();
    loop {
        match parser.next(&body[start..end], end == body.len(), known) {
            Ok(Next::Item(item, used)) => {
                start += used;
                out.extend(show(&item, format));
            }
            Ok(Next::More) => {
                assert!(end < body.len(), "asked for more behind the end");
                end = (end + pieces.next().unwrap().max(&1)).min(body.len());
            }
            Ok(Next::End) => return (out, None),
            Err(ExpositionError::Invalid { what, .. } | ExpositionError::InvalidMessage { what, .. }) => {
                return (out, Some(what.to_owned()));
            }
            Err(error) => return (out, Some(error.to_string())),
        }
    }
}

fn read(format: Format, body: &[u8]) -> (Vec<String>, Option<String>) {
    read_in_pieces(format, body, &[body.len()], Settings::default(), &mut ())
}

fn show(item: &Item<'_>, format: Format) -> Option<String> {
    Some(match item {
        Item::Nothing => return None,
        Item::Type { family, kind } => format!("TYPE {family} {}", kind.name()),
        Item::Help { family, text } => format!("HELP {family} {text}"),
        Item::Unit { family, unit } => format!("UNIT {family} {unit}"),
        Item::Series(series) => {
            let mut line = format!("{} {:?}", labels(series.text, format, series.kind), series.value);
            let start = Some(series.start_timestamp).filter(|time| *time != 0);
            line += &series.timestamp.map_or(String::new(), |time| format!(" @{time}"));
            line += &start.map_or(String::new(), |time| format!(" since {time}"));
            line + &series.exemplar.iter().map(show_exemplar).collect::<String>()
        }
        Item::Histogram(series) => {
            let labels = labels(series.text, format, series.kind);
            let exemplars: String = series.exemplars.iter().map(show_exemplar).collect();
            format!("{labels} {:?}{exemplars}", series.histogram)
        }
    })
}

fn labels(text: &[u8], format: Format, kind: Kind) -> String {
    let (mut builder, mut out) = (LabelsBuilder::new(), Vec::new());
    match read_labels(text, format, kind, &mut builder).map(|()| builder.finish(&mut out)) {
        Ok(Ok(())) => LabelSet::new(&out).to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    }
}

fn show_exemplar(exemplar: &Exemplar<'_>) -> String {
    let (mut builder, mut out) = (LabelsBuilder::new(), Vec::new());
    exemplar.read_labels(&mut builder);
    builder.finish(&mut out).unwrap();
    format!(" # {} {:?} {:?}", LabelSet::new(&out), exemplar.value, exemplar.timestamp)
}

#[test]
fn the_text_format_is_read() {
    let body = concat!(
        "# HELP http_requests_total The \\\\ total\\n number.\n# TYPE http_requests_total counter\n",
        "http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n",
        "http_requests_total{ method = \"a\\\"b\\\\c\\nd\" , code=\"400\", }\t3\n\n   \n# a comment\n#another\n",
        "metric_without_timestamp_and_labels 12.47\n",
        "something_weird{problem=\"division by zero\"} +Inf -3982045\n",
    );
    let (lines, error) = read(Format::Text, body.as_bytes());
    assert_eq!(
        lines,
        [
            "HELP http_requests_total The \\ total\n number.",
            "TYPE http_requests_total counter",
            "http_requests_total{code=\"200\",method=\"post\"} 1027.0 @1395066363000",
            "http_requests_total{code=\"400\",method=\"a\\\"b\\\\c\\nd\"} 3.0",
            "metric_without_timestamp_and_labels 12.47",
        ]
    );
    assert!(error.is_some(), "a timestamp in the text format has no sign");
}

#[test]
fn single_lines_are_read_as_prometheus_does() {
    let cases: &[(Format, &str, Option<&str>)] = &[
        (Format::Text, "a 1", Some("a 1.0")),
        (Format::Text, "  a 1  5  \n", Some("a 1.0 @5")),
        (Format::Text, "a+1", Some("a 1.0")),
        (Format::Text, "a {b=\"c\"}1", Some("a{b=\"c\"} 1.0")),
        (Format::Text, "a{b=\"c\" d=\"e\"} 1", Some("a{b=\"c\",d=\"e\"} 1.0")),
        (Format::Text, "a{b=\"x\ny\"} 1", Some("a{b=\"x\\ny\"} 1.0")),
        (Format::Text, "a{b=\"\"} 1", Some("a 1.0")),
        (Format::Text, "{\"a.b\",\"c d\"=\"e\"} 1", Some("{\"a.b\",\"c d\"=\"e\"} 1.0")),
        (Format::Text, "{c=\"e\",\"a\"} 1", Some("a{c=\"e\"} 1.0")),
        (Format::Text, "a{} 1", Some("a 1.0")),
        (Format::Text, "{a} 1", None),
        (Format::Text, "{a=\"b\"} 1", None),
        (Format::Text, "a{\"b\"} 1", None),
        (Format::Text, "a{b} 1", None),
        (Format::Text, "a{,} 1", None),
        (Format::Text, "a{b=\"c} 1", None),
        (Format::Text, "a", None),
        (Format::Text, "a 1 2 3", None),
        (Format::Text, "a 1 -2", None),
        (Format::Text, "a 1 9223372036854775808", None),
        (Format::Text, "a 0x1p3", None),
        (Format::Text, "a 1e999", None),
        (Format::Text, "a 1\r", None),
        (Format::Text, "1a 1", None),
        (Format::Text, "a{b=\"\\\0\"} 1", None),
        (Format::Text, "# TYPE a untyped", Some("TYPE a unknown")),
        (Format::Text, "# TYPE a info", None),
        (Format::Text, "# TYPE a counter ", None),
        (Format::Text, "# HELP \"a.b\" c ", Some("HELP a.b c ")),
        (Format::Text, "# HELP a", Some("HELP a ")),
        (Format::Text, "# HELP ", None),
        (Format::OpenMetrics, "a 1 1.5\n# EOF\n", Some("a 1.0 @1500")),
        (Format::OpenMetrics, "a 1 -1\n# EOF", Some("a 1.0 @-1000")),
        (Format::OpenMetrics, "a 1 # {b=\"c\"} 2 3.5\n# EOF", Some("a 1.0 # {b=\"c\"} 2.0 Some(3500)")),
        (Format::OpenMetrics, "a 1 4 # {} 2\n# EOF", Some("a 1.0 @4000 #  2.0 None")),
        (Format::OpenMetrics, "# UNIT a_b b\n# EOF", Some("UNIT a_b b")),
        (Format::OpenMetrics, "# UNIT a_b c\n# EOF", None),
        (Format::OpenMetrics, "# TYPE a stateset\n# EOF", Some("TYPE a stateset")),
        (Format::OpenMetrics, "# TYPE a untyped\n# EOF", None),
        (Format::OpenMetrics, "# comment\n# EOF", None),
        (Format::OpenMetrics, "a 1\n", None),
        (Format::OpenMetrics, "a  1\n# EOF", None),
        (Format::OpenMetrics, "a{b=\"x\ny\"} 1\n# EOF", None),
        (Format::OpenMetrics, "a 1 NaN\n# EOF", None),
        (Format::OpenMetrics, "a 1\n# EOF\na 2\n", None),
        (Format::OpenMetrics, "\na 1\n# EOF\n", None),
        (Format::OpenMetrics, "", None),
    ];
    for (format, body, wanted) in cases {
        let (lines, error) = read(*format, body.as_bytes());
        match wanted {
            None => assert!(error.is_some() && lines.len() < 2, "{body:?}: {lines:?}"),
            Some(line) => assert_eq!((lines.join("|").as_str(), error), (*line, None), "{body:?}"),
        }
    }
    let (lines, error) = read(Format::Text, b"# HELP\n#\n");
    assert_eq!((lines.len(), error), (0, None), "a comment");
}

#[test]
fn bounds_and_quantiles_are_written_as_in_open_metrics() {
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"x\"} 1\nh_bucket{quantile=\"1\"} 1\n\
                # TYPE s summary\ns{quantile=\"1e6\"} 1\n# TYPE g gauge\ng{le=\"1\"} 1\n";
    let (lines, error) = read(Format::Text, body.as_bytes());
    let series: Vec<&str> =
        lines.iter().map(String::as_str).filter(|line| !line.starts_with("TYPE")).collect();
    let wanted = [
        "h_bucket{le=\"1.0\"} 1.0",
        "h_bucket{le=\"x\"} 1.0",
        "h_bucket{quantile=\"1\"} 1.0",
        "s{quantile=\"1e+06\"} 1.0",
        "g{le=\"1\"} 1.0",
    ];
    assert_eq!((&series[..], error), (&wanted[..], None));
}

#[test]
fn a_known_series_is_recognised_only_where_it_ends() {
    let mut known = Texts(vec![b"a".to_vec(), b"b{c=\"d\"}".to_vec()]);
    let body = b"a 1\na {x=\"y\"} 2\nab 3\nb{c=\"d\"} 4 5\nb{c=\"d\"}6\n";
    let mut parser = Parser::new(Format::Text);
    let (mut rest, mut seen) = (&body[..], Vec::new());
    while let Next::Item(item, used) = parser.next(rest, true, &mut known).unwrap() {
        if let Item::Series(series) = item {
            seen.push((String::from_utf8(series.text.to_vec()).unwrap(), series.recognised, series.value));
        }
        rest = &rest[used..];
    }
    let wanted = [
        ("a", true, 1.0),
        ("a {x=\"y\"}", false, 2.0),
        ("ab", false, 3.0),
        ("b{c=\"d\"}", true, 4.0),
        ("b{c=\"d\"}", false, 6.0),
    ];
    assert_eq!(seen, wanted.map(|(text, recognised, value)| (text.to_owned(), recognised, value)));
}

#[test]
fn a_line_over_the_limit_is_refused_however_it_comes() {
    let settings = Settings { limit: 20, ..Settings::default() };
    for body in ["aaaaaaaaaaaaaaaaaaaaaaaaa 1\n", "b 1\n# a comment that is too long\n"] {
        for piece in [1, 7, 100] {
            let (_, error) = read_in_pieces(Format::Text, body.as_bytes(), &[piece], settings, &mut ());
            assert_eq!(error, Some(ExpositionError::TooLarge { limit: 20 }.to_string()), "{body}");
        }
    }
    let fits = "aaaaaaaaaaaaaaaaa 1\n\n\n";
    assert_eq!(read_in_pieces(Format::Text, fits.as_bytes(), &[3], settings, &mut ()).1, None);
    let message = delimited(&[family("a", 0, vec![counter(1.0)]), family("b", 0, vec![counter(1.0); 20])]);
    for piece in [1, 100] {
        let (lines, error) = read_in_pieces(Format::Protobuf, &message, &[piece], settings, &mut ());
        assert_eq!((lines.len(), error), (3, Some(ExpositionError::TooLarge { limit: 20 }.to_string())));
    }
}

fn family(name: &str, kind: i32, metric: Vec<client::Metric>) -> client::MetricFamily {
    client::MetricFamily { name: Some(name.to_owned()), r#type: Some(kind), metric, ..Default::default() }
}

fn counter(value: f64) -> client::Metric {
    let counter = client::Counter { value: Some(value), ..Default::default() };
    client::Metric { counter: Some(counter), ..Default::default() }
}

fn label(name: &str, value: &str) -> client::LabelPair {
    client::LabelPair { name: Some(name.to_owned()), value: Some(value.to_owned()) }
}

fn delimited(families: &[client::MetricFamily]) -> Vec<u8> {
    families.iter().flat_map(client::MetricFamily::encode_length_delimited_to_vec).collect()
}

fn histogram(bounds: &[f64], is_native: bool) -> client::Metric {
    let bucket = |(index, bound): (usize, &f64)| client::Bucket {
        cumulative_count: Some(index as u64 + 1),
        upper_bound: Some(*bound),
        ..Default::default()
    };
    let mut histogram = client::Histogram {
        sample_count: Some(3),
        sample_sum: Some(4.5),
        bucket: bounds.iter().enumerate().map(bucket).collect(),
        created_timestamp: Some(client::Timestamp { seconds: 1, nanos: 2_000_000 }),
        ..Default::default()
    };
    if is_native {
        histogram.schema = Some(3);
        histogram.zero_threshold = Some(1e-128);
        histogram.zero_count = Some(1);
        histogram.positive_span = vec![write_v2::BucketSpan { offset: 2, length: 2 }];
        histogram.positive_delta = vec![1, 0];
    }
    client::Metric { histogram: Some(histogram), label: vec![label("b", "c\"d")], ..Default::default() }
}

#[test]
fn messages_are_read_as_series() {
    let mut plain = family("requests.total", 0, vec![counter(3.0)]);
    plain.help = Some("what\\n".to_owned());
    plain.unit = Some("s".to_owned());
    let metric = &mut plain.metric[0];
    metric.timestamp_ms = Some(5);
    let of_counter = metric.counter.as_mut().unwrap();
    of_counter.created_timestamp = Some(client::Timestamp { seconds: 7, nanos: 0 });
    let exemplar = client::Exemplar { label: vec![label("t", "1")], value: Some(2.0), timestamp: None };
    of_counter.exemplar = Some(exemplar);
    let quantile = client::Quantile { quantile: Some(1.0), value: Some(9.0) };
    let summary = client::Summary { quantile: vec![quantile], ..Default::default() };
    let summary = client::Metric { summary: Some(summary), ..Default::default() };
    let families = [
        plain,
        family("empty", 9, vec![]),
        family("s", 2, vec![summary]),
        family("h", 4, vec![histogram(&[1.0], false)]),
    ];
    let (lines, error) = read(Format::Protobuf, &delimited(&families));
    assert_eq!(error, None);
    assert_eq!(
        lines,
        [
            "HELP requests.total what\\n",
            "UNIT requests.total s",
            "TYPE requests.total counter",
            "{\"requests.total\"} 3.0 @5 since 7000 # {t=\"1\"} 2.0 None",
            "HELP s ",
            "TYPE s summary",
            "s_count 0.0",
            "s_sum 0.0",
            "s{quantile=\"1.0\"} 9.0",
            "HELP h ",
            "TYPE h histogram",
            "h_count{b=\"c\\\"d\"} 3.0 since 1002",
            "h_sum{b=\"c\\\"d\"} 4.5 since 1002",
            "h_bucket{b=\"c\\\"d\",le=\"1.0\"} 1.0 since 1002",
            "h_bucket{b=\"c\\\"d\",le=\"+Inf\"} 3.0 since 1002",
        ]
    );
}

#[test]
fn a_histogram_is_native_unless_told_otherwise() {
    let body = delimited(&[family("h", 4, vec![histogram(&[1.0, f64::INFINITY], true)])]);
    let lines = |settings| read_in_pieces(Format::Protobuf, &body, &[5], settings, &mut ()).0.split_off(2);
    let native = lines(Settings::default());
    assert_eq!(native.len(), 1);
    assert!(native[0].contains("schema: 3") && native[0].contains("start_timestamp: 1002"), "{native:?}");
    let classic = lines(Settings { native_histograms: false, ..Settings::default() });
    assert_eq!(classic.len(), 4);
    let both = lines(Settings { always_scrape_classic_histograms: true, ..Settings::default() });
    assert_eq!(both, [native, classic].concat());
}

#[test]
fn a_native_histogram_that_does_not_add_up_is_refused() {
    let spoil: [fn(&mut client::Histogram); 5] = [
        |histogram| histogram.positive_delta.push(1),
        |histogram| histogram.sample_count = Some(9),
        |histogram| histogram.schema = Some(99),
        |histogram| histogram.positive_span.push(write_v2::BucketSpan { offset: -1, length: 0 }),
        |histogram| histogram.positive_delta = vec![-1, 0],
    ];
    for spoil in spoil {
        let mut metric = histogram(&[], true);
        spoil(metric.histogram.as_mut().unwrap());
        let (_, error) = read(Format::Protobuf, &delimited(&[family("h", 4, vec![metric])]));
        assert!(error.is_some_and(|error| error.contains("native histogram")));
    }
}

fn format() -> impl Strategy<Value = Format> {
    prop::sample::select(vec![Format::Text, Format::OpenMetrics, Format::Protobuf])
}

/// Text that looks a little like an exposition.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "a",
        "b_bucket",
        "{",
        "}",
        "le",
        "\"",
        "=",
        ",",
        " ",
        " ",
        "\t",
        "\n",
        "\n",
        "# ",
        "TYPE ",
        "HELP ",
        "EOF",
        "1",
        "2.5",
        "NaN",
        "\\",
        "\0",
        "a 1\n",
        "a{b=\"c\"} 1\n",
        "{\"x y\"} 3 4\n",
        "# TYPE a counter\n",
        "# EOF\n",
        " # {a=\"b\"} 1\n",
        "# HELP a x y\n",
        "ü",
    ];
    let words = prop::collection::vec(prop::sample::select(words.to_vec()), 0..30);
    prop_oneof![
        words.prop_map(|words| words.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..60),
        (1..4_usize, any::<bool>()).prop_map(|(count, native)| {
            delimited(&vec![family("h", 4, vec![histogram(&[0.5], native); count]); count])
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_read_does_not_depend_on_the_pieces(
        format in format(),
        body in body(),
        pieces in prop::collection::vec(1..20_usize, 1..5),
        limit in prop_oneof![Just(1_000_000_usize), 5..50_usize],
        cut: prop::sample::Index,
    ) {
        let settings = Settings { limit, ..Settings::default() };
        let body = if body.is_empty() { &body[..] } else { &body[..=cut.index(body.len())] };
        let whole = read_in_pieces(format, body, &[body.len()], settings, &mut ());
        let known = || Texts(vec![b"a".to_vec(), b"a{b=\"c\"}".to_vec(), b"{\"x y\"}".to_vec()]);
        prop_assert_eq!(&read_in_pieces(format, body, &pieces, settings, &mut ()), &whole);
        prop_assert_eq!(&read_in_pieces(format, body, &[body.len()], settings, &mut known()), &whole);
        prop_assert_eq!(&read_in_pieces(format, body, &pieces, settings, &mut known()), &whole);
    }

    #[test]
    fn a_series_comes_back_as_it_was_written(
        name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,8}",
        labels in prop::collection::btree_map(".{1,5}", ".{1,5}", 0..5),
        value: f64,
        timestamp in prop::option::of(0..i64::MAX / 1000),
        format in prop::sample::select(vec![Format::Text, Format::OpenMetrics]),
    ) {
        prop_assume!(!labels.contains_key("__name__"));
        let mut builder = LabelsBuilder::new();
        builder.push("__name__", &name);
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let mut body = format!("{name}{{");
        for (label, value) in &labels {
            builder.push(label, value);
            body += &format!("\"{}\"=\"{}\",", escape(label), escape(value));
        }
        body += &format!("}} {value:?}");
        if format == Format::Text {
            body += &timestamp.map_or(String::new(), |time| format!(" {time}"));
        }
        body += "\n# EOF\n";
        let mut wanted = Vec::new();
        builder.finish(&mut wanted).unwrap();
        prop_assume!(!body.contains('\0'));
        let mut parser = Parser::new(format);
        let Next::Item(Item::Series(series), _) = parser.next(body.as_bytes(), true, &mut ()).unwrap() else {
            panic!("no series");
        };
        prop_assert!(series.value == value || (series.value.is_nan() && value.is_nan()));
        prop_assert_eq!(series.timestamp, timestamp.filter(|_| format == Format::Text));
        let (mut read, mut out) = (LabelsBuilder::new(), Vec::new());
        series.read_labels(format, &mut read).unwrap();
        read.finish(&mut out).unwrap();
        prop_assert_eq!(out, wanted);
    }

    #[test]
    fn any_bytes_are_read_without_harm(format in format(), body: Vec<u8>) {
        let _ = read(format, &body);
    }
}
