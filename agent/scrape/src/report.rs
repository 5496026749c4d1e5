//! What the agent says of a target itself: `up` and its like (Prometheus, scrape: `report`).

use std::sync::Arc;
use std::time::Duration;

use weir_event::stream::{Family, Stream};
use weir_pipeline::source::Stopped;
use weir_samples::document::stale_nan;
use weir_samples::labels::{LabelSet, LabelsBuilder, METRIC_NAME};

use crate::cache::families::FamilyPool;
use crate::commit::Committer;
use crate::ingest::Counts;

/// Names, units and help of the series.
const FAMILIES: [(&str, &str, &str); 5] = [
    ("up", "targets", "Whether the last scrape of the target succeeded: 1 if it did, 0 if it failed."),
    ("scrape_duration_seconds", "seconds", "How long the last scrape of the target took."),
    ("scrape_samples_scraped", "samples", "How many samples the target exposed."),
    (
        "scrape_samples_post_metric_relabeling",
        "samples",
        "How many samples of the target were left after metric relabelling.",
    ),
    ("scrape_series_added", "series", "How many series of the last scrape were new."),
];

/// What a scrape says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// Milliseconds since the Unix epoch.
    pub(crate) time: i64,
    pub(crate) is_up: bool,
    pub(crate) duration: Duration,
    pub(crate) counts: Counts,
}

/// The series of one target.
#[derive(Debug)]
pub(crate) struct ReportSeries {
    series: Vec<(Vec<u8>, u64, Arc<Stream>)>,
}

// === impl ReportSeries ===

impl ReportSeries {
    /// Series with these labels.
    pub(crate) fn new(labels: LabelSet<'_>, pool: &FamilyPool) -> ReportSeries {
        let mut builder = LabelsBuilder::new();
        let series = FAMILIES.iter().filter_map(|(name, unit, help)| {
            builder.clear();
            builder.extend(labels);
            builder.set(METRIC_NAME, name);
            let mut bytes = Vec::new();
            builder.finish(&mut bytes).ok()?;
            let (name, kind) = ((*name).to_owned(), "gauge".to_owned());
            let family = Family { name, kind, unit: (*unit).to_owned(), help: (*help).to_owned() };
            let hash = LabelSet::new(&bytes).hash();
            Some((bytes, hash, pool.stream(&family)))
        });
        ReportSeries { series: series.collect() }
    }

    /// Writes a sample of each.
    pub(crate) fn write(&self, report: &Report, out: &mut Committer) -> Result<(), Stopped> {
        let values = [
            f64::from(u8::from(report.is_up)),
            report.duration.as_secs_f64(),
            report.counts.scraped as f64,
            report.counts.after_relabelling as f64,
            report.counts.series_added as f64,
        ];
        self.write_values(report.time, values, out)
    }

    /// Writes that they have ended.
    pub(crate) fn write_stale(&self, time: i64, out: &mut Committer) -> Result<(), Stopped> {
        self.write_values(time, [stale_nan(); 5], out)
    }

    fn write_values(&self, time: i64, values: [f64; 5], out: &mut Committer) -> Result<(), Stopped> {
        for ((labels, hash, stream), value) in self.series.iter().zip(values) {
            out.write_own(stream, (LabelSet::new(labels), *hash), (time, value))?;
        }
        Ok(())
    }
}
