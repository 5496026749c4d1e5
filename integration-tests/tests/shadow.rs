//! Shadows of plugins from outside: what they see and what is told of it, that nothing of them comes out, and how one takes
//! the place of what runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use integration_tests::{Admin, Node, PodLog, Registry, SignatureLayout, until, until_within};
use serde_json::{Value, json};
use weir_event::transform::Edit;

#[path = "../../agent/host/tests/host/guest.rs"]
#[allow(dead_code)]
mod guest;

use guest::Guest;

/// The plugin does what the first character of each message says; `MORE` stands in its map.
const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods, linger: 20ms}}
plugins:
  # Ours.
  marker:
    artifact: file:live.wasm # released in May
    limits: {deadline: 30ms}
    on_error: dead_letter
MORE
pipelines: {all: {from: [pods], stages: [marker], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

const SHADOW: &str = "    # The candidate.\n    shadow: file:shadow.wasm\n    shadow_share: 100%\n";

fn configure(node: &Node, more: &str) {
    node.configure(&CONFIG.replace("MORE\n", more));
}

/// Does what each row says, and takes the word `ready`, with which the agent tries plugins out, for no order.
fn by_row() -> Guest {
    let guest = Guest::by_row();
    let order = "(if (i32.eq (local.get $what) (i32.const 114)) (then (call $recurse)))";
    assert!(guest.transform.contains(order), "it recurses no more");
    Guest { transform: guest.transform.replace(order, ""), ..guest }
}

/// A node whose plugin has this shadow.
fn node_with(shadow: Option<Vec<u8>>) -> Node {
    let node = Node::new();
    node.write("live.wasm", by_row().build());
    configure(&node, if shadow.is_some() { SHADOW } else { "" });
    if let Some(shadow) = shadow {
        node.write("shadow.wasm", shadow);
    }
    node
}

fn version(guest: Guest, version: &str) -> Vec<u8> {
    let mut guest = guest;
    guest.manifest["version"] = json!(version);
    guest.build()
}

/// Writes messages and waits for their fate, so that they are a batch and no other waits.
fn batch(admin: &Admin, log: &mut PodLog, messages: &[&str]) {
    let read = || admin.ledger().account("all", "out").read.events;
    let before = admin.ledger().accounts.first().map_or(0, |_| read());
    log.lines(messages);
    until("the batch has its fate", || {
        let ledger = admin.ledger();
        ledger.check();
        let account = ledger.account("all", "out");
        account.read.events == before + messages.len() as u64 && account.is_settled()
    });
}

/// What `weir plugin shadow` says, whatever its exit code.
fn shadow(node: &Node) -> (Option<i32>, Value) {
    let ended = node.weir(&["plugin", "shadow", "marker", "-c", "weir.yaml", "--output", "json"]);
    let told = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended}"));
    (ended.code, told)
}

fn events(admin: &Admin, result: &str) -> u64 {
    admin.metrics().count("weir_plugin_shadow_events_total", &[("plugin", "marker"), ("result", result)])
}

fn is_in(admin: &Admin, state: &str) -> bool {
    admin.metrics().count("weir_plugin_shadow_state", &[("plugin", "marker"), ("state", state)]) == 1
}

const MESSAGES: [&str; 5] = ["keep", "drop me", "keep this", "d", "k"];
const BATCHES: usize = 25;

/// Runs a node for a while with this shadow, until `enough`; what it wrote, and what is told.
fn run(shadow_component: Option<Vec<u8>>, enough: impl Fn(&Admin) -> bool) -> (Vec<u8>, Value, String) {
    let has_shadow = shadow_component.is_some();
    let node = node_with(shadow_component);
    let mut log = node.pod("shop_cart_u1");
    let agent = node.start();
    let admin = agent.admin();
    for _ in 0..BATCHES {
        batch(&admin, &mut log, &MESSAGES);
    }
    let written = fs::read(node.path("out.ndjson")).unwrap();
    until_within(Duration::from_secs(240), "enough is compared", || {
        let is_enough = enough(&admin);
        if !is_enough {
            batch(&admin, &mut log, &MESSAGES);
        }
        is_enough
    });
    let told = if has_shadow { shadow(&node).1 } else { Value::Null };
    let metrics = admin.metrics();
    assert_eq!(metrics.count("weir_plugin_state", &[("plugin", "marker"), ("state", "healthy")]), 1);
    assert_eq!(metrics.count("weir_plugin_failed_events_total", &[("plugin", "marker")]), 0);
    let agent_log = agent.log();
    assert_eq!(agent.terminate().code, Some(0));
    let account = node.ledger().account("all", "out");
    assert_eq!(account.delivered.events, account.read.events / 5 * 3, "{account:?}");
    (written, told, agent_log)
}

/// Whatever the shadow does, what comes out is to the byte what comes out without it.
#[test]
fn nothing_of_a_shadow_comes_out() {
    let (plain, _, _) = run(None, |_| true);
    assert_eq!(plain.iter().filter(|byte| **byte == b'\n').count(), BATCHES * 3);
    let compared = |kind: &'static str| move |admin: &Admin| events(admin, kind) > 20;
    let off = |admin: &Admin| is_in(admin, "off");
    let keeps_all = Guest::default;
    let does = |what: &str| Guest { transform: what.to_owned(), ..Guest::default() };

    let (written, told, _) = run(Some(version(by_row(), "1.1.0")), compared("same"));
    assert!(written == plain, "one that does the same");
    assert_eq!(
        (&told["state"], &told["different"], &told["samples"]),
        (&json!("running"), &json!(0), &json!([]))
    );
    assert_eq!((&told["live"]["version"], &told["shadow"]["version"]), (&json!("1.0.0"), &json!("1.1.0")));

    let (written, told, _) = run(Some(version(keeps_all(), "1.2.0")), compared("dropped_to_kept"));
    assert!(written == plain, "one that keeps everything");
    let (all, kept) =
        (told["compared"].as_u64().unwrap(), told["events"]["dropped_to_kept"].as_u64().unwrap());
    assert_eq!((kept * 5, &told["different"]), (all * 2, &json!(kept)), "two of five are dropped");
    assert_eq!(told["samples"][0]["live"], json!({"drop": "dropped", "booked": "dropped"}));
    assert!(told["samples"][0]["shadow"]["keep"]["message"].is_string(), "{told}");

    let (written, told, _) = run(Some(version(Guest::echo(), "1.3.0")), compared("other_edits"));
    assert!(written == plain, "one that writes");
    let sample = told["samples"].as_array().unwrap().iter().find(|one| one["difference"] == "other_edits");
    let member = sample.unwrap()["members"][0].as_str().unwrap();
    assert!(member.starts_with("keep.copy: \"k") && member.ends_with("is new"), "{told}");

    let (written, told, log) = run(Some(version(does("unreachable"), "2.0.0")), off);
    assert!(written == plain, "one that traps");
    assert_eq!((&told["state"], told["events"]["same"].as_u64()), (&json!("off"), Some(0)));
    assert!(told["shadow"]["last_fault"].as_str().unwrap().starts_with("trap"), "{told}");
    assert!(log.contains("the shadow of a plugin keeps failing"), "{log}");

    let (written, told, _) = run(Some(version(does("(loop $spin (br $spin)) unreachable"), "2.1.0")), off);
    assert!(written == plain, "one that spins");
    assert!(told["shadow"]["last_fault"].as_str().unwrap().starts_with("deadline"), "{told}");

    let leaks = does("(drop (memory.grow (i32.const 16))) (i32.const 512)");
    let (written, told, _) = run(Some(version(leaks, "2.2.0")), compared("dropped_to_kept"));
    assert!(written == plain, "one that leaks");
    let peak = told["shadow"]["memory_peak"].as_u64().unwrap();
    assert!((1..=32 << 20).contains(&peak), "{peak}");
}

/// One that cannot be loaded stops nothing; it is told, and tried again.
#[test]
fn a_broken_shadow_is_told_and_stops_nothing() {
    let node = node_with(Some(b"no component".to_vec()));
    let ended = node.weir(&["check", "-c", "weir.yaml"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.log.contains("plugins.marker.shadow"), "{ended}");

    let mut log = node.pod("shop_cart_u1");
    let agent = node.start();
    let admin = agent.admin();
    batch(&admin, &mut log, &MESSAGES);
    assert!(is_in(&admin, "failed"));
    let (code, told) = shadow(&node);
    assert_eq!((code, &told["state"], &told["shadow"]), (Some(1), &json!("failed"), &Value::Null));
    assert!(told["error"].is_string() && admin.get("/").body.contains("not loaded"), "{told}");
    assert!(agent.log().contains("the shadow of a plugin cannot be loaded"), "{}", agent.log());
    assert_eq!(admin.reload().1["outcome"], "unchanged");

    // Mended, it is taken up without touching what runs.
    node.write("shadow.wasm", version(by_row(), "1.1.0"));
    let (status, answer) = admin.reload();
    assert_eq!(status, 200, "{answer}");
    until_within(Duration::from_secs(60), "it is compared", || {
        batch(&admin, &mut log, &MESSAGES);
        events(&admin, "same") > 0
    });
    assert_eq!(admin.generation()["generation"], 2, "one reload, whoever saw the file first");
    let compared = events(&admin, "same");
    // What the shadow is compared with stays as it is while something else changes.
    configure(&node, &(SHADOW.to_owned() + "# nothing\n"));
    assert_eq!(admin.reload().0, 200);
    assert!(events(&admin, "same") >= compared);
    // Events are shown to who may read the data folder.
    assert_eq!(admin.get("/api/plugins/marker/shadow").status, 401);
    // Taken away, it is not asked any more.
    configure(&node, "");
    assert_eq!(admin.reload().0, 200);
    let ended = node.weir(&["plugin", "shadow", "marker", "-c", "weir.yaml"]);
    assert!(ended.code == Some(1) && ended.log.contains("has no shadow"), "{ended}");
    assert_eq!(agent.terminate().code, Some(0));
}

fn promote(node: &Node, more: &[&str]) -> integration_tests::Ended {
    node.weir(&[&["plugin", "promote", "marker", "-c", "weir.yaml"], more].concat())
}

fn component(admin: &Admin) -> Value {
    let plugins: Value = serde_json::from_str(&admin.get("/api/plugins").body).unwrap();
    plugins["plugins"][0].clone()
}

#[test]
fn a_shadow_takes_the_place_of_what_runs() {
    let mut next = by_row();
    next.manifest = json!({"name": "guest", "version": "1.1.0", "worlds": ["transform"],
        "reads": "any", "writes": "any", "limits": {"memory": "16MiB"}});
    let node = node_with(Some(next.build()));
    let mut log = node.pod("shop_cart_u1");
    let before = fs::read_to_string(node.path("weir.yaml")).unwrap();
    let nobody = promote(&node, &[]);
    assert!(nobody.code == Some(1) && nobody.log.contains("no agent runs"), "{nobody}");
    let agent = node.start();
    let admin = agent.admin();

    let few = promote(&node, &["--allow-grown"]);
    assert!(few.code == Some(1) && few.log.contains("1 000 are wanted") && few.stdout.is_empty(), "{few}");
    until_within(Duration::from_secs(60), "some are compared", || {
        batch(&admin, &mut log, &MESSAGES);
        events(&admin, "same") >= 20
    });
    let grown = promote(&node, &["--min-events", "20", "--dry-run"]);
    assert!(grown.code == Some(1) && grown.log.contains("wants 16777216 bytes of memory"), "{grown}");
    let good = ["--min-events", "20", "--allow-grown"];
    let dry = promote(&node, &[&good[..], &["--dry-run"]].concat());
    assert!(dry.code == Some(0) && dry.stdout.contains("promotable"), "{dry}");

    // Printed as a file, and as a patch that git takes; nothing is changed by that.
    let after = before
        .replace("file:live.wasm # released", "file:shadow.wasm # released")
        .replace("    shadow: file:shadow.wasm\n    shadow_share: 100%\n", "");
    let printed = promote(&node, &good);
    assert_eq!((printed.code, printed.stdout.as_str()), (Some(0), after.as_str()), "{printed}");
    let patch = promote(&node, &[&good[..], &["--print"]].concat());
    assert_eq!(patch.code, Some(0), "{patch}");
    let copy = tempfile::tempdir().unwrap();
    fs::write(copy.path().join("weir.yaml"), &before).unwrap();
    fs::write(copy.path().join("p.patch"), &patch.stdout).unwrap();
    let mut git = Command::new("git");
    git.args(["apply", "p.patch"]).current_dir(copy.path()).stdin(Stdio::null());
    assert!(git.status().unwrap().success(), "{}", patch.stdout);
    assert_eq!(fs::read_to_string(copy.path().join("weir.yaml")).unwrap(), after);
    let elsewhere = promote(&node, &[&good[..], &["--write", "next.yaml"]].concat());
    assert_eq!(elsewhere.code, Some(0), "{elsewhere}");
    assert_eq!(fs::read_to_string(node.path("next.yaml")).unwrap(), after);
    assert_eq!(fs::read_to_string(node.path("weir.yaml")).unwrap(), before);
    assert_eq!(component(&admin)["version"], "1.0.0");

    // Written where it is, and running.
    let written = promote(&node, &[&good[..], &["--write", "--output", "json"]].concat());
    assert_eq!(written.code, Some(0), "{written}");
    let written: Value = serde_json::from_str(&written.stdout).unwrap();
    assert_eq!((&written["promotable"], &written["reload"]["generation"]), (&json!(true), &json!(2)));
    assert_eq!(fs::read_to_string(node.path("weir.yaml")).unwrap(), after);
    assert_eq!(component(&admin)["version"], "1.1.0");
    batch(&admin, &mut log, &MESSAGES);
    let again = promote(&node, &good);
    assert!(again.code == Some(1) && again.log.contains("plugins.marker has no shadow"), "{again}");
    assert_eq!(agent.terminate().code, Some(0));
}

#[test]
fn one_that_differs_is_promoted_only_by_who_accepts_that() {
    let mut next = by_row();
    next.plan.edits.push(Edit::Remove("stream".to_owned()));
    next.transform = "(i32.const 512)".to_owned();
    let node = node_with(Some(version(next, "1.1.0")));
    let mut log = node.pod("shop_cart_u1");
    let agent = node.start();
    let admin = agent.admin();
    until_within(Duration::from_secs(60), "some are compared", || {
        batch(&admin, &mut log, &MESSAGES);
        events(&admin, "dropped_to_kept") >= 20
    });
    for refused in [&[][..], &["--accept-differences", "39%"]] {
        let ended = promote(&node, &[&["--min-events", "20"], refused].concat());
        assert!(ended.code == Some(1) && ended.log.contains("come out differently (40.0000%)"), "{ended}");
    }
    for accepted in [&["--accept-differences"][..], &["--accept-differences", "40%"]] {
        let ended = promote(&node, &[&["--min-events", "20"], accepted].concat());
        assert_eq!(ended.code, Some(0), "{ended}");
    }
    // Somebody laid another file there.
    node.write("shadow.wasm", version(Guest::echo(), "1.2.0"));
    let other = promote(&node, &["--min-events", "20", "--accept-differences"]);
    let is_told = other.log.contains("is not what the agent compares") || other.log.contains("are wanted");
    assert!(other.code == Some(1) && is_told, "{other}");
    assert_eq!(agent.terminate().code, Some(0));
}

/// What the agent does not take is taken back: the file is as it was, and so is what runs.
#[test]
fn a_promotion_that_the_agent_refuses_is_taken_back() {
    // On the words with which the agent tries plugins out, it recurses without end.
    let node = node_with(Some(version(Guest::by_row(), "1.1.0")));
    let before = fs::read_to_string(node.path("weir.yaml")).unwrap();
    let mut log = node.pod("shop_cart_u1");
    let agent = node.start();
    let admin = agent.admin();
    until_within(Duration::from_secs(60), "some are compared", || {
        batch(&admin, &mut log, &MESSAGES);
        events(&admin, "same") >= 20
    });
    let refused = promote(&node, &["--min-events", "20", "--write"]);
    assert!(refused.code == Some(1) && refused.log.contains("weir.yaml is as it was"), "{refused}");
    assert!(refused.log.contains("fails on the ordinary events"), "{refused}");
    assert_eq!(fs::read_to_string(node.path("weir.yaml")).unwrap(), before);
    assert_eq!(component(&admin)["version"], "1.0.0");
    batch(&admin, &mut log, &MESSAGES);
    assert_eq!(agent.terminate().code, Some(0));
}

/// From a registry, by a tag, and signed; promoted as the digest that was compared.
#[test]
fn a_shadow_from_a_registry_is_verified_and_pinned() {
    let registry = Registry::of_crane();
    let keys = registry.generate_keys();
    let node = node_with(None);
    node.write("next.wasm", version(by_row(), "1.1.0"));
    let reference = format!("oci://{}:1.1.0", registry.repository("marker"));
    let pushed = node.weir(&["plugin", "push", "next.wasm", &reference, "--output", "json"]);
    let pushed: Value =
        serde_json::from_str(&pushed.stdout).unwrap_or_else(|error| panic!("{error}: {pushed}"));
    let digest = pushed["digest"].as_str().unwrap();
    let keys_file = keys.public();
    configure(
        &node,
        &format!(
            "    verify: {{key: {{file: '{}'}}}}\n    shadow: '{reference}'\n    shadow_share: 100%\n",
            keys_file.display()
        ),
    );
    let mut log = node.pod("shop_cart_u1");
    let agent = node.start();
    let admin = agent.admin();
    let (_, told) = shadow(&node);
    assert_eq!(told["state"], "failed", "nobody signed it: {told}");
    batch(&admin, &mut log, &MESSAGES);

    registry.sign("marker", digest, &keys, SignatureLayout::Tag);
    let (status, answer) = admin.reload();
    assert_eq!((status, &answer["outcome"]), (200, &json!("reloaded")), "{answer}");
    until_within(Duration::from_secs(60), "it is compared", || {
        batch(&admin, &mut log, &MESSAGES);
        events(&admin, "same") >= 20
    });
    let (code, told) = shadow(&node);
    assert_eq!((code, &told["shadow"]["digest"]), (Some(0), &json!(digest)), "{told}");
    assert!(told["shadow"]["key"].is_string(), "{told}");
    let written = promote(&node, &["--min-events", "20", "--write"]);
    assert_eq!(written.code, Some(0), "{written}");
    assert!(written.stdout.contains("generation 3 runs with it"), "{written}");
    let text = fs::read_to_string(node.path("weir.yaml")).unwrap();
    let pinned = format!("    artifact: '{reference}@{digest}' # released in May\n");
    assert!(text.contains(&pinned) && !text.contains("shadow"), "{text}");
    assert_eq!(component(&admin)["artifact"]["digest"], json!(digest));
    assert_eq!(agent.terminate().code, Some(0));
}

/// A plugin that spins at every batch has a thread of its own; the other pipeline does not wait for it.
#[test]
fn a_plugin_that_spins_does_not_slow_other_pipelines() {
    const SPINS: u64 = 60;
    let node = Node::new();
    node.write("live.wasm", by_row().build());
    node.configure(
        "
sources:
  bad: {type: file, include: [bad.log], format: text, linger: 10ms}
  good: {type: kubernetes_logs, path: pods, linger: 10ms}
plugins:
  marker: {artifact: file:live.wasm, limits: {deadline: 1s}}
  other: {artifact: file:live.wasm}
pipelines:
  slow: {from: [bad], stages: [marker], to: [slow]}
  all: {from: [good], stages: [other], to: [out]}
sinks:
  slow: {type: file, path: slow.ndjson}
  out: {type: file, path: out.ndjson}
",
    );
    let mut log = node.pod("shop_cart_u1");
    let agent = node.start();
    let admin = agent.admin();
    let state = |state| admin.metrics().count("weir_plugin_state", &[("plugin", "marker"), ("state", state)]);
    let bad = || fs::File::options().create(true).append(true).open(node.path("bad.log")).unwrap();
    // Batches of their own, each with one event that spins: at least two seconds of CPU time each.
    let filler = "k".repeat(20_000);
    let text: String =
        (0..SPINS).map(|n| format!("spin {n}\n") + &format!("{filler}\n").repeat(26)).collect();
    std::io::Write::write_all(&mut bad(), text.as_bytes()).unwrap();
    until_within(Duration::from_secs(240), "it is degraded", || state("degraded") == 1);
    for _ in 0..100 {
        batch(&admin, &mut log, &MESSAGES);
    }
    let slow = admin.ledger().account("slow", "slow");
    assert!(!slow.is_settled() && slow.delivered.events < SPINS * 27, "{slow:?}");
    assert_eq!(state("degraded"), 1);
    assert_eq!(admin.ledger().account("all", "out").read.events, 500);
    agent.kill();
}
