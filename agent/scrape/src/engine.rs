//! What runs on the thread `net-NAME`: finds targets, and has a task for each.
//!
//! 1. Targets with the same labels and URL are one; what is gone from the lists is scraped no more, and its series become
//!    stale after the second time at which it would have been scraped, as in Prometheus (scrape: `endOfRunStaleness`).
//! 2. A target that comes with the labels of one that is on its way out takes over what is known of its series, so that
//!    nothing becomes stale that goes on: a pod that moved, or an interval that changed.
//! 3. When the source ends nothing becomes stale: it is another agent, or this one after a restart, that goes on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use weir_pipeline::source::Mode;
use weir_samples::relabel::Rules;

use crate::cache::Cache;
use crate::cache::families::FamilyPool;
use crate::client::Client;
use crate::clock::Clock;
use crate::discovery::{Discovery, Files, Found, List, Server, TargetGroup};
use crate::ingest::{ScrapeError, Staged};
use crate::metrics::{ScrapeMetrics, TargetSnapshot, TargetStatus};
use crate::profile::Profiles;
use crate::report::{Report, ReportSeries};
use crate::series_rules::SeriesRules;
use crate::settings::{Job, ScrapeSettings};
use crate::target::{Maker, Target};

mod fetch;
mod run;

pub(crate) use run::Order;

/// Scrapes under way at once. Most of them wait for an answer; what they hold is what they staged.
const MAX_CONCURRENT: usize = 512;

/// What all tasks share.
pub(crate) struct Shared {
    pub(crate) settings: ScrapeSettings,
    pub(crate) profiles: Profiles,
    pub(crate) jobs: Vec<JobParts>,
    pub(crate) clock: Clock,
    pub(crate) mode: Mode,
    pub(crate) metrics: Arc<ScrapeMetrics>,
    pub(crate) source: Arc<weir_pipeline::source::SourceMetrics>,
    pub(crate) families: Arc<FamilyPool>,
    /// Labels of the agent: the cluster's and the node's name.
    pub(crate) external: Vec<(String, String)>,
    /// Scrapes that may be under way.
    pub(crate) permits: Semaphore,
    /// Work for the source's thread, which is woken for it.
    pub(crate) work: mpsc::Sender<Work>,
    pub(crate) worker: std::thread::Thread,
}

/// What is made of a job once.
pub(crate) struct JobParts {
    pub(crate) client: Client,
    pub(crate) relabel: Rules,
    pub(crate) metric_relabel: Arc<Rules>,
    /// Whether it has more targets than it may have.
    pub(crate) is_over_limit: AtomicBool,
}

/// What is known of a target's series. One at a time has it: the target's task, or the source's thread while it writes
/// rows.
pub(crate) struct TargetState {
    pub(crate) cache: Cache,
    pub(crate) report: ReportSeries,
    pub(crate) rules: SeriesRules,
}

/// Something for the source's thread.
pub(crate) enum Work {
    /// A scrape.
    Scraped(Box<Scraped>),
    /// A target is gone: all of its series end at this time, in milliseconds since the Unix epoch.
    Ended(Box<TargetState>, i64),
}

/// A scrape, to be committed.
pub(crate) struct Scraped {
    pub(crate) state: Box<TargetState>,
    /// What it brought; `None` where it failed.
    pub(crate) staged: Option<Staged>,
    pub(crate) report: Report,
    pub(crate) track_timestamps: bool,
    pub(crate) status: Arc<TargetStatus>,
    /// Where the state is waited for.
    pub(crate) back: tokio::sync::oneshot::Sender<Box<TargetState>>,
}

/// Finds targets and has tasks for them.
pub(crate) struct Engine {
    shared: Arc<Shared>,
    changed: Arc<Notify>,
    discoveries: Vec<Vec<Source>>,
    finding: Vec<JoinHandle<()>>,
    running: HashMap<(usize, u64), Running>,
    /// Targets that are gone and whose series are not stale yet, by job and labels.
    ending: HashMap<(usize, Vec<u8>), Running>,
}

/// One discovery of a job.
struct Source {
    list: Arc<List>,
    version: u64,
    waiting: Option<Box<dyn Discovery>>,
}

/// A target's task.
struct Running {
    target: Arc<Target>,
    order: watch::Sender<Order>,
    task: JoinHandle<Option<Box<TargetState>>>,
    status: Arc<TargetStatus>,
}

// === impl Engine ===

impl Engine {
    /// For the jobs of `shared` with these discoveries of others, by the job's place.
    pub(crate) fn new(shared: Arc<Shared>, others: Vec<(usize, Box<dyn Discovery>)>) -> Engine {
        let source = |discovery| Source { list: Arc::default(), version: 0, waiting: Some(discovery) };
        let mut discoveries: Vec<Vec<Source>> = Vec::new();
        for job in &shared.settings.jobs {
            let files = job
                .files
                .iter()
                .map(|files| source(Box::new(Files::new(files.clone())) as Box<dyn Discovery>));
            let servers = job.servers.iter().map(|server| source(Box::new(Server::new(server.clone()))));
            discoveries.push(files.chain(servers).collect());
        }
        for (job, discovery) in others {
            if let Some(sources) = discoveries.get_mut(job) {
                sources.push(source(discovery));
            }
        }
        Engine {
            shared,
            changed: Arc::new(Notify::new()),
            discoveries,
            finding: Vec::new(),
            running: HashMap::new(),
            ending: HashMap::new(),
        }
    }

    /// Runs for ever, or in [`Mode::Once`] until every target was scraped.
    pub(crate) async fn run(mut self) {
        for source in self.discoveries.iter_mut().flatten() {
            let (list, changed) = (Arc::clone(&source.list), Arc::clone(&self.changed));
            let found = Found::new(list, changed, Arc::clone(&self.shared.metrics));
            if let Some(discovery) = source.waiting.take() {
                self.finding.push(tokio::spawn(discovery.run(found)));
            }
        }
        for job in 0..self.shared.settings.jobs.len() {
            self.sync(job);
        }
        while self.shared.mode == Mode::Follow || self.is_waiting() {
            self.changed.notified().await;
            self.look();
        }
        self.finding.iter().for_each(JoinHandle::abort);
        for (_, running) in self.running.drain() {
            let _ = running.task.await;
        }
    }

    /// Whether a discovery has not said a word yet.
    fn is_waiting(&self) -> bool {
        self.discoveries.iter().flatten().any(|source| source.list.groups().is_none())
    }

    /// Takes over what discoveries have found.
    fn look(&mut self) {
        for job in 0..self.discoveries.len() {
            let Some(sources) = self.discoveries.get_mut(job) else { continue };
            let mut is_new = false;
            for source in sources {
                let version = source.list.version();
                is_new |= version != source.version;
                source.version = version;
            }
            if is_new {
                self.sync(job);
            }
        }
    }

    /// Sees to it that just the targets of a job's lists have tasks.
    fn sync(&mut self, place: usize) {
        let shared = Arc::clone(&self.shared);
        let (Some(job), Some(parts)) = (shared.settings.jobs.get(place), shared.jobs.get(place)) else {
            return;
        };
        let mut wanted = self.targets(place, job, parts);
        let mut known = HashSet::new();
        wanted.retain(|target| known.insert(target.hash));
        let is_over_limit = job.target_limit > 0 && wanted.len() > job.target_limit;
        if is_over_limit && !parts.is_over_limit.load(Ordering::Relaxed) {
            let (count, limit) = (wanted.len(), job.target_limit);
            tracing::warn!(
                job = job.name,
                count,
                limit,
                "more targets than target_limit; all of their scrapes fail"
            );
        }
        parts.is_over_limit.store(is_over_limit, Ordering::Relaxed);
        self.ending.retain(|_, running| !running.task.is_finished());
        let is_gone = |key: &(usize, u64)| key.0 == place && !known.contains(&key.1);
        let gone: Vec<(usize, u64)> = self.running.keys().filter(|key| is_gone(key)).copied().collect();
        for key in gone {
            let Some(running) = self.running.remove(&key) else { continue };
            shared.metrics.remove_target(&running.status);
            running.order.send_replace(Order::End);
            self.ending.insert((place, running.target.labels.clone()), running);
        }
        for target in wanted {
            let key = (place, target.hash);
            if !self.running.contains_key(&key) {
                let running = self.start(Arc::new(target), job);
                self.running.insert(key, running);
            }
        }
    }

    fn targets(&self, place: usize, job: &Job, parts: &JobParts) -> Vec<Target> {
        let shared = &self.shared;
        let found =
            self.discoveries.get(place).into_iter().flatten().filter_map(|source| source.list.groups());
        let found: Vec<Arc<[TargetGroup]>> = found.collect();
        let maker = Maker { settings: &shared.settings, place, job, rules: &parts.relabel };
        let mut targets = Vec::new();
        for group in job.groups.iter().chain(found.iter().flat_map(|groups| groups.iter())) {
            maker.make(group, &mut targets, |address, error| {
                shared.metrics.invalid_targets.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(job = job.name, address, %error, "a target that was found is none");
            });
        }
        targets
    }

    fn start(&mut self, target: Arc<Target>, job: &Job) -> Running {
        let before = self.ending.remove(&(target.job, target.labels.clone()));
        let before = before.map(|running| {
            running.order.send_replace(Order::HandOver);
            running.task
        });
        let label = |name| target.labels().get(name).unwrap_or_default().to_owned();
        let status = TargetStatus::new(TargetSnapshot {
            job: label("job"),
            instance: label("instance"),
            url: target.shown_url(),
            class: target.pace.class.as_ref().to_owned(),
            interval: target.pace.interval,
            ..TargetSnapshot::default()
        });
        self.shared.metrics.add_target(&status);
        let (order, orders) = watch::channel(Order::Run);
        let shared = Arc::clone(&self.shared);
        let scraper = run::Scraper::new(shared, Arc::clone(&target), job, Arc::clone(&status), orders);
        let task = tokio::spawn(scraper.run(before));
        Running { target, order, task, status }
    }
}

// === impl Shared ===

impl Shared {
    /// As many permits as scrapes may be under way.
    pub(crate) fn permits() -> Semaphore {
        Semaphore::new(MAX_CONCURRENT)
    }

    /// Nothing known yet of a target's series.
    pub(crate) fn new_state(&self, target: &Target, job: &Job) -> Option<Box<TargetState>> {
        let metric_relabel = Arc::clone(&self.jobs.get(target.job)?.metric_relabel);
        let rules = SeriesRules {
            target: target.labels.clone(),
            external: self.external.clone(),
            honor_labels: job.honor_labels,
            rules: metric_relabel,
            label_limit: job.label_limit,
            label_name_length_limit: job.label_name_length_limit,
            label_value_length_limit: job.label_value_length_limit,
        };
        let shared_labels = rules.shared_labels();
        let report = ReportSeries::new(weir_samples::labels::LabelSet::new(&shared_labels), &self.families);
        let cache = Cache::new(shared_labels, Arc::clone(&self.families));
        Some(Box::new(TargetState { cache, report, rules }))
    }

    /// Hands work to the source's thread; false when it takes nothing more.
    pub(crate) async fn hand_over(&self, work: Work) -> bool {
        let is_sent = self.work.send(work).await.is_ok();
        self.worker.unpark();
        is_sent
    }

    /// An error that every scrape of this target meets.
    pub(crate) fn forced_error(&self, target: &Target) -> Option<ScrapeError> {
        let parts = self.jobs.get(target.job)?;
        parts.is_over_limit.load(Ordering::Relaxed).then(|| ScrapeError {
            failure: crate::metrics::Failure::TargetLimit,
            message: "the job has more targets than target_limit; raise it or keep fewer by relabel_configs"
                .to_owned(),
        })
    }
}
