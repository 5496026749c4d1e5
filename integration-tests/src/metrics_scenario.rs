//! Metrics to Thanos through everything that may happen to it: a target that shows a new sample of every series at each
//! scrape, an agent, a proxy with faults, and Thanos, which is cut off until memory overflows, stopped and started. In the
//! end every sample that was scraped must be in Thanos, with its value, and nothing else.
//!
//! 1. A sample's time is what the target says, so what was shown is what must be found: series, time, value.
//! 2. With each scrape comes one sample of a series of its own that Thanos can only refuse, since it is far older than what
//!    it has: they are booked as dropped with that reason, and nothing else is; what Thanos has refused because it had it already, when a request was
//!    sent again whose answer had got lost, is booked apart.
//! 3. While the agent is stopped on purpose the target shows nothing: what was never scraped is nobody's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::BufReader;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::fault_proxy::{Fault, FaultProxy, Schedule};
use crate::gate::{Gate, Verdict};
use crate::http1::Message;
use crate::ledger::Account;
use crate::node::Node;
use crate::servers::Server;
use crate::wait::until_within;
use crate::write_request;

/// What is still on its way at the end.
const DRAIN: Duration = Duration::from_secs(90);
/// When Thanos is cut off, as a share of the whole.
const AWAY: std::ops::Range<f64> = 0.15..0.35;
/// A request under way, and the scrape that it belongs to, are over by then.
const SETTLE: Duration = Duration::from_millis(400);
/// Series that are asked for at once.
const ASKED_AT_ONCE: u64 = 100;
/// Thanos is stopped in order once, behind which it takes what was on its way only if it has a window for samples out of
/// order.
const WINDOW: &str = "--out-of-order-window=30m";
/// So much older than all others are samples that Thanos does not take: far beyond that window.
const LATE: i64 = 65 * 60_000;
/// Before it has others, it would take them.
const FIRST_LATE: u64 = 6;

/// A scenario's size.
#[derive(Clone, Copy, Debug)]
pub struct MetricsScenario {
    /// Names what chance decides.
    pub seed: u64,
    /// How long samples come.
    pub time: Duration,
    /// Series of the target.
    pub series: u64,
    /// Between two scrapes.
    pub interval: Duration,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct MetricsReport {
    scenario: MetricsScenario,
    scrapes: usize,
    shown: u64,
    missing: u64,
    /// By scrape, the number of series that miss it.
    missing_from: BTreeMap<u64, u64>,
    wrong: u64,
    unknown: u64,
    out_of_order: u64,
    late_shown: u64,
    late_stored: u64,
    most_waiting: BTreeMap<String, u64>,
    faults: BTreeMap<String, u64>,
    account: Account,
    max_lag: Duration,
    wall: Duration,
}

/// What the target has shown: the time of each scrape, and its number.
#[derive(Debug, Default)]
struct Shown {
    scrapes: Mutex<Vec<(i64, u64)>>,
    is_closed: AtomicBool,
    number: AtomicU64,
}

/// The first time at which the server saw each sample must grow within its series.
#[derive(Debug, Default)]
struct Order {
    seen: Mutex<HashMap<String, (i64, BTreeSet<i64>)>>,
    violations: AtomicU64,
}

// === impl Shown ===

impl Shown {
    fn answer(&self, series: u64) -> Message {
        if self.is_closed.load(Ordering::SeqCst) {
            return Message::answer(503, "Service Unavailable", "");
        }
        let number = self.number.fetch_add(1, Ordering::SeqCst) + 1;
        let now = now();
        self.scrapes.lock().expect("no panic").push((now, number));
        let mut body = String::with_capacity(series as usize * 48);
        body.push_str("# HELP walk_total What the target counts.\n# TYPE walk_total counter\n");
        for series in 0..series {
            body.push_str(&format!(
                "walk_total{{series=\"{series}\",shard=\"{}\"}} {number} {now}\n",
                series / ASKED_AT_ONCE
            ));
        }
        if number >= FIRST_LATE {
            let line = format!("late{{number=\"{number}\"}} {number} {}\n", now - LATE);
            body.push_str(&format!("# TYPE late gauge\n{line}"));
        }
        let headers = vec![("content-type".to_owned(), "text/plain; version=0.0.4".to_owned())];
        Message { start: "HTTP/1.1 200 OK".to_owned(), headers, body: body.into_bytes() }
    }
}

// === impl Order ===

impl Order {
    fn note(&self, request: &Message) {
        if !write_request::is_version_1(request) {
            return;
        }
        let mut seen = self.seen.lock().expect("no panic");
        for series in write_request::read(request) {
            if series.labels.get("__name__").map(String::as_str) != Some("walk_total") {
                continue;
            }
            let (newest, known) =
                seen.entry(series.labels["series"].clone()).or_insert((i64::MIN, BTreeSet::new()));
            for (time, _) in series.samples {
                // What comes again was not answered, or not heard.
                if known.insert(time) {
                    if time < *newest {
                        self.violations.fetch_add(1, Ordering::Relaxed);
                    }
                    *newest = time.max(*newest);
                }
            }
        }
    }
}

// === impl MetricsScenario ===

impl MetricsScenario {
    /// Plays it and judges nothing: the report does.
    pub fn play(&self, progress: &(dyn Fn(String) + Sync)) -> MetricsReport {
        let begun = Instant::now();
        let thanos = Server::new("thanos", "-outage", &[WINDOW]);
        thanos.remove();
        let place = thanos.up();
        let (receive, query) = (address(&place["receive"]), address(&place["url"]));
        let (shown, order) = (Arc::<Shown>::default(), Arc::<Order>::default());
        let target = self.target(&shown);
        let noting = Arc::clone(&order);
        let faults = [
            (Fault::Answer(503), 50),
            (Fault::Answer(500), 30),
            (Fault::Answer(429), 30),
            (Fault::CutBefore, 30),
            (Fault::CutAfter, 50),
            (Fault::Delay, 50),
        ];
        let schedule = Schedule::new(self.seed, &faults);
        let proxy = FaultProxy::observed(receive, schedule, move |request, _| noting.note(request));
        let node = Node::new();
        node.configure(&self.configuration(&target.address(), &proxy));
        let mut agent = node.start();
        let mut waiting = BTreeMap::new();
        let (mut is_away, mut was_stopped, mut was_restarted) = (false, false, false);
        while begun.elapsed() < self.time {
            thread::sleep(Duration::from_millis(200));
            let passed = begun.elapsed().as_secs_f64() / self.time.as_secs_f64();
            let wants_away = AWAY.contains(&passed);
            if wants_away != is_away {
                is_away = wants_away;
                proxy.set_away(is_away);
                progress(if is_away { "Thanos is cut off".to_owned() } else { "Thanos is back".to_owned() });
            }
            if passed > 0.45 && !was_stopped {
                was_stopped = true;
                progress("Thanos is stopped and started".to_owned());
                thanos.down();
                let again = thanos.up();
                assert_eq!(address(&again["receive"]), receive, "it keeps its port");
            }
            if passed > 0.7 && !was_restarted {
                was_restarted = true;
                progress("the agent is stopped and started".to_owned());
                agent = restart(&node, agent, &shown);
            }
            note_waiting(&agent, &mut waiting);
        }
        shown.is_closed.store(true, Ordering::SeqCst);
        thread::sleep(SETTLE);
        let ended = Instant::now();
        until_within(DRAIN, "every sample has its fate", || {
            account(&agent).is_some_and(|account| account.is_settled())
        });
        let max_lag = ended.elapsed();
        progress(format!("settled {:.1} s after the last sample", max_lag.as_secs_f64()));
        let account = account(&agent).expect("an account");
        let end = agent.terminate();
        assert_eq!(end.code, Some(0), "{end}");
        let faults =
            proxy.happened().into_iter().map(|(fault, count)| (format!("{fault:?}"), count)).collect();
        let report = MetricsReport {
            scenario: *self,
            scrapes: 0,
            shown: 0,
            missing: 0,
            missing_from: BTreeMap::new(),
            wrong: 0,
            unknown: 0,
            out_of_order: order.violations.load(Ordering::Relaxed),
            late_shown: 0,
            late_stored: 0,
            most_waiting: waiting,
            faults,
            account,
            max_lag,
            wall: begun.elapsed(),
        };
        self.compare(report, &shown, query)
    }

    fn target(&self, shown: &Arc<Shown>) -> Gate {
        let (shown, series) = (Arc::clone(shown), self.series);
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        Gate::start(nobody, move |_| Verdict::Answer(shown.answer(series)), |_, _| {})
    }

    fn configuration(&self, target: &str, proxy: &FaultProxy) -> String {
        format!(
            "sources: {{target: {{type: scrape, targets: [\"{target}\"], interval: {}ms}}}}
pipelines: {{metrics: {{from: [target], to: [thanos]}}}}
sinks:
  thanos: {{type: remote_write, url: \"{}/api/v1/receive\", timeout: 1s, max_wait: 200ms, buffer: b}}
buffers: {{b: {{memory: 4MiB, disk: 1GiB}}}}
",
            self.interval.as_millis(),
            proxy.url(),
        )
    }

    /// Asks Thanos for every series.
    fn compare(&self, mut report: MetricsReport, shown: &Shown, query: SocketAddr) -> MetricsReport {
        let scrapes: BTreeMap<i64, u64> = shown.scrapes.lock().expect("no panic").iter().copied().collect();
        report.scrapes = scrapes.len();
        report.shown = scrapes.len() as u64 * self.series;
        report.late_shown = scrapes.values().filter(|number| **number >= FIRST_LATE).count() as u64;
        for shard in 0..self.series.div_ceil(ASKED_AT_ONCE) {
            let found = samples(query, &format!("walk_total{{shard=\"{shard}\"}}"));
            let series = shard * ASKED_AT_ONCE..self.series.min((shard + 1) * ASKED_AT_ONCE);
            for series in series {
                let stored = found.get(&series.to_string()).cloned().unwrap_or_default();
                for (_, number) in scrapes.iter().filter(|(time, _)| !stored.contains_key(time)) {
                    report.missing += 1;
                    *report.missing_from.entry(*number).or_default() += 1;
                }
                for (time, value) in stored {
                    match scrapes.get(&time) {
                        Some(number) if *number as f64 == value => {}
                        Some(_) => report.wrong += 1,
                        None => report.unknown += 1,
                    }
                }
            }
        }
        report.late_stored = samples(query, "late").values().map(|series| series.len() as u64).sum();
        report
    }
}

/// Stops the agent and starts it, and has nothing scraped meanwhile.
fn restart(node: &Node, agent: Agent, shown: &Shown) -> Agent {
    shown.is_closed.store(true, Ordering::SeqCst);
    thread::sleep(SETTLE);
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    let agent = node.start();
    shown.is_closed.store(false, Ordering::SeqCst);
    agent
}

/// The samples of an hour, by the label `series`: times in milliseconds and values.
fn samples(query: SocketAddr, selector: &str) -> BTreeMap<String, BTreeMap<i64, f64>> {
    // Thanos answers an instant query about a range with the samples as they were stored.
    let path = format!("/api/v1/query?dedup=false&query={}", encoded(&format!("{selector}[12h]")));
    let answer = get(query, &path);
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["status"], "success", "{selector}: {body}");
    let mut all: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
    for series in body["data"]["result"].as_array().into_iter().flatten() {
        let name = series["metric"]["series"].as_str().unwrap_or_default().to_owned();
        let samples = all.entry(name).or_default();
        for pair in series["values"].as_array().into_iter().flatten() {
            let time = (pair[0].as_f64().expect("a time") * 1000.0).round() as i64;
            let value = pair[1].as_str().and_then(|value| value.parse().ok()).expect("a value");
            samples.insert(time, value);
        }
    }
    all
}

fn get(server: SocketAddr, path: &str) -> Message {
    let mut stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a time limit");
    let headers =
        vec![("host".to_owned(), server.to_string()), ("connection".to_owned(), "close".to_owned())];
    let request = Message { start: format!("GET {path} HTTP/1.1"), headers, body: Vec::new() };
    request.write(&mut stream).expect("a request");
    Message::read_answer(&mut BufReader::new(stream)).expect("an answer")
}

fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => (byte as char).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn address(url: &Value) -> SocketAddr {
    let url = url.as_str().expect("a URL").trim_start_matches("http://");
    let address = url.split('/').next().expect("an address");
    address.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() as i64
}

fn account(agent: &Agent) -> Option<Account> {
    agent.admin().ledger().accounts.into_iter().find(|account| account.pipeline == "metrics")
}

fn note_waiting(agent: &Agent, most: &mut BTreeMap<String, u64>) {
    for (tier, amount) in account(agent).into_iter().flat_map(|account| account.buffered) {
        let known = most.entry(tier).or_default();
        *known = amount.events.max(*known);
    }
}

// === impl MetricsReport ===

impl MetricsReport {
    /// Everything that is not as it must be.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut unless = |is_so: bool, problem: String| {
            if !is_so {
                problems.push(problem);
            }
        };
        unless(self.scrapes > 10, format!("only {} scrapes", self.scrapes));
        let intervals = (AWAY.end - AWAY.start) * self.scenario.time.div_duration_f64(self.scenario.interval);
        let (least, waiting) = (intervals * self.scenario.series as f64 / 2.0, &self.most_waiting);
        // While Thanos is away the target is scraped as ever.
        let is_read_on = waiting.values().sum::<u64>() as f64 >= least;
        unless(is_read_on, format!("at most {waiting:?} waited, which is less than {least}"));
        let found = (self.missing, self.wrong, self.unknown, self.out_of_order);
        unless(found == (0, 0, 0, 0), format!("missing, wrong, unknown, out of order are {found:?}"));
        unless(self.account.balanced, format!("the ledger: {:?}", self.account));
        unless(self.account.lost_events() == 0, format!("lost: {:?}", self.account.lost));
        let refused = self.late_shown - self.late_stored.min(self.late_shown);
        let repeated = self.account.events_for("repeated");
        let dropped: u64 = self.account.dropped.values().map(|amount| amount.events).sum();
        // Late ones of a request that was sent again are among what is repeated.
        let others = dropped - repeated;
        let is_right = others > 0 && others <= refused && dropped >= refused;
        unless(is_right, format!("dropped are {:?}, late ones {refused}", self.account.dropped));
        let on_disk = self.most_waiting.get("disk").copied().unwrap_or_default();
        unless(on_disk > 0, format!("memory did not overflow: {:?}", self.most_waiting));
        unless(!self.faults.is_empty(), "there were no faults".to_owned());
        problems
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        json!({
            "seed": self.scenario.seed,
            "seconds": self.scenario.time.as_secs(),
            "series": self.scenario.series,
            "scrapes": self.scrapes,
            "samples_shown": self.shown,
            "missing": self.missing,
            "missing_from": self.missing_from,
            "wrong": self.wrong,
            "unknown": self.unknown,
            "out_of_order": self.out_of_order,
            "late_shown": self.late_shown,
            "late_stored": self.late_stored,
            "dropped": self.account.dropped.iter().map(|(reason, amount)| (reason.clone(), amount.events)).collect::<BTreeMap<_, _>>(),
            "read": self.account.read.events,
            "delivered": self.account.delivered.events,
            "balanced": self.account.balanced,
            "most_waiting": self.most_waiting,
            "faults": self.faults,
            "settled_after_seconds": self.max_lag.as_secs_f64(),
            "wall_seconds": self.wall.as_secs_f64(),
        })
    }
}
