//! One rule of relabelling as a configuration spells it, and what may be wrong with it.

use std::fmt;
use std::str::FromStr;

/// The regular expression where none is given.
pub const DEFAULT_REGEX: &str = "(.*)";
/// The replacement where none is given.
pub const DEFAULT_REPLACEMENT: &str = "$1";
/// What stands between the values of source labels where nothing else is said.
pub const DEFAULT_SEPARATOR: &str = ";";

/// A rule, spelled as Prometheus' `relabel_config`. Its default has Prometheus' defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The labels whose values, joined by [`Rule::separator`], are looked at.
    pub source_labels: Vec<String>,
    /// What stands between these values. Default `;`.
    pub separator: String,
    /// A regular expression in RE2's syntax that the joined values (or a label's name) must match as a whole. Default `(.*)`.
    pub regex: String,
    /// By what [`Action::HashMod`] divides.
    pub modulus: u64,
    /// The label that is written. [`Action::Replace`] takes references to groups in it.
    pub target_label: String,
    /// What is written, with references to groups: `$1`, `${1}`, `$name`, `${name}`. Default `$1`.
    pub replacement: String,
    /// What is done. Default [`Action::Replace`].
    pub action: Action,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// Writes the replacement to the target label where the values match.
    #[default]
    Replace,
    /// Drops what does not match.
    Keep,
    /// Drops what matches.
    Drop,
    /// Drops where the values differ from the target label.
    KeepEqual,
    /// Drops where the values equal the target label.
    DropEqual,
    /// Writes MD5 of the values, modulo a number, to the target label.
    HashMod,
    /// Copies labels whose names match to the names that the replacement says.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
    /// Writes the values in lower case to the target label.
    Lowercase,
    /// Writes the values in upper case to the target label.
    Uppercase,
}

/// A rule that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule} of relabelling: {problem}", rule = .index + 1)]
pub struct RuleError {
    /// Which rule, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no such action.
    #[error(
        "unknown action {0:?}; there are replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase and uppercase"
    )]
    UnknownAction(String),
    /// An action misses a member.
    #[error("action {0} requires {1:?}")]
    Missing(Action, &'static str),
    /// An action has a member that it does not take.
    #[error("action {0} does not take {1:?}; remove it")]
    Forbidden(Action, &'static str),
    /// A label's name is empty.
    #[error("{0:?} has the empty name of a label")]
    EmptyName(&'static str),
    /// A regular expression that does not compile.
    #[error("the regular expression {expression:?} is not valid: {reason}")]
    Regex {
        /// The expression as it is in the configuration.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More rules than [`super::MAX_RULES`].
    #[error("there are more than {} rules; remove some", super::MAX_RULES)]
    TooMany,
}

// === impl Rule ===

impl Default for Rule {
    fn default() -> Rule {
        Rule {
            source_labels: Vec::new(),
            separator: DEFAULT_SEPARATOR.to_owned(),
            regex: DEFAULT_REGEX.to_owned(),
            modulus: 0,
            target_label: String::new(),
            replacement: DEFAULT_REPLACEMENT.to_owned(),
            action: Action::Replace,
        }
    }
}

impl Rule {
    /// Whether all members are there that the action needs, and none that it does not take; the regular expression is not
    /// looked at.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let action = self.action;
        if self.source_labels.iter().any(String::is_empty) {
            return Err(Problem::EmptyName("source_labels"));
        }
        if action == Action::HashMod && self.modulus == 0 {
            return Err(Problem::Missing(action, "modulus"));
        }
        if action.writes_target() && self.target_label.is_empty() {
            return Err(Problem::Missing(action, "target_label"));
        }
        if action == Action::LabelMap && self.replacement.is_empty() {
            return Err(Problem::EmptyName("replacement"));
        }
        let forbidden: &[&'static str] = match action {
            Action::Lowercase | Action::Uppercase => &["replacement"],
            Action::KeepEqual | Action::DropEqual => &["regex", "modulus", "separator", "replacement"],
            Action::LabelDrop | Action::LabelKeep => {
                &["source_labels", "target_label", "modulus", "separator", "replacement"]
            }
            _ => &[],
        };
        match forbidden.iter().find(|member| self.is_set(member)) {
            Some(member) => Err(Problem::Forbidden(action, member)),
            None => Ok(()),
        }
    }

    /// Whether a member differs from its default.
    fn is_set(&self, member: &str) -> bool {
        match member {
            "source_labels" => !self.source_labels.is_empty(),
            "separator" => self.separator != DEFAULT_SEPARATOR,
            "regex" => self.regex != DEFAULT_REGEX,
            "modulus" => self.modulus != 0,
            "target_label" => !self.target_label.is_empty(),
            _ => self.replacement != DEFAULT_REPLACEMENT,
        }
    }
}

// === impl Action ===

impl Action {
    /// All of them.
    pub const ALL: [Action; 11] = [
        Action::Replace,
        Action::Keep,
        Action::Drop,
        Action::KeepEqual,
        Action::DropEqual,
        Action::HashMod,
        Action::LabelMap,
        Action::LabelDrop,
        Action::LabelKeep,
        Action::Lowercase,
        Action::Uppercase,
    ];

    /// As a configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::KeepEqual => "keepequal",
            Action::DropEqual => "dropequal",
            Action::HashMod => "hashmod",
            Action::LabelMap => "labelmap",
            Action::LabelDrop => "labeldrop",
            Action::LabelKeep => "labelkeep",
            Action::Lowercase => "lowercase",
            Action::Uppercase => "uppercase",
        }
    }

    /// Whether a rule with this action needs a target label.
    fn writes_target(self) -> bool {
        !matches!(
            self,
            Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep
        )
    }
}

impl FromStr for Action {
    type Err = Problem;

    /// Reads an action's name, in any case.
    fn from_str(text: &str) -> Result<Action, Problem> {
        let name = super::letters::lowercase(text);
        let known = Action::ALL.into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| Problem::UnknownAction(text.to_owned()))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_read_in_any_case_and_written_in_lower() {
        for action in Action::ALL {
            let name = action.name();
            assert_eq!(name.to_uppercase().parse(), Ok(action));
            assert_eq!(action.to_string(), name);
        }
        assert_eq!("".parse::<Action>(), Err(Problem::UnknownAction(String::new())));
        let text = "mangle".parse::<Action>().unwrap_err().to_string();
        assert!(text.starts_with("unknown action \"mangle\"; there are replace"), "{text}");
    }

    #[test]
    fn members_are_checked_by_action() {
        let rule = |action: &str, change: fn(&mut Rule)| {
            let mut rule = Rule { action: action.parse().unwrap(), ..Rule::default() };
            change(&mut rule);
            rule.check().map_err(|problem| problem.to_string())
        };
        let target = |rule: &mut Rule| rule.target_label = "a".into();
        for action in ["replace", "keepequal", "dropequal", "lowercase", "uppercase"] {
            assert_eq!(rule(action, |_| ()), Err(format!("action {action} requires \"target_label\"")));
            assert_eq!(rule(action, target), Ok(()));
        }
        for action in ["keep", "drop", "labelmap", "labeldrop", "labelkeep"] {
            assert_eq!(rule(action, |_| ()), Ok(()));
        }
        assert_eq!(rule("hashmod", target), Err("action hashmod requires \"modulus\"".into()));
        assert_eq!(
            rule("hashmod", |rule| rule.modulus = 1),
            Err("action hashmod requires \"target_label\"".into())
        );
        for action in ["labeldrop", "labelkeep"] {
            let forbidden = |member| Err(format!("action {action} does not take {member:?}; remove it"));
            assert_eq!(rule(action, target), forbidden("target_label"));
            assert_eq!(rule(action, |rule| rule.source_labels.push("a".into())), forbidden("source_labels"));
            assert_eq!(rule(action, |rule| rule.separator.clear()), forbidden("separator"));
            assert_eq!(rule(action, |rule| rule.modulus = 2), forbidden("modulus"));
            assert_eq!(rule(action, |rule| rule.replacement.clear()), forbidden("replacement"));
            assert_eq!(rule(action, |rule| rule.regex = "a".into()), Ok(()));
        }
        let with = |change: fn(&mut Rule)| {
            let mut rule = Rule { action: Action::KeepEqual, target_label: "a".into(), ..Rule::default() };
            change(&mut rule);
            rule.check().is_ok()
        };
        assert!(!with(|rule| rule.regex.clear()));
        assert!(!with(|rule| rule.modulus = 7));
        assert!(!with(|rule| rule.separator.clear()));
        assert!(!with(|rule| rule.replacement.clear()));
        assert!(with(|rule| rule.source_labels.push("a".into())));
        assert!(rule("keep", |rule| rule.source_labels.push(String::new())).is_err());
        assert!(rule("labelmap", |rule| rule.replacement.clear()).is_err());
    }
}
