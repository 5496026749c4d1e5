//! Label sets: what tells one series from all others.
//!
//! 1. A label set lies in memory as it is sent: its labels in the order of their names (by bytes), each as the field
//!    `labels` of the message `prometheus.TimeSeries` (remote write 1.0), one behind the other.
//! 2. No name is there twice, and no value is empty: a label without a value is the same as none.
//! 3. Two series are the same if and only if their bytes are.

use twox_hash::XxHash3_64;

use crate::varint;

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// Field 1 of `TimeSeries`, with a length.
pub const LABEL_TAG: u8 = 0x0a;
/// Field 1 of `Label`, with a length.
pub const NAME_TAG: u8 = 0x0a;
/// Field 2 of `Label`, with a length.
pub const VALUE_TAG: u8 = 0x12;

/// A label set, as bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelSet<'a>(&'a [u8]);

/// The labels of a set, in order: names and values.
#[derive(Clone, Debug)]
pub struct Labels<'a>(&'a [u8]);

/// Two labels of one name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the label {0:?} is there twice")]
pub struct Duplicate(pub String);

/// Collects labels in any order and makes label sets of them. Keeps its memory.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    text: String,
    /// Name and value as ranges of `text`.
    labels: Vec<(Range, Range)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Range {
    start: u32,
    end: u32,
}

// === impl LabelSet ===

impl<'a> LabelSet<'a> {
    /// The set with these bytes, which a [`LabelsBuilder`] made.
    pub fn new(bytes: &'a [u8]) -> LabelSet<'a> {
        LabelSet(bytes)
    }

    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Its labels in order.
    pub fn iter(self) -> Labels<'a> {
        Labels(self.0)
    }

    /// The value of the label with this name; `None` is the same as an empty one.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The name of the metric, empty where there is none.
    pub fn metric(self) -> &'a str {
        self.get(METRIC_NAME).unwrap_or_default()
    }

    /// What tells this series from others: XXH3-64 of its bytes.
    pub fn hash(self) -> u64 {
        XxHash3_64::oneshot(self.0)
    }
}

impl<'a> IntoIterator for LabelSet<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = Labels<'a>;

    fn into_iter(self) -> Labels<'a> {
        self.iter()
    }
}

/// As it stands in the text formats: `name{label="value"}`.
impl std::fmt::Display for LabelSet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_plain = |text: &str| {
            !text.starts_with(|c: char| c.is_ascii_digit())
                && !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
        };
        let metric = self.metric();
        let mut open = false;
        if is_plain(metric) {
            f.write_str(metric)?;
        } else if !metric.is_empty() {
            write!(f, "{{{metric:?}")?;
            open = true;
        }
        for (name, value) in self.iter().filter(|(name, _)| *name != METRIC_NAME) {
            f.write_str(if open { "," } else { "{" })?;
            open = true;
            match is_plain(name) {
                true => f.write_str(name)?,
                false => write!(f, "{name:?}")?,
            }
            f.write_str("=\"")?;
            for c in value.chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    c => write!(f, "{c}")?,
                }
            }
            f.write_str("\"")?;
        }
        if open { f.write_str("}") } else { Ok(()) }
    }
}

// === impl Labels ===

impl<'a> Iterator for Labels<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.strip_prefix(&[LABEL_TAG])?;
        let (label, rest) = varint::read_bytes(rest)?;
        let (name, label) = varint::read_bytes(label.strip_prefix(&[NAME_TAG])?)?;
        let (value, _) = varint::read_bytes(label.strip_prefix(&[VALUE_TAG])?)?;
        self.0 = rest;
        Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
    }
}

/// Appends a label; the caller sees to their order.
pub(crate) fn write_label(out: &mut Vec<u8>, name: &str, value: &str) {
    let (name_len, value_len) = (name.len() as u64, value.len() as u64);
    let length = 2 + varint::len(name_len) + name.len() + varint::len(value_len) + value.len();
    out.push(LABEL_TAG);
    varint::write(out, length as u64);
    out.push(NAME_TAG);
    varint::write(out, name_len);
    out.extend_from_slice(name.as_bytes());
    out.push(VALUE_TAG);
    varint::write(out, value_len);
    out.extend_from_slice(value.as_bytes());
}

// === impl LabelsBuilder ===

impl LabelsBuilder {
    /// An empty one.
    pub fn new() -> LabelsBuilder {
        LabelsBuilder::default()
    }

    /// Forgets all labels and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.labels.clear();
    }

    /// How many labels there are, those without a value counted too.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Takes all labels of a set.
    pub fn extend(&mut self, set: LabelSet<'_>) {
        for (name, value) in set {
            self.push(name, value);
        }
    }

    /// Adds a label. One of this name that is there already makes [`LabelsBuilder::finish`] fail.
    pub fn push(&mut self, name: &str, value: &str) {
        let label = (self.keep(name), self.keep(value));
        self.labels.push(label);
    }

    /// The value of the label with this name, empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.position(name).and_then(|at| self.labels.get(at)).map_or("", |(_, value)| self.text(*value))
    }

    /// Gives a label this value, whether or not it is there; an empty one removes it.
    pub fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return self.remove(name);
        }
        let kept = self.keep(value);
        match self.position(name).and_then(|at| self.labels.get_mut(at)) {
            Some((_, value)) => *value = kept,
            None => {
                let name = self.keep(name);
                self.labels.push((name, kept));
            }
        }
    }

    /// Adds a label unless one of this name has a value.
    pub fn set_default(&mut self, name: &str, value: &str) {
        if self.get(name).is_empty() {
            self.set(name, value);
        }
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) {
        if let Some(at) = self.position(name) {
            self.labels.remove(at);
        }
    }

    /// Keeps the labels for whose name and value this says true.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str, &str) -> bool) {
        let text = &self.text;
        self.labels.retain(|(name, value)| wanted(slice(text, *name), slice(text, *value)));
    }

    /// Names and values, in the order of adding.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(name, value)| (self.text(*name), self.text(*value)))
    }

    /// Sorts the labels and appends them to `out` as a [`LabelSet`]; those without a value are left out.
    ///
    /// # Errors
    ///
    /// A name that is there twice; nothing was appended then.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Duplicate> {
        let text = &self.text;
        self.labels.sort_by(|(one, _), (other, _)| slice(text, *one).cmp(slice(text, *other)));
        let names = self.labels.iter().map(|(name, _)| slice(text, *name));
        for (one, other) in names.clone().zip(names.skip(1)) {
            if one == other {
                return Err(Duplicate(one.to_owned()));
            }
        }
        for (name, value) in &self.labels {
            if value.start < value.end {
                write_label(out, slice(text, *name), slice(text, *value));
            }
        }
        Ok(())
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.labels.iter().position(|(known, _)| self.text(*known) == name)
    }

    fn keep(&mut self, text: &str) -> Range {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        Range { start, end: self.text.len() as u32 }
    }

    fn text(&self, range: Range) -> &str {
        slice(&self.text, range)
    }
}

fn slice(text: &str, range: Range) -> &str {
    text.get(range.start as usize..range.end as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::proto::prometheus::TimeSeries;

    fn set(labels: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = LabelsBuilder::new();
        for (name, value) in labels {
            builder.push(name, value);
        }
        let mut out = Vec::new();
        builder.finish(&mut out).unwrap();
        out
    }

    #[test]
    fn labels_are_in_order_and_none_is_empty() {
        let bytes = set(&[("job", "j"), ("__name__", "up"), ("empty", ""), ("a", "ü")]);
        let set = LabelSet::new(&bytes);
        assert_eq!(set.iter().collect::<Vec<_>>(), [("__name__", "up"), ("a", "ü"), ("job", "j")]);
        assert_eq!((set.metric(), set.get("job"), set.get("empty")), ("up", Some("j"), None));
        assert_eq!(set.to_string(), "up{a=\"ü\",job=\"j\"}");
    }

    #[test]
    fn a_label_is_there_once() {
        let mut builder = LabelsBuilder::new();
        builder.push("a", "1");
        builder.push("a", "2");
        assert_eq!(builder.finish(&mut Vec::new()), Err(Duplicate("a".into())));
        builder.clear();
        builder.set("a", "1");
        builder.set("a", "2");
        builder.set_default("a", "3");
        assert_eq!((builder.get("a"), builder.len()), ("2", 1));
        builder.set("a", "");
        assert!(builder.is_empty());
    }

    proptest! {
        #[test]
        fn a_set_is_what_the_protocol_says(labels: BTreeMap<String, String>) {
            let pairs: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
            let bytes = set(&pairs);
            let wanted: Vec<(&str, &str)> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            prop_assert_eq!(LabelSet::new(&bytes).iter().collect::<Vec<_>>(), wanted.clone());
            let message = TimeSeries::decode(&bytes[..]).unwrap();
            let read: Vec<(&str, &str)> =
                message.labels.iter().map(|label| (&*label.name, &*label.value)).collect();
            prop_assert_eq!(read, wanted);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = LabelSet::new(&bytes).iter().count();
        }
    }
}
