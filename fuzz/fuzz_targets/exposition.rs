//! What targets expose: any body is read or refused alike however it comes, and whether or not its series were met before;
//! the labels of what is read are a label set.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_samples::exposition::{ExpositionError, Format, Item, Known, Next, Parser, Settings, read_labels};
use weir_samples::labels::{LabelSet, LabelsBuilder};

const LIMIT: usize = 4096;

/// Recognises the longest text that it holds.
struct Texts(Vec<Vec<u8>>);

impl Known for Texts {
    fn recognise(&mut self, line: &[u8]) -> Option<usize> {
        self.0.iter().filter(|text| line.starts_with(text)).map(Vec::len).max()
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(([format, piece], body)) = data.split_first_chunk() else { return };
    let format = [Format::Text, Format::OpenMetrics, Format::Protobuf][usize::from(format % 3)];
    let piece = 1 + usize::from(*piece);
    let mut known = Texts(Vec::new());
    let whole = read(format, body, body.len().max(1), &mut known);
    assert_eq!(read(format, body, piece, &mut known), whole);
    known.0 = whole.0.iter().map(|(text, ..)| text.clone()).filter(|text| !text.is_empty()).take(50).collect();
    assert_eq!(read(format, body, body.len().max(1), &mut known), whole);
    assert_eq!(read(format, body, piece, &mut known), whole);
});

/// Texts and values of the series, and how it ended.
type Read = (Vec<(Vec<u8>, u64, Option<i64>)>, Result<(), String>);

fn read(format: Format, body: &[u8], piece: usize, known: &mut Texts) -> Read {
    let mut parser = Parser::with_settings(format, Settings { limit: LIMIT, ..Settings::default() });
    let (mut out, mut start, mut end) = (Vec::new(), 0, 0);
    loop {
        match parser.next(&body[start..end], end == body.len(), known) {
            Ok(Next::Item(item, used)) => {
                start += used;
                match item {
                    Item::Series(series) => {
                        check_labels(series.text, format, &series.kind);
                        if let Some(exemplar) = series.exemplar {
                            exemplar.read_labels(&mut LabelsBuilder::new());
                        }
                        out.push((series.text.to_vec(), series.value.to_bits(), series.timestamp));
                    }
                    Item::Histogram(series) => {
                        check_labels(series.text, format, &series.kind);
                        out.push((series.text.to_vec(), series.histogram.sum.to_bits(), series.timestamp));
                    }
                    _ => {}
                }
            }
            Ok(Next::More) => {
                assert!(end < body.len(), "asked for more behind the end");
                end = (end + piece).min(body.len());
            }
            Ok(Next::End) => return (out, Ok(())),
            // What is shown of the line depends on how much of it was there.
            Err(ExpositionError::Invalid { what, .. }) => return (out, Err(what.to_owned())),
            Err(error) => return (out, Err(error.to_string())),
        }
    }
}

fn check_labels(text: &[u8], format: Format, kind: &weir_samples::exposition::Kind) {
    let (mut builder, mut set) = (LabelsBuilder::new(), Vec::new());
    if read_labels(text, format, *kind, &mut builder).is_ok() && builder.finish(&mut set).is_ok() {
        assert!(!LabelSet::new(&set).metric().is_empty());
    }
}
