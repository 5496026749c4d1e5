//! Rules of relabelling. What a rule may have the engine knows that runs it, and it alone: here is only where it stands.

use weir_samples::relabel::{
    DEFAULT_REGEX, DEFAULT_REPLACEMENT, DEFAULT_SEPARATOR, Lists, MAX_RULES, Problem, RuleError, Rules,
};

use super::Context;
use crate::config::{RelabelAction, RelabelRule};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::types;

/// The rules that stand at `at`.
pub(super) fn rules(raw: Vec<raw::RelabelRule>, at: &KeyPath, context: &mut Context<'_>) -> Vec<RelabelRule> {
    if raw.len() > MAX_RULES {
        context.error(at, Complaint::new(Problem::TooMany.to_string()));
        return Vec::new();
    }
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

/// What the engine says against a rule, and the key that it is said of.
fn check(rule: &RelabelRule) -> Result<(), (&'static str, Complaint)> {
    let Err(RuleError { problem, .. }) = Rules::new(std::slice::from_ref(rule)) else { return Ok(()) };
    let key = match &problem {
        // What is missing stands nowhere.
        Problem::Missing(..) | Problem::UnknownAction(_) | Problem::TooMany => "action",
        Problem::Forbidden(_, member) | Problem::EmptyName(member) => member,
        Problem::Regex { .. } => "regex",
    };
    Err((key, Complaint::new(problem.to_string())))
}

/// The names that a short form lists at `at`, which `list` makes rules of.
pub(super) fn names(
    raw: Vec<raw::Text<types::AnchoredPattern>>,
    at: &KeyPath,
    context: &mut Context<'_>,
    list: fn(Vec<String>) -> Lists,
) -> Vec<String> {
    let compile = |patterns: Vec<String>| -> Result<Rules, Problem> {
        Rules::new(&list(patterns).rules()?).map_err(|error| error.problem)
    };
    let patterns: Vec<String> = raw.into_iter().map(|pattern| pattern.0.0).collect();
    let mut is_good = true;
    for (index, pattern) in patterns.iter().enumerate() {
        if let Err(problem) = compile(vec![pattern.clone()]) {
            context.error(&at.index(index), Complaint::new(problem.to_string()));
            is_good = false;
        }
    }
    // Each may be good, and all together too large.
    if is_good && patterns.len() > 1 && compile(patterns.clone()).is_err() {
        let complaint =
            Complaint::new("these expressions take too much memory together when they are compiled");
        context.error(at, complaint.help("make them smaller, or spread them over more than one stage"));
    }
    patterns
}
