//! `weir check`.

use crate::support::{Folder, Guest, is_there};

const GOOD: &str = "\
version: 1
cluster: test
node: node-1
data_dir: data
sources:
  app: {type: file, include: [in/*.log], parse: auto}
plugins:
  guest:
    artifact: file:guest.wasm
    config: {key: {file: secret}}
pipelines:
  logs: {from: [app], stages: [guest], to: [out, screen]}
sinks:
  out: {type: file, path: out.ndjson}
  screen: {type: console, best_effort: true}
";

fn folder() -> Folder {
    let folder = Folder::new(&[("weir.yaml", GOOD), ("secret", "open-sesame\n")]);
    folder.write("guest.wasm", Guest::default().build());
    folder
}

#[test]
fn a_good_configuration_is_shown_as_a_picture() {
    let folder = folder();
    let ended = folder.run(&["check", "-c", "weir.yaml"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in [
        "pipeline logs\n",
        "in/*.log, parse auto\n",
        "plugin guest 1.0.0 sha256:",
        "reads     message\n",
        "sees      namespace\n",
        "writes    copy\n",
        "drops     dropped (dropped)\n",
        "on error  pass, 32 MiB a worker, 100 ms a call\n",
        "/out.ndjson\n",
        "console, best effort",
        "weir.yaml is valid\n",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert!(!is_there(&folder.path("data")), "a check leaves nothing behind");
    assert!(!ended.stdout.contains("open-sesame") && !ended.stderr.contains("open-sesame"));
}

#[test]
fn the_picture_is_data_too() {
    let folder = folder();
    // The compiled plugin is kept where the agent would keep it, if that is there.
    std::fs::create_dir(folder.path("data")).unwrap();
    for _ in 0..2 {
        let ended = folder.run(&["check", "-c", "weir.yaml", "--output", "json"]);
        let report = ended.json();
        assert_eq!((ended.code, &report["valid"]), (Some(0), &true.into()), "{report}");
        let pipeline = &report["pipelines"][0];
        assert_eq!(pipeline["stages"][0]["drops"][0]["booked"], "dropped", "{report}");
        assert_eq!(pipeline["sinks"][1]["best_effort"], true, "{report}");
    }
    assert!(is_there(&folder.path("data/plugins")));
}

#[test]
fn every_error_is_told_with_its_place_and_a_suggestion() {
    let text = GOOD.replace("parse: auto", "prase: auto").replace("to: [out, screen]", "to: [outt]");
    let folder = Folder::new(&[("weir.yaml", &text), ("secret", "x")]);
    let ended = folder.run(&["check", "-c", "weir.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    for part in [
        "error: weir.yaml:6:42: sources.app: unknown key `prase`; did you mean `parse`?\n",
        "error: weir.yaml:12:45: pipelines.logs.to[0]: no sink is called \"outt\"; did you mean \"out\"?\n",
        "2 errors in the configuration",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    let report = folder.run(&["check", "-c", "weir.yaml", "--output", "json"]);
    assert_eq!(report.code, Some(1));
    let report = report.json();
    assert_eq!(report["valid"], false);
    assert_eq!(report["errors"][0]["path"], "sources.app");
    assert_eq!(report["errors"].as_array().unwrap().len(), 2);
}

/// Each with the key that is to be looked at.
#[test]
fn every_plugin_that_does_not_load_is_told() {
    let text = GOOD.replace(
        "plugins:\n",
        "plugins:\n  \
         missing: {artifact: 'file:missing.wasm'}\n  \
         corrupt: {artifact: 'file:corrupt.wasm'}\n  \
         cut: {artifact: 'file:cut.wasm'}\n  \
         curious: {artifact: 'file:guest.wasm', grants: {fields: [level]}}\n",
    );
    let folder = folder();
    folder.write("weir.yaml", &text);
    folder.write("corrupt.wasm", "this is no WebAssembly");
    let whole = Guest::default().build();
    folder.write("cut.wasm", &whole[..whole.len() / 2]);
    let ended = folder.run(&["check", "-c", "weir.yaml"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    for part in [
        "plugins.missing.artifact: failed to read the artefact ",
        "plugins.corrupt.artifact: ",
        "plugins.cut.artifact: ",
        "plugins.curious.grants: it wants to read `message`",
        "4 errors in the configuration",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_configuration_that_is_not_there_is_told() {
    let ended = Folder::new(&[]).run(&["check", "-c", "missing.yaml"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("missing.yaml: cannot read: No such file"), "{}", ended.stderr);
}
