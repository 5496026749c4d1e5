//! What was read through the agent is answered as what Prometheus read itself: thirty queries over an hour of counters
//! with resets, gauges, summaries, classic and native histograms and exemplars, within 1e-9.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use integration_tests::{
    FORMATS, MetricsTarget, Node, PromQl, Server, Span, agree, checkout, count_samples, until_within,
};

use serde_json::Value;

const SEED: u64 = 8;
const STEPS: usize = 240;
const STEP_MS: i64 = 15_000;
/// So often all three formats are scraped: the hour takes about half a minute.
const INTERVAL: &str = "150ms";
/// What the agent stamps.
const LABELS: &str = "cluster: test, node: node-1";
/// What Thanos Receive adds.
const OF_THANOS: [&str; 2] = ["tenant_id", "receive_replica"];
const LONG: Duration = Duration::from_secs(120);
/// Databases begin at the newest sample, which is a scrape's own, of now.
const WINDOW: [&str; 2] = ["--out-of-order-window", "3h"];

/// A server of this run alone: no other hour is in it.
struct OwnServer {
    server: Server,
    api: PromQl,
    receive: String,
}

impl OwnServer {
    fn up(name: &'static str, role: &str, options: &[&str]) -> OwnServer {
        let suffix = format!("-promql-{role}-{}", std::process::id());
        let server = Server::new(name, &suffix, &[&WINDOW[..], options].concat());
        let shown = server.up();
        let text = |key: &str| shown[key].as_str().unwrap_or_else(|| panic!("{key}: {shown}")).to_owned();
        OwnServer { api: PromQl::at(&text("url")), receive: text("receive"), server }
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

/// The whole minute an hour and two minutes ago, in milliseconds since the Unix epoch.
fn beginning() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now / 60 * 60 - 3720).unwrap() * 1000
}

/// Who is asked beside Prometheus itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Prometheus,
    Thanos,
}

/// Each query for a server, and whether it finds something.
fn queries(asked: Asked) -> Vec<(String, bool)> {
    let text = std::fs::read_to_string(checkout().join("integration-tests/data/promql-30.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let query = |line: &str| match (line.strip_prefix("empty "), line.strip_prefix("prometheus ")) {
        (Some(query), _) => Some((query.to_owned(), false)),
        (None, Some(query)) => (asked == Asked::Prometheus).then(|| (query.to_owned(), true)),
        (None, None) => Some((line.to_owned(), true)),
    };
    let queries: Vec<_> = lines.filter_map(query).collect();
    assert!(queries.len() >= 30, "{}", queries.len());
    queries
}

/// Whether a server has all steps of all formats.
fn is_complete(api: PromQl, end: i64) -> bool {
    let count = |format: &str| {
        api.number(&format!("count_over_time(walk_step{{job=\"{format}\"}}[2h])"), end).unwrap_or_default()
    };
    FORMATS.iter().all(|format| count(format) as usize == STEPS)
}

/// Asks both everything, and returns where they differ.
fn differences(model: PromQl, asked: Asked, other: PromQl, span: Span) -> Vec<String> {
    let mut different = Vec::new();
    for (query, finds) in queries(asked) {
        let instants = (model.instant(&query, span.end), other.instant(&query, span.end));
        let ranges = (model.range(&query, span), other.range(&query, span));
        assert_eq!(count_samples(&ranges.0) > 0, finds, "Prometheus itself: {query}");
        for (kind, (one, another)) in [("instant", instants), ("range", ranges)] {
            if let Err(difference) = agree(&one, &another, &OF_THANOS) {
                different.push(format!("{kind} {query}: {difference}"));
            }
        }
    }
    let selector = "{__name__=~\"walk_.*\"}";
    let series = [model, other].map(|api| api.series(selector, span.start, span.end));
    different.extend(agree(&series[0], &series[1], &OF_THANOS).err());
    let exemplars = [model, other].map(|api| api.exemplars(selector, span.start, span.end));
    assert!(count_samples(&exemplars[0]) > 100, "{}", exemplars[0]);
    // Scraping, Prometheus at times leaves out exemplars of native histograms that the target shows: it may have fewer.
    let [of_model, of_other] = exemplars.each_ref().map(flat);
    let missing: Vec<&String> = of_model.difference(&of_other).collect();
    if !missing.is_empty() {
        different.push(format!("{} of {} exemplars are missing: {missing:?}", missing.len(), of_model.len()));
    }
    different
}

/// Every exemplar with its series, but for what Thanos adds to that.
fn flat(data: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for series in data.as_array().into_iter().flatten() {
        let mut labels = series["seriesLabels"].clone();
        if let Some(labels) = labels.as_object_mut() {
            OF_THANOS.iter().for_each(|name| drop(labels.remove(*name)));
        }
        for exemplar in series["exemplars"].as_array().into_iter().flatten() {
            // One of the servers writes numbers as texts.
            let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
            let (value, time) = (number(&exemplar["value"]), number(&exemplar["timestamp"]));
            let time = time.map(|seconds| (seconds * 1000.0).round());
            all.insert(format!("{labels} {} {value:?} at {time:?}", exemplar["labels"]));
        }
    }
    all
}

#[test]
fn thirty_queries_are_answered_as_by_prometheus_itself() {
    let node = Node::new();
    let target = MetricsTarget::start(SEED, beginning(), STEPS, STEP_MS);
    let config = node.write("prometheus-a.yml", target.scrape_configs("prometheus", INTERVAL, LABELS));
    let ours = OwnServer::up("prometheus", "b", &[]);
    let thanos = OwnServer::up("thanos", "t", &[]);
    // The same jobs, one level deeper; the agent stamps its labels itself.
    let jobs = target.scrape_configs("weir", INTERVAL, "").replace('\n', "\n    ");
    node.configure(&format!(
        "
sources:
  walk:
    type: scrape
    {jobs}
pipelines: {{metrics: {{from: [walk], to: [prometheus, thanos]}}}}
sinks:
  prometheus: {{type: remote_write, url: '{}', protocol: 1.0}}
  thanos: {{type: remote_write, url: '{}', protocol: 1.0}}
",
        ours.receive, thanos.receive
    ));
    let agent = node.start();
    let model = OwnServer::up("prometheus", "a", &["--config", config.to_str().unwrap()]);
    until_within(LONG, "both have walked to the end", || {
        target.is_through("prometheus") && target.is_through("weir")
    });
    let (first, end) = (target.times()[0], target.times()[STEPS - 1]);
    for (name, server) in [("Prometheus itself", &model), ("Prometheus", &ours), ("Thanos", &thanos)] {
        until_within(LONG, &format!("{name} has all of it"), || is_complete(server.api, end));
    }
    assert_eq!(agent.terminate().code, Some(0));

    let span = Span { start: first, end, step: 60_000 };
    for (asked, server) in [(Asked::Prometheus, &ours), (Asked::Thanos, &thanos)] {
        let different = differences(model.api, asked, server.api, span);
        assert!(different.is_empty(), "{asked:?}: {} differ:\n{}", different.len(), different.join("\n"));
    }
}
