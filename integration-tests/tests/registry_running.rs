//! A registry beside an agent that runs: tags that move or cannot be looked up, and what was refused while it was down.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use integration_tests::registry_node::{OTHER_PLUGIN, PLUGIN, configure, node_with, push, verified_by};
use integration_tests::{
    Gate, KeyPair, Message, Node, PATIENCE, Registry, SignatureLayout, Verdict, plugin, until, until_within,
};
use serde_json::{Value, json};

static CRANE: LazyLock<Registry> = LazyLock::new(Registry::of_crane);
static KEYS: LazyLock<KeyPair> = LazyLock::new(|| CRANE.generate_keys());

/// What is signed goes to work; what is not leaves the old one running.
#[test]
fn a_running_agent_follows_a_tag_where_it_is_told_to_look() {
    let first = push(&CRANE, "polled", "1", PLUGIN);
    CRANE.sign("polled", &first, &KEYS, SignatureLayout::Tag);
    let reference = format!("oci://{}:1", CRANE.repository("polled"));
    let node = node_with(&reference, &format!("{}, poll: 1s", verified_by(&KEYS.public())), "");
    let agent = node.start();
    let labels = |digest: &str, from: &'static str| {
        let digest = digest.to_owned();
        [
            ("plugin", "p".to_owned()),
            ("digest", digest),
            ("reference", reference.clone()),
            ("from", from.to_owned()),
        ]
    };
    let runs = |digest: &str, from: &'static str| {
        let labels = labels(digest, from);
        let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
        agent.admin().metrics().find("weir_plugin_artifact_info", &labels) == Some(1.0)
    };
    assert!(runs(&first, "registry"));
    let stale = agent.admin().metrics().value("weir_plugin_artifact_stale", &[("plugin", "p")]);
    assert_eq!(stale, 0.0);
    let second = push(&CRANE, "polled", "1", OTHER_PLUGIN);
    until("what nobody signed is refused", || agent.log().contains("it is not signed"));
    assert!(runs(&first, "registry"), "the old one does not run any more");
    CRANE.sign("polled", &second, &KEYS, SignatureLayout::Bundle);
    until("what is signed runs", || runs(&second, "registry"));
    // However often it was looked at meanwhile.
    let log = agent.log();
    for told in ["the tag of a plugin has moved", "it is not signed"] {
        assert_eq!(log.matches(told).count(), 1, "{told}: {log}");
    }
    let shown = agent.admin().get("/api/plugins").body;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let shown = &shown["plugins"][0];
    assert_eq!((&shown["plugin"], &shown["name"]), (&json!("p"), &json!(OTHER_PLUGIN)));
    let artifact = &shown["artifact"];
    assert_eq!((&artifact["digest"], &artifact["reference"]), (&json!(second), &json!(reference)));
    assert!(artifact["key"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!((&artifact["from"], &artifact["stale"]), (&json!("registry"), &json!(null)));
    // The same component as another artefact is noted, and is no change.
    let third = CRANE.push_by_crane("polled:1", &fs::read(plugin(OTHER_PLUGIN)).unwrap());
    assert_ne!(second, third);
    CRANE.sign("polled", &third, &KEYS, SignatureLayout::Tag);
    until("the other name of the same is noted", || runs(&third, "cache"));
    assert_eq!(agent.terminate().code, Some(0));
}

/// A gate in front of the registry, and whether the registry is down behind it.
fn fallible_gate() -> (Gate, Arc<AtomicBool>) {
    let is_down = Arc::new(AtomicBool::new(false));
    let down = Arc::clone(&is_down);
    let judge = move |_: &Message| match down.load(Ordering::Relaxed) {
        true => Verdict::Answer(Message::answer(503, "Service Unavailable", "{}")),
        false => Verdict::Pass,
    };
    (Gate::start(CRANE.socket(), judge, |_, _| {}), is_down)
}

#[test]
fn a_tag_that_can_be_looked_up_again_is_not_stale_any_more() {
    let digest = push(&CRANE, "flapping", "1", PLUGIN);
    let (gate, is_down) = fallible_gate();
    let reference = format!("oci://{}/{}:1", gate.address(), Registry::name("flapping"));
    let node = node_with(&reference, ", poll: 1s", "");
    let agent = node.start();
    let is_stale = || agent.admin().metrics().value("weir_plugin_artifact_stale", &[("plugin", "p")]) == 1.0;
    assert!(!is_stale());
    for _ in 0..2 {
        is_down.store(true, Ordering::Relaxed);
        until("the tag is stale", is_stale);
        let shown: Value = serde_json::from_str(&agent.admin().get("/api/plugins").body).unwrap();
        let artifact = &shown["plugins"][0]["artifact"];
        assert_eq!(artifact["digest"], json!(digest));
        assert!(artifact["stale"].as_str().is_some_and(|why| why.contains("503")), "{artifact}");
        is_down.store(false, Ordering::Relaxed);
        until("the tag is right again", || !is_stale());
    }
    assert_eq!(agent.admin().generation()["generation"], 1);
    agent.terminate();
}

#[test]
fn what_was_refused_because_a_registry_was_down_is_tried_again() {
    push(&CRANE, "later", "1", PLUGIN);
    let (gate, is_down) = fallible_gate();
    is_down.store(true, Ordering::Relaxed);
    let reference = format!("oci://{}/{}:1", gate.address(), Registry::name("later"));
    let node = Node::with_compiled(&[PLUGIN]);
    node.configure("sources: {in: {type: file, include: [in.log], format: text}}\npipelines: {all: {from: [in], to: [out]}}\nsinks: {out: {type: file, path: out.ndjson}}\n");
    let agent = node.start();
    let admin = agent.admin();
    let next_try = || admin.metrics().value("weir_config_next_try_timestamp_seconds", &[]);
    assert_eq!((next_try(), &admin.generation()["next_try"]), (0.0, &Value::Null));
    configure(&node, &reference, "", "");
    let (status, answer) = admin.reload();
    assert_eq!(status, 422, "{answer}");
    assert!(admin.generation()["next_try"].is_string() && next_try() > 0.0);
    let told = || agent.log().matches("it is tried again by itself").count();
    let at_first = told();
    until("it is tried again", || admin.generation()["last_reload"]["trigger"] == "retry");
    is_down.store(false, Ordering::Relaxed);
    until_within(PATIENCE * 4, "it is taken", || admin.generation()["generation"] == 2);
    let last = &admin.generation()["last_reload"];
    assert_eq!((&last["trigger"], &last["outcome"]), (&json!("retry"), &json!("reloaded")));
    assert_eq!((next_try(), &admin.generation()["next_try"]), (0.0, &Value::Null));
    // The reasons are told once, however often it was tried.
    assert!(at_first > 0 && told() == at_first, "{}", agent.log());
    // What is wrong in the files is not tried again before they are others.
    node.configure("sauces: {}\n");
    assert_eq!(admin.reload().0, 422);
    assert_eq!((next_try(), &admin.generation()["next_try"]), (0.0, &Value::Null));
    agent.terminate();
}
