//! What ends is stale: a series that vanishes from a target, all series of a target that cannot be scraped, and those of one
//! that is gone from its list are no longer found by a real Prometheus, and what comes back goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use integration_tests::{Agent, Message, Node, PromQl, Server, Span, until_within};
use serde_json::{Value, json};

/// Far less than the five minutes for which Prometheus would still find what only ended.
const SOON: Duration = Duration::from_secs(12);
/// Between two moments that are asked for: several in each interval of scraping.
const STEP_MS: i64 = 100;
/// Of scraping.
const INTERVAL_MS: i64 = 500;
/// A target that is gone is stale after the second time at which it would have been scraped, with the time of the first.
const GONE_MS: i64 = 2 * INTERVAL_MS;

/// What a target shows.
#[derive(Debug, Default)]
struct Shown {
    /// Of the answers so far, which is the value of all series, too.
    number: AtomicU64,
    /// Whether the series `guest` is there.
    has_guest: AtomicBool,
    /// Whether the answer is 500.
    fails: AtomicBool,
    failures: AtomicU64,
    /// The answers with `guest`.
    with_guest: Mutex<Vec<u64>>,
}

/// Listens at a target's address; nobody does when it is dropped.
struct Listening {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Prometheus, and the job that is this test's.
struct Asked {
    api: PromQl,
    job: String,
    /// When the test began.
    begun: i64,
}

// === impl Shown ===

impl Shown {
    fn answer(&self) -> Message {
        if self.fails.load(Ordering::SeqCst) {
            self.failures.fetch_add(1, Ordering::SeqCst);
            return Message::answer(500, "Internal Server Error", "");
        }
        let number = self.number.fetch_add(1, Ordering::SeqCst) + 1;
        let mut body = format!("# TYPE steady_total counter\nsteady_total {number}\n");
        if self.has_guest.load(Ordering::SeqCst) {
            self.with_guest.lock().unwrap().push(number);
            body.push_str(&format!("# TYPE guest gauge\nguest{{room=\"a\"}} {number}\n"));
        }
        let kind = ("content-type".to_owned(), "text/plain; version=0.0.4".to_owned());
        // A target that goes leaves no connection behind.
        let close = ("connection".to_owned(), "close".to_owned());
        Message { start: "HTTP/1.1 200 OK".to_owned(), headers: vec![kind, close], body: body.into_bytes() }
    }

    fn number(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
    }
}

// === impl Listening ===

impl Listening {
    /// At this address, whose port may be 0.
    fn at(address: SocketAddr, shown: &Arc<Shown>) -> Listening {
        let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let address = listener.local_addr().unwrap();
        let is_over = Arc::<AtomicBool>::default();
        let (over, shown) = (Arc::clone(&is_over), Arc::clone(shown));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let request = Message::read_request(&mut BufReader::new(&stream));
                if matches!(request, Ok(Some(_))) {
                    // Who does not wait for the answer asks again.
                    let _ = shown.answer().write(&mut &stream);
                }
            }
        });
        Listening { address, is_over, thread: Some(thread) }
    }

    fn new(shown: &Arc<Shown>) -> Listening {
        Listening::at(SocketAddr::from(([127, 0, 0, 1], 0)), shown)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // It looks up when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// === impl Asked ===

impl Asked {
    /// The value of a series now, or rather of what Prometheus has last.
    fn now(&self, series: &str) -> Option<f64> {
        self.api.number(&self.selector(series), milliseconds())
    }

    fn selector(&self, series: &str) -> String {
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let separator = if labels == "}" { "" } else { "," };
        format!("{name}{{job=\"{}\"{separator}{labels}", self.job)
    }

    /// All samples of one series as they were stored, without stale markers.
    fn stored(&self, series: &str) -> BTreeMap<i64, f64> {
        let query = format!("{}[10m]", self.selector(series));
        points(&self.api.instant(&query, milliseconds())).collect()
    }

    /// What is found of one series at each moment since the test began.
    fn found(&self, series: &str) -> BTreeMap<i64, f64> {
        let span = Span { start: self.begun, end: milliseconds(), step: STEP_MS };
        points(&self.api.range(&self.selector(series), span)).collect()
    }

    /// Each moment at which a series is found, or is not, follows from the scrapes: what the last one before it showed, if
    /// it succeeded. `shows` says that of the answer with a number. Returns at how many moments it is there and is not.
    /// Nothing is on its way any more.
    fn check(&self, series: &str, labels: &str, shows: impl Fn(u64) -> bool) -> (usize, usize) {
        let (ups, steady) =
            (self.stored(&format!("up{labels}")), self.stored(&format!("steady_total{labels}")));
        assert!(ups.values().filter(|up| **up == 1.0).count() == steady.len(), "{ups:?} {steady:?}");
        let values: Vec<f64> = steady.values().copied().collect();
        assert!(values.is_sorted_by(|one, next| one < next), "it counts on: {values:?}");
        let found = self.found(series);
        let (mut there, mut away) = (0, 0);
        let last = *ups.keys().next_back().expect("scrapes");
        for moment in (self.begun..=last).step_by(STEP_MS as usize) {
            let Some((scraped, up)) = ups.range(..=moment).next_back() else {
                assert!(!found.contains_key(&moment), "{series} before the first scrape");
                continue;
            };
            let number = (*up == 1.0).then(|| steady[scraped]).filter(|number| shows(*number as u64));
            if moment - scraped > 2 * GONE_MS {
                // The target is gone, or the machine is slow: others say which.
                continue;
            }
            assert_eq!(
                found.get(&moment).copied(),
                number,
                "{series} at {moment}, {} ms after the scrape",
                moment - scraped
            );
            *(if number.is_some() { &mut there } else { &mut away }) += 1;
        }
        (there, away)
    }
}

fn milliseconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The samples of an answer about one series.
fn points(data: &Value) -> impl Iterator<Item = (i64, f64)> {
    let series = data["result"].as_array().unwrap();
    assert!(series.len() <= 1, "one series: {data}");
    let values = series.first().and_then(|series| series["values"].as_array()).cloned().unwrap_or_default();
    values.into_iter().map(|pair| {
        let time = (pair[0].as_f64().unwrap() * 1000.0).round() as i64;
        (time, pair[1].as_str().unwrap().parse().unwrap())
    })
}

/// A shared Prometheus and an agent that scrapes these targets of one job.
fn start(node: &Node, targets: &str) -> (Agent, Asked) {
    let shown = Server::new("prometheus", "-stale", &[]).up();
    let job = format!("stale-{:08x}", rand::random::<u32>());
    node.configure(&format!(
        "
sources:
  targets:
    type: scrape
    scrape_configs:
    - {{job_name: {job}, scrape_interval: {INTERVAL_MS}ms, scrape_timeout: {INTERVAL_MS}ms, {targets}}}
pipelines: {{metrics: {{from: [targets], to: [prometheus]}}}}
sinks: {{prometheus: {{type: remote_write, url: '{}', max_wait: 50ms}}}}
",
        shown["receive"].as_str().unwrap()
    ));
    let begun = milliseconds() / STEP_MS * STEP_MS;
    (node.start(), Asked { api: PromQl::at(shown["url"].as_str().unwrap()), job, begun })
}

/// All that was scraped is delivered then.
fn finish(node: &Node, agent: Agent) {
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    let account = node.ledger().account("metrics", "prometheus");
    assert_eq!(account.delivered, account.read, "{account:#?}");
}

#[test]
fn a_series_that_vanishes_is_stale_and_may_come_back() {
    let (node, shown) = (Node::new(), Arc::<Shown>::default());
    let target = Listening::new(&shown);
    shown.has_guest.store(true, Ordering::SeqCst);
    let (agent, asked) = start(&node, &format!("static_configs: [{{targets: ['{}']}}]", target.address));
    until_within(SOON, "it is scraped", || asked.now("guest").is_some_and(|value| value >= 3.0));

    shown.has_guest.store(false, Ordering::SeqCst);
    let hidden = milliseconds();
    until_within(SOON, "it is stale", || asked.now("guest").is_none());
    eprintln!("stale after {} ms", milliseconds() - hidden);
    let gone_at = shown.number();
    until_within(SOON, "the target goes on", || {
        asked.now("up") == Some(1.0)
            && asked.now("steady_total").is_some_and(|value| value as u64 > gone_at + 2)
    });

    shown.has_guest.store(true, Ordering::SeqCst);
    let last = shown.number() + 3;
    until_within(SOON, "it is back", || asked.now("guest").is_some_and(|value| value as u64 > last));
    finish(&node, agent);
    let with_guest = shown.with_guest.lock().unwrap().clone();
    let (there, away) = asked.check("guest", "", |number| with_guest.contains(&number));
    let stored = asked.stored("guest");
    let before = stored.values().filter(|value| **value as u64 <= gone_at).count();
    eprintln!(
        "there at {there} moments and away at {away}; {before} of {} samples before the gap",
        stored.len()
    );
    assert!(before >= 3 && stored.len() >= before + 3, "{stored:?}");
    assert!(there >= 20 && away >= 10);
}

#[test]
fn a_target_that_goes_down_is_stale_and_counts_on_when_it_is_back() {
    let (node, shown) = (Node::new(), Arc::<Shown>::default());
    let target = Listening::new(&shown);
    let address = target.address;
    let (agent, asked) = start(&node, &format!("static_configs: [{{targets: ['{address}']}}]"));
    let is_scraped = |beyond: u64| {
        asked.now("up") == Some(1.0) && asked.now("steady_total").is_some_and(|value| value as u64 > beyond)
    };
    let is_down = || asked.now("up") == Some(0.0) && asked.now("steady_total").is_none();
    until_within(SOON, "it is scraped", || is_scraped(2));

    drop(target);
    until_within(SOON, "connections are refused", is_down);
    assert_eq!(asked.now("scrape_samples_scraped"), Some(0.0));
    shown.fails.store(true, Ordering::SeqCst);
    let _target = Listening::at(address, &shown);
    until_within(SOON, "it answers 500", || shown.failures.load(Ordering::SeqCst) >= 3);
    assert!(is_down(), "{:?} {:?}", asked.now("up"), asked.now("steady_total"));

    let before = shown.number();
    shown.fails.store(false, Ordering::SeqCst);
    until_within(SOON, "it is back", || is_scraped(before + 3));
    shown.fails.store(true, Ordering::SeqCst);
    until_within(SOON, "it answers 500 once more", is_down);
    finish(&node, agent);
    let (there, away) = asked.check("steady_total", "", |_| true);
    let downs = asked.stored("up").values().filter(|up| **up == 0.0).count();
    let samples = asked.stored("steady_total");
    eprintln!(
        "there at {there} moments and away at {away}; up was 0 {downs} times; {} samples",
        samples.len()
    );
    assert!(there >= 20 && away >= 10 && downs >= 4);
    assert!(samples.values().any(|value| *value as u64 <= before), "{samples:?}");
}

/// In the place of what is there, at once.
fn write_targets(path: &Path, targets: &[SocketAddr]) {
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let next = path.with_extension("next");
    std::fs::write(&next, json!([{"targets": targets, "labels": {"zone": "a"}}]).to_string()).unwrap();
    std::fs::rename(next, path).unwrap();
}

#[test]
fn a_target_that_is_gone_from_its_file_is_stale() {
    let (node, stays, goes) = (Node::new(), Arc::<Shown>::default(), Arc::<Shown>::default());
    let (staying, going) = (Listening::new(&stays), Listening::new(&goes));
    let file = node.path("targets.json");
    write_targets(&file, &[staying.address, going.address]);
    let (agent, asked) = start(&node, &format!("file_sd_configs: [{{files: ['{}']}}]", file.display()));
    let of = |target: &Listening| format!("{{zone=\"a\",instance=\"{}\"}}", target.address);
    let [of_staying, of_going] = [&staying, &going].map(of);
    let value = |name: &str, labels: &str| asked.now(&format!("{name}{labels}"));
    until_within(SOON, "both are scraped", || {
        [&of_staying, &of_going].iter().all(|of| value("steady_total", of).is_some_and(|value| value >= 3.0))
    });

    write_targets(&file, &[staying.address]);
    let removed = milliseconds();
    let all = ["up", "steady_total", "scrape_duration_seconds", "scrape_samples_scraped"];
    until_within(SOON, "all of it is stale", || all.iter().all(|name| value(name, &of_going).is_none()));
    eprintln!("stale {} ms after it was removed", milliseconds() - removed);
    let asked_for = goes.number();
    let goes_on = stays.number() + 3;
    until_within(SOON, "the other goes on", || {
        value("up", &of_staying) == Some(1.0)
            && value("steady_total", &of_staying).is_some_and(|value| value as u64 > goes_on)
    });
    assert_eq!(goes.number(), asked_for, "nobody asks it any more");
    let last = *asked.stored(&format!("up{of_going}")).keys().next_back().unwrap();

    write_targets(&file, &[staying.address, going.address]);
    until_within(SOON, "it is back", || {
        value("up", &of_going) == Some(1.0)
            && value("steady_total", &of_going).is_some_and(|value| value as u64 > asked_for + 2)
    });
    finish(&node, agent);
    let back = *asked.stored(&format!("up{of_going}")).range(last + 1..).next().unwrap().0;
    for name in ["up", "steady_total"] {
        let found = asked.found(&format!("{name}{of_going}"));
        let of_gap = found.range(last + GONE_MS..back).count();
        eprintln!("{name}: {} moments, {of_gap} of a gap of {} ms", found.len(), back - last);
        assert_eq!(of_gap, 0, "{found:?}");
        assert!(found.range(..last).count() >= 5 && found.range(back..).count() >= 5, "{found:?}");
    }
    let (there, _) = asked.check(&format!("steady_total{of_staying}"), &of_staying, |_| true);
    assert!(there >= 20);
}
