//! What became of a request: how much was taken, and what not, with reasons.

use std::fmt;

/// Bytes of a series' name that a report shows.
const MAX_SHOWN_BYTES: usize = 120;

/// Why a series, a sample or an exemplar was not taken (remote write 1.0, "Labels"; 2.0, "Protobuf Message").
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no label `__name__`.
    #[error("the label __name__ is missing")]
    NoName,
    /// A label's name is there twice.
    #[error("a label is there twice")]
    DuplicateLabel,
    /// A label has no name or no value.
    #[error("a label has no name or no value")]
    EmptyLabel,
    /// A text is not UTF-8.
    #[error("a text is not valid UTF-8")]
    InvalidUtf8,
    /// A reference leads beyond the symbols.
    #[error("a reference leads beyond the symbols")]
    UnknownSymbol,
    /// The references are names without a value.
    #[error("the last reference is a label name without a value")]
    OddReferences,
    /// There are samples and histograms.
    #[error("samples and histograms are in one series")]
    Mixed,
    /// There are neither samples nor histograms.
    #[error("there is neither a sample nor a histogram")]
    NoSamples,
    /// Buckets, spans or counts of a histogram do not fit each other.
    #[error("the buckets of a native histogram are invalid")]
    Histogram,
    /// It is longer than a document may be.
    #[error("it is longer than 2 MiB")]
    TooLong,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Samples that were taken.
    pub samples: u64,
    /// Histograms that were taken.
    pub histograms: u64,
    /// Exemplars that were taken.
    pub exemplars: u64,
    /// Exemplars of a 1.0 request, whose specification does not know them, without a sample to go with.
    pub lost_exemplars: u64,
    refused: Vec<Tally>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tally {
    reason: Reason,
    samples: u64,
    exemplars: u64,
    /// The metric of the first series.
    first: String,
}

// === impl Report ===

impl Report {
    /// Whether something was refused.
    pub fn is_partial(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Samples and histograms that were refused.
    pub fn refused_samples(&self) -> u64 {
        self.refused.iter().map(|tally| tally.samples).sum()
    }

    /// Exemplars that were refused.
    pub fn refused_exemplars(&self) -> u64 {
        self.refused.iter().map(|tally| tally.exemplars).sum()
    }

    /// The reasons, each once.
    pub fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.refused.iter().map(|tally| tally.reason)
    }

    pub(super) fn refuse(&mut self, reason: Reason, metric: &str, (samples, exemplars): (u64, u64)) {
        if let Some(tally) = self.refused.iter_mut().find(|tally| tally.reason == reason) {
            tally.samples += samples;
            tally.exemplars += exemplars;
            return;
        }
        let first = metric.get(..metric.floor_char_boundary(MAX_SHOWN_BYTES)).unwrap_or_default().to_owned();
        self.refused.push(Tally { reason, samples, exemplars, first });
    }
}

/// Says how much was refused, and why.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = self.refused_samples();
        let all = self.samples + self.histograms + refused;
        write!(f, "{refused} of {all} samples were not taken")?;
        if self.refused_exemplars() > 0 {
            let refused = self.refused_exemplars();
            write!(f, ", and {refused} of {} exemplars", self.exemplars + refused)?;
        }
        for (index, tally) in self.refused.iter().enumerate() {
            let Tally { reason, samples, exemplars, first } = tally;
            f.write_str(if index == 0 { ": " } else { "; " })?;
            write!(f, "{reason} ({samples} samples, {exemplars} exemplars; first of metric {first:?})")?;
        }
        Ok(())
    }
}
