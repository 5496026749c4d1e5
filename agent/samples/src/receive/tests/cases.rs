//! Requests by hand.

use prost::Message as _;

use super::support::*;
use crate::document::{STALE_NAN, is_stale};
use crate::proto::prometheus::{MetricMetadata, MetricType, TimeSeries, WriteRequest};
use crate::proto::write_v2::{self, BucketSpan, Count, Histogram, Request};
use crate::receive::{DecodeError, Decoder, MAX_FAMILIES, Reason, Version};

const BOTH: [Version; 2] = [Version::V1, Version::V2];

fn up() -> Series {
    series(&[("__name__", "up"), ("job", "a")])
}

#[test]
fn each_sample_is_a_row_of_its_own_in_the_order_of_the_request() {
    let samples = vec![(1_000, 1.5), (2_000, f64::from_bits(STALE_NAN)), (-5, -7.25)];
    let first = Series { samples, ..up() };
    let second = Series { histograms: vec![histogram(7)], samples: Vec::new(), ..up() };
    for version in BOTH {
        let decoded = decode(version, &[first.clone(), second.clone()]);
        let rows = documents(&decoded.samples);
        let values: Vec<(i64, u64)> =
            rows.iter().flat_map(|row| &row.samples).map(|s| (s.timestamp, s.value.to_bits())).collect();
        assert_eq!(values, [(1_000, 1.5_f64.to_bits()), (2_000, STALE_NAN), (-5, (-7.25_f64).to_bits())]);
        assert!(is_stale(rows[1].samples[0].value));
        assert_eq!(rows[3].histograms, [histogram(7)]);
        assert!(rows.iter().all(|row| row.labels == v1_series(&up()).labels));
        assert_eq!((written(&decoded.report), decoded.report.is_partial()), ((3, 1, 0), false));
        let series: Vec<u64> = decoded.samples.rows().map(|row| row.series).collect();
        assert!(series.iter().all(|hash| *hash == series[0]));
    }
}

#[test]
fn start_times_of_2_0_are_kept_and_0_is_none() {
    let mut symbols = Symbols::new();
    let mut series = v2_series(&up(), &mut symbols);
    series.samples[0].start_timestamp = 500;
    series.samples.push(write_v2::Sample { value: 1.0, timestamp: 2_000, start_timestamp: 0 });
    let request = Request { symbols: symbols.0, timeseries: vec![series] };
    let decoded = decoder().decode(Version::V2, &request.encode_to_vec(), LIMIT).unwrap();
    let starts: Vec<i64> = decoded
        .samples
        .rows()
        .map(|row| write_v2::Sample::decode(&row.point[2..]).unwrap().start_timestamp)
        .collect();
    assert_eq!(starts, [500, 0]);
    let lengths: Vec<usize> = decoded.samples.rows().map(|row| row.point.len()).collect();
    assert_eq!(lengths[0] - lengths[1], 3);
}

#[test]
fn external_labels_are_added_where_there_are_none() {
    for version in BOTH {
        let with = series(&[("__name__", "up"), ("cluster", "own"), ("zone", "z")]);
        let decoded = decoder().decode(version, &body(version, &[up(), with]), LIMIT).unwrap();
        let expected = ["up{cluster=\"c1\",job=\"a\"}", "up{cluster=\"own\",zone=\"z\"}"];
        assert_eq!(texts(&decoded.samples), expected);
        documents(&decoded.samples);
    }
}

#[test]
fn labels_out_of_order_are_sorted() {
    for version in BOTH {
        let decoded = decode(version, &[series(&[("z", "1"), ("__name__", "up"), ("a", "2")]), up()]);
        assert_eq!(texts(&decoded.samples), ["up{a=\"2\",z=\"1\"}", "up{job=\"a\"}"]);
        assert!(!decoded.report.is_partial());
    }
}

#[test]
fn any_utf_8_is_a_name() {
    for version in BOTH {
        let decoded = decode(version, &[series(&[("__name__", "a.b ü"), ("k8s.pod/name", "\n")])]);
        assert_eq!(texts(&decoded.samples), ["{\"a.b ü\",\"k8s.pod/name\"=\"\\n\"}"]);
    }
}

#[test]
fn a_series_that_breaks_a_rule_is_left_out_and_the_others_are_taken() {
    let of = |pairs: &[(&str, &str)]| series(pairs);
    let long = "x".repeat(2 << 20);
    let cases = [
        (of(&[("job", "a")]), Reason::NoName, "no name"),
        (of(&[]), Reason::NoName, "no labels"),
        (of(&[("__name__", "up"), ("a", "1"), ("a", "2")]), Reason::DuplicateLabel, "twice"),
        (of(&[("a", "1"), ("__name__", "up"), ("a", "1")]), Reason::DuplicateLabel, "twice, apart"),
        (of(&[("__name__", "up"), ("a", "")]), Reason::EmptyLabel, "no value"),
        (of(&[("", "a"), ("__name__", "up")]), Reason::EmptyLabel, "no label name"),
        (of(&[("__name__", "")]), Reason::EmptyLabel, "empty name"),
        (of(&[("__name__", "up"), ("a", &long)]), Reason::TooLong, "long"),
    ];
    for version in BOTH {
        for (broken, reason, case) in &cases {
            let request = [up(), broken.clone(), Series { samples: vec![(9, 9.0)], ..up() }];
            let decoded = Decoder::new([]).decode(version, &body(version, &request), 8 << 20).unwrap();
            assert_eq!(documents(&decoded.samples).len(), 2, "{case}");
            assert_eq!(decoded.report.reasons().collect::<Vec<_>>(), [*reason], "{case}");
            assert_eq!((decoded.report.samples, decoded.report.refused_samples()), (2, 1), "{case}");
        }
    }
}

#[test]
fn series_of_2_0_have_samples_or_histograms_and_not_both() {
    let mixed = Series { histograms: vec![histogram(1), histogram(2)], ..up() };
    let none = Series { samples: Vec::new(), ..up() };
    let decoded = decode(Version::V2, &[mixed.clone(), none.clone(), up()]);
    assert_eq!(decoded.report.reasons().collect::<Vec<_>>(), [Reason::Mixed, Reason::NoSamples]);
    assert_eq!((written(&decoded.report), decoded.report.refused_samples()), ((1, 0, 0), 3));
    assert_eq!(
        decoded.report.to_string(),
        "3 of 4 samples were not taken: samples and histograms are in one series (3 samples, 0 exemplars; first of \
         metric \"up\"); there is neither a sample nor a histogram (0 samples, 0 exemplars; first of metric \"up\")"
    );
    // 1.0 has no such rule, and Prometheus takes them.
    let decoded = decode(Version::V1, &[mixed, none, up()]);
    assert_eq!((written(&decoded.report), decoded.report.is_partial()), ((2, 2, 0), false));
    assert_eq!(documents(&decoded.samples).len(), 4);
}

#[test]
fn references_of_2_0_lead_to_symbols_and_are_pairs() {
    let symbols = || ["", "__name__", "up", "a", "b"].map(String::from).to_vec();
    let series = |labels_refs: &[u32]| write_v2::TimeSeries {
        labels_refs: labels_refs.to_vec(),
        samples: vec![write_v2::Sample { value: 1.0, timestamp: 1, start_timestamp: 0 }],
        ..write_v2::TimeSeries::default()
    };
    let metadata = |help_ref, unit_ref| write_v2::TimeSeries {
        metadata: Some(write_v2::Metadata { r#type: 1, help_ref, unit_ref }),
        ..series(&[1, 2])
    };
    let exemplar = write_v2::TimeSeries {
        exemplars: vec![write_v2::Exemplar { labels_refs: vec![3, 9], value: 1.0, timestamp: 1 }],
        ..series(&[1, 2])
    };
    for (broken, reason, counts) in [
        (series(&[1, 5]), Some(Reason::UnknownSymbol), (1, 0)),
        (series(&[1, 2, u32::MAX, 3]), Some(Reason::UnknownSymbol), (1, 0)),
        (series(&[1, 2, 3]), Some(Reason::OddReferences), (1, 0)),
        (metadata(5, 0), Some(Reason::UnknownSymbol), (1, 0)),
        (metadata(0, 5), Some(Reason::UnknownSymbol), (1, 0)),
        (exemplar, Some(Reason::UnknownSymbol), (0, 1)),
        (metadata(0, 0), None, (0, 0)),
    ] {
        let request = Request { symbols: symbols(), timeseries: vec![series(&[1, 2, 3, 4]), broken.clone()] };
        let decoded = decoder().decode(Version::V2, &request.encode_to_vec(), LIMIT).unwrap();
        assert_eq!(decoded.report.reasons().next(), reason, "{broken:?}");
        assert_eq!((decoded.report.refused_samples(), decoded.report.refused_exemplars()), counts);
        assert_eq!(documents(&decoded.samples).len() as u64, 2 - counts.0);
    }
}

#[test]
fn texts_that_are_not_utf_8_are_refused_with_their_series() {
    for version in BOTH {
        let mut bytes = body(version, &[series(&[("__name__", "up"), ("a", "xyz")]), up()]);
        let at = bytes.windows(3).position(|text| text == b"xyz").unwrap();
        bytes[at] = 0xff;
        let decoded = decoder().decode(version, &bytes, LIMIT).unwrap();
        assert_eq!(decoded.report.reasons().collect::<Vec<_>>(), [Reason::InvalidUtf8]);
        assert_eq!(texts(&decoded.samples), ["up{cluster=\"c1\",job=\"a\"}"]);
    }
}

#[test]
fn an_exemplar_goes_with_the_sample_of_its_series_that_is_nearest_in_time() {
    let exemplar = |id: &str, timestamp| (labels(&[("trace_id", id)]), 0.5, timestamp);
    let exemplars = ["a", "b", "c", "d"].into_iter().zip([1_400, 1_600, 0, -9]);
    let own = Series {
        samples: vec![(1_000, 1.0), (2_000, 2.0), (3_000, 3.0)],
        exemplars: exemplars.map(|(id, timestamp)| exemplar(id, timestamp)).collect(),
        ..up()
    };
    // As Prometheus sends them.
    let apart = [
        Series { exemplars: Vec::new(), ..own.clone() },
        Series { exemplars: own.exemplars.clone(), samples: Vec::new(), ..up() },
    ];
    for version in BOTH {
        for request in [&[own.clone()][..], &apart, &[apart[1].clone(), apart[0].clone()]] {
            let decoded = decode(version, request);
            assert_eq!((written(&decoded.report), decoded.report.is_partial()), ((3, 0, 4), false));
            let ids = |row: &TimeSeries| -> Vec<String> {
                row.exemplars.iter().map(|exemplar| exemplar.labels[0].value.clone()).collect()
            };
            let rows: Vec<_> = documents(&decoded.samples).iter().map(ids).collect();
            assert_eq!(rows, [vec!["a", "d"], vec!["b"], vec!["c"]]);
        }
    }
}

#[test]
fn an_exemplar_without_a_sample_is_refused_in_2_0_and_left_out_in_1_0() {
    let alone = Series {
        exemplars: vec![(labels(&[]), 1.0, 1)],
        ..Series { samples: Vec::new(), ..series(&[("__name__", "other")]) }
    };
    let decoded = decode(Version::V2, &[up(), alone.clone()]);
    assert_eq!((written(&decoded.report), decoded.report.refused_exemplars()), ((1, 0, 0), 1));
    assert_eq!(decoded.report.reasons().collect::<Vec<_>>(), [Reason::NoSamples]);
    let decoded = decode(Version::V1, &[up(), alone]);
    assert_eq!((decoded.report.lost_exemplars, decoded.report.is_partial()), (1, false));
}

#[test]
fn histograms_are_checked_one_by_one() {
    let spans =
        |offsets: &[i32]| offsets.iter().map(|offset| BucketSpan { offset: *offset, length: 1 }).collect();
    let whole = || histogram(1);
    let custom = || Histogram {
        count: Some(Count::Float(1.5)),
        zero_count: None,
        zero_threshold: 0.0,
        schema: -53,
        positive_deltas: Vec::new(),
        positive_counts: vec![0.5, 1.0],
        custom_values: vec![0.5],
        ..histogram(1)
    };
    let valid = [
        whole(),
        custom(),
        Histogram { sum: f64::NAN, count: Some(Count::Int(9)), ..whole() },
        Histogram { sum: f64::from_bits(STALE_NAN), ..Histogram::default() },
        Histogram { positive_spans: spans(&[-9, 4]), ..whole() },
    ];
    let broken = [
        Histogram { count: Some(Count::Int(5)), ..whole() },
        Histogram { schema: 53, ..whole() },
        Histogram { schema: -5, ..whole() },
        Histogram { positive_deltas: vec![2], ..whole() },
        Histogram { positive_deltas: vec![2, -3], ..whole() },
        Histogram { positive_deltas: vec![i64::MAX, 1], ..whole() },
        Histogram { positive_spans: spans(&[0, -1]), ..whole() },
        Histogram { custom_values: vec![1.0], ..whole() },
        Histogram { positive_counts: vec![1.0], ..whole() },
        Histogram { custom_values: vec![], ..custom() },
        Histogram { custom_values: vec![2.0, 1.0], ..custom() },
        Histogram { custom_values: vec![f64::INFINITY], ..custom() },
        Histogram { zero_threshold: 1.0, ..custom() },
        Histogram { negative_spans: spans(&[0]), negative_counts: vec![1.0], ..custom() },
        Histogram { positive_counts: vec![0.5, -1.0], ..custom() },
        Histogram { count: Some(Count::Float(-1.0)), ..custom() },
    ];
    for version in BOTH {
        for histogram in &valid {
            let request = Series { samples: vec![], histograms: vec![histogram.clone()], ..up() };
            let decoded = decode(version, &[request]);
            assert_eq!((written(&decoded.report), decoded.report.is_partial()), ((0, 1, 0), false));
        }
        for histogram in &broken {
            let histograms = vec![whole(), histogram.clone(), whole()];
            let decoded = decode(version, &[Series { samples: vec![], histograms, ..up() }]);
            assert_eq!(
                (written(&decoded.report), decoded.report.refused_samples()),
                ((0, 2, 0), 1),
                "{histogram:?}"
            );
            let decoded =
                decode(version, &[Series { samples: vec![], histograms: vec![histogram.clone()], ..up() }]);
            assert!(decoded.samples.is_empty() && decoded.samples.bytes() == 0);
        }
    }
}

#[test]
fn metadata_of_2_0_makes_the_family() {
    let mut symbols = Symbols::new();
    let mut timeseries = Vec::new();
    for (name, kind) in [("a_bucket", 3), ("a_count", 3), ("b_total", 1), ("c", 2), ("d", 0), ("e", 77)] {
        let help = if kind == 0 { "" } else { "What it says." };
        let metadata = write_v2::Metadata {
            r#type: kind,
            help_ref: symbols.refer(help),
            unit_ref: symbols.refer(if name == "c" { "seconds" } else { "" }),
        };
        let series = v2_series(&series(&[("__name__", name)]), &mut symbols);
        timeseries.push(write_v2::TimeSeries { metadata: Some(metadata), ..series });
    }
    let bytes = Request { symbols: symbols.0, timeseries }.encode_to_vec();
    let decoder = decoder();
    let decoded = decoder.decode(Version::V2, &bytes, LIMIT).unwrap();
    let families = decoded.samples.families();
    let names = decoded.samples.rows().map(|row| {
        row.family.map(|family| (&*families[family as usize].name, &*families[family as usize].kind))
    });
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            Some(("a", "histogram")),
            Some(("a", "histogram")),
            Some(("b_total", "counter")),
            Some(("c", "gauge")),
            None,
            Some(("e", "unknown")),
        ]
    );
    assert_eq!((&*families[3].unit, &*families[3].help), ("seconds", "What it says."));
    // The same families are the same objects, however often they come.
    let again = decoder.decode(Version::V2, &bytes, LIMIT).unwrap();
    assert!(
        families.iter().zip(again.samples.families()).all(|(one, other)| std::sync::Arc::ptr_eq(one, other))
    );
}

#[test]
fn metadata_of_1_0_is_remembered() {
    let metadata = |name: &str, kind: MetricType| MetricMetadata {
        r#type: kind as i32,
        metric_family_name: name.into(),
        help: "Help.".into(),
        unit: "bytes".into(),
    };
    let request = WriteRequest {
        timeseries: Vec::new(),
        metadata: vec![
            metadata("h", MetricType::Histogram),
            metadata("g", MetricType::Gauge),
            metadata("c", MetricType::Counter),
            metadata("g_sum", MetricType::Gauge),
        ],
    };
    let decoder = decoder();
    let decoded = decoder.decode(Version::V1, &request.encode_to_vec(), LIMIT).unwrap();
    assert!(decoded.samples.is_empty() && !decoded.report.is_partial());
    let names = ["h_bucket", "h_sum", "h", "g", "g_count", "g_sum", "c_total", "x"];
    let all: Vec<Series> = names.iter().map(|name| series(&[("__name__", name)])).collect();
    let decoded = decoder.decode(Version::V1, &body(Version::V1, &all), LIMIT).unwrap();
    let families = decoded.samples.families();
    let found: Vec<Option<&str>> = decoded
        .samples
        .rows()
        .map(|row| row.family.map(|family| families[family as usize].name.as_str()))
        .collect();
    let expected = [Some("h"), Some("h"), Some("h"), Some("g"), None, Some("g_sum"), Some("c"), None];
    assert_eq!(found, expected);
    assert_eq!((&*families[0].kind, &*families[0].unit, &*families[0].help), ("histogram", "bytes", "Help."));
}

#[test]
fn not_more_families_are_remembered_than_may_be() {
    let decoder = decoder();
    for index in 0..MAX_FAMILIES + 5 {
        decoder.families().remember(&format!("f{index}"), 1, "", "");
    }
    assert!(decoder.families().of_metric("f0").is_some());
    assert!(decoder.families().of_metric(&format!("f{}", MAX_FAMILIES + 1)).is_none());
    decoder.families().remember("f0", 2, "", &"ü".repeat(10_000));
    let family = decoder.families().of_metric("f0").unwrap();
    assert!(family.kind == "gauge" && family.help.len() <= 1024);
}

#[test]
fn fields_that_are_not_known_are_skipped() {
    let unknown = [
        0xba, 0x3e, 3, 1, 2, 3, 0xc0, 0x3e, 0x85, 1, 0xc9, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8, 0xcd, 0x3e, 1, 2, 3,
        4,
    ];
    for version in BOTH {
        let plain = body(version, &[up()]);
        let bytes = [&unknown[..], &plain, &unknown].concat();
        let decoded = decoder().decode(version, &bytes, LIMIT).unwrap();
        assert_eq!((documents(&decoded.samples).len(), decoded.report.is_partial()), (1, false));
    }
}

#[test]
fn symbols_may_follow_the_series_and_references_need_not_be_packed() {
    let (mut symbols, mut bytes) = (Symbols::new(), Vec::new());
    let series = v2_series(&up(), &mut symbols);
    let unpacked: Vec<u8> =
        series.labels_refs.iter().flat_map(|reference| [0x08, *reference as u8]).collect();
    let rest = write_v2::TimeSeries { labels_refs: Vec::new(), ..series }.encode_to_vec();
    let message = [unpacked, rest].concat();
    bytes.extend([0x2a, message.len() as u8]);
    bytes.extend(message);
    bytes.extend(Request { symbols: symbols.0, timeseries: Vec::new() }.encode_to_vec());
    let decoded = Decoder::new([]).decode(Version::V2, &bytes, LIMIT).unwrap();
    assert_eq!(texts(&decoded.samples), ["up{job=\"a\"}"]);
}

#[test]
fn bytes_that_are_not_the_message_are_refused_as_a_whole() {
    let first = Request { symbols: vec!["up".into()], timeseries: Vec::new() }.encode_to_vec();
    let (one, two) = (body(Version::V1, &[up()]), body(Version::V2, &[up()]));
    for (version, bytes, what) in [
        (Version::V1, &b"\x0a\xff"[..], "beyond the end"),
        (Version::V1, b"\x0a\x02\x08\x01", "another type"),
        (Version::V2, b"\x0b", "not known"),
        (Version::V1, b"\x00\x01", "number"),
        (Version::V1, b"\x8a\x00\x00", "longer"),
        (Version::V2, &first, "first symbol"),
        (Version::V1, &two, "remote write 2.0"),
        (Version::V2, &one, "remote write 1.0"),
        (Version::V1, &one[..one.len() - 1], "beyond the end"),
    ] {
        let Err(DecodeError::Malformed { message, what: said }) = decoder().decode(version, bytes, LIMIT)
        else {
            panic!("{what}: {bytes:?}");
        };
        assert!(said.contains(what), "{said}: {what}");
        assert_eq!(message, version.message());
    }
    for version in BOTH {
        assert!(decoder().decode(version, &[], LIMIT).unwrap().samples.is_empty());
    }
}

#[test]
fn a_request_takes_no_more_memory_than_it_may() {
    // Many empty samples; labels that refer to a long text; exemplars that are nothing but a tag.
    let empty: Vec<u8> = [0x12, 0].repeat(100_000);
    let mut names: Vec<u32> = (1..60_u32).flat_map(|name| [name, 60]).collect();
    names.splice(0..0, [61, 62]);
    let mut symbols: Vec<String> =
        (0..60).map(|name| if name == 0 { String::new() } else { format!("n{name}") }).collect();
    symbols.extend(["v".repeat(30_000), "__name__".into(), "up".into()]);
    let sample = write_v2::Sample { value: 1.0, timestamp: 1, start_timestamp: 0 };
    let long =
        write_v2::TimeSeries { labels_refs: names, samples: vec![sample], ..write_v2::TimeSeries::default() };
    let long = Request { symbols, timeseries: vec![long] }.encode_to_vec();
    let of_series = |series: &[u8]| {
        let mut bytes = vec![0x0a];
        crate::varint::write(&mut bytes, series.len() as u64);
        [bytes, series.to_vec()].concat()
    };
    let labelled = v1_series(&up()).encode_to_vec();
    let exemplars = [&labelled[..], &[0x1a, 0].repeat(100_000)].concat();
    for (version, bytes) in [
        (Version::V1, of_series(&[&labelled[..], &empty].concat())),
        (Version::V2, long),
        (Version::V1, of_series(&exemplars)),
        (Version::V2, [0x22, 0].repeat(100_000)),
    ] {
        let limit = 1 << 20;
        assert_eq!(decoder().decode(version, &bytes, limit).unwrap_err(), DecodeError::TooLarge { limit });
        assert!(decoder().decode(version, &bytes, 64 << 20).is_ok());
    }
}
