//! What becomes of events that a real OpenSearch does not take: each kind of refusal ends as it must, everything else
//! arrives meanwhile, and the ledger says which is which.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::os::unix::fs::PermissionsExt as _;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use integration_tests::{Account, Agent, Node, OpenSearch, lines, until_within};
use serde_json::{Value, json};

/// A cluster on a busy machine of two cores, and lanes that are looked after every now and then.
const LIMIT: Duration = Duration::from_secs(90);
const EVENTS: u64 = 300;

/// Whoever changes the cluster for all holds it alone.
static CLUSTER: RwLock<()> = RwLock::new(());

/// Two pods, `good` and `bad`, whose events go to an index each, and to a file.
struct Case {
    server: OpenSearch,
    node: Node,
    prefix: String,
    _shared: Option<RwLockReadGuard<'static, ()>>,
}

// === impl Case ===

impl Case {
    fn new(name: &str) -> Case {
        let shared = CLUSTER.read().unwrap_or_else(PoisonError::into_inner);
        Case { _shared: Some(shared), ..Case::that_holds_the_cluster(name) }
    }

    fn that_holds_the_cluster(name: &str) -> Case {
        let server = OpenSearch::shared();
        let prefix = format!("outcome-{name}-{}", std::process::id());
        let node = Node::new();
        node.configure(&format!(
            "
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
pipelines: {{all: {{from: [pods], to: [search, local]}}}}
sinks:
  search: {{type: opensearch, endpoints: ['{}'], index: '{prefix}-{{namespace}}', max_wait: 100ms}}
  local: {{type: file, path: out.ndjson}}
",
            server.url()
        ));
        Case { server, node, prefix, _shared: None }
    }

    fn bad(&self) -> String {
        format!("{}-bad", self.prefix)
    }

    fn good(&self) -> String {
        format!("{}-good", self.prefix)
    }

    /// Makes the index of the bad pod.
    fn create_bad(&self, body: &Value) {
        self.server.expect("PUT", &format!("/{}", self.bad()), body);
    }

    /// Lets the good pod write its events and the bad one these; returns an agent that reads them.
    fn start(&self, bad: impl IntoIterator<Item = Value>) -> Agent {
        self.node.pod("bad_pod_u1").lines(bad.into_iter().map(|event| event.to_string()));
        self.node.pod("good_pod_u2").lines((0..EVENTS).map(|n| json!({"n": n}).to_string()));
        self.node.start()
    }

    /// Waits until the good index has everything.
    fn good_arrives(&self) {
        until_within(LIMIT, "the good index has everything", || self.server.count(&self.good()) == EVENTS);
    }

    /// Waits for this number of documents in the bad index.
    fn bad_has(&self, documents: u64) {
        until_within(LIMIT, "the bad index has its documents", || {
            self.server.count(&self.bad()) == documents
        });
    }

    /// Waits until every event has its fate, ends the agent, and returns the account.
    fn settle(&self, agent: Agent, events: u64) -> Account {
        until_within(LIMIT, "every event has its fate", || {
            let account = account(&agent);
            account.read.events == events && account.is_settled()
        });
        let account = account(&agent);
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{ended}");
        assert_eq!(
            lines(&self.node.path("out.ndjson")).len() as u64,
            events,
            "the other sink has everything"
        );
        account
    }

    fn dead_letters(&self) -> Vec<Value> {
        let path = self.node.path("data/dead-letters/sinks/search.ndjson");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "they hold what plugins were to remove");
        lines(&path).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The bad pod's events became dead letters for this reason, with their documents, and the good ones arrived.
    fn bad_ends_in_dead_letters(self, bad: Vec<Value>, reason: &str) {
        let (count, wanted) = (bad.len() as u64, bad.clone());
        let agent = self.start(bad);
        self.good_arrives();
        let account = self.settle(agent, EVENTS + count);
        assert_eq!(account.delivered.events, EVENTS, "{account:#?}");
        assert_eq!(account.dead_lettered[reason].events, count, "{account:#?}");
        assert_eq!(account.lost_events(), 0);
        let letters = self.dead_letters();
        assert_eq!(letters.len() as u64, count);
        for (letter, event) in letters.iter().zip(&wanted) {
            assert_eq!(letter["reason"], reason, "{letter}");
            assert_eq!(letter["index"], self.bad(), "{letter}");
            assert!(letter["id"].as_str().is_some_and(|id| !id.is_empty()), "{letter}");
            let document = &letter["document"];
            // Under its own name, or under the one that it got in vain.
            for (name, value) in event.as_object().unwrap() {
                let kept = [name.clone(), format!("{name}__str")].iter().any(|name| document[name] == *value);
                assert!(kept, "{letter}");
            }
            assert_eq!(document["kubernetes"]["namespace"], "bad", "{letter}");
        }
        self.clean();
    }

    fn clean(self) {
        // What is read-only cannot be removed either; what is absent or closed need not be changed.
        let writable = json!({"index.blocks.read_only": null});
        self.server.ask("PUT", &format!("/{}/_settings", self.bad()), &writable);
        self.server.remove(&format!("{}-*", self.prefix));
    }
}

fn account(agent: &Agent) -> Account {
    let ledger = agent.admin().ledger();
    ledger.accounts.iter().for_each(Account::check);
    ledger.accounts.into_iter().find(|account| account.sink == "search").unwrap_or_default()
}

/// Settings of the cluster that are put back when the test ends, however it ends.
struct Changed<'a> {
    server: &'a OpenSearch,
    back: Value,
}

fn changed<'a>(server: &'a OpenSearch, settings: &Value, back: Value) -> Changed<'a> {
    server.set_cluster(settings);
    Changed { server, back }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        let body = json!({"persistent": self.back}).to_string().into_bytes();
        let _ = self.server.exchange("PUT", "/_cluster/settings", "application/json", body);
    }
}

fn numbered(count: u64) -> Vec<Value> {
    (0..count).map(|n| json!({"n": n})).collect()
}

#[test]
fn a_mapping_conflict_is_repaired_and_nothing_is_left_out() {
    let case = Case::new("conflict");
    case.create_bad(&json!({"mappings": {"properties": {"size": {"type": "integer"}}}}));
    let size = |n: u64| if n.is_multiple_of(3) { json!("very large") } else { json!(n) };
    let agent = case.start((0..EVENTS).map(|n| json!({"n": n, "size": size(n)})));
    case.good_arrives();
    case.bad_has(EVENTS);
    let account = case.settle(agent, 2 * EVENTS);
    assert_eq!(account.delivered.events, 2 * EVENTS, "{account:#?}");
    let mut seen = vec![0; EVENTS as usize];
    case.server.for_each_document(&case.bad(), |hit| {
        let source = &hit["_source"];
        let n = source["n"].as_u64().unwrap();
        seen[n as usize] += 1;
        // The text is still there, under a name that fits it.
        let kept: Vec<_> = source.as_object().unwrap().values().filter(|value| **value == size(n)).collect();
        assert!(!kept.is_empty(), "{hit}");
        assert_eq!(source["size"].is_null(), n.is_multiple_of(3), "{hit}");
    });
    assert!(seen.iter().all(|times| *times == 1), "{seen:?}");
    case.clean();
}

/// Where no new field may be, the repair is refused too.
#[test]
fn a_document_that_is_refused_again_is_a_dead_letter() {
    let case = Case::new("strict");
    let envelope = ["cluster", "node", "kubernetes", "stream", "log"];
    let mut fields: serde_json::Map<String, Value> =
        envelope.map(|name| (name.to_owned(), json!({"type": "flat_object"}))).into_iter().collect();
    for name in ["cluster", "node", "stream"] {
        fields[name] = json!({"type": "keyword"});
    }
    fields.insert("@timestamp".to_owned(), json!({"type": "date_nanos"}));
    fields.insert("n".to_owned(), json!({"type": "integer"}));
    case.create_bad(&json!({"mappings": {"dynamic": "strict", "properties": fields}}));
    let bad = (0..20).map(|n| json!({"n": format!("number {n}")})).collect();
    case.bad_ends_in_dead_letters(bad, "mapping");
}

#[test]
fn a_term_that_is_too_long_for_its_field_arrives_as_text() {
    let case = Case::new("term");
    case.create_bad(&json!({"mappings": {"properties": {"key": {"type": "keyword"}}}}));
    let long = "x".repeat(40_000);
    let agent = case.start((0..5).map(|n| json!({"n": n, "key": long})));
    case.good_arrives();
    case.bad_has(5);
    let account = case.settle(agent, EVENTS + 5);
    assert_eq!(account.delivered.events, EVENTS + 5, "{account:#?}");
    case.server.for_each_document(&case.bad(), |hit| {
        let kept = hit["_source"].as_object().unwrap().values().any(|value| *value == long.as_str());
        assert!(kept, "the text is gone");
    });
    case.clean();
}

#[test]
fn a_read_only_index_ends_in_dead_letters() {
    let case = Case::new("read-only");
    case.create_bad(&json!({"settings": {"index.blocks.read_only": true}}));
    case.bad_ends_in_dead_letters(numbered(20), "index_read_only");
}

#[test]
fn a_closed_index_ends_in_dead_letters() {
    let case = Case::new("closed");
    case.create_bad(&json!({}));
    case.server.expect("POST", &format!("/{}/_close", case.bad()), &Value::Null);
    case.bad_ends_in_dead_letters(numbered(20), "index_closed");
}

#[test]
fn an_index_that_may_not_be_made_is_waited_for() {
    let alone = CLUSTER.write().unwrap_or_else(PoisonError::into_inner);
    let case = Case::that_holds_the_cluster("absent");
    let setting = "action.auto_create_index";
    let changed =
        changed(&case.server, &json!({setting: format!("-{},+*", case.bad())}), json!({setting: null}));
    let agent = case.start(numbered(20));
    case.good_arrives();
    until_within(LIMIT, "the bad pod's events wait", || {
        let account = account(&agent);
        account.delivered.events == EVENTS && account.on_the_way().events == 20
    });
    assert!(agent.log().contains(&case.bad()), "the log names the index:\n{}", agent.log());
    case.create_bad(&json!({}));
    case.bad_has(20);
    let account = case.settle(agent, EVENTS + 20);
    assert_eq!(account.delivered.events, EVENTS + 20, "{account:#?}");
    drop(changed);
    case.clean();
    drop(alone);
}

/// Flood stage blocks what an index on a full disk writes until there is room again.
#[test]
fn a_disk_in_flood_stage_is_waited_for() {
    let alone = CLUSTER.write().unwrap_or_else(PoisonError::into_inner);
    let case = Case::that_holds_the_cluster("flood");
    let watermarks = |free: &str| {
        let disk = "cluster.routing.allocation.disk";
        json!({
            "cluster.info.update.interval": "10s",
            format!("{disk}.threshold_enabled"): true,
            format!("{disk}.watermark.low"): free,
            format!("{disk}.watermark.high"): free,
            format!("{disk}.watermark.flood_stage"): free,
        })
    };
    for index in [case.bad(), case.good()] {
        case.server.expect("PUT", &format!("/{index}"), &json!({}));
    }
    let agent = case.start([]);
    case.good_arrives();
    // No disk has so much room; every disk has room for one megabyte, and then the cluster takes its blocks away by
    // itself.
    let flooded = changed(&case.server, &watermarks("9000tb"), watermarks("1mb"));
    until_within(LIMIT, "the disk is in flood stage", || {
        let settings = case.server.get(&format!("/{}/_settings?flat_settings=true", case.bad()));
        settings[&case.bad()]["settings"]["index.blocks.read_only_allow_delete"] == "true"
    });
    case.node.pod("bad_late_u3").lines(numbered(20).iter().map(Value::to_string));
    until_within(LIMIT, "the events wait, and are in the file", || {
        let account = account(&agent);
        account.on_the_way().events == 20 && lines(&case.node.path("out.ndjson")).len() as u64 == EVENTS + 20
    });
    assert_eq!(account(&agent).delivered.events, EVENTS);
    drop(flooded);
    // Nor may an index be made while every disk is full; the others who wait for the cluster want to.
    until_within(LIMIT, "indices can be made again", || {
        let settings = case.server.get("/_cluster/settings?flat_settings=true");
        settings["persistent"]["cluster.blocks.create_index"].is_null()
    });
    case.bad_has(20);
    let account = case.settle(agent, EVENTS + 20);
    assert_eq!(account.delivered.events, EVENTS + 20, "{account:#?}");
    case.clean();
    drop(alone);
}
