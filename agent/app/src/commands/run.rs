//! `weir run`: the agent's life from its configuration to its last checkpoint.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use weir_buffer::ledger::{Amount, Statement};
use weir_config::Config;
use weir_pipeline::checkpoint::Checkpoints;
use weir_pipeline::sink::SinkMetrics;
use weir_pipeline::source::Mode;

use crate::commands::ledger;
use crate::live::{Live, Surroundings, Trial};
use crate::plugins::{PluginHost, Plugins};
use crate::reload::{Reloader, Trigger};
use crate::state::AgentState;
use crate::{admin, memory, output, plugins, reload};

/// Sent to who writes beyond its file size limit; the number is the same on every Linux but MIPS.
const SIGXFSZ: i32 = 25;
/// After this a start is over and the memory that it needed is given back.
const START_SETTLES: Duration = Duration::from_secs(2);
/// How often positions and counts become durable.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// After a SIGTERM: how long batches that were read may find room, and documents their sinks. Together below the 20 s
/// after which the agent must be gone.
const WORKERS_PATIENCE: Duration = Duration::from_secs(8);
const SINKS_PATIENCE: Duration = Duration::from_secs(8);
/// Where what is left then goes to an object store, that needs its time too.
const SINKS_PATIENCE_BEFORE_DRAIN: Duration = Duration::from_secs(3);
/// In a single run there is no hurry, but a sink that fails for so long without a break fails the run. An answer that is
/// awaited may be a good one, and a cold server takes long over its first, so that time counts only up to the second.
const ONCE_SINK_PATIENCE: Duration = Duration::from_secs(10);
const ONCE_ANSWER_PATIENCE: Duration = Duration::from_secs(300);
const ONCE_PATIENCE: Duration = Duration::from_secs(3600);
/// How long a start waits for the lock of an agent that is going.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How often a single run looks whether it can still end well.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often to look whether the last sink has ended.
const LOOK_AT_END: Duration = Duration::from_millis(2);
/// How often to see to parts that end by themselves.
const TIDY_EVERY: Duration = Duration::from_millis(500);

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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers.get().min(2))
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(|error| Refusal::Other(format!("cannot start the runtime: {error}")))?;
    let signals = {
        let _inside = runtime.enter();
        Signals::catch(mode).map_err(|error| Refusal::Other(format!("cannot catch signals: {error}")))?
    };
    let _lock = lock(data_dir)?;
    let checkpoints = Checkpoints::open(data_dir).map_err(|error| Refusal::Other(error.to_string()))?;
    let code = runtime.block_on(live_until_told(config_path, config, signals, Arc::new(checkpoints), mode));
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// Loads the plugins, which may take long the first time, and runs; a signal ends either.
async fn live_until_told(
    config_path: &Path,
    config: Config,
    mut signals: Signals,
    checkpoints: Arc<Checkpoints>,
    mode: Mode,
) -> Result<ExitCode, Refusal> {
    let loading = tokio::task::spawn_blocking(move || {
        let cache = plugins::cache_folder(&config.data_dir);
        let mut host = PluginHost::new(&config, Some(&cache))?;
        let plugins = host.load(&config, &Plugins::new())?;
        Ok((config, host, plugins))
    });
    let loaded = tokio::select! {
        loaded = loading => loaded.map_err(|error| Refusal::Other(format!("a fault in the agent: {error}")))?,
        () = signals.stop() => {
            tracing::info!("asked to stop before the start was over; nothing was read");
            return Ok(if mode == Mode::Once { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
    };
    let (config, host, plugins) = loaded.map_err(Refusal::Config)?;
    let runtime = tokio::runtime::Handle::current();
    let surroundings = Surroundings { checkpoints: Arc::clone(&checkpoints), runtime, mode };
    let live = Live::new(&config, surroundings)
        .map_err(|error| Refusal::Other(format!("cannot start the agent's threads: {error}")))?;
    let reloading = Reloading { path: config_path.to_owned(), host, config, plugins };
    run_live(live, reloading, signals, checkpoints, mode).await
}

/// What others send the process. They are caught before anything else is begun: until then a signal ends the agent
/// without a word, and as a container's first process it does not get it at all.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Reloads; a single run ends by it, as it does when its terminal goes.
    hang_up: Option<Signal>,
    /// A file size limit (`ulimit -f`) then fails a write instead of ending the process.
    _file_size_limit: Signal,
}

impl Signals {
    /// Must be called inside a runtime.
    fn catch(mode: Mode) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: (mode == Mode::Follow).then(|| signal(SignalKind::hangup())).transpose()?,
            _file_size_limit: signal(SignalKind::from_raw(SIGXFSZ))?,
        })
    }

    /// Returns when the agent is asked to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
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

/// What the first generation is made of, and what the next ones are found with.
struct Reloading {
    path: PathBuf,
    host: PluginHost,
    config: Config,
    plugins: Plugins,
}

async fn run_live(
    live: Live,
    reloading: Reloading,
    mut signals: Signals,
    checkpoints: Arc<Checkpoints>,
    mode: Mode,
) -> Result<ExitCode, Refusal> {
    let state = live.state();
    let lost_before = lost_so_far(&state.ledger.statements());
    let Reloading { path, host, config, plugins } = reloading;
    let admin = match &config.admin {
        Some(admin) => {
            Some(admin::start(admin.listen, &config.data_dir, Arc::clone(&state)).await.map_err(|error| {
                Refusal::Other(format!("cannot open the admin address {}: {error}", admin.listen))
            })?)
        }
        None => None,
    };
    let live = Arc::new(Mutex::new(live));
    // Source → stages → sinks: the first generation.
    let (config, plugins) = blocking(&live, move |live| {
        let changed = live.change(&config, &Plugins::new(), &plugins, Trial::No);
        changed.map(|_| (config, plugins))
    })
    .await?
    .map_err(Refusal::Config)?;
    state.reloads.set_generation(&config.hash);
    state.readiness.set_ready();
    if let Some(drain) = lock_live(&live).drain() {
        state.set_drain(drain);
    }
    let (hash, sources, pipelines) = (&config.hash, config.sources.len(), config.pipelines.len());
    tracing::info!(config_hash = %hash, sources, pipelines, "weir runs");

    let mut helpers = JoinSet::new();
    helpers.spawn(save_forever(Arc::clone(&checkpoints)));
    helpers.spawn(tidy_forever(Arc::clone(&live)));
    if mode == Mode::Follow {
        helpers.spawn(give_back_memory());
        let requests = state.reloads.open();
        if let Err(error) = reload::watch(&path, &state) {
            tracing::warn!(%error, "cannot watch the configuration; reload with SIGHUP or POST /api/reload");
        }
        helpers.spawn(reload_on_signal(signals.hang_up.take(), Arc::clone(&state)));
        helpers.spawn(Reloader::new(&path, Arc::clone(&live), host, config, plugins).serve(requests));
    }
    let patience = wait_for_the_end(&live, &state, &mut signals, mode).await;
    state.readiness.set_draining();
    tracing::info!("draining");
    let held = blocking(&live, move |live| {
        live.stop_sources();
        live.finish_workers(patience.workers)
    });
    let held = held.await.unwrap_or_default();
    let drains = mode == Mode::Follow && lock_live(&live).drains_on_stop();
    let patience = if drains { patience.sinks.min(SINKS_PATIENCE_BEFORE_DRAIN) } else { patience.sinks };
    finish_sinks(&live, patience, mode).await;
    helpers.abort_all();
    // What no sink has taken is safe on disk where there is one, then in the checkpoints.
    let saved = blocking(&live, |live| (live.finish(), live.sink_metrics())).await?;
    if let Some(admin) = admin {
        admin.stop().await;
    }
    let statements = state.ledger.statements();
    let (saved, sinks) = saved;
    let mut good = all_is_well(&statements, lost_before, &sinks) && held.is_empty();
    if let Err(error) = saved {
        tracing::error!(%error, "the last checkpoint is not saved; events are read again at the next start");
        good = false;
    }
    if mode == Mode::Once {
        ledger::print_statements(&statements);
    }
    tracing::info!("stopped");
    Ok(if good || mode == Mode::Follow { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Works with the agent's parts off the reactor.
async fn blocking<T: Send + 'static>(
    live: &Arc<Mutex<Live>>,
    work: impl FnOnce(&mut Live) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let live = Arc::clone(live);
    let done = tokio::task::spawn_blocking(move || work(&mut lock_live(&live))).await;
    done.map_err(|error| Refusal::Other(format!("a fault in the agent: {error}")))
}

fn lock_live(live: &Mutex<Live>) -> MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long the parts may take to finish.
struct Patience {
    workers: Duration,
    sinks: Duration,
}

/// Returns when the agent is to end: after a signal, or in a single run when all is read, or when it cannot end well.
async fn wait_for_the_end(
    live: &Arc<Mutex<Live>>,
    state: &AgentState,
    signals: &mut Signals,
    mode: Mode,
) -> Patience {
    let hurried = Patience { workers: WORKERS_PATIENCE, sinks: SINKS_PATIENCE };
    let all_read = async {
        while !lock_live(live).sources_have_ended() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let sinks = lock_live(live).sink_metrics();
    tokio::select! {
        () = all_read, if mode == Mode::Once => {
            return Patience { workers: ONCE_PATIENCE, sinks: ONCE_PATIENCE };
        }
        () = signals.stop() => tracing::info!("asked to stop"),
        () = dead_end(state, &sinks), if mode == Mode::Once => {
            tracing::error!("the run cannot end well; what is not delivered waits in a disk buffer or is read again at the next start");
        }
    }
    hurried
}

/// What keeps a single run from ending, for nobody is there to change a configuration or to make room on a disk: returns
/// when a pipeline holds a batch, or when a sink failed without a break for too long.
async fn dead_end(state: &AgentState, sinks: &[Arc<SinkMetrics>]) {
    let held = async {
        while state.health.held().is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = sink_fails(sinks) => {}
        () = held => {}
    }
}

/// Returns when one of the sinks has failed for too long without a break.
async fn sink_fails(sinks: &[Arc<SinkMetrics>]) {
    let mut failures = vec![Failing::default(); sinks.len()];
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        for (failing, sink) in failures.iter_mut().zip(sinks) {
            if failing.look(sink) {
                return;
            }
        }
    }
}

/// For how long a sink has failed without a break.
#[derive(Clone, Default)]
struct Failing {
    /// In all.
    since: Duration,
    /// While no answer was awaited.
    idle: Duration,
}

impl Failing {
    /// Looks once more, [`LOOK_EVERY`] after the last time; says whether that is too long.
    fn look(&mut self, sink: &SinkMetrics) -> bool {
        if sink.failing.load(Ordering::Relaxed) == 0 {
            *self = Failing::default();
            return false;
        }
        self.since += LOOK_EVERY;
        if sink.trying.load(Ordering::Relaxed) == 0 {
            self.idle += LOOK_EVERY;
        }
        self.idle >= ONCE_SINK_PATIENCE || self.since >= ONCE_ANSWER_PATIENCE
    }
}

/// Reloads on every SIGHUP.
async fn reload_on_signal(hang_up: Option<Signal>, state: Arc<AgentState>) {
    let Some(mut hang_up) = hang_up else { return };
    while hang_up.recv().await.is_some() {
        state.reloads.hint(Trigger::Signal);
    }
}

/// Gives back what the start needed, when everything that was started has settled.
async fn give_back_memory() {
    tokio::time::sleep(START_SETTLES).await;
    let _ = tokio::task::spawn_blocking(memory::give_back).await;
}

/// Sees to parts that end by themselves.
async fn tidy_forever(live: Arc<Mutex<Live>>) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        if blocking(&live, Live::tidy).await.is_err() {
            return;
        }
    }
}

/// Saves once a second, and at once when somebody waits for it: whoever pushed events hears then that they are durable.
/// What comes while one save is under way shares the next.
async fn save_forever(checkpoints: Arc<Checkpoints>) {
    let mut ticks = tokio::time::interval(SAVE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let wanted = Arc::new(Notify::new());
    let notify = Arc::clone(&wanted);
    checkpoints.on_wanted(Arc::new(move || notify.notify_one()));
    let mut failing = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // While that fails, it is tried once a second.
            () = wanted.notified(), if !failing => {}
        }
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
async fn finish_sinks(live: &Arc<Mutex<Live>>, patience: Duration, mode: Mode) {
    let (sinks, give_up) = {
        let live = lock_live(live);
        (live.sink_metrics(), live.give_up())
    };
    let all = async {
        while !lock_live(live).sinks_have_ended() {
            tokio::time::sleep(LOOK_AT_END).await;
        }
    };
    tokio::pin!(all);
    tokio::select! {
        () = &mut all => return,
        () = tokio::time::sleep(patience) => {}
        () = sink_fails(&sinks), if mode == Mode::Once => {}
    }
    give_up.send_replace(true);
    let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
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

/// Makes the data directory, for the agent alone.
fn create_data_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many seconds a single run gives up a sink that is as this says in each of its tenths.
    fn given_up_after(seconds: u32, is: impl Fn(u32) -> (bool, bool)) -> Option<u32> {
        let (sink, mut failing) = (SinkMetrics::default(), Failing::default());
        (0..seconds * 10).find_map(|tenth| {
            let (fails, tries) = is(tenth);
            sink.failing.store(fails.into(), Ordering::Relaxed);
            sink.trying.store(tries.into(), Ordering::Relaxed);
            failing.look(&sink).then_some((tenth + 1) / 10)
        })
    }

    #[test]
    fn a_single_run_waits_for_answers_longer_than_for_a_sink_that_is_not_there() {
        assert_eq!(given_up_after(600, |_| (true, false)), Some(10));
        assert_eq!(given_up_after(600, |_| (true, true)), Some(300));
        // A minute for an answer, then a pause of a second.
        assert_eq!(given_up_after(600, |tenth| (true, tenth % 610 < 600)), Some(300));
        // It takes something now and then.
        assert_eq!(given_up_after(600, |tenth| (tenth % 90 != 0, false)), None);
        assert_eq!(given_up_after(600, |tenth| (false, tenth % 2 == 0)), None);
    }
}
