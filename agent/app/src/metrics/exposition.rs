//! Writes the text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

use super::families::Family;

/// The text of one scrape, family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// One value of a family, under its labels.
#[derive(Debug)]
pub struct Sample<'a> {
    labels: Vec<(&'static str, &'a str)>,
    value: f64,
}

// === impl Sample ===

impl<'a> Sample<'a> {
    /// A value under these labels.
    pub fn new(labels: impl Into<Vec<(&'static str, &'a str)>>, value: f64) -> Sample<'a> {
        Sample { labels: labels.into(), value }
    }

    /// A count. Beyond 2^53 (nine petabytes) the format itself has no exact numbers.
    pub fn count(labels: impl Into<Vec<(&'static str, &'a str)>>, value: u64) -> Sample<'a> {
        Sample::new(labels, value as f64)
    }
}

// === impl Exposition ===

impl Exposition {
    /// Adds a family; one without samples is left out.
    pub fn add<'a>(&mut self, family: &Family, samples: impl IntoIterator<Item = Sample<'a>>) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let Family { name, kind, help, .. } = family;
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
        for Sample { labels, value } in samples {
            debug_assert!(labels.iter().all(|(label, _)| family.has_label(label)), "{name} {labels:?}");
            self.text.push_str(name);
            self.labels(&labels);
            let _ = writeln!(self.text, " {value}");
        }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.text
    }

    fn labels(&mut self, labels: &[(&str, &str)]) {
        if labels.is_empty() {
            return;
        }
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            self.escaped(value);
            self.text.push('"');
        }
        self.text.push('}');
    }

    fn escaped(&mut self, value: &str) {
        for character in value.chars() {
            match character {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                other => self.text.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::families::Kind;
    use super::*;

    const FAMILY: Family = Family { name: "weir_x_total", kind: Kind::Counter, labels: "a, b", help: "Xs." };

    #[test]
    fn families_have_a_head_and_samples() {
        let mut out = Exposition::default();
        out.add(
            &FAMILY,
            [
                Sample::count([], 3),
                Sample::new([("a", "x"), ("b", "q\"\\\ny")], 0.5),
                Sample::count([("a", "ä")], 12_345_678_901),
            ],
        );
        let expected = "# HELP weir_x_total Xs.\n# TYPE weir_x_total counter\nweir_x_total 3\n\
                        weir_x_total{a=\"x\",b=\"q\\\"\\\\\\ny\"} 0.5\nweir_x_total{a=\"ä\"} 12345678901\n";
        assert_eq!(out.into_text(), expected);
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        let mut out = Exposition::default();
        out.add(&FAMILY, []);
        assert_eq!(out.into_text(), "");
    }
}
