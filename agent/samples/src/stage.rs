//! Stages of a pipeline of samples.

use std::sync::Arc;

use crate::labels::LabelSet;

/// One step of a pipeline of samples. Each worker has one of its own.
pub trait SampleStage: Send {
    /// What becomes of a sample of this series (`hash` is that of `labels`) at `now`, in nanoseconds since the Unix epoch.
    /// Called for every sample: a stage remembers what it found out about a series.
    fn look<'a>(&'a mut self, labels: LabelSet<'_>, hash: u64, now: i64) -> Fate<'a>;
}

/// What becomes of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate<'a> {
    /// It goes on.
    Keep,
    /// It goes on with other labels.
    Change {
        /// Its labels from here on.
        labels: LabelSet<'a>,
        /// Their hash.
        hash: u64,
    },
    /// It ends here, for this reason, which the ledger books as `dropped`.
    Drop(&'a Arc<str>),
}
