//! The way from a body to rows without anything around it, to measure it.

use std::sync::Arc;

use weir_event::batch::ArenaPool;
use weir_event::stream::Attributes;
use weir_pipeline::source::{Outlet, SourceMetrics};
use weir_samples::exposition::Format;
use weir_samples::labels::LabelsBuilder;

use crate::cache::Cache;
use crate::cache::families::FamilyPool;
use crate::commit::{Committer, Moment};
use crate::ingest::{Ingest, ReadSettings};
use crate::metrics::ScrapeMetrics;
use crate::outgoing::Outgoing;
use crate::series_rules::SeriesRules;

/// One target.
pub struct Target {
    cache: Cache,
    rules: SeriesRules,
    committer: Committer,
}

// === impl Target ===

impl Target {
    /// A target with these labels and external labels.
    pub fn new(target: &[(&str, &str)], external: &[(&str, &str)], outlet: Box<dyn Outlet>) -> Target {
        let (mut labels, mut bytes) = (LabelsBuilder::new(), Vec::new());
        target.iter().for_each(|(name, value)| labels.set(name, value));
        let _ = labels.finish(&mut bytes);
        let rules = SeriesRules {
            target: bytes,
            external: external
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            honor_labels: false,
            rules: Arc::default(),
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
        };
        let cache = Cache::new(rules.shared_labels(), FamilyPool::new(Attributes::default()));
        let metrics = Arc::new(ScrapeMetrics::default());
        let source = Arc::new(SourceMetrics::default());
        let outgoing = Outgoing::new(outlet, ArenaPool::new(), Arc::clone(&metrics), source);
        Target { cache, rules, committer: Committer::new(outgoing, metrics) }
    }

    /// Scrapes a body that comes in pieces; the samples that were read, `None` for a fault.
    pub fn scrape(&mut self, body: &[u8], piece: usize, time: i64) -> Option<u64> {
        let settings = ReadSettings {
            honor_timestamps: true,
            native_histograms: false,
            always_scrape_classic_histograms: false,
            sample_limit: 0,
        };
        self.cache.begin();
        let mut ingest = Ingest::new(&mut self.cache, &self.rules, settings, (Format::Text, time));
        for piece in body.chunks(piece) {
            ingest.feed(piece).ok()?;
        }
        let (staged, read) = ingest.finish();
        read.ok()?;
        let moment = Moment { time, track_timestamps: false };
        self.committer.succeed(&mut self.cache, &staged, moment).ok()?;
        self.committer.outgoing.send().ok()?;
        Some(staged.counts.scraped)
    }
}
