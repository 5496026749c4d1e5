//! The source: one thread that asks and reads, one that makes rows.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use weir_event::stream::Attributes;
use weir_pipeline::source::{Source, SourceContext, Stopped};
use weir_samples::relabel::{Rule, Rules};

use crate::cache::families::FamilyPool;
use crate::client::Client;
use crate::clock::Clock;
use crate::commit::{Committer, Moment};
use crate::discovery::Discovery;
use crate::engine::{Engine, JobParts, Scraped, Shared, Work};
use crate::metrics::{ScrapeMetrics, TOP_FAMILIES};
use crate::outgoing::Outgoing;
use crate::profile::Profiles;
use crate::settings::{Error, Job, ScrapeSettings};

/// A source looks at least so often whether it is to stop.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// Scrapes that wait to be made rows of. Each holds its target's state, so a target has no second one.
const QUEUE: usize = 4;
/// Threads for what blocks: looking up names, reading files.
const BLOCKING_THREADS: usize = 8;

/// The source `scrape`.
pub struct Scrape {
    settings: ScrapeSettings,
    profiles: Profiles,
    jobs: Vec<JobParts>,
    others: Vec<(usize, Box<dyn Discovery>)>,
    metrics: Arc<ScrapeMetrics>,
    pub(crate) clock: Clock,
}

// === impl Scrape ===

impl Scrape {
    /// A source with these settings. Nothing is read or connected yet.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, and why.
    pub fn new(settings: ScrapeSettings) -> Result<Scrape, Error> {
        for (name, class) in &settings.classes {
            let wrong =
                |problem: &str| Err(Error::Class { class: name.clone(), problem: problem.to_owned() });
            if class.interval.is_zero() || class.timeout.is_some_and(|timeout| timeout.is_zero()) {
                return wrong("an interval or timeout is zero");
            }
            if class.timeout.is_some_and(|timeout| timeout > class.interval) {
                return wrong("the timeout is longer than the interval; make it shorter");
            }
        }
        let mut jobs = Vec::with_capacity(settings.jobs.len());
        for (place, job) in settings.jobs.iter().enumerate() {
            job.check()?;
            if settings.jobs.iter().take(place).any(|other| other.name == job.name) {
                return Err(Error::SameName(job.name.clone()));
            }
            if let Some(class) = &job.class
                && !settings.classes.contains_key(class)
                && !settings.profiles.iter().any(|profile| profile.intervals.contains_key(class))
            {
                let problem =
                    format!("no class and no profile names its class {class:?}; see to its spelling");
                return Err(Error::Job { job: job.name.clone(), problem });
            }
            jobs.push(JobParts {
                client: Client::new(job.http.clone()),
                relabel: rules(job, "relabel_configs", &job.relabel)?,
                metric_relabel: Arc::new(rules(job, "metric_relabel_configs", &job.metric_relabel)?),
                is_over_limit: AtomicBool::new(false),
            });
        }
        let profiles = Profiles::new(&settings.profiles)?;
        Ok(Scrape {
            settings,
            profiles,
            jobs,
            others: Vec::new(),
            metrics: Arc::default(),
            clock: Clock::System,
        })
    }

    /// Lets a job have targets from a discovery too; false where there is no job of this name.
    pub fn add_discovery(&mut self, job: &str, discovery: Box<dyn Discovery>) -> bool {
        let Some(place) = self.settings.jobs.iter().position(|known| known.name == job) else { return false };
        self.others.push((place, discovery));
        true
    }

    /// What it counts, and how its targets are.
    pub fn metrics(&self) -> Arc<ScrapeMetrics> {
        Arc::clone(&self.metrics)
    }
}

impl Source for Scrape {
    fn run(self: Box<Self>, context: SourceContext) {
        let name = Arc::clone(&context.name);
        if let Err(error) = scrape(*self, context) {
            tracing::error!(source = %name, %error, "the source cannot begin; nothing is scraped until a reload");
        }
    }
}

fn rules(job: &Job, list: &'static str, rules: &[Rule]) -> Result<Rules, Error> {
    Rules::new(rules).map_err(|error| Error::Rule { job: job.name.clone(), list, error })
}

/// What the two threads begin with.
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    pub(crate) shared: Arc<Shared>,
    pub(crate) committer: Committer,
    pub(crate) todo: mpsc::Receiver<Work>,
}

/// Puts the parts together. The thread that calls it is the one that is woken for work.
pub(crate) fn assemble(source: Scrape, context: SourceContext) -> Parts {
    let SourceContext { name, cluster, node, mode, outlet, arenas, metrics: counted, .. } = context;
    let (work, todo) = mpsc::channel(QUEUE);
    let attributes = Attributes {
        source: name.as_ref().to_owned(),
        cluster: cluster.as_ref().to_owned(),
        node: node.as_ref().to_owned(),
        ..Attributes::default()
    };
    let external = [("cluster", cluster), ("node", node)];
    let external = external.iter().filter(|(_, value)| !value.is_empty());
    let outgoing = Outgoing::new(outlet, arenas, Arc::clone(&source.metrics), Arc::clone(&counted));
    let committer = Committer::new(outgoing, Arc::clone(&source.metrics));
    let shared = Arc::new(Shared {
        settings: source.settings,
        profiles: source.profiles,
        jobs: source.jobs,
        clock: source.clock,
        mode,
        metrics: source.metrics,
        source: counted,
        families: FamilyPool::new(attributes),
        external: external.map(|(name, value)| ((*name).to_owned(), value.as_ref().to_owned())).collect(),
        permits: Shared::permits(),
        work,
        worker: std::thread::current(),
    });
    let engine = Engine::new(Arc::clone(&shared), source.others);
    Parts { engine, shared, committer, todo }
}

fn scrape(source: Scrape, context: SourceContext) -> std::io::Result<()> {
    let (name, stop) = (Arc::clone(&context.name), context.stop.clone());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let (tell, mut told) = watch::channel(false);
    let Parts { engine, shared, mut committer, mut todo } = assemble(source, context);
    let net = std::thread::Builder::new().name(format!("net-{name}"));
    let net = net.spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = engine.run() => {}
                _ = told.wait_for(|is_over| *is_over) => {}
            }
        });
        // A name that is being looked up, or the like, is not waited for. Tasks end with it, and their work with them.
        runtime.shutdown_background();
        shared.worker.unpark();
    })?;
    while !stop.is_stopped() {
        let worked = match todo.try_recv() {
            Ok(work) => commit(&mut committer, work),
            Err(_) => {
                // Targets that answer together share batches; nothing waits for long.
                let sent = committer.outgoing.send();
                if net.is_finished() && todo.is_empty() {
                    break;
                }
                if sent.is_ok() {
                    std::thread::park_timeout(LONGEST_WAIT);
                }
                sent
            }
        };
        if worked.is_err() {
            tracing::debug!(source = %name, "its pipelines take nothing more");
            break;
        }
    }
    // Where they take nothing more, there is nothing left to do with it.
    let _ = committer.outgoing.send();
    tell.send_replace(true);
    todo.close();
    if net.join().is_err() {
        tracing::error!(source = %name, "a fault while targets were scraped; nothing is scraped until a reload");
    }
    Ok(())
}

/// Makes rows of what came.
pub(crate) fn commit(committer: &mut Committer, work: Work) -> Result<(), Stopped> {
    let scraped = match work {
        Work::Scraped(scraped) => *scraped,
        Work::Ended(mut state, time) => {
            committer.fail(&mut state.cache, time)?;
            return state.report.write_stale(time, committer);
        }
    };
    let Scraped { mut state, staged, report, track_timestamps, status, back } = scraped;
    let before = state.cache.live;
    match staged {
        Some(staged) => {
            let moment = Moment { time: report.time, track_timestamps };
            committer.succeed(&mut state.cache, &staged, moment)?;
        }
        None => committer.fail(&mut state.cache, report.time)?,
    }
    state.report.write(&report, committer)?;
    let is_changed = state.cache.live != before || report.counts.series_added > 0;
    let top = is_changed.then(|| state.cache.families.top(TOP_FAMILIES));
    let series = state.cache.series_count() as u64;
    status.change(|snapshot| {
        snapshot.series = series;
        if let Some(top) = top {
            snapshot.top = top;
        }
    });
    // The task may have ended meanwhile.
    let _ = back.send(state);
    Ok(())
}
