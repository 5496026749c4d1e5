//! Artefacts, good and bad, against the reader.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::manifest::Paths;

const SMALL: &str = r#"{"name":"p","version":"1.0.0","worlds":["transform"],"reads":["level"],"writes":[]}"#;

const FULL: &str = r#"{
  "name": "log-sampler", "version": "0.1.0", "description": "keeps a share",
  "worlds": ["transform"], "reads": "any", "writes": ["sample_rate"], "attributes": ["namespace"],
  "capabilities": [], "fail_closed": true, "config_schema": {"type": "object"},
  "limits": {"memory": "16MiB", "deadline": "50ms"}
}"#;

/// `leb128(bytes.len()) bytes`
fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes.len();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out.extend_from_slice(bytes);
    out
}

fn custom_section(name: &str, data: &[u8]) -> Vec<u8> {
    let mut body = sized(name.as_bytes());
    body.extend_from_slice(data);
    [vec![0], sized(&body)].concat()
}

fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    let mut wasm = wat::parse_str("(component)").unwrap();
    wasm.extend(sections.concat());
    wasm
}

fn manifest_section(json: &str) -> Vec<u8> {
    custom_section(SECTION_NAME, json.as_bytes())
}

/// Section 1 of a component is a core module, section 4 a component.
fn nested(section: u8, inner: &[u8]) -> Vec<u8> {
    [vec![section], sized(inner)].concat()
}

fn error(wasm: &[u8]) -> String {
    read_manifest(wasm).unwrap_err().to_string()
}

fn error_of(json: &str) -> String {
    error(&component(&[manifest_section(json)]))
}

#[test]
fn every_member_is_read() {
    let manifest = read_manifest(&component(&[manifest_section(FULL)])).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("log-sampler", "0.1.0"));
    assert_eq!(manifest.reads, Paths::Any);
    assert_eq!(manifest.writes, Paths::Listed(vec!["sample_rate".into()]));
    assert_eq!(manifest.attributes, Some(vec!["namespace".into()]));
    assert!(manifest.fail_closed);
    assert_eq!(manifest.limits.memory, Some(16 << 20));
    assert_eq!(manifest.limits.deadline, Some(Duration::from_millis(50)));
    assert_eq!(manifest.config_schema["type"], "object");
}

#[test]
fn what_is_written_is_read_back() {
    let manifest = read_manifest(&component(&[manifest_section(FULL)])).unwrap();
    let json = serde_json::to_string(&manifest).unwrap();
    assert!(json.contains(r#""reads":"any""#) && json.contains(r#""memory":"16MiB""#), "{json}");
    assert_eq!(read_manifest(&component(&[manifest_section(&json)])).unwrap(), manifest);
}

#[test]
fn absent_members_have_defaults() {
    let manifest = read_manifest(&component(&[manifest_section(SMALL)])).unwrap();
    assert_eq!(manifest.attributes, None);
    assert_eq!(manifest.capabilities, Vec::<String>::new());
    assert_eq!(manifest.limits, crate::Limits::default());
    assert_eq!(manifest.config_schema, serde_json::Value::Bool(true));
    assert!(!manifest.fail_closed);
}

#[test]
fn the_section_is_found_inside_a_nested_module() {
    let mut module = wat::parse_str("(module (memory 1) (func (result i32) i32.const 1))").unwrap();
    module.extend(manifest_section(SMALL));
    let inner = component(&[nested(1, &module)]);
    assert_eq!(read_manifest(&inner).unwrap().name, "p");
    assert_eq!(read_manifest(&component(&[nested(4, &inner)])).unwrap().name, "p");
}

#[test]
fn what_is_no_plugin_is_named() {
    let module = wat::parse_str("(module)").unwrap();
    let with_manifest = component(&[manifest_section(SMALL)]);
    let cases: [(Vec<u8>, &str); 9] = [
        (Vec::new(), "not WebAssembly"),
        (b"#!/bin/sh".to_vec(), "not WebAssembly"),
        (b"\0asm".to_vec(), "malformed WebAssembly at byte"),
        (module, "a core WebAssembly module, not a component"),
        (component(&[]), "no `weir:manifest` section"),
        (component(&[custom_section("weir:other", b"{}")]), "no `weir:manifest` section"),
        (component(&[manifest_section(SMALL), manifest_section(SMALL)]), "2 `weir:manifest` sections"),
        (with_manifest[..with_manifest.len() - 1].to_vec(), "malformed WebAssembly at byte"),
        // A component in it that begins as nothing does: the parser's words for it have several lines.
        (component(&[nested(4, b"\0a\0\0\0\0\0\0")]), "bad magic number"),
    ];
    for (wasm, expected) in cases {
        let message = error(&wasm);
        assert!(!message.contains(char::is_control), "{message:?}");
        assert!(message.contains(expected), "{message:?} should say {expected:?}");
    }
}

#[test]
fn what_is_no_manifest_is_named() {
    let cases = [
        ("", "line 1, column 0: EOF"),
        ("{\n\"name\": 7}", "line 2, column 9: invalid type"),
        (&format!("{SMALL} trailing"), "trailing characters"),
        (&SMALL.replace("reads", "raeds"), "unknown field `raeds`"),
        (&SMALL.replace(r#""version":"1.0.0","#, ""), "missing field `version`"),
        (&SMALL.replace(r#"["level"]"#, r#""all""#), r#"expected "any" or a list of dotted paths"#),
        (
            &SMALL.replace(r#"["transform"]"#, r#"["observe"]"#),
            "world `observe`, which this agent does not know (it knows transform)",
        ),
        (&SMALL.replace(r#""p""#, r#""P""#), "not valid: name: must be"),
        (&FULL.replace("16MiB", "16MB"), "`16MB` is not a size such as 32MiB"),
        (&FULL.replace("50ms", "soon"), "`soon` is not a duration such as 100ms"),
    ];
    for (json, expected) in cases {
        let message = error_of(json);
        assert!(message.contains(expected), "{message:?} should say {expected:?}");
        assert_eq!(
            message.matches(" at line ").count(),
            usize::from(message.contains("is not valid at")),
            "{message}"
        );
    }
}

#[test]
fn what_is_quoted_has_no_control_characters() {
    let messages = [
        error_of(r#"{"name": "p", "wor\u0000lds": ["transform"]}"#),
        error_of(&SMALL.replace(r#"["transform"]"#, r#"["trans\u001b[2Jform"]"#)),
    ];
    for (message, quoted) in messages.iter().zip(["wor\\u{0}lds", "trans\\u{1b}[2Jform"]) {
        assert!(message.contains(quoted) && !message.contains(char::is_control), "{message:?}");
    }
}

#[test]
fn sizes_are_capped() {
    let long = "x".repeat(MAX_SECTION_BYTES + 1);
    assert!(error_of(&long).contains("more than the 262144 allowed"));
    assert!(error(&vec![0; MAX_ARTEFACT_BYTES + 1]).contains("more than the 67108864 allowed"));
    let deep = (0..=MAX_DEPTH)
        .fold(component(&[manifest_section(SMALL)]), |inner, _| component(&[nested(4, &inner)]));
    assert!(error(&deep).contains("levels deep"));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = read_manifest(&bytes);
        let _ = read_manifest(&[b"\0asm\x0d\0\x01\0".as_slice(), &bytes].concat());
        let _ = read_manifest(&component(&[custom_section(SECTION_NAME, &bytes)]));
    }

    #[test]
    fn damaged_artefacts_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut module = wat::parse_str("(module (memory 1) (data (i32.const 0) \"abc\"))").unwrap();
        module.extend(manifest_section(FULL));
        let mut wasm = component(&[nested(1, &module)]);
        let at = at.index(wasm.len());
        wasm[at] = byte;
        let _ = read_manifest(&wasm);
    }
}
