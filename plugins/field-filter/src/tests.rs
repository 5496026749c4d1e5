//! Fixtures, refused configurations, and what a redaction promises.

use weir_sdk::testing::{Agent, Error, Fate, check_fixtures};
use weir_sdk::{Json, json};

use crate::FieldFilter;

fn refusal(config: Json) -> String {
    Agent::<FieldFilter>::configure(config).unwrap_err().to_string()
}

fn filtered(config: Json, event: &str) -> Json {
    let run = Agent::<FieldFilter>::configure(config).and_then(|mut agent| agent.run([event])).unwrap();
    match run.rows.into_iter().next() {
        Some(Fate::Kept(document)) => document,
        other => panic!("not kept: {other:?}"),
    }
}

#[test]
fn fixtures_come_out_as_expected() -> Result<(), Error> {
    check_fixtures::<FieldFilter>(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_refused_configuration_names_the_key() {
    let hash = |key: &str, length: usize| json!({"field": "a", "hash": {"key": key, "length": length}});
    let key = "0123456789abcdef";
    let cases = [
        (json!({"removes": []}), "removes: unknown field"),
        (json!({"remove": "a"}), "remove: invalid type"),
        (json!({"redact": [{"field": "a", "hash": {"key": 1}}]}), "redact[0].hash.key: invalid type"),
        (json!({"keep": ["a"], "remove": ["b"]}), "remove: cannot stand beside keep"),
        (json!({"keep": []}), "keep: is empty"),
        (json!({"remove": ["a", ""]}), "remove[1]: `` is not a path"),
        (json!({"set": {"a..b": 1}}), "set.a..b: `a..b` is not a path"),
        (json!({"rename": {"a": "*"}}), "rename.a: `*` is not a path"),
        (json!({"keep": ["b"], "rename": {"a": "c"}}), "rename.a: is removed"),
        (json!({"rename": {"a": "b", "b": "c"}}), "rename.a: the new name b is itself renamed"),
        (json!({"rename": {"a": "c", "b": "c"}}), "rename.b: another path is renamed to c"),
        (json!({"rename": {"a": "x", "a.b": "y"}}), "rename.a: lies in or around"),
        (json!({"redact": [{"field": "a"}]}), "redact[0]: give either pattern or hash"),
        (json!({"redact": [{"field": "a", "pattern": "("}]}), "redact[0].pattern: regex parse error"),
        (json!({"redact": [{"field": "a", "pattern": "(.{1000}){1000}"}]}), "redact[0].pattern: "),
        (json!({"redact": [hash("short", 32)]}), "redact[0].hash.key: has 5 bytes"),
        (json!({"redact": [hash(key, 65)]}), "redact[0].hash.length: must be from 16 to 64"),
        (
            json!({"redact": [hash(key, 32), {"field": "a", "pattern": "x"}]}),
            "redact[1].field: is redacted twice",
        ),
        (
            json!({"redact": [{"field": "a", "hash": {"key": key}, "replace": ""}]}),
            "redact[0].replace: belongs to",
        ),
        (
            json!({"redact": [hash(key, 32)], "remove": ["a.b"]}),
            "redact[0].field: a or a part of it is removed",
        ),
        (json!({"redact": [hash(key, 32)], "keep": ["b"]}), "redact[0].field: a or a part of it is removed"),
        (json!({"redact": [hash(key, 32)], "rename": {"b": "a"}}), "redact[0].field: a is renamed"),
        (json!({"redact": [hash(key, 32)], "set": {"a.b": 1}}), "redact[0].field: a is set"),
        (
            json!({"redact": [{"field": "a.b", "pattern": "x"}, hash(key, 32)]}),
            "redact[1].field: a lies in or around another field",
        ),
    ];
    for (config, expected) in cases {
        let text = config.to_string();
        let refusal = refusal(config);
        assert!(refusal.contains(expected), "{text}\n  expected {expected}\n  got {refusal}");
    }
}

#[test]
fn static_edits_cost_no_column() {
    let config = json!({"remove": ["user.email", "labels"], "set": {"cluster": "dev-1"}});
    let agent = Agent::<FieldFilter>::configure(config).unwrap();
    assert_eq!((agent.plan().reads.len(), agent.plan().writes.len(), agent.plan().edits.len()), (0, 0, 3));
}

#[test]
fn duplicates_do_not_pass_a_redaction() {
    let config = json!({"redact": [{"field": "user.email", "pattern": ".+@"}]});
    for event in [
        r#"{"user":{"email":"ann@example.com"},"user":{"email":null}}"#,
        r#"{"user.email":"ann@example.com","user":{"email":"none"}}"#,
        r#"{"user":{"email":"ann@example.com"},"user.email":true}"#,
        r#"{"user":{"\u0065mail":["ann@example.com"]}}"#,
    ] {
        let document = filtered(config.clone(), event).to_string();
        assert!(!document.contains("ann"), "{event} became {document}");
    }
}

#[test]
fn a_hash_is_the_hmac_of_the_value() {
    // RFC 4868, section 2.7.2.1, the first case of PRF-HMAC-SHA-256 with a key of 32 bytes.
    let config = json!({"redact": [{"field": "a", "hash": {"key": "\u{b}".repeat(32), "length": 64}}]});
    let hash = filtered(config, r#"{"a":"Hi There"}"#);
    assert_eq!(hash["a"], "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7");
}
