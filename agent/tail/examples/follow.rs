//! Measures what the source alone costs: `follow FILE [RUNS]` reads a CRI log file to its end into an outlet that
//! counts, and prints nanoseconds of CPU per line beside those of only copying the file out of the page cache.
//! `follow --idle DIR SECONDS` follows a tree of pods and prints the share of a core that it takes.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use weir_event::batch::{ArenaPool, Batch, MAX_BATCH_BYTES};
use weir_pipeline::checkpoint::{Checkpoints, Progress};
use weir_pipeline::source::{Mode, Outlet, Source, SourceContext, SourceMetrics, Stop, Stopped};
use weir_tail::{
    Files, FilesSettings, Format, Joining, KubernetesLogs, KubernetesLogsSettings, Multiline, Preset,
    ReadFrom,
};

/// As much as the source reads at once.
const READ_BYTES: usize = 128 * 1024;

#[derive(Clone, Default)]
struct Counting {
    rows: Arc<AtomicU64>,
    batches: Arc<AtomicU64>,
}

impl Outlet for Counting {
    fn send(&mut self, batch: Batch, _: Vec<Progress>) -> Result<(), Stopped> {
        self.rows.fetch_add(batch.rows().len() as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn lost(&mut self, _: &'static str, _: u64, _: Vec<Progress>) {}

    fn outstanding(&self) -> usize {
        0
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn context(mode: Mode, outlet: &Counting, data: &Path, stop: &Stop) -> Result<SourceContext, Box<dyn Error>> {
    Ok(SourceContext {
        name: "bench".into(),
        cluster: "bench".into(),
        node: "bench".into(),
        mode,
        outlet: Box::new(outlet.clone()),
        arenas: ArenaPool::new(),
        checkpoints: Arc::new(Checkpoints::open(data)?),
        stop: stop.clone(),
        metrics: Arc::new(SourceMetrics::default()),
    })
}

/// All presets, where the environment variable `MULTILINE` is set.
fn multiline() -> Option<Multiline> {
    std::env::var_os("MULTILINE")?;
    let presets = vec![Preset::Java, Preset::Python, Preset::Go, Preset::Dotnet];
    let (joining, timeout) = (Joining::Presets(presets), Duration::from_secs(1));
    Some(Multiline { joining, timeout, max_lines: 500, max_bytes: 2 * 1024 * 1024 })
}

fn read_whole(file: &str) -> Result<(), Box<dyn Error>> {
    let data = tempfile::tempdir()?;
    let outlet = Counting::default();
    let source = Files::new(FilesSettings {
        include: vec![file.to_owned()],
        exclude: Vec::new(),
        format: Format::Cri,
        read_from: ReadFrom::Beginning,
        linger: Duration::from_millis(200),
        max_held_bytes: u64::MAX,
        max_held_age: Duration::MAX,
        multiline: multiline(),
    })?;
    let before = cpu();
    Box::new(source).run(context(Mode::Once, &outlet, data.path(), &Stop::default())?);
    let whole = cpu() - before;
    let (lines, copy) = copy_only(file)?;
    let per_line = |time: Duration| time.as_nanos() as f64 / lines as f64;
    println!(
        "{} events in {} batches of {lines} lines: {:.1} ns/line, of which the copy {:.1}, own {:.1}",
        outlet.rows.load(Ordering::Relaxed),
        outlet.batches.load(Ordering::Relaxed),
        per_line(whole),
        per_line(copy),
        per_line(whole.saturating_sub(copy)),
    );
    Ok(())
}

/// The number of lines, and what it costs to read the file in the same way into memory of an arena's size.
fn copy_only(file: &str) -> Result<(u64, Duration), Box<dyn Error>> {
    let file = std::fs::File::open(file)?;
    let mut arena = vec![0; MAX_BATCH_BYTES];
    let mut lines = 0;
    for counts in [true, false] {
        let before = cpu();
        let mut offset = 0;
        for turn in (0..arena.len() / READ_BYTES).cycle() {
            let buffer = &mut arena[turn * READ_BYTES..][..READ_BYTES];
            let read = file.read_at(buffer, offset)?;
            if read == 0 {
                break;
            }
            offset += read as u64;
            if counts {
                lines += memchr::memchr_iter(b'\n', buffer.get(..read).unwrap_or_default()).count() as u64;
            }
        }
        if !counts {
            return Ok((lines, cpu() - before));
        }
    }
    Ok((lines, Duration::ZERO))
}

fn follow(directory: &str, seconds: u64) -> Result<(), Box<dyn Error>> {
    let data = tempfile::tempdir()?;
    let outlet = Counting::default();
    let source = KubernetesLogs::new(KubernetesLogsSettings {
        path: directory.into(),
        exclude_namespaces: Vec::new(),
        exclude_pods: Vec::new(),
        own_pod: None,
        read_from: ReadFrom::Beginning,
        linger: Duration::from_millis(200),
        max_held_bytes: u64::MAX,
        max_held_age: Duration::MAX,
        multiline: multiline(),
    })?;
    let stop = Stop::default();
    let context = context(Mode::Follow, &outlet, data.path(), &stop)?;
    let thread = std::thread::spawn(move || Box::new(source).run(context));
    std::thread::sleep(Duration::from_secs(12));
    let (before, rows) = (cpu(), outlet.rows.load(Ordering::Relaxed));
    std::thread::sleep(Duration::from_secs(seconds));
    let share = (cpu() - before).as_secs_f64() / seconds as f64;
    let rows = outlet.rows.load(Ordering::Relaxed) - rows;
    println!("{:.2} % of a core at {} events/s", share * 100.0, rows / seconds.max(1));
    stop.stop();
    thread.join().map_err(|_| "the source panicked")?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--idle", directory, seconds] => follow(directory, seconds.parse()?),
        [file] => read_whole(file),
        [file, runs] => (0..runs.parse::<u32>()?).try_for_each(|_| read_whole(file)),
        _ => Err("usage: follow FILE [RUNS] | follow --idle DIR SECONDS".into()),
    }
}
