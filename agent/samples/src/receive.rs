//! What remote write requests hold: from the bytes of a request to rows of samples.
//!
//! 1. Nothing of a request is built as a tree: labels, samples and histograms go from the wire into rows. What a request
//!    takes of memory is bounded by the limit that is given, whatever its bytes say.
//! 2. A series that breaks a rule of the specification is left out, with its samples, and the reason is reported; all others
//!    are taken. Bytes that are not the message at all are refused as a whole.
//! 3. Every row's labels are a [`crate::labels::LabelSet`]: sorted, each once, none empty, with `__name__`, and with the
//!    external labels where the series has none of that name.
//! 4. Each sample is a row of its own. An exemplar goes with the sample of its series whose time is nearest; one that comes
//!    in a series of its own, as Prometheus sends them, goes with the samples that the request has of that series.

mod decoder;
mod exemplars;
mod families;
mod histogram;
mod label_list;
mod report;
mod rows;
#[cfg(test)]
mod tests;
mod v1;
mod v2;
mod wire;

pub use decoder::{DecodeError, Decoded, Decoder, Version};
pub use families::{Families, MAX_FAMILIES};
pub use report::{Reason, Report};
pub use rows::{Row, Samples};
