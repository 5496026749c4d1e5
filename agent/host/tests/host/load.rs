//! What is not loaded, and what it says then.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use weir_event::transform::{Edit, Plan};
use weir_host::{Artifact, Cause, LoadError, OnError, PluginSpec};

use crate::guest::{Guest, component};
use crate::support::{load_spec, spec};

fn error(spec: PluginSpec) -> LoadError {
    match load_spec(spec) {
        Ok(plugin) => panic!("{plugin:?} was loaded"),
        Err(error) => error,
    }
}

fn assert_says(spec: PluginSpec, expected: &str) {
    let message = error(spec).to_string();
    assert!(message.contains(expected), "{message:?} should say {expected:?}");
}

fn with(guest: Guest, change: impl FnOnce(&mut PluginSpec)) -> PluginSpec {
    let mut spec = spec(guest.build());
    change(&mut spec);
    spec
}

fn guest(change: impl FnOnce(&mut Guest)) -> PluginSpec {
    let mut guest = Guest::default();
    change(&mut guest);
    spec(guest.build())
}

#[test]
fn what_is_no_component_of_the_world_is_named() {
    let manifest = Guest::default().manifest;
    let other_world = r#"(component
        (core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run")))
        (instance $api (export "run" (func $run)))
        (export "acme:other/api@1.0.0" (instance $api)))"#;
    let other_type = r#"(component
        (core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run")))
        (instance $api (export "configure" (func $run)) (export "transform" (func $run)))
        (export "weir:plugin/transformer@0.1.0" (instance $api)))"#;
    let other_version = other_type.replace("0.1.0", "0.2.0");
    let cases = [
        (other_world, "it exports acme:other/api@1.0.0, not weir:plugin/transformer"),
        ("(component)", "it exports nothing, not weir:plugin/transformer"),
        (other_type, "does not implement the world `transform`: "),
        (&other_version, "no exported instance named `weir:plugin/transformer@0.1.0`"),
    ];
    for (text, expected) in cases {
        assert_says(spec(component(text, Some(&manifest))), expected);
    }
}

#[test]
fn imports_are_named() {
    let text = r#"(component
        (import "acme:cli/environment@0.2.0" (instance (export "get" (func))))
        (import "wasi:clocks/wall-clock@0.3.0" (instance (export "now" (func))))
        (core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run")))
        (instance $api (export "configure" (func $run)) (export "transform" (func $run)))
        (export "weir:plugin/transformer@0.1.0" (instance $api)))"#;
    let spec = spec(component(text, Some(&Guest::default().manifest)));
    assert_says(
        spec,
        "it imports acme:cli/environment@0.2.0, wasi:clocks/wall-clock@0.3.0, which this agent",
    );
}

#[test]
fn a_corrupt_artefact_is_an_error_wherever_it_is_cut() {
    let good = Guest::by_row().build();
    for length in (0..good.len()).step_by(97) {
        error(spec(good[..length].to_vec()));
    }
    let mut bad_code = good;
    let at = bad_code.windows(4).position(|bytes| bytes == [0xfc, 11, 0, 0x41]).unwrap();
    bad_code[at + 1] = 0x7f;
    assert_says(spec(bad_code), "the artefact does not compile: ");
}

#[test]
fn a_missing_file_is_named() {
    let path = PathBuf::from("/nonexistent/plugin.wasm");
    let spec = PluginSpec { artifact: Artifact::File(path), ..spec(Vec::new()) };
    assert_says(spec, "failed to read the artefact /nonexistent/plugin.wasm: No such file");
    let directory = PluginSpec { artifact: Artifact::File("/".into()), ..spec_of_nothing() };
    assert_says(directory, "failed to read the artefact /: Is a directory");
}

fn spec_of_nothing() -> PluginSpec {
    spec(Vec::new())
}

#[test]
fn a_file_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guest.wasm");
    std::fs::write(&path, Guest::default().build()).unwrap();
    let plugin = load_spec(PluginSpec { artifact: Artifact::File(path), ..spec_of_nothing() }).unwrap();
    assert_eq!(
        (plugin.name(), plugin.manifest().name.as_str(), plugin.digest().len()),
        ("test", "guest", 64)
    );
}

#[test]
fn configure_may_refuse() {
    let refusing = r#"
        (i32.store8 (i32.const 600) (i32.const 1))
        (i32.store (i32.const 604) (local.get $config))
        (i32.store (i32.const 608) (local.get $config_length))
        (i32.const 600)"#;
    let spec = with(Guest { configure: refusing.into(), ..Guest::default() }, |spec| {
        spec.config = "{\"keep\": 1}".into()
    });
    assert_says(spec, "it refused its config: {\"keep\": 1}");
}

#[test]
fn faults_at_start_are_told_apart() {
    let spin = "(loop $spin (br $spin))";
    let grow = "(loop $grow (drop (memory.grow (i32.const 16))) (br $grow))";
    let (in_start, in_configure) = (
        |body: &str| guest(|guest| guest.extra = format!("(func $first {body}) (start $first)")),
        |body: &str| guest(|guest| guest.configure = format!("{body} unreachable")),
    );
    let cases = [
        (in_start("unreachable"), Cause::Trap),
        (in_configure("unreachable"), Cause::Trap),
        (in_start(spin), Cause::Deadline),
        (in_configure(spin), Cause::Deadline),
        (in_start(grow), Cause::Memory),
        (in_configure(grow), Cause::Memory),
        (guest(|guest| guest.configure = "(i32.const -4)".into()), Cause::BadOutput),
    ];
    for (mut spec, expected) in cases {
        spec.limits.deadline = Some(Duration::from_millis(30));
        let begun = Instant::now();
        let LoadError::Start { cause, detail } = error(spec) else { panic!("{expected}") };
        assert_eq!(cause, expected, "{detail}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{expected} took {:?}", begun.elapsed());
    }
}

#[test]
fn more_memory_than_allowed_from_the_start_is_an_error() {
    let spec = with(Guest { pages: 65, ..Guest::default() }, |spec| spec.limits.memory = Some(4 << 20));
    assert_says(
        spec,
        "it failed to start (memory): it wanted 4259840 bytes of memory, more than its limit of 4194304",
    );
    // More than the engine has room for does not even load.
    assert_says(spec_with_pages(1025), "the compiled code does not load: ");
}

fn spec_with_pages(pages: u32) -> PluginSpec {
    with(Guest { pages, ..Guest::default() }, |spec| spec.limits.memory = Some(64 << 20))
}

#[test]
fn the_plan_is_held_to_sense_manifest_and_grants() {
    let plan = |change: fn(&mut Plan)| guest(|guest| change(&mut guest.plan));
    assert_says(plan(|plan| plan.reads.push("a..b".into())), "its plan is not valid: reads has `a..b`");
    assert_says(
        plan(|plan| plan.edits.push(Edit::Set("a".into(), "{".into()))),
        "would be set to what is not JSON",
    );
    let manifest = guest(|guest| guest.manifest["reads"] = serde_json::json!(["level"]));
    assert_says(manifest, "it wants to read `message`, which `reads` of its manifest does not name");
    let grants = with(Guest::default(), |spec| {
        spec.grants.fields = Some(vec!["level".into()]);
        spec.grants.write = Some(Vec::new());
    });
    assert_says(
        grants,
        "wants to read `message`, which `grants.fields` does not allow; wants to write `copy`",
    );
}

#[test]
fn an_error_names_the_key_to_look_at() {
    let mut fail_closed = Guest::default();
    fail_closed.manifest["fail_closed"] = true.into();
    let cases = [
        (spec(Vec::new()), "artifact"),
        (with(fail_closed, |spec| spec.on_error = Some(OnError::Pass)), "on_error"),
        (with(Guest::default(), |spec| spec.limits.output = Some(0)), "limits"),
        (with(Guest::default(), |spec| spec.grants.fields = Some(Vec::new())), "grants"),
        (guest(|guest| guest.manifest["reads"] = serde_json::json!([])), "artifact"),
        (
            guest(|guest| {
                guest.configure = "(i32.store8 (i32.const 600) (i32.const 1)) (i32.const 600)".into()
            }),
            "config",
        ),
    ];
    for (spec, expected) in cases {
        let error = error(spec);
        assert_eq!(error.key(), expected, "{error}");
    }
}

#[test]
fn capabilities_and_worlds_are_refused() {
    let capability = guest(|guest| guest.manifest["capabilities"] = serde_json::json!(["metrics.query"]));
    assert_says(capability, "it wants the capability `metrics.query`");
    let world = guest(|guest| guest.manifest["worlds"] = serde_json::json!(["check"]));
    assert_says(world, "the world `check`, which this agent does not know");
}

#[test]
fn on_error_follows_the_manifest() {
    let load = |fail_closed: bool, on_error| {
        let mut guest = Guest::default();
        guest.manifest["fail_closed"] = fail_closed.into();
        load_spec(with(guest, |spec| spec.on_error = on_error)).map(|plugin| plugin.on_error())
    };
    assert_eq!(load(false, None).unwrap(), OnError::Pass);
    assert_eq!(load(false, Some(OnError::Hold)).unwrap(), OnError::Hold);
    assert_eq!(load(true, None).unwrap(), OnError::DeadLetter);
    assert_eq!(load(true, Some(OnError::Drop)).unwrap(), OnError::Drop);
    assert!(matches!(load(true, Some(OnError::Pass)), Err(LoadError::FailClosed)));
}

#[test]
fn limits_come_from_the_operator_or_the_manifest() {
    let load = |wanted: serde_json::Value, change: fn(&mut PluginSpec)| {
        let mut guest = Guest::default();
        guest.manifest["limits"] = wanted;
        load_spec(with(guest, change))
    };
    let limits = |wanted, change| {
        let plugin = load(wanted, change).unwrap();
        (plugin.memory_limit() >> 20, plugin.deadline().as_millis())
    };
    assert_eq!(limits(serde_json::json!({}), |_| ()), (32, 100));
    assert_eq!(limits(serde_json::json!({"memory": "8MiB", "deadline": "20ms"}), |_| ()), (8, 20));
    let allow: fn(&mut PluginSpec) = |spec| {
        (spec.limits.memory, spec.limits.deadline) = (Some(48 << 20), Some(Duration::from_millis(300)));
    };
    assert_eq!(limits(serde_json::json!({"memory": "40MiB", "deadline": "200ms"}), allow), (48, 300));
    let refused = |wanted, change, expected: &str| {
        let message = load(wanted, change).unwrap_err().to_string();
        assert!(message.contains(expected), "{message:?} should say {expected:?}");
    };
    refused(
        serde_json::json!({"memory": "40MiB"}),
        |_| (),
        "limits.memory: its manifest asks for 41943040 bytes",
    );
    refused(serde_json::json!({"deadline": "1s"}), |_| (), "limits.deadline: its manifest asks for 1s");
    refused(
        serde_json::json!({}),
        |spec| spec.limits.memory = Some(1 << 30),
        "limits.memory: 1073741824 bytes are more",
    );
    refused(
        serde_json::json!({}),
        |spec| spec.limits.deadline = Some(Duration::ZERO),
        "limits.deadline: must not be zero",
    );
    refused(serde_json::json!({}), |spec| spec.limits.output = Some(0), "limits.output");
}
