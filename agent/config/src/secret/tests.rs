//! Tests of secrets: what becomes of references, and what errors keep to themselves.

use serde_json::json;

use super::*;

const VALUE: &str = "hunter2-swordfish";

fn host() -> Host {
    Host::at("/nonexistent", [("TOKEN".to_string(), VALUE.to_string())].into())
}

/// The resolved configuration, or the error.
fn resolved(config: &Json, files: &[(&str, &[u8])]) -> Result<Json, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let result = resolve(config, folder.path(), &host(), &KeyPath::default());
    result.map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "BASE"))
}

#[test]
fn references_become_what_they_refer_to() {
    let cases = [
        (json!({"a": {"env": "TOKEN"}}), json!({"a": VALUE})),
        (json!({"a": [{"file": "key"}, 1, null]}), json!({"a": ["k\u{e9}y", 1, null]})),
        (json!({"env": "TOKEN"}), json!(VALUE)),
        (json!({"file": "lines"}), json!("two\nlines")),
        (json!({"file": "empty"}), json!("")),
    ];
    let files: [(&str, &[u8]); 3] =
        [("key", "k\u{e9}y\n".as_bytes()), ("lines", b"two\nlines\r\n\n"), ("empty", b"")];
    for (config, expected) in cases {
        assert_eq!(resolved(&config, &files).as_ref(), Ok(&expected), "{config}");
    }
}

#[test]
fn what_only_looks_like_a_reference_is_left_alone() {
    let cases = [
        json!({"file": "key", "mode": "read"}),
        json!({"file": 1}),
        json!({"env": {"name": "TOKEN"}}),
        json!({"files": "key"}),
        json!("env: TOKEN"),
        json!({}),
    ];
    for config in cases {
        assert_eq!(resolved(&config, &[]).as_ref(), Ok(&config));
    }
}

#[test]
fn what_cannot_be_had_is_said_without_the_value() {
    let large = vec![b'x'; MAX_SECRET_BYTES as usize + 1];
    let not_text = [VALUE.as_bytes(), &[0xff]].concat();
    let cases = [
        (json!({"a": {"b": [{"env": "NONE"}]}}), "a.b[0]: the environment variable NONE is not set"),
        (
            json!({"file": "none"}),
            "cannot read the secret file BASE/none: No such file or directory (os error 2)",
        ),
        (json!({"k": {"file": "large"}}), "k: the secret file BASE/large is larger than 64 KiB"),
        (json!({"k": {"file": "binary"}}), "k: the secret file BASE/binary is not UTF-8 text"),
        (json!({"k": {"file": "."}}), "k: cannot read the secret file BASE/.: Is a directory (os error 21)"),
        (
            json!({"k": {"file": "a\0b"}}),
            "k: cannot read the secret file BASE/a\0b: file name contained an unexpected NUL byte",
        ),
    ];
    for (config, expected) in cases {
        let error = resolved(&config, &[("large", &large), ("binary", &not_text)]).unwrap_err();
        assert_eq!(error, expected);
        assert!(!error.contains(VALUE));
    }
}

#[test]
fn a_secret_of_the_greatest_length_is_read() {
    let bytes = vec![b'x'; MAX_SECRET_BYTES as usize];
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(resolved(&json!({"file": "key"}), &[("key", &bytes)]), Ok(json!(text)));
}
