//! Plugins that misbehave in one pipeline while another reads the same source: the other's output is complete, and the
//! pipeline itself goes on by its policy, with every event accounted for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use integration_tests::{Account, Admin, Ended, Metrics, Node, numbers, parse, until_some};
use serde_json::json;

/// One batch.
const EVENTS: u64 = 600;
/// The one event with the level `poison`, and those with the level `debug`.
const POISON: u64 = 301;
const DEBUG_EVERY: u64 = 10;
const DEBUG_EVENTS: u64 = EVENTS / DEBUG_EVERY;

/// A call may take this much CPU time, a batch five times as much: the plugin's default.
const DEADLINE: Duration = Duration::from_millis(100);
const BATCH_DEADLINES: u32 = 5;
/// What making instances, copying and looking at the clock may cost beyond the deadlines.
const SLACK: Duration = Duration::from_millis(150);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Pass,
    Drop,
    DeadLetter,
    Hold,
}

const POLICIES: [Policy; 4] = [Policy::Pass, Policy::Drop, Policy::DeadLetter, Policy::Hold];

/// Which events a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Poison,
    Always,
}

/// How many events are found to be at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtFault {
    /// None: the plugin's answer holds but for what it must not do.
    None,
    /// The one with the poison.
    Poison,
    /// The one with the poison, and others where the deadlines are used up before it stands alone.
    PoisonAtLeast,
    All,
}

impl Policy {
    fn name(self) -> &'static str {
        match self {
            Policy::Pass => "pass",
            Policy::Drop => "drop",
            Policy::DeadLetter => "dead_letter",
            Policy::Hold => "hold",
        }
    }
}

/// The poison must be found among the others, whatever it does.
#[test]
fn a_plugin_that_traps_on_some_events() {
    check("trap", When::Poison, "trap", AtFault::Poison);
}

#[test]
fn a_plugin_that_always_traps() {
    check("trap", When::Always, "trap", AtFault::All);
}

#[test]
fn a_plugin_that_spins_on_some_events() {
    check("spin", When::Poison, "deadline", AtFault::PoisonAtLeast);
}

#[test]
fn a_plugin_that_always_spins() {
    check("spin", When::Always, "deadline", AtFault::All);
}

#[test]
fn a_plugin_that_allocates_without_end() {
    check("alloc", When::Poison, "memory", AtFault::PoisonAtLeast);
}

#[test]
fn a_plugin_that_recurses_without_end() {
    check("recurse", When::Poison, "trap", AtFault::PoisonAtLeast);
}

#[test]
fn a_plugin_that_answers_with_too_many_bytes() {
    check("huge", When::Poison, "output", AtFault::PoisonAtLeast);
}

#[test]
fn a_plugin_that_answers_with_too_many_events() {
    check("flood", When::Poison, "output", AtFault::PoisonAtLeast);
}

/// Within the bytes that an answer may have, there is a limit of events, and of bytes for each of them.
#[test]
fn a_plugin_that_makes_too_many_or_too_large_events() {
    check_with_output("16MiB", "flood", When::Poison, "bad_output", AtFault::PoisonAtLeast);
    check_with_output("16MiB", "huge", When::Poison, "bad_output", AtFault::PoisonAtLeast);
}

#[test]
fn a_plugin_that_writes_what_it_did_not_declare() {
    check("undeclared_write", When::Poison, "undeclared_write", AtFault::None);
    check("undeclared_column", When::Poison, "undeclared_write", AtFault::None);
}

#[test]
fn a_plugin_that_answers_with_bad_verdicts() {
    check("bad_verdict", When::Poison, "bad_output", AtFault::Poison);
    // Alone, the event has no verdict at all, and that keeps it.
    check("short_verdicts", When::Poison, "bad_output", AtFault::None);
}

#[test]
fn a_plugin_that_makes_bad_events() {
    check("bad_event", When::Poison, "bad_output", AtFault::Poison);
    check("bad_parent", When::Poison, "bad_output", AtFault::Poison);
}

/// Runs a fault under every policy.
fn check(mode: &str, when: When, cause: &str, at_fault: AtFault) {
    check_with_output("1MiB", mode, when, cause, at_fault);
}

/// The same, with another limit to an answer.
fn check_with_output(output: &str, mode: &str, when: When, cause: &str, at_fault: AtFault) {
    for policy in POLICIES {
        eprintln!("{mode}, {when:?}, on_error: {}", policy.name());
        Scene { mode, output, cause, at_fault, policy }.play(when);
    }
}

/// A fault under a policy.
struct Scene<'a> {
    mode: &'a str,
    output: &'a str,
    cause: &'a str,
    at_fault: AtFault,
    policy: Policy,
}

impl Scene<'_> {
    fn play(&self, when: When) {
        let node = Node::with_compiled(&["misbehave"]);
        let when = if when == When::Poison { ", when: {equals: poison}" } else { "" };
        let (mode, output, policy) = (self.mode, self.output, self.policy.name());
        node.configure(&format!(
            "
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
plugins:
  bad:
    artifact: file:plugins/misbehave.wasm
    config: {{mode: {mode}, drop: debug{when}}}
    on_error: {policy}
    limits: {{output: {output}}}
pipelines:
  bad: {{from: [pods], stages: [bad], to: [bad]}}
  clean: {{from: [pods], to: [clean]}}
sinks:
  bad: {{type: file, path: bad.ndjson}}
  clean: {{type: file, path: clean.ndjson}}
"
        ));
        write_events(&node);
        let agent = node.start();
        let account = if self.holds() { held(&agent.admin()) } else { settled(&agent.admin()) };
        let metrics = agent.admin().metrics();
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{ended}");

        let all: Vec<u64> = (0..EVENTS).collect();
        assert_eq!(numbers(&node.path("clean.ndjson")), all, "the other pipeline's output is complete");
        assert_eq!(account.read.events, EVENTS);
        let at_fault = self.check_metrics(&metrics);
        self.check_account(&account, at_fault);
        self.check_output(&node, at_fault);
        self.check_time(&metrics, &ended);
        self.check_stopped(&node, &account);
    }

    fn holds(&self) -> bool {
        self.policy == Policy::Hold && self.at_fault != AtFault::None
    }

    /// The cause is counted; returns how many events were found to be at fault.
    fn check_metrics(&self, metrics: &Metrics) -> u64 {
        let bad = [("plugin", "bad")];
        let caused = metrics.count("weir_plugin_errors_total", &[("plugin", "bad"), ("cause", self.cause)]);
        let faults: u64 =
            ["trap", "deadline", "memory", "output", "bad_output", "undeclared_write", "instantiate"]
                .map(|cause| {
                    metrics.count("weir_plugin_errors_total", &[("plugin", "bad"), ("cause", cause)])
                })
                .iter()
                .sum();
        assert!(caused > 0 && caused == faults, "{caused} of {faults} faults are for {}", self.cause);
        let at_fault = metrics.count("weir_plugin_failed_events_total", &bad);
        match self.at_fault {
            AtFault::None => assert_eq!(at_fault, 0),
            AtFault::Poison => assert_eq!(at_fault, 1),
            AtFault::PoisonAtLeast => assert!((1..=EVENTS).contains(&at_fault), "{at_fault}"),
            AtFault::All => assert_eq!(at_fault, EVENTS),
        }
        assert_eq!(metrics.count("weir_plugin_events_total", &bad), EVENTS);
        at_fault
    }

    fn check_account(&self, account: &Account, at_fault: u64) {
        if self.holds() {
            assert_eq!((account.in_flight.events, account.settled().events), (EVENTS, 0), "{account:?}");
            return;
        }
        let failed = account.events_for("bad.plugin_error");
        match self.policy {
            Policy::Pass | Policy::Hold => assert_eq!(failed, 0, "{account:?}"),
            Policy::Drop | Policy::DeadLetter => assert_eq!(failed, at_fault, "{account:?}"),
        }
        let is_dead = account.dead_lettered.contains_key("bad.plugin_error");
        assert_eq!(is_dead, self.policy == Policy::DeadLetter && at_fault > 0);
        let unwanted = account.events_for("bad.unwanted");
        match self.at_fault {
            AtFault::None | AtFault::Poison => assert_eq!(unwanted, DEBUG_EVENTS),
            // Of those at fault nobody knows whether they were wanted.
            AtFault::PoisonAtLeast => {
                assert!(unwanted <= DEBUG_EVENTS && unwanted + at_fault >= DEBUG_EVENTS)
            }
            AtFault::All => assert_eq!(unwanted, 0),
        }
        assert_eq!(account.delivered.events, EVENTS - unwanted - failed);
        assert_eq!((account.lost_events(), account.created.events), (0, 0), "{account:?}");
    }

    fn check_output(&self, node: &Node, at_fault: u64) {
        let path = node.path("bad.ndjson");
        let delivered = numbers(&path);
        assert!(delivered.is_sorted_by(|one, next| one < next), "in order, none twice");
        assert!(parse(&path).iter().all(|document| document.get("forged").is_none()));
        let letters = parse(&node.path("data/dead-letters/bad.ndjson"));
        match self.policy {
            _ if self.holds() => assert!(delivered.is_empty()),
            Policy::DeadLetter => {
                assert_eq!(letters.len() as u64, at_fault);
                check_dead_letters(&letters, &delivered, at_fault > 0);
                check_mode(&node.path("data/dead-letters/bad.ndjson"), at_fault > 0);
            }
            Policy::Drop => assert_eq!(delivered.contains(&POISON), at_fault == 0),
            Policy::Pass | Policy::Hold => assert!(delivered.contains(&POISON)),
        }
        assert!(self.policy == Policy::DeadLetter || letters.is_empty());
        if at_fault <= 1 && !self.holds() {
            let wanted = |n: &u64| !n.is_multiple_of(DEBUG_EVERY) && (*n != POISON || delivered.contains(n));
            assert_eq!(delivered, (0..EVENTS).filter(wanted).collect::<Vec<_>>());
        }
    }

    /// A batch costs no more than five deadlines.
    fn check_time(&self, metrics: &Metrics, ended: &Ended) {
        let bad = [("plugin", "bad")];
        let calls = metrics.count("weir_plugin_calls_total", &bad) as u32;
        let cpu = Duration::from_secs_f64(metrics.value("weir_plugin_cpu_seconds_total", &bad));
        let bound = calls * (BATCH_DEADLINES * DEADLINE + SLACK);
        assert!(cpu <= bound, "{cpu:?} of CPU time for {calls} calls, at most {bound:?}");
        assert!(
            ended.cpu <= cpu + Duration::from_secs(1),
            "{:?} for the whole agent, {cpu:?} for the plugin",
            ended.cpu
        );
    }

    /// What the agent left says the same as the agent said; of a batch that is held, nothing.
    fn check_stopped(&self, node: &Node, live: &Account) {
        let ledger = node.ledger();
        if self.holds() {
            assert_eq!(ledger.accounts, [], "of a batch that is not safe, nothing is counted for good");
            return;
        }
        assert_eq!(&ledger.account("bad", "bad"), live);
        assert_eq!(ledger.account("clean", "clean").delivered.events, EVENTS);
    }
}

fn write_events(node: &Node) {
    let level = |n| match n {
        POISON => "poison",
        n if n.is_multiple_of(DEBUG_EVERY) => "debug",
        _ => "info",
    };
    node.pod("shop_cart_u1")
        .lines((0..EVENTS).map(|n| json!({"n": n, "level": level(n), "secret": "x"}).to_string()));
}

/// Waits until all events have their fate. The sums are right at every moment.
fn settled(admin: &Admin) -> Account {
    until_some("all events have their fate", || {
        let ledger = admin.ledger();
        ledger.check();
        let (bad, clean) = (ledger.account("bad", "bad"), ledger.account("clean", "clean"));
        let done = |account: &Account| account.read.events == EVENTS && account.is_settled();
        (done(&bad) && done(&clean)).then_some(bad)
    })
}

/// Waits until the pipeline holds its batch.
fn held(admin: &Admin) -> Account {
    until_some("the batch is held and the other pipeline is done", || {
        let ledger = admin.ledger();
        ledger.check();
        let is_held = admin.metrics().count("weir_plugin_failed_events_total", &[("plugin", "bad")]) > 0;
        let is_done = ledger.account("clean", "clean").delivered.events == EVENTS;
        (is_held && is_done).then(|| ledger.account("bad", "bad"))
    })
}

/// Each is an event as the stages before left it, with where it failed.
fn check_dead_letters(letters: &[serde_json::Value], delivered: &[u64], some: bool) {
    for letter in letters {
        assert_eq!((&letter["pipeline"], &letter["stage"]), (&json!("bad"), &json!("bad")), "{letter}");
        assert_eq!(letter["reason"], "plugin_error", "{letter}");
        assert!(letter["id"].as_str().is_some_and(|id| !id.is_empty()), "{letter}");
        let number = letter["document"]["n"].as_u64().unwrap();
        assert!(!delivered.contains(&number), "{letter}");
    }
    let is_poison = |letter: &serde_json::Value| letter["document"]["n"] == POISON;
    assert_eq!(letters.iter().any(is_poison), some);
}

/// Dead letters may hold what nobody else is to see.
fn check_mode(path: &Path, some: bool) {
    if some {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

const ONE_PIPELINE: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
plugins: {bad: {artifact: file:plugins/misbehave.wasm, config: CONFIG, on_error: POLICY}}
pipelines: {all: {from: [pods], stages: [bad], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

fn one_pipeline(config: &str, policy: &str) -> String {
    ONE_PIPELINE.replace("CONFIG", config).replace("POLICY", policy)
}

/// A run that cannot end well ends, and leaves everything to the next.
#[test]
fn what_is_held_is_delivered_by_a_later_run_with_a_good_configuration() {
    let node = Node::with_compiled(&["misbehave"]);
    let mut log = node.pod("shop_cart_u1");
    let count = 20_000;
    log.lines(
        (0..count).map(|n| json!({"n": n, "level": if n == 9_000 { "poison" } else { "info" }}).to_string()),
    );
    node.configure(&one_pipeline("{mode: trap, when: {equals: poison}}", "hold"));
    for _ in 0..2 {
        let ended = node.run_once();
        assert_eq!(ended.code, Some(1), "{ended}");
        assert!(ended.log.contains("holds a batch"), "{ended}");
        let account = node.ledger().account("all", "out");
        assert_eq!(account.read, account.delivered);
        assert_eq!(numbers(&node.path("out.ndjson")).len() as u64, account.delivered.events);
        assert!(account.delivered.events <= 9_000, "{account:?}");
    }
    node.configure(&one_pipeline("{mode: none}", "hold"));
    node.run_once_well();
    assert_eq!(numbers(&node.path("out.ndjson")), (0..count).collect::<Vec<u64>>());
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events), (count, count));
}

/// What an instance remembers may be what fails; a fresh one handles the batch.
#[test]
fn an_instance_that_wears_out_is_replaced_and_no_event_suffers() {
    let node = Node::with_compiled(&["misbehave"]);
    node.configure(&one_pipeline("{mode: trap, after: 2}", "drop"));
    let count = 40_000;
    node.pod("shop_cart_u1").lines((0..count).map(|n| json!({"n": n}).to_string()));
    let agent = node.start();
    let account = done(&agent.admin(), count);
    let metrics = agent.admin().metrics();
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(account.delivered.events, count);
    assert_eq!(numbers(&node.path("out.ndjson")), (0..count).collect::<Vec<u64>>());
    assert!(metrics.count("weir_plugin_errors_total", &[("plugin", "bad"), ("cause", "trap")]) >= 2);
    assert!(metrics.count("weir_plugin_retries_total", &[("plugin", "bad")]) >= 2);
    assert_eq!(metrics.count("weir_plugin_failed_events_total", &[("plugin", "bad")]), 0);
}

/// One that keeps more with every call is replaced before it reaches its limit.
#[test]
fn an_instance_that_leaks_is_recycled() {
    let node = Node::with_compiled(&["misbehave"]);
    node.configure(&one_pipeline("{mode: leak}", "drop"));
    let count = 300_000;
    node.pod("shop_cart_u1").lines((0..count).map(|n| json!({"n": n}).to_string()));
    let agent = node.start();
    let account = done(&agent.admin(), count);
    let metrics = agent.admin().metrics();
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(account.delivered.events, count);
    assert_eq!(numbers(&node.path("out.ndjson")), (0..count).collect::<Vec<u64>>());
    let bad = [("plugin", "bad")];
    assert!(metrics.count("weir_plugin_calls_total", &bad) > 60);
    assert!(metrics.count("weir_plugin_recycled_instances_total", &bad) > 0);
    let (peak, limit) = ("weir_plugin_memory_peak_bytes", "weir_plugin_memory_limit_bytes");
    assert!(metrics.count(peak, &bad) <= 2 * metrics.count(limit, &bad), "there are two workers");
    assert_eq!(metrics.count("weir_plugin_errors_total", &[("plugin", "bad"), ("cause", "memory")]), 0);
}

/// Asked to stop, the agent waits for the batch that the plugin has, and for no more: the rest is read again.
#[test]
fn a_stop_does_not_wait_long_for_a_plugin_that_spins() {
    let node = Node::with_compiled(&["misbehave"]);
    node.configure(&one_pipeline("{mode: spin}", "pass"));
    let count = 300_000;
    node.pod("shop_cart_u1").lines((0..count).map(|n| json!({"n": n}).to_string()));
    let agent = node.start();
    let calls = || agent.admin().metrics().count("weir_plugin_calls_total", &[("plugin", "bad")]);
    until_some("the plugin has had a batch", || (calls() > 0).then_some(()));
    let asked = Instant::now();
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(asked.elapsed() < Duration::from_secs(20), "{ended}");
    let account = node.ledger().account("all", "out");
    assert!(account.read == account.delivered && account.read.events < count, "{account:?}");

    node.configure(&one_pipeline("{mode: none}", "pass"));
    node.run_once_well();
    let read = numbers(&node.path("out.ndjson"));
    assert!(read.iter().copied().eq(0..count), "{} of {count}, in order, none twice", read.len());
}

fn done(admin: &Admin, count: u64) -> Account {
    until_some("all events have their fate", || {
        let account = admin.ledger().account("all", "out");
        (account.read.events == count && account.is_settled()).then_some(account)
    })
}
