//! A configuration that never comes to rest: a ConfigMap is swapped again and again while a container writes, some of what
//! it says is broken, and a sink takes nothing for a while. Every event must be there once, and every good configuration
//! must run soon.
//!
//! 1. Each swap has other content, so each is one reload; which are broken follows from their numbers.
//! 2. The judgement is made from what lies in the files, from the ledger, and from what the agent says of each reload.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::config_map::ConfigMap;
use crate::ledger::Account;
use crate::node::Node;
use crate::pod_log::PodLog;

/// The writer writes this often, as much as its rate asks for.
const BEAT: Duration = Duration::from_millis(20);
/// Files of the container are rotated at this size.
const ROTATE_AT: u64 = 32 * 1024 * 1024;
/// A change of the ConfigMap must be noticed within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Without any event delivered for so long, nothing will come any more.
const STALLED: Duration = Duration::from_secs(90);
/// What the agent promises for a reload whose plugins are compiled already.
const LIMIT: Duration = Duration::from_millis(250);
/// Of so many configurations one is broken, and one has a broken plugin.
const EACH_BROKEN: u64 = 10;
/// The sink writes to these files in turns.
const PATHS: u64 = 4;

/// A scenario's size.
#[derive(Clone, Copy, Debug)]
pub struct ReloadScenario {
    /// How often the ConfigMap is swapped.
    pub reloads: u64,
    /// Events a second.
    pub rate: u64,
    /// Between two swaps, beside the time that a reload takes.
    pub pause: Duration,
}

/// What happened, and what came of it.
#[derive(Clone, Debug)]
pub struct ReloadReport {
    scenario: ReloadScenario,
    events: u64,
    missing: u64,
    doubled: u64,
    /// Of the second sink, which comes and goes.
    also_doubled: u64,
    also: (u64, u64),
    account: Account,
    /// How long each reload took that was taken, sorted.
    taken: Vec<Duration>,
    rejected: u64,
    /// Reloads that ended otherwise than they were to.
    surprises: Vec<String>,
    generation: u64,
    failed_meanwhile: bool,
    seconds: f64,
}

/// What a swap is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    BrokenConfig,
    BrokenPlugin,
}

// === impl ReloadScenario ===

impl ReloadScenario {
    /// Plays it and judges nothing: the report does.
    pub fn play(&self, progress: &(dyn Fn(String) + Sync)) -> ReloadReport {
        let started = Instant::now();
        let node = Node::with_compiled(&["log-sampler"]);
        node.write("garbage.wasm", "this is no component");
        fs::create_dir(node.path("sink")).expect("a folder for the sink");
        let mut map = ConfigMap::mount(&node.path("config"), &[("weir.yaml", &configuration(&node, 0))]);
        let agent = node.start_with(node.command_bound_by_modes(&["run", "-c", "config"]));
        let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
        let (mut taken, mut rejected, mut surprises) = (Vec::new(), 0, Vec::new());
        let mut failed_meanwhile = false;
        thread::scope(|scope| {
            let _stop = StopAtEnd(&stop);
            scope.spawn(|| self.write(&node.path("pods"), &stop, &written));
            let mut last = Value::Null;
            for number in 1..=self.reloads {
                thread::sleep(self.pause);
                if number == self.reloads * 3 / 10 {
                    lock(&node, true);
                    progress("the sink takes nothing".to_owned());
                }
                if number == self.reloads * 5 / 10 {
                    failed_meanwhile =
                        agent.admin().metrics().value("weir_sink_failing", &[("sink", "out")]) == 1.0;
                    lock(&node, false);
                    progress("the sink takes documents again".to_owned());
                }
                map.swap(&[("weir.yaml", &configuration(&node, number))]);
                let reload = next_reload(&agent, &last);
                let outcome = reload["outcome"].as_str().unwrap_or_default();
                match (kind(number), outcome) {
                    (Kind::Good, "reloaded") => {
                        taken.push(Duration::from_secs_f64(reload["seconds"].as_f64().unwrap_or(f64::MAX)));
                    }
                    (Kind::BrokenConfig | Kind::BrokenPlugin, "rejected") => rejected += 1,
                    (kind, outcome) => surprises.push(format!("{number}: {kind:?} is {outcome}: {reload}")),
                }
                last = reload["at"].clone();
                if number % 10 == 0 {
                    progress(format!("{number} reloads, {} events", written.load(Ordering::Relaxed)));
                }
            }
        });
        let events = written.load(Ordering::Relaxed);
        drain(&agent, events, progress);
        let generation = agent.admin().generation()["generation"].as_u64().unwrap_or_default();
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{ended}");

        progress("counting what arrived".to_owned());
        let mut seen = vec![0_u8; events as usize];
        for path in 0..PATHS {
            count(&node.path(format!("sink/out-{path}.ndjson")), &mut seen);
        }
        let mut also = vec![0_u8; events as usize];
        count(&node.path("also.ndjson"), &mut also);
        let ledger = node.ledger_of("config");
        taken.sort_unstable();
        let doubled = |seen: &[u8]| seen.iter().map(|times| u64::from(times.saturating_sub(1))).sum();
        ReloadReport {
            scenario: *self,
            events,
            missing: seen.iter().filter(|times| **times == 0).count() as u64,
            doubled: doubled(&seen),
            also_doubled: doubled(&also),
            also: (
                also.iter().map(|times| u64::from(*times)).sum(),
                ledger.account("more", "also").delivered.events,
            ),
            account: ledger.account("all", "out"),
            taken,
            rejected,
            surprises,
            generation,
            failed_meanwhile,
            seconds: started.elapsed().as_secs_f64(),
        }
    }

    fn write(&self, pods: &Path, stop: &AtomicBool, written: &AtomicU64) {
        let mut log = PodLog::create(pods, "shop_cart_u1");
        let started = Instant::now();
        let mut next = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = (started.elapsed().as_secs_f64() * self.rate as f64) as u64;
            log.lines((next..due.max(next)).map(event));
            next = due.max(next);
            written.store(next, Ordering::Relaxed);
            if log.len() >= ROTATE_AT {
                log.rotate();
            }
            thread::sleep(BEAT);
        }
    }
}

/// The writer ends, whatever else happens.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn event(n: u64) -> String {
    format!(r#"{{"n":{n},"level":"info","message":"order taken","path":"/orders/{}"}}"#, n * 7 % 1000)
}

fn kind(number: u64) -> Kind {
    match number % EACH_BROKEN {
        3 => Kind::BrokenConfig,
        8 => Kind::BrokenPlugin,
        _ => Kind::Good,
    }
}

/// Of the swap with this number: sink and plugin change each time, a pipeline and a sink come and go, the source
/// changes now and then.
fn configuration(node: &Node, number: u64) -> String {
    let folder = node.path("");
    let folder = folder.display();
    let kind = kind(number);
    let key = if kind == Kind::BrokenConfig { "sinkz" } else { "sinks" };
    let artifact = if kind == Kind::BrokenPlugin { "garbage.wasm" } else { "plugins/log-sampler.wasm" };
    let more = if number % 3 == 1 { ", more: {from: [pods], to: [also]}" } else { "" };
    let also =
        format!(", also: {{type: file, path: {folder}/also.ndjson, best_effort: false, buffer: durable}}");
    let also = if more.is_empty() { "" } else { &also };
    let linger = 100 + number / 7 % 2 * 100;
    format!(
        "\
# {number}
version: 1
cluster: test
node: node-1
data_dir: {folder}/data
memory: 512MiB
workers: 2
admin: {{listen: 127.0.0.1:0}}
sources: {{pods: {{type: kubernetes_logs, path: {folder}/pods, linger: {linger}ms}}}}
plugins: {{sampler: {{artifact: 'file:{folder}/{artifact}', config: {{rates: {{debug: 0.{number:04}}}}}}}}}
pipelines: {{all: {{from: [pods], stages: [sampler], to: [out]}}{more}}}
{key}: {{out: {{type: file, path: {folder}/sink/out-{}.ndjson, buffer: durable}}{also}}}
buffers: {{durable: {{memory: 32MiB, disk: 2GiB}}}}
",
        number % PATHS
    )
}

/// Takes the sink's folder away from the agent, or gives it back.
fn lock(node: &Node, is_locked: bool) {
    let mode = if is_locked { 0o000 } else { 0o755 };
    fs::set_permissions(node.path("sink"), fs::Permissions::from_mode(mode)).expect("a mode");
}

/// The reload after the one that ended at `last`.
fn next_reload(agent: &Agent, last: &Value) -> Value {
    let since = Instant::now();
    loop {
        let reload = agent.admin().generation()["last_reload"].clone();
        if !reload.is_null() && reload["at"] != *last {
            return reload;
        }
        assert!(since.elapsed() < PATIENCE, "a swap is not noticed:\n{}", agent.log());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the ledger has every event delivered.
fn drain(agent: &Agent, events: u64, progress: &dyn Fn(String)) {
    let (mut last, mut moved, mut said) = (Vec::new(), Instant::now(), Instant::now());
    loop {
        let accounts = agent.admin().ledger().accounts;
        let main = accounts.iter().find(|account| account.pipeline == "all" && account.sink == "out");
        let is_read = main.is_some_and(|account| account.read.events >= events);
        if is_read && accounts.iter().all(Account::is_settled) {
            return;
        }
        if last != accounts {
            (last, moved) = (accounts.clone(), Instant::now());
        }
        assert!(moved.elapsed() < STALLED, "nothing moves any more: {accounts:#?}\n{}", agent.log());
        if said.elapsed() > Duration::from_secs(10) {
            let delivered = main.map_or(0, |account| account.delivered.events);
            progress(format!("draining: {delivered} of {events} events"));
            said = Instant::now();
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Counts the numbers of a file's documents; what has none is found missing.
fn count(path: &Path, seen: &mut [u8]) {
    let Ok(file) = fs::File::open(path) else { return };
    for line in BufReader::new(file).lines() {
        let line = line.expect("a line of text");
        let number = line.split_once("\"n\":").map(|(_, rest)| rest);
        let digits = number.and_then(|rest| rest.split([',', '}']).next());
        let number = digits.and_then(|digits| digits.parse::<usize>().ok());
        if let Some(times) = number.and_then(|number| seen.get_mut(number)) {
            *times = times.saturating_add(1);
        }
    }
}

// === impl ReloadReport ===

impl ReloadReport {
    /// Everything that is not as it must be. How long reloads took counts only where nothing else uses the machine.
    pub fn problems(&self, with_times: bool) -> Vec<String> {
        let mut problems = self.surprises.clone();
        let mut unless = |is_so: bool, problem: String| {
            if !is_so {
                problems.push(problem);
            }
        };
        let (missing, doubled, events) = (self.missing, self.doubled, self.events);
        unless(missing == 0 && doubled == 0, format!("{missing} missing, {doubled} doubled of {events}"));
        unless(self.also_doubled == 0, format!("{} doubled in the second sink", self.also_doubled));
        unless(self.also.0 == self.also.1 && self.also.0 > 0, format!("the second sink has {:?}", self.also));
        let account = &self.account;
        let counted = (account.read.events, account.delivered.events, account.lost_events());
        unless(counted == (events, events, 0), format!("the ledger has read, delivered, lost {counted:?}"));
        unless(account.balanced && account.is_settled(), format!("the ledger: {account:?}"));
        let reloads = self.scenario.reloads;
        let broken = (1..=reloads).filter(|number| kind(*number) != Kind::Good).count() as u64;
        unless(self.rejected == broken, format!("{} rejected of {broken}", self.rejected));
        let good = reloads - broken;
        unless(self.generation == 1 + good, format!("generation {} after {good} reloads", self.generation));
        unless(self.failed_meanwhile, "the sink never failed".to_owned());
        if with_times {
            let longest = self.taken.last().copied().unwrap_or_default();
            unless(longest <= LIMIT, format!("a reload took {longest:?}, more than {LIMIT:?}"));
        }
        problems
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let at = |share: usize| {
            let index = (self.taken.len().saturating_sub(1)) * share / 100;
            self.taken.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        json!({
            "reloads": self.scenario.reloads,
            "rate": self.scenario.rate,
            "events": self.events,
            "missing": self.missing,
            "doubled": self.doubled,
            "second_sink": {"documents": self.also.0, "doubled": self.also_doubled},
            "taken": self.taken.len(),
            "rejected": self.rejected,
            "generation": self.generation,
            "reload_ms": {"p50": at(50), "p90": at(90), "p99": at(99), "max": at(100)},
            "seconds": self.seconds,
        })
    }
}
