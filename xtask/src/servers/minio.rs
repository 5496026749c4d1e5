//! MinIO, an object store that speaks S3, as an agent's buffers use it.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use super::{
    daemon::{self, Daemon, Part},
    go::{self, Program},
    instance::Instance,
};
use crate::{error::Result, repository::Repository};

const PROGRAMS: [Program; 1] = [Program { name: "minio", package: "github.com/minio/minio", tags: "" }];
/// It is reached from this machine alone, and holds what tests put there.
const ACCESS_KEY: &str = "weir-tests";
const SECRET_KEY: &str = "weir-tests-secret";

/// Starts MinIO unless it runs, and returns what is to be printed of it.
pub fn up(repository: &Repository, instance: &Instance, name: &str) -> Result<Value> {
    let programs = go::build(repository, "integration-tests/servers/minio", &PROGRAMS, "MinIO: 4 minutes")?;
    let data = instance.folder().join("data");
    let command = |ports: &[u16]| command(&programs, ports, &data);
    let daemon = Daemon {
        name: "minio",
        asked: json!({}),
        ports: &[None],
        parts: &[Part { output: "output", ready: (0, "/minio/health/ready"), command: &command }],
        extra: &|_ports| json!({"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}),
    };
    daemon::up(&daemon, instance, name)
}

fn command(programs: &Path, ports: &[u16], data: &Path) -> Command {
    let address = daemon::address(ports, 0);
    let mut command = Command::new(programs.join("minio"));
    command.arg("server").arg(data).args(["--quiet", "--address", &address]);
    // Its console would take another port.
    command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off");
    command.env("MINIO_ROOT_USER", ACCESS_KEY).env("MINIO_ROOT_PASSWORD", SECRET_KEY);
    command
}
