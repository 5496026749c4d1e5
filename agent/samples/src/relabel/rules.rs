//! Rules, compiled, and their application to a label set.

use std::num::NonZeroU64;
use std::sync::Arc;

use md5::{Digest as _, Md5};

use super::letters::{lowercase, uppercase};
use super::re2::Pattern;
use super::rule::{Action, Problem, Rule, RuleError};
use super::template::{Template, TooLong};
use super::{MAX_RULES, MAX_WRITTEN_BYTES};
use crate::labels::LabelsBuilder;

/// Compiled rules, to be applied in their order. A copy costs a count.
#[derive(Clone, Debug, Default)]
pub struct Rules(Arc<[Compiled]>);

#[derive(Debug)]
struct Compiled {
    source_labels: Vec<String>,
    separator: String,
    work: Work,
}

/// What is done, with what is needed for it.
#[derive(Debug)]
enum Work {
    Replace { pattern: Pattern, target: Template, replacement: Template },
    Keep(Pattern),
    Drop(Pattern),
    KeepEqual(String),
    DropEqual(String),
    HashMod { modulus: NonZeroU64, target: String },
    LabelMap { pattern: Pattern, replacement: Template },
    LabelDrop(Pattern),
    LabelKeep(Pattern),
    Lowercase(String),
    Uppercase(String),
}

/// Labels while rules are applied to them.
struct Working<'a> {
    labels: &'a mut LabelsBuilder,
    /// How many labels at the front were there before, and were not written since. Those written lie behind them in the order
    /// of their first writing: in this order [`Action::LabelMap`] goes through the labels in Prometheus, and where it makes
    /// two labels of one name the last has it.
    untouched: usize,
    /// Bytes that may be written yet.
    room: usize,
}

// === impl Rules ===

impl Rules {
    /// Checks rules and compiles them.
    ///
    /// # Errors
    ///
    /// The first rule that Prometheus would refuse, or whose regular expression this module has no way to compile.
    pub fn new(rules: &[Rule]) -> Result<Rules, RuleError> {
        if rules.len() > MAX_RULES {
            return Err(RuleError { index: MAX_RULES, problem: Problem::TooMany });
        }
        let compiled = rules
            .iter()
            .enumerate()
            .map(|(index, rule)| Compiled::new(rule).map_err(|problem| RuleError { index, problem }));
        Ok(Rules(compiled.collect::<Result<_, _>>()?))
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies the rules to `labels`, and says whether what has them is kept. What they are after a `false` means nothing.
    ///
    /// The labels must be in the order of their names, or in that in which Prometheus would have set them. Labels with `__` at
    /// the front are like others here: a source that finds targets removes them afterwards. Rules that write more than
    /// [`MAX_WRITTEN_BYTES`] to one label set drop it.
    pub fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let mut working = Working { untouched: labels.len(), labels, room: MAX_WRITTEN_BYTES };
        self.0.iter().all(|rule| rule.apply(&mut working).unwrap_or(false))
    }
}

// === impl Compiled ===

impl Compiled {
    fn new(rule: &Rule) -> Result<Compiled, Problem> {
        rule.check()?;
        let pattern = || compile(&rule.regex);
        let target = || rule.target_label.clone();
        let work = match rule.action {
            Action::Replace => {
                let pattern = pattern()?;
                let target = Template::new(&rule.target_label, &pattern);
                Work::Replace { target, replacement: Template::new(&rule.replacement, &pattern), pattern }
            }
            Action::Keep => Work::Keep(pattern()?),
            Action::Drop => Work::Drop(pattern()?),
            Action::KeepEqual => Work::KeepEqual(target()),
            Action::DropEqual => Work::DropEqual(target()),
            Action::HashMod => {
                pattern()?;
                let missing = Problem::Missing(rule.action, "modulus");
                Work::HashMod { modulus: NonZeroU64::new(rule.modulus).ok_or(missing)?, target: target() }
            }
            Action::LabelMap => {
                let pattern = pattern()?;
                Work::LabelMap { replacement: Template::new(&rule.replacement, &pattern), pattern }
            }
            Action::LabelDrop => Work::LabelDrop(pattern()?),
            Action::LabelKeep => Work::LabelKeep(pattern()?),
            Action::Lowercase => {
                pattern()?;
                Work::Lowercase(target())
            }
            Action::Uppercase => {
                pattern()?;
                Work::Uppercase(target())
            }
        };
        Ok(Compiled { source_labels: rule.source_labels.clone(), separator: rule.separator.clone(), work })
    }

    /// Whether what has the labels is kept.
    fn apply(&self, working: &mut Working<'_>) -> Result<bool, TooLong> {
        match &self.work {
            Work::Replace { pattern, target, replacement } => {
                replace(working, &self.values(working), (pattern, target, replacement))?;
            }
            Work::Keep(pattern) => return Ok(pattern.is_match(&self.values(working))),
            Work::Drop(pattern) => return Ok(!pattern.is_match(&self.values(working))),
            Work::KeepEqual(target) => return Ok(working.labels.get(target) == self.values(working)),
            Work::DropEqual(target) => return Ok(working.labels.get(target) != self.values(working)),
            Work::HashMod { modulus, target } => {
                let rest = digest(&self.values(working)) % modulus.get();
                working.set(target, &rest.to_string())?;
            }
            Work::LabelMap { pattern, replacement } => map_labels(working, pattern, replacement)?,
            Work::LabelDrop(pattern) => working.retain(|name| !pattern.is_match(name)),
            Work::LabelKeep(pattern) => working.retain(|name| pattern.is_match(name)),
            Work::Lowercase(target) => working.set(target, &lowercase(&self.values(working)))?,
            Work::Uppercase(target) => working.set(target, &uppercase(&self.values(working)))?,
        }
        Ok(true)
    }

    /// The values of the source labels with the separator between them.
    fn values(&self, working: &Working<'_>) -> String {
        let mut values = String::new();
        for (index, name) in self.source_labels.iter().enumerate() {
            if index > 0 {
                values.push_str(&self.separator);
            }
            values.push_str(working.labels.get(name));
        }
        values
    }
}

// === impl Working ===

impl Working<'_> {
    fn set(&mut self, name: &str, value: &str) -> Result<(), TooLong> {
        self.room = self.room.checked_sub(name.len() + value.len()).ok_or(TooLong)?;
        if self.labels.iter().take(self.untouched).any(|(known, _)| known == name) {
            self.labels.remove(name);
            self.untouched -= 1;
        }
        self.labels.set(name, value);
        Ok(())
    }

    fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        let (mut at, mut kept, untouched) = (0, 0, self.untouched);
        self.labels.retain(|name, _| {
            let keep = wanted(name);
            kept += usize::from(keep && at < untouched);
            at += 1;
            keep
        });
        self.untouched = kept;
    }
}

fn replace(
    working: &mut Working<'_>,
    values: &str,
    (pattern, target, replacement): (&Pattern, &Template, &Template),
) -> Result<(), TooLong> {
    let Some(captures) = pattern.regex.captures(values) else { return Ok(()) };
    let mut value = String::new();
    replacement.expand(&captures, &mut value)?;
    if let Some(name) = target.as_text() {
        return working.set(name, &value);
    }
    let mut name = String::new();
    target.expand(&captures, &mut name)?;
    // A name that came out as nothing is none, and then the rule does nothing.
    if name.is_empty() { Ok(()) } else { working.set(&name, &value) }
}

fn map_labels(working: &mut Working<'_>, pattern: &Pattern, replacement: &Template) -> Result<(), TooLong> {
    let mut copies = Vec::new();
    for (name, value) in
        working.labels.iter().filter(|(name, value)| !value.is_empty() && pattern.is_match(name))
    {
        copies.push((replace_all(name, pattern, replacement)?, value.to_owned()));
    }
    for (name, value) in copies {
        working.set(&name, &value)?;
    }
    Ok(())
}

/// A name with all matches replaced: more than one only where the expression leads out of its anchors, as `a)|(b` does.
fn replace_all(name: &str, pattern: &Pattern, replacement: &Template) -> Result<String, TooLong> {
    let (mut out, mut end) = (String::new(), 0);
    for captures in pattern.regex.captures_iter(name) {
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(name.get(end..whole.start()).unwrap_or_default());
        replacement.expand(&captures, &mut out)?;
        end = whole.end();
    }
    out.push_str(name.get(end..).unwrap_or_default());
    Ok(out)
}

/// The second half of MD5, as Prometheus takes it.
fn digest(text: &str) -> u64 {
    let digest = Md5::digest(text.as_bytes());
    digest.iter().skip(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

pub(super) fn compile(expression: &str) -> Result<Pattern, Problem> {
    Pattern::new(expression).map_err(|reason| Problem::Regex { expression: expression.to_owned(), reason })
}
