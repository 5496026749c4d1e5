//! The worst week of a node in a minute: containers write into files that rotate, the agent is killed again and again, the
//! search engine goes away and comes back, and the network between them may fail. At the end, every event must be there
//! once.
//!
//! 1. Everything that chance decides follows from the seed, which the report names. The moments of kills are numbers of
//!    events written, not times.
//! 2. Nothing that the agent has not read is removed: what is found missing, the agent lost.
//! 3. The judgement is made from a search over all documents and from the ledger, not from what went well on the way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::fault_proxy::{Fault, FaultProxy, Schedule};
use crate::ledger::Account;
use crate::minio::MinIo;
use crate::node::Node;
use crate::opensearch::OpenSearch;
use crate::sequence::{Findings, Oracle, SequenceLog};

/// Writers write this often, as much as their rate asks for.
const BEAT: Duration = Duration::from_millis(20);
/// Without any event delivered for so long, nothing will come any more.
const STALLED: Duration = Duration::from_secs(90);
/// What is delivered leaves the object store within 10 s; the rest is for a slow machine.
const REMOVED_WITHIN: Duration = Duration::from_secs(20);
const PIPELINE: &str = "all";
const SINK: &str = "search";

/// A scenario's size.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Names everything that chance decides.
    pub seed: u64,
    /// Files that are written at the same time.
    pub streams: u64,
    /// Events of all of them together; a multiple of `streams`.
    pub events: u64,
    /// Events a second, of all of them together.
    pub rate: u64,
    /// A file is rotated when it has grown to so many bytes.
    pub rotate_at: u64,
    /// How often the agent is killed.
    pub kills: usize,
    /// How often the search engine is stopped and started again.
    pub stops: usize,
    /// Whether the agent speaks to it through a proxy that fails.
    pub faults: bool,
    /// Whether the search engine is away for most of the time, and the disk so small that the rest of it has to wait in an
    /// object store, which is away for a part of that time.
    pub outage: bool,
}

/// What happened, and what came of it.
#[derive(Clone, Debug)]
pub struct Report {
    scenario: Scenario,
    /// What the search found.
    pub findings: Findings,
    /// What the agent says.
    pub account: Account,
    /// Files left behind by rotation.
    pub rotations: u64,
    /// How often the agent was really killed.
    pub kills: usize,
    /// How often the search engine was really away.
    pub stops: usize,
    /// What the proxy did.
    pub faults: BTreeMap<Fault, u64>,
    /// What the proxy before the object store did.
    pub store_faults: BTreeMap<Fault, u64>,
    /// The most events that lay in the object store, as far as somebody looked.
    pub most_in_objects: u64,
    /// Segments that are left there.
    pub objects_left: usize,
    writing: Duration,
    all: Duration,
}

/// What the threads of a scenario share.
struct Stage<'a> {
    scenario: &'a Scenario,
    written: AtomicU64,
    /// The scenario has failed: nobody need go on.
    is_over: AtomicBool,
    most_in_objects: AtomicU64,
    progress: &'a (dyn Fn(String) + Sync),
}

// === impl Scenario ===

impl Scenario {
    /// Plays it against a server and judges nothing: the report does. Panics where the agent or the server does what
    /// neither may do, such as ending by itself.
    pub fn play(&self, server: &OpenSearch, progress: &(dyn Fn(String) + Sync)) -> Report {
        assert!(self.events.is_multiple_of(self.streams), "{} events, {} streams", self.events, self.streams);
        let started = Instant::now();
        let mut random = StdRng::seed_from_u64(self.seed);
        let schedule = if self.faults { Schedule::stormy(random.random()) } else { Schedule::quiet() };
        let has_proxy = self.faults || self.outage;
        let proxy = has_proxy.then(|| FaultProxy::start(server.address(), schedule));
        let store_schedule =
            if self.faults { Schedule::bad_line(random.random()) } else { Schedule::quiet() };
        let store = self.outage.then(|| {
            let minio = MinIo::shared();
            let proxy = FaultProxy::start(minio.address(), store_schedule);
            (minio, proxy)
        });
        let url = proxy.as_ref().map_or_else(|| server.url(), FaultProxy::url);
        let index = format!("scenario-{:x}-{}", self.seed, std::process::id());
        let node = Node::new();
        let buffer = store.as_ref().map(|(minio, proxy)| minio.configuration(&node, &proxy.url()));
        node.configure(&configuration(&url, &index, self.faults, buffer));

        let written = AtomicU64::new(0);
        let (is_over, most_in_objects) = (AtomicBool::new(false), AtomicU64::new(0));
        let stage = Stage { scenario: self, written, is_over, most_in_objects, progress };
        let kill_at = moments(&mut random, self.kills, 0..self.events);
        // Each time of absence has a stretch of its own.
        let stop_at = (0..self.stops as u64).map(|n| (2 * n + 1) * self.events / (2 * self.stops as u64 + 1));
        let stop_at: Vec<u64> = stop_at.collect();
        let (rotations, agent, kills, stops, writing) = thread::scope(|scope| {
            let writer = scope.spawn(|| stage.over_if_panics(|| stage.write(&node)));
            let operator = scope.spawn(|| {
                stage.over_if_panics(|| match (&proxy, &store) {
                    (Some(search), Some((_, store))) => stage.keep_away(search, store),
                    _ => stage.operate(server, &stop_at),
                })
            });
            let (agent, kills) =
                stage.over_if_panics(|| stage.kill_again_and_again(&node, &kill_at, &mut random));
            let rotations = joined(writer.join());
            let writing = started.elapsed();
            let stops = joined(operator.join());
            (rotations, agent, kills, stops, writing)
        });
        stage.drain(&agent, started);
        let objects_left = store.as_ref().map_or(0, |(minio, _)| stage.wait_until_empty(minio));
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{ended}");

        progress("counting what arrived".to_owned());
        let mut oracle = Oracle::new(self.streams, self.events / self.streams);
        server.for_each_document(&format!("{index}*"), |hit| oracle.take(&hit["_source"]));
        let findings = oracle.findings();
        let account = node.ledger().account(PIPELINE, SINK);
        if findings.are_clean() {
            server.remove(&format!("{index}*"));
        }
        Report {
            scenario: self.clone(),
            findings,
            account,
            rotations,
            kills,
            stops,
            faults: proxy.map(|proxy| proxy.happened()).unwrap_or_default(),
            store_faults: store.map(|(_, proxy)| proxy.happened()).unwrap_or_default(),
            most_in_objects: stage.most_in_objects.load(Ordering::Relaxed),
            objects_left,
            writing,
            all: started.elapsed(),
        }
    }
}

/// Behind a proxy that fails, requests are small, so that there are many of them to fail.
fn configuration(url: &str, index: &str, faults: bool, object_store: Option<String>) -> String {
    let most = if faults { 250 } else { 10_000 };
    let (buffer, buffers) = match object_store {
        None => ("", String::new()),
        Some(store) => (
            ", buffer: durable",
            format!("buffers: {{durable: {{memory: 8MiB, disk: 8MiB, object_store: {{{store}}}}}}}"),
        ),
    };
    format!(
        "
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
pipelines: {{{PIPELINE}: {{from: [pods], to: [{SINK}]}}}}
sinks:
  {SINK}: {{type: opensearch, endpoints: ['{url}'], index: '{index}-%Y.%m.%d', max_wait: 300ms, max_events: {most}{buffer}}}
{buffers}
"
    )
}

/// So many numbers out of a range, in order.
fn moments(random: &mut StdRng, count: usize, range: std::ops::Range<u64>) -> Vec<u64> {
    let mut moments: Vec<u64> = (0..count).map(|_| random.random_range(range.clone())).collect();
    moments.sort_unstable();
    moments
}

fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

// === impl Stage ===

impl Stage<'_> {
    /// A thread that fails must not leave the others waiting for it.
    fn over_if_panics<T>(&self, act: impl FnOnce() -> T) -> T {
        struct OverIfPanics<'a>(&'a AtomicBool);
        impl Drop for OverIfPanics<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
        }
        let _guard = OverIfPanics(&self.is_over);
        act()
    }

    /// Waits until so many events are written; false where the scenario has failed meanwhile.
    fn wait_until_written(&self, events: u64) -> bool {
        while self.written.load(Ordering::Relaxed) < events {
            if self.is_over.load(Ordering::Relaxed) {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Writes all events, all streams in turns, and returns the number of rotations.
    fn write(&self, node: &Node) -> u64 {
        let Scenario { streams, events, rate, rotate_at, .. } = *self.scenario;
        let mut logs: Vec<SequenceLog> =
            (0..streams).map(|stream| SequenceLog::create(&node.path("pods"), stream, rotate_at)).collect();
        let each = events / streams;
        let started = Instant::now();
        let mut written = 0;
        while written < each && !self.is_over.load(Ordering::Relaxed) {
            let due = started.elapsed().as_secs_f64() * rate as f64 / streams as f64;
            let next = (due as u64).clamp(written, each);
            for log in &mut logs {
                log.write(next - written);
            }
            written = next;
            self.written.store(written * streams, Ordering::Relaxed);
            thread::sleep(BEAT);
        }
        logs.iter().map(SequenceLog::rotations).sum()
    }

    /// Stops the server and starts it again; returns how often.
    fn operate(&self, server: &OpenSearch, stop_at: &[u64]) -> usize {
        for (times, moment) in stop_at.iter().enumerate() {
            if !self.wait_until_written(*moment) {
                return times;
            }
            (self.progress)(format!("OpenSearch is stopped at {moment} events"));
            server.stop();
            // Long enough for the agent to notice more than one failure.
            thread::sleep(Duration::from_secs(2));
            server.start();
            (self.progress)("OpenSearch is back".to_owned());
        }
        stop_at.len()
    }

    /// Keeps the search engine away from early on until nearly everything is written, and the object store for a part of
    /// that; returns how often the search engine was away.
    fn keep_away(&self, search: &FaultProxy, store: &FaultProxy) -> usize {
        let moments: [(u64, &FaultProxy, bool, &str); 4] = [
            (5, search, true, "OpenSearch is away"),
            (35, store, true, "the object store is away"),
            (50, store, false, "the object store is back"),
            (85, search, false, "OpenSearch is back"),
        ];
        for (percent, proxy, is_away, what) in moments {
            if !self.wait_until_written(self.scenario.events / 100 * percent) {
                break;
            }
            proxy.set_away(is_away);
            (self.progress)(what.to_owned());
        }
        search.set_away(false);
        store.set_away(false);
        1
    }

    /// What is delivered leaves the store; how much does not.
    fn wait_until_empty(&self, minio: &MinIo) -> usize {
        let end = Instant::now() + REMOVED_WITHIN;
        loop {
            let left = minio.segments().len();
            if left == 0 || Instant::now() > end {
                return left;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Returns an agent that runs, and how often one was killed before.
    fn kill_again_and_again(&self, node: &Node, kill_at: &[u64], random: &mut StdRng) -> (Agent, usize) {
        let start = || Agent::spawn(node.command(&["run", "-c", "weir.yaml"]), &node.path("data"));
        let mut agent = start();
        for (times, moment) in kill_at.iter().enumerate() {
            // Moments may coincide; then the agent dies while it starts.
            thread::sleep(Duration::from_millis(random.random_range(0..300)));
            if !self.wait_until_written(*moment) {
                return (agent, times);
            }
            let ended = agent.kill();
            assert_eq!(ended.signal, Some(9), "it was to be killed: {ended}");
            let ledger = node.ledger();
            ledger.accounts.iter().for_each(Account::check);
            for account in ledger.accounts {
                let in_objects = account.buffered.get("object").map_or(0, |amount| amount.events);
                self.most_in_objects.fetch_max(in_objects, Ordering::Relaxed);
            }
            (self.progress)(format!("kill {} of {} at {moment} events", times + 1, kill_at.len()));
            agent = start();
        }
        (agent, kill_at.len())
    }

    /// Waits until the ledger has every event delivered.
    fn drain(&self, agent: &Agent, started: Instant) {
        agent.wait_until_ready();
        let (mut last, mut moved, mut said) = (None, Instant::now(), Instant::now());
        loop {
            let ledger = agent.admin().ledger();
            let account = ledger.accounts.iter().find(|account| account.sink == SINK).cloned();
            let account = account.unwrap_or_default();
            if account.read.events >= self.scenario.events && account.is_settled() {
                return;
            }
            if last.as_ref() != Some(&account) {
                (last, moved) = (Some(account.clone()), Instant::now());
            }
            assert!(moved.elapsed() < STALLED, "nothing moves any more: {account:#?}\n{}", agent.log());
            if said.elapsed() > Duration::from_secs(10) {
                let (delivered, all) = (account.settled().events, self.scenario.events);
                let seconds = started.elapsed().as_secs();
                (self.progress)(format!("draining: {delivered} of {all} events after {seconds} s"));
                said = Instant::now();
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

// === impl Report ===

impl Report {
    /// Everything that is not as it must be.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut unless = |is_so: bool, problem: String| {
            if !is_so {
                problems.push(problem);
            }
        };
        let Findings { missing, doubled, malformed, documents, examples } = &self.findings;
        let events = self.scenario.events;
        unless(*missing == 0, format!("{missing} missing"));
        unless(*doubled == 0, format!("{doubled} doubled"));
        unless(*malformed == 0, format!("{malformed} malformed"));
        unless(*documents == events, format!("{documents} documents of {events} events"));
        unless(examples.is_empty(), examples.join("; "));
        let account = &self.account;
        unless(account.balanced, format!("the ledger does not balance: {account:?}"));
        let counted = (account.read.events, account.delivered.events);
        unless(counted == (events, events), format!("the ledger has read and delivered {counted:?}"));
        unless(account.is_settled(), format!("something is still on its way: {account:?}"));
        // A scenario in which nothing happened proves nothing.
        unless(self.rotations >= self.scenario.streams, format!("{} rotations only", self.rotations));
        unless(self.kills == self.scenario.kills, format!("{} kills only", self.kills));
        let stops = if self.scenario.outage { 1 } else { self.scenario.stops };
        unless(self.stops == stops, format!("{} stops only", self.stops));
        if self.scenario.outage {
            unless(self.most_in_objects > 0, "nothing ever lay in the object store".to_owned());
            unless(self.objects_left == 0, format!("{} objects are left", self.objects_left));
        }
        if self.scenario.faults && self.scenario.outage {
            let kinds = self.store_faults.keys().filter(|fault| **fault != Fault::None).count();
            unless(kinds >= 4, format!("few kinds of faults happened at the store: {:?}", self.store_faults));
        }
        if self.scenario.faults {
            let kinds = self.faults.keys().filter(|fault| **fault != Fault::None).count();
            unless(kinds >= 6, format!("few kinds of faults happened: {:?}", self.faults));
        }
        problems
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let Scenario { seed, streams, events, rate, .. } = self.scenario;
        let faults: serde_json::Map<String, Value> =
            self.faults.iter().map(|(fault, times)| (format!("{fault:?}"), json!(times))).collect();
        json!({
            "seed": seed,
            "streams": streams,
            "events": events,
            "rate": rate,
            "rotations": self.rotations,
            "kills": self.kills,
            "stops": self.stops,
            "faults": faults,
            "store_faults": self.store_faults.iter().map(|(fault, times)| (format!("{fault:?}"), json!(times)))
                .collect::<serde_json::Map<String, Value>>(),
            "most_events_in_objects": self.most_in_objects,
            "objects_left": self.objects_left,
            "documents": self.findings.documents,
            "missing": self.findings.missing,
            "doubled": self.findings.doubled,
            "malformed": self.findings.malformed,
            "examples": self.findings.examples,
            "ledger": {
                "read": self.account.read.events,
                "delivered": self.account.delivered.events,
                "balanced": self.account.balanced,
            },
            "writing_seconds": self.writing.as_secs_f64(),
            "seconds": self.all.as_secs_f64(),
            "problems": self.problems(),
        })
    }
}
