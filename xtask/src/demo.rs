//! `cargo xtask demo`: the quickstart, from a bare checkout to events in a file, with what there is to see.

use std::{
    fs::{self, File},
    io,
    path::Path,
    process::Command,
};

use crate::{
    arguments::Arguments,
    cargo,
    error::{Error, IoContext, Result},
    plugins::{self, Selection},
    process::{self, Usage},
    repository::Repository,
    ui::{self, Step, Stream, Style, paint},
};

mod examples;
mod ledger;
mod recorded;

use ledger::Account;

/// Shown by `cargo xtask demo --help`.
pub const HELP: &str = "\
See the agent work, with no server and nothing to set up.

Usage: cargo xtask demo

Builds the agent and its two first-party plugins, then runs `weir run -c configs/quickstart.yaml --once` over
recorded container logs of real servers. Shows what went in, what the plugins did to it, what came out, the
ledger, where to look and what to try next. The first build takes minutes, the run itself a moment.

Options:
  -h, --help  Print this help

Exit codes: 0 all events accounted for, 1 something did not build or an event was lost, 2 wrong usage";

const CONFIG: &str = "configs/quickstart.yaml";
const PODS: &str = "configs/recorded/pods";
/// What the configuration names: everything that a run leaves.
const LEFT: &str = "target/quickstart";

/// The command.
pub fn main(repository: &Repository, mut arguments: Arguments) -> Result<()> {
    if let Some(argument) = arguments.next()? {
        return Err(argument.unexpected());
    }
    let _hold = repository.hold()?;
    plugins::build(repository, &Selection::FirstParty)?;
    let step = Step::start("weir", "the agent; the first build takes minutes");
    let weir = cargo::build_agent(repository, &[])?;
    step.done(weir.display());
    show(repository.root(), &weir)
}

/// Runs the quickstart and tells what happened.
fn show(root: &Path, weir: &Path) -> Result<()> {
    let before = recorded::count(&root.join(PODS))?;
    let run = run(root, weir)?;
    let accounts = accounts(root, weir)?;
    let output = root.join(LEFT).join("out.ndjson");
    let bytes = fs::metadata(&output).while_doing("read", &output)?.len();

    heading("Weir: recorded container logs through two sandboxed plugins into a file");
    fact(
        "went in",
        &format!(
            "{} in {} of {}, {} bytes: JSON, logfmt, klog, plain text and stack traces",
            ui::counted(before.lines, "line"),
            ui::counted(before.files, "file"),
            ui::counted(before.files, "container"),
            ui::grouped(before.bytes),
        ),
    );
    for account in &accounts {
        show_account(account);
    }
    fact("came out", &format!("{} bytes in {LEFT}/out.ndjson", ui::grouped(bytes)));
    fact(
        "it took",
        &format!(
            "{:.0} ms, {:.0} ms of CPU, {:.1} MiB at its peak",
            run.wall.as_secs_f64() * 1e3,
            (run.user + run.system).as_secs_f64() * 1e3,
            run.peak_rss_bytes as f64 / 1024.0 / 1024.0,
        ),
    );
    show_examples(&output, &root.join(PODS))?;
    show_ledger(&accounts);
    show_ways_on(weir);
    judge(&accounts)
}

/// The configuration is run as it is, from the checkout, so that whoever repeats it by hand sees the same.
fn run(root: &Path, weir: &Path) -> Result<Usage> {
    let folder = root.join(LEFT);
    match fs::remove_dir_all(&folder) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("empty", &folder, &cause));
        }
        _ => fs::create_dir_all(&folder).while_doing("create", &folder)?,
    }
    let step = Step::start("run", format!("weir run -c {CONFIG} --once"));
    let log = |name: &str| {
        let path = folder.join(name);
        File::create(&path).while_doing("create", &path)
    };
    let mut command = Command::new(weir);
    command.current_dir(root).args(["run", "-c", CONFIG, "--once"]);
    command.stdout(log("stdout.txt")?).stderr(log("log.txt")?);
    let usage = process::measure(&mut command).while_doing("run", weir)?;
    if !usage.status.success() {
        step.failed(usage.status);
        let log = fs::read_to_string(folder.join("log.txt")).unwrap_or_default();
        return Err(Error::failed(format!("weir ended with {}:\n{log}", usage.status)));
    }
    step.done("everything read is delivered or accounted for");
    Ok(usage)
}

fn accounts(root: &Path, weir: &Path) -> Result<Vec<Account>> {
    let mut command = Command::new(weir);
    command.current_dir(root).args(["ledger", "-c", CONFIG, "--output", "json"]);
    ledger::accounts(&cargo::output(&mut command, "asking for the ledger")?)
}

fn show_account(account: &Account) {
    fact("read", &ui::counted(account.read, "event"));
    for (kind, reasons) in
        [("sampled", &account.sampled), ("dropped", &account.dropped), ("gone", &account.gone)]
    {
        for (reason, events) in reasons {
            let share = 100.0 * *events as f64 / account.read.max(1) as f64;
            fact(kind, &format!("{} by {reason}, {share:.1} %", ui::counted(*events, "event")));
        }
    }
    fact("delivered", &ui::counted(account.delivered, "event"));
}

fn show_examples(output: &Path, pods: &Path) -> Result<()> {
    heading("Before and after");
    let legend = paint(Stream::Stdout, Style::Green, "green");
    println!(
        "  the line as it lay in the container's log, then its document; {legend}: made or changed on the way\n"
    );
    for example in examples::find(output, pods)? {
        for line in example.lines() {
            println!("{line}");
        }
        println!();
    }
    Ok(())
}

fn show_ledger(accounts: &[Account]) {
    heading("The ledger: what became of every event");
    println!(
        "  {:<22} {:>8} {:>10} {:>8} {:>8} {:>6}   balanced",
        "pipeline → sink", "read", "delivered", "sampled", "dropped", "gone"
    );
    let sum = |reasons: &[(String, u64)]| ui::grouped(reasons.iter().map(|(_, events)| events).sum());
    for account in accounts {
        let balanced = if account.balanced { (Style::Green, "yes") } else { (Style::Red, "NO") };
        println!(
            "  {:<22} {:>8} {:>10} {:>8} {:>8} {:>6}   {}",
            format!("{} → {}", account.pipeline, account.sink),
            ui::grouped(account.read),
            ui::grouped(account.delivered),
            sum(&account.sampled),
            sum(&account.dropped),
            sum(&account.gone),
            paint(Stream::Stdout, balanced.0, balanced.1),
        );
    }
}

fn show_ways_on(weir: &Path) {
    let weir = weir.display();
    heading("Where to look");
    for (place, what) in [
        (CONFIG, "the configuration, with comments"),
        ("target/quickstart/out.ndjson", "what came out, one document a line"),
        ("target/quickstart/log.txt", "what the agent said about it"),
        ("plugins/log-sampler, plugins/field-filter", "the plugins: a screen or two of Rust each"),
        ("docs/ARCHITECTURE.md", "how it works"),
    ] {
        println!("  {:<44} {what}", paint(Stream::Stdout, Style::Cyan, place));
    }
    heading("What to try next");
    for (command, what) in [
        (format!("{weir} check -c {CONFIG}"), "validate it and see the pipelines"),
        (format!("{weir} ledger -c {CONFIG}"), "the account above, from the agent itself"),
        ("cargo xtask demo".to_owned(), "again, after changing a rate in the configuration"),
        ("cargo xtask bench --lines 500000".to_owned(), "how fast it is on this machine"),
        ("cargo xtask test".to_owned(), "all tests"),
    ] {
        println!("  {}\n      {what}", paint(Stream::Stdout, Style::Cyan, command));
    }
}

fn judge(accounts: &[Account]) -> Result<()> {
    if accounts.is_empty() {
        return Err(Error::failed("the ledger is empty"));
    }
    let bad = accounts.iter().filter(|account| !account.balanced || !account.gone.is_empty());
    let names: Vec<String> = bad.map(|account| format!("{} → {}", account.pipeline, account.sink)).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!("events are missing or the ledger does not balance: {}", names.join(", "))))
}

fn heading(text: &str) {
    println!("\n{}", paint(Stream::Stdout, Style::Bold, text));
}

fn fact(name: &str, text: &str) {
    println!("  {name:<10} {text}");
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, path::PathBuf};

    use super::*;

    /// A checkout with one recorded log, and a program that stands in for the agent.
    fn fake_checkout(ledger: &str) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let pod = root.path().join(PODS).join("ns_pod_uid/app");
        fs::create_dir_all(&pod).unwrap();
        fs::write(pod.join("0.log"), "2026-11-22T10:00:00Z stdout F hello\n").unwrap();
        let weir = root.path().join("weir");
        let script = format!(
            "#!/bin/sh\nset -eu\n\
             if [ \"$1\" = ledger ]; then echo '{ledger}'; exit; fi\n\
             [ \"$*\" = 'run -c {CONFIG} --once' ]\n\
             echo '{{\"message\":\"hello\"}}' > {LEFT}/out.ndjson\n"
        );
        fs::write(&weir, script).unwrap();
        fs::set_permissions(&weir, fs::Permissions::from_mode(0o755)).unwrap();
        (root, weir)
    }

    fn ledger(delivered: u64, balanced: bool) -> String {
        format!(
            r#"[{{"pipeline":"p","sink":"s","read":{{"events":1}},"delivered":{{"events":{delivered}}},"balanced":{balanced}}}]"#
        )
    }

    #[test]
    fn a_good_run_is_shown() {
        let (root, weir) = fake_checkout(&ledger(1, true));
        show(root.path(), &weir).unwrap();
        show(root.path(), &weir).unwrap();
    }

    #[test]
    fn an_unbalanced_ledger_fails_the_demo() {
        let (root, weir) = fake_checkout(&ledger(0, false));
        let error = show(root.path(), &weir).unwrap_err();
        assert!(error.to_string().contains("does not balance: p → s"), "{error}");
    }

    #[test]
    fn a_failing_agent_is_quoted() {
        let (root, weir) = fake_checkout("");
        fs::write(&weir, "#!/bin/sh\necho 'no such plugin' >&2\nexit 1\n").unwrap();
        let error = show(root.path(), &weir).unwrap_err();
        assert!(error.to_string().contains("no such plugin"), "{error}");
    }
}
