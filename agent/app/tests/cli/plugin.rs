//! `weir plugin`, as far as it needs no toolchain: the tutorial's test does the rest.

use serde_json::{Value, json};

use crate::support::{Ended, Folder, Guest};

/// A plugin that reads `message`, drops what begins with `d`, and fails on what begins with `t`.
fn guest(version: &str, transform: Option<&str>) -> Vec<u8> {
    let mut guest = Guest::by_row();
    guest.manifest["version"] = json!(version);
    guest.manifest["config_schema"] =
        json!({"type": "object", "additionalProperties": false, "properties": {"rate": {"maximum": 1}}});
    if let Some(transform) = transform {
        guest.transform = transform.to_owned();
    }
    guest.build()
}

/// The folder of a plugin that was built.
fn folder() -> Folder {
    let folder = Folder::new(&[
        ("Cargo.toml", ""),
        ("manifest.json", r#"{"name": "guest"}"#),
        ("fixtures/a.config.json", "{}"),
        ("fixtures/a.events.ndjson", "keep\n{\"message\":\"drop\"}\n"),
        ("fixtures/a.expected.ndjson", "{\"keep\":{\"message\":\"keep\"}}\n{\"drop\":\"dropped\"}\n"),
    ]);
    folder.write("guest.wasm", guest("1.0.0", None));
    folder
}

fn run(folder: &Folder, arguments: &[&str]) -> Ended {
    let mut command = folder.command(&[&["plugin"], arguments].concat());
    command.env("XDG_CACHE_HOME", folder.path("cache")).output().unwrap().into()
}

#[test]
fn an_artefact_is_shown_without_running_it() {
    let folder = folder();
    let ended = run(&folder, &["inspect", "guest.wasm", "--output", "json"]);
    let report = ended.json();
    assert_eq!(
        (ended.code, &report["name"], &report["version"]),
        (Some(0), &json!("guest"), &json!("1.0.0"))
    );
    assert_eq!(report["exports"], json!(["weir:plugin/transformer@0.1.0"]));
    assert_eq!(report["config_schema"]["properties"]["rate"]["maximum"], 1);
    assert_eq!(report["size"], std::fs::metadata(folder.path("guest.wasm")).unwrap().len());
    assert_eq!(report["digest"].as_str().map(str::len), Some(64));

    folder.write("bad.wasm", "not a component");
    let ended = run(&folder, &["inspect", "bad.wasm"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("bad.wasm: not WebAssembly"), "{ended:?}");
}

#[test]
fn fixtures_pass_fail_and_are_written() {
    let folder = folder();
    let ended = run(&folder, &["test"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "ok      a: 2 events\n"), "{ended:?}");

    folder.write("fixtures/a.events.ndjson", "keep\nkeep\n");
    let ended = run(&folder, &["test", "--output", "json"]);
    let report = ended.json();
    assert_eq!((ended.code, &report["passed"]), (Some(1), &json!(false)));
    let differences = &report["fixtures"][0]["differences"];
    assert_eq!(differences.as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(
        (&differences[0]["line"], &differences[0]["expected"]),
        (&json!(2), &json!({"drop": "dropped"}))
    );

    let ended = run(&folder, &["test", "--update"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "updated a: 2 events\n"), "{ended:?}");
    assert_eq!(run(&folder, &["test"]).code, Some(0));
}

#[test]
fn a_fault_is_told_and_never_expected() {
    let folder = folder();
    folder.write("fixtures/a.events.ndjson", "keep\ntrap\n");
    let before = std::fs::read(folder.path("fixtures/a.expected.ndjson")).unwrap();
    let ended = run(&folder, &["test", "--update"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("{\"fault\":\"trap: "), "{ended:?}");
    assert_eq!(std::fs::read(folder.path("fixtures/a.expected.ndjson")).unwrap(), before);
}

#[test]
fn a_configuration_that_does_not_fit_the_schema_is_refused() {
    let folder = folder();
    folder.write("fixtures/a.config.json", r#"{"rate": 2, "rest": 1}"#);
    let ended = run(&folder, &["test"]);
    assert_eq!(ended.code, Some(1));
    let expected = "failed  a: rate: must be at most 1; rest: unknown key; there are rate\n";
    assert_eq!(ended.stdout, expected);
}

#[test]
fn versions_that_do_the_same_are_the_same() {
    let folder = folder();
    folder.write("new.wasm", guest("1.1.0", None));
    folder.write(
        "traffic",
        "drop\n{\"v\":1,\"time\":\"2026-11-22T10:00:00Z\",\"attributes\":{\"namespace\":\"shop\"},\"text\":\"keep\"}\n",
    );
    let ended = run(&folder, &["diff", "guest.wasm", "new.wasm", "--traffic", "traffic"]);
    let expected = "2 events come out alike\nmanifest: version: \"1.0.0\" became \"1.1.0\"\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), expected), "{ended:?}");
}

#[test]
fn versions_that_differ_are_told_event_by_event() {
    let folder = folder();
    // Keeps every row.
    folder.write("new.wasm", guest("2.0.0", Some("(i32.const 512)")));
    folder.write("traffic", "drop\nkeep\ndrop\n");
    let ended = run(&folder, &["diff", "guest.wasm", "new.wasm", "--traffic", "traffic", "--output", "json"]);
    let report = ended.json();
    assert_eq!(
        (ended.code, &report["events"], &report["different"]),
        (Some(1), &json!(3), &json!(2)),
        "{ended:?}"
    );
    assert_eq!(report["by_kind"], json!({"drop dropped → keep": 2}));
    let lines: Vec<&Value> = report["shown"].as_array().unwrap().iter().map(|one| &one["line"]).collect();
    assert_eq!(lines, [1, 3]);
}

#[test]
fn a_bench_has_a_figure_for_each_size() {
    let folder = folder();
    let ended = run(&folder, &["bench", "--time", "10", "--against", "guest.wasm", "--output", "json"]);
    let report = ended.json();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for plugin in [&report["plugin"], &report["against"]] {
        let rows: Vec<u64> =
            plugin["batches"].as_array().unwrap().iter().filter_map(|cost| cost["rows"].as_u64()).collect();
        assert_eq!(rows, [1, 64, 512, 4096]);
        assert!(plugin["batches"][2]["ns_per_event"].as_f64().unwrap() > 0.0);
        for cost in [&plugin["chain"]["first_ns"], &plugin["chain"]["second_ns"], &plugin["start_ms"]] {
            assert!(cost.as_f64().is_some_and(f64::is_finite), "{report}");
        }
        assert!(plugin["memory_bytes"].as_u64().unwrap() >= 2 * 65_536, "{report}");
    }
    let ended = run(&folder, &["bench", "guest.wasm"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("give some with --events"), "{ended:?}");
}

#[test]
fn a_new_folder_is_never_written_over() {
    let folder = Folder::new(&[("mine/file", "")]);
    let ended = run(&folder, &["new", "geo", "mine"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("mine is there and not empty"), "{ended:?}");
    let ended = run(&folder, &["new", "Geo"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("lower case letters"), "{ended:?}");
    let ended = run(&folder, &["new", "geo", "--output", "json"]);
    assert_eq!((ended.code, &ended.json()["name"]), (Some(0), &json!("geo")));
    assert!(folder.path("geo/sdk/rust/src/lib.rs").is_file());
}

#[test]
fn a_folder_that_is_no_plugins_is_told() {
    let folder = Folder::new(&[("readme", "")]);
    for command in ["build", "test", "bench"] {
        let ended = run(&folder, &[command]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("`weir plugin new NAME` makes one"), "{ended:?}");
    }
}
