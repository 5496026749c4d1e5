//! Keywords that need nothing but the value in front of them.

use serde_json::{Map, Number, Value};

type Members = Map<String, Value>;

/// Keywords that are checked.
pub(super) const ASSERTIONS: [&str; 38] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "then",
    "type",
    "uniqueItems",
    "$defs",
    "definitions",
];

/// Keywords that say something and ask for nothing. `format` is one by the standard's default.
pub(super) const ANNOTATIONS: [&str; 15] = [
    "$anchor",
    "$comment",
    "$id",
    "$schema",
    "$vocabulary",
    "contentEncoding",
    "contentMediaType",
    "default",
    "deprecated",
    "description",
    "examples",
    "format",
    "readOnly",
    "title",
    "writeOnly",
];

pub(super) fn of_any(members: &Members, value: &Value, say: &mut impl FnMut(String)) {
    match members.get("type") {
        Some(Value::String(name)) if !is_of(name, value) => say(format!("must be {}", article(name))),
        Some(Value::Array(names)) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            if !names.iter().any(|name| is_of(name, value)) {
                say(format!("must be one of {}", names.join(", ")));
            }
        }
        _ => {}
    }
    if let Some(Value::Array(allowed)) = members.get("enum")
        && !allowed.iter().any(|one| same(one, value))
    {
        let texts: Vec<String> = allowed.iter().map(Value::to_string).collect();
        say(format!("must be one of {}", texts.join(", ")));
    }
    if let Some(only) = members.get("const")
        && !same(only, value)
    {
        say(format!("must be {only}"));
    }
}

pub(super) fn of_number(members: &Members, number: &Number, say: &mut impl FnMut(String)) {
    let Some(value) = number.as_f64() else { return };
    let bound = |name: &str| members.get(name).filter(|bound| bound.is_number());
    let float = |bound: &Value| bound.as_f64().unwrap_or(f64::NAN);
    if let Some(bound) = bound("minimum").filter(|bound| value < float(bound)) {
        say(format!("must be at least {bound}"));
    }
    if let Some(bound) = bound("maximum").filter(|bound| value > float(bound)) {
        say(format!("must be at most {bound}"));
    }
    if let Some(bound) = bound("exclusiveMinimum").filter(|bound| value <= float(bound)) {
        say(format!("must be more than {bound}"));
    }
    if let Some(bound) = bound("exclusiveMaximum").filter(|bound| value >= float(bound)) {
        say(format!("must be less than {bound}"));
    }
    if let Some(step) = bound("multipleOf").filter(|step| float(step) > 0.0) {
        let times = value / float(step);
        // 0.3 / 0.1 is not 3 in binary.
        if (times - times.round()).abs() > 1e-9 * times.abs().max(1.0) {
            say(format!("must be a multiple of {step}"));
        }
    }
}

pub(super) fn of_string(members: &Members, text: &str, say: &mut impl FnMut(String)) {
    let length = text.chars().count() as u64;
    if let Some(least) = count(members, "minLength").filter(|least| length < *least) {
        say(format!("must have at least {least} characters"));
    }
    if let Some(most) = count(members, "maxLength").filter(|most| length > *most) {
        say(format!("must have at most {most} characters"));
    }
}

pub(super) fn of_array(members: &Members, items: &[Value], say: &mut impl FnMut(String)) {
    let length = items.len() as u64;
    if let Some(least) = count(members, "minItems").filter(|least| length < *least) {
        say(format!("must have at least {least} entries"));
    }
    if let Some(most) = count(members, "maxItems").filter(|most| length > *most) {
        say(format!("must have at most {most} entries"));
    }
    let is_unique = members.get("uniqueItems") != Some(&Value::Bool(true));
    // Entries of the same text are the same; `1` and `1.0` are not told apart by anybody's schema.
    let mut seen = std::collections::HashSet::new();
    if !is_unique && !items.iter().all(|item| seen.insert(item.to_string())) {
        say("must not have an entry twice".to_owned());
    }
}

pub(super) fn of_object(members: &Members, entries: &Members, say: &mut impl FnMut(String)) {
    let length = entries.len() as u64;
    if let Some(least) = count(members, "minProperties").filter(|least| length < *least) {
        say(format!("must have at least {least} keys"));
    }
    if let Some(most) = count(members, "maxProperties").filter(|most| length > *most) {
        say(format!("must have at most {most} keys"));
    }
    for name in names(members.get("required")).filter(|name| !entries.contains_key(*name)) {
        say(format!("the key `{name}` is missing"));
    }
    let dependent = members.get("dependentRequired").and_then(Value::as_object);
    for (key, needed) in dependent.into_iter().flatten().filter(|(key, _)| entries.contains_key(*key)) {
        for name in names(Some(needed)).filter(|name| !entries.contains_key(*name)) {
            say(format!("the key `{name}` is missing, which `{key}` needs"));
        }
    }
}

fn count(members: &Members, name: &str) -> Option<u64> {
    members.get(name).and_then(Value::as_u64)
}

fn names(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// Numbers are equal by their value: `1` and `1.0` are.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

fn article(name: &str) -> String {
    match name {
        "null" => "null".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        "object" => "a map".to_owned(),
        other => format!("a {other}"),
    }
}
