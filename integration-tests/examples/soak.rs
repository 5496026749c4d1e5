//! Plays a scenario at whatever size: what `cargo xtask soak` runs.
//!
//! `soak NAME [KEY=VALUE]…`: progress on standard error, the report on standard output, 1 if something is wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use integration_tests::{
    ArchiveScenario, Latency, LeakScenario, MetricsScenario, OpenSearch, PushScenario, ReloadScenario,
    Scenario,
};
use serde_json::Value;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = arguments.split_first().expect("the name of a scenario");
    let pair = |argument: &String| {
        let (key, value) = argument.split_once('=').expect("KEY=VALUE");
        (key.to_owned(), value.parse::<u64>().expect("a number"))
    };
    let chosen: BTreeMap<String, u64> = rest.iter().map(pair).collect();
    let choice = |key: &str, default: u64| chosen.get(key).copied().unwrap_or(default);

    let started = Instant::now();
    let progress = |text: String| eprintln!("    {:7.1} s  {text}", started.elapsed().as_secs_f64());
    let (report, problems): (Value, Vec<String>) = match name.as_str() {
        "logs" | "outage" => {
            const STREAMS: u64 = 20;
            let seed = chosen.get("seed").copied().unwrap_or_else(|| u64::from(rand::random::<u32>()));
            progress(format!("seed {seed}"));
            let outage = name == "outage";
            let scenario = Scenario {
                seed,
                streams: STREAMS,
                events: choice("events", 2_000_000).next_multiple_of(STREAMS),
                rate: choice("rate", if outage { 11_000 } else { 8_000 }),
                // Enough for several rotations of each file at any size.
                rotate_at: choice("events", 2_000_000) / STREAMS * 300 / 15,
                kills: choice("kills", if outage { 20 } else { 50 }) as usize,
                stops: choice("stops", if outage { 0 } else { 2 }) as usize,
                faults: outage || choice("faults", 0) == 1,
                outage,
            };
            let report = scenario.play(&OpenSearch::shared(), &progress);
            (report.to_json(), report.problems())
        }
        "latency" => {
            let latency = Latency { events: choice("events", 60_000), rate: choice("rate", 1_000) };
            let report = latency.measure(&OpenSearch::shared(), &progress);
            (report.to_json(), report.problems())
        }
        "reload" => {
            let scenario = ReloadScenario {
                reloads: choice("reloads", 100),
                rate: choice("rate", 50_000),
                pause: Duration::from_millis(400),
            };
            let report = scenario.play(&progress);
            (report.to_json(), report.problems(true))
        }
        "leak" => {
            let time = Duration::from_secs(choice("seconds", 600));
            let scenario = LeakScenario { time, rate: choice("rate", 50_000) };
            let report = scenario.play(&progress);
            (report.to_json(), report.problems())
        }
        "push" => {
            let time = Duration::from_secs(choice("seconds", 60));
            let scenario = PushScenario { time, rate: choice("rate", 200_000) };
            let report = scenario.play(&progress);
            (report.to_json(), report.problems())
        }
        "archive" => {
            let search_only = choice("search", 0) == 1;
            let events = choice("events", if search_only { 20_000_000 } else { 5_000_000 });
            let report = ArchiveScenario { events, search_only }.play(&progress);
            (report.to_json(), report.problems())
        }
        "metrics" => {
            let seed = chosen.get("seed").copied().unwrap_or_else(|| u64::from(rand::random::<u32>()));
            progress(format!("seed {seed}"));
            let scenario = MetricsScenario {
                seed,
                time: Duration::from_secs(choice("seconds", 300)),
                series: choice("series", 5_000),
                interval: Duration::from_millis(500),
            };
            let report = scenario.play(&progress);
            (report.to_json(), report.problems())
        }
        other => panic!("no scenario {other}"),
    };
    println!("{report:#}");
    for problem in &problems {
        eprintln!("wrong: {problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
