//! An archive of millions of events: what a sampler left out of one hour of one namespace is brought back into OpenSearch,
//! twice, and one trace is searched for among all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::ledger::Account;
use crate::minio::MinIo;
use crate::node::Node;
use crate::opensearch::OpenSearch;
use crate::wait::until_within;

const NAMESPACES: u64 = 4;
const HOURS: u64 = 4;
/// Events of one trace, one behind another in one namespace.
const OF_A_TRACE: u64 = 10;
/// On which the first event comes at midnight.
const DAY: &str = "2026-03-01";
/// The namespace and the hour that are brought back.
const NAMESPACE: u64 = 1;
const HOUR: u64 = 2;
/// All of it, on a slow machine.
const LIMIT: Duration = Duration::from_secs(1_800);

/// A scenario's size.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveScenario {
    /// Events in all, of all namespaces and hours.
    pub events: u64,
    /// Whether nothing is brought back: then no OpenSearch is needed.
    pub search_only: bool,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct ArchiveReport {
    scenario: ArchiveScenario,
    archive: Account,
    /// Until all was archived.
    archiving: Duration,
    listed: u64,
    archive_bytes: u64,
    replays: Vec<Replay>,
    /// Documents of the other hours and namespaces, before and behind.
    elsewhere: (u64, u64),
    search: Search,
}

/// One replay of the hour.
#[derive(Clone, Debug)]
struct Replay {
    /// Documents of the hour before it.
    before: u64,
    /// Behind it.
    after: u64,
    sent: u64,
    took: Duration,
}

/// The search for one trace.
#[derive(Clone, Debug)]
struct Search {
    found: BTreeSet<u64>,
    expected: BTreeSet<u64>,
    summary: Value,
    took: Duration,
}

// === impl ArchiveScenario ===

impl ArchiveScenario {
    /// Plays it and judges nothing: the report does.
    pub fn play(&self, progress: &(dyn Fn(String) + Sync)) -> ArchiveReport {
        let (node, minio) = (Node::with_compiled(&["log-sampler"]), MinIo::shared());
        let server = (!self.search_only).then(OpenSearch::shared);
        let prefix = format!("archived-{}", std::process::id());
        self.configure(&node, &minio, server.as_ref(), &prefix);
        self.write(&node);
        progress("written; the agent archives it".to_owned());
        let begun = Instant::now();
        let agent = node.start();
        until_within(LIMIT, "all is archived", || {
            account(&agent, "whole", "archive").is_some_and(|account| account.delivered.events == self.events)
        });
        let archiving = begun.elapsed();
        progress(format!("archived in {:.1} s", archiving.as_secs_f64()));
        until_within(LIMIT, "the rest has its fate", || {
            account(&agent, "sampled", "kept")
                .is_some_and(|account| account.read.events == self.events && account.is_settled())
        });
        let archive = account(&agent, "whole", "archive").expect("an account");
        let listed = archive_command(&node, &["list", "--from", &at(0), "--to", &at(HOURS)]);
        let sum = |member: &str| {
            let hours = listed[0]["hours"].as_array().expect("hours").iter();
            hours.map(|hour| hour[member].as_u64().unwrap_or_default()).sum()
        };
        let (replays, elsewhere) = match &server {
            Some(server) => self.replay(&node, &agent, server, &prefix, progress),
            None => (Vec::new(), (0, 0)),
        };
        let search = self.search(&node);
        progress(format!("searched in {:.2} s", search.took.as_secs_f64()));
        let ended = agent.terminate();
        assert_eq!(ended.code, Some(0), "{ended}");
        ArchiveReport {
            scenario: *self,
            archive,
            archiving,
            listed: sum("events"),
            archive_bytes: sum("bytes"),
            replays,
            elsewhere,
            search,
        }
    }

    fn configure(&self, node: &Node, minio: &MinIo, server: Option<&OpenSearch>, prefix: &str) {
        let kept = match server {
            Some(server) => format!(
                "{{type: opensearch, endpoints: ['{}'], index: '{prefix}-{{namespace}}-%H', buffer: durable}}",
                server.url()
            ),
            None => "{type: blackhole}".to_owned(),
        };
        node.configure(&format!(
            "
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
plugins:
  sampler:
    artifact: file:plugins/log-sampler.wasm
    config: {{field: level, rates: {{info: 0.1}}, default: 1, key: trace_id}}
pipelines:
  sampled: {{from: [pods], stages: [sampler], to: [kept]}}
  whole: {{from: [pods], to: [archive]}}
sinks:
  kept: {kept}
  archive: {{type: s3, {}, index_fields: [trace_id], max_object_age: {}, buffer: durable}}
buffers: {{durable: {{memory: 48MiB, disk: 4GiB}}}}
",
            minio.configuration(node, &minio.url()),
            // Nobody waits for long in a small one.
            if self.events < 1_000_000 { "2s" } else { "15s" },
        ));
    }

    fn of_a_namespace(&self) -> u64 {
        self.events / NAMESPACES
    }

    /// The number of an event of a namespace.
    fn number(namespace: u64, index: u64) -> u64 {
        index * NAMESPACES + namespace
    }

    /// Indices of the events of a namespace that lie in an hour.
    fn of_hour(&self, hour: u64) -> std::ops::Range<u64> {
        let each = self.of_a_namespace();
        (each * hour).div_ceil(HOURS)..(each * (hour + 1)).div_ceil(HOURS)
    }

    fn write(&self, node: &Node) {
        let each = self.of_a_namespace();
        for namespace in 0..NAMESPACES {
            let folder = node.path(format!("pods/ns-{namespace}_app-{namespace}_u{namespace}/main"));
            fs::create_dir_all(&folder).expect("a folder");
            let mut file = BufWriter::new(File::create(folder.join("0.log")).expect("a file"));
            for index in 0..each {
                let nanoseconds = HOURS * 3_600 * 1_000_000_000 / each * index;
                let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
                let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
                let n = ArchiveScenario::number(namespace, index);
                writeln!(
                    file,
                    "{DAY}T{hours:02}:{minutes:02}:{seconds:02}.{rest:09}Z stdout F {{\"n\":{n},\"level\":\"info\",\"trace_id\":\"{}\",\"message\":\"order {} taken\",\"path\":\"/orders/{}\",\"took_ms\":{}}}",
                    trace(namespace, index),
                    n * 7 % 100_000,
                    n * 31 % 1_000,
                    n * 13 % 500,
                )
                .expect("room on the disk");
            }
            file.flush().expect("room on the disk");
        }
    }

    /// Brings the hour back twice.
    fn replay(
        &self,
        node: &Node,
        agent: &Agent,
        server: &OpenSearch,
        prefix: &str,
        progress: &(dyn Fn(String) + Sync),
    ) -> (Vec<Replay>, (u64, u64)) {
        let count = |index: &str| {
            server.refresh(index);
            server.count(index)
        };
        let (hour, all) = (format!("{prefix}-ns-{NAMESPACE}-{HOUR:02}"), format!("{prefix}-*"));
        let elsewhere = || count(&all) - count(&hour);
        let before = elsewhere();
        let mut replays = Vec::new();
        for _ in 0..2 {
            let (documents, begun) = (count(&hour), Instant::now());
            let namespace = format!("ns-{NAMESPACE}");
            let from_to = ["--from", &at(HOUR), "--to", &at(HOUR + 1), "--namespace", &namespace];
            let sent = archive_command(node, &[&["replay", "--to-sink", "kept"], &from_to[..]].concat());
            until_within(LIMIT, "what was brought back has its fate", || {
                account(agent, "archive-replay", "kept").is_some_and(|account| account.is_settled())
            });
            let replay = Replay {
                before: documents,
                after: count(&hour),
                sent: sent[0]["events"].as_u64().expect("events"),
                took: begun.elapsed(),
            };
            progress(format!("{replay:?}"));
            replays.push(replay);
        }
        let after = elsewhere();
        server.remove(&all);
        (replays, (before, after))
    }

    /// Looks for a trace of the last hour of the last namespace.
    fn search(&self, node: &Node) -> Search {
        let namespace = NAMESPACES - 1;
        let first = self.of_hour(HOURS - 1).start.next_multiple_of(OF_A_TRACE);
        let expected = (first..first + OF_A_TRACE).map(|index| ArchiveScenario::number(namespace, index));
        let condition = format!("trace_id={}", trace(namespace, first));
        let begun = Instant::now();
        let mut found =
            archive_command(node, &["search", "--from", &at(0), "--to", &at(HOURS), "--where", &condition]);
        let took = begun.elapsed();
        let summary = found.pop().expect("a summary")["summary"].clone();
        Search {
            found: found.iter().map(|event| event["document"]["n"].as_u64().expect("a number")).collect(),
            expected: expected.collect(),
            summary,
            took,
        }
    }
}

fn trace(namespace: u64, index: u64) -> String {
    let number = (index / OF_A_TRACE * NAMESPACES + namespace).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{number:016x}{:016x}", number.wrapping_mul(0xd6e8_feb8_6659_fd93))
}

/// The beginning of an hour.
fn at(hour: u64) -> String {
    format!("{DAY}T{hour:02}:00:00Z")
}

/// What a command of the archive prints as JSON. It must succeed.
fn archive_command(node: &Node, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["archive"], arguments, &["-c", "weir.yaml", "--output", "json"]].concat();
    let output = node.command(&arguments).output().expect("the command");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let values = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    values.collect::<Result<_, _>>().expect("JSON")
}

fn account(agent: &Agent, pipeline: &str, sink: &str) -> Option<Account> {
    let accounts = agent.admin().ledger().accounts;
    accounts.into_iter().find(|account| account.pipeline == pipeline && account.sink == sink)
}

// === impl ArchiveReport ===

impl ArchiveReport {
    /// Everything that is not as it must be.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut unless = |is_so: bool, problem: String| {
            if !is_so {
                problems.push(problem);
            }
        };
        let events = self.scenario.events;
        unless(self.archive.balanced, format!("the ledger: {:?}", self.archive));
        unless(self.listed == events, format!("{} of {events} events are listed", self.listed));
        let Search { found, expected, summary, .. } = &self.search;
        unless(found == expected, format!("the search found {found:?}, not {expected:?}"));
        unless(summary["damages"] == json!([]), format!("damage: {summary}"));
        if self.scenario.search_only {
            return problems;
        }
        let of_hour = self.scenario.of_hour(HOUR);
        let all = of_hour.end - of_hour.start;
        for (number, replay) in self.replays.iter().enumerate() {
            unless(replay.sent == all, format!("replay {number} sent {} of {all}", replay.sent));
            unless(replay.after == all, format!("replay {number} left {} of {all} documents", replay.after));
        }
        let before = self.replays.first().map_or(0, |replay| replay.before);
        unless((all / 20..all / 5).contains(&before), format!("{before} of {all} were kept by the sampler"));
        unless(self.replays.len() == 2, "it was not brought back twice".to_owned());
        unless(self.elsewhere.0 == self.elsewhere.1, format!("elsewhere {:?}", self.elsewhere));
        problems
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let seconds = |time: Duration| (time.as_secs_f64() * 100.0).round() / 100.0;
        let replay = |replay: &Replay| {
            json!({
                "documents_before": replay.before,
                "documents_after": replay.after,
                "sent": replay.sent,
                "seconds": seconds(replay.took),
            })
        };
        json!({
            "events": self.scenario.events,
            "archiving_seconds": seconds(self.archiving),
            "archived_per_second": (self.scenario.events as f64 / self.archiving.as_secs_f64()).round(),
            "archive_bytes": self.archive_bytes,
            "replays": self.replays.iter().map(replay).collect::<Vec<_>>(),
            "search": {
                "seconds": seconds(self.search.took),
                "found": self.search.found.len(),
                "summary": self.search.summary,
            },
        })
    }
}
