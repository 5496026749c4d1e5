//! `cargo xtask servers`: the real servers that tests and people run the agent against, on a bare machine.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    arguments::{Arguments, Output},
    error::{Error, Result},
    repository::Repository,
    ui::{self, Stream, Style},
};

pub mod builds;
mod daemon;
pub mod go;
mod http;
mod instance;
mod java;
mod minio;
mod modules;
pub mod observability;
mod opensearch;
mod ports;
mod prometheus;
mod registry;
mod thanos;

use instance::{Instance, State};

/// Shown by `cargo xtask servers --help`.
pub const HELP: &str = "\
Run real servers on this machine: on loopback, in the background, each in its own folder. The default instance
has the ports that are named here where they are free. Others have ports that were free. `up` prints which.

Usage: cargo xtask servers up NAME [OPTIONS]
       cargo xtask servers down [NAME] [OPTIONS]
       cargo xtask servers status [NAME] [OPTIONS]

Commands:
  up      Start the server and return when it is ready; one that runs already is left as it is
  down    Stop it, or all of the instance without a NAME; its data and its port stay for the next time
  status  Show what runs, or what was run

Servers:
  opensearch  OpenSearch 2.19.4 with its stock modules, fetched by Maven once (about 100 MB, a minute); ready
              in half a minute. Java (17 to 23) and Maven are installed from Debian where they are missing.
              Port 9200, as configs/opensearch.yaml names it
  minio       MinIO, an object store that speaks S3, built by Go once (4 minutes) from a pinned module. Its
              JSON has access_key and secret_key. Go has to be installed
  registry    crane's registry for OCI artefacts, built by Go once (a minute) from a pinned module. What is
              pushed is kept in memory. Its JSON names crane too, the tool that speaks to it. Go has to be
              installed
  prometheus  Prometheus 3.9.1, built by Go once (8 minutes, with Thanos) from a pinned module. It takes
              remote write, keeps exemplars and native histograms, and drops nothing for its age. Its JSON has
              receive, where remote write is taken, and promtool. Port 9090
  thanos      Thanos 0.42.4: Receive and Query, from the same module. url is that of Query (port 10902),
              receive that of remote write (port 19291, as configs/metrics.yaml names it). Query sees what
              Receive has after about 4 s

Options:
      --instance NAME    Which of several servers of a kind [default: default]
      --output FORMAT    text, or json: JSON alone on stdout [default: text]

Options of up opensearch:
      --security         With the security plugin: TLS, users, roles, and a password that is generated
      --heap SIZE        The Java heap, such as 1GiB [default: 512MiB]
      --set KEY=VALUE    A line of opensearch.yml; may be given more than once

Options of up registry:
      --referrers        With the referrers API of OCI 1.1, which crane's registry leaves out
      --cosign           Builds cosign too (about 3 minutes, once), and names it

Options of up prometheus and up thanos:
      --out-of-order-window DURATION
                         How much older than the newest sample another may be, such as 1h [default: 0s]

Options of up prometheus:
      --config FILE      Its configuration, of which a copy is used [default: nothing is scraped]
      --agent            Its agent mode, which scrapes and forwards and has no database

Options of down:
      --remove-data      Remove its data, its log and its configuration

  -h, --help             Print this help

What is built and what servers keep lies in weir/servers in your cache folder (XDG_CACHE_HOME, ~/.cache).

Exit codes: 0 done or running, 1 it did not start or stop, or NAME does not run, 2 wrong usage";

/// The instance that is meant where none is named.
pub const DEFAULT_INSTANCE: &str = "default";

/// A kind of server that can be run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A search engine that keeps documents.
    OpenSearch,
    /// An object store.
    MinIo,
    /// A registry of OCI artefacts.
    Registry,
    /// A database of metrics that scrapes.
    Prometheus,
    /// A database of metrics that is pushed to.
    Thanos,
}

const KINDS: [Kind; 5] = [Kind::OpenSearch, Kind::MinIo, Kind::Registry, Kind::Prometheus, Kind::Thanos];

#[derive(Debug)]
enum Verb {
    Up(Up),
    Down { kind: Option<Kind>, remove_data: bool },
    Status(Option<Kind>),
}

/// What is to come up, and how.
#[derive(Debug)]
enum Up {
    OpenSearch(opensearch::Options),
    MinIo,
    Registry(registry::Options),
    Prometheus(prometheus::Options),
    Thanos(thanos::Options),
}

/// The options of all kinds, as they are read.
#[derive(Debug, Default)]
struct Given {
    opensearch: opensearch::Options,
    registry: registry::Options,
    prometheus: prometheus::Options,
    out_of_order_window: Option<String>,
}

#[derive(Debug)]
struct Request {
    verb: Verb,
    /// For `status`, all of them where none is named.
    instance: Option<String>,
    output: Output,
}

/// The command.
pub fn main(repository: &Repository, arguments: Arguments) -> Result<()> {
    let Request { verb, instance, output } = Request::parse(arguments)?;
    let name = instance.as_deref().unwrap_or(DEFAULT_INSTANCE);
    match verb {
        Verb::Up(wanted) => {
            let held = Instance::hold(&folder(wanted.kind(), name)?)?;
            let shown = match &wanted {
                Up::OpenSearch(options) => opensearch::up(repository, &held, name, options)?,
                Up::MinIo => minio::up(repository, &held, name)?,
                Up::Registry(options) => registry::up(repository, &held, name, *options)?,
                Up::Prometheus(options) => prometheus::up(repository, &held, name, options)?,
                Up::Thanos(options) => thanos::up(repository, &held, name, options)?,
            };
            print_one(&shown, output);
            Ok(())
        }
        Verb::Down { kind, remove_data } => {
            let kinds = kind.map_or(KINDS.to_vec(), |kind| vec![kind]);
            let mut done = Vec::new();
            for kind in kinds {
                done.push(stop(kind, name, remove_data)?);
            }
            print_stopped(&done, output);
            Ok(())
        }
        Verb::Status(kind) => {
            let found = found(kind, instance.as_deref())?;
            print_status(&found, output);
            let runs = found.iter().any(|server| server["running"] == true);
            match kind {
                Some(kind) if !runs => Err(Error::failed(format!("{} does not run", kind.name()))),
                _ => Ok(()),
            }
        }
    }
}

/// The instance of servers that belongs to a purpose in this target directory, so that two checkouts that are tested
/// at the same time do not stop each other's.
pub fn instance_for(purpose: &str, repository: &Repository) -> String {
    let place = xxhash_rust::xxh3::xxh3_64(repository.target().as_os_str().as_encoded_bytes());
    format!("{purpose}-{place:016x}")
}

/// Stops all servers of an instance and of those that are named after it (`NAME-…`), and removes what they leave if
/// that is wanted. Returns how many ran.
pub fn stop_all(instance: &str, remove_data: bool) -> Result<usize> {
    let mut stopped = 0;
    for server in found(None, None)? {
        let (kind, name) = (Kind::named(&plain(&server["name"]))?, plain(&server["instance"]));
        let rest = name.strip_prefix(instance);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
            stopped += usize::from(stop(kind, &name, remove_data)?["stopped"] == true);
        }
    }
    Ok(stopped)
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::OpenSearch => "opensearch",
            Kind::MinIo => "minio",
            Kind::Registry => "registry",
            Kind::Prometheus => "prometheus",
            Kind::Thanos => "thanos",
        }
    }

    fn named(name: &str) -> Result<Kind> {
        KINDS.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known = KINDS.map(Kind::name).join(", ");
            Error::Usage(format!("no server `{name}`; there is {known}"))
        })
    }
}

impl Up {
    fn kind(&self) -> Kind {
        match self {
            Up::OpenSearch(_) => Kind::OpenSearch,
            Up::MinIo => Kind::MinIo,
            Up::Registry(_) => Kind::Registry,
            Up::Prometheus(_) => Kind::Prometheus,
            Up::Thanos(_) => Kind::Thanos,
        }
    }

    /// Options of another kind are wrong usage.
    fn new(kind: Kind, given: Given) -> Result<Up> {
        let Given { opensearch, registry, prometheus, out_of_order_window } = given;
        let others = (kind != Kind::OpenSearch && opensearch != opensearch::Options::default())
            || (kind != Kind::Registry && registry != registry::Options::default())
            || (kind != Kind::Prometheus && prometheus != prometheus::Options::default())
            || (!matches!(kind, Kind::Prometheus | Kind::Thanos) && out_of_order_window.is_some());
        if others {
            return Err(Error::Usage(format!("an option is not one of `up {}`", kind.name())));
        }
        Ok(match kind {
            Kind::OpenSearch => Up::OpenSearch(opensearch),
            Kind::MinIo => Up::MinIo,
            Kind::Registry => Up::Registry(registry),
            Kind::Prometheus => Up::Prometheus(prometheus::Options { out_of_order_window, ..prometheus }),
            Kind::Thanos => Up::Thanos(thanos::Options { out_of_order_window }),
        })
    }
}

impl Request {
    fn parse(mut arguments: Arguments) -> Result<Self> {
        let Some(verb) = arguments.next()? else {
            return Err(Error::Usage("up, down or status?".to_owned()));
        };
        let verb = verb.positional()?;
        let (mut kind, mut instance, mut output) = (None, None, Output::Text);
        let (mut given, mut remove_data) = (Given::default(), false);
        while let Some(argument) = arguments.next()? {
            match (argument.as_str(), verb.as_str()) {
                ("--instance", _) => instance = Some(instance_name(arguments.value()?)?),
                ("--output", _) => output = arguments.output()?,
                ("--security", "up") => given.opensearch.security = true,
                ("--heap", "up") => given.opensearch.heap_mib = mebibytes(&arguments.value()?)?,
                ("--set", "up") => given.opensearch.settings.push(setting(&arguments.value()?)?),
                ("--referrers", "up") => given.registry.referrers = true,
                ("--cosign", "up") => given.registry.cosign = true,
                ("--out-of-order-window", "up") => {
                    given.out_of_order_window = Some(duration(arguments.value()?)?);
                }
                ("--config", "up") => given.prometheus.config = Some(arguments.value()?),
                ("--agent", "up") => given.prometheus.agent = true,
                ("--remove-data", "down") => remove_data = true,
                ("", _) if kind.is_none() => kind = Some(Kind::named(&argument.positional()?)?),
                _ => return Err(argument.unexpected()),
            }
        }
        let verb = match (verb.as_str(), kind) {
            ("up", Some(kind)) => Verb::Up(Up::new(kind, given)?),
            ("up", None) => return Err(Error::Usage("which server is to come up?".to_owned())),
            ("down", kind) => Verb::Down { kind, remove_data },
            ("status", kind) => Verb::Status(kind),
            (other, _) => {
                return Err(Error::Usage(format!("no `servers {other}`; there is up, down, status")));
            }
        };
        Ok(Request { verb, instance, output })
    }
}

/// It becomes part of a folder's name.
fn instance_name(name: String) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
        return Err(Error::Usage(format!("`{name}` is no name of letters, digits, - and _")));
    }
    Ok(name)
}

fn mebibytes(size: &str) -> Result<u64> {
    let units = [("MiB", 1), ("GiB", 1024)];
    let read = units.into_iter().find_map(|(unit, factor)| {
        let number: u64 = size.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(factor)
    });
    // With less it does not start.
    match read {
        Some(mib @ 128..) => Ok(mib),
        _ => Err(Error::Usage(format!("`{size}` is no heap; say 512MiB or 1GiB, at least 128MiB"))),
    }
}

/// As Prometheus writes them: it stands in a configuration.
fn duration(text: String) -> Result<String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let unit = text.get(number.len()..).unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || !["ms", "s", "m", "h", "d"].contains(&unit) {
        return Err(Error::Usage(format!("`{text}` is no duration; say 90s, 30m or 1h")));
    }
    Ok(text)
}

fn setting(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::Usage(format!("`{text}` is not KEY=VALUE"))),
    }
}

fn runs_folder() -> Result<PathBuf> {
    Ok(instance::servers_folder()?.join("run"))
}

fn folder(kind: Kind, instance: &str) -> Result<PathBuf> {
    Ok(runs_folder()?.join(kind.name()).join(instance))
}

fn stop(kind: Kind, name: &str, remove_data: bool) -> Result<Value> {
    let folder = folder(kind, name)?;
    let mut done = json!({"name": kind.name(), "instance": name, "stopped": false, "removed": false});
    if !folder.is_dir() {
        return Ok(done);
    }
    let held = Instance::hold(&folder)?;
    done["stopped"] = json!(held.stop()?);
    if remove_data {
        held.remove()?;
        done["removed"] = json!(true);
    }
    Ok(done)
}

/// Everything that was ever started and is not removed.
fn found(kind: Option<Kind>, instance: Option<&str>) -> Result<Vec<Value>> {
    let runs = runs_folder()?;
    let mut found = Vec::new();
    for kind in kind.map_or(KINDS.to_vec(), |kind| vec![kind]) {
        let Ok(entries) = fs::read_dir(runs.join(kind.name())) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if instance.is_some_and(|wanted| name != wanted) {
                continue;
            }
            let Some(state) = State::read(&entry.path()) else { continue };
            let mut shown = state.shown.clone();
            shown["running"] = json!(state.is_running());
            found.push(shown);
        }
    }
    found.sort_by_key(|server| (server["name"].to_string(), server["instance"].to_string()));
    Ok(found)
}

fn print_one(shown: &Value, output: Output) {
    match output {
        Output::Json => println!("{shown:#}"),
        Output::Text => {
            for (key, value) in shown.as_object().into_iter().flatten() {
                println!("{key:<12} {}", plain(value));
            }
        }
    }
}

fn print_stopped(done: &[Value], output: Output) {
    if output == Output::Json {
        println!("{:#}", Value::from(done.to_vec()));
        return;
    }
    for server in done {
        let what = if server["stopped"] == true { "stopped" } else { "did not run" };
        let data = if server["removed"] == true { ", its data is removed" } else { "" };
        println!("{} {}: {what}{data}", plain(&server["name"]), plain(&server["instance"]));
    }
}

fn print_status(found: &[Value], output: Output) {
    if output == Output::Json {
        println!("{:#}", Value::from(found.to_vec()));
        return;
    }
    let heading = format!("{:<12} {:<16} {:<9} {:>8}  {}", "server", "instance", "", "pid", "url");
    println!("{}", ui::paint(Stream::Stdout, Style::Bold, heading));
    for server in found {
        let (word, pid) = if server["running"] == true {
            ("running", plain(&server["pid"]))
        } else {
            ("stopped", "".into())
        };
        let column = |key: &str| plain(&server[key]);
        println!("{:<12} {:<16} {word:<9} {pid:>8}  {}", column("name"), column("instance"), column("url"));
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Request> {
        Request::parse(Arguments::new(arguments.iter().map(ToString::to_string)))
    }

    #[test]
    fn requests_are_read() {
        let request =
            parse(&["up", "opensearch", "--heap=1GiB", "--set", "a.b=c=d", "--output", "json"]).unwrap();
        let Verb::Up(Up::OpenSearch(options)) = request.verb else { panic!("{request:?}") };
        assert_eq!((options.heap_mib, options.security), (1024, false));
        assert_eq!(options.settings, [("a.b".to_owned(), "c=d".to_owned())]);
        assert_eq!(request.output, Output::Json);
        let registry = parse(&["up", "registry", "--referrers"]).unwrap();
        let expected = registry::Options { referrers: true, cosign: false };
        assert!(matches!(registry.verb, Verb::Up(Up::Registry(options)) if options == expected));
        let prometheus =
            parse(&["up", "prometheus", "--out-of-order-window=2h", "--config", "p.yml"]).unwrap();
        let Verb::Up(Up::Prometheus(options)) = prometheus.verb else { panic!("{prometheus:?}") };
        assert_eq!(
            (options.out_of_order_window.as_deref(), options.config.as_deref()),
            (Some("2h"), Some("p.yml"))
        );
        let thanos = parse(&["up", "thanos", "--out-of-order-window", "1h"]).unwrap();
        assert!(
            matches!(thanos.verb, Verb::Up(Up::Thanos(options)) if options.out_of_order_window.is_some())
        );
        assert!(matches!(parse(&["status"]).unwrap().verb, Verb::Status(None)));
        let down = parse(&["down", "opensearch", "--remove-data", "--instance", "mine"]).unwrap();
        assert!(matches!(down.verb, Verb::Down { kind: Some(Kind::OpenSearch), remove_data: true }));
        assert_eq!(down.instance.as_deref(), Some("mine"));
    }

    #[test]
    fn wrong_requests_are_wrong_usage() {
        for wrong in [
            &[][..],
            &["up"],
            &["up", "elasticsearch"],
            &["up", "opensearch", "again"],
            &["up", "opensearch", "--referrers"],
            &["up", "minio", "--out-of-order-window", "1h"],
            &["up", "thanos", "--out-of-order-window", "1h30"],
            &["up", "thanos", "--out-of-order-window", "soon"],
            &["up", "thanos", "--agent"],
            &["up", "registry", "--security"],
            &["up", "minio", "--heap", "1GiB"],
            &["up", "opensearch", "--heap", "1g"],
            &["up", "opensearch", "--heap", "64MiB"],
            &["up", "opensearch", "--set", "novalue"],
            &["up", "opensearch", "--remove-data"],
            &["down", "--security"],
            &["status", "--instance", "../x"],
            &["restart", "opensearch"],
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }
}
