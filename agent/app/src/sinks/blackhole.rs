//! Takes the finished documents and forgets them, but for their number and a checksum: for measuring.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;

use twox_hash::XxHash3_64;
use weir_buffer::segment::{Documents, Receipt};
use weir_pipeline::sink::{Delivery, Sink};

/// Counts documents, their bytes (newlines included, so that it equals the size of a file of them) and the wrapping
/// sum of XXH3-64 over each of them without its newline, which does not depend on their order.
#[derive(Debug)]
pub struct Blackhole {
    name: String,
    events: u64,
    bytes: u64,
    checksum: u64,
}

// === impl Blackhole ===

impl Blackhole {
    pub fn new(name: &str) -> Blackhole {
        Blackhole { name: name.to_owned(), events: 0, bytes: 0, checksum: 0 }
    }

    fn take(&mut self, documents: &Documents) {
        self.events += documents.records.len() as u64;
        self.bytes += documents.ndjson.len() as u64;
        for (_, document) in documents.iter() {
            self.checksum = self.checksum.wrapping_add(XxHash3_64::oneshot(document));
        }
    }

    /// What it says at its end: one JSON object.
    fn report(&self) -> String {
        let Blackhole { name, events, bytes, checksum } = self;
        let name = serde_json::Value::from(name.as_str());
        format!(r#"{{"sink":{name},"events":{events},"bytes":{bytes},"checksum":"{checksum:016x}"}}"#)
    }
}

impl Sink for Blackhole {
    fn deliver<'a>(&'a mut self, documents: &'a Arc<Documents>) -> Delivery<'a> {
        // A few ten microseconds for a segment: not worth a thread.
        self.take(documents);
        Box::pin(std::future::ready(Receipt::Delivered))
    }

    fn finish(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        // Nobody is left who could be told that standard output is closed.
        let _ = writeln!(std::io::stdout().lock(), "{}", self.report());
        Box::pin(async {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::tests::documents;

    #[test]
    fn the_report_counts_documents_bytes_and_checksum() {
        let mut sink = Blackhole::new("null");
        sink.take(&documents(&["{}", r#"{"a":1}"#]));
        sink.take(&documents(&[r#"{"b":2}"#]));
        let sum = ["{}", r#"{"a":1}"#, r#"{"b":2}"#].map(|document| XxHash3_64::oneshot(document.as_bytes()));
        let sum = sum.into_iter().fold(0, u64::wrapping_add);
        let expected = format!(r#"{{"sink":"null","events":3,"bytes":19,"checksum":"{sum:016x}"}}"#);
        assert_eq!(sink.report(), expected);
    }

    #[test]
    fn the_checksum_does_not_depend_on_order_or_segments() {
        let (mut one, mut other) = (Blackhole::new("null"), Blackhole::new("null"));
        one.take(&documents(&["1", "2", "3"]));
        other.take(&documents(&["3", "1"]));
        other.take(&documents(&["2"]));
        assert_eq!(one.report(), other.report());
        other.take(&documents(&["2"]));
        assert_ne!(one.checksum, other.checksum);
    }
}
