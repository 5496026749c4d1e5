//! Reloading: from a configuration on disk to the next generation, or to the reasons why not.
//!
//! 1. Read one snapshot → schema → load every plugin → try the new pipelines out → put the whole generation to work. What
//!    fails on the way leaves the old generation running.
//! 2. One reload at a time. Whoever asked is told which generation runs now, not what was wished for.
//! 3. What was refused for a cause that may lie elsewhere, such as a registry or a disk, is tried again by itself, less and
//!    less often.
//! 4. What was seen already, taken or refused, is not read again because a file system says that something happened: its
//!    content decides. A person who asks is answered in any case.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use tokio::sync::{mpsc, oneshot};
use weir_config::{Config, Error, Errors};

use crate::live::{Changes, Difference, Live, Trial};
use crate::plugins::{self, Loaded, PluginHost, Plugins};
use crate::{artifacts, artifacts::Moved};

mod retry;
mod watch;

use retry::Retry;
pub use watch::watch;

/// So many may wait for their turn; they are mostly about the same change.
const MOST_WAITING: usize = 8;

/// What asks for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Files may have changed.
    Files,
    /// SIGHUP.
    Signal,
    /// `POST /api/reload`.
    Api,
    /// The tag of a plugin stands for another artefact.
    Tag,
    /// What was refused before is tried again.
    Retry,
}

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Another generation runs.
    Reloaded,
    /// There is nothing new.
    Unchanged,
    /// The old generation runs on, for the reasons given.
    Rejected,
}

/// A reload that is over.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// What became of it.
    pub outcome: Outcome,
    /// What asked for it.
    pub trigger: Trigger,
    /// When it ended.
    #[serde(serialize_with = "as_rfc3339")]
    pub at: SystemTime,
    /// How long it took.
    pub seconds: f64,
    /// Why it was rejected; empty where it was not.
    pub errors: Vec<Error>,
    /// What it changed.
    pub changes: Changes,
}

/// The generation that runs, and the last attempt to put another in its place.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its number: 1 is what the agent started with; 0 is none yet.
    pub generation: u64,
    /// The hash of its configuration's files.
    pub config_hash: String,
    /// Since when it runs.
    #[serde(serialize_with = "as_rfc3339")]
    pub since: SystemTime,
    /// The last attempt to reload, whatever became of it.
    pub last_reload: Option<Attempt>,
    /// The reload that put this generation to work; `None` where it is the one that the agent started with.
    pub last_change: Option<Attempt>,
    /// When what was refused is tried again by itself.
    #[serde(serialize_with = "as_rfc3339_or_null")]
    pub next_try: Option<SystemTime>,
    /// When one last succeeded, or the agent started.
    #[serde(skip)]
    pub last_success: SystemTime,
    /// How many attempts ended how.
    #[serde(skip)]
    pub counts: [(Outcome, u64); 3],
}

/// The status, for everybody to see, and the way to ask for a reload.
#[derive(Debug)]
pub struct Reloads {
    status: Mutex<Status>,
    requests: OnceLock<mpsc::Sender<Request>>,
}

/// Somebody asks for a reload.
#[derive(Debug)]
pub struct Request {
    trigger: Trigger,
    /// The hash of the files that came to rest, for [`Trigger::Files`]: others may be half written.
    settled: Option<String>,
    /// Who wants to know what became of it.
    reply: Option<oneshot::Sender<(Attempt, Status)>>,
}

/// Why nobody can be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// The agent starts or stops, or runs only once.
    NotRunning,
    /// Others wait already.
    Others,
}

/// Brings the next generation to life.
pub struct Reloader {
    path: PathBuf,
    live: Arc<Mutex<Live>>,
    host: PluginHost,
    config: Config,
    plugins: Plugins,
    reloads: Arc<crate::state::AgentState>,
    /// The plugins' artefacts of the configuration that was read last, and everything's content then.
    artifacts: Vec<weir_config::Plugin>,
    seen: Content,
    /// When what was refused is tried again.
    retry: Option<Retry>,
    /// Digests that tags moved to, and that were not taken.
    refused: BTreeSet<Moved>,
}

/// Why a configuration is not taken.
struct Rejection {
    errors: Errors,
    /// The cause may lie outside of the configuration, and may be gone the next time.
    may_pass: bool,
}

/// What a reload would read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    files: Option<String>,
    artifacts: Vec<plugins::FileContent>,
}

// === impl Outcome ===

impl Outcome {
    /// As metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Reloaded => "reloaded",
            Outcome::Unchanged => "unchanged",
            Outcome::Rejected => "rejected",
        }
    }
}

// === impl Attempt ===

impl Attempt {
    fn has_reloaded(&self) -> bool {
        self.outcome == Outcome::Reloaded
    }
}

// === impl Reloads ===

impl Default for Reloads {
    fn default() -> Reloads {
        let outcomes = [Outcome::Reloaded, Outcome::Unchanged, Outcome::Rejected];
        let status = Status {
            generation: 0,
            config_hash: String::new(),
            since: UNIX_EPOCH,
            last_reload: None,
            last_change: None,
            next_try: None,
            last_success: UNIX_EPOCH,
            counts: outcomes.map(|outcome| (outcome, 0)),
        };
        Reloads { status: Mutex::new(status), requests: OnceLock::new() }
    }
}

impl Reloads {
    /// As it is now.
    pub fn status(&self) -> Status {
        self.lock().clone()
    }

    /// The next generation runs.
    pub fn set_generation(&self, config_hash: &str) {
        let mut status = self.lock();
        status.generation += 1;
        config_hash.clone_into(&mut status.config_hash);
        status.since = SystemTime::now();
        status.last_success = status.since;
    }

    /// Asks for a reload; the answer comes when it is over.
    pub fn ask(&self, trigger: Trigger) -> Result<oneshot::Receiver<(Attempt, Status)>, Busy> {
        let (reply, answer) = oneshot::channel();
        self.send(Request { trigger, settled: None, reply: Some(reply) })?;
        Ok(answer)
    }

    /// Asks for a reload and does not wait. What finds no room comes with those that wait already.
    pub fn hint(&self, trigger: Trigger) {
        let _ = self.send(Request { trigger, settled: None, reply: None });
    }

    /// Says that the files have this content now and are at rest.
    pub fn files_settled(&self, hash: String) {
        let _ = self.send(Request { trigger: Trigger::Files, settled: Some(hash), reply: None });
    }

    /// Requests can be made from now on; they come out here.
    pub fn open(&self) -> mpsc::Receiver<Request> {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let _ = self.requests.set(sender);
        receiver
    }

    fn send(&self, request: Request) -> Result<(), Busy> {
        let requests = self.requests.get().ok_or(Busy::NotRunning)?;
        requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Busy::Others,
            mpsc::error::TrySendError::Closed(_) => Busy::NotRunning,
        })
    }

    fn note(&self, attempt: &Attempt, next_try: Option<SystemTime>) {
        let mut status = self.lock();
        status.next_try = next_try;
        for (outcome, count) in &mut status.counts {
            *count += u64::from(*outcome == attempt.outcome);
        }
        if attempt.outcome == Outcome::Unchanged {
            status.last_success = attempt.at;
        }
        if attempt.has_reloaded() {
            status.last_change = Some(attempt.clone());
        }
        status.last_reload = Some(attempt.clone());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Reloader ===

impl Reloader {
    /// For an agent that lives by this configuration.
    pub fn new(
        path: &Path,
        live: Arc<Mutex<Live>>,
        host: PluginHost,
        config: Config,
        plugins: Plugins,
    ) -> Reloader {
        let reloads = live.lock().unwrap_or_else(PoisonError::into_inner).state();
        let mut reloader = Reloader {
            path: path.to_owned(),
            live,
            host,
            artifacts: config.plugins.values().cloned().collect(),
            seen: Content { files: Some(config.hash.clone()), artifacts: Vec::new() },
            config,
            plugins,
            reloads,
            retry: None,
            refused: BTreeSet::new(),
        };
        reloader.seen.artifacts = reloader.loaded_artifacts();
        reloader
    }

    /// Serves requests, one after the other, for as long as somebody can ask; and looks at tags now and then.
    pub async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut moved = Box::pin(self.moved_tag());
        let mut again = Box::pin(retry::wait(self.retry));
        loop {
            let mut moved_to = None;
            let request = tokio::select! {
                request = requests.recv() => request,
                moved = &mut moved => {
                    moved_to = Some(moved.clone());
                    Some(moved_request(&moved))
                }
                () = &mut again => Some(Request { trigger: Trigger::Retry, settled: None, reply: None }),
            };
            let Some(Request { trigger, settled, reply }) = request else { return };
            let attempted = tokio::task::spawn_blocking(move || {
                let attempt = self.attempt(trigger, settled.as_deref());
                (self, attempt)
            });
            let Ok((back, attempt)) = attempted.await else {
                tracing::error!("reloading failed; the configuration that runs stays until a restart");
                return;
            };
            self = back;
            let is_rejected = attempt.as_ref().is_some_and(|attempt| attempt.outcome == Outcome::Rejected);
            self.refused.extend(moved_to.filter(|_| is_rejected));
            if attempt.is_some() {
                again.set(retry::wait(self.retry));
            }
            // Other attempts let the intervals between two looks at a tag go on.
            let is_settled = trigger == Trigger::Retry && !is_rejected;
            if trigger == Trigger::Tag || is_settled || attempt.as_ref().is_some_and(Attempt::has_reloaded) {
                moved.set(self.moved_tag());
            }
            if let (Some(reply), Some(attempt)) = (reply, attempt) {
                let _ = reply.send((attempt, self.reloads.reloads.status()));
            }
        }
    }

    fn moved_tag(&self) -> impl Future<Output = Moved> + use<> {
        let (config, plugins, refused) = (self.config.clone(), self.plugins.clone(), self.refused.clone());
        async move { artifacts::moved_tag(&config, &plugins, &refused).await }
    }

    /// One reload; `None` where there is nothing that was not seen before. Blocks.
    fn attempt(&mut self, trigger: Trigger, settled: Option<&str>) -> Option<Attempt> {
        let began = Instant::now();
        let found = Content::of(&self.path, &self.artifacts);
        // Files that changed again since they were at rest are told of again when they are.
        let is_at_rest = found.files.as_deref() == settled;
        if trigger == Trigger::Files && (found == self.seen || !is_at_rest) {
            return None;
        }
        self.seen = found;
        let result = self.reload();
        let seconds = began.elapsed().as_secs_f64();
        let before = self.retry.take().filter(|_| trigger == Trigger::Retry);
        let (outcome, changes, errors) = match result {
            Ok(Some(changes)) => (Outcome::Reloaded, changes, Vec::new()),
            Ok(None) => (Outcome::Unchanged, Changes::default(), Vec::new()),
            Err(Rejection { errors: Errors(errors), may_pass }) => {
                self.retry = may_pass.then(|| Retry::behind(before));
                (Outcome::Rejected, Changes::default(), errors)
            }
        };
        if outcome != Outcome::Rejected {
            self.refused.clear();
        }
        if outcome == Outcome::Reloaded {
            self.reloads.reloads.set_generation(&self.config.hash);
        }
        let attempt = Attempt { outcome, trigger, at: SystemTime::now(), seconds, errors, changes };
        let known = self.reloads.reloads.status().last_reload;
        self.reloads.reloads.note(&attempt, self.retry.map(|retry| retry.time()));
        self.tell(&attempt, known.as_ref());
        Some(attempt)
    }

    /// The changes, or none where the configuration is the one that runs.
    fn reload(&mut self) -> Result<Option<Changes>, Rejection> {
        let of_itself = |errors| Rejection { errors, may_pass: false };
        let may_pass = |errors| Rejection { errors, may_pass: true };
        let (config, warnings) = weir_config::load(&self.path).map_err(of_itself)?;
        self.artifacts = config.plugins.values().cloned().collect();
        self.seen = Content::of(&self.path, &self.artifacts);
        self.seen.files = Some(config.hash.clone());
        check_fixed(&self.config, &config).map_err(of_itself)?;
        let plugins = self.host.load(&config, &self.plugins).map_err(may_pass)?;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if config.hash == self.config.hash && Difference::of_shared(&self.plugins, &plugins).is_empty() {
            live.retry_held();
            return Ok(None);
        }
        let changes = live.change(&config, &self.plugins, &plugins, Trial::Yes).map_err(may_pass)?;
        drop(live);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        (self.config, self.plugins) = (config, plugins);
        self.seen.artifacts = self.loaded_artifacts();
        Ok(Some(changes))
    }

    fn loaded_artifacts(&self) -> Vec<plugins::FileContent> {
        self.plugins.values().map(Loaded::file_content).collect()
    }

    fn tell(&self, attempt: &Attempt, before: Option<&Attempt>) {
        let (generation, config_hash) = (self.reloads.reloads.status().generation, &self.config.hash);
        let Attempt { outcome, trigger, seconds, errors, changes, .. } = attempt;
        match outcome {
            Outcome::Reloaded => {
                let Changes { sources, pipelines, sinks, plugins } = changes;
                tracing::info!(generation, %config_hash, ?trigger, seconds, %sources, %pipelines, %sinks, %plugins, "reloaded");
            }
            Outcome::Unchanged => tracing::info!(
                generation,
                ?trigger,
                "nothing to reload: the configuration is the one that runs"
            ),
            // Nothing that was not said already.
            Outcome::Rejected if *trigger == Trigger::Retry && is_same(before, errors) => {
                tracing::debug!(generation, "the configuration is still not taken");
            }
            Outcome::Rejected => {
                for error in errors {
                    tracing::error!(generation, "{error}");
                }
                tracing::error!(
                    generation,
                    ?trigger,
                    errors = errors.len(),
                    "the configuration is not taken; the one before runs on"
                );
                if let Some(retry) = self.retry {
                    let next_try = rfc3339(retry.time());
                    tracing::warn!(next_try, "it is tried again by itself, less and less often");
                }
            }
        }
    }
}

/// Whether these errors were told already.
fn is_same(before: Option<&Attempt>, errors: &[Error]) -> bool {
    let told = before.map(|before| before.errors.iter().map(ToString::to_string));
    told.is_some_and(|told| told.eq(errors.iter().map(ToString::to_string)))
}

fn moved_request(moved: &Moved) -> Request {
    let Moved { plugin, digest } = moved;
    tracing::info!(%plugin, %digest, "the tag of a plugin has moved");
    Request { trigger: Trigger::Tag, settled: None, reply: None }
}

// === impl Content ===

impl Content {
    fn of(path: &Path, artifacts: &[weir_config::Plugin]) -> Content {
        Content {
            files: weir_config::hash_of(path),
            artifacts: artifacts.iter().map(plugins::file_content).collect(),
        }
    }
}

/// What cannot change while the agent runs.
fn check_fixed(old: &Config, new: &Config) -> Result<(), Errors> {
    let mut errors = Vec::new();
    let mut refuse = |key: &str, what: String| {
        let message = format!("cannot change while the agent runs; it is {what}");
        let help = Some("restart the agent to change it, or set it back".to_owned());
        errors.push(new.error_at(&[key], message, help));
    };
    if old.data_dir != new.data_dir {
        refuse("data_dir", old.data_dir.display().to_string());
    }
    if old.admin.map(|admin| admin.listen) != new.admin.map(|admin| admin.listen) {
        refuse(
            "admin",
            old.admin.map_or("not there".to_owned(), |admin| format!("{{listen: {}}}", admin.listen)),
        );
    }
    if errors.is_empty() { Ok(()) } else { Err(Errors(errors)) }
}

fn as_rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

fn as_rfc3339_or_null<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(rfc3339).serialize(serializer)
}

/// A time for people and programs.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let mut text = Vec::new();
    weir_event::time::write_rfc3339(&mut text, i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
    String::from_utf8(text).unwrap_or_default()
}
