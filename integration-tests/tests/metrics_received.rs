//! Prometheus in agent mode pushes to the agent, which is killed in the middle: what it scraped is answered by another
//! Prometheus as what that one scraped itself, native histograms and exemplars too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use integration_tests::{
    FORMATS, FaultProxy, MetricsTarget, Node, PromQl, Schedule, Server, agree, count_samples, until_within,
};
use rand::Rng as _;
use serde_json::Value;

const SEED: u64 = 31;
const STEPS: usize = 60;
const STEP_MS: i64 = 1_000;
/// So often all three formats are scraped: a minute is walked through in nine seconds.
const INTERVAL: &str = "150ms";
const LONG: Duration = Duration::from_secs(60);
/// A sender of samples sends only what is younger than itself, and a receiver takes what is up to ten minutes ahead.
const AHEAD_S: u64 = 60;
/// What Weir adds, by which both ways of a sample are told apart: its labels, and one by the stage `relabel`.
const ADDED: [&str; 3] = ["cluster", "node", "shop"];

/// A server of one test alone.
struct OwnServer {
    server: Server,
    shown: Value,
}

// === impl OwnServer ===

impl OwnServer {
    fn up(node: &Node, role: &str, config: String, options: &[&str]) -> OwnServer {
        let file = node.write(&format!("{role}.yml"), config);
        let suffix = format!("-received-{role}-{:08x}", rand::random::<u32>());
        let options = [&["--config", file.to_str().unwrap()], options].concat();
        let server = Server::new("prometheus", &suffix, &options);
        let shown = server.up();
        OwnServer { server, shown }
    }

    fn text(&self, key: &str) -> &str {
        self.shown[key].as_str().unwrap_or_else(|| panic!("{key}: {}", self.shown))
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // What a failure left is worth a look.
        if !std::thread::panicking() {
            self.server.remove();
        }
    }
}

/// Nobody else is given it meanwhile: it is below those that the kernel chooses.
fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::rng().random_range(10_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// What the receiver has of both ways: pushed through Weir, and scraped by itself.
fn both<T>(ask: impl Fn(&str) -> T) -> [T; 2] {
    ["cluster=\"test\",node=\"node-1\"", "cluster=\"\",node=\"\""].map(ask)
}

/// Whether both ways have all steps of all formats.
fn is_complete(api: PromQl, end: i64) -> bool {
    both(|way| {
        FORMATS.iter().all(|format| {
            let query = format!("count_over_time(walk_step{{job=\"{format}\",{way}}}[10m])");
            api.number(&query, end).unwrap_or_default() as usize == STEPS
        })
    }) == [true, true]
}

/// Every sample, native histogram and exemplar, as it is stored.
fn compare(api: PromQl, target: &MetricsTarget, version: &str) {
    let (first, end) = (target.times()[0], target.times()[STEPS - 1]);
    let [pushed, scraped] = both(|way| api.instant(&format!("{{__name__=~\"walk_.*\",{way}}}[10m]"), end));
    agree(&pushed, &scraped, &ADDED).unwrap_or_else(|error| panic!("samples: {error}"));
    let native = |data: &Value| -> usize {
        let series = data["result"].as_array().unwrap().iter();
        series.map(|series| series["histograms"].as_array().map_or(0, Vec::len)).sum()
    };
    let (samples, histograms) = (count_samples(&pushed), native(&pushed));
    let [pushed, scraped] = both(|way| {
        let selector = format!("{{__name__=~\"walk_.*\",{way}}}");
        api.exemplars(&selector, first - 1_000, end + 1_000)
    });
    agree(&pushed, &scraped, &ADDED).unwrap_or_else(|error| panic!("exemplars: {error}"));
    let exemplars = count_samples(&pushed);
    eprintln!("{version}: {samples} samples, {histograms} of them native histograms, {exemplars} exemplars");
    assert!(samples > STEPS * 100 && histograms >= STEPS * 2 && exemplars > 100);
}

fn is_the_same_through_a_kill(version: &str) {
    let (node, address) = (Node::new(), free_address());
    let begun = i64::try_from(now_s() + AHEAD_S).unwrap() * 1000;
    let target = MetricsTarget::start(SEED, begun, STEPS, STEP_MS);
    let direct = target.scrape_configs("direct", INTERVAL, "");
    let receiver = OwnServer::up(&node, "receiver", direct, &[]);
    let upstream = receiver.text("receive").trim_start_matches("http://").split('/').next().unwrap();
    let described = Arc::<AtomicUsize>::default();
    let noted = Arc::clone(&described);
    // What families are is not asked for easily: the receiver keeps it for what it scrapes only.
    let proxy = FaultProxy::observed(upstream.parse().unwrap(), Schedule::quiet(), move |request, _| {
        let body = snap::raw::Decoder::new().decompress_vec(&request.body).expect("snappy");
        let help = b"Requests that were answered.";
        let is_described = body.windows(help.len()).any(|part| part == help);
        noted.fetch_add(usize::from(is_described), Ordering::Relaxed);
    });
    node.configure(&format!(
        "
sources: {{pushed: {{type: remote_write, listen: '{address}'}}}}
pipelines:
  metrics:
    from: [pushed]
    stages:
    - relabel:
      - {{source_labels: [path], regex: '/(.+)', target_label: shop, replacement: '$1'}}
      - {{source_labels: [__name__], regex: 'scrape_.*', action: drop}}
    to: [prometheus]
    durability: always
sinks: {{prometheus: {{type: remote_write, url: '{}/api/v1/write', max_wait: 100ms, buffer: b}}}}
buffers: {{b: {{disk: 64MiB}}}}
",
        proxy.url()
    ));
    let agent = node.start();
    assert_eq!(agent.admin().listening("pushed"), address);
    let sender = OwnServer::up(&node, "sender", sender(&target, address, version), &["--agent"]);
    let api = PromQl::at(receiver.text("url"));
    let (middle, end) = (target.times()[STEPS / 3], target.times()[STEPS - 1]);
    until_within(LONG, "a third has arrived", || {
        api.number("max(walk_step{cluster=\"test\"})", middle).is_some_and(|step| step as usize == STEPS / 3)
    });
    let ended = agent.kill();
    assert_eq!(ended.signal, Some(9), "it was to be killed: {ended}");
    assert!(!target.is_through("sender"), "it was killed in the middle");
    node.ledger().check();
    let agent = node.start();
    until_within(LONG, "both have walked to the end", || {
        target.is_through("sender") && target.is_through("direct")
    });
    until_within(LONG, "all of it is there", || is_complete(api, end));
    assert_eq!(api.number("count(up{cluster=\"test\",node=\"node-1\"} == 1)", now_ms()), Some(3.0));
    assert_eq!(api.number("count(scrape_duration_seconds{cluster=\"test\"})", now_ms()), None);
    let shops = api.number("count(walk_requests_total{cluster=\"test\",path=\"/cart\",shop=\"cart\"})", end);
    assert_eq!(shops, api.number("count(walk_requests_total{cluster=\"\",path=\"/cart\"})", end));
    compare(api, &target, version);
    // It sends for as long as it scrapes.
    drop(sender);
    until_within(LONG, "all has its fate", || {
        agent.admin().ledger().accounts.iter().all(integration_tests::Account::is_settled)
    });
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    let account = node.ledger().account("metrics", "prometheus");
    eprintln!(
        "{version}: read {}, delivered {}, dropped {:?}, {} requests described families",
        account.read.events,
        account.delivered.events,
        account.dropped,
        described.load(Ordering::Relaxed)
    );
    assert_eq!(account.lost_events(), 0, "{account:#?}");
    // What was delivered when the agent was killed, and not yet known as that, is sent once more, perhaps behind what is
    // younger. Nothing else is refused.
    let refused = account.dropped.keys().filter(|reason| *reason != "relabel.rule");
    let known = ["out_of_order", "repeated"];
    assert!(refused.into_iter().all(|reason| known.contains(&reason.as_str())), "{account:#?}");
    // A sender of 2.0 knows families by a feature that is off.
    assert!(version == V2 || described.load(Ordering::Relaxed) > 0, "families are described");
}

fn now_ms() -> i64 {
    i64::try_from(now_s()).unwrap() * 1000
}

/// The configuration of who pushes.
fn sender(target: &MetricsTarget, address: SocketAddr, version: &str) -> String {
    format!(
        "{}remote_write:
- url: http://{address}/api/v1/write
  protobuf_message: {version}
  remote_timeout: 5s
  send_exemplars: true
  send_native_histograms: true
  metadata_config: {{send: true, send_interval: 1s}}
  queue_config: {{batch_send_deadline: 200ms, min_backoff: 30ms, max_backoff: 500ms}}
",
        target.scrape_configs("sender", INTERVAL, "")
    )
}

const V1: &str = "prometheus.WriteRequest";
const V2: &str = "io.prometheus.write.v2.Request";

#[test]
fn what_is_pushed_in_1_0_is_there_as_if_it_was_scraped() {
    is_the_same_through_a_kill(V1);
}

#[test]
fn what_is_pushed_in_2_0_is_there_as_if_it_was_scraped() {
    is_the_same_through_a_kill(V2);
}
