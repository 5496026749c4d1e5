//! What a configuration leaves to the machine, and warnings.

use std::path::Path;

use weir_config::{Host, Size};

use crate::common;

const BASE: &str = "version: 1\ncluster: dev\nsources:\n  apps: {type: kubernetes_logs}\nplugins:\n  p: {artifact: 'file:p.wasm'}\nsinks:\n  out: {type: console}\npipelines:\n  all: {from: [apps], stages: [p], to: [out]}\n";

/// The configuration `text` on a machine with these files.
fn load(text: &str, files: &[(&str, &str)]) -> Result<(weir_config::Config, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    let host = common::host_with(folder.path(), &[("NODE_NAME", "n")], files);
    load_on(text, &host)
}

fn load_on(text: &str, host: &Host) -> Result<(weir_config::Config, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.yaml");
    std::fs::write(&file, text).unwrap();
    let short = |text: String| text.replace(&file.display().to_string(), "x.yaml");
    let (config, warnings) = weir_config::load_on(&file, host).map_err(|errors| short(errors.to_string()))?;
    Ok((config, warnings.into_iter().map(|warning| short(warning.to_string())).collect()))
}

#[test]
fn memory_is_a_share_of_the_limit() {
    let limit = |bytes: u64| [("sys/fs/cgroup/memory.max", bytes.to_string())];
    let memory = |text: &str, bytes: u64| {
        let files = limit(bytes);
        load(text, &[(files[0].0, &files[0].1)])
            .map(|(config, warnings)| (config.memory.bytes() >> 20, warnings))
    };
    let text = BASE.to_string() + "workers: 2\n";
    assert_eq!(memory(&text, 1000 << 20), Ok((600, vec![])));
    assert_eq!(memory(&(text.clone() + "memory: 128MiB\n"), 1000 << 20), Ok((128, vec![])));
    let (_, warnings) = memory(&(text.clone() + "memory: 2GiB\n"), 1000 << 20).unwrap();
    assert_eq!(
        warnings,
        [
            "x.yaml:12:9: memory: more than the container's memory limit of 1000MiB; the kernel would end the agent before \
         it uses that much"
        ]
    );
    let errors = memory(&text, 100 << 20).unwrap_err();
    assert_eq!(
        errors,
        "x.yaml:1:1: memory: 60MiB is too small: 64MiB for plugins (limits.memory × uses × 2 workers), 4MiB for sources and \
         20MiB for sinks and dead letters make 88MiB; raise memory or the container's limit, or lower workers or \
         the plugins' limits.memory"
    );
}

#[test]
fn without_a_limit_memory_is_256_mib() {
    assert_eq!(load(BASE, &[]).unwrap().0.memory, Size::of_mib(256));
}

#[test]
fn workers_are_no_more_than_there_is_memory_for() {
    let cpus = [("sys/fs/cgroup/cpu.max", "6400000 100000\n")];
    let (config, warnings) = load(BASE, &cpus).unwrap();
    assert_eq!((config.memory, config.workers.get()), (Size::of_mib(256), 7));
    assert_eq!(
        warnings,
        [
            "x.yaml:1:1: memory: memory of 256MiB is enough for 7 of 64 workers; raise memory, or give workers if so many \
         are meant"
        ]
    );
    let (config, warnings) =
        load(&BASE.replace("[p]", "[]").replace("  p: {artifact: 'file:p.wasm'}", "  {}"), &cpus).unwrap();
    assert_eq!((config.workers.get(), warnings.len()), (64, 0));
    let errors = load(&(BASE.to_string() + "workers: 8\n"), &cpus).unwrap_err();
    assert!(
        errors.contains("256MiB is too small: 256MiB for plugins (limits.memory × uses × 8 workers)"),
        "{errors}"
    );
    let errors = load(&(BASE.to_string() + "memory: 50MiB\n"), &cpus).unwrap_err();
    assert!(
        errors.contains("50MiB is too small: 32MiB for plugins (limits.memory × uses × 1 workers)"),
        "{errors}"
    );
}

#[test]
fn workers_are_as_many_as_the_limit_allows() {
    let files = [("sys/fs/cgroup/cpu.max", "250000 100000\n")];
    assert_eq!(load(BASE, &files).unwrap().0.workers.get(), 3);
    assert_eq!(load(&(BASE.to_string() + "workers: 5\n"), &files).unwrap().0.workers.get(), 5);
}

#[test]
fn a_machine_without_a_name_needs_one() {
    let nameless = Host::at("/nonexistent", Default::default());
    assert_eq!(
        load_on(BASE, &nameless).unwrap_err(),
        "x.yaml:1:1: the node's name is not known; give node, or set the environment variable NODE_NAME"
    );
    let named = BASE.to_string() + "node: worker-1\n";
    assert_eq!(load_on(&named, &nameless).unwrap().0.node, "worker-1");
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let cases = [
        ("version: 1\ncluster: dev\n", vec!["x.yaml:1:1: there is no pipeline, so nothing is read"]),
        (
            "version: 1\ncluster: dev\nsources:\n  a: {type: kubernetes_logs}\n  b: {type: kubernetes_logs}\n\
             plugins: {p: {artifact: 'file:x'}}\nsinks:\n  s: {type: console}\n  t: {type: blackhole}\n\
             pipelines: {all: {from: [a], to: [s]}}\n",
            vec![
                "x.yaml:5:3: sources.b: no pipeline uses this source",
                "x.yaml:6:11: plugins.p: no pipeline uses this plugin",
                "x.yaml:9:3: sinks.t: no pipeline uses this sink",
            ],
        ),
        (
            "version: 1\ncluster: dev\nsources: {a: {type: kubernetes_logs}}\nsinks: {s: {type: console}, t: \
             {type: blackhole}, u: {type: console, best_effort: true}}\n\
             pipelines: {one: {from: [a], to: [s]}, two: {from: [a], to: [t, u]}}\n",
            vec![
                "x.yaml:3:11: sources.a: its sinks \"s\" and \"t\" wait for each other: what one has not taken, none \
                 forgets; if one of them may lose events, give it best_effort: true",
            ],
        ),
        (
            "version: 1\ncluster: dev\nsources: {a: {type: kubernetes_logs}}\nsinks: {s: {type: console}, t: \
             {type: blackhole, best_effort: true}}\npipelines: {one: {from: [a], to: [s, t]}}\n",
            vec![],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(load(text, &[]).unwrap().1, expected, "{text}");
    }
}

#[test]
fn nothing_of_a_plugins_configuration_is_in_debug_output() {
    let text =
        BASE.replace("'file:p.wasm'}", "'file:p.wasm', config: {key: swordfish, other: {env: TOKEN}}}");
    let folder = tempfile::tempdir().unwrap();
    let host = common::host_with(folder.path(), &[("NODE_NAME", "n"), ("TOKEN", "hunter2")], &[]);
    let (config, _) = load_on(&text, &host).unwrap();
    assert_eq!(config.plugins["p"].config["key"], "swordfish");
    assert_eq!(config.plugins["p"].config["other"]["env"], "TOKEN");
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("swordfish") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_turns_out_wrong_later_is_placed_too() {
    let (config, _) = load(BASE, &[]).unwrap();
    let place = |keys: &[&str]| {
        let error = config.error_at(keys, "broken", None);
        let file = Path::new(&error.file).file_name().unwrap().to_str().unwrap().to_string();
        (file, error.line, error.column, error.path)
    };
    let at = |line, column, path: &str| ("x.yaml".to_string(), line, column, path.to_string());
    assert_eq!(place(&["plugins", "p", "artifact"]), at(6, 17, "plugins.p.artifact"));
    assert_eq!(place(&["plugins", "p", "config", "rates", "info"]), at(6, 3, "plugins.p.config.rates.info"));
    assert_eq!(place(&["pipelines", "all", "stages", "0"]), at(10, 32, "pipelines.all.stages[0]"));
    assert_eq!(place(&["data_dir"]), at(1, 1, "data_dir"));
}

#[test]
fn errors_are_given_as_json_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.yaml");
    std::fs::write(&file, "version: 1\ncluster: dev\nadmn: {}\n").unwrap();
    let errors = weir_config::load_on(&file, &common::host()).unwrap_err();
    let mut json = serde_json::to_value(&errors).unwrap();
    json[0]["file"] = "x.yaml".into();
    assert_eq!(
        json,
        serde_json::json!([{
            "file": "x.yaml", "line": 3, "column": 1, "path": "", "message": "unknown key `admn`",
            "help": "did you mean `admin`?",
        }])
    );
}
