//! Whether a configuration fits the JSON Schema (draft 2020-12) of a manifest.
//!
//! What holds for it, and what general libraries do not promise:
//! 1. A schema comes from a stranger. It costs a bounded number of steps and a bounded depth, whatever references it has;
//!    patterns are matched in linear time; no reference leads out of the schema.
//! 2. A configuration holds secrets by now. No message quotes a value of it, only where it is and what was asked of it.
//! 3. A keyword that is an assertion and not known here is an error, so that no schema seems to be checked and is not.

use regex::RegexBuilder;
use serde_json::{Map, Value};

use keyword::{ANNOTATIONS, ASSERTIONS};

mod keyword;
mod pointer;

/// Looked at subschemas, over the whole check. A configuration of a thousand entries needs some ten thousand.
const MAX_STEPS: u32 = 1_000_000;
/// Subschemas within each other, references included.
const MAX_DEPTH: u32 = 128;
/// Told at once; more would hide the first.
const MAX_PROBLEMS: usize = 16;
/// What making a pattern ready costs beside a look at a subschema.
const STEPS_PER_PATTERN: u32 = 100;
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// What is wrong with a configuration, or with the schema itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaProblem {
    /// The path in the configuration, as `rates.info` or `redact[0].field`; empty for the whole.
    pub path: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl std::fmt::Display for SchemaProblem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.as_str() {
            "" => write!(formatter, "{}", self.problem),
            path => write!(formatter, "{path}: {}", self.problem),
        }
    }
}

/// The problems of `config` under `schema`; none if it fits.
pub fn check_config(schema: &Value, config: &Value) -> Vec<SchemaProblem> {
    let mut checker = Checker { root: schema, steps: 0, stopped: None };
    let mut problems = Vec::new();
    checker.check(schema, config, &Place::Top, 0, &mut problems);
    if let Some(problem) = checker.stopped {
        return vec![SchemaProblem { path: String::new(), problem }];
    }
    problems.truncate(MAX_PROBLEMS);
    problems
}

/// Where in the configuration; written out only when something is wrong there.
#[derive(Clone, Copy)]
enum Place<'a> {
    Top,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

struct Checker<'s> {
    root: &'s Value,
    steps: u32,
    /// Why nothing can be said: the fault is the schema's.
    stopped: Option<String>,
}

// === impl Place ===

impl Place<'_> {
    fn write(&self) -> String {
        match self {
            Place::Top => String::new(),
            Place::Member(Place::Top, name) => (*name).to_owned(),
            Place::Member(parent, name) => format!("{}.{name}", parent.write()),
            Place::Item(parent, at) => format!("{}[{at}]", parent.write()),
        }
    }
}

// === impl Checker ===

impl<'s> Checker<'s> {
    fn check(
        &mut self,
        schema: &'s Value,
        value: &Value,
        place: &Place<'_>,
        depth: u32,
        problems: &mut Vec<SchemaProblem>,
    ) {
        self.steps += 1;
        if self.steps > MAX_STEPS || depth > MAX_DEPTH {
            self.stop(
                "config_schema of the manifest takes too long to check: it refers to itself in circles",
            );
        }
        if self.stopped.is_some() {
            return;
        }
        let members = match schema {
            Value::Bool(true) => return,
            Value::Object(members) => members,
            Value::Bool(false) => return tell(problems, place, "must not be given".to_owned()),
            _ => return self.stop("config_schema of the manifest has a subschema that is no object"),
        };
        if let Some(name) = members.keys().find(|name| !is_known(name)) {
            return self
                .stop(&format!("config_schema of the manifest says `{name}`, which is not known here"));
        }
        let mut say = |problem: String| tell(problems, place, problem);
        keyword::of_any(members, value, &mut say);
        match value {
            Value::Number(number) => keyword::of_number(members, number, &mut say),
            Value::String(text) => {
                keyword::of_string(members, text, &mut say);
                self.pattern(members, text, place, problems);
            }
            Value::Array(items) => self.array(members, items, place, depth, problems),
            Value::Object(entries) => self.object(members, entries, place, depth, problems),
            Value::Null | Value::Bool(_) => {}
        }
        self.combined(members, value, place, depth, problems);
    }

    /// Whether a value fits, without saying what is wrong.
    fn fits(&mut self, schema: &'s Value, value: &Value, depth: u32) -> bool {
        let mut problems = Vec::new();
        self.check(schema, value, &Place::Top, depth + 1, &mut problems);
        problems.is_empty()
    }

    fn pattern(
        &mut self,
        members: &'s Map<String, Value>,
        text: &str,
        place: &Place<'_>,
        problems: &mut Vec<SchemaProblem>,
    ) {
        let Some(pattern) = members.get("pattern").and_then(Value::as_str) else { return };
        if self.matches(pattern, text) == Some(false) {
            tell(problems, place, format!("must match the pattern {pattern}"));
        }
    }

    fn matches(&mut self, pattern: &str, text: &str) -> Option<bool> {
        self.steps = self.steps.saturating_add(STEPS_PER_PATTERN);
        let built = RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build();
        if built.is_err() {
            self.stop(&format!("config_schema of the manifest has a pattern that is none: {pattern}"));
        }
        built.ok().map(|regex| regex.is_match(text))
    }

    fn array(
        &mut self,
        members: &'s Map<String, Value>,
        items: &[Value],
        place: &Place<'_>,
        depth: u32,
        problems: &mut Vec<SchemaProblem>,
    ) {
        keyword::of_array(members, items, &mut |problem| tell(problems, place, problem));
        let prefix = members.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (at, item) in items.iter().enumerate() {
            if let Some(schema) = prefix.get(at).or_else(|| members.get("items")) {
                self.check(schema, item, &Place::Item(place, at), depth + 1, problems);
            }
        }
        if let Some(schema) = members.get("contains") {
            let count = items.iter().filter(|item| self.fits(schema, item, depth)).count() as u64;
            let least = members.get("minContains").and_then(Value::as_u64).unwrap_or(1);
            let most = members.get("maxContains").and_then(Value::as_u64).unwrap_or(u64::MAX);
            if !(least..=most).contains(&count) {
                tell(problems, place, format!("has {count} entries of the kind that is asked for"));
            }
        }
    }

    fn object(
        &mut self,
        members: &'s Map<String, Value>,
        entries: &Map<String, Value>,
        place: &Place<'_>,
        depth: u32,
        problems: &mut Vec<SchemaProblem>,
    ) {
        keyword::of_object(members, entries, &mut |problem| tell(problems, place, problem));
        let properties = members.get("properties").and_then(Value::as_object);
        let patterns = members.get("patternProperties").and_then(Value::as_object);
        for (name, value) in entries {
            let below = Place::Member(place, name);
            if let Some(names) = members.get("propertyNames")
                && !self.fits(names, &Value::from(name.as_str()), depth)
            {
                tell(problems, &below, "is a name that must not be used here".to_owned());
            }
            let own = properties.and_then(|properties| properties.get(name));
            let mut is_described = own.is_some();
            if let Some(schema) = own {
                self.check(schema, value, &below, depth + 1, problems);
            }
            for (pattern, schema) in patterns.into_iter().flatten() {
                if self.matches(pattern, name) == Some(true) {
                    is_described = true;
                    self.check(schema, value, &below, depth + 1, problems);
                }
            }
            match members.get("additionalProperties") {
                Some(Value::Bool(false)) if !is_described => {
                    tell(problems, &below, unknown_key(properties));
                }
                Some(schema) if !is_described => self.check(schema, value, &below, depth + 1, problems),
                _ => {}
            }
        }
        for (name, schema) in members.get("dependentSchemas").and_then(Value::as_object).into_iter().flatten()
        {
            if entries.contains_key(name) {
                self.check(schema, &Value::Object(entries.clone()), place, depth + 1, problems);
            }
        }
    }

    fn combined(
        &mut self,
        members: &'s Map<String, Value>,
        value: &Value,
        place: &Place<'_>,
        depth: u32,
        problems: &mut Vec<SchemaProblem>,
    ) {
        if let Some(reference) = members.get("$ref") {
            match reference.as_str().and_then(|reference| pointer::find(self.root, reference)) {
                Some(schema) => self.check(schema, value, place, depth + 1, problems),
                None => self
                    .stop(&format!("config_schema of the manifest refers to {reference}, which it has not")),
            }
        }
        let list = |name: &str| members.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for schema in list("allOf") {
            self.check(schema, value, place, depth + 1, problems);
        }
        if members.contains_key("anyOf")
            && !list("anyOf").iter().any(|schema| self.fits(schema, value, depth))
        {
            tell(problems, place, "is none of the forms that it may have".to_owned());
        }
        if members.contains_key("oneOf") {
            let count = list("oneOf").iter().filter(|schema| self.fits(schema, value, depth)).count();
            if count != 1 {
                tell(
                    problems,
                    place,
                    format!("must have exactly one of the forms that are asked for, not {count}"),
                );
            }
        }
        if let Some(schema) = members.get("not")
            && self.fits(schema, value, depth)
        {
            tell(problems, place, "has a form that is excluded".to_owned());
        }
        if let Some(condition) = members.get("if") {
            let branch = if self.fits(condition, value, depth) { "then" } else { "else" };
            if let Some(schema) = members.get(branch) {
                self.check(schema, value, place, depth + 1, problems);
            }
        }
    }

    fn stop(&mut self, why: &str) {
        self.stopped.get_or_insert_with(|| why.to_owned());
    }
}

fn is_known(name: &str) -> bool {
    ANNOTATIONS.contains(&name) || ASSERTIONS.contains(&name) || name.starts_with("x-")
}

fn unknown_key(properties: Option<&Map<String, Value>>) -> String {
    let names: Vec<&str> = properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    match names.as_slice() {
        [] => "unknown key; there are none".to_owned(),
        names => format!("unknown key; there are {}", names.join(", ")),
    }
}

fn tell(problems: &mut Vec<SchemaProblem>, place: &Place<'_>, problem: String) {
    if problems.len() <= MAX_PROBLEMS {
        problems.push(SchemaProblem { path: place.write(), problem });
    }
}

#[cfg(test)]
mod tests;
