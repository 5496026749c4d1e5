//! The JSON Schema, as it is published.

use serde_json::Value;

use crate::common;

#[test]
fn the_schema_is_the_one_that_is_kept() {
    let schema = serde_json::to_string_pretty(&weir_config::schema()).unwrap() + "\n";
    common::assert_kept("schema.json", &schema);
}

/// The check of a configuration knows a part of JSON Schema; a keyword beyond it would be ignored without notice.
#[test]
fn the_schema_says_only_what_the_check_understands() {
    let known = [
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "const",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maximum",
        "minItems",
        "minimum",
        "oneOf",
        "pattern",
        "patternProperties",
        "properties",
        "required",
        "title",
        "type",
        "writeOnly",
    ];
    let mut unknown = Vec::new();
    each_schema(&weir_config::schema(), &mut |schema| {
        unknown.extend(schema.keys().filter(|key| !known.contains(&key.as_str())).cloned());
        let is_object = schema.get("type").and_then(Value::as_str) == Some("object");
        assert!(!is_object || schema.get("additionalProperties") == Some(&Value::Bool(false)), "{schema:?}");
    });
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn every_key_is_described() {
    let schema = weir_config::schema();
    each_schema(&schema, &mut |object| {
        let tag = object.get("properties").and_then(|all| all.get("type"));
        let properties = object.get("properties").and_then(Value::as_object).into_iter().flatten();
        for (key, property) in properties.filter(|(_, property)| Some(*property) != tag) {
            let of_definition = common::resolve(&schema, property).get("description");
            assert!(property.get("description").or(of_definition).is_some(), "{key} has no description");
        }
    });
}

/// Calls `visit` with every schema inside a schema.
fn each_schema(schema: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    let Some(object) = schema.as_object() else { return };
    visit(object);
    for (key, value) in object {
        match key.as_str() {
            "$defs" | "properties" | "patternProperties" => {
                value.as_object().unwrap().values().for_each(|inner| each_schema(inner, visit));
            }
            "oneOf" => value.as_array().unwrap().iter().for_each(|inner| each_schema(inner, visit)),
            "items" => each_schema(value, visit),
            _ => {}
        }
    }
}
