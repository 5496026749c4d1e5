//! W4: what it costs to follow 250 files, once with 20 lines a second written to each and once with none.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use super::{
    agent::{Bench, NullSink},
    generator::Generator,
    oracle::Expected,
    proc,
    report::{Row, Run, Steady},
    workload::Workload,
};
use crate::{
    error::{Error, IoContext, Result},
    process,
    ui::Step,
};

/// Containers of a busy node.
const FILES: u64 = 250;
/// Lines a second and file.
const RATE: u64 = 20;
/// The writer wakes so often and writes what is due; each file has its turn at its own moment.
const TICK: Duration = Duration::from_millis(10);
/// Lines that lie in each file before the agent starts.
const OLD_LINES: u64 = 20;
/// Between the start and the measured window: reading what is there, loading plugins.
const WARM_UP: Duration = Duration::from_secs(5);
/// Between the last line and the signal: everything must have been read by then.
const SETTLE: Duration = Duration::from_secs(3);
/// An agent that is told to stop has this long to drain.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// One measurement.
pub fn measure(
    workload: Workload,
    bench: &Bench<'_>,
    folder: &Path,
    window: Duration,
    seed: u64,
) -> Result<Row> {
    let busy = workload == Workload::W4Busy;
    let why = format!(
        "{FILES} files, {} for {} s",
        if busy { "20 lines/s each" } else { "all quiet" },
        window.as_secs()
    );
    let step = Step::start(workload.name(), why);
    let pods = folder.join("pods");
    let mut files = create_files(&pods, seed)?;
    let mut command = bench.command_with_fresh_data(&pods)?;
    let started = Instant::now();
    let mut child = command.spawn().while_doing("run", Path::new(command.get_program()))?;
    let watched = watch(&child, busy.then_some(&mut files), window);
    // The agent ends whatever became of the writer.
    let status = stop(&mut child)?;
    let steady = watched?;
    bench.expect_success(status)?;

    let (lines, bytes, expected) = expect(&files)?;
    let (events, problems) = delivered(&bench.stdout()?, workload, &expected);
    let row = Row {
        workload,
        lines,
        bytes,
        events,
        expected_events: workload.expected_events(&expected),
        replays: Vec::new(),
        runs: vec![Run { wall: started.elapsed().as_secs_f64(), ..steady.total }],
        steady: Some(steady.figures),
        instructions: None,
        problems,
    };
    step.done(format!("{:.2} % of a core", steady.figures.cpu_percent));
    Ok(row)
}

/// What was seen of the agent while it ran.
struct Watched {
    figures: Steady,
    total: Run,
}

/// A log that is appended to.
struct Log {
    path: PathBuf,
    file: File,
    generator: Generator,
}

fn create_files(pods: &Path, seed: u64) -> Result<Vec<Log>> {
    let mut logs = Vec::new();
    for index in 0..FILES {
        let folder = pods.join(format!("bench_app-{index}_00000000-0000-4000-8000-{index:012}/app"));
        match fs::remove_dir_all(&folder) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("empty", &folder, &cause));
            }
            _ => {}
        }
        fs::create_dir_all(&folder).while_doing("create", &folder)?;
        let path = folder.join("0.log");
        let file = File::create(&path).while_doing("create", &path)?;
        let mut log = Log { path, file, generator: Generator::new(seed.wrapping_add(index)) };
        log.append(OLD_LINES, true)?;
        logs.push(log);
    }
    Ok(logs)
}

impl Log {
    /// `end` forbids that the last of them is a first part, which nothing would follow.
    fn append(&mut self, lines: u64, end: bool) -> Result<()> {
        let mut text = Vec::new();
        for left in (0..lines).rev() {
            self.generator.line(end && left == 0, &mut text);
        }
        self.file.write_all(&text).while_doing("append to", &self.path)
    }
}

/// Lets the warm-up pass, then measures one window; the writer works through both.
fn watch(child: &Child, logs: Option<&mut Vec<Log>>, window: Duration) -> Result<Watched> {
    let pid = child.id();
    let (before, after) = thread::scope(|scope| {
        let writer = logs.map(|logs| scope.spawn(move || write_steadily(logs, WARM_UP + window)));
        thread::sleep(WARM_UP);
        let before = proc::sample(pid);
        thread::sleep(window);
        let after = proc::sample(pid);
        if let Some(writer) = writer {
            writer.join().map_err(|_| Error::failed("the writer of W4 panicked"))??;
        }
        Ok::<_, Error>((before?, after?))
    })?;
    thread::sleep(SETTLE);
    let last = proc::sample(pid)?;
    let window = after.at - before.at;
    let cpu = after.cpu().saturating_sub(before.cpu());
    Ok(Watched {
        figures: Steady {
            files: FILES,
            window,
            cpu_percent: 100.0 * cpu.as_secs_f64() / window.as_secs_f64(),
            rss_mib: after.rss_mib,
        },
        total: Run {
            wall: 0.0,
            user: last.user.as_secs_f64(),
            system: last.system.as_secs_f64(),
            peak_rss_mib: last.peak_rss_mib,
        },
    })
}

/// Writes each file's next line when it is due. A writer that falls behind catches up, so that the number of
/// lines is exact.
fn write_steadily(logs: &mut [Log], duration: Duration) -> Result<()> {
    let started = Instant::now();
    let total = FILES * RATE * duration.as_secs();
    let mut written = 0;
    while written < total {
        let due = started.elapsed().as_secs_f64() * (FILES * RATE) as f64;
        while written < total && (written as f64) < due {
            let index = (written % FILES) as usize;
            if let Some(log) = logs.get_mut(index) {
                log.append(1, written + FILES >= total)?;
            }
            written += 1;
        }
        thread::sleep(TICK);
    }
    Ok(())
}

fn stop(child: &mut Child) -> Result<std::process::ExitStatus> {
    let gone = |cause: std::io::Error| Error::failed(format!("cannot stop weir: {cause}"));
    if let Some(status) = child.try_wait().map_err(gone)? {
        return Err(Error::failed(format!("weir ended by itself, with {status}")));
    }
    process::terminate(child).map_err(gone)?;
    if let Some(status) = process::wait_until(child, Instant::now() + DRAIN_LIMIT).map_err(gone)? {
        return Ok(status);
    }
    child.kill().map_err(gone)?;
    child.wait().map_err(gone)?;
    Err(Error::failed(format!("weir did not end within {} s of SIGTERM", DRAIN_LIMIT.as_secs())))
}

fn expect(logs: &[Log]) -> Result<(u64, u64, Expected)> {
    let (mut lines, mut bytes, mut expected) = (0, 0, Expected::default());
    for log in logs {
        let text = fs::read(&log.path).while_doing("read", &log.path)?;
        lines += text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        bytes += text.len() as u64;
        expected = expected.and(Expected::of_file(&log.path)?);
    }
    Ok((lines, bytes, expected))
}

fn delivered(stdout: &str, workload: Workload, expected: &Expected) -> (u64, Vec<String>) {
    let wanted = workload.expected_events(expected);
    match NullSink::find(stdout) {
        None => (0, vec!["the null sink printed no report".to_owned()]),
        Some(report) if report.events == wanted => (report.events, Vec::new()),
        Some(report) => {
            (report.events, vec![format!("{} events delivered, {wanted} expected", report.events)])
        }
    }
}
