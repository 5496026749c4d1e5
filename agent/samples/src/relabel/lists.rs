//! Short forms: lists of names that stand for rules.

use super::re2::Pattern;
use super::rule::{Action, Problem, Rule};
use crate::labels::METRIC_NAME;

/// Lists of regular expressions in RE2's syntax, each of which must match a name as a whole. They are worked through in the
/// order of the members here; an empty list does nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Metrics that go on; all others are dropped.
    pub keep_metrics: Vec<String>,
    /// Metrics that are dropped.
    pub drop_metrics: Vec<String>,
    /// Labels that are removed.
    pub drop_labels: Vec<String>,
}

// === impl Lists ===

impl Lists {
    /// The rules that they stand for.
    ///
    /// # Errors
    ///
    /// An expression that does not compile by itself.
    pub fn rules(&self) -> Result<Vec<Rule>, Problem> {
        let metric = || vec![METRIC_NAME.to_owned()];
        let lists = [
            (&self.keep_metrics, Action::Keep, metric()),
            (&self.drop_metrics, Action::Drop, metric()),
            (&self.drop_labels, Action::LabelDrop, Vec::new()),
        ];
        let mut rules = Vec::new();
        for (patterns, action, source_labels) in lists {
            if !patterns.is_empty() {
                rules.push(Rule { source_labels, action, regex: any_of(patterns)?, ..Rule::default() });
            }
        }
        Ok(rules)
    }
}

/// One expression that matches what any of them does.
fn any_of(patterns: &[String]) -> Result<String, Problem> {
    let mut joined = String::new();
    for pattern in patterns {
        // Each in a group of its own, and closed in itself, so that none reaches into another as `a)|(b` or `\Qa` would.
        let group = format!("(?:{pattern})");
        let compiled = Pattern::unanchored(pattern).and_then(|_| Pattern::new(&group));
        compiled.map_err(|reason| Problem::Regex { expression: pattern.clone(), reason })?;
        if !joined.is_empty() {
            joined.push('|');
        }
        joined.push_str(&group);
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::LabelsBuilder;
    use crate::relabel::Rules;

    #[test]
    fn lists_mean_what_their_names_say() {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let lists = Lists {
            keep_metrics: strings(&["up", "go_.*", "(?i)Node_x|y"]),
            drop_metrics: strings(&["go_gc_.*"]),
            drop_labels: strings(&["pod_ip", "tmp_.+"]),
        };
        let rules = Rules::new(&lists.rules().unwrap()).unwrap();
        let kept = ["up", "go_threads", "node_X", "Y"];
        let dropped = ["up2", "go_gc_duration", "Up", "xgo_", "", "z"];
        for (metric, wanted) in
            kept.map(|metric| (metric, true)).into_iter().chain(dropped.map(|metric| (metric, false)))
        {
            let mut labels = LabelsBuilder::new();
            labels.push("__name__", metric);
            labels.push("pod_ip", "1.2.3.4");
            labels.push("tmp_", "stays");
            labels.push("tmp_1", "goes");
            assert_eq!(rules.apply(&mut labels), wanted, "{metric}");
            if wanted {
                assert_eq!(labels.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["__name__", "tmp_"]);
            }
        }
    }

    #[test]
    fn an_empty_list_does_nothing_and_a_wrong_pattern_is_named() {
        assert_eq!(Lists::default().rules(), Ok(Vec::new()));
        for pattern in ["(", "a)|(b", "a)(b", r"\Qa"] {
            let lists = Lists { drop_metrics: vec!["up".into(), pattern.into()], ..Lists::default() };
            let Err(Problem::Regex { expression, .. }) = lists.rules() else { panic!("{pattern}") };
            assert_eq!(expression, pattern);
        }
    }
}
