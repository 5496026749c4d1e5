//! Examples of what was measured.

use super::cursor::Cursor;
use super::sample::read_exemplar_labels;
use super::series::unescape;
use crate::labels::LabelsBuilder;
use crate::proto::client;

/// An example of what was measured.
#[derive(Clone, Copy, Debug)]
pub struct Exemplar<'a> {
    pub(super) labels: ExemplarLabels<'a>,
    /// What was measured.
    pub value: f64,
    /// When, in milliseconds since the Unix epoch; `None` where that is when its sample was.
    pub timestamp: Option<i64>,
}

/// Where an exemplar's labels lie.
#[derive(Clone, Copy, Debug)]
pub(super) enum ExemplarLabels<'a> {
    /// In a line, up to their closing brace.
    Text(&'a [u8]),
    /// In a message.
    Pairs(&'a [client::LabelPair]),
}

impl<'a> Exemplar<'a> {
    /// That of a message.
    pub(super) fn of_message(message: &'a client::Exemplar) -> Exemplar<'a> {
        Exemplar {
            labels: ExemplarLabels::Pairs(&message.label),
            value: message.value.unwrap_or_default(),
            timestamp: message.timestamp.as_ref().map(milliseconds),
        }
    }

    /// Adds its labels to `labels`. How long they may be together (128 characters, OpenMetrics 1.0, "Exemplars") is for
    /// the caller to see to: Prometheus drops a longer exemplar and keeps its sample.
    pub fn read_labels(&self, labels: &mut LabelsBuilder) {
        match self.labels {
            ExemplarLabels::Text(text) => {
                let mut add = |name: &[u8], value: &[u8]| {
                    let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
                    labels.push(&unescape(&name), &unescape(&value));
                };
                let read = read_exemplar_labels(&mut Cursor::new(text, 0, true), &mut add);
                debug_assert!(read.is_ok(), "the parser read them before");
            }
            ExemplarLabels::Pairs(pairs) => {
                for pair in pairs {
                    labels.push(
                        pair.name.as_deref().unwrap_or_default(),
                        pair.value.as_deref().unwrap_or_default(),
                    );
                }
            }
        }
    }
}

/// A time of a message in milliseconds, cut off as Prometheus does.
pub(super) fn milliseconds(time: &client::Timestamp) -> i64 {
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos / 1_000_000))
}
