//! Components that import WASI get an empty one.

use serde_json::json;
use weir_host::Cause;

use crate::guest::{Guest, component};
use crate::support::{load_spec, run, spec};

const COMPONENT: &str = include_str!("guests/component.wat");
const WASI: &str = include_str!("guests/wasi.wat");
const IMPORTS: &str = r#"
  (import "wasi" "environment" (func $environment (param i32)))
  (import "wasi" "stdout" (func $stdout (result i32)))
  (import "wasi" "write" (func $write (param i32 i32 i32 i32)))
  (import "wasi" "drop" (func $drop (param i32)))
  (import "wasi" "now" (func $now (result i64)))
  (import "wasi" "load" (func $load (param i32) (result i32)))
  (global $handle (mut i32) (i32.const 0))
"#;

/// A guest whose `transform` begins with `does`, and then keeps every row.
fn guest(does: &str) -> Vec<u8> {
    let guest = Guest { transform: format!("{does} (i32.const 512)"), ..Guest::default() };
    let text = guest.text(COMPONENT);
    let text = text.replace("(core module $module", &format!("{WASI}\n  (core module $module {IMPORTS}"));
    let text =
        text.replace("(instantiate $module)", "(instantiate $module (with \"wasi\" (instance $wasi)))");
    component(
        &text,
        Some(&json!({
            "name": "guest", "version": "1.0.0", "worlds": ["transform"], "reads": "any", "writes": "any",
        })),
    )
}

#[test]
fn an_empty_wasi_is_there() {
    // The environment has no entry: its length is written to address 20.
    let does = "(call $environment (i32.const 16)) (if (call $load (i32.const 20)) (then unreachable))
        (global.set $handle (call $stdout))
        (call $write (global.get $handle) (i32.const 64) (i32.const 20) (i32.const 32))
        (if (call $load (i32.const 32)) (then unreachable))
        (call $drop (global.get $handle))";
    let plugin = load_spec(spec(guest(does))).unwrap();
    let handled = run(&mut plugin.instance(), &["a", "b"]);
    assert!(handled.suspects.is_empty(), "{:?}", plugin.last_fault());
}

#[test]
fn what_it_asks_for_beyond_is_a_fault() {
    let plugin = load_spec(spec(guest("(drop (call $now))"))).unwrap();
    let handled = run(&mut plugin.instance(), &["a"]);
    assert_eq!(handled.suspects, [0]);
    let fault = plugin.last_fault().unwrap();
    assert_eq!(fault.cause, Cause::Trap);
    assert!(
        fault.detail.contains("wasi:clocks/monotonic-clock#now, which no plugin is granted"),
        "{fault:?}"
    );
}
