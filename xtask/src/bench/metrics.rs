//! M1 and M2: what it costs to scrape targets and to write what they expose to a server, side by side with other
//! agents.
//!
//! 1. Targets and server are threads of this tool: their CPU time is nobody else's.
//! 2. The window of M1 begins and ends at the same place between two scrapes, so that it holds whole scrapes.
//! 3. Afterwards nothing is exposed any more, and what was received must be all that was exposed, once.

use std::{
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use super::proc::{self, Sample};
use crate::{
    error::{Error, Result},
    process,
    repository::Repository,
    ui::{self, Step},
};

pub mod agents;
mod receiver;
pub mod report;
mod target;
mod vmagent;

use agents::{Agent, Task};
use receiver::{Received, Receiver};
use report::{Row, Run};
use target::{Shape, Targets};

/// An agent with nothing to scrape has its base memory after this time.
const BASE_TIME: Duration = Duration::from_secs(6);
/// What was exposed must have been received so long after the last scrape.
const ARRIVE_LIMIT: Duration = Duration::from_secs(20);
const END_LIMIT: Duration = Duration::from_secs(30);
/// Memory is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// One target with 100,000 series every 2 s.
    M1,
    /// 200 targets with 2,000 series each every 15 s.
    M2,
}

/// Both.
pub const ALL: [Workload; 2] = [Workload::M1, Workload::M2];

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Which workloads.
    pub workloads: &'a [Workload],
    /// Which agents, in the order of their turns.
    pub agents: &'a [Agent],
    /// Runs of each.
    pub runs: u64,
    /// The length of the window, if not the usual one.
    pub window: Option<Duration>,
}

/// A program that has been started. It is killed when this goes.
struct Running(Child);

// === impl Workload ===

impl Workload {
    /// The name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Workload::M1 => "M1",
            Workload::M2 => "M2",
        }
    }

    /// The workload with this name.
    pub fn named(name: &str) -> Option<Workload> {
        ALL.into_iter().find(|workload| workload.name().eq_ignore_ascii_case(name))
    }

    /// How many targets there are.
    pub fn targets(self) -> usize {
        match self {
            Workload::M1 => 1,
            Workload::M2 => 200,
        }
    }

    fn shape(self) -> Shape {
        match self {
            Workload::M1 => Shape { counters: 200, series: 500 },
            Workload::M2 => Shape { counters: 20, series: 100 },
        }
    }

    /// Series of all targets.
    pub fn series(self) -> u64 {
        self.targets() as u64 * self.shape().total()
    }

    fn interval(self) -> Duration {
        match self {
            Workload::M1 => Duration::from_secs(2),
            Workload::M2 => Duration::from_secs(15),
        }
    }

    fn warm_up(self) -> Duration {
        match self {
            Workload::M1 => Duration::from_secs(12),
            Workload::M2 => Duration::from_secs(32),
        }
    }

    fn window(self) -> Duration {
        match self {
            Workload::M1 => Duration::from_secs(40),
            Workload::M2 => Duration::from_secs(60),
        }
    }
}

/// Measures all agents at all workloads, in turns.
pub fn measure(
    repository: &Repository,
    options: &Options<'_>,
    weir: Option<&Path>,
    folder: &Path,
) -> Result<Vec<Row>> {
    let mut programs: Vec<(Agent, PathBuf)> = Vec::new();
    for agent in options.agents {
        match agent.program(repository, weir) {
            Ok(program) => programs.push((*agent, program)),
            Err(error) if *agent == Agent::Vmagent => ui::warning(format!("vmagent is left out: {error}")),
            Err(error) => return Err(error),
        }
    }
    let row = |workload, agent| Row { workload, agent, runs: Vec::new(), problems: Vec::new() };
    let pairs =
        options.workloads.iter().flat_map(|workload| programs.iter().map(move |one| (*workload, one)));
    let mut rows: Vec<(Row, &Path)> =
        pairs.map(|(workload, (agent, program))| (row(workload, *agent), program.as_path())).collect();
    for round in 1..=options.runs {
        for (row, program) in &mut rows {
            let name = format!("{} {}", row.workload.name(), row.agent.name());
            let step = Step::start(&name, format!("round {round} of {}", options.runs));
            let folder = folder.join(row.workload.name()).join(row.agent.name());
            let window = options.window.unwrap_or(row.workload.window());
            let (run, problems) = run(row.workload, row.agent, program, &folder, window)?;
            step.done(run.line());
            row.runs.push(run);
            row.problems.extend(problems);
        }
    }
    Ok(rows.into_iter().map(|(row, _program)| row).collect())
}

fn run(
    workload: Workload,
    agent: Agent,
    program: &Path,
    folder: &Path,
    window: Duration,
) -> Result<(Run, Vec<String>)> {
    let base_rss_mib = base(workload, agent, program, folder)?;
    let targets = Targets::start(workload.targets(), workload.shape())?;
    let receiver = Receiver::start()?;
    let (addresses, url) = (targets.addresses(), receiver.url());
    let task = Task { targets: &addresses, interval: workload.interval().as_secs(), url: &url };
    let mut running = Running(agent.start(program, &task, folder)?);

    let started = Instant::now();
    running.watch_until(started + workload.warm_up(), folder)?;
    running.align(workload, &targets, folder)?;
    let (before, received_before) = (running.sample(folder)?, receiver.received());
    let max_rss_mib = running.watch_until(before.at + window, folder)?;
    let (after, received_after) = (running.sample(folder)?, receiver.received());

    targets.stop();
    let problems = settle(&targets, &receiver);
    running.end()?;
    let cpu = |of: fn(&Sample) -> Duration| of(&after).saturating_sub(of(&before)).as_secs_f64();
    let samples = received_after.samples - received_before.samples;
    let wire_bytes = received_after.wire_bytes - received_before.wire_bytes;
    let run = Run {
        window: (after.at - before.at).as_secs_f64(),
        samples,
        user: cpu(|sample| sample.user),
        system: cpu(|sample| sample.system),
        base_rss_mib,
        max_rss_mib: max_rss_mib.max(after.rss_mib),
        end_rss_mib: after.rss_mib,
        peak_rss_mib: after.peak_rss_mib,
        wire_bytes_per_sample: if samples > 0 { wire_bytes as f64 / samples as f64 } else { 0.0 },
    };
    Ok((run, problems))
}

/// What the agent holds when all that it scrapes is a target that exposes nothing.
fn base(workload: Workload, agent: Agent, program: &Path, folder: &Path) -> Result<f64> {
    let targets = Targets::start(1, Shape { counters: 0, series: 0 })?;
    let receiver = Receiver::start()?;
    let (addresses, url) = (targets.addresses(), receiver.url());
    let task = Task { targets: &addresses, interval: workload.interval().as_secs(), url: &url };
    let mut running = Running(agent.start(program, &task, folder)?);
    running.watch_until(Instant::now() + BASE_TIME, folder)?;
    let sample = running.sample(folder)?;
    running.end()?;
    Ok(sample.rss_mib)
}

/// Waits for what was exposed; what is wrong with what was received then.
fn settle(targets: &Targets, receiver: &Receiver) -> Vec<String> {
    let end = Instant::now() + ARRIVE_LIMIT;
    loop {
        let (received, exposed) = (receiver.received(), targets.exposed());
        let is_all = (received.samples, received.sum) == (exposed.samples, exposed.sum);
        if is_all || Instant::now() >= end {
            return problems(&received, &exposed);
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn problems(received: &Received, exposed: &target::Exposed) -> Vec<String> {
    let mut problems = received.problems.clone();
    if exposed.scrapes == 0 {
        problems.push("nothing was scraped".to_owned());
    }
    if received.samples != exposed.samples {
        problems.push(format!("{} samples received, {} exposed", received.samples, exposed.samples));
    } else if received.sum != exposed.sum {
        problems.push("other values were received than were exposed".to_owned());
    }
    problems
}

// === impl Running ===

impl Running {
    fn sample(&mut self, folder: &Path) -> Result<Sample> {
        if let Ok(Some(status)) = self.0.try_wait() {
            let log = folder.join("log");
            return Err(Error::failed(format!(
                "it ended by itself, with {status}; its log is {}",
                log.display()
            )));
        }
        proc::sample(self.0.id())
    }

    /// Looks at its memory until then, and returns the highest.
    fn watch_until(&mut self, end: Instant, folder: &Path) -> Result<f64> {
        let mut highest = 0.0;
        loop {
            highest = self.sample(folder)?.rss_mib.max(highest);
            let now = Instant::now();
            if now >= end {
                return Ok(highest);
            }
            thread::sleep(LOOK_EVERY.min(end - now));
        }
    }

    /// Where there is one target: until three quarters of an interval after a scrape.
    fn align(&mut self, workload: Workload, targets: &Targets, folder: &Path) -> Result<()> {
        if workload.targets() > 1 {
            return Ok(());
        }
        let scrapes = targets.exposed().scrapes;
        let end = Instant::now() + 2 * workload.interval();
        while targets.exposed().scrapes == scrapes && Instant::now() < end {
            self.sample(folder)?;
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(workload.interval() * 3 / 4);
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        let failed = |cause: std::io::Error| Error::failed(format!("cannot stop the agent: {cause}"));
        process::terminate(&self.0).map_err(failed)?;
        // One that does not end is killed: it was measured.
        process::wait_until(&mut self.0, Instant::now() + END_LIMIT).map_err(failed).map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _status = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::{target::Exposed, *};

    #[test]
    fn the_workloads_are_those_that_the_peers_were_measured_with() {
        assert_eq!(ALL.map(Workload::series), [100_000, 400_000]);
        for workload in ALL {
            assert_eq!(Workload::named(&workload.name().to_lowercase()), Some(workload));
            // Whole intervals.
            assert_eq!(workload.window().as_secs() % workload.interval().as_secs(), 0);
        }
    }

    #[test]
    fn what_is_missing_or_changed_is_a_problem() {
        let exposed = Exposed { scrapes: 1, samples: 5, sum: 9 };
        let received = Received { samples: 5, sum: 9, ..Received::default() };
        assert_eq!(problems(&received, &exposed), Vec::<String>::new());
        for wrong in [Received { samples: 6, ..received.clone() }, Received { sum: 8, ..received }] {
            assert_eq!(problems(&wrong, &exposed).len(), 1, "{wrong:?}");
        }
        assert_eq!(problems(&Received::default(), &Exposed::default()).len(), 1);
    }
}
