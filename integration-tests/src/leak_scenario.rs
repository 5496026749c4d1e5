//! A plugin that keeps a mebibyte of each call, for as long as one likes and at full rate. Its instances must be replaced
//! before they reach their limit, the agent's memory must not grow, and every event must have its fate.
//!
//! 1. Of a hundred events the plugin keeps one, so that what it kept can be counted number by number and the disk holds it.
//! 2. The writer does not run ahead of an agent on a slow machine: what is not settled is bounded.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::documents::numbers;
use crate::ledger::Account;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::pod_log::PodLog;
use crate::wait::until_within;

/// The writer writes this often, as much as its rate asks for.
const BEAT: Duration = Duration::from_millis(10);
/// The agent is looked at this often.
const LOOK: Duration = Duration::from_millis(250);
/// Files of the container are rotated at this size, and deleted when all in them is settled.
const ROTATE_AT: u64 = 32 << 20;
/// Events that were written and have no fate yet.
const MAX_BEHIND: u64 = 500_000;
/// Of so many events the plugin keeps one.
const KEPT_OF: u64 = 100;
/// What is still on its way at the end.
const DRAIN: Duration = Duration::from_secs(60);
/// The memory of the last fifth of the time is at most this much of the second's, and a little.
const GROWTH: f64 = 1.10;
const MEBIBYTE: u64 = 1 << 20;

const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods, linger: 10ms}}
plugins: {bad: {artifact: file:plugins/misbehave.wasm, config: {mode: leak, drop: debug}, on_error: drop}}
pipelines: {all: {from: [pods], stages: [bad], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";
const WORKERS: u64 = 2;

/// A scenario's size.
#[derive(Clone, Copy, Debug)]
pub struct LeakScenario {
    /// How long the container writes.
    pub time: Duration,
    /// Events a second at most.
    pub rate: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct LeakReport {
    scenario: LeakScenario,
    events: u64,
    account: Account,
    /// Whether each event that the plugin keeps is there once, in order.
    is_whole: bool,
    kept: u64,
    /// Bytes, in the order of time.
    resident: Vec<u64>,
    calls: u64,
    recycled: u64,
    faults: u64,
    plugin_peak: u64,
    plugin_limit: u64,
}

/// Shared with the writer.
#[derive(Default)]
struct Progress {
    stop: AtomicBool,
    written: AtomicU64,
    settled: AtomicU64,
}

// === impl LeakScenario ===

impl LeakScenario {
    /// Plays it and judges nothing: the report does.
    pub fn play(&self, progress: &(dyn Fn(String) + Sync)) -> LeakReport {
        let node = Node::with_compiled(&["misbehave"]);
        node.configure(CONFIG);
        let agent = node.start();
        let shared = Progress::default();
        let resident = thread::scope(|scope| {
            let _stop = StopAtEnd(&shared.stop);
            scope.spawn(|| self.write(&node.path("pods"), &shared));
            self.watch(&agent, &shared, progress)
        });
        let events = shared.written.load(Relaxed);
        until_within(DRAIN, "every event has its fate", || {
            account(&agent).is_some_and(|account| account.read.events == events && account.is_settled())
        });
        let metrics = agent.admin().metrics();
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{ended}");
        let kept = numbers(&node.path("out.ndjson"));
        let bad = [("plugin", "bad")];
        LeakReport {
            scenario: *self,
            events,
            account: node.ledger().account("all", "out"),
            is_whole: kept.iter().copied().eq((0..events).step_by(KEPT_OF as usize)),
            kept: kept.len() as u64,
            resident,
            calls: metrics.count("weir_plugin_calls_total", &bad),
            recycled: metrics.count("weir_plugin_recycled_instances_total", &bad),
            faults: faults(&metrics),
            plugin_peak: metrics.count("weir_plugin_memory_peak_bytes", &bad),
            plugin_limit: metrics.count("weir_plugin_memory_limit_bytes", &bad),
        }
    }

    /// Takes the agent's memory now and then, until the time is over.
    fn watch(&self, agent: &Agent, shared: &Progress, progress: &(dyn Fn(String) + Sync)) -> Vec<u64> {
        let (begun, mut said) = (Instant::now(), Instant::now());
        let mut resident = Vec::new();
        while begun.elapsed() < self.time {
            thread::sleep(LOOK);
            resident.push(agent.resident_bytes());
            if let Some(account) = account(agent) {
                account.check();
                shared.settled.store(account.settled().events, Relaxed);
            }
            if said.elapsed() > Duration::from_secs(20) {
                let now = resident.last().copied().unwrap_or_default() / MEBIBYTE;
                progress(format!("{} events, {now} MiB", shared.written.load(Relaxed)));
                said = Instant::now();
            }
        }
        resident
    }

    fn write(&self, pods: &Path, shared: &Progress) {
        let mut log = PodLog::create(pods, "shop_cart_u1");
        let mut rotated: VecDeque<(PathBuf, u64)> = VecDeque::new();
        let (begun, mut next) = (Instant::now(), 0);
        while !shared.stop.load(Relaxed) {
            let settled = shared.settled.load(Relaxed);
            let due = (begun.elapsed().as_secs_f64() * self.rate as f64) as u64;
            let end = due.min(settled + MAX_BEHIND).max(next);
            log.lines((next..end).map(event));
            next = end;
            shared.written.store(next, Relaxed);
            if log.len() >= ROTATE_AT {
                rotated.push_back((log.rotate(), next));
            }
            while let Some((path, _)) = rotated.pop_front_if(|(_, end)| *end <= settled) {
                fs::remove_file(path).expect("a rotated log");
            }
            thread::sleep(BEAT);
        }
    }
}

/// The writer ends, whatever else happens.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn event(n: u64) -> String {
    let level = if n.is_multiple_of(KEPT_OF) { "info" } else { "debug" };
    format!(r#"{{"n":{n},"level":"{level}","message":"order taken","path":"/orders/{}"}}"#, n * 7 % 1000)
}

fn account(agent: &Agent) -> Option<Account> {
    agent.admin().ledger().accounts.into_iter().find(|account| account.pipeline == "all")
}

fn faults(metrics: &Metrics) -> u64 {
    ["trap", "deadline", "memory", "output", "bad_output", "undeclared_write", "instantiate"]
        .map(|cause| metrics.count("weir_plugin_errors_total", &[("plugin", "bad"), ("cause", cause)]))
        .iter()
        .sum()
}

// === impl LeakReport ===

impl LeakReport {
    /// Everything that is not as it must be.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut unless = |is_so: bool, problem: String| {
            if !is_so {
                problems.push(problem);
            }
        };
        let expected = self.events.div_ceil(KEPT_OF);
        let account = &self.account;
        unless(self.events > 0, "nothing was written".to_owned());
        unless(
            self.is_whole,
            format!("{} events arrived, not each of {expected} once and in order", self.kept),
        );
        let counted = (account.read.events, account.delivered.events, account.events_for("bad.unwanted"));
        let wanted = (self.events, expected, self.events - expected);
        unless(
            counted == wanted,
            format!("the ledger has read, delivered, dropped {counted:?}, not {wanted:?}"),
        );
        unless(account.balanced && account.is_settled(), format!("the ledger: {account:?}"));
        unless(account.lost_events() == 0, format!("{} events are lost", account.lost_events()));
        // A mebibyte a call, of 32 MiB that it may have.
        unless(
            self.recycled >= self.calls / 64 && self.recycled > 0,
            format!("{} instances were recycled in {} calls", self.recycled, self.calls),
        );
        unless(self.faults == 0, format!("the plugin failed {} times", self.faults));
        unless(
            self.plugin_peak <= WORKERS * self.plugin_limit,
            format!("the plugin had {} bytes of {} for each worker", self.plugin_peak, self.plugin_limit),
        );
        let (early, late) = self.early_and_late();
        let bound = (early as f64 * GROWTH) as u64 + 4 * MEBIBYTE;
        unless(early > 0 && late <= bound, format!("it grew from {early} to {late} bytes, at most {bound}"));
        problems
    }

    /// The median memory of the second and of the last fifth of the time: in the first, pools fill.
    fn early_and_late(&self) -> (u64, u64) {
        let fifth = self.resident.len() / 5;
        let of = |part: Option<&[u64]>| median(part.unwrap_or_default());
        (
            of(self.resident.get(fifth..2 * fifth)),
            of(self.resident.get(self.resident.len().saturating_sub(fifth)..)),
        )
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let (early, late) = self.early_and_late();
        let mebibytes = |bytes: u64| (bytes as f64 / MEBIBYTE as f64 * 10.0).round() / 10.0;
        json!({
            "seconds": self.scenario.time.as_secs(),
            "rate": self.scenario.rate,
            "events": self.events,
            "kept": self.kept,
            "lost": self.account.lost_events(),
            "calls": self.calls,
            "recycled": self.recycled,
            "faults": self.faults,
            "plugin_peak_mib": mebibytes(self.plugin_peak),
            "resident_mib": {
                "second_fifth": mebibytes(early),
                "last_fifth": mebibytes(late),
                "max": mebibytes(self.resident.iter().copied().max().unwrap_or_default()),
            },
        })
    }
}

fn median(numbers: &[u64]) -> u64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
