//! An agent's state for tests: one pipeline, one plugin, an account in which something of everything happened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_buffer::ack::{Ack, Acknowledge, Posting};
use weir_buffer::disk::filesystem::OperatingSystem;
use weir_buffer::disk::{Objects, Unnamed};
use weir_buffer::ledger::{Account, Amount, Counts, Ledger};
use weir_buffer::memory::{Disk, DiskSettings, MemoryTier};
use weir_buffer::object::{Listing, Object, ObjectError, ObjectErrorKind, ObjectStore, Put};
use weir_buffer::segment::{Segment, Targets};
use weir_event::name_template::NameTemplate;
use weir_host::{
    Artifact, Cache, Compiler, Engine, EngineConfig, Isolation, Limits, Plugin, PluginSpec, Provenance,
};
use weir_manifest::Grants;
use weir_opensearch::{IndexRoute, Metrics};
use weir_pipeline::sink::SinkMetrics;
use weir_pipeline::source::{Refusal, SourceMetrics};
use weir_samples::cardinality;

use crate::shadows::Candidate;
use crate::sinks::OpenSearchView;
use crate::state::{AgentState, GuardView, PipelineView, View};

#[path = "../../host/tests/host/guest.rs"]
#[allow(dead_code)]
mod guest;

/// The state.
pub fn state() -> AgentState {
    let ledger = Arc::new(Ledger::default());
    let account = ledger.account("app-logs", "local");
    account.restore(counts());
    account.enter_flight(amount(1));
    let sources = SourceMetrics::default();
    sources.errors.store(3, Ordering::Relaxed);
    let listening = SourceMetrics::default();
    let _ = listening.receiving.address.set(([127, 0, 0, 1], 24_224).into());
    listening.receiving.refuse(Refusal::Malformed, 2);
    let name = |name: &str| vec![name.to_owned()];
    let plugin = plugin();
    let hash = "0123456789abcdef0123456789abcdef";
    let view = View {
        config_hash: hash.to_owned(),
        sources: vec![("pods".to_owned(), Arc::new(sources)), ("agents".to_owned(), Arc::new(listening))],
        sinks: vec![
            ("local".to_owned(), Arc::<SinkMetrics>::default(), MemoryTier::new(1024, Arc::clone(&ledger))),
            ("search".to_owned(), Arc::<SinkMetrics>::default(), holding(&ledger)),
        ],
        opensearch: vec![("search".to_owned(), opensearch())],
        archives: vec![("archive".to_owned(), Arc::default())],
        remote_writes: vec![("thanos".to_owned(), Arc::default())],
        scrapes: vec![("nodes".to_owned(), Arc::default())],
        guards: vec![guard()],
        plugins: vec![Arc::clone(&plugin)],
        shadows: vec![candidate(&plugin)],
        pipelines: vec![PipelineView {
            name: "app-logs".to_owned(),
            sources: name("pods"),
            stages: name("sampler"),
            sinks: name("local"),
        }],
        explainable: BTreeMap::new(),
        memory: 256 << 20,
        workers: 2,
        cluster: "dev".to_owned(),
        node: "node-1".to_owned(),
    };
    let state = AgentState::new(ledger, Arc::default(), Arc::default());
    state.reloads.set_generation(hash);
    state.show(view);
    state
}

/// A buffer with two events that wait for an index.
fn holding(ledger: &Arc<Ledger>) -> Arc<MemoryTier> {
    struct Nobody;
    impl Acknowledge for Nobody {
        fn acknowledge(&self, _: u64, _: bool, _: Vec<Posting>) {}
        fn acknowledge_late(&self, _: u64, _: Vec<Posting>) {}
    }
    let tier = MemoryTier::new(1024, Arc::clone(ledger));
    let segment = Segment {
        documents: Arc::default(),
        targets: Targets::default(),
        amount: amount(2),
        ack: Ack::new(0, Arc::new(Nobody)),
    };
    // An account of its own: the ledger shows the other sink's.
    tier.push(segment, &Account::new("app-logs", "search"), 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lease = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(tier.take())).join().unwrap());
    tier.hold("logs-closed".into(), lease.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let settings = DiskSettings {
        sink: "search".to_owned(),
        folder: folder.path().to_owned(),
        bound: 4096,
        unnamed: Unnamed::Remove,
        next_file: 0,
    };
    let system = Arc::new(OperatingSystem);
    let disk = Disk::open(&settings, BTreeMap::new(), ledger, Arc::new(Nobody), system).unwrap();
    disk.store().set_objects(Some(Objects::new(Arc::new(NoStore), "dev/".to_owned(), None)));
    tier.put_disk(disk);
    tier
}

/// A store that does not answer.
struct NoStore;

impl NoStore {
    fn refuse<T>() -> Result<T, ObjectError> {
        Err(ObjectError { kind: ObjectErrorKind::Retry, message: "nobody is there".to_owned() })
    }
}

impl ObjectStore for NoStore {
    fn put_if_absent(&self, _: &str, _: Vec<u8>) -> Result<Put, ObjectError> {
        NoStore::refuse()
    }

    fn put_if_match(&self, _: &str, _: Vec<u8>, _: &str) -> Result<Put, ObjectError> {
        NoStore::refuse()
    }

    fn get(&self, _: &str, _: u64) -> Result<Object, ObjectError> {
        NoStore::refuse()
    }

    fn get_range(&self, _: &str, _: u64, _: usize) -> Result<Vec<u8>, ObjectError> {
        NoStore::refuse()
    }

    fn delete(&self, _: &str) -> Result<(), ObjectError> {
        NoStore::refuse()
    }

    fn list(&self, _: &str, _: Option<&str>, _: bool) -> Result<Listing, ObjectError> {
        NoStore::refuse()
    }
}

fn guard() -> GuardView {
    let settings = cardinality::Settings { group_by: vec!["job".to_owned()], ..Default::default() };
    let guard = cardinality::Guard::new(settings, Box::new(|_| {}));
    GuardView { pipeline: "metrics".to_owned(), name: "per-job".to_owned(), limit: 10, guard }
}

fn opensearch() -> OpenSearchView {
    let template = NameTemplate::parse("logs-{namespace}").unwrap();
    let metrics = Metrics::default();
    metrics.requests_answered.store(5, Ordering::Relaxed);
    OpenSearchView { metrics: Arc::new(metrics), route: Arc::new(IndexRoute::new(template, 10)) }
}

fn amount(events: u64) -> Amount {
    Amount { events, bytes: events * 100 }
}

fn counts() -> Counts {
    let reason = |reason: &str| BTreeMap::from([(reason.to_owned(), amount(1))]);
    Counts {
        read: amount(10),
        created: amount(1),
        adopted: amount(3),
        delivered: amount(6),
        handed_over: amount(3),
        sampled: reason("sampler.debug"),
        dropped: reason("sampler.old"),
        dead_lettered: reason("sampler"),
        lost: reason("rotation"),
    }
}

/// It has not seen anything yet.
fn candidate(live: &Arc<Plugin>) -> Arc<Candidate> {
    let wanted = weir_config::Shadow {
        artifact: weir_config::Artifact::File("next.wasm".into()),
        share: weir_config::Share::of_percent(5),
    };
    let thread = weir_pipeline::shadow::Thread::start().unwrap();
    Arc::new(Candidate::new(&wanted, Some(0), live, Ok((plugin(), thread))))
}

fn plugin() -> Arc<Plugin> {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let spec = PluginSpec {
        name: "sampler".to_owned(),
        artifact: Artifact::Fetched {
            component: guest::Guest::default().build().into(),
            provenance: Arc::new(Provenance {
                reference: "oci://registry.example/team-a/sampler:1.0.0".to_owned(),
                digest: "sha256:00".to_owned(),
                key: None,
                from: "cache",
                stale: Some("it does not answer".to_owned()),
            }),
        },
        config: "{}".to_owned(),
        limits: Limits::default(),
        grants: Grants::default(),
        on_error: None,
        isolation: Isolation::Shared,
    };
    Plugin::load(&engine, &Cache::in_memory(), &Compiler::InProcess, spec).unwrap()
}
