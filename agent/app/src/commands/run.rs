//! `weir run`: the agent's life from its configuration to its last checkpoint.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_buffer::ledger::{Amount, Statement};
use weir_config::Config;
use weir_pipeline::checkpoint::Checkpoints;
use weir_pipeline::sink::{Driving, SinkMetrics};
use weir_pipeline::source::{Mode, Stop};
use weir_pipeline::workers::Workers;

use crate::assemble::{Agent, Driven, Ready, assemble, create_data_dir};
use crate::buffers::Storer;
use crate::commands::ledger;
use crate::{admin, artifacts, output, plugins};

/// Sent to who writes beyond its file size limit; the number is the same on every Linux but MIPS.
const SIGXFSZ: i32 = 25;
/// How often positions and counts become durable.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// After a SIGTERM: how long batches that were read may find room, and documents their sinks. Together below the 20 s
/// after which the agent must be gone.
const WORKERS_PATIENCE: Duration = Duration::from_secs(8);
const SINKS_PATIENCE: Duration = Duration::from_secs(8);
/// In a single run there is no hurry, but a sink that fails for so long without a break fails the run.
const ONCE_SINK_PATIENCE: Duration = Duration::from_secs(10);
const ONCE_PATIENCE: Duration = Duration::from_secs(3600);
/// How long a start waits for the lock of an agent that is going.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How often a single run looks whether it can still end well.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why an agent cannot run.
enum Refusal {
    Config(weir_config::Errors),
    Other(String),
}

/// Runs the agent on a configuration, until it is told to stop, or `once` over what is there.
pub fn run(config_path: &Path, once: bool) -> ExitCode {
    let mode = if once { Mode::Once } else { Mode::Follow };
    match start(config_path, mode) {
        Ok(code) => code,
        Err(Refusal::Config(errors)) => {
            output::complain_of_config(&errors.0);
            ExitCode::FAILURE
        }
        Err(Refusal::Other(message)) => {
            output::complain(&message);
            ExitCode::FAILURE
        }
    }
}

fn start(config_path: &Path, mode: Mode) -> Result<ExitCode, Refusal> {
    let (config, warnings) = weir_config::load(config_path).map_err(Refusal::Config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let data_dir = &config.data_dir;
    create_data_dir(data_dir)
        .map_err(|error| Refusal::Other(format!("cannot make data_dir {}: {error}", data_dir.display())))?;
    let _lock = lock(data_dir)?;
    let checkpoints = Checkpoints::open(data_dir).map_err(|error| Refusal::Other(error.to_string()))?;
    let checkpoints = Arc::new(checkpoints);
    let plugins = plugins::load(&config, Some(&plugins::cache_folder(data_dir))).map_err(Refusal::Config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers.get().min(2))
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(|error| Refusal::Other(format!("cannot start the runtime: {error}")))?;
    let stop = Stop::default();
    let agent = assemble(&config, &plugins, &checkpoints, mode, &stop).map_err(Refusal::Config)?;
    let code = runtime.block_on(live(&config, agent, checkpoints, mode, stop))?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(code)
}

/// One agent per data directory. The lock goes with the process, so a dead agent's stops no start; but one that was
/// killed while it started a child is gone only when the child runs its own program, so this waits a moment.
fn lock(data_dir: &Path) -> Result<File, Refusal> {
    let path = data_dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| Refusal::Other(format!("cannot open {}: {error}", path.display())))?;
    let since = std::time::Instant::now();
    while file.try_lock().is_err() {
        if since.elapsed() >= LOCK_PATIENCE {
            return Err(Refusal::Other(format!(
                "another agent runs with data_dir {}; stop it, or give this one a data_dir of its own",
                data_dir.display()
            )));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(file)
}

async fn live(
    config: &Config,
    agent: Agent,
    checkpoints: Arc<Checkpoints>,
    mode: Mode,
    stop: Stop,
) -> Result<ExitCode, Refusal> {
    let Agent { sources, workers, sinks, state } = agent;
    let lost_before = lost_so_far(&state.ledger.statements());
    let admin = match &config.admin {
        Some(admin) => {
            Some(admin::start(admin.listen, &config.data_dir, Arc::clone(&state)).await.map_err(|error| {
                Refusal::Other(format!("cannot open the admin address {}: {error}", admin.listen))
            })?)
        }
        None => None,
    };
    // A file size limit (ulimit -f) then fails a write instead of ending the process.
    let _file_size_limit = signal(SignalKind::from_raw(SIGXFSZ));
    let (give_up, _) = watch::channel(false);
    let buffers: Vec<_> = sinks.iter().map(|sink| Arc::clone(&sink.buffer)).collect();
    let storer = Storer::start(&buffers)
        .map_err(|error| Refusal::Other(format!("cannot start the thread that writes buffers: {error}")))?;
    let sink_metrics: Vec<_> = sinks.iter().map(|sink| Arc::clone(&sink.metrics)).collect();
    let mut drivers = JoinSet::new();
    for Driven { name, sink, buffer, metrics } in sinks {
        drivers.spawn(sink.driver.drive(Driving { name, buffer, metrics, give_up: give_up.subscribe() }));
    }
    let mut threads = Vec::new();
    for source in sources {
        threads.push(spawn_source(source)?);
    }
    state.readiness.set_ready();
    tracing::info!(config_hash = %config.hash, sources = threads.len(), pipelines = config.pipelines.len(), "weir runs");

    let saver = tokio::spawn(save_forever(Arc::clone(&checkpoints)));
    let poller = tokio::spawn(tell_of_moved_tags(config.clone(), state.plugins.clone()));
    let dead_end = DeadEnd { workers: &workers, sinks: &sink_metrics };
    let patience = wait_for_sources(threads, mode, &stop, dead_end).await;
    state.readiness.set_draining();
    tracing::info!("draining");
    let held = tokio::task::spawn_blocking(move || {
        let held = workers.health().held();
        workers.finish(patience.workers);
        held
    });
    let held = held.await.unwrap_or_default();
    for buffer in &buffers {
        buffer.close();
    }
    finish_sinks(drivers, patience.sinks, mode, &sink_metrics, &give_up).await;
    saver.abort();
    poller.abort();
    // What no sink has taken is safe on disk where there is one, then in the checkpoints.
    let saved = tokio::task::spawn_blocking(move || {
        storer.finish();
        checkpoints.save()
    });
    let saved = saved.await;
    if let Some(admin) = admin {
        admin.stop().await;
    }
    let statements = state.ledger.statements();
    let mut good = all_is_well(&statements, lost_before, &sink_metrics) && held.is_empty();
    if let Ok(Err(error)) = saved {
        tracing::error!(%error, "the last checkpoint is not saved; events are read again at the next start");
        good = false;
    }
    if mode == Mode::Once {
        ledger::print_statements(&statements);
    }
    tracing::info!("stopped");
    Ok(if good || mode == Mode::Follow { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How long the parts may take to finish.
struct Patience {
    workers: Duration,
    sinks: Duration,
}

fn spawn_source(Ready { source, context }: Ready) -> Result<JoinHandle<()>, Refusal> {
    let name = format!("src-{}", context.name);
    let spawned = std::thread::Builder::new().name(name).spawn(move || source.run(context));
    spawned.map_err(|error| Refusal::Other(format!("cannot start a source: {error}")))
}

/// Returns when every source has ended: by itself in a single run, else after a signal.
async fn wait_for_sources(
    threads: Vec<JoinHandle<()>>,
    mode: Mode,
    stop: &Stop,
    dead_end: DeadEnd<'_>,
) -> Patience {
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a source failed; what it had not sent is read at the next start");
            }
        }
    });
    tokio::pin!(joined);
    let hurried = Patience { workers: WORKERS_PATIENCE, sinks: SINKS_PATIENCE };
    tokio::select! {
        _ = &mut joined => match mode {
            Mode::Once => return Patience { workers: ONCE_PATIENCE, sinks: ONCE_PATIENCE },
            Mode::Follow => return hurried,
        },
        () = stop_signal() => tracing::info!("asked to stop"),
        () = dead_end.reached(), if mode == Mode::Once => {
            tracing::error!("the run cannot end well; what is not delivered is read again at the next start");
        }
    }
    stop.stop();
    // A source waits for its pipelines at the most; workers end that wait when they close.
    let _ = tokio::time::timeout(Duration::from_secs(2), joined).await;
    hurried
}

/// What keeps a single run from ending: nobody is there to change a configuration or to make room on a disk.
struct DeadEnd<'a> {
    workers: &'a Workers,
    sinks: &'a [Arc<SinkMetrics>],
}

impl DeadEnd<'_> {
    /// Returns when a pipeline holds a batch, or when a sink failed without a break for too long.
    async fn reached(&self) {
        let failing = sink_fails_for(self.sinks, ONCE_SINK_PATIENCE);
        let held = async {
            while self.workers.health().held().is_empty() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = failing => {}
            () = held => {}
        }
    }
}

/// Returns when one of the sinks has failed for so long without a break.
async fn sink_fails_for(sinks: &[Arc<SinkMetrics>], patience: Duration) {
    let mut since = vec![Duration::ZERO; sinks.len()];
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        for (since, sink) in since.iter_mut().zip(sinks) {
            let fails = sink.failing.load(Ordering::Relaxed) == 1;
            *since = if fails { *since + LOOK_EVERY } else { Duration::ZERO };
            if *since >= patience {
                return;
            }
        }
    }
}

async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// What a tag has moved to runs from the next start on.
async fn tell_of_moved_tags(config: Config, plugins: Vec<Arc<weir_host::Plugin>>) {
    let artifacts::Moved { plugin, digest } = artifacts::moved_tag(&config, &plugins).await;
    tracing::warn!(%plugin, %digest, "the tag of a plugin has moved; the agent uses it after a restart");
}

async fn save_forever(checkpoints: Arc<Checkpoints>) {
    let mut ticks = tokio::time::interval(SAVE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let checkpoints = Arc::clone(&checkpoints);
        let saved = tokio::task::spawn_blocking(move || checkpoints.save()).await;
        let Ok(saved) = saved else { continue };
        match &saved {
            Err(error) if !failing => tracing::error!(%error, "checkpoints are not saved; trying again"),
            Ok(()) if failing => tracing::info!("checkpoints are saved again"),
            _ => {}
        }
        failing = saved.is_err();
    }
}

/// Waits for the sinks to empty their buffers; those that are not done in time give up.
async fn finish_sinks(
    mut drivers: JoinSet<()>,
    patience: Duration,
    mode: Mode,
    sinks: &[Arc<SinkMetrics>],
    give_up: &watch::Sender<bool>,
) {
    let all = async { while drivers.join_next().await.is_some() {} };
    tokio::select! {
        () = all => return,
        () = tokio::time::sleep(patience) => {}
        () = sink_fails_for(sinks, ONCE_SINK_PATIENCE), if mode == Mode::Once => {}
    }
    give_up.send_replace(true);
    let rest = async { while drivers.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(Duration::from_secs(2), rest).await;
    drivers.shutdown().await;
}

/// Nothing lost since the start, nothing undelivered, every account balanced.
fn all_is_well(statements: &[Statement], lost_before: Amount, sinks: &[Arc<SinkMetrics>]) -> bool {
    let delivered = statements.iter().all(|statement| {
        statement.balanced
            && statement.in_flight.events == 0
            && statement.buffered.values().all(|amount| amount.events == 0)
    });
    let given_up = sinks.iter().any(|sink| sink.abandoned.load(Ordering::Relaxed) > 0);
    delivered && lost_so_far(statements) == lost_before && !given_up
}

/// What earlier runs lost is in the accounts too. Of files that were gone before they were read only the bytes are
/// known.
fn lost_so_far(statements: &[Statement]) -> Amount {
    let mut sum = Amount::default();
    for lost in statements.iter().flat_map(|statement| statement.counts.lost.values()) {
        sum += *lost;
    }
    sum
}
