//! A registry for OCI artefacts: that of crane, or the same with the referrers API that crane leaves out.
//!
//! It keeps what is pushed in memory: after a stop it is empty.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    go::{self, Program},
    http,
    instance::{self, Identity, Instance, State},
};
use crate::{
    error::{Error, IoContext, Result},
    process,
    repository::Repository,
    ui::Step,
};

const PROGRAMS: [Program; 2] = [
    Program { name: "crane", package: "github.com/google/go-containerregistry/cmd/crane" },
    Program { name: "registry", package: "." },
];
const COSIGN: [Program; 1] =
    [Program { name: "cosign", package: "github.com/sigstore/cosign/v2/cmd/cosign" }];
/// It takes a tenth of a second.
const START_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

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
    let programs = go::build(repository, "registry", &PROGRAMS, "crane and its registry: a minute")?;
    let mut shown = serve(&programs, instance, name, options)?;
    shown["crane"] = json!(programs.join("crane"));
    if options.cosign {
        let cosign = go::build(repository, "cosign", &COSIGN, "cosign: about 3 minutes")?;
        shown["cosign"] = json!(cosign.join("cosign"));
    }
    Ok(shown)
}

fn serve(programs: &Path, instance: &Instance, name: &str, options: Options) -> Result<Value> {
    let asked = json!({"referrers": options.referrers});
    let output = instance.folder().join("output.log");
    let known = instance.state();
    if let Some(state) = &known
        && let Some(process) = state.process.as_ref().filter(|process| process.is_alive())
    {
        if state.options != asked {
            return Err(Error::failed(format!(
                "it runs already, with other options: {}. Stop it with `cargo xtask servers down registry`, or give \
                 this one a name of its own with --instance",
                state.options
            )));
        }
        wait_until_ready(state, &output, || (!process.is_alive()).then(|| "it has ended".to_owned()))?;
        return Ok(state.shown.clone());
    }
    let port = port(known.and_then(|state| state.ports.first().copied()))?;
    let step = Step::start("registry", format!("on port {port}"));
    let mut child = spawn(programs, port, options, &output)?;
    let process = Identity::of(child.id()).map_err(|_gone| Error::failed(instance::last_words(&output)))?;
    let url = format!("http://127.0.0.1:{port}");
    let shown =
        json!({"name": "registry", "instance": name, "url": url, "pid": process.pid(), "log": output});
    let state = State { process: Some(process), ports: vec![port], options: asked, shown };
    instance.keep(&state)?;
    let has_ended = || match child.try_wait() {
        Ok(None) => None,
        Ok(Some(status)) => Some(format!("it ended with {status}")),
        Err(cause) => Some(cause.to_string()),
    };
    match wait_until_ready(&state, &output, has_ended) {
        Ok(()) => {
            step.done(format!("{url} answers"));
            Ok(state.shown)
        }
        Err(error) => {
            step.failed("it did not come up");
            Err(error)
        }
    }
}

fn spawn(programs: &Path, port: u16, options: Options, output: &PathBuf) -> Result<Child> {
    let address = format!("127.0.0.1:{port}");
    let program = programs.join(if options.referrers { "registry" } else { "crane" });
    let mut command = Command::new(&program);
    match options.referrers {
        true => command.args(["-address", &address]),
        false => command.args(["registry", "serve", "--address", &address]),
    };
    let log = File::create(output).while_doing("create", output)?;
    let errors = log.try_clone().while_doing("open", output)?;
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    process::detach(&mut command);
    command.spawn().map_err(|cause| Error::io("start", &program, &cause))
}

/// `has_ended` says how the process ended, if it did.
fn wait_until_ready(
    state: &State,
    output: &Path,
    mut has_ended: impl FnMut() -> Option<String>,
) -> Result<()> {
    let started = Instant::now();
    let port = state.ports.first().copied().unwrap_or_default();
    loop {
        if let Some(how) = has_ended() {
            return Err(Error::failed(format!("{how}; {}", instance::last_words(output))));
        }
        if http::status(port, "/v2/").is_ok_and(|status| status == 200) {
            return Ok(());
        }
        if started.elapsed() > START_LIMIT {
            let limit = START_LIMIT.as_secs();
            return Err(Error::failed(format!(
                "not ready within {limit} s; {}",
                instance::last_words(output)
            )));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// This port if it is free, else another.
fn port(wanted: Option<u16>) -> Result<u16> {
    let bind = |port: u16| TcpListener::bind(("127.0.0.1", port));
    let listener = bind(wanted.unwrap_or(0)).or_else(|_taken| bind(0));
    let address = listener.and_then(|listener| listener.local_addr());
    Ok(address.map_err(|cause| Error::failed(format!("no free port: {cause}")))?.port())
}
