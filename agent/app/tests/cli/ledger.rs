//! `weir ledger`, of a running agent and of one that has ended.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Ended, Folder, is_there};

const CONFIG: &str = "\
version: 1
cluster: test
node: node-1
data_dir: data
sources:
  app: {type: file, include: [in/*.log], linger: 10ms}
pipelines:
  logs: {from: [app], to: [out]}
sinks:
  out: {type: file, path: out.ndjson}
admin: {listen: '127.0.0.1:0'}
";

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn folder() -> Folder {
    Folder::new(&[("weir.yaml", CONFIG), ("in/a.log", "one\ntwo\n")])
}

fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn delivered(report: &Value) -> Option<u64> {
    report["accounts"][0]["delivered"]["events"].as_u64()
}

fn end(mut agent: Child) -> Ended {
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    wait_until("the agent ends", || agent.try_wait().unwrap());
    agent.wait_with_output().unwrap().into()
}

#[test]
fn the_ledger_comes_from_the_agent_and_then_from_its_checkpoint() {
    let folder = folder();
    let mut command = folder.command(&["run", "-c", "weir.yaml"]);
    let agent = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the agent says where it is", || is_there(&folder.path("data/admin.json")).then_some(()));
    let ask = ["ledger", "-c", "weir.yaml", "--output", "json"];
    let live = wait_until("both lines arrive", || {
        let report = folder.run(&ask).json();
        (delivered(&report) == Some(2)).then_some(report)
    });
    assert_eq!((&live["agent"], &live["accounts"][0]["balanced"]), (&"live".into(), &true.into()));

    let ended = end(agent);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!is_there(&folder.path("data/admin.json")));
    let ended = folder.run(&ask);
    let stopped = ended.json();
    assert_eq!((ended.code, &stopped["agent"]), (Some(0), &"stopped".into()));
    assert_eq!(stopped["accounts"], live["accounts"]);
}

#[test]
fn a_single_run_ends_with_its_ledger() {
    let folder = folder();
    let ended = folder.run(&["run", "-c", "weir.yaml", "--once"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stderr.contains("logs → out  balanced\n"), "{ended:?}");
    let text = folder.run(&["ledger", "--data-dir", "data"]);
    assert_eq!(text.code, Some(0));
    assert!(text.stdout.starts_with("No agent answers; the ledger of the last checkpoint in /"), "{text:?}");
    assert!(text.stdout.contains("logs → out  balanced\n"), "{text:?}");
}

#[test]
fn an_empty_data_folder_has_an_empty_ledger() {
    let folder = Folder::new(&[("data/keep", "")]);
    let ended = folder.run(&["ledger", "--data-dir", "data", "--output", "json"]);
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.json(), serde_json::json!({"agent": "stopped", "accounts": []}));
    let missing = folder.run(&["ledger", "--data-dir", "nowhere"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(1), ""));
    assert!(missing.stderr.contains("nowhere"), "{missing:?}");
}

#[test]
fn a_configuration_that_cannot_run_is_told_like_one_that_is_checked() {
    let folder = Folder::new(&[("weir.yaml", &CONFIG.replace("cluster", "clutser"))]);
    let [ran, checked] = ["run", "check"].map(|command| folder.run(&[command, "-c", "weir.yaml"]));
    assert_eq!((ran.code, checked.code), (Some(1), Some(1)));
    assert_eq!(ran.stderr, checked.stderr);
}
