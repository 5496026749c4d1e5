//! `cargo xtask test`: everything that is tested, from a bare checkout.

use std::{
    io::{self, BufRead, BufReader, Write},
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
    ui::{self, Finished, Step},
};

/// Shown by `cargo xtask test --help`.
pub const HELP: &str = "\
Run all tests: the agent's, the integration tests, the SDK's and the plugins'.

Usage: cargo xtask test [--no-retry] [-- ARGUMENTS]

Builds the plugins to WebAssembly and the weir binary first, since the integration tests run both. Every test
is run, whatever failed before it. Real servers are started when the first test needs them (see
`cargo xtask servers --help`) and stopped at the end; what they leave is kept if a test failed.

A few tests that fail are run once more when the others are over: what then passes is listed as flaky and
does not fail the run. Each is a fault, of the test or of Weir, that wants mending.

Arguments:
  [ARGUMENTS]...  Passed to each `cargo test`, for example: cargo xtask test -- scanner

Options:
      --no-retry  A test that fails fails the run, whatever it would do the next time
  -h, --help      Print this help

Environment, set for the tests:
  WEIR_BIN               The weir binary
  WEIR_PLUGINS_DIR       The folder with NAME.wasm of each plugin, test plugins included
  WEIR_XTASK             This program, by which tests start servers
  WEIR_SERVERS_INSTANCE  The instance of the servers that tests start

Exit codes: 0 all passed, 1 a test failed or something did not build, 2 wrong usage";

/// Where integration tests find the agent.
pub const BINARY_VARIABLE: &str = "WEIR_BIN";
/// Where integration tests find the plugins.
pub const PLUGINS_VARIABLE: &str = "WEIR_PLUGINS_DIR";

/// Where integration tests find this program.
pub const TOOL_VARIABLE: &str = "WEIR_XTASK";
/// Names the servers that integration tests start.
pub const SERVERS_VARIABLE: &str = "WEIR_SERVERS_INSTANCE";

/// More failures than these in a suite have a cause of their own.
const MOST_RETRIED: usize = 3;

/// How many tests ended how, over all test binaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    /// The names of those that failed.
    failures: Vec<String>,
}

/// The command.
pub fn main(repository: &Repository, mut arguments: Arguments) -> Result<()> {
    let mut passed_on = arguments.rest()?;
    let retries = passed_on.first().is_none_or(|first| first != "--no-retry");
    if !retries {
        passed_on.remove(0);
    }
    if let Some(first) = passed_on.first()
        && first != "--"
    {
        return Err(Error::Usage(format!(
            "unexpected argument `{first}`; arguments for cargo test follow `--`"
        )));
    }
    let passed_on = passed_on.get(1..).unwrap_or_default();
    let _hold = repository.hold()?;
    plugins::build(repository, &Selection::All)?;
    let binary = build_agent(repository)?;
    let servers = servers::instance_for("test", repository);
    // What an interrupted run left.
    servers::stop_all(&servers, true)?;

    let mut steps = Vec::new();
    let (mut total, mut flaky) = (Tally::default(), Vec::new());
    for (name, why, mut command) in suites(repository, &binary, &servers)? {
        let step = Step::start(&name, why);
        let mut again = cargo::copy(&command);
        let (mut tally, mut outcome) = run(command.args(passed_on), &mut io::stdout());
        if retries && outcome.is_err() && retry(&mut again, &mut io::stdout(), &tally) {
            outcome = Ok(());
            (tally.passed, tally.failed) = (tally.passed + tally.failed, 0);
            flaky.append(&mut tally.failures);
        }
        total.passed += tally.passed;
        total.failed += tally.failed;
        steps.push(close(step, &tally, outcome));
    }
    let is_good = steps.iter().all(|step| step.good);
    if servers::stop_all(&servers, is_good)? > 0 && !is_good {
        ui::note(format!("`cargo xtask servers status` shows where the servers {servers}* left their logs"));
    }
    conclude(&steps, &total, &flaky)
}

/// Runs what failed once more, by itself; whether all of it passes now.
fn retry(command: &mut Command, to: &mut dyn Write, first: &Tally) -> bool {
    let failures = &first.failures;
    if failures.is_empty() || failures.len() > MOST_RETRIED || failures.len() as u64 != first.failed {
        return false;
    }
    let step = Step::start("once more", failures.join(", "));
    let (tally, outcome) = run(command.args(["--", "--exact"]).args(failures), to);
    // A name that is found nowhere passes nothing; one that is found in two binaries passes twice.
    let is_good = outcome.is_ok() && tally.failed == 0 && tally.passed >= first.failed;
    close(step, &tally, outcome);
    is_good
}

fn build_agent(repository: &Repository) -> Result<std::path::PathBuf> {
    let step =
        Step::start("weir", "the binary that the integration tests run; the first build takes minutes");
    let binary = cargo::build_agent(repository, &[])?;
    step.done(binary.display());
    Ok(binary)
}

/// Each `cargo test` with its name and its reason.
fn suites(repository: &Repository, binary: &Path, servers: &str) -> Result<Vec<(String, String, Command)>> {
    let mut agent = cargo::build_command(repository, "test", repository.target());
    agent.args(["--workspace", "--no-fail-fast"]);
    let mut suites =
        vec![("agent".to_owned(), "unit and integration tests of the workspace".to_owned(), agent)];
    for manifest in cargo::guest_workspaces(repository)? {
        let folder = manifest.parent().unwrap_or(&manifest);
        let mut command = cargo::build_command(repository, "test", &repository.guest_target());
        command.args(["--workspace", "--no-fail-fast", "--manifest-path"]).arg(&manifest);
        let why = "native tests of guest code: no WebAssembly needed".to_owned();
        suites.push((repository.show(folder), why, command));
    }
    let tool = std::env::current_exe().while_doing("find", Path::new("this program"))?;
    for (_, _, command) in &mut suites {
        command.env(BINARY_VARIABLE, binary).env(PLUGINS_VARIABLE, repository.plugins());
        command.env(TOOL_VARIABLE, &tool).env(SERVERS_VARIABLE, servers);
    }
    Ok(suites)
}

/// Relays what the tests print, and counts.
fn run(command: &mut Command, to: &mut dyn Write) -> (Tally, Result<()>) {
    let mut tally = Tally::default();
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(cause) => return (tally, Err(Error::failed(format!("cannot start cargo: {cause}")))),
    };
    if let Some(stdout) = child.stdout.take() {
        relay(BufReader::new(stdout), to, &mut tally);
    }
    let outcome = match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Error::failed(format!("cargo test ended with {status}"))),
        Err(cause) => Err(Error::failed(format!("cargo test: {cause}"))),
    };
    (tally, outcome)
}

fn relay(mut output: impl BufRead, to: &mut dyn Write, tally: &mut Tally) {
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A reader that has gone must not stop the tests.
        let _closed = to.write_all(&line);
        count(&String::from_utf8_lossy(&line), tally);
        line.clear();
    }
}

/// `test NAME ... FAILED`, and `test result: ok. 12 passed; 0 failed; 0 ignored; …`
fn count(line: &str, tally: &mut Tally) {
    let failure = line.strip_prefix("test ").and_then(|rest| rest.trim_end().strip_suffix(" ... FAILED"));
    tally.failures.extend(failure.map(str::to_owned));
    let Some(result) = line.strip_prefix("test result: ") else { return };
    for part in result.split([';', '.']) {
        match part.trim().split_once(' ') {
            Some((number, "passed")) => tally.passed += number.parse::<u64>().unwrap_or_default(),
            Some((number, "failed")) => tally.failed += number.parse::<u64>().unwrap_or_default(),
            _ => {}
        }
    }
}

fn close(step: Step, tally: &Tally, outcome: Result<()>) -> Finished {
    let counts = format!("{} passed, {} failed", tally.passed, tally.failed);
    match outcome {
        Ok(()) => step.done(counts),
        Err(error) => step.failed(format!("{counts}; {error}")),
    }
}

fn conclude(steps: &[Finished], total: &Tally, flaky: &[String]) -> Result<()> {
    let failed = ui::summary(steps);
    println!("\n{} passed, {} failed", total.passed, total.failed);
    for name in flaky {
        println!("flaky: {name} failed once and passed when it was run again");
    }
    if !failed.is_empty() {
        return Err(Error::failed(format!("failed: {}", failed.join(", "))));
    }
    if total.passed == 0 {
        return Err(Error::failed("no test ran"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let output = "running 2 tests\n\
            test a ... ok\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test b::c ... FAILED\n\
            test result: FAILED. 10 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.25s\n";
        let mut tally = Tally::default();
        for line in output.lines() {
            count(line, &mut tally);
        }
        assert_eq!(tally, Tally { passed: 12, failed: 3, failures: vec!["b::c".to_owned()] });
    }

    #[test]
    fn no_test_is_a_failure() {
        assert!(conclude(&[], &Tally::default(), &[]).is_err());
        assert!(conclude(&[], &Tally { passed: 1, ..Tally::default() }, &[]).is_ok());
    }

    /// A command that prints this and takes any arguments.
    fn printing(text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("printf '{text}'"), "sh"]);
        command
    }

    #[test]
    fn what_failed_is_good_only_if_all_of_it_passes_then() {
        let failed = |names: &[&str]| {
            let failures: Vec<String> = names.iter().map(ToString::to_string).collect();
            Tally { passed: 9, failed: failures.len() as u64, failures }
        };
        let passes = |n: u64| printing(&format!("test result: ok. {n} passed; 0 failed;\\n"));
        let retry = |mut command: Command, first: &Tally| retry(&mut command, &mut Vec::new(), first);
        assert!(retry(passes(2), &failed(&["a", "b"])));
        assert!(!retry(passes(1), &failed(&["a", "b"])), "one was not found");
        assert!(!retry(passes(4), &failed(&["a", "b", "c", "d"])), "too many");
        assert!(!retry(passes(1), &failed(&[])), "something else went wrong");
        let fails = printing("test a ... FAILED\\ntest result: FAILED. 0 passed; 1 failed;\\n");
        assert!(!retry(fails, &failed(&["a"])));
    }

    #[test]
    fn a_suite_that_does_not_start_fails() {
        let (tally, outcome) = run(&mut Command::new("weir-no-such-program"), &mut Vec::new());
        assert_eq!(tally, Tally::default());
        assert!(outcome.is_err());
    }
}
