//! Requests: documents of samples as messages of remote write, packed with Snappy's block format.
//!
//! 1. Every document is a series with one sample of its own, in the order given. Merging the samples of one series would
//!    save nothing: those of one scrape are of different series.
//! 2. Nothing is allocated for each sample; an [`Encoder`] keeps its memory.
//! 3. What is not sent is named by its position: a document that is none, a native histogram that is not wanted.

mod symbols;
mod v2;

use std::sync::Arc;

use prost::bytes::Bytes;
use weir_event::stream::Stream;
use weir_samples::document::{Document, Point};
use weir_samples::wire;

use crate::reason::Reason;

/// Which documents a request has, and what of them.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether exemplars are sent.
    pub exemplars: bool,
    /// Whether native histograms are sent.
    pub native_histograms: bool,
    /// Whether types, units and help are sent.
    pub metadata: bool,
}

/// What was put into a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Samples that are numbers.
    pub floats: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// The youngest sample's time, in milliseconds since the Unix epoch.
    pub newest: i64,
}

/// A request, ready to be sent.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The packed message.
    pub body: Bytes,
    /// Its bytes before.
    pub unpacked: usize,
    /// What it has.
    pub sent: Sent,
    /// What it does not have: positions in the order given, and why.
    pub skipped: Vec<(u32, Reason)>,
}

/// Makes requests. Keeps its memory.
pub struct Encoder {
    message: Vec<u8>,
    series: Vec<u8>,
    scratch: v2::Scratch,
    packed: Vec<u8>,
    snappy: snap::raw::Encoder,
}

/// A document and its stream's family.
pub type Item<'a> = (&'a [u8], Option<&'a Arc<Stream>>);

// === impl Sent ===

impl Sent {
    /// Samples and native histograms.
    pub fn points(&self) -> u64 {
        self.floats + self.histograms
    }

    fn count(&mut self, document: &Document<'_>, exemplars: u64) {
        match document.point {
            Point::Float { .. } => self.floats += 1,
            Point::Histogram { .. } => self.histograms += 1,
        }
        self.exemplars += exemplars;
        self.newest = self.newest.max(document.point.timestamp());
    }
}

// === impl Encoder ===

impl Encoder {
    /// One without memory yet.
    pub fn new() -> Encoder {
        Encoder {
            message: Vec::new(),
            series: Vec::new(),
            scratch: v2::Scratch::default(),
            packed: Vec::new(),
            snappy: snap::raw::Encoder::new(),
        }
    }

    /// Makes room for a message of so many bytes, so that its memory is not grown by doubling.
    pub fn reserve(&mut self, bytes: usize) {
        self.message.clear();
        self.message.reserve(bytes);
    }

    /// A `prometheus.WriteRequest` with these documents, and `families` as its metadata (specification 1.0).
    pub fn v1<'a>(
        &mut self,
        items: impl Iterator<Item = Item<'a>>,
        families: &[Arc<Stream>],
        options: Options,
    ) -> Encoded {
        self.message.clear();
        let (mut sent, mut skipped) = (Sent::default(), Vec::new());
        for (position, (bytes, _)) in items.enumerate() {
            if let Some(timestamp) = wire::plain(bytes) {
                wire::write_plain(&mut self.message, bytes);
                sent.floats += 1;
                sent.newest = sent.newest.max(timestamp);
                continue;
            }
            match wanted(bytes, options) {
                Ok(document) => {
                    let with = options.exemplars;
                    let scratch = &mut self.scratch.point;
                    wire::write_series(&mut self.message, scratch, (bytes, &document), with);
                    let exemplars = if with { wire::Exemplars::new(document.exemplars).count() } else { 0 };
                    sent.count(&document, exemplars as u64);
                }
                Err(reason) => skipped.push((position as u32, reason)),
            }
        }
        let families = families.iter().filter_map(|stream| stream.attributes().family.as_deref());
        families.for_each(|family| wire::write_metadata(&mut self.message, family));
        self.finish(sent, skipped)
    }

    /// An `io.prometheus.write.v2.Request` with these documents (specification 2.0).
    pub fn v2<'a>(&mut self, items: impl Iterator<Item = Item<'a>>, options: Options) -> Encoded {
        self.message.clear();
        self.series.clear();
        let (mut sent, mut skipped) = (Sent::default(), Vec::new());
        let mut writer = v2::Writer::new(&mut self.message, &mut self.series, &mut self.scratch, options);
        for (position, (bytes, stream)) in items.enumerate() {
            let written = wanted(bytes, options).and_then(|document| {
                Ok((document, writer.write(&document, stream).ok_or(Reason::Malformed)?))
            });
            match written {
                Ok((document, exemplars)) => sent.count(&document, exemplars),
                Err(reason) => skipped.push((position as u32, reason)),
            }
        }
        self.message.extend_from_slice(&self.series);
        self.finish(sent, skipped)
    }

    fn finish(&mut self, sent: Sent, skipped: Vec<(u32, Reason)>) -> Encoded {
        let most = snap::raw::max_compress_len(self.message.len());
        if self.packed.len() < most {
            self.packed.resize(most, 0);
        }
        // It fails for more than 4 GiB only, which no request has.
        let length = self.snappy.compress(&self.message, &mut self.packed).unwrap_or(0);
        let body = Bytes::copy_from_slice(self.packed.get(..length).unwrap_or_default());
        Encoded { body, unpacked: self.message.len(), sent, skipped }
    }
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder::new()
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("message", &self.message.len()).finish_non_exhaustive()
    }
}

/// The document, if it is one to be sent.
fn wanted(bytes: &[u8], options: Options) -> Result<Document<'_>, Reason> {
    match Document::read(bytes).map_err(|_| Reason::Malformed)? {
        Document { point: Point::Histogram { .. }, .. } if !options.native_histograms => {
            Err(Reason::NativeHistogram)
        }
        document => Ok(document),
    }
}

#[cfg(test)]
mod tests;
