//! Thanos: Receive, which takes remote write, and Query, which answers, as one server.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use super::{
    daemon::{self, Daemon, Part},
    instance::Instance,
    observability,
};
use crate::{error::Result, repository::Repository};

/// Which of its ports is for what.
const QUERY: usize = 0;
const REMOTE_WRITE: usize = 1;
const RECEIVE_HTTP: usize = 2;
const RECEIVE_GRPC: usize = 3;
const QUERY_GRPC: usize = 4;
/// Unused, but it would listen everywhere on a fixed port.
const CAPNPROTO: usize = 5;
/// Thanos' own defaults for Query's page and for remote write, which configs/metrics.yaml names. The rest is between the two.
const PORTS: [Option<u16>; 6] = [Some(10902), Some(19291), None, None, None, None];
/// Receive knows itself by this label; Query takes it away again.
const REPLICA_LABEL: &str = "receive_replica";
const MOST_EXEMPLARS: &str = "100000";

/// How Thanos is asked to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How much older than the newest sample of a tenant another may be, as Prometheus writes durations.
    pub out_of_order_window: Option<String>,
}

/// Starts Receive and Query unless they run, and returns what is to be printed of them.
pub fn up(repository: &Repository, instance: &Instance, name: &str, options: &Options) -> Result<Value> {
    let programs = observability::programs(repository)?;
    let folder = instance.folder();
    let receive = |ports: &[u16]| receive(&programs, folder, ports, options);
    let query = |ports: &[u16]| query(&programs, ports);
    let daemon = Daemon {
        name: "thanos",
        asked: json!({"out_of_order_window": options.out_of_order_window}),
        ports: &PORTS,
        parts: &[
            Part { output: "receive", ready: (RECEIVE_HTTP, "/-/ready"), command: &receive },
            Part { output: "query", ready: (QUERY, "/-/ready"), command: &query },
        ],
        extra: &|ports| {
            json!({
                "receive": format!("http://{}/api/v1/receive", daemon::address(ports, REMOTE_WRITE)),
                "receive_http": format!("http://{}", daemon::address(ports, RECEIVE_HTTP)),
            })
        },
    };
    daemon::up(&daemon, instance, name)
}

fn receive(programs: &Path, folder: &Path, ports: &[u16], options: &Options) -> Command {
    let grpc = daemon::address(ports, RECEIVE_GRPC);
    let hashring = json!([{"hashring": "default", "endpoints": [grpc]}]).to_string();
    let mut command = Command::new(programs.join("thanos"));
    command.args(["receive", "--log.level", "warn", "--tsdb.retention", "0d"]);
    command.arg("--tsdb.path").arg(folder.join("data"));
    command.arg(format!("--label={REPLICA_LABEL}=\"0\""));
    command.args(["--http-address", &daemon::address(ports, RECEIVE_HTTP), "--grpc-address", &grpc]);
    command.args(["--remote-write.address", &daemon::address(ports, REMOTE_WRITE)]);
    command.args(["--receive.hashrings", &hashring, "--receive.local-endpoint", &grpc]);
    command.args(["--receive.capnproto-address", &daemon::address(ports, CAPNPROTO)]);
    command.args(["--tsdb.max-exemplars", MOST_EXEMPLARS]);
    if let Some(window) = &options.out_of_order_window {
        command.args(["--tsdb.out-of-order.time-window", window]);
    }
    command
}

fn query(programs: &Path, ports: &[u16]) -> Command {
    let mut command = Command::new(programs.join("thanos"));
    command.args(["query", "--log.level", "warn"]);
    command.args(["--http-address", &daemon::address(ports, QUERY)]);
    command.args(["--grpc-address", &daemon::address(ports, QUERY_GRPC)]);
    command.args(["--endpoint", &daemon::address(ports, RECEIVE_GRPC)]);
    command.args(["--query.replica-label", REPLICA_LABEL]);
    command
}
