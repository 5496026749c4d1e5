//! A server that is one program or more, started, waited for and known again.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    http,
    instance::{self, Identity, Instance, State},
    ports,
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
pub struct Daemon<'a> {
    /// The kind's name.
    pub name: &'static str,
    /// How it is asked to run.
    pub asked: Value,
    /// The ports it takes, and which of them everybody knows, for the default instance. Its URL is that of the first.
    pub ports: &'a [Option<u16>],
    /// Its programs, in the order in which they are started.
    pub parts: &'a [Part<'a>],
    /// What is printed of it beside its place, for its ports.
    pub extra: &'a dyn Fn(&[u16]) -> Value,
}

/// One program of a server.
pub struct Part<'a> {
    /// Names the file in the server's folder that it prints to, without `.log`.
    pub output: &'static str,
    /// Which of the ports answers 200 to which path when it is ready.
    pub ready: (usize, &'static str),
    /// How it is started, for the server's ports.
    pub command: &'a dyn Fn(&[u16]) -> Command,
}

/// Starts the server unless it runs, and returns what is to be printed of it.
pub fn up(daemon: &Daemon<'_>, instance: &Instance, name: &str) -> Result<Value> {
    let known = instance.state();
    if let Some(state) = known.as_ref().filter(|state| state.is_running() && is_whole(state, daemon)) {
        if state.options != daemon.asked {
            return Err(Error::failed(format!(
                "it runs already, with other options: {}. Stop it with `cargo xtask servers down {}`, or give this \
                 one a name of its own with --instance",
                state.options, daemon.name
            )));
        }
        for (part, process) in daemon.parts.iter().zip(&state.processes) {
            let has_ended = || (!process.is_alive()).then(|| "it has ended".to_owned());
            wait_until_ready(part, &state.ports, &output(instance, part), has_ended)?;
        }
        return Ok(state.shown.clone());
    }
    // What is left of one that ended in part, or whose start was interrupted.
    instance.stop()?;
    let ports = ports::choose(name, daemon.ports, &known.map_or(Vec::new(), |state| state.ports))?;
    let first = ports.first().copied().unwrap_or_default();
    let step = Step::start(daemon.name, format!("on port {first}"));
    match start(daemon, instance, name, ports) {
        Ok(shown) => {
            step.done(format!("http://127.0.0.1:{first} answers"));
            Ok(shown)
        }
        Err(error) => {
            step.failed("it did not come up");
            Err(error)
        }
    }
}

/// Where the port with this index is listened on, as `127.0.0.1:PORT`.
pub fn address(ports: &[u16], index: usize) -> String {
    format!("127.0.0.1:{}", ports.get(index).copied().unwrap_or_default())
}

fn is_whole(state: &State, daemon: &Daemon<'_>) -> bool {
    state.processes.len() == daemon.parts.len()
}

/// Starts one part after the other, each when the one before it is ready.
fn start(daemon: &Daemon<'_>, instance: &Instance, name: &str, ports: Vec<u16>) -> Result<Value> {
    let url = format!("http://127.0.0.1:{}", ports.first().copied().unwrap_or_default());
    let logs: Vec<PathBuf> = daemon.parts.iter().map(|part| output(instance, part)).collect();
    let mut shown = json!({"name": daemon.name, "instance": name, "url": url, "log": logs.first()});
    for (key, value) in (daemon.extra)(&ports).as_object().into_iter().flatten() {
        shown[key] = value.clone();
    }
    let mut state = State { processes: Vec::new(), ports, options: daemon.asked.clone(), shown };
    for (part, log) in daemon.parts.iter().zip(&logs) {
        let mut child = spawn((part.command)(&state.ports), log)?;
        let process = Identity::of(child.id()).map_err(|_gone| Error::failed(instance::last_words(log)))?;
        if state.processes.is_empty() {
            state.shown["pid"] = json!(process.pid());
        } else {
            state.shown[format!("{}_pid", part.output)] = json!(process.pid());
        }
        state.processes.push(process);
        instance.keep(&state)?;
        let has_ended = || match child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("it ended with {status}")),
            Err(cause) => Some(cause.to_string()),
        };
        wait_until_ready(part, &state.ports, log, has_ended)?;
    }
    Ok(state.shown)
}

fn output(instance: &Instance, part: &Part<'_>) -> PathBuf {
    instance.folder().join(format!("{}.log", part.output))
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
    part: &Part<'_>,
    ports: &[u16],
    output: &Path,
    mut has_ended: impl FnMut() -> Option<String>,
) -> Result<()> {
    let started = Instant::now();
    let (index, path) = part.ready;
    let port = ports.get(index).copied().unwrap_or_default();
    loop {
        if let Some(how) = has_ended() {
            return Err(Error::failed(format!("{how}; {}", instance::last_words(output))));
        }
        if http::status(port, path).is_ok_and(|status| status == 200) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_two_programs_comes_up_and_goes_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let instance = Instance::hold(&folder.path().join("one")).unwrap();
        let serve = |port: u16| {
            let mut command = Command::new("python3");
            command.args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()]);
            command
        };
        let (first, second) = (|ports: &[u16]| serve(ports[0]), |ports: &[u16]| serve(ports[1]));
        let parts = [
            Part { output: "output", ready: (0, "/"), command: &first },
            Part { output: "query", ready: (1, "/"), command: &second },
        ];
        let extra = |ports: &[u16]| json!({"query": ports[1]});
        let daemon =
            Daemon { name: "two", asked: json!({}), ports: &[None; 2], parts: &parts, extra: &extra };
        let shown = up(&daemon, &instance, "one").unwrap();
        let state = instance.state().unwrap();
        assert_eq!((state.processes.len(), state.is_running()), (2, true));
        assert_eq!(shown["query"], state.ports[1]);
        assert_eq!(up(&daemon, &instance, "one").unwrap(), shown, "it is left as it is");
        assert!(instance.stop().unwrap());
        let stopped = instance.state().unwrap();
        assert!(!stopped.is_running());
        assert_eq!(stopped.ports, state.ports);
    }
}
