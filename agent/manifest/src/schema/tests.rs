//! Configurations that fit and such that do not, and schemas that are up to no good.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::check_config;

fn told(schema: Value, config: Value) -> Vec<String> {
    check_config(&schema, &config).iter().map(ToString::to_string).collect()
}

#[test]
fn what_fits_is_good() {
    let cases = [
        (json!(true), json!({"any": 1})),
        (json!({}), json!([])),
        (json!({"type": "integer"}), json!(2.0)),
        (json!({"type": ["string", "null"]}), json!(null)),
        (json!({"enum": [1, "a"]}), json!(1.0)),
        (json!({"multipleOf": 0.1}), json!(0.3)),
        (json!({"minLength": 2, "maxLength": 2}), json!("äö")),
        (json!({"pattern": "^[^.]+(\\.[^.]+)*$"}), json!("a.b")),
        (json!({"minLength": 5}), json!(1)),
        (json!({"prefixItems": [{"type": "string"}], "items": {"type": "number"}}), json!(["a", 1])),
        (json!({"contains": {"const": 1}, "maxContains": 1}), json!([1, 2])),
        (json!({"patternProperties": {"^x": {}}, "additionalProperties": false}), json!({"xy": 1})),
        (json!({"additionalProperties": {"type": "number"}}), json!({"a": 1})),
        (json!({"oneOf": [{"type": "string"}, {"type": "number"}]}), json!(1)),
        (json!({"if": {"const": 1}, "then": {"type": "number"}, "else": {"type": "string"}}), json!("a")),
        (json!({"$defs": {"a b": {"type": "number"}}, "items": {"$ref": "#/$defs/a%20b"}}), json!([1])),
        (json!({"$defs": {"a": {"$anchor": "here", "type": "number"}}, "$ref": "#here"}), json!(1)),
        (
            json!({"properties": {"next": {"$ref": "#"}}, "additionalProperties": false}),
            json!({"next": {"next": {}}}),
        ),
        (json!({"dependentRequired": {"a": ["b"]}}), json!({"b": 1})),
        (json!({"x-order": 1, "format": "email"}), json!("nobody")),
    ];
    for (schema, config) in cases {
        let (schema_text, config_text) = (schema.to_string(), config.to_string());
        assert_eq!(told(schema, config), Vec::<String>::new(), "{schema_text} of {config_text}");
    }
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    let properties = json!({"properties": {"rates": {"additionalProperties": {"maximum": 1}}}});
    let cases = [
        (properties, json!({"rates": {"info": 2}}), "rates.info: must be at most 1"),
        (json!({"items": {"required": ["field"]}}), json!([{}]), "[0]: the key `field` is missing"),
        (
            json!({"properties": {"a": {}}, "additionalProperties": false}),
            json!({"b": 1}),
            "b: unknown key; there are a",
        ),
        (json!({"type": "object"}), json!([]), "must be a map"),
        (json!({"type": ["string", "null"]}), json!(1), "must be one of string, null"),
        (json!({"enum": ["a", 1]}), json!("b"), "must be one of \"a\", 1"),
        (json!({"const": "a"}), json!("b"), "must be \"a\""),
        (json!({"minimum": 1}), json!(0), "must be at least 1"),
        (json!({"exclusiveMinimum": 1}), json!(1), "must be more than 1"),
        (json!({"exclusiveMaximum": 1}), json!(1), "must be less than 1"),
        (json!({"multipleOf": 2}), json!(3), "must be a multiple of 2"),
        (json!({"minLength": 3}), json!("äö"), "must have at least 3 characters"),
        (json!({"maxLength": 1}), json!("ab"), "must have at most 1 characters"),
        (json!({"pattern": "^a$"}), json!("b"), "must match the pattern ^a$"),
        (json!({"minItems": 1}), json!([]), "must have at least 1 entries"),
        (json!({"maxItems": 0}), json!([1]), "must have at most 0 entries"),
        (json!({"uniqueItems": true}), json!([1, 1]), "must not have an entry twice"),
        (json!({"contains": {"const": 1}}), json!([2]), "has 0 entries of the kind"),
        (json!({"minProperties": 1}), json!({}), "must have at least 1 keys"),
        (json!({"maxProperties": 0}), json!({"a": 1}), "must have at most 0 keys"),
        (json!({"propertyNames": {"maxLength": 1}}), json!({"ab": 1}), "ab: is a name that must not be used"),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"a": 1}),
            "the key `b` is missing, which `a` needs",
        ),
        (json!({"dependentSchemas": {"a": {"required": ["b"]}}}), json!({"a": 1}), "the key `b` is missing"),
        (json!({"anyOf": [false, {"type": "null"}]}), json!(1), "is none of the forms"),
        (json!({"oneOf": [true, true]}), json!(1), "exactly one of the forms that are asked for, not 2"),
        (json!({"not": {}}), json!(1), "has a form that is excluded"),
        (json!({"allOf": [{"type": "string"}]}), json!(1), "must be a string"),
        (json!({"if": {}, "then": false}), json!(1), "must not be given"),
        (json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}), json!(1), "must be null"),
    ];
    for (schema, config, expected) in cases {
        let text = schema.to_string();
        let told = told(schema, config);
        assert!(told.len() == 1 && told[0].contains(expected), "{text}: {told:?} should say {expected}");
    }
}

#[test]
fn a_value_is_never_quoted() {
    let schema = json!({"properties": {"key": {
        "type": "number", "minLength": 90, "maxLength": 1, "pattern": "^$", "enum": [1], "const": 1, "not": {},
        "anyOf": [false], "oneOf": []}}});
    let told = told(schema, json!({"key": "the secret"}));
    assert!(told.len() >= 8, "{told:?}");
    assert!(told.iter().all(|problem| !problem.contains("secret")), "{told:?}");
}

#[test]
fn a_schema_that_cannot_be_checked_is_told() {
    let cases = [
        (json!({"unevaluatedProperties": false}), "`unevaluatedProperties`, which is not known here"),
        (json!({"$dynamicRef": "#a"}), "`$dynamicRef`"),
        (json!({"$ref": "https://example.com/schema"}), "which it has not"),
        (json!({"$ref": "#/$defs/missing"}), "which it has not"),
        (json!({"$ref": "file:///etc/passwd"}), "which it has not"),
        (json!({"allOf": [3]}), "a subschema that is no object"),
        (json!({"pattern": "("}), "a pattern that is none"),
        (json!({"pattern": "(.{1000}){1000}"}), "a pattern that is none"),
    ];
    for (schema, expected) in cases {
        let text = schema.to_string();
        let told = told(schema, json!("a"));
        assert!(told.len() == 1 && told[0].contains(expected), "{text}: {told:?}");
    }
}

#[test]
fn circles_and_explosions_end() {
    let mut definitions = serde_json::Map::new();
    for level in 0..100 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        definitions.insert(format!("d{level}"), json!({"allOf": [next, next, next]}));
    }
    definitions.insert("d100".to_owned(), json!(true));
    let explosion = json!({"$ref": "#/$defs/d0", "$defs": definitions});
    for schema in [json!({"$ref": "#"}), json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}), explosion] {
        let begun = Instant::now();
        let told = told(schema, json!(1));
        assert!(told.len() == 1 && told[0].contains("in circles"), "{told:?}");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
