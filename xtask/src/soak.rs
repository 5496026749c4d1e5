//! `cargo xtask soak`: the scenarios of the tests at their full size, with figures.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    arguments::Arguments,
    cargo,
    error::{Error, IoContext, Result},
    plugins::{self, Selection},
    repository::Repository,
    servers,
    test::{BINARY_VARIABLE, PLUGINS_VARIABLE, SERVERS_VARIABLE, TOOL_VARIABLE},
    ui::{self, Step},
};

/// Shown by `cargo xtask soak --help`.
pub const HELP: &str = "\
Play a scenario at its full size against real servers; progress on stderr, a report in JSON on stdout.

Usage: cargo xtask soak NAME [OPTIONS]

Scenarios:
  logs     Twenty containers write into files that rotate; the agent is killed with SIGKILL at random moments,
           OpenSearch is stopped and started again. Every event must be there once, the ledger must balance
  outage   The same with OpenSearch away most of the time, a disk buffer of 8 MiB, the rest in MinIO, which
           is away for a part of it, and bad lines to both
  latency  One container writes 1,000 events a second into a healthy OpenSearch: how long it takes from a line
           written to its document found by its id, as percentiles
  reload   A container writes 50,000 events a second while the agent's ConfigMap is swapped again and again:
           sinks, pipelines and a plugin change, every tenth configuration and every tenth plugin is broken,
           the sink takes nothing for a while. Every event must be there once, and each reload take 250 ms
           at the most
  leak     A plugin keeps a mebibyte of each call while a container writes 50,000 events a second: its
           instances must be replaced, the agent's memory must not grow, every event must have its fate
  archive  A sampler keeps a tenth of what four namespaces write in four hours, all of it goes into an archive
           in MinIO; one hour of one namespace is brought back into OpenSearch, twice, and one trace is looked
           for in all of it. Exactly what was missing must come back, and nothing twice
  metrics  A target shows a new sample of each of 5,000 series twice a second, for five minutes; Thanos is cut
           off until memory overflows, answers 429, 500 and 503, cuts connections, is stopped and started, and
           so is the agent. Every sample must be in Thanos, in order, and the ledger must balance
  push     Eight clients send 200,000 events a second by Fluent Forward, and wait for each ack, which says
           that the events are on disk: the CPU that it takes, and how long acks take, as percentiles

Options of all:
      --rate N      Events a second [default: logs 8000, outage 11000, latency 1000, push 200000,
                    others 50000]

Options of logs, outage and latency:
      --events N    Events in all [default: 2000000 for logs and outage, 60000 for latency]

Options of archive:
      --events N    Events in all [default: 5000000, with --search 20000000]
      --search      Only the search: no OpenSearch is needed

Options of reload:
      --reloads N   Times the ConfigMap is swapped [default: 100]

Options of leak, push and metrics:
      --seconds N   How long events come [default: 600 for leak, 60 for push, 300 for metrics]

Options of metrics:
      --series N    Series of the target [default: 5000]
      --seed N      Names what chance decides

Options of logs and outage:
      --kills N     Times the agent is killed [default: 50 for logs, 20 for outage]
      --seed N      Names what chance decides [default: another one each time; the report has it]

Options of logs:
      --stops N     Times OpenSearch is stopped and started again [default: 2]
      --faults      Through a proxy that answers 429, 500 and 503 itself, cuts connections before and after
                    the request was taken, cuts answers short, and delays

  -h, --help        Print this help

Exit codes: 0 as it must be, 1 something was lost, doubled or malformed, or took too long, 2 wrong usage";

/// The scenarios are told apart by the program that plays them; here stands what a person may choose.
const NAMES: [&str; 8] = ["logs", "outage", "latency", "reload", "leak", "archive", "push", "metrics"];
const NUMBERS_OF_LOGS: &[&str] = &["--rate", "--events", "--kills", "--stops", "--seed"];
const NUMBERS_OF_OUTAGE: &[&str] = &["--rate", "--events", "--kills", "--seed"];
const NUMBERS_OF_LATENCY: &[&str] = &["--rate", "--events"];
const NUMBERS_OF_RELOAD: &[&str] = &["--rate", "--reloads"];
const NUMBERS_OF_ARCHIVE: &[&str] = &["--events"];
const NUMBERS_OF_LEAK: &[&str] = &["--rate", "--seconds"];
const NUMBERS_OF_METRICS: &[&str] = &["--seconds", "--series", "--seed"];
/// Scenarios with plugins; the others need only the folder.
const WITH_PLUGINS: [&str; 3] = ["reload", "leak", "archive"];

/// The command.
pub fn main(repository: &Repository, arguments: Arguments) -> Result<()> {
    let passed_on = parse(arguments)?;
    let _hold = repository.hold()?;
    let step = Step::start("weir", "the agent that is put to the test; the first build takes minutes");
    let weir = cargo::build_agent(repository, &[])?;
    step.done(weir.display());
    if passed_on.first().is_some_and(|name| WITH_PLUGINS.contains(&name.as_str())) {
        plugins::build(repository, &Selection::All)?;
    }
    // The folder is looked for by all.
    let folder = repository.plugins();
    fs::create_dir_all(&folder).while_doing("create", &folder)?;
    let step = Step::start("soak", "the program that plays the scenario");
    let player = cargo::build_example(repository, "soak")?;
    step.done(player.display());

    let servers = servers::instance_for("soak", repository);
    servers::stop_all(&servers, true)?;
    let played = play(repository, &player, &weir, &servers, &passed_on);
    // The documents of a failure are worth a look.
    servers::stop_all(&servers, played.is_ok())?;
    if played.is_err() {
        ui::note(format!(
            "`cargo xtask servers up opensearch --instance {servers}` brings back what was left"
        ));
    }
    played
}

/// Checks the arguments, and returns them as the player takes them: a name and `KEY=VALUE`.
fn parse(mut arguments: Arguments) -> Result<Vec<String>> {
    let names = NAMES.join(", ");
    let Some(name) = arguments.next()? else {
        return Err(Error::Usage(format!("which scenario? There are {names}")));
    };
    let name = name.positional()?;
    if !NAMES.contains(&name.as_str()) {
        return Err(Error::Usage(format!("no scenario `{name}`; there are {names}")));
    }
    let (is_logs, is_archive) = (name == "logs", name == "archive");
    let numbers = match name.as_str() {
        "logs" => NUMBERS_OF_LOGS,
        "outage" => NUMBERS_OF_OUTAGE,
        "latency" => NUMBERS_OF_LATENCY,
        "leak" | "push" => NUMBERS_OF_LEAK,
        "archive" => NUMBERS_OF_ARCHIVE,
        "metrics" => NUMBERS_OF_METRICS,
        _ => NUMBERS_OF_RELOAD,
    };
    let mut passed_on = vec![name];
    while let Some(argument) = arguments.next()? {
        let option = argument.as_str();
        let key = option.trim_start_matches('-').to_owned();
        if numbers.contains(&option) {
            passed_on.push(format!("{key}={}", arguments.number()?));
        } else if is_logs && option == "--faults" {
            passed_on.push("faults=1".to_owned());
        } else if is_archive && option == "--search" {
            passed_on.push("search=1".to_owned());
        } else {
            return Err(argument.unexpected());
        }
    }
    Ok(passed_on)
}

fn play(
    repository: &Repository,
    player: &Path,
    weir: &Path,
    servers: &str,
    arguments: &[String],
) -> Result<()> {
    let plugins = repository.plugins();
    let tool = std::env::current_exe().while_doing("find", Path::new("this program"))?;
    let mut command = Command::new(player);
    command
        .args(arguments)
        .current_dir(repository.root())
        .env(BINARY_VARIABLE, weir)
        .env(PLUGINS_VARIABLE, plugins)
        .env(TOOL_VARIABLE, tool)
        .env(SERVERS_VARIABLE, servers)
        .stdin(Stdio::null());
    let step = Step::start("soak", arguments.join(" "));
    let status = command.status().map_err(|cause| Error::io("start", player, &cause))?;
    if status.success() {
        step.done("as it must be");
        return Ok(());
    }
    step.failed(status);
    Err(Error::failed("the scenario did not end as it must"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Vec<String>> {
        parse(Arguments::new(arguments.iter().map(ToString::to_string)))
    }

    #[test]
    fn what_is_chosen_is_passed_on() {
        let passed_on = parsed(&["logs", "--events", "2_000", "--kills=3", "--faults"]).unwrap();
        assert_eq!(passed_on, ["logs", "events=2000", "kills=3", "faults=1"]);
        assert_eq!(parsed(&["latency", "--rate", "500"]).unwrap(), ["latency", "rate=500"]);
        assert_eq!(parsed(&["reload", "--reloads", "20"]).unwrap(), ["reload", "reloads=20"]);
        assert_eq!(parsed(&["leak", "--seconds", "60"]).unwrap(), ["leak", "seconds=60"]);
        assert_eq!(parsed(&["archive", "--search"]).unwrap(), ["archive", "search=1"]);
    }

    #[test]
    fn wrong_choices_are_wrong_usage() {
        for wrong in [
            &[][..],
            &["nothing"],
            &["logs", "again"],
            &["logs", "--kills", "0"],
            &["latency", "--kills", "3"],
            &["latency", "--faults"],
            &["reload", "--events", "3"],
            &["leak", "--reloads", "3"],
        ] {
            assert_eq!(parsed(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }
}
