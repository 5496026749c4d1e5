//! A server that is one program on one port, started, waited for and known again.

use std::{
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    http,
    instance::{self, Identity, Instance, State},
};
use crate::{
    error::{Error, IoContext, Result},
    process,
    ui::Step,
};

/// These servers take a second at the most.
const START_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is run.
pub struct Daemon {
    /// The kind's name.
    pub name: &'static str,
    /// How it is asked to run.
    pub asked: Value,
    /// A path that answers 200 when it is ready.
    pub ready: &'static str,
    /// What is printed of it beside its place.
    pub extra: Value,
}

/// Starts the server unless it runs, and returns what is to be printed of it. `command` says how, for a port.
pub fn up(
    daemon: &Daemon,
    instance: &Instance,
    name: &str,
    command: impl FnOnce(u16) -> Command,
) -> Result<Value> {
    let output = instance.folder().join("output.log");
    let known = instance.state();
    if let Some(state) = &known
        && let Some(process) = state.process.as_ref().filter(|process| process.is_alive())
    {
        if state.options != daemon.asked {
            return Err(Error::failed(format!(
                "it runs already, with other options: {}. Stop it with `cargo xtask servers down {}`, or give this \
                 one a name of its own with --instance",
                state.options, daemon.name
            )));
        }
        let has_ended = || (!process.is_alive()).then(|| "it has ended".to_owned());
        wait_until_ready(daemon, state, &output, has_ended)?;
        return Ok(state.shown.clone());
    }
    let port = port(known.and_then(|state| state.ports.first().copied()))?;
    let step = Step::start(daemon.name, format!("on port {port}"));
    let mut child = spawn(command(port), &output)?;
    let process = Identity::of(child.id()).map_err(|_gone| Error::failed(instance::last_words(&output)))?;
    let url = format!("http://127.0.0.1:{port}");
    let mut shown =
        json!({"name": daemon.name, "instance": name, "url": url, "pid": process.pid(), "log": output});
    for (key, value) in daemon.extra.as_object().into_iter().flatten() {
        shown[key] = value.clone();
    }
    let state = State { process: Some(process), ports: vec![port], options: daemon.asked.clone(), shown };
    instance.keep(&state)?;
    let has_ended = || match child.try_wait() {
        Ok(None) => None,
        Ok(Some(status)) => Some(format!("it ended with {status}")),
        Err(cause) => Some(cause.to_string()),
    };
    match wait_until_ready(daemon, &state, &output, has_ended) {
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

fn spawn(mut command: Command, output: &Path) -> Result<Child> {
    let log = File::create(output).while_doing("create", output)?;
    let errors = log.try_clone().while_doing("open", output)?;
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    process::detach(&mut command);
    let program = command.get_program().to_owned();
    command.spawn().map_err(|cause| Error::io("start", Path::new(&program), &cause))
}

/// `has_ended` says how the process ended, if it did.
fn wait_until_ready(
    daemon: &Daemon,
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
        if http::status(port, daemon.ready).is_ok_and(|status| status == 200) {
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
