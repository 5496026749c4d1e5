//! The manifests in deploy/: their configuration is one that this agent takes and works with, and the folders and the
//! port that it names are those of the DaemonSet and the image.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use integration_tests::{checkout, parse, plugins, weir};

/// What the configuration names on a node, and what of it has to be elsewhere in a test.
const DATA: &str = "/var/lib/weir";
const LOGS: &str = "/var/log/pods";
const PLUGINS: &str = "/usr/share/weir/plugins";
const LISTEN: &str = "0.0.0.0:9600";

fn deploy(file: &str) -> String {
    let path = checkout().join("deploy").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Runs the agent on the configuration, with its folders moved into `folder`.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let elsewhere = |path: &Path| path.to_str().unwrap().to_owned();
    let moved = [
        (DATA, elsewhere(&folder.join("data"))),
        (LOGS, elsewhere(&checkout().join("configs/recorded/pods"))),
        (PLUGINS, elsewhere(&plugins())),
        (LISTEN, "127.0.0.1:0".to_owned()),
    ];
    let mut config = deploy("kubernetes/weir.yaml");
    for (from, to) in moved {
        assert!(config.contains(from), "the configuration does not name {from} any more");
        config = config.replace(from, &to);
    }
    let path = folder.join("weir.yaml");
    fs::write(&path, config).unwrap();
    Command::new(weir()).args(arguments).arg("-c").arg(&path).output().unwrap()
}

fn check(output: &Output) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}\n{stdout}\n{stderr}", output.status);
}

#[test]
fn the_configuration_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    check(&run(folder.path(), &["check"]));
}

#[test]
fn the_configuration_delivers_container_logs() {
    let folder = tempfile::tempdir().unwrap();
    check(&run(folder.path(), &["run", "--once"]));
    let documents = parse(&folder.path().join("data/out/events.ndjson"));
    assert!(documents.iter().any(|document| document["kubernetes"]["namespace"] == "observability"));
    assert!(documents.iter().all(|document| document["cluster"] == "my-cluster"));
}

#[test]
fn the_pod_has_what_the_configuration_names() {
    let pod = deploy("kubernetes/daemonset.yaml");
    let mounted =
        ["mountPath: /var/lib/weir}", "mountPath: /var/log, readOnly: true", "mountPath: /etc/weir"];
    for mounted in mounted {
        assert!(pod.contains(mounted), "the DaemonSet does not say {mounted}");
    }
    let (_, port) = LISTEN.rsplit_once(':').unwrap();
    assert!(pod.contains(&format!("containerPort: {port}")), "the DaemonSet does not open {port}");
    assert!(deploy("Dockerfile").contains(PLUGINS), "the image has no plugins at {PLUGINS}");
}

#[test]
fn kustomize_finds_every_file() {
    let kustomization = deploy("kubernetes/kustomization.yaml");
    let named: Vec<&str> = kustomization.split_whitespace().filter(|word| word.ends_with(".yaml")).collect();
    assert!(named.contains(&"weir.yaml") && named.contains(&"daemonset.yaml"), "{named:?}");
    for file in named {
        assert!(checkout().join("deploy/kubernetes").join(file).is_file(), "there is no {file}");
    }
}
