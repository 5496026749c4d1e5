//! Families of what scrapes, sends and watches samples.

use super::{Family, counter, gauge};

pub const SCRAPE_TARGETS: Family = gauge(
    "weir_scrape_targets",
    "source, health",
    "Targets of a scrape source, by how they were when they were last scraped: up, down or unknown.",
);
pub const SCRAPE_SERIES: Family =
    gauge("weir_scrape_series", "source", "Series that the targets of a scrape source expose now.");
pub const SCRAPES: Family = counter("weir_scrapes_total", "source", "Scrapes, those that failed too.");
pub const SCRAPE_FAILURES: Family =
    counter("weir_scrape_failures_total", "source, reason", "Scrapes that failed, by why.");
pub const SCRAPES_SKIPPED: Family = counter(
    "weir_scrapes_skipped_total",
    "source",
    "Times at which a target was not scraped, because the scrape before was still under way.",
);
pub const SCRAPE_BYTES: Family =
    counter("weir_scrape_body_bytes_total", "source", "Bytes of what targets answered, unpacked.");
pub const SCRAPE_STALE: Family = counter(
    "weir_scrape_stale_markers_total",
    "source",
    "Markers that say that a series has ended, among the samples of a scrape source.",
);
pub const SCRAPE_DROPPED: Family = counter(
    "weir_scrape_dropped_samples_total",
    "source, reason",
    "Samples that a scrape source left out: duplicate, out_of_order or out_of_bounds.",
);
pub const SCRAPE_DISCOVERY_FAILURES: Family = counter(
    "weir_scrape_discovery_failures_total",
    "source",
    "Lists of targets that could not be had; the list before goes on.",
);
pub const SCRAPE_INVALID_TARGETS: Family = counter(
    "weir_scrape_invalid_targets_total",
    "source",
    "Discovered targets that are none: without an address, with an interval that is none, and so on.",
);

pub const WRITE_REQUESTS: Family =
    counter("weir_remote_write_requests_total", "sink", "Requests sent, each try counted.");
pub const WRITE_ANSWERS: Family = counter(
    "weir_remote_write_answers_total",
    "sink, status",
    "Answers by status: 2xx, 3xx, 429, 4xx, 5xx, or none where nobody answered.",
);
pub const WRITE_PACKED: Family = counter(
    "weir_remote_write_sent_bytes_total",
    "sink",
    "Bytes of requests as they were sent, each try counted.",
);
pub const WRITE_UNPACKED: Family = counter(
    "weir_remote_write_unpacked_bytes_total",
    "sink",
    "Bytes of requests before they were packed, each try counted.",
);
pub const WRITE_RETRIES: Family =
    counter("weir_remote_write_retries_total", "sink", "Requests that failed and were sent again.");
pub const WRITE_SPLITS: Family = counter(
    "weir_remote_write_splits_total",
    "sink",
    "Requests that were halved because they were too large for the receiver.",
);
pub const WRITE_FALL_BACKS: Family = counter(
    "weir_remote_write_fall_backs_total",
    "sink",
    "How often 1.0 was spoken from then on, because the receiver does not know 2.0.",
);
pub const WRITE_IN_FLIGHT: Family =
    gauge("weir_remote_write_requests_in_flight", "sink", "Requests that wait for an answer now.");
pub const WRITE_PENDING: Family = gauge(
    "weir_remote_write_pending_samples",
    "sink",
    "Samples that the sink holds: waiting for a request, or in one.",
);
pub const WRITE_UNAUTHORIZED: Family = gauge(
    "weir_remote_write_unauthorized",
    "sink",
    "1 while the receiver does not accept who the agent is; nothing is dropped for that.",
);
pub const WRITE_VERSION: Family = gauge(
    "weir_remote_write_protocol_info",
    "sink, version",
    "1 for the version that was spoken last, 0 for the other.",
);
pub const WRITE_SAMPLES: Family = counter(
    "weir_remote_write_samples_total",
    "sink, type",
    "What was in requests that the receiver took, all or in part: float, histogram or exemplar.",
);
pub const WRITE_DROPPED: Family = counter(
    "weir_remote_write_dropped_samples_total",
    "sink, reason",
    "Samples that the receiver refused for good, or that cannot be sent, by why.",
);
pub const WRITE_HIGHEST: Family = gauge(
    "weir_remote_write_highest_timestamp_seconds",
    "sink",
    "Time of the youngest sample that the receiver has, in seconds since the Unix epoch.",
);

pub const GUARD_SERIES: Family = gauge(
    "weir_cardinality_series",
    "pipeline, guard",
    "Series that passed a stage `cardinality` within its window.",
);
pub const GUARD_GROUPS: Family = gauge(
    "weir_cardinality_groups",
    "pipeline, guard, state",
    "Groups of series, by whether they are within their limit: within or over.",
);
pub const GUARD_CUT: Family = counter(
    "weir_cardinality_cut_samples_total",
    "pipeline, guard",
    "Samples that were dropped because their series is beyond the limit of its group.",
);
pub const GUARD_BYTES: Family =
    gauge("weir_cardinality_memory_bytes", "pipeline, guard", "Memory of what a stage `cardinality` knows.");

/// All of them, in the order in which they are rendered.
#[cfg(test)]
pub const ALL: [&Family; 28] = [
    &SCRAPE_TARGETS,
    &SCRAPE_SERIES,
    &SCRAPES,
    &SCRAPE_FAILURES,
    &SCRAPES_SKIPPED,
    &SCRAPE_BYTES,
    &SCRAPE_STALE,
    &SCRAPE_DROPPED,
    &SCRAPE_DISCOVERY_FAILURES,
    &SCRAPE_INVALID_TARGETS,
    &WRITE_REQUESTS,
    &WRITE_ANSWERS,
    &WRITE_PACKED,
    &WRITE_UNPACKED,
    &WRITE_RETRIES,
    &WRITE_SPLITS,
    &WRITE_FALL_BACKS,
    &WRITE_IN_FLIGHT,
    &WRITE_PENDING,
    &WRITE_UNAUTHORIZED,
    &WRITE_VERSION,
    &WRITE_SAMPLES,
    &WRITE_DROPPED,
    &WRITE_HIGHEST,
    &GUARD_SERIES,
    &GUARD_GROUPS,
    &GUARD_CUT,
    &GUARD_BYTES,
];
