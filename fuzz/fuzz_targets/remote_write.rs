//! Requests of remote write, as 1.0 and as 2.0: any bytes are read or refused. What is read is within its limit, and each
//! of its rows is a document with a label set; what is counted is what there is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_receive::remote_write::{DecodeError, Decoder, Version};
use weir_samples::document::Document;
use weir_samples::labels::LabelSet;

const LIMIT: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let external = [("cluster", "c1"), ("node", "n1")];
    let decoder = Decoder::new(external.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for version in [Version::V1, Version::V2] {
        let decoded = match decoder.decode(version, data, LIMIT) {
            Ok(decoded) => decoded,
            Err(DecodeError::TooLarge { limit }) => {
                assert_eq!(limit, LIMIT);
                continue;
            }
            Err(DecodeError::Malformed { .. }) => continue,
        };
        let (samples, report) = (decoded.samples, decoded.report);
        assert_eq!(samples.len() as u64, report.samples + report.histograms);
        // Exemplars are put in order at the end, once more.
        assert!(samples.bytes() <= 2 * LIMIT);
        let mut document = Vec::new();
        for row in samples.rows() {
            document.clear();
            row.write(&mut document);
            let read = Document::read(&document).expect("a row is a document");
            assert_eq!(read.labels, LabelSet::new(row.labels));
            assert_eq!((read.labels.hash(), read.exemplars), (row.series, row.exemplars));
            assert_eq!(read.point.timestamp().saturating_mul(1_000_000), row.time);
            assert!(!read.labels.metric().is_empty());
            assert!(read.labels.get("cluster").is_some() && read.labels.get("node").is_some());
            let names: Vec<&str> = read.labels.iter().map(|(name, _)| name).collect();
            assert!(names.is_sorted_by(|one, other| one < other));
            assert!(row.family.is_none_or(|family| (family as usize) < samples.families().len()));
        }
        assert_eq!(report.is_partial(), report.reasons().next().is_some());
        assert!(!report.to_string().contains('\n'));
    }
});
