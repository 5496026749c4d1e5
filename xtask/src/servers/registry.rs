//! A registry for OCI artefacts: that of crane, or the same with the referrers API that crane leaves out.
//!
//! It keeps what is pushed in memory: after a stop it is empty.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use super::{
    daemon::{self, Daemon, Part},
    go::{self, Program},
    instance::Instance,
};
use crate::{error::Result, repository::Repository};

const PROGRAMS: [Program; 2] = [
    Program { name: "crane", package: "github.com/google/go-containerregistry/cmd/crane", tags: "" },
    Program { name: "registry", package: ".", tags: "" },
];
const COSIGN: [Program; 1] =
    [Program { name: "cosign", package: "github.com/sigstore/cosign/v2/cmd/cosign", tags: "" }];

/// How a registry is asked to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// With the referrers API.
    pub referrers: bool,
    /// Whether cosign is wanted beside it.
    pub cosign: bool,
}

/// Starts the registry unless it runs, and returns what is to be printed of it.
pub fn up(repository: &Repository, instance: &Instance, name: &str, options: Options) -> Result<Value> {
    let programs = go::build(
        repository,
        "integration-tests/servers/registry",
        &PROGRAMS,
        "crane and its registry: a minute",
    )?;
    let command = |ports: &[u16]| command(&programs, ports, options);
    let daemon = Daemon {
        name: "registry",
        asked: json!({"referrers": options.referrers}),
        ports: &[None],
        parts: &[Part { output: "output", ready: (0, "/v2/"), command: &command }],
        extra: &|_ports| json!({}),
    };
    let mut shown = daemon::up(&daemon, instance, name)?;
    shown["crane"] = json!(programs.join("crane"));
    if options.cosign {
        let cosign =
            go::build(repository, "integration-tests/servers/cosign", &COSIGN, "cosign: about 3 minutes")?;
        shown["cosign"] = json!(cosign.join("cosign"));
    }
    Ok(shown)
}

fn command(programs: &Path, ports: &[u16], options: Options) -> Command {
    let address = daemon::address(ports, 0);
    let mut command = Command::new(programs.join(if options.referrers { "registry" } else { "crane" }));
    match options.referrers {
        true => command.args(["-address", &address]),
        false => command.args(["registry", "serve", "--address", &address]),
    };
    command
}
