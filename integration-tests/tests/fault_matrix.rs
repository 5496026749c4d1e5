//! Every fault of a plugin under every policy. Another pipeline reads the same source: its output is complete whatever the
//! plugin does, and the pipeline itself goes on as the table says, with the ledger's sums right at every moment.
//!
//! `matrix!` is the table: a row for each fault, a column for each `on_error`, and each cell is a test of its own.
//!
//! | cell | what becomes of the events |
//! |---|---|
//! | `Passed` | those at fault go on as if the plugin were not there |
//! | `Dropped` | those at fault are dropped and counted |
//! | `DeadLettered` | those at fault are in the dead letters, as the stages before left them |
//! | `Held` | the batch waits, and nothing of it is counted as anything else |
//! | `Refused` | the plugin does not load, so no event meets it: an agent does not start with it, and one that runs keeps its generation |
//! | `NoFault` | none is at fault, so no policy is asked: what the plugin may not do does not happen, and the rest of its answer holds |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use integration_tests::{Account, Admin, Agent, Ended, Metrics, Node, checkout, numbers, parse, until_some};
use serde_json::{Value, json};

macro_rules! matrix {
    ($($fault:ident: $pass:ident $drop:ident $dead_letter:ident $hold:ident, $plugin:expr;)*) => {$(
        mod $fault {
            use super::*;

            #[test]
            fn pass() {
                $plugin.meets(Policy::Pass, Cell::$pass);
            }

            #[test]
            fn drop() {
                $plugin.meets(Policy::Drop, Cell::$drop);
            }

            #[test]
            fn dead_letter() {
                $plugin.meets(Policy::DeadLetter, Cell::$dead_letter);
            }

            #[test]
            fn hold() {
                $plugin.meets(Policy::Hold, Cell::$hold);
            }
        }
    )*};
}

matrix! {
    // fault:                  pass    drop    dead_letter  hold,   what the plugin does, how that is counted, which events are at fault

    // The event must be found among the others, whatever the plugin does because of it.
    trap:                      Passed  Dropped DeadLettered Held,   poisoned("trap", "trap", AtFault::Poison);
    trap_always:               Passed  Dropped DeadLettered Held,   always("trap", "trap");
    spin:                      Passed  Dropped DeadLettered Held,   poisoned("spin", "deadline", AtFault::PoisonAtLeast);
    spin_always:               Passed  Dropped DeadLettered Held,   always("spin", "deadline");
    deep_recursion:            Passed  Dropped DeadLettered Held,   poisoned("recurse", "trap", AtFault::PoisonAtLeast);
    memory_bomb:               Passed  Dropped DeadLettered Held,   poisoned("alloc", "memory", AtFault::PoisonAtLeast);
    huge_output:               Passed  Dropped DeadLettered Held,   poisoned("huge", "output", AtFault::PoisonAtLeast);
    flood_of_events:           Passed  Dropped DeadLettered Held,   poisoned("flood", "output", AtFault::PoisonAtLeast);
    // Within the bytes that an answer may have, there is a limit of events, and of bytes for each of them.
    huge_event:                Passed  Dropped DeadLettered Held,   poisoned("huge", "bad_output", AtFault::PoisonAtLeast).may_answer("16MiB");
    too_many_events:           Passed  Dropped DeadLettered Held,   poisoned("flood", "bad_output", AtFault::PoisonAtLeast).may_answer("16MiB");
    bad_verdict:               Passed  Dropped DeadLettered Held,   poisoned("bad_verdict", "bad_output", AtFault::Poison);
    bad_event:                 Passed  Dropped DeadLettered Held,   poisoned("bad_event", "bad_output", AtFault::Poison);
    bad_parent:                Passed  Dropped DeadLettered Held,   poisoned("bad_parent", "bad_output", AtFault::Poison);
    // Alone, the event has no verdict at all, and that keeps it.
    short_verdicts:            NoFault NoFault NoFault      NoFault, poisoned("short_verdicts", "bad_output", AtFault::None);

    // Such a write is refused alone.
    undeclared_edit:           NoFault NoFault NoFault      NoFault, poisoned("undeclared_write", "undeclared_write", AtFault::None);
    undeclared_column:         NoFault NoFault NoFault      NoFault, poisoned("undeclared_column", "undeclared_write", AtFault::None);
    // A plan is compared with the manifest before any event is shown, so these cannot occur later.
    undeclared_field:          Refused Refused Refused      Refused, refused("undeclared_read", &["secret", "manifest"]);
    undeclared_edit_of_a_plan: Refused Refused Refused      Refused, refused("undeclared_edit", &["secret", "manifest"]);

    // `configure` runs at load. An instance made later is of the same code and configuration.
    trap_in_start:             Refused Refused Refused      Refused, refused("start_trap", &["failed to start (trap)"]);
    spin_in_start:             Refused Refused Refused      Refused, refused("start_spin", &["failed to start (deadline)"]);
    memory_bomb_in_start:      Refused Refused Refused      Refused, refused("start_alloc", &["failed to start (memory)"]);
    garbage_component:         Refused Refused Refused      Refused, garbage(&["WebAssembly"]);

    // The world `transform` imports nothing. Of WASI there is one call that could wait: printing, which goes to the agent's
    // log. Here nobody reads that log.
    slow_host_call:            NoFault NoFault NoFault      NoFault, prints_into_a_log_that_nobody_reads();
}

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Passed,
    Dropped,
    DeadLettered,
    Held,
    Refused,
    NoFault,
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

/// A plugin with a fault.
enum Faulty {
    /// It shows when it handles events.
    Runs(Running),
    /// It shows when it is loaded, with these words.
    Refused { artefact: &'static str, mode: &'static str, words: &'static [&'static str] },
}

struct Running {
    artefact: &'static str,
    /// Its `config`.
    config: String,
    /// The limit of an answer.
    output: &'static str,
    /// The cause under which its faults are counted; `None` where there is nothing to count.
    cause: Option<&'static str>,
    at_fault: AtFault,
    /// Whether it drops the events with the level `debug`: the work that it does well.
    drops: bool,
    is_log_read: bool,
}

fn misbehaves(config: String, cause: &'static str, at_fault: AtFault) -> Faulty {
    Faulty::Runs(Running {
        artefact: "plugins/misbehave.wasm",
        config,
        output: "1MiB",
        cause: Some(cause),
        at_fault,
        drops: true,
        is_log_read: true,
    })
}

fn poisoned(mode: &str, cause: &'static str, at_fault: AtFault) -> Faulty {
    misbehaves(format!("{{mode: {mode}, drop: debug, when: {{equals: poison}}}}"), cause, at_fault)
}

fn always(mode: &str, cause: &'static str) -> Faulty {
    misbehaves(format!("{{mode: {mode}, drop: debug}}"), cause, AtFault::All)
}

fn refused(mode: &'static str, words: &'static [&'static str]) -> Faulty {
    Faulty::Refused { artefact: "plugins/misbehave.wasm", mode, words }
}

fn garbage(words: &'static [&'static str]) -> Faulty {
    Faulty::Refused { artefact: "garbage.wasm", mode: "none", words }
}

fn prints_into_a_log_that_nobody_reads() -> Faulty {
    Faulty::Runs(Running {
        artefact: "prints.wasm",
        config: "{}".to_owned(),
        output: "1MiB",
        cause: None,
        at_fault: AtFault::None,
        drops: false,
        is_log_read: false,
    })
}

// === impl Policy ===

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

// === impl Faulty ===

impl Faulty {
    fn may_answer(mut self, output: &'static str) -> Faulty {
        if let Faulty::Runs(plugin) = &mut self {
            plugin.output = output;
        }
        self
    }

    fn meets(self, policy: Policy, cell: Cell) {
        match self {
            Faulty::Runs(plugin) => Scene { plugin, policy, cell }.play(),
            Faulty::Refused { artefact, mode, words } => {
                assert_eq!(cell, Cell::Refused);
                check_refused(artefact, mode, policy, words);
            }
        }
    }
}

fn configuration(artefact: &str, config: &str, output: &str, policy: Policy) -> String {
    format!(
        "
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
plugins:
  bad:
    artifact: file:{artefact}
    config: {config}
    on_error: {}
    limits: {{output: {output}}}
pipelines:
  bad: {{from: [pods], stages: [bad], to: [bad]}}
  clean: {{from: [pods], to: [clean]}}
sinks:
  bad: {{type: file, path: bad.ndjson}}
  clean: {{type: file, path: clean.ndjson}}
",
        policy.name()
    )
}

/// A fault under a policy.
struct Scene {
    plugin: Running,
    policy: Policy,
    cell: Cell,
}

// === impl Scene ===

impl Scene {
    fn play(&self) {
        let node = Node::with_compiled(&["misbehave"]);
        let Running { artefact, config, output, .. } = &self.plugin;
        node.configure(&configuration(artefact, config, output, self.policy));
        if *artefact == "prints.wasm" {
            let text = checkout().join("integration-tests/abi/wasi-0.2.wat");
            node.write(artefact, wat::parse_file(text).unwrap());
        }
        write_events(&node, 0);
        let agent = if self.plugin.is_log_read {
            node.start()
        } else {
            let command = node.command(&["run", "-c", "weir.yaml"]);
            let agent = Agent::spawn_unread(command, &node.path("data"));
            agent.wait_until_ready();
            agent
        };
        let is_held = self.cell == Cell::Held;
        let account = if is_held { held(&agent.admin()) } else { settled(&agent.admin(), EVENTS) };
        let metrics = agent.admin().metrics();
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{ended}");

        let all: Vec<u64> = (0..EVENTS).collect();
        assert_eq!(numbers(&node.path("clean.ndjson")), all, "the other pipeline's output is complete");
        assert_eq!(account.read.events, EVENTS);
        let at_fault = self.check_metrics(&metrics);
        self.check_account(&account, at_fault);
        self.check_output(&node, at_fault);
        check_time(&metrics, &ended);
        self.check_stopped(&node, &account);
    }

    /// The cause is counted, and no other; returns how many events were found to be at fault.
    fn check_metrics(&self, metrics: &Metrics) -> u64 {
        let bad = [("plugin", "bad")];
        let faults =
            |cause| metrics.count("weir_plugin_errors_total", &[("plugin", "bad"), ("cause", cause)]);
        let all: u64 =
            ["trap", "deadline", "memory", "output", "bad_output", "undeclared_write", "instantiate"]
                .map(faults)
                .iter()
                .sum();
        match self.plugin.cause {
            None => assert_eq!(all, 0),
            Some(cause) => {
                let caused = faults(cause);
                // What makes much takes long: where the CPU is short, the deadline may come first, as it may for others.
                let late = match self.plugin.at_fault {
                    AtFault::PoisonAtLeast => faults("deadline"),
                    _ => 0,
                };
                let expected = if cause == "deadline" { all } else { all - late };
                assert!(caused > 0 && caused == expected, "{caused} of {all} faults are for {cause}");
            }
        }
        let at_fault = metrics.count("weir_plugin_failed_events_total", &bad);
        match self.plugin.at_fault {
            AtFault::None => assert_eq!(at_fault, 0),
            AtFault::Poison => assert_eq!(at_fault, 1),
            AtFault::PoisonAtLeast => assert!((1..=EVENTS).contains(&at_fault), "{at_fault}"),
            AtFault::All => assert_eq!(at_fault, EVENTS),
        }
        assert_eq!(at_fault == 0, self.cell == Cell::NoFault);
        assert_eq!(metrics.count("weir_plugin_events_total", &bad), EVENTS);
        at_fault
    }

    fn check_account(&self, account: &Account, at_fault: u64) {
        if self.cell == Cell::Held {
            assert_eq!((account.in_flight.events, account.settled().events), (EVENTS, 0), "{account:?}");
            return;
        }
        let failed = account.events_for("bad.plugin_error");
        let expected = if matches!(self.cell, Cell::Dropped | Cell::DeadLettered) { at_fault } else { 0 };
        assert_eq!(failed, expected, "{account:?}");
        let is_dead = account.dead_lettered.contains_key("bad.plugin_error");
        assert_eq!(is_dead, self.cell == Cell::DeadLettered);
        let unwanted = account.events_for("bad.unwanted");
        match self.plugin.at_fault {
            AtFault::None | AtFault::Poison => {
                assert_eq!(unwanted, if self.plugin.drops { DEBUG_EVENTS } else { 0 });
            }
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
        let letters = node.path("data/dead-letters/bad.ndjson");
        let dead = parse(&letters);
        assert_eq!(dead.len() as u64, if self.cell == Cell::DeadLettered { at_fault } else { 0 });
        match self.cell {
            Cell::Held => return assert!(delivered.is_empty()),
            Cell::DeadLettered => {
                check_dead_letters(&dead, &delivered);
                // They may hold what nobody else is to see.
                assert_eq!(fs::metadata(letters).unwrap().permissions().mode() & 0o777, 0o600);
            }
            Cell::Dropped => assert!(!delivered.contains(&POISON)),
            Cell::Passed | Cell::NoFault => assert!(delivered.contains(&POISON)),
            Cell::Refused => unreachable!("it ran"),
        }
        if at_fault <= 1 {
            let is_kept = |n: &u64| !self.plugin.drops || !n.is_multiple_of(DEBUG_EVERY);
            let wanted = |n: &u64| is_kept(n) && (*n != POISON || delivered.contains(n));
            assert_eq!(delivered, (0..EVENTS).filter(wanted).collect::<Vec<_>>());
        }
    }

    /// What the agent left says the same as the agent said; of a batch that is held, nothing.
    fn check_stopped(&self, node: &Node, live: &Account) {
        let ledger = node.ledger();
        if self.cell == Cell::Held {
            assert_eq!(ledger.accounts, [], "of a batch that is not safe, nothing is counted for good");
            return;
        }
        assert_eq!(&ledger.account("bad", "bad"), live);
        assert_eq!(ledger.account("clean", "clean").delivered.events, EVENTS);
    }
}

/// A batch costs no more than five deadlines.
fn check_time(metrics: &Metrics, ended: &Ended) {
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

/// An agent that runs keeps its generation, and loses nothing by having tried; one that starts does not.
fn check_refused(artefact: &str, mode: &str, policy: Policy, words: &[&str]) {
    let node = Node::with_compiled(&["misbehave"]);
    node.write("garbage.wasm", "this is no component");
    let good = configuration("plugins/misbehave.wasm", "{mode: none, drop: debug}", "1MiB", policy);
    let bad = configuration(artefact, &format!("{{mode: {mode}, drop: debug}}"), "1MiB", policy);
    node.configure(&good);
    write_events(&node, 0);
    let agent = node.start();
    settled(&agent.admin(), EVENTS);

    node.configure(&bad);
    let (status, answer) = agent.admin().reload();
    let told = answer.to_string();
    assert!(status >= 400 && words.iter().all(|word| told.contains(word)), "{status}: {answer:#}");
    assert_eq!(agent.admin().generation()["generation"], 1, "the one before goes on");
    write_events(&node, 1);
    let account = settled(&agent.admin(), 2 * EVENTS);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(account.events_for("bad.unwanted"), 2 * DEBUG_EVENTS);
    assert_eq!(account.delivered.events, 2 * (EVENTS - DEBUG_EVENTS));
    assert_eq!((account.events_for("bad.plugin_error"), account.lost_events()), (0, 0));
    assert_eq!(node.ledger().account("bad", "bad"), account);
    let is_wanted = |n: &u64| !(n % EVENTS).is_multiple_of(DEBUG_EVERY);
    let mut delivered = numbers(&node.path("bad.ndjson"));
    delivered.sort_unstable();
    assert_eq!(delivered, (0..2 * EVENTS).filter(is_wanted).collect::<Vec<_>>());

    let refused = node.run_once();
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(words.iter().all(|word| refused.log.contains(word)), "{refused}");
    assert_eq!(node.ledger().account("bad", "bad"), account, "it read nothing");
}

/// The events of one batch, in a pod of their own.
fn write_events(node: &Node, batch: u64) {
    let level = |n| match n {
        POISON => "poison",
        n if n.is_multiple_of(DEBUG_EVERY) => "debug",
        _ => "info",
    };
    let event = |n| json!({"n": batch * EVENTS + n, "level": level(n), "secret": "x"}).to_string();
    node.pod(&format!("shop_cart_u{batch}")).lines((0..EVENTS).map(event));
}

/// Waits until all events have their fate. The sums are right at every moment.
fn settled(admin: &Admin, events: u64) -> Account {
    until_some("all events have their fate", || {
        let ledger = admin.ledger();
        ledger.check();
        let (bad, clean) = (ledger.account("bad", "bad"), ledger.account("clean", "clean"));
        let done = |account: &Account| account.read.events == events && account.is_settled();
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
fn check_dead_letters(letters: &[Value], delivered: &[u64]) {
    for letter in letters {
        assert_eq!((&letter["pipeline"], &letter["stage"]), (&json!("bad"), &json!("bad")), "{letter}");
        assert_eq!(letter["reason"], "plugin_error", "{letter}");
        assert!(letter["id"].as_str().is_some_and(|id| !id.is_empty()), "{letter}");
        let number = letter["document"]["n"].as_u64().unwrap();
        assert!(!delivered.contains(&number), "{letter}");
    }
    assert!(letters.iter().any(|letter| letter["document"]["n"] == POISON));
}
