//! `cargo xtask bench`: generates its input, runs the agent over it as users run it, and holds every run to
//! exact counts.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    arguments::Arguments,
    cargo,
    error::{Error, IoContext, Result},
    plugins::{self, Selection},
    repository::Repository,
    ui::{self, Step},
};

mod agent;
mod bulk;
mod generator;
mod input;
mod metrics;
mod once;
mod oracle;
mod perf;
mod proc;
mod random;
mod report;
mod sampler;
mod steady;
mod workload;

use agent::{Bench, Programs};
use input::Input;
use metrics::agents::Agent;
use oracle::Expected;
use report::Row;
use workload::Workload;

/// Shown by `cargo xtask bench --help`.
pub const HELP: &str = "\
Measure the event path and print JSON on stdout, a table on stderr.

Usage: cargo xtask bench [OPTIONS]

Workloads, all from container logs (CRI) that are generated from a seed:
  W0         Read, join, scan, finish each document, throw it away (blackhole)
  W1         A plugin drops debug, samples info, removes two members, adds one; to blackhole
  W1-native  The same logic built into the agent, in a build for the bench only
  W1f        W1 into a file
  W2         The first-party plugins log-sampler and field-filter in a row; to blackhole
  W3         W2 into a local HTTP server that answers bulk requests, in a process of its own
  W3-gzip    The same, compressed
  W3-away    W3 with nobody to send to: into the disk buffer, in memory where there is /dev/shm; then replayed
  W4         W1 following 250 files: 20 lines/s each (W4-busy), and quiet (W4-quiet)
  M1         One target with 100,000 series scraped every 2 s, written on by remote write 1.0 to a server that
             answers 204: samples per CPU-second and memory, in 40 s after 12 s of warming
  M2         200 targets with 2,000 series each every 15 s, in 60 s after 32 s of warming

Each run is a process of its own whose CPU time (user and system), wall time and peak memory are taken when it
ends. Runs of different workloads take turns; figures are medians, memory is the highest. Plugins are compiled
before, the input is in the page cache. What is delivered must be exactly what an oracle expects that shares
no code with the agent.

Options:
      --lines N          Raw lines of input [default: 2000000]
      --seed N           Names the input [default: 42]
      --runs N           Runs of each workload [default: 3]
      --workloads A,B    Only these [default: all]
      --w4-seconds N     Length of W4's measured window [default: 60]
      --agents A,B       M1 and M2 with these, taking turns: weir, prometheus (its agent mode), vmagent
                         [default: weir]. Prometheus is built, vmagent is Debian's
      --metrics-seconds N  Length of the measured window of M1 and M2 [default: 40 and 60]
      --floors           Fail if a floor is missed (they are always reported); meant for --lines 10000000
                         --runs 9 on a quiet machine
      --instructions     One further run of each workload counts instructions, where perf can
      --weir PATH        Measure this binary instead of building one; leaves out W1-native
  -h, --help             Print this help

Exit codes: 0 all counts are exact, 1 they are not or a run failed, 2 wrong usage";

/// The feature of the agent that builds W1's logic in.
const NATIVE_FEATURE: &str = "bench-native";

struct Options {
    lines: u64,
    seed: u64,
    runs: u64,
    workloads: Vec<Workload>,
    w4_window: Duration,
    metrics: Vec<metrics::Workload>,
    agents: Vec<Agent>,
    metrics_window: Option<Duration>,
    floors: bool,
    instructions: bool,
    weir: Option<PathBuf>,
}

/// The binaries that the workloads run.
struct Binaries {
    /// Missing where only other agents are measured.
    weir: Option<PathBuf>,
    native: Option<PathBuf>,
    bulk_server: Option<PathBuf>,
}

/// The command.
pub fn main(repository: &Repository, arguments: Arguments) -> Result<()> {
    let options = Options::parse(arguments)?;
    let _hold = repository.hold()?;
    let folder = repository.target().join("bench");
    build_plugins(repository, &options)?;
    let binaries = build(repository, &options, &folder)?;
    let rows = measure(&options, &binaries, &repository.plugins(), &folder)?;
    let of_metrics = measure_metrics(repository, &options, &binaries, &folder)?;
    report::print_table(&rows);
    metrics::report::print_table(&of_metrics);
    println!("{:#}", report::to_json(&rows, &of_metrics, options.seed, options.runs));
    judge(&rows, &of_metrics, options.floors)
}

fn measure_metrics(
    repository: &Repository,
    options: &Options,
    binaries: &Binaries,
    folder: &Path,
) -> Result<Vec<metrics::report::Row>> {
    if options.metrics.is_empty() {
        return Ok(Vec::new());
    }
    let asked = metrics::Options {
        workloads: &options.metrics,
        agents: &options.agents,
        runs: options.runs,
        window: options.metrics_window,
    };
    metrics::measure(repository, &asked, binaries.weir.as_deref(), folder)
}

impl Options {
    fn parse(mut arguments: Arguments) -> Result<Self> {
        let mut options = Options {
            lines: 2_000_000,
            seed: 42,
            runs: 3,
            workloads: workload::ALL.to_vec(),
            w4_window: Duration::from_secs(60),
            metrics: metrics::ALL.to_vec(),
            agents: vec![Agent::Weir],
            metrics_window: None,
            floors: false,
            instructions: false,
            weir: None,
        };
        while let Some(argument) = arguments.next()? {
            match argument.as_str() {
                "--lines" => options.lines = arguments.number()?,
                "--seed" => options.seed = arguments.number()?,
                "--runs" => options.runs = arguments.number()?,
                "--workloads" => (options.workloads, options.metrics) = workloads(&arguments.value()?)?,
                "--agents" => options.agents = agents(&arguments.value()?)?,
                "--metrics-seconds" => {
                    options.metrics_window = Some(Duration::from_secs(arguments.number()?));
                }
                "--w4-seconds" => options.w4_window = Duration::from_secs(arguments.number()?),
                "--floors" => options.floors = true,
                "--instructions" => options.instructions = true,
                "--weir" => options.weir = Some(existing(&arguments.value()?)?),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(options)
    }

    /// Whether any workload runs our agent.
    fn needs_weir(&self) -> bool {
        !self.workloads.is_empty() || (!self.metrics.is_empty() && self.agents.contains(&Agent::Weir))
    }

    fn wants(&self, workload: Workload) -> bool {
        self.workloads.contains(&workload)
    }
}

/// Those of logs and those of metrics.
fn workloads(names: &str) -> Result<(Vec<Workload>, Vec<metrics::Workload>)> {
    let (mut wanted, mut of_metrics) = (Vec::new(), Vec::new());
    for name in names.split(',') {
        let found = Workload::named(name.trim());
        let metrics = metrics::Workload::named(name.trim());
        if found.is_empty() && metrics.is_none() {
            let known = workload::ALL.map(Workload::name).join(", ");
            return Err(Error::Usage(format!("no workload `{name}`; there are {known}, W4, M1 and M2")));
        }
        wanted.extend(found);
        of_metrics.extend(metrics);
    }
    wanted.sort_unstable();
    wanted.dedup();
    of_metrics.sort_unstable();
    of_metrics.dedup();
    Ok((wanted, of_metrics))
}

fn agents(names: &str) -> Result<Vec<Agent>> {
    let mut wanted: Vec<Agent> = Vec::new();
    for name in names.split(',') {
        let agent = Agent::named(name.trim())?;
        if !wanted.contains(&agent) {
            wanted.push(agent);
        }
    }
    Ok(wanted)
}

fn existing(path: &str) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|cause| Error::Usage(format!("--weir {path}: {cause}")))
}

fn build_plugins(repository: &Repository, options: &Options) -> Result<()> {
    let mut names: Vec<String> = options
        .workloads
        .iter()
        .flat_map(|workload| workload.plugins())
        .map(|name| (*name).to_owned())
        .collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    plugins::build(repository, &Selection::Named(names)).map(drop)
}

/// The native build comes first: both land at the same path, and the plain one is to stay there.
fn build(repository: &Repository, options: &Options, folder: &Path) -> Result<Binaries> {
    let sends_bulks = options.workloads.iter().any(|workload| workload.sends_bulks());
    let bulk_server = if sends_bulks { Some(build_bulk_server(repository)?) } else { None };
    if let Some(weir) = &options.weir {
        return Ok(Binaries { weir: Some(weir.clone()), native: None, bulk_server });
    }
    if !options.needs_weir() {
        return Ok(Binaries { weir: None, native: None, bulk_server });
    }
    let native = if options.wants(Workload::W1Native) { build_native(repository, folder)? } else { None };
    let step = Step::start("weir", "the binary to measure; the first build takes minutes");
    let weir = cargo::build_agent(repository, &[])?;
    step.done(weir.display());
    Ok(Binaries { weir: Some(weir), native, bulk_server })
}

fn build_bulk_server(repository: &Repository) -> Result<PathBuf> {
    let step = Step::start("bulk server", "what W3 sends to");
    let server = cargo::build_example(repository, "bulk_server")?;
    step.done(server.display());
    Ok(server)
}

fn build_native(repository: &Repository, folder: &Path) -> Result<Option<PathBuf>> {
    if !has_feature(repository)? {
        ui::warning(format!("W1-native is left out: the agent has no feature {NATIVE_FEATURE}"));
        return Ok(None);
    }
    let step = Step::start("weir with W1 built in", "to compare the plugin with");
    let built = cargo::build_agent(repository, &[NATIVE_FEATURE])?;
    fs::create_dir_all(folder).while_doing("create", folder)?;
    let kept = folder.join("weir-native");
    // Never over a binary that may run: the new one takes the name of the old one.
    let temporary = folder.join("weir-native.tmp");
    fs::copy(&built, &temporary).while_doing("copy to", &temporary)?;
    fs::rename(&temporary, &kept).while_doing("replace", &kept)?;
    step.done(kept.display());
    Ok(Some(kept))
}

fn has_feature(repository: &Repository) -> Result<bool> {
    let metadata = cargo::metadata(repository, &repository.root().join("Cargo.toml"))?;
    let weir = cargo::packages(&metadata).iter().find(|package| package["name"] == "weir");
    Ok(weir.is_some_and(|package| !package["features"][NATIVE_FEATURE].is_null()))
}

fn measure(options: &Options, binaries: &Binaries, plugins: &Path, folder: &Path) -> Result<Vec<Row>> {
    let prepare = |workload: Workload| {
        let binary = match workload {
            Workload::W1Native => binaries.native.as_deref()?,
            _ => binaries.weir.as_deref()?,
        };
        let programs = Programs { weir: binary, plugins, bulk_server: binaries.bulk_server.as_deref() };
        Some(Bench::prepare(workload, programs, folder.join(workload.name())))
    };
    let (once, steady): (Vec<_>, Vec<_>) =
        options.workloads.iter().partition(|workload| workload.runs_once());
    let mut rows = Vec::new();
    if !once.is_empty() {
        let input = Input::ensure(folder, options.lines, options.seed)?;
        let expected = Expected::ensure(&input.path)?;
        let mut series = Vec::new();
        for workload in once {
            if let Some(bench) = prepare(workload) {
                series.push(once::Series::new(workload, bench?));
            }
        }
        rows.extend(once::measure(series, options.runs, &input, &expected, options.instructions)?);
    }
    for workload in steady {
        if let Some(bench) = prepare(workload) {
            rows.push(steady::measure(workload, &bench?, folder, options.w4_window, options.seed)?);
        }
    }
    warn_of_own_memory(&rows);
    Ok(rows)
}

/// Linux counts what this process held when it started the agent into the agent's peak.
fn warn_of_own_memory(rows: &[Row]) {
    let Ok(own) = proc::sample(std::process::id()) else { return };
    for row in rows.iter().filter(|row| row.workload.runs_once() && row.peak_rss_mib() <= own.peak_rss_mib) {
        ui::warning(format!("{}: the peak of memory is this tool's own", row.workload.name()));
    }
}

fn judge(rows: &[Row], of_metrics: &[metrics::report::Row], floors: bool) -> Result<()> {
    let of_logs =
        rows.iter().filter(|row| !row.problems.is_empty()).map(|row| row.workload.name().to_owned());
    let bad = of_metrics.iter().filter(|row| !row.problems.is_empty());
    let wrong: Vec<String> =
        of_logs.chain(bad.map(|row| format!("{} {}", row.workload.name(), row.agent.name()))).collect();
    if !wrong.is_empty() {
        return Err(Error::failed(format!("wrong results: {}", wrong.join(", "))));
    }
    let mut missed = report::missed_floors(rows);
    missed.extend(metrics::report::missed_floors(of_metrics));
    if floors && !missed.is_empty() {
        return Err(Error::failed(missed.join("; ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn options(arguments: &[&str]) -> Result<Options> {
        Options::parse(Arguments::new(arguments.iter().map(ToString::to_string)))
    }

    #[test]
    fn options_are_read() {
        let options = options(&["--workloads", "W4,w1", "--lines=1000", "--runs", "9", "--floors"]).unwrap();
        assert_eq!(options.workloads, [Workload::W1, Workload::W4Busy, Workload::W4Quiet]);
        assert_eq!((options.metrics.len(), options.needs_weir()), (0, true));
        assert_eq!((options.lines, options.runs, options.floors), (1_000, 9, true));
    }

    #[test]
    fn agents_take_turns_as_they_are_named() {
        let options = options(&["--workloads", "m2,M1", "--agents", "vmagent,prometheus"]).unwrap();
        assert_eq!(options.metrics, metrics::ALL);
        assert_eq!(options.agents, [Agent::Vmagent, Agent::Prometheus]);
        assert!(options.workloads.is_empty() && !options.needs_weir());
    }

    #[test]
    fn wrong_options_are_wrong_usage() {
        for wrong in [
            &["--workloads", "W9"][..],
            &["--lines", "0"],
            &["--weir", "/no/such"],
            &["--agents", "alloy"],
            &["W1"],
            &["--runs"],
        ] {
            assert_eq!(options(wrong).err().unwrap().exit_code(), 2, "{wrong:?}");
        }
    }

    /// Stands in for the agent: delivers what a file beside it says.
    fn fake_weir(folder: &Path, events: u64) -> PathBuf {
        let path = folder.join("fake-weir");
        let report = format!(r#"{{"sink":"null","events":{events},"bytes":1,"checksum":"0f"}}"#);
        fs::write(&path, format!("#!/bin/sh\nmkdir -p \"${{3%/*}}/template\"\necho '{report}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn measure_fake(delivers: impl Fn(&Expected) -> u64) -> Vec<Row> {
        let folder = tempfile::tempdir().unwrap();
        let options = options(&["--workloads", "W0,W1-native", "--lines", "500", "--runs", "2"]).unwrap();
        let input = Input::ensure(folder.path(), options.lines, options.seed).unwrap();
        let expected = Expected::ensure(&input.path).unwrap();
        let binaries = Binaries {
            weir: Some(fake_weir(folder.path(), delivers(&expected))),
            native: None,
            bulk_server: None,
        };
        measure(&options, &binaries, Path::new("/plugins"), folder.path()).unwrap()
    }

    #[test]
    fn a_run_with_the_exact_counts_is_good() {
        let rows = measure_fake(|expected| expected.events);
        let [row] = rows.as_slice() else { panic!("W1-native has no binary: {rows:?}") };
        assert_eq!((row.workload, row.lines, row.runs.len()), (Workload::W0, 500, 2));
        assert_eq!(row.problems, Vec::<String>::new());
        judge(&rows, &[], false).unwrap();
    }

    #[test]
    fn one_event_too_few_is_a_failure() {
        let rows = measure_fake(|expected| expected.events - 1);
        assert_eq!(rows[0].problems.len(), 1, "{rows:?}");
        assert_eq!(judge(&rows, &[], false).unwrap_err().exit_code(), 1);
    }
}
