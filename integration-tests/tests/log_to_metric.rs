//! Metrics of logs are exact through `kill -9` at random moments: a real Prometheus has the numbers that were written, and
//! never saw a counter fall.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use integration_tests::{Account, Node, PodLog, PromQl, Server, numbers, until_within};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

const KILLS: usize = 5;
/// Between two bursts of lines: a few hundred lines a second.
const PACE: Duration = Duration::from_millis(10);
const BURST: u64 = 4;
const LEVELS: [&str; 4] = ["info", "debug", "warn", "error"];
/// What a request may take: below, between and above the bounds, and on one. Floats hold their sums exactly.
const TAKEN: [f64; 5] = [0.015625, 0.0625, 0.5, 1.0, 4.0];
const BUCKETS: [(&str, f64); 3] = [("0.1", 0.1), ("1.0", 1.0), ("+Inf", f64::INFINITY)];
const LONG: Duration = Duration::from_secs(30);

/// What was written.
#[derive(Debug, Default)]
struct Written {
    lines: u64,
    by_level: BTreeMap<&'static str, u64>,
    /// Lines by what they took; others say nothing of that.
    by_time: BTreeMap<usize, u64>,
}

// === impl Written ===

impl Written {
    fn line(&mut self, random: &mut StdRng) -> String {
        // Most are of one level.
        let level = LEVELS[random.random_range(0..8_usize).min(4) % 4];
        let mut event = json!({"n": self.lines, "level": level, "message": "a request"});
        self.lines += 1;
        *self.by_level.entry(level).or_default() += 1;
        if random.random_bool(0.8) {
            let index = random.random_range(0..TAKEN.len());
            event["took"] = json!(TAKEN[index]);
            *self.by_time.entry(index).or_default() += 1;
        }
        event.to_string()
    }

    /// How many took no longer than that.
    fn within(&self, bound: f64) -> u64 {
        self.by_time.iter().filter(|(index, _)| TAKEN[**index] <= bound).map(|(_, count)| count).sum()
    }

    fn sum(&self) -> f64 {
        self.by_time.iter().map(|(index, count)| TAKEN[*index] * *count as f64).sum()
    }

    /// All that Prometheus is to have, by the series without the labels that all have.
    fn expected(&self) -> BTreeMap<String, f64> {
        let counters = self
            .by_level
            .iter()
            .map(|(level, count)| (format!("log_events_total{{level={level}}}"), *count as f64));
        let buckets = BUCKETS
            .iter()
            .map(|(le, bound)| (format!("request_seconds_bucket{{le={le}}}"), self.within(*bound) as f64));
        let whole = [
            ("request_seconds_count{}".to_owned(), self.within(f64::INFINITY) as f64),
            ("request_seconds_sum{}".to_owned(), self.sum()),
        ];
        counters.chain(buckets).chain(whole).collect()
    }
}

/// Writes lines until `act` returns.
fn write_meanwhile(log: &mut PodLog, written: &mut Written, random: &mut StdRng, act: impl FnOnce()) {
    let (going_on, ended) = sync_channel::<()>(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            while ended.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                let lines: Vec<String> = (0..BURST).map(|_| written.line(random)).collect();
                log.lines(lines);
            }
        });
        // Its end ends the writer, also when `act` panics.
        let _going_on = going_on;
        act();
    });
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The values of all series of a query by name and labels, but for those that all have.
fn values(api: PromQl, query: &str) -> BTreeMap<String, f64> {
    let answer = api.instant(query, now_ms());
    let series = answer["result"].as_array().unwrap().iter().map(|series| {
        let labels = series["metric"].as_object().unwrap();
        let own = labels.iter().filter(|(name, _)| ["level", "le"].contains(&name.as_str()));
        let own: Vec<String> =
            own.map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect();
        let name = labels.get("__name__").and_then(|name| name.as_str()).unwrap_or_default();
        (format!("{name}{{{}}}", own.join(",")), series["value"][1].as_str().unwrap().parse().unwrap())
    });
    series.collect()
}

#[test]
fn counters_are_exact_through_kills_and_never_fall() {
    let seed = std::env::var("WEIR_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    eprintln!("WEIR_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let shown = Server::new("prometheus", "-counters", &[]).up();
    let api = PromQl::at(shown["url"].as_str().unwrap());
    let node = Node::new();
    node.configure(&format!(
        "
sources: {{pods: {{type: kubernetes_logs, path: pods, linger: 20ms}}}}
pipelines:
  app:
    from: [pods]
    stages:
    - log_to_metric:
        interval: 1s
        metrics:
        - {{name: log_events_total, type: counter, labels: {{level: level}}, attributes: [namespace]}}
        - {{name: request_seconds, type: histogram, field: took, buckets: [0.1, 1], attributes: [namespace]}}
    to: [out]
  counts: {{from: [app.metrics], to: [prometheus]}}
sinks:
  out: {{type: file, path: out.ndjson}}
  prometheus: {{type: remote_write, url: '{}', max_wait: 50ms, buffer: b}}
buffers: {{b: {{disk: 64MiB}}}}
",
        shown["receive"].as_str().unwrap()
    ));
    // The server is shared, and may have what another run counted.
    let namespace = format!("shop-{:08x}", rand::random::<u32>());
    let mine = format!("cluster=\"test\",node=\"node-1\",namespace=\"{namespace}\"");
    let mut log = node.pod(&format!("{namespace}_cart_u1"));
    let (mut written, mut lines) = (Written::default(), StdRng::seed_from_u64(random.random()));
    let mut agent = Some(node.start());
    let one = format!("log_events_total{{level=\"info\",{mine}}}[10m]");
    let samples = || api.number(&format!("count_over_time({one})"), now_ms()).unwrap_or_default();
    // So that all kills are seen between samples.
    write_meanwhile(&mut log, &mut written, &mut lines, || {
        until_within(LONG, "it counts", || samples() >= 1.0);
    });
    for kill in 1..=KILLS {
        let pause = Duration::from_millis(random.random_range(200..2_200));
        write_meanwhile(&mut log, &mut written, &mut lines, || {
            thread::sleep(pause);
            let ended = agent.take().unwrap().kill();
            assert_eq!(ended.signal, Some(9), "it was to be killed: {ended}");
            // After a short run there are none yet.
            node.ledger().accounts.iter().for_each(Account::check);
            agent = Some(node.start());
        });
        eprintln!("kill {kill} after {pause:?}, {} lines so far", written.lines);
    }
    let expected = written.expected();
    let selector = format!("{{__name__=~\"log_events_total|request_seconds_.*\",{mine}}}");
    until_within(LONG, &format!("Prometheus has {expected:?}"), || {
        values(api, &selector).values().sum::<f64>() >= expected.values().sum()
    });
    // What would count on counts in a later sample.
    let seen = samples();
    until_within(LONG, "two more samples", || samples() >= seen + 2.0);
    assert_eq!(values(api, &selector), expected);
    let names =
        ["log_events_total", "request_seconds_bucket", "request_seconds_count", "request_seconds_sum"];
    for name in names {
        // Of stored samples, not of moments: no fall between two of these is missed.
        let resets = values(api, &format!("resets({name}{{{mine}}}[10m])"));
        assert!(!resets.is_empty() && resets.values().all(|resets| *resets == 0.0), "{name}: {resets:?}");
    }
    let changes = api.number(&format!("changes({one})"), now_ms()).unwrap_or_default();
    eprintln!("{} lines; {} samples of one counter, which grew {changes} times", written.lines, samples());
    assert!(changes >= 1.0, "it was seen to count");

    let ended = agent.unwrap().terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    let distinct: BTreeSet<u64> = numbers(&node.path("out.ndjson")).into_iter().collect();
    assert!(distinct.into_iter().eq(0..written.lines), "every line is in the file");
    let ledger = node.ledger();
    let (events, counts) = (ledger.account("app", "out"), ledger.account("counts", "prometheus"));
    assert_eq!((events.read.events, events.delivered.events), (written.lines, written.lines));
    eprintln!("of samples {} were read, {} delivered", counts.read.events, counts.delivered.events);
    assert!(counts.is_settled() && counts.lost_events() == 0, "{counts:#?}");
    // What was delivered when the agent was killed, and not yet known as that, is sent once more.
    let known = ["out_of_order", "repeated"];
    assert!(counts.dropped.keys().all(|reason| known.contains(&reason.as_str())), "{counts:#?}");
}
