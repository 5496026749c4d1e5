//! Agents that are gone: what they left in a real MinIO is delivered by another, by one, once; what was on their disks is
//! reported; and one that comes back changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/bucket.rs"]
mod bucket;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use integration_tests::{Account, Agent, MinIo, Node, count, numbers, until_within};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use weir_buffer::object::ObjectStore as _;
use weir_object::S3;

/// For what waits for others on a machine that is shared.
const LONG: Duration = Duration::from_secs(120);
const EVENTS: u64 = 2_500;

fn configure(node: &Node, minio: &MinIo, gone_after: &str) {
    let store = minio.configuration(node, &minio.url());
    node.configure(&format!(
        "
sources: {{pods: {{type: kubernetes_logs, path: pods, linger: 50ms}}}}
pipelines: {{all: {{from: [pods], to: [out]}}}}
sinks: {{out: {{type: file, path: out.ndjson, buffer: durable}}}}
buffers: {{durable: {{memory: 8MiB, disk: 8MiB, object_store: {{{store}, gone_after: {gone_after}}}}}}}
"
    ));
}

/// Events of 8 KiB that no compression makes much smaller.
fn large_events(range: std::ops::Range<u64>) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(range.start);
    let mut text = || -> String { (0..8192).map(|_| char::from(random.random_range(b'0'..=b'z'))).collect() };
    range.map(|n| json!({"n": n, "text": text()}).to_string()).collect()
}

/// The agents' manifests in a bucket.
struct Manifests {
    store: S3,
    _runtime: Runtime,
}

impl Manifests {
    fn new(minio: &MinIo) -> Manifests {
        let runtime = bucket::runtime();
        let store = bucket::client(minio, &minio.url(), &runtime);
        Manifests { store, _runtime: runtime }
    }

    fn read(&self, folder: &str) -> Value {
        let object = self.store.get(&format!("{folder}agent.json"), 16 << 20).unwrap();
        serde_json::from_slice(&object.bytes).unwrap()
    }
}

/// The folder of the only agent in the bucket.
fn folder(minio: &MinIo) -> String {
    let keys = minio.keys();
    let mut folders = keys.iter().filter_map(|key| key.strip_suffix("agent.json"));
    let folder = folders.next().unwrap().to_owned();
    assert_eq!(folders.next(), None, "{keys:?}");
    folder
}

/// Events that lie on the disk and in the store: as a manifest says, and what was brought there since it was written.
fn told(manifest: &Value, segments: &[String]) -> (u64, u64) {
    let (mut disk, mut object) = (0, 0);
    for (number, file) in manifest["sinks"]["out"]["files"].as_object().into_iter().flatten() {
        let events = file["accounts"]["all"]["events"].as_u64().unwrap();
        let is_brought = segments.iter().any(|key| key.contains(&format!("/{number}-")));
        if is_brought { object += events } else { disk += events }
    }
    (disk, object)
}

fn account(agent: &Agent) -> Account {
    agent.admin().ledger().account("all", "out")
}

/// An agent whose sink takes nothing, killed with events on its disk and in the bucket: how many on each.
fn kill_one_that_holds(node: &Node, minio: &MinIo) -> (u64, u64) {
    configure(node, minio, "3s");
    node.break_output();
    let agent = node.start();
    node.pod("shop_cart_u1").lines(large_events(0..EVENTS));
    until_within(LONG, "all is safe", || {
        let buffered = account(&agent).buffered;
        let [memory, disk, object] =
            ["memory", "disk", "object"].map(|tier| buffered.get(tier).map_or(0, |amount| amount.events));
        (memory, disk + object) == (0, EVENTS) && object > 0
    });
    let (manifests, folder) = (Manifests::new(minio), folder(minio));
    let mut last = (0, 0);
    until_within(LONG, "the manifest says it, twice alike", || {
        let now = told(&manifests.read(&folder), &minio.segments());
        let is_it = now.0 + now.1 == EVENTS && now == last && now.0 > 0;
        last = now;
        is_it
    });
    until_within(LONG, "the checkpoint says it", || node.durably_buffered("all", "out") == EVENTS);
    agent.kill();
    fs::remove_dir_all(node.path("pods")).unwrap();
    let (disk, object) = told(&manifests.read(&folder), &minio.segments());
    assert_eq!(disk + object, EVENTS);
    (disk, object)
}

/// Another agent that has delivered all that the one that is gone had in the bucket.
fn heir_of(minio: &MinIo, object: u64) -> (Node, Agent) {
    let heir = Node::new();
    configure(&heir, minio, "3s");
    let agent = heir.start();
    until_within(LONG, "all of it arrives", || account(&agent).delivered.events >= object);
    (heir, agent)
}

/// Of two that are there one takes each object over, and one reports the disk.
#[test]
fn what_an_agent_left_is_delivered_once_and_its_disk_is_reported_once() {
    let (gone, minio) = (Node::new(), MinIo::shared());
    let (disk, object) = kill_one_that_holds(&gone, &minio);
    fs::remove_dir_all(gone.path("data")).unwrap();

    let heirs = [Node::new(), Node::new()];
    heirs.iter().for_each(|node| configure(node, &minio, "3s"));
    let agents = heirs.each_ref().map(Node::start);
    let sum = |of: &dyn Fn(&Account) -> u64| agents.iter().map(|agent| of(&account(agent))).sum::<u64>();
    until_within(LONG, "all of it is adopted", || sum(&|account| account.adopted.events) >= EVENTS);
    until_within(LONG, "all of it arrives", || sum(&|account| account.delivered.events) >= object);
    until_within(LONG, "what is delivered leaves the bucket", || minio.segments().is_empty());
    assert_eq!(sum(&|account| account.adopted.events), EVENTS);
    assert_eq!(sum(&|account| account.lost_events()), disk);
    assert_eq!(sum(&|account| account.events_for("disk")), disk);
    assert_eq!(sum(&|account| account.read.events), 0);
    let mut found: BTreeMap<u64, u64> = BTreeMap::new();
    for node in &heirs {
        let out = node.path("out.ndjson");
        let delivered = if out.is_file() { numbers(&out) } else { Vec::new() };
        delivered.into_iter().for_each(|n| *found.entry(n).or_default() += 1);
    }
    assert_eq!(found.len() as u64, object, "missing none of what was uploaded");
    assert!(found.values().all(|times| *times == 1), "none twice");
    for agent in agents {
        assert_eq!(agent.terminate().code, Some(0));
    }
    // One of them may have taken nothing.
    heirs.iter().flat_map(|node| node.ledger().accounts).for_each(|account| account.check());
}

/// Its disk was reported as lost, and is there again: its events are its own. What was taken over it hands over.
#[test]
fn an_agent_that_comes_back_delivers_what_was_not_taken_over() {
    let (gone, minio) = (Node::new(), MinIo::shared());
    let (disk, object) = kill_one_that_holds(&gone, &minio);
    let (heir, agent) = heir_of(&minio, object);
    assert_eq!((account(&agent).adopted.events, account(&agent).events_for("disk")), (EVENTS, disk));

    fs::remove_file(gone.path("out.ndjson")).unwrap();
    let back = gone.start();
    until_within(LONG, "all has its end", || account(&back).is_settled());
    let ended = account(&back);
    assert_eq!((ended.delivered.events, ended.handed_over.events, ended.lost_events()), (disk, object, 0));
    until_within(LONG, "what is delivered leaves the bucket", || minio.segments().is_empty());
    assert_eq!((count(&gone.path("out.ndjson")), count(&heir.path("out.ndjson"))), (disk, object));
    let mut all = [numbers(&gone.path("out.ndjson")), numbers(&heir.path("out.ndjson"))].concat();
    all.sort_unstable();
    assert_eq!(all, (0..EVENTS).collect::<Vec<_>>(), "each once");
    assert_eq!(account(&agent).adopted.events, EVENTS, "nothing changes");
    assert_eq!((back.terminate().code, agent.terminate().code), (Some(0), Some(0)));
}

/// What another has is not dropped by the one who is back: it drops what is its own.
#[test]
fn what_was_taken_over_is_not_dropped() {
    let (gone, minio) = (Node::new(), MinIo::shared());
    let (disk, object) = kill_one_that_holds(&gone, &minio);
    let (_heir, agent) = heir_of(&minio, object);
    let back = gone.start();
    until_within(LONG, "all of it is dropped or handed over", || {
        let dropped = gone.weir(&["buffer", "drop", "-c", "weir.yaml", "--sink", "out", "--yes"]);
        assert_eq!(dropped.code, Some(0), "{dropped}");
        let account = account(&back);
        account.handed_over.events == object
    });
    let left = account(&back);
    // What was in the sink's hands stays.
    let kept: u64 = left.buffered.values().map(|amount| amount.events).sum();
    assert_eq!((left.events_for("given_up") + kept, left.lost_events()), (disk, 0), "{left:?}");
    left.check();
    back.kill();
    assert_eq!(agent.terminate().code, Some(0));
}
