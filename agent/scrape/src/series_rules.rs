//! What becomes of the labels that a target exposes: its own labels join them, rules change them, limits hold them.

use std::sync::Arc;

use weir_samples::labels::{Duplicate, LabelSet, LabelsBuilder};
use weir_samples::relabel::Rules;

use crate::ingest::ScrapeError;
use crate::metrics::Failure;

/// How much of a name an error shows, in characters.
const SHOWN_CHARS: usize = 50;

/// What becomes of the series of a target.
#[derive(Debug)]
pub(crate) struct SeriesRules {
    /// Labels of the target.
    pub(crate) target: Vec<u8>,
    /// Labels of the agent, for series that have none of these names.
    pub(crate) external: Vec<(String, String)>,
    pub(crate) honor_labels: bool,
    pub(crate) rules: Arc<Rules>,
    pub(crate) label_limit: usize,
    pub(crate) label_name_length_limit: usize,
    pub(crate) label_value_length_limit: usize,
}

// === impl SeriesRules ===

impl SeriesRules {
    /// The labels that most series of the target share, as a label set.
    pub(crate) fn shared_labels(&self) -> Vec<u8> {
        let mut labels = LabelsBuilder::new();
        labels.extend(LabelSet::new(&self.target));
        for (name, value) in &self.external {
            labels.set_default(name, value);
        }
        let mut out = Vec::new();
        // A target's labels have no name twice.
        let _ = labels.finish(&mut out);
        out
    }

    /// Makes the labels that a series is sent with of those that a target exposes, and writes them to `out`; false where
    /// the series is dropped.
    pub(crate) fn relabel(
        &self,
        text: &[u8],
        labels: &mut LabelsBuilder,
        out: &mut Vec<u8>,
    ) -> Result<bool, ScrapeError> {
        let invalid = |message: String| ScrapeError { failure: Failure::Labels, message };
        let twice = |error: Duplicate| invalid(format!("a series cannot be taken: {error}"));
        out.clear();
        // Sorts them, as rules expect, and sees to it that none is there twice.
        labels.finish(out).map_err(twice)?;
        out.clear();
        self.add_target_labels(text, labels);
        if !self.rules.apply(labels) || labels.iter().all(|(_, value)| value.is_empty()) {
            return Ok(false);
        }
        if labels.get("__name__").is_empty() {
            return Err(invalid(
                "a series has lost its name; metric_relabel_configs must leave __name__".to_owned(),
            ));
        }
        if labels.iter().any(|(name, _)| name.is_empty()) {
            return Err(invalid("a label of a series has an empty name".to_owned()));
        }
        self.check_limits(labels)?;
        for (name, value) in &self.external {
            labels.set_default(name, value);
        }
        labels.finish(out).map_err(twice)?;
        Ok(true)
    }

    /// Prometheus, scrape: `mutateSampleLabels`.
    fn add_target_labels(&self, text: &[u8], labels: &mut LabelsBuilder) {
        let target = LabelSet::new(&self.target);
        if self.honor_labels {
            for (name, value) in target {
                if labels.get(name).is_empty() && !is_emptied(text, name) {
                    labels.push(name, value);
                }
            }
            return;
        }
        let mut moved: Vec<(String, String)> = Vec::new();
        for (name, value) in target {
            let exposed = labels.get(name);
            if !exposed.is_empty() {
                moved.push((name.to_owned(), exposed.to_owned()));
            }
            labels.set(name, value);
        }
        moved.sort_by_key(|(name, _)| name.len());
        for (name, value) in moved {
            let mut name = format!("exported_{name}");
            while !labels.get(&name).is_empty() {
                name.insert_str(0, "exported_");
            }
            labels.set(&name, &value);
        }
    }

    fn check_limits(&self, labels: &LabelsBuilder) -> Result<(), ScrapeError> {
        let exceeded = |message: String| Err(ScrapeError { failure: Failure::LabelLimit, message });
        let shown = |text: &str| text.chars().take(SHOWN_CHARS).collect::<String>();
        let metric = shown(labels.get("__name__"));
        let filled = || labels.iter().filter(|(_, value)| !value.is_empty());
        let count = if self.label_limit > 0 { filled().count() } else { 0 };
        if count > self.label_limit {
            return exceeded(format!(
                "{count} labels of {metric:?} are more than label_limit, {}",
                self.label_limit
            ));
        }
        let (names, values) = (self.label_name_length_limit, self.label_value_length_limit);
        if names == 0 && values == 0 {
            return Ok(());
        }
        for (name, value) in filled() {
            if names > 0 && name.len() > names {
                let (name, length) = (shown(name), name.len());
                return exceeded(format!(
                    "the name {name:?} of a label of {metric:?} has {length} bytes, more than label_name_length_limit, {names}"
                ));
            }
            if values > 0 && value.len() > values {
                let (name, length) = (shown(name), value.len());
                return exceeded(format!(
                    "the label {name:?} of {metric:?} has {length} bytes, more than label_value_length_limit, {values}"
                ));
            }
        }
        Ok(())
    }
}

/// Whether the text of a series gives a label an empty value. With `honor_labels` that keeps the target's label away, as
/// the Pushgateway does with `instance=""`. In the text of a series two quotes stand side by side only as an empty value.
fn is_emptied(text: &[u8], name: &str) -> bool {
    let positions = text.windows(2).enumerate().filter(|(_, pair)| *pair == b"\"\"").map(|(at, _)| at);
    positions.filter_map(|at| text.get(..at)).any(|before| {
        let Some(before) = before.trim_ascii_end().strip_suffix(b"=") else { return false };
        let before = before.trim_ascii_end();
        let before = before.strip_suffix(b"\"").unwrap_or(before);
        let Some(before) = before.strip_suffix(name.as_bytes()) else { return false };
        before.last().is_some_and(|byte| matches!(byte, b'{' | b',' | b' ' | b'\t' | b'"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_with_an_empty_value_is_seen() {
        for text in ["a{job=\"\"}", "a{b=\"c\", job = \"\"}", "a{job=\"\",b=\"c\"}", "{\"a\",\"job\"=\"\"}"] {
            assert!(is_emptied(text.as_bytes(), "job"), "{text}");
        }
        for text in [
            "a",
            "a{job=\"x\"}",
            "a{xjob=\"\"}",
            "a{b=\"job=\\\"\"}",
            "a{b=\"\",c=\"job\"}",
            "a{job=\"\\\"\"}",
        ] {
            assert!(!is_emptied(text.as_bytes(), "job"), "{text}");
        }
    }
}
