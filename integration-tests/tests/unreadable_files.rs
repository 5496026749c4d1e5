//! Files that cannot be read: they are told, they hold nobody up, and they are read once they can be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use integration_tests::{Node, count, numbers, until};
use rustix::fs::{CWD, FileType, mknodat};

const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

/// Pods with a folder, a dangling link, a named pipe, a file that fails when it is read, one without any rights to read
/// it and a folder without any; and a good one.
fn odd_files(node: &Node) {
    node.pod("shop_good_u1").lines([r#"{"n":1}"#, r#"{"n":2}"#]);
    let log = |pod: &str| {
        let folder = node.path("pods").join(pod).join("main");
        fs::create_dir_all(&folder).unwrap();
        folder.join("0.log")
    };
    fs::create_dir(log("shop_folder_u2")).unwrap();
    symlink("nowhere", log("shop_dangling_u3")).unwrap();
    mknodat(CWD, log("shop_pipe_u4"), FileType::Fifo, 0o600.into(), 0).unwrap();
    symlink("/proc/self/mem", log("shop_failing_u5")).unwrap();
    let mut secret = node.pod("shop_secret_u6");
    secret.line(r#"{"n":3}"#);
    set_mode(&secret.path().to_owned(), 0);
    node.pod("shop_closed_u7").line(r#"{"n":4}"#);
    set_mode(&node.path("pods/shop_closed_u7/main"), 0);
}

fn set_mode(path: &PathBuf, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_can_be_read_is_delivered_and_the_rest_is_told() {
    let node = Node::new();
    node.configure(CONFIG);
    odd_files(&node);
    let command = node.command_bound_by_modes(&["run", "-c", "weir.yaml", "--once"]);
    let ended = integration_tests::Agent::spawn(command, &node.path("data")).wait();
    assert_eq!(numbers(&node.path("out.ndjson")), [1, 2], "{ended}");
    for path in ["shop_failing_u5/main/0.log", "shop_secret_u6/main/0.log", "shop_closed_u7/main"] {
        assert!(ended.log.contains(path), "{path}: {ended}");
    }
    assert!(!ended.log.contains("panicked"), "{ended}");
    assert_eq!(ended.code, Some(0), "nothing was lost: {ended}");
    node.ledger().account("all", "out");

    // The next run takes up what it can read by then.
    set_mode(&node.path("pods/shop_closed_u7/main"), 0o755);
    set_mode(&node.path("pods/shop_secret_u6/main/0.log"), 0o644);
    node.run_once();
    let mut read = numbers(&node.path("out.ndjson"));
    read.sort_unstable();
    assert_eq!(read, [1, 2, 3, 4]);
}

#[test]
fn a_file_that_becomes_readable_is_read() {
    let node = Node::new();
    node.configure(CONFIG);
    odd_files(&node);
    let agent = node.start_with(node.command_bound_by_modes(&["run", "-c", "weir.yaml"]));
    let out = node.path("out.ndjson");
    until("the good file is read", || count(&out) == 2);
    let errors = || agent.admin().metrics().count("weir_source_errors_total", &[("source", "pods")]);
    until("the others are counted", || errors() >= 3);
    set_mode(&node.path("pods/shop_closed_u7/main"), 0o755);
    set_mode(&node.path("pods/shop_secret_u6/main/0.log"), 0o644);
    until("the others are read", || count(&out) == 4);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events), (4, 4));
}

/// A tree that is not there yet is no error: the kubelet makes it with the first pod.
#[test]
fn a_tree_that_appears_later_is_read() {
    let node = Node::new();
    node.configure(&CONFIG.replace("path: pods", "path: later/pods"));
    let agent = node.start();
    let mut log = integration_tests::PodLog::create(&node.path("later/pods"), "shop_cart_u1");
    log.line(r#"{"n":1}"#);
    until("the line is there", || count(&node.path("out.ndjson")) == 1);
    assert_eq!(agent.terminate().code, Some(0));
}
