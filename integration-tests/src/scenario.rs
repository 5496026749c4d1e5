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
use crate::node::Node;
use crate::opensearch::OpenSearch;
use crate::sequence::{Findings, Oracle, SequenceLog};

/// Writers write this often, as much as their rate asks for.
const BEAT: Duration = Duration::from_millis(20);
/// Without any event delivered for so long, nothing will come any more.
const STALLED: Duration = Duration::from_secs(90);
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
    writing: Duration,
    all: Duration,
}

/// What the threads of a scenario share.
struct Stage<'a> {
    scenario: &'a Scenario,
    written: AtomicU64,
    /// The scenario has failed: nobody need go on.
    is_over: AtomicBool,
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
        let proxy = self.faults.then(|| FaultProxy::start(server.address(), schedule));
        let url = proxy.as_ref().map_or_else(|| server.url(), FaultProxy::url);
        let index = format!("scenario-{:x}-{}", self.seed, std::process::id());
        let node = Node::new();
        node.configure(&configuration(&url, &index, self.faults));

        let written = AtomicU64::new(0);
        let stage = Stage { scenario: self, written, is_over: AtomicBool::new(false), progress };
        let kill_at = moments(&mut random, self.kills, 0..self.events);
        // Each time of absence has a stretch of its own.
        let stop_at = (0..self.stops as u64).map(|n| (2 * n + 1) * self.events / (2 * self.stops as u64 + 1));
        let stop_at: Vec<u64> = stop_at.collect();
        let (rotations, agent, kills, stops, writing) = thread::scope(|scope| {
            let writer = scope.spawn(|| stage.over_if_panics(|| stage.write(&node)));
            let operator = scope.spawn(|| stage.over_if_panics(|| stage.operate(server, &stop_at)));
            let (agent, kills) =
                stage.over_if_panics(|| stage.kill_again_and_again(&node, &kill_at, &mut random));
            let rotations = joined(writer.join());
            let writing = started.elapsed();
            let stops = joined(operator.join());
            (rotations, agent, kills, stops, writing)
        });
        stage.drain(&agent, started);
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
            writing,
            all: started.elapsed(),
        }
    }
}

/// Behind a proxy that fails, requests are small, so that there are many of them to fail.
fn configuration(url: &str, index: &str, faults: bool) -> String {
    let most = if faults { 250 } else { 10_000 };
    format!(
        "
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
pipelines: {{{PIPELINE}: {{from: [pods], to: [{SINK}]}}}}
sinks:
  {SINK}: {{type: opensearch, endpoints: ['{url}'], index: '{index}-%Y.%m.%d', max_wait: 300ms, max_events: {most}}}
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
            node.ledger().accounts.iter().for_each(Account::check);
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
        unless(self.stops == self.scenario.stops, format!("{} stops only", self.stops));
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
