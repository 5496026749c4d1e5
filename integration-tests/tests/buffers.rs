//! Buffers on disk: what a sink has not taken is safe there within seconds, whatever dies, and comes once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use integration_tests::{Agent, Amount, Node, count, numbers, until};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::{Value, json};

const CONFIG: &str = "
sources: {pods: {type: kubernetes_logs, path: pods, linger: 50ms}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson, buffer: durable}}
buffers: {durable: {memory: 16MiB, disk: 128MiB}}
";
/// What is unacked for 5 s is stored; the rest is for a slow machine.
const STORED_WITHIN: Duration = Duration::from_secs(10);

fn events(range: std::ops::Range<u64>) -> impl Iterator<Item = String> {
    range.map(|n| json!({"n": n, "text": "something that happened"}).to_string())
}

fn large_events(range: std::ops::Range<u64>) -> impl Iterator<Item = String> {
    // Text that a file cannot pack by much.
    let mut random = StdRng::seed_from_u64(1);
    range.map(move |n| {
        let text: String = (0..10_000).map(|_| char::from(random.random_range(b'#'..b'['))).collect();
        json!({"n": n, "text": text}).to_string()
    })
}

fn segments(node: &Node) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(node.path("data/buffer/out")) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

/// Events of the sink on disk and in memory, as the agent says.
fn buffered(agent: &Agent) -> (u64, u64) {
    let account = agent.admin().ledger().account("all", "out");
    let events = |tier: &str| account.buffered.get(tier).map_or(0, |amount| amount.events);
    (events("disk"), events("memory"))
}

/// Events that the checkpoint on disk knows as read.
fn durably_read(node: &Node) -> u64 {
    let text = fs::read_to_string(node.path("data/checkpoint")).unwrap_or_default();
    let body = text.split_once('\n').map_or("{}", |(_, body)| body);
    let state: Value = serde_json::from_str(body).unwrap();
    let accounts = state["ledger"].as_array().cloned().unwrap_or_default();
    accounts.iter().map(|account| account["counts"]["read"]["events"].as_u64().unwrap()).sum()
}

#[test]
fn what_a_dead_sink_has_not_taken_survives_a_kill_and_its_source() {
    let node = Node::new();
    node.configure(CONFIG);
    node.break_output();
    let agent = node.start();
    let mut log = node.pod("shop_cart_u1");
    log.lines(events(0..20_000));
    let written = Instant::now();
    until("all is on disk", || buffered(&agent) == (20_000, 0));
    assert!(written.elapsed() < STORED_WITHIN, "{:?}", written.elapsed());
    let modes: BTreeSet<u32> =
        segments(&node).iter().map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777).collect();
    assert_eq!(modes, [0o600].into(), "buffered events are nobody else's business");
    until("the checkpoint knows", || durably_read(&node) == 20_000);
    agent.kill();
    let account = node.ledger().account("all", "out");
    assert_eq!(account.buffered["disk"].events, 20_000);
    assert_eq!((account.delivered, account.lost_events()), (Amount::default(), 0));

    fs::remove_dir_all(node.path("pods")).unwrap();
    node.heal_output();
    let agent = node.start();
    let out = node.path("real.ndjson");
    until("all of it arrives", || count(&out) == 20_000);
    until("the files go", || segments(&node).is_empty());
    let labels = [("sink", "out"), ("tier", "disk")];
    until("its bytes are free", || agent.admin().metrics().count("weir_buffer_used_bytes", &labels) == 0);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(numbers(&out), (0..20_000).collect::<Vec<_>>(), "each once, in order");
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events, account.lost_events()), (20_000, 20_000, 0));
}

/// What is in memory goes to disk at the end, without waiting for its time.
#[test]
fn a_stop_with_a_dead_sink_leaves_everything_on_disk() {
    let node = Node::new();
    node.configure(CONFIG);
    node.break_output();
    let agent = node.start();
    node.pod("shop_cart_u1").lines(events(0..5_000));
    until("all is read", || buffered(&agent).1 == 5_000);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.log.contains("they stay in its disk buffer"), "{ended}");
    assert_eq!(node.ledger().account("all", "out").buffered["disk"].events, 5_000);

    fs::remove_dir_all(node.path("pods")).unwrap();
    let ended = node.run_once();
    assert_eq!(ended.code, Some(1), "the sink takes nothing: {ended}");
    assert!(ended.log.contains("buffered") && ended.log.contains("disk"), "{ended}");
    node.heal_output();
    node.run_once_well();
    assert_eq!(numbers(&node.path("real.ndjson")), (0..5_000).collect::<Vec<_>>());
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events), (5_000, 5_000));
    // However short the run was: no checkpoint names them any more.
    assert_eq!(segments(&node).len(), 0, "what is delivered goes");
}

/// A dead sink with a buffer does not hold back the sink beside it, nor its source: the agent forgets what is on disk.
#[test]
fn nobody_waits_for_what_is_on_disk() {
    let node = Node::new();
    node.configure(
        "
sources: {pods: {type: kubernetes_logs, path: pods, linger: 50ms}}
pipelines: {all: {from: [pods], to: [out, fine]}}
sinks:
  out: {type: file, path: out.ndjson, buffer: durable}
  fine: {type: file, path: fine.ndjson}
buffers: {durable: {memory: 16MiB, disk: 128MiB}}
",
    );
    node.break_output();
    let agent = node.start();
    node.pod("shop_cart_u1").lines(events(0..5_000));
    until("it is on disk", || buffered(&agent) == (5_000, 0));
    until("the checkpoint knows", || durably_read(&node) == 10_000);
    agent.kill();
    fs::remove_dir_all(node.path("pods")).unwrap();
    node.heal_output();
    node.run_once_well();
    for out in ["real.ndjson", "fine.ndjson"] {
        assert_eq!(numbers(&node.path(out)), (0..5_000).collect::<Vec<_>>(), "{out}");
    }
    node.ledger().accounts.iter().for_each(|account| {
        account.check();
        assert_eq!((account.read.events, account.delivered.events), (5_000, 5_000), "{account:?}");
    });
}

/// Kills at random moments while the sink dies and comes back: nothing is lost, and each event is counted once.
#[test]
fn kills_while_the_sink_dies_and_comes_back_lose_nothing() {
    let given = std::env::var("WEIR_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| rand::rng().random());
    eprintln!("WEIR_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let node = Node::new();
    node.configure(CONFIG);
    let mut log = node.pod("shop_cart_u1");
    let mut written = 0;
    for round in 0..5 {
        match round % 2 {
            0 => node.break_output(),
            _ => node.heal_output(),
        }
        let agent = Agent::spawn(node.command(&["run", "-c", "weir.yaml"]), &node.path("data"));
        let end = Instant::now() + Duration::from_millis(random.random_range(500..8_000));
        while Instant::now() < end {
            log.lines(events(written..written + 300));
            written += 300;
            if random.random_bool(0.02) {
                log.rotate();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let ended = agent.kill();
        assert_eq!(ended.signal, Some(9), "it was to be killed: {ended}");
        let ledger = node.ledger();
        ledger.accounts.iter().for_each(integration_tests::Account::check);
    }
    node.heal_output();
    let ended = node.run_once_well();
    let read: BTreeSet<u64> = numbers(&node.path("real.ndjson")).into_iter().collect();
    assert!(read.iter().copied().eq(0..written), "{} of {written}: {ended}", read.len());
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events, account.lost_events()), (written, written, 0));
    assert_eq!(segments(&node).len(), 0, "what is delivered goes");
}

/// A damaged run costs itself: it is counted, its file is kept aside, everything else arrives.
#[test]
fn a_damaged_file_costs_what_is_damaged_and_nothing_else() {
    let node = Node::new();
    node.configure(CONFIG);
    node.break_output();
    let agent = node.start();
    node.pod("shop_cart_u1").lines(events(0..5_000));
    until("all is read", || buffered(&agent).1 == 5_000);
    agent.terminate();
    let files = segments(&node);
    let mut bytes = fs::read(&files[0]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&files[0], bytes).unwrap();
    let ended = node.weir(&["buffer", "fsck", "-c", "weir.yaml"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stdout.contains("records of its part"), "{ended}");

    fs::remove_dir_all(node.path("pods")).unwrap();
    node.heal_output();
    let ended = node.run_once();
    assert_eq!(ended.code, Some(1), "something is lost: {ended}");
    let lost = node.ledger().account("all", "out").events_for("corrupt");
    assert!((1..2_000).contains(&lost), "one run is lost: {lost}");
    let there = numbers(&node.path("real.ndjson"));
    assert_eq!(there.len() as u64, 5_000 - lost);
    assert!(there.is_sorted(), "each once, in order");
    let account = node.ledger().account("all", "out");
    assert_eq!((account.delivered.events, account.lost_events()), (5_000 - lost, lost));
    // A single run saves once; the file goes at the next start, or a second later in an agent that lives.
    let agent = node.start();
    until("no file is left", || segments(&node).is_empty());
    agent.terminate();
    assert_eq!(node.ledger().account("all", "out").lost_events(), lost, "it is lost once");
}

/// The bound holds to the byte; beyond it reading stops, and goes on when there is room.
#[test]
fn a_full_buffer_blocks_and_loses_nothing() {
    let node = Node::new();
    node.configure(
        "
sources: {pods: {type: kubernetes_logs, path: pods, linger: 50ms}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson, buffer: small}}
buffers: {small: {memory: 8MiB, disk: 32MiB}}
",
    );
    node.break_output();
    let agent = node.start();
    let total = 9_000;
    node.pod("shop_cart_u1").lines(large_events(0..total));
    let full = || agent.log().contains("the sink's disk buffer is full");
    let end = Instant::now() + Duration::from_secs(60);
    while !full() {
        assert!(Instant::now() < end, "it never fills up: {:?}", buffered(&agent));
        let bytes: u64 = segments(&node).iter().filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum();
        assert!(bytes <= 32 << 20, "{bytes} bytes on disk");
        std::thread::sleep(Duration::from_millis(50));
    }
    let account = agent.admin().ledger().account("all", "out");
    assert!(account.read.events < total && account.lost_events() == 0, "{account:?}");
    node.heal_output();
    let out = node.path("real.ndjson");
    let end = Instant::now() + Duration::from_secs(60);
    while count(&out) < total {
        assert!(Instant::now() < end, "{} of {total} arrived", count(&out));
        std::thread::sleep(Duration::from_millis(50));
    }
    agent.terminate();
    assert_eq!(numbers(&out), (0..total).collect::<Vec<_>>());
    let account = node.ledger().account("all", "out");
    assert_eq!((account.read.events, account.delivered.events, account.lost_events()), (total, total, 0));
}

/// A disk without room, and a folder that cannot be written: what waits stays in memory, it is said and counted, and all goes
/// to disk when that is possible again.
#[test]
fn a_disk_that_takes_nothing_is_told_and_tried_again() {
    let refuse_room = |agent: &Agent, _: &Node| limit_files(agent, Some(10_000));
    let give_room = |agent: &Agent, _: &Node| limit_files(agent, None);
    let folder_mode = |node: &Node, mode| {
        fs::set_permissions(node.path("data/buffer/out"), fs::Permissions::from_mode(mode)).unwrap();
    };
    let lock = |_: &Agent, node: &Node| folder_mode(node, 0o500);
    let unlock = |_: &Agent, node: &Node| folder_mode(node, 0o700);
    type Act<'a> = &'a dyn Fn(&Agent, &Node);
    let cases: [(bool, Act<'_>, Act<'_>); 2] = [(true, &refuse_room, &give_room), (false, &lock, &unlock)];
    for (is_limited, take_away, give_back) in cases {
        let node = Node::new();
        node.configure(CONFIG);
        node.break_output();
        let run = ["run", "-c", "weir.yaml"];
        let agent = node.start_with(match is_limited {
            true => node.command_under_file_limit(&run),
            false => node.command_bound_by_modes(&run),
        });
        take_away(&agent, &node);
        node.pod("shop_cart_u1").lines(events(0..20_000));
        let errors = || agent.admin().metrics().count("weir_buffer_write_errors_total", &[("sink", "out")]);
        until("it is tried in vain", || errors() > 0);
        until("all of it waits in memory", || buffered(&agent) == (0, 20_000));
        assert!(agent.log().contains("the sink's disk buffer cannot be written"), "{}", agent.log());
        agent.admin().ledger().account("all", "out").check();
        give_back(&agent, &node);
        until("all is on disk", || buffered(&agent) == (20_000, 0));
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{ended}");
        assert_eq!(node.ledger().account("all", "out").buffered["disk"].events, 20_000);
    }
}

fn limit_files(agent: &Agent, bytes: Option<u64>) {
    prlimit(Some(agent.pid()), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

/// The oldest go, what is left is the newest, and the ledger says how much went.
#[test]
fn a_full_buffer_that_may_drop_keeps_reading() {
    let node = Node::new();
    node.configure(
        "
sources: {pods: {type: kubernetes_logs, path: pods, linger: 50ms}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson, buffer: small}}
buffers: {small: {memory: 8MiB, disk: 32MiB, when_full: drop_oldest}}
",
    );
    node.break_output();
    let agent = node.start();
    let total = 9_000;
    node.pod("shop_cart_u1").lines(large_events(0..total));
    let account = || agent.admin().ledger().account("all", "out");
    let end = Instant::now() + Duration::from_secs(90);
    while account().read.events < total {
        assert!(Instant::now() < end, "reading stopped: {:?}", account());
        let bytes: u64 = segments(&node).iter().filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum();
        assert!(bytes <= 32 << 20, "{bytes} bytes on disk");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(account().events_for("buffer_full") > 0, "{:?}", account());
    node.heal_output();
    let out = node.path("real.ndjson");
    until("what is left arrives", || {
        let account = account();
        account.delivered.events + account.events_for("buffer_full") == total
    });
    agent.terminate();
    let account = node.ledger().account("all", "out");
    account.check();
    let dropped = account.events_for("buffer_full");
    let there = numbers(&out);
    assert_eq!((there.len() as u64, there.last()), (total - dropped, Some(&(total - 1))));
    assert!(there.is_sorted(), "in order");
}
