//! Whether a plan that a plugin answered with makes sense in itself. Whether it is allowed is the manifest's
//! question.

use std::collections::HashSet;

use weir_event::stream::ATTRIBUTE_NAMES;
use weir_event::transform::{Edit, Plan};
use weir_manifest::check_path;

use crate::fault::capped;
use crate::json;

/// Verdicts are bytes, and 0 keeps.
const MAX_REASONS: usize = 255;
/// Reads, and writes. Each is a column or a look-up for every event.
const MAX_PATHS: usize = 256;
const MAX_EDITS: usize = 1024;
/// A reason's name becomes the label of a metric.
const MAX_REASON_BYTES: usize = 64;

/// Everything that is wrong with the plan, for the operator.
pub(crate) fn problems(plan: &Plan) -> Vec<String> {
    let mut problems = Vec::new();
    check_paths("reads", &plan.reads, &mut problems);
    check_paths("writes", &plan.writes, &mut problems);
    check_attributes(&plan.attributes, &mut problems);
    check_reasons(plan, &mut problems);
    check_edits(&plan.edits, &mut problems);
    problems
}

fn check_paths(what: &str, paths: &[String], problems: &mut Vec<String>) {
    if paths.len() > MAX_PATHS {
        problems.push(format!("{what} has {} paths, more than {MAX_PATHS}", paths.len()));
        return;
    }
    for path in paths {
        if let Err(error) = check_path(path) {
            problems.push(format!("{what} has `{}`: {error}", capped(path)));
        }
    }
    check_unique(what, paths.iter().map(String::as_str), problems);
}

fn check_attributes(attributes: &[String], problems: &mut Vec<String>) {
    for name in attributes.iter().take(MAX_PATHS) {
        if !ATTRIBUTE_NAMES.contains(&name.as_str()) {
            let known = ATTRIBUTE_NAMES.join(", ");
            problems.push(format!("`{}` is no attribute of a stream; there are {known}", capped(name)));
        }
    }
    check_unique("attributes", attributes.iter().map(String::as_str).take(MAX_PATHS), problems);
}

fn check_reasons(plan: &Plan, problems: &mut Vec<String>) {
    if plan.reasons.len() > MAX_REASONS {
        problems.push(format!("there are {} reasons, more than {MAX_REASONS}", plan.reasons.len()));
        return;
    }
    for reason in &plan.reasons {
        let name = &reason.name;
        if name.is_empty() || name.len() > MAX_REASON_BYTES || name.chars().any(char::is_control) {
            problems
                .push(format!("the reason `{}` needs a name of 1 to {MAX_REASON_BYTES} bytes", capped(name)));
        }
    }
    check_unique("reasons", plan.reasons.iter().map(|reason| reason.name.as_str()), problems);
}

fn check_edits(edits: &[Edit], problems: &mut Vec<String>) {
    if edits.len() > MAX_EDITS {
        problems.push(format!("there are {} edits, more than {MAX_EDITS}", edits.len()));
        return;
    }
    for edit in edits {
        if let Err(problem) = check_edit(edit) {
            problems.push(format!("an edit is wrong: {problem}"));
        }
    }
}

/// Whether an edit, of a plan or of a patch, can be applied.
pub(crate) fn check_edit(edit: &Edit) -> Result<(), String> {
    let path = |path: &String| check_path(path).map_err(|error| format!("`{}`: {error}", capped(path)));
    let member = |name: &String| match name == weir_manifest::EVERYTHING {
        true => Err(format!("`{name}` names the whole event, not a member")),
        false => path(name),
    };
    match edit {
        Edit::Remove(target) => member(target),
        Edit::Rename(from, to) => member(from).and_then(|()| member(to)),
        Edit::KeepOnly(paths) if paths.len() > MAX_PATHS => {
            Err(format!("keep-only has more than {MAX_PATHS} paths"))
        }
        Edit::KeepOnly(paths) => paths.iter().try_for_each(path),
        Edit::Set(target, value) => {
            member(target)?;
            match json::kind_of(value.as_bytes()) {
                Some(_) => Ok(()),
                None => Err(format!("`{target}` would be set to what is not JSON: {}", capped(value))),
            }
        }
    }
}

fn check_unique<'a>(what: &str, names: impl Iterator<Item = &'a str>, problems: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            problems.push(format!("{what} has `{}` twice", capped(name)));
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_event::transform::{Reason, ReasonClass};

    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn numbered(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("f{number}")).collect()
    }

    fn reasons(names: &[String]) -> Vec<Reason> {
        names.iter().map(|name| Reason { name: name.clone(), class: ReasonClass::Dropped }).collect()
    }

    #[test]
    fn a_plan_up_to_every_limit_is_good() {
        let plan = Plan {
            reads: numbered(MAX_PATHS),
            attributes: strings(&ATTRIBUTE_NAMES),
            writes: strings(&["*"]),
            reasons: reasons(&numbered(MAX_REASONS)),
            edits: vec![Edit::Set("a.b".into(), " {\"c\": 1} ".into()); MAX_EDITS],
        };
        assert_eq!(problems(&plan), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let of = |change: fn(&mut Plan)| {
            let mut plan = Plan::default();
            change(&mut plan);
            problems(&plan)
        };
        type Case = (fn(&mut Plan), &'static str);
        let cases: [Case; 14] = [
            (|p| p.reads = numbered(257), "reads has 257 paths, more than 256"),
            (|p| p.reads = strings(&["a", "a"]), "reads has `a` twice"),
            (|p| p.writes = strings(&["a."]), "writes has `a.`: a path must not have empty parts"),
            (|p| p.writes = vec!["x".repeat(600)], "longer than 256"),
            (|p| p.attributes = strings(&["host"]), "`host` is no attribute of a stream"),
            (|p| p.attributes = strings(&["pod", "pod"]), "attributes has `pod` twice"),
            (|p| p.reasons = reasons(&numbered(256)), "256 reasons, more than 255"),
            (|p| p.reasons = reasons(&strings(&["a", "a"])), "reasons has `a` twice"),
            (|p| p.reasons = reasons(&strings(&[""])), "needs a name"),
            (|p| p.edits = vec![Edit::Remove("a..b".into())], "empty parts"),
            (|p| p.edits = vec![Edit::Remove("*".into())], "names the whole event"),
            (|p| p.edits = vec![Edit::Rename("a".into(), "".into())], "must not be empty"),
            (|p| p.edits = vec![Edit::Set("a".into(), "dev-1".into())], "not JSON: dev-1"),
            (|p| p.edits = vec![Edit::KeepOnly(numbered(257))], "keep-only has more than 256"),
        ];
        for (change, expected) in cases {
            let found = of(change);
            assert!(found.len() == 1 && found[0].contains(expected), "{found:?} should say {expected:?}");
        }
    }
}
