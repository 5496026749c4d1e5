//! Random requests: both versions become the rows that another way of making them gives; damaged ones do no harm.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::support::*;
use crate::proto::prometheus::{Label, TimeSeries};
use crate::receive::{Decoder, Version};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{1,3}", "[a-z_]{1,30}", ".{1,8}"]
}

fn label_map() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(text(), text(), 0..6)
}

prop_compose! {
    fn one_series()(
        mut labels in label_map(),
        name in text(),
        is_reversed: bool,
        kind in 0..4,
        times in prop::collection::vec((-5_000_i64..5_000, any::<u64>()), 1..4),
        exemplars in prop::collection::vec((label_map(), any::<f64>(), prop_oneof![Just(0), -9_000_i64..9_000]), 0..3),
    ) -> Series {
        labels.insert("__name__".into(), name);
        let mut labels: Labels = labels.into_iter().collect();
        if is_reversed {
            labels.reverse();
        }
        let exemplars = exemplars.into_iter().map(|(labels, value, time)| (labels.into_iter().collect(), value, time));
        let exemplars = exemplars.collect();
        match kind {
            0 => {
                let histograms = times.iter().map(|(time, _)| histogram(*time)).collect();
                Series { labels, histograms, exemplars, samples: Vec::new() }
            }
            _ => {
                let samples = times.iter().map(|(time, value)| (*time, f64::from_bits(*value))).collect();
                Series { labels, samples, exemplars, histograms: Vec::new() }
            }
        }
    }
}

/// The rows that a request should become, made in the simplest way: one after the other, by looking at all of them.
fn expected(request: &[Series]) -> Vec<TimeSeries> {
    let mut rows = Vec::new();
    let mut times = Vec::new();
    for series in request {
        let whole = v1_series(series);
        let mut labels = whole.labels;
        if !labels.iter().any(|label| label.name == "cluster") {
            labels.push(Label { name: "cluster".into(), value: "c1".into() });
        }
        labels.sort_by(|one, other| one.name.cmp(&other.name));
        let row = || TimeSeries { labels: labels.clone(), ..TimeSeries::default() };
        for sample in whole.samples {
            times.push(sample.timestamp);
            rows.push(TimeSeries { samples: vec![sample], ..row() });
        }
        for histogram in whole.histograms {
            times.push(histogram.timestamp);
            rows.push(TimeSeries { histograms: vec![histogram], ..row() });
        }
    }
    for series in request {
        let whole = v1_series(series);
        let mut labels: BTreeMap<String, String> = series.labels.iter().cloned().collect();
        labels.entry("cluster".into()).or_insert_with(|| "c1".into());
        let is_own =
            |row: &TimeSeries| row.labels.iter().map(|label| (&label.name, &label.value)).eq(labels.iter());
        for mut exemplar in whole.exemplars {
            exemplar.labels.sort_by(|one, other| one.name.cmp(&other.name));
            let own = (0..rows.len()).filter(|row| is_own(&rows[*row]));
            let wanted = if exemplar.timestamp == 0 { i64::MAX } else { exemplar.timestamp };
            let ranked = own.map(|row| (times[row].abs_diff(wanted), -times[row], row));
            // Of equal times, the last one is nearest to no time and the first one to any other.
            let best = if exemplar.timestamp == 0 {
                ranked.min_by_key(|(distance, _, row)| (*distance, usize::MAX - row))
            } else {
                ranked.min_by_key(|(distance, time, row)| {
                    (*distance, *time, if times[*row] < wanted { usize::MAX - row } else { *row })
                })
            };
            rows[best.unwrap().2].exemplars.push(exemplar);
        }
    }
    rows
}

/// NaN is not equal to itself.
fn bytes(rows: &[TimeSeries]) -> Vec<Vec<u8>> {
    rows.iter().map(prost::Message::encode_to_vec).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn both_versions_become_the_rows_that_the_request_means(request in prop::collection::vec(one_series(), 0..6)) {
        let wanted = expected(&request);
        for version in [Version::V1, Version::V2] {
            let decoded = decoder().decode(version, &body(version, &request), LIMIT).unwrap();
            prop_assert!(!decoded.report.is_partial(), "{}", decoded.report);
            let rows = documents(&decoded.samples);
            prop_assert_eq!(bytes(&rows), bytes(&wanted));
            let (samples, histograms, exemplars) = written(&decoded.report);
            prop_assert_eq!((samples + histograms) as usize, wanted.len());
            prop_assert_eq!(exemplars as usize, request.iter().map(|series| series.exemplars.len()).sum::<usize>());
        }
    }

    #[test]
    fn damaged_requests_do_no_harm(
        request in prop::collection::vec(one_series(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
        limit in 0_usize..4_000,
    ) {
        for version in [Version::V1, Version::V2] {
            let mut bytes = body(version, &request);
            for (at, byte) in &damage {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes.truncate(end.index(2 * bytes.len()) + 1);
            for limit in [LIMIT, limit] {
                if let Ok(decoded) = decoder().decode(version, &bytes, limit) {
                    documents(&decoded.samples);
                    prop_assert!(decoded.samples.bytes() <= 2 * limit + 1_000);
                    let _ = decoded.report.to_string();
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for version in [Version::V1, Version::V2] {
            if let Ok(decoded) = Decoder::new([]).decode(version, &bytes, LIMIT) {
                documents(&decoded.samples);
            }
        }
    }
}
