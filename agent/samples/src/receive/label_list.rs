//! The labels of one series or exemplar, as they come, and the label set that they make.

use weir_event::batch::MAX_EVENT_BYTES;

use super::report::Reason;
use super::wire::Fault;
use crate::labels::{LABEL_TAG, METRIC_NAME, write_label};
use crate::varint;

/// What a label takes besides its name and value, at the least.
const LABEL_BYTES: usize = 6;
/// Field 1 of `Label`, with a length.
const NAME_TAG: u8 = 0x0a;
/// Field 2 of `Label`, with a length.
const VALUE_TAG: u8 = 0x12;
/// Lengths up to here are one byte.
const MAX_SHORT: usize = 0x7f;

/// Labels that point into a request. Keeps its memory.
#[derive(Debug, Default)]
pub(super) struct LabelList<'a> {
    labels: Vec<Label<'a>>,
    /// A name whose value has not come yet.
    name: Option<&'a str>,
    /// Bytes of the label set that they make.
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Label<'a> {
    name: &'a str,
    value: &'a str,
    /// The message `Label` as a label set has it, if it came as that.
    message: &'a [u8],
}

// === impl LabelList ===

impl<'a> LabelList<'a> {
    pub(super) fn clear(&mut self) {
        self.labels.clear();
        self.name = None;
        self.bytes = 0;
    }

    /// Adds a label; `message` is it as a label set has it, if it came as that, and else empty.
    #[inline]
    pub(super) fn push(&mut self, name: &'a str, value: &'a str, message: &'a [u8]) -> Result<(), Fault> {
        if name.is_empty() || value.is_empty() {
            return Err(Fault::Refused(Reason::EmptyLabel));
        }
        self.bytes += LABEL_BYTES + name.len() + value.len();
        // A few bytes can refer to long texts: it ends before anything is copied.
        if self.bytes > MAX_EVENT_BYTES {
            return Err(Fault::Refused(Reason::TooLong));
        }
        self.labels.push(Label { name, value, message });
        Ok(())
    }

    /// Adds names and values in turn.
    #[inline]
    pub(super) fn push_text(&mut self, text: &'a str) -> Result<(), Fault> {
        match self.name.take() {
            Some(name) => self.push(name, text, &[]),
            None => {
                self.name = Some(text);
                Ok(())
            }
        }
    }

    /// The name of the metric, empty where there is none.
    pub(super) fn metric(&self) -> &'a str {
        self.labels.iter().find(|label| label.name == METRIC_NAME).map_or("", |label| label.value)
    }

    /// Appends the label set of a series.
    pub(super) fn write_series(
        &mut self,
        external: &'a [(String, String)],
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.sort()?;
        // Few names come before it.
        if !self.labels.iter().any(|label| label.name == METRIC_NAME) {
            return Err(Fault::Refused(Reason::NoName));
        }
        for (name, value) in external {
            if let Err(at) = self.labels.binary_search_by(|label| label.name.cmp(name)) {
                self.labels.insert(at, Label { name, value, message: &[] });
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
        if !self.labels.is_sorted_by(|one, other| one.name < other.name) {
            self.labels.sort_unstable_by(|one, other| one.name.cmp(other.name));
            if !self.labels.is_sorted_by(|one, other| one.name < other.name) {
                return Err(Fault::Refused(Reason::DuplicateLabel));
            }
        }
        Ok(())
    }

    fn append(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes);
        for label in &self.labels {
            label.write(out);
        }
    }
}

// === impl Label ===

impl Label<'_> {
    /// Appends it as the field `labels` of a label set.
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let Label { name, value, message } = self;
        let both = name.len() + value.len() + LABEL_BYTES - 2;
        if !message.is_empty() {
            out.push(LABEL_TAG);
            varint::write(out, message.len() as u64);
            out.extend_from_slice(message);
        } else if both <= MAX_SHORT {
            out.extend_from_slice(&[LABEL_TAG, both as u8, NAME_TAG, name.len() as u8]);
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&[VALUE_TAG, value.len() as u8]);
            out.extend_from_slice(value.as_bytes());
        } else {
            write_label(out, name, value);
        }
    }
}

/// The label that a message `Label` is which is written as a label set has it, with a name and a value of at most 127
/// bytes; `None` for any other, which may be a label nevertheless.
#[inline]
pub(super) fn plain_label(message: &[u8]) -> Option<(&str, &str)> {
    let [NAME_TAG, name, rest @ ..] = message else { return None };
    let (name, rest) = rest.split_at_checked(usize::from(*name).min(message.len()))?;
    let [VALUE_TAG, value_len, value @ ..] = rest else { return None };
    let is_plain =
        name.len() <= MAX_SHORT && value.len() <= MAX_SHORT && usize::from(*value_len) == value.len();
    if !is_plain {
        return None;
    }
    // Tags and lengths are ASCII here, so the whole is text if and only if both parts are; to look once is quicker.
    let text = str::from_utf8(message).ok()?;
    Some((text.get(2..2 + name.len())?, text.get(4 + name.len()..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_label_is_what_a_label_set_has(name in ".{0,140}", value in ".{0,140}", damage: u8, at in 0_usize..300) {
            let mut set = Vec::new();
            write_label(&mut set, &name, &value);
            let (message, _) = varint::read_bytes(&set[1..]).unwrap();
            let is_short = name.len() <= MAX_SHORT && value.len() <= MAX_SHORT;
            prop_assert_eq!(plain_label(message), is_short.then_some((&*name, &*value)));
            let mut damaged = message.to_vec();
            if let Some(byte) = damaged.get_mut(at) {
                *byte = damage;
            }
            if let Some((name, value)) = plain_label(&damaged) {
                let mut again = Vec::new();
                write_label(&mut again, name, value);
                prop_assert_eq!(varint::read_bytes(&again[1..]).unwrap().0, &damaged[..]);
            }
        }
    }
}
