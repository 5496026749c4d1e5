//! The labels of one series or exemplar, as they come, and the label set that they make.

use weir_event::batch::MAX_EVENT_BYTES;

use super::report::Reason;
use super::wire::Fault;
use crate::labels::{METRIC_NAME, write_label};

/// What a label takes besides its name and value, at the least.
const LABEL_BYTES: usize = 6;

/// Labels that point into a request. Keeps its memory.
#[derive(Debug, Default)]
pub(super) struct LabelList<'a> {
    labels: Vec<(&'a str, &'a str)>,
    /// A name whose value has not come yet.
    name: Option<&'a str>,
    /// Bytes of the label set that they make.
    bytes: usize,
}

// === impl LabelList ===

impl<'a> LabelList<'a> {
    pub(super) fn clear(&mut self) {
        self.labels.clear();
        self.name = None;
        self.bytes = 0;
    }

    #[inline]
    pub(super) fn push(&mut self, name: &'a str, value: &'a str) -> Result<(), Fault> {
        if name.is_empty() || value.is_empty() {
            return Err(Fault::Refused(Reason::EmptyLabel));
        }
        self.bytes += LABEL_BYTES + name.len() + value.len();
        // A few bytes can refer to long texts: it ends before anything is copied.
        if self.bytes > MAX_EVENT_BYTES {
            return Err(Fault::Refused(Reason::TooLong));
        }
        self.labels.push((name, value));
        Ok(())
    }

    /// Names and values in turn.
    #[inline]
    pub(super) fn push_text(&mut self, text: &'a str) -> Result<(), Fault> {
        match self.name.take() {
            Some(name) => self.push(name, text),
            None => {
                self.name = Some(text);
                Ok(())
            }
        }
    }

    /// The name of the metric, empty where there is none.
    pub(super) fn metric(&self) -> &'a str {
        self.labels.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, value)| value)
    }

    /// Appends the label set of a series.
    pub(super) fn write_series(
        &mut self,
        external: &'a [(String, String)],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.sort()?;
        let position =
            |labels: &[(&str, &str)], name: &str| labels.binary_search_by(|label| label.0.cmp(name));
        if position(&self.labels, METRIC_NAME).is_err() {
            return Err(Fault::Refused(Reason::NoName));
        }
        for (name, value) in external {
            if let Err(at) = position(&self.labels, name) {
                self.labels.insert(at, (name, value));
            }
        }
        self.append(out);
        Ok(())
    }

    /// Appends the label set of an exemplar, which may be empty.
    pub(super) fn write_exemplar(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.sort()?;
        self.append(out);
        Ok(())
    }

    /// Brings the labels in order; no name may be there twice.
    fn sort(&mut self) -> Result<(), Fault> {
        if self.name.is_some() {
            return Err(Fault::Refused(Reason::OddReferences));
        }
        if !self.labels.is_sorted_by(|one, other| one.0 < other.0) {
            self.labels.sort_unstable_by(|one, other| one.0.cmp(other.0));
            if !self.labels.is_sorted_by(|one, other| one.0 < other.0) {
                return Err(Fault::Refused(Reason::DuplicateLabel));
            }
        }
        Ok(())
    }

    fn append(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.labels {
            write_label(out, name, value);
        }
    }
}
