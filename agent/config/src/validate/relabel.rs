//! Rules of relabelling: what each action takes, as Prometheus has it.

use weir_samples::relabel::{DEFAULT_REGEX, DEFAULT_REPLACEMENT, DEFAULT_SEPARATOR};

use super::Context;
use crate::config::{RelabelAction, RelabelRule};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::types;

/// The rules that stand at `at`.
pub(super) fn rules(raw: Vec<raw::RelabelRule>, at: &KeyPath, context: &mut Context<'_>) -> Vec<RelabelRule> {
    let mut rules = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let at = at.index(index);
        // What is given and wrong was said already, and says nothing about the others.
        let is_broken = (raw.action.is_none() && context.is_written(&at.key("action")))
            || (raw.target_label.is_none() && context.is_written(&at.key("target_label")));
        let rule = rule(raw);
        if let Err((key, complaint)) = check(&rule)
            && !is_broken
        {
            context.error(&at.key(key), complaint);
        }
        rules.push(rule);
    }
    rules
}

fn rule(raw: raw::RelabelRule) -> RelabelRule {
    let text = |given: Option<raw::Text<types::PlainText>>, default: &str| {
        given.map_or_else(|| default.to_owned(), |text| text.0.0)
    };
    RelabelRule {
        source_labels: raw.source_labels.into_iter().map(|label| label.0.0).collect(),
        separator: text(raw.separator, DEFAULT_SEPARATOR),
        regex: raw.regex.map_or_else(|| DEFAULT_REGEX.to_owned(), |regex| regex.0.0),
        modulus: raw.modulus.unwrap_or(0),
        target_label: text(raw.target_label, ""),
        replacement: text(raw.replacement, DEFAULT_REPLACEMENT),
        action: raw.action.map_or(RelabelAction::Replace, |action| action.0.0),
    }
}

/// What is wrong with a rule, and with which of its keys. Its regular expression was compiled when it was read.
fn check(rule: &RelabelRule) -> Result<(), (&'static str, Complaint)> {
    use RelabelAction::{
        DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase,
    };
    let action = rule.action;
    let sets = matches!(action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
    if sets && rule.target_label.is_empty() {
        return Err(("action", Complaint::new(format!("the action {action} needs target_label"))));
    }
    if action == HashMod && rule.modulus == 0 {
        return Err(("action", Complaint::new("the action hashmod needs a modulus above zero")));
    }
    if action == LabelMap && rule.replacement.is_empty() {
        return Err(("replacement", Complaint::new("an empty text is not the name of a label")));
    }
    let has_regex = rule.regex != DEFAULT_REGEX;
    let has_separator = rule.separator != DEFAULT_SEPARATOR;
    let has_replacement = rule.replacement != DEFAULT_REPLACEMENT;
    let takes_regex_only = matches!(action, LabelDrop | LabelKeep);
    let compares = matches!(action, KeepEqual | DropEqual);
    let useless = [
        ("source_labels", takes_regex_only && !rule.source_labels.is_empty()),
        ("target_label", takes_regex_only && !rule.target_label.is_empty()),
        ("modulus", (takes_regex_only || compares) && rule.modulus != 0),
        ("separator", (takes_regex_only || compares) && has_separator),
        ("regex", compares && has_regex),
        (
            "replacement",
            (takes_regex_only || compares || matches!(action, Lowercase | Uppercase)) && has_replacement,
        ),
    ];
    match useless.into_iter().find(|(_, is_given)| *is_given) {
        Some((key, _)) => {
            let complaint = Complaint::new(format!("the action {action} does not take {key}"));
            Err((key, complaint.help(format!("remove {key}, or take another action"))))
        }
        None => Ok(()),
    }
}
