//! What the sink counts.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::encode::{Encoded, Sent};
use crate::negotiate::Version;
use crate::reason::Reason;

/// What an answer was, by its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerClass {
    /// Stored.
    Success,
    /// Somewhere else, which is not followed.
    Redirect,
    /// The receiver is busy: 429.
    Throttled,
    /// Refused.
    ClientError,
    /// The receiver could not.
    ServerError,
    /// There was none.
    None,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Samples that are numbers.
    Float,
    /// Native histograms.
    Histogram,
    /// Exemplars.
    Exemplar,
}

/// What the sink counts, beside what every driver counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Requests sent, each try counted.
    pub requests: AtomicU64,
    /// Bytes of requests as they were sent, each try counted.
    pub packed_bytes: AtomicU64,
    /// Bytes of requests before they were packed, each try counted.
    pub unpacked_bytes: AtomicU64,
    /// Requests that failed and are sent again, once for each try.
    pub retries: AtomicU64,
    /// Requests that were halved because they were too large.
    pub splits: AtomicU64,
    /// How often 1.0 was spoken from then on, because the receiver does not know 2.0.
    pub fall_backs: AtomicU64,
    /// Requests under way.
    pub in_flight: AtomicU64,
    /// 1 while the receiver does not accept who the agent is.
    pub unauthorized: AtomicU64,
    /// Samples that the sink holds: waiting for a request, or in one.
    pub pending: AtomicU64,
    /// The version spoken last: 1 or 2; 0 before anything was sent.
    version: AtomicU64,
    /// The youngest time that the receiver has, in milliseconds since the Unix epoch; 0 before there is one.
    highest_sent: AtomicI64,
    answers: [AtomicU64; AnswerClass::ALL.len()],
    samples: [AtomicU64; Kind::ALL.len()],
    dropped: [AtomicU64; Reason::ALL.len()],
}

// === impl AnswerClass ===

impl AnswerClass {
    /// All of them, in the order in which they are shown.
    pub const ALL: [AnswerClass; 6] = [
        AnswerClass::Success,
        AnswerClass::Redirect,
        AnswerClass::Throttled,
        AnswerClass::ClientError,
        AnswerClass::ServerError,
        AnswerClass::None,
    ];

    /// As it is written in metrics.
    pub fn name(self) -> &'static str {
        match self {
            AnswerClass::Success => "2xx",
            AnswerClass::Redirect => "3xx",
            AnswerClass::Throttled => "429",
            AnswerClass::ClientError => "4xx",
            AnswerClass::ServerError => "5xx",
            AnswerClass::None => "none",
        }
    }

    pub(crate) fn of(status: u16) -> AnswerClass {
        match status {
            200..300 => AnswerClass::Success,
            300..400 => AnswerClass::Redirect,
            429 => AnswerClass::Throttled,
            400..500 => AnswerClass::ClientError,
            _ => AnswerClass::ServerError,
        }
    }
}

// === impl Kind ===

impl Kind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Kind; 3] = [Kind::Float, Kind::Histogram, Kind::Exemplar];

    /// As it is written in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Float => "float",
            Kind::Histogram => "histogram",
            Kind::Exemplar => "exemplar",
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// Answers of a class.
    pub fn answers(&self, class: AnswerClass) -> u64 {
        self.answers.get(class as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// What was in requests that the receiver took, all or in part.
    pub fn samples(&self, kind: Kind) -> u64 {
        self.samples.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Samples dropped for a reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// The version spoken last, `None` before anything was sent.
    pub fn version(&self) -> Option<&'static str> {
        match self.version.load(Ordering::Relaxed) {
            1 => Some("1.0"),
            2 => Some("2.0"),
            _ => None,
        }
    }

    /// The youngest sample's time that the receiver has, in milliseconds since the Unix epoch.
    pub fn highest_sent(&self) -> Option<i64> {
        Some(self.highest_sent.load(Ordering::Relaxed)).filter(|time| *time != 0)
    }

    /// How far the receiver is behind `now` (milliseconds since the Unix epoch).
    pub fn lag(&self, now: i64) -> Option<Duration> {
        let behind = now.saturating_sub(self.highest_sent()?);
        Some(Duration::from_millis(u64::try_from(behind).unwrap_or(0)))
    }

    pub(crate) fn count_request(&self, version: Version, encoded: &Encoded) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.packed_bytes.fetch_add(encoded.body.len() as u64, Ordering::Relaxed);
        self.unpacked_bytes.fetch_add(encoded.unpacked as u64, Ordering::Relaxed);
        let number = if version == Version::V1 { 1 } else { 2 };
        self.version.store(number, Ordering::Relaxed);
    }

    pub(crate) fn count_answer(&self, class: AnswerClass) {
        if let Some(count) = self.answers.get(class as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request that was taken, all or in part.
    pub(crate) fn count_sent(&self, sent: &Sent) {
        let counts = [sent.floats, sent.histograms, sent.exemplars];
        for (count, more) in self.samples.iter().zip(counts) {
            count.fetch_add(more, Ordering::Relaxed);
        }
        self.highest_sent.fetch_max(sent.newest, Ordering::Relaxed);
    }

    pub(crate) fn count_dropped(&self, reason: Reason, more: u64) {
        if let Some(count) = self.dropped.get(reason as usize) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_behind_the_youngest_sample_sent() {
        let metrics = Metrics::default();
        assert_eq!((metrics.lag(5000), metrics.highest_sent(), metrics.version()), (None, None, None));
        metrics.count_sent(&Sent { newest: 4000, ..Sent::default() });
        metrics.count_sent(&Sent { newest: 3000, ..Sent::default() });
        assert_eq!(metrics.lag(5000), Some(Duration::from_secs(1)));
        assert_eq!(metrics.lag(1000), Some(Duration::ZERO));
    }

    #[test]
    fn every_name_is_at_its_index() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
        for (index, class) in AnswerClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
        }
    }
}
