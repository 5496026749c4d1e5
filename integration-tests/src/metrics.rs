//! The Prometheus text format, read strictly: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::collections::{BTreeMap, BTreeSet};

/// One value under its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The family's name.
    pub name: String,
    /// By name.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// One scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// In the order of the text.
    pub samples: Vec<Sample>,
}

// === impl Metrics ===

impl Metrics {
    /// Reads a scrape. Panics at anything that is not as it must be: a sample without a type and a help text before
    /// it, a family in two places, a sample twice, a counter that is negative.
    pub fn parse(text: &str) -> Metrics {
        assert!(text.ends_with('\n'), "the last line is not finished");
        let mut metrics = Metrics::default();
        let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
        let mut current = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').expect("a name and a text");
                assert!(helped.insert(name.to_owned()) && !text.is_empty(), "{line}");
                current = name.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a type");
                assert!(name == current && ["counter", "gauge"].contains(&kind), "{line}");
                assert!(typed.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            } else {
                let sample = sample(line);
                assert_eq!(sample.name, current, "not in the place of its family: {line}");
                let is_counter = typed.get(&sample.name).expect("a type") == "counter";
                assert_eq!(is_counter, sample.name.ends_with("_total"), "{line}");
                assert!(!is_counter || sample.value >= 0.0, "{line}");
                let is_known =
                    |known: &&Sample| (&known.name, &known.labels) == (&sample.name, &sample.labels);
                assert!(!metrics.samples.iter().any(|known| is_known(&known)), "twice: {line}");
                metrics.samples.push(sample);
            }
        }
        metrics
    }

    /// The value of the one sample with this name and, among others, these labels.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &Sample| {
            labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|v| v == value))
        };
        let found: Vec<&Sample> =
            self.samples.iter().filter(|sample| sample.name == name && has(sample)).collect();
        let [sample] = found.as_slice() else { panic!("{} samples of {name} {labels:?}", found.len()) };
        sample.value
    }

    /// The value of the first sample with this name and, among others, these labels, if there is one.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| {
            labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|v| v == value))
        };
        self.samples.iter().filter(|sample| sample.name == name).find(has).map(|sample| sample.value)
    }

    /// The same as a count.
    #[track_caller]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.value(name, labels) as u64
    }
}

/// `name{label="value",…} number`
fn sample(line: &str) -> Sample {
    let (before, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
    let (name, labels) = match before.split_once('{') {
        None => (before, BTreeMap::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}').expect("a brace"))),
    };
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line}");
    Sample { name: name.to_owned(), labels, value }
}

fn labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("not labels: {text}"));
        let (value, after) = quoted(after);
        assert!(labels.insert(name.to_owned(), value).is_none(), "{text}");
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    labels
}

/// A value up to its quotation mark, and what stands behind it.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match characters.next() {
                Some((_, 'n')) => '\n',
                Some((_, escaped @ ('\\' | '"'))) => escaped,
                other => panic!("{other:?} is not escaped: {text}"),
            }),
            plain => value.push(plain),
        }
    }
    panic!("a quotation mark is missing: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_their_labels() {
        let text = "# HELP a_total Counts.\n# TYPE a_total counter\n\
            a_total{x=\"1\",y=\"say \\\"hi\\\", \\\\\"} 5\na_total{x=\"2\"} 1e3\n\
            # HELP b Is.\n# TYPE b gauge\nb -0.5\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.count("a_total", &[("x", "1")]), 5);
        assert_eq!(metrics.count("a_total", &[("x", "2")]), 1000);
        assert_eq!(metrics.value("b", &[]), -0.5);
        assert_eq!(metrics.samples[0].labels["y"], "say \"hi\", \\");
    }
}
