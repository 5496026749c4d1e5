//! The workloads and the configuration that each of them gives the agent.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::oracle::Expected;

/// Adds and removes the same as the plugin of W1, inside the agent: there only in a build for the bench.
const NATIVE_STAGE: &str = "bench_w1";
/// What one agent may use on a node by default, so that the bench measures under the usual bound.
const MEMORY: &str = "256MiB";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// Read, split and join CRI lines, scan JSON, finish documents, throw them away.
    W0,
    /// One plugin drops, samples, removes and adds.
    W1,
    /// As W1, with the same logic built into the agent.
    W1Native,
    /// As W1, into a file.
    W1File,
    /// The two first-party plugins in a row.
    W2,
    /// As W2, into a server that answers bulk requests.
    W3,
    /// As W3, compressed.
    W3Gzip,
    /// As W3, with nobody at the other end until everything lies in the disk buffer.
    W3Away,
    /// W1 on 250 files that are written to all the time.
    W4Busy,
    /// W1 on 250 files that nobody writes to.
    W4Quiet,
}

use Workload::{W0, W1, W1File, W1Native, W2, W3, W3Away, W3Gzip, W4Busy, W4Quiet};

/// All of them, in the order in which they are reported.
pub const ALL: [Workload; 10] = [W0, W1, W1Native, W1File, W2, W3, W3Gzip, W3Away, W4Busy, W4Quiet];

/// What a workload has to reach on the machine that the floors were set on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// At least so many lines per CPU-second.
    pub lines_per_cpu_second: Option<f64>,
    /// At least so many bytes of input per CPU-second.
    pub bytes_per_cpu_second: Option<f64>,
    /// At most so much of one core.
    pub cpu_percent: Option<f64>,
    /// At most this peak.
    pub peak_rss_mib: Option<f64>,
}

/// W1 may cost so many times the CPU of W1 native.
pub const PLUGIN_COST_LIMIT: f64 = 1.10;

impl Workload {
    /// The name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            W0 => "W0",
            W1 => "W1",
            W1Native => "W1-native",
            W1File => "W1f",
            W2 => "W2",
            W3 => "W3",
            W3Gzip => "W3-gzip",
            W3Away => "W3-away",
            W4Busy => "W4-busy",
            W4Quiet => "W4-quiet",
        }
    }

    /// The workloads that a name on the command line stands for; `W4` is both of its figures.
    pub fn named(name: &str) -> Vec<Workload> {
        let same = |workload: &Workload| {
            workload.name().eq_ignore_ascii_case(name)
                || (name.eq_ignore_ascii_case("W4") && !workload.runs_once())
        };
        ALL.into_iter().filter(same).collect()
    }

    /// Whether it reads an input to its end, as opposed to following files for some time.
    pub fn runs_once(self) -> bool {
        !matches!(self, W4Busy | W4Quiet)
    }

    /// The plugins it loads, by folder.
    pub fn plugins(self) -> &'static [&'static str] {
        match self {
            W0 | W1Native => &[],
            W1 | W1File | W4Busy | W4Quiet => &["bench-w1"],
            W2 | W3 | W3Gzip | W3Away => &["log-sampler", "field-filter"],
        }
    }

    /// The events it delivers.
    pub fn expected_events(self, expected: &Expected) -> u64 {
        match self {
            W0 => expected.events,
            W2 | W3 | W3Gzip | W3Away => expected.kept_by_w2,
            W1 | W1Native | W1File | W4Busy | W4Quiet => expected.kept_by_w1,
        }
    }

    /// What the issue that brought it asked for.
    pub fn floor(self) -> Floor {
        let none = Floor {
            lines_per_cpu_second: None,
            bytes_per_cpu_second: None,
            cpu_percent: None,
            peak_rss_mib: None,
        };
        match self {
            W1 => Floor { lines_per_cpu_second: Some(3_000_000.0), peak_rss_mib: Some(48.0), ..none },
            W2 => Floor { lines_per_cpu_second: Some(2_500_000.0), peak_rss_mib: Some(48.0), ..none },
            W3 => Floor { lines_per_cpu_second: Some(1_200_000.0), ..none },
            W3Away => Floor { bytes_per_cpu_second: Some(200_000_000.0), ..none },
            W4Busy => Floor { cpu_percent: Some(2.0), ..none },
            W4Quiet => Floor { cpu_percent: Some(0.5), ..none },
            W0 | W1Native | W1File | W3Gzip => none,
        }
    }

    /// Whether it needs a server that answers bulk requests.
    pub fn sends_bulks(self) -> bool {
        matches!(self, W3 | W3Gzip | W3Away)
    }

    fn stages(self) -> Value {
        match self {
            W1Native => json!([{ NATIVE_STAGE: {} }]),
            _ => json!(self.plugins()),
        }
    }
}

/// Where a run finds its things.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    /// A file for the workloads that run once, a tree like /var/log/pods for the others.
    pub input: &'a Path,
    /// The folder of NAME.wasm.
    pub plugins: &'a Path,
    /// The agent's own folder.
    pub data: PathBuf,
    /// Where W1f writes.
    pub output: PathBuf,
    /// Where W3 sends.
    pub endpoint: Option<&'a str>,
}

/// The configuration, as JSON, which is YAML too.
pub fn configuration(workload: Workload, places: &Places<'_>) -> Value {
    let source = if workload.runs_once() {
        json!({"type": "file", "include": [places.input], "format": "cri"})
    } else {
        json!({"type": "kubernetes_logs", "path": places.input})
    };
    let bulk = |compression: &str| {
        json!({
            "type": "opensearch",
            "endpoints": [places.endpoint],
            "index": "bench-%Y.%m.%d",
            "compression": compression,
        })
    };
    let sink = match workload {
        W3 => bulk("none"),
        W3Away => {
            let mut sink = bulk("none");
            sink["buffer"] = json!("durable");
            sink
        }
        W3Gzip => bulk("gzip"),
        W1File => json!({"type": "file", "path": places.output}),
        _ => json!({"type": "blackhole"}),
    };
    let plugins: serde_json::Map<String, Value> = workload
        .plugins()
        .iter()
        .map(|name| {
            let artifact = format!("file:{}", places.plugins.join(format!("{name}.wasm")).display());
            ((*name).to_owned(), json!({"artifact": artifact, "config": plugin_config(name)}))
        })
        .collect();
    let mut buffers = json!({});
    if workload == W3Away {
        buffers["durable"] = json!({"memory": "64MiB", "disk": "64GiB"});
    }
    json!({
        "version": 1,
        "cluster": "bench",
        "node": "bench",
        "data_dir": places.data,
        "memory": MEMORY,
        "sources": {"input": source},
        "plugins": plugins,
        "pipelines": {"bench": {"from": ["input"], "stages": workload.stages(), "to": ["output"]}},
        "sinks": {"output": sink},
        "buffers": buffers,
    })
}

fn plugin_config(name: &str) -> Value {
    match name {
        "log-sampler" => {
            json!({"field": "level", "rates": {"debug": 0, "info": 0.1}, "default": 1, "key": "trace_id"})
        }
        "field-filter" => json!({"remove": ["user.email", "labels"], "set": {"cluster": "dev-1"}}),
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case() {
        assert_eq!(Workload::named("w1F"), [W1File]);
        assert_eq!(Workload::named("W4"), [W4Busy, W4Quiet]);
        assert_eq!(Workload::named("W9"), []);
        for workload in ALL {
            assert_eq!(Workload::named(workload.name()), [workload]);
        }
    }

    #[test]
    fn every_stage_that_is_a_plugin_is_loaded() {
        let places = Places {
            input: Path::new("/in.log"),
            plugins: Path::new("/plugins"),
            data: "/data".into(),
            output: "/out.ndjson".into(),
            endpoint: Some("http://127.0.0.1:9200"),
        };
        for workload in ALL {
            let configuration = configuration(workload, &places);
            for stage in configuration["pipelines"]["bench"]["stages"].as_array().unwrap() {
                if let Some(name) = stage.as_str() {
                    let artifact = &configuration["plugins"][name]["artifact"];
                    assert_eq!(artifact, &format!("file:/plugins/{name}.wasm"));
                }
            }
        }
    }
}
