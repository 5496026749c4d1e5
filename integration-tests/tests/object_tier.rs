//! The third tier: what the disk has no room for goes to a real MinIO, survives what the disk survives, and comes once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::time::{Duration, Instant};

use integration_tests::{Agent, FaultProxy, MinIo, Node, Schedule, count, numbers, until, until_within};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

/// For what waits for uploads on a machine that is shared.
const LONG: Duration = Duration::from_secs(60);

fn configure(node: &Node, object_store: &str) {
    node.configure(&format!(
        "
sources: {{pods: {{type: kubernetes_logs, path: pods, linger: 50ms}}}}
pipelines: {{all: {{from: [pods], to: [out]}}}}
sinks: {{out: {{type: file, path: out.ndjson, buffer: durable}}}}
buffers: {{durable: {{memory: 8MiB, disk: 8MiB, object_store: {{{object_store}}}}}}}
"
    ));
}

/// Events of 8 KiB that no compression makes much smaller.
fn large_events(range: std::ops::Range<u64>) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(range.start);
    let mut text = || -> String { (0..8192).map(|_| char::from(random.random_range(b'0'..=b'z'))).collect() };
    range.map(|n| json!({"n": n, "text": text()}).to_string()).collect()
}

/// Events in memory, on disk and in the object store.
fn buffered(agent: &Agent) -> [u64; 3] {
    let account = agent.admin().ledger().account("all", "out");
    ["memory", "disk", "object"].map(|tier| account.buffered.get(tier).map_or(0, |amount| amount.events))
}

#[test]
fn what_the_disk_has_no_room_for_survives_a_kill_in_the_object_store_and_comes_once() {
    const EVENTS: u64 = 4_000;
    let (node, minio) = (Node::new(), MinIo::shared());
    configure(&node, &minio.configuration(&node, &minio.url()));
    node.break_output();
    let agent = node.start();
    node.pod("shop_cart_u1").lines(large_events(0..EVENTS));
    until_within(LONG, "all is safe", || {
        let [memory, disk, object] = buffered(&agent);
        (memory, disk + object) == (0, EVENTS) && object > 0
    });
    let metrics = agent.admin().metrics();
    let used = |tier: &str| metrics.count("weir_buffer_used_bytes", &[("sink", "out"), ("tier", tier)]);
    assert!(used("disk") <= 8 << 20, "the disk's bound holds: {}", used("disk"));
    assert!(used("object") > 8 << 20, "there is more than the disk holds: {}", used("object"));
    until("the checkpoint knows", || node.durably_buffered("all", "out") == EVENTS);
    agent.kill();
    let account = node.ledger().account("all", "out");
    assert_eq!(account.buffered["disk"].events + account.buffered["object"].events, EVENTS);
    assert!(account.buffered["object"].events > 0, "{account:?}");
    let buffer = |arguments: &[&str]| {
        let ended = node.weir(&[&["buffer"], arguments, &["-c", "weir.yaml", "--output", "json"]].concat());
        assert_eq!(ended.code, Some(0), "{ended}");
        serde_json::from_str::<Value>(&ended.stdout).unwrap()
    };
    let verified = buffer(&["fsck"]);
    let files = verified["files"].as_array().unwrap().iter();
    let readable: u64 =
        files.filter(|file| file["state"] == "whole").filter_map(|file| file["readable"].as_u64()).sum();
    assert_eq!((&verified["damaged"], &verified["missing"], readable), (&json!(0), &json!(0), EVENTS));
    assert_eq!(buffer(&["export", "-o", "export.ndjson"])["events"], EVENTS);
    assert_eq!(count(&node.path("export.ndjson")), EVENTS);

    fs::remove_dir_all(node.path("pods")).unwrap();
    node.heal_output();
    let agent = node.start();
    let out = node.path("real.ndjson");
    until_within(LONG, "all of it arrives", || count(&out) == EVENTS);
    let delivered = Instant::now();
    until_within(LONG, "what is delivered leaves the bucket", || minio.segments().is_empty());
    assert!(delivered.elapsed() < Duration::from_secs(10), "{:?}", delivered.elapsed());
    assert_eq!(buffered(&agent), [0; 3]);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(numbers(&out), (0..EVENTS).collect::<Vec<_>>(), "each once, in order");
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events, account.lost_events()), (EVENTS, EVENTS, 0));
}

/// Without the store the disk's bound holds; when it is back all goes on.
#[test]
fn a_store_that_is_away_stops_nothing_for_good() {
    const EVENTS: u64 = 4_000;
    let (node, minio) = (Node::new(), MinIo::shared());
    let proxy = FaultProxy::start(minio.address(), Schedule::quiet());
    proxy.set_away(true);
    configure(&node, &minio.configuration(&node, &proxy.url()));
    node.break_output();
    let agent = node.start();
    node.pod("shop_cart_u1").lines(large_events(0..EVENTS));
    let failing =
        || agent.admin().metrics().count("weir_buffer_object_store_failing", &[("sink", "out")]) == 1;
    until_within(LONG, "the store fails", failing);
    let used =
        || agent.admin().metrics().count("weir_buffer_used_bytes", &[("sink", "out"), ("tier", "disk")]);
    until_within(LONG, "the disk is nearly full", || used() > 6 << 20);
    assert!(used() <= 8 << 20);
    assert_eq!(buffered(&agent)[2], 0);
    assert_eq!(agent.admin().get("/healthz").status, 200);

    proxy.set_away(false);
    until_within(LONG * 2, "all is safe", || {
        let [memory, disk, object] = buffered(&agent);
        (memory, disk + object) == (0, EVENTS)
    });
    node.heal_output();
    let out = node.path("real.ndjson");
    until_within(LONG, "all of it arrives", || count(&out) == EVENTS);
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(numbers(&out), (0..EVENTS).collect::<Vec<_>>(), "each once, in order");
}

/// Nobody can use the store, and everybody is told why and what to do.
#[test]
fn a_store_that_refuses_says_why() {
    let minio = MinIo::shared();
    let refused = |change: &dyn Fn(&Node, String) -> String, expected: &[&str]| {
        let node = Node::new();
        configure(&node, &change(&node, minio.configuration(&node, &minio.url())));
        node.break_output();
        let agent = node.start();
        node.pod("shop_cart_u1").lines(large_events(0..1_500));
        until_within(LONG, expected[0], || expected.iter().all(|text| agent.log().contains(text)));
        let log = agent.log();
        assert!(!log.contains("weir-tests-secret"), "{log}");
        assert_eq!(agent.admin().get("/healthz").status, 200, "it lives");
        agent.kill();
    };
    let with = |from: &'static str, to: &'static str| {
        move |_: &Node, text: String| {
            assert!(text.contains(from), "{text}");
            text.replace(from, to)
        }
    };
    refused(
        &with("create_bucket: true", "create_bucket: false"),
        &["bucket does not exist", "create_bucket: true"],
    );
    refused(
        &|node, text| {
            node.write("secret-key", "another");
            text
        },
        &["the secret key is not that of the access key", "see to secret_key"],
    );
    refused(
        &|node, text| {
            node.write("access-key", "nobody");
            text
        },
        &["does not know the access key", "see to access_key"],
    );
}

/// What lies on disk goes to the store when somebody asks for it, and at the end where that is configured.
#[test]
fn a_drain_empties_the_disk() {
    let (node, minio) = (Node::new(), MinIo::shared());
    let store = minio.configuration(&node, &minio.url());
    configure(&node, &format!("{store}, drain_on_stop: true"));
    node.break_output();
    let agent = node.start();
    let mut log = node.pod("shop_cart_u1");
    log.lines(large_events(0..100));
    until("all is read", || buffered(&agent).iter().sum::<u64>() == 100);
    let drained = agent.admin().post("/api/drain", &[]);
    assert_eq!(drained.status, 200, "{drained:?}");
    assert_eq!(buffered(&agent), [0, 0, 100]);

    log.lines(large_events(100..200));
    until("all is read", || buffered(&agent).iter().sum::<u64>() == 200);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.wall < Duration::from_secs(60), "{ended}");
    let account = node.ledger().account("all", "out");
    assert_eq!(account.buffered.get("object").map(|amount| amount.events), Some(200), "{account:?}");
    node.heal_output();
    node.run_once_well();
    assert_eq!(numbers(&node.path("real.ndjson")), (0..200).collect::<Vec<_>>());
}

/// Without keys in the configuration those of the environment count; without any the log says what to do.
#[test]
fn keys_may_come_from_the_environment() {
    let (node, minio) = (Node::new(), MinIo::shared());
    let (access_key, secret_key) = minio.keys_to_sign_with();
    let (endpoint, bucket) = (minio.url(), minio.bucket());
    configure(&node, &format!("endpoint: '{endpoint}', bucket: {bucket}, create_bucket: true"));
    node.break_output();
    let command = |profile: &str| {
        let mut command = node.command(&["run", "-c", "weir.yaml"]);
        for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
            command.env_remove(variable);
        }
        // Nobody is asked on the network.
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_CONFIG_FILE", "/dev/null");
        command.env("AWS_SHARED_CREDENTIALS_FILE", profile);
        command
    };
    let agent = node.start_with(command("/dev/null"));
    node.pod("shop_cart_u1").lines(large_events(0..50));
    until("all is read", || buffered(&agent).iter().sum::<u64>() == 50);
    until_within(LONG, "the log says that there are no keys", || {
        agent.log().contains("there are no keys to sign requests with")
    });
    agent.kill();

    let text = format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n");
    let profile = node.write("profile", text);
    let agent = node.start_with(command(profile.to_str().unwrap()));
    until("all is read again", || buffered(&agent).iter().sum::<u64>() == 50);
    let drained = agent.admin().post("/api/drain", &[]);
    assert_eq!(drained.status, 200, "{drained:?}");
    assert_eq!(buffered(&agent), [0, 0, 50]);
    assert!(!agent.log().contains(&secret_key), "a secret in the log");
    node.heal_output();
    until_within(LONG, "all arrives", || count(&node.path("real.ndjson")) == 50);
    assert_eq!(agent.terminate().code, Some(0));
}
