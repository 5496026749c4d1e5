//! The thread that says in the buckets of object stores that this agent lives, and takes over what others left there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use weir_buffer::ack::Acknowledge;
use weir_buffer::disk::Held;
use weir_buffer::memory::MemoryTier;
use weir_buffer::object::ObjectError;
use weir_buffer::presence::{Adopter, Adoption, Content, Heir, Presence};
use weir_pipeline::checkpoint::Checkpoints;

/// How often to look whether something is to be done.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What changed is told so often at the most.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// What is left over is looked for so often.
const TIDIED_EVERY: Duration = Duration::from_secs(3600);
/// The same trouble is told so often.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// How long the end waits for the last word.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

/// One bucket and what of this agent lies there.
#[derive(Clone)]
pub struct Kept {
    /// This agent, there.
    pub presence: Arc<Presence>,
    /// What the keys of those begin with from whom it takes over.
    pub adopt: Option<String>,
    /// The buffers with objects there, by sink.
    pub buffers: BTreeMap<String, Arc<MemoryTier>>,
}

/// Keeps the agent known.
pub struct Keeper {
    shared: Arc<Shared>,
}

struct Shared {
    checkpoints: Arc<Checkpoints>,
    state: Mutex<State>,
    changed: Condvar,
    is_over: AtomicBool,
}

#[derive(Default)]
struct State {
    kept: Vec<Kept>,
    has_ended: bool,
}

/// How it goes with one bucket.
struct Watch {
    kept: Kept,
    adopter: Option<Adopter>,
    told: Option<(Instant, Content)>,
    tidied: Option<Instant>,
    not_before: Option<Instant>,
    said: Option<Instant>,
}

// === impl Keeper ===

impl Keeper {
    /// Starts it with nothing to look after.
    pub fn start(checkpoints: Arc<Checkpoints>) -> io::Result<Keeper> {
        let shared = Arc::new(Shared {
            checkpoints,
            state: Mutex::default(),
            changed: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        // Nobody waits for it longer than its patience at the end: a store that hangs holds nothing up.
        thread::Builder::new().name("keeper".to_owned()).spawn(move || of_thread.work())?;
        Ok(Keeper { shared })
    }

    /// From now on it looks after these.
    pub fn look_after(&self, kept: Vec<Kept>) {
        self.shared.lock().kept = kept;
        self.shared.changed.notify_all();
    }

    /// Ends it, with a last word on what waits.
    pub fn finish(self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.changed.notify_all();
        let until = Instant::now() + LAST_PATIENCE;
        let mut state = self.shared.lock();
        while !state.has_ended && Instant::now() < until {
            state = self.shared.wait(state, LOOK_EVERY);
        }
    }
}

// === impl Shared ===

impl Shared {
    fn work(&self) {
        let mut watches: Vec<Watch> = Vec::new();
        while !self.is_over.load(Ordering::Acquire) {
            let kept = self.lock().kept.clone();
            watches.retain(|watch| kept.iter().any(|kept| Arc::ptr_eq(&kept.presence, &watch.kept.presence)));
            for kept in kept {
                match watches.iter_mut().find(|watch| Arc::ptr_eq(&watch.kept.presence, &kept.presence)) {
                    Some(watch) => watch.kept = kept,
                    None => watches.push(Watch::new(kept)),
                }
            }
            for watch in &mut watches {
                watch.look(&self.checkpoints);
            }
            let state = self.lock();
            if !self.is_over.load(Ordering::Acquire) {
                drop(self.wait(state, LOOK_EVERY));
            }
        }
        for watch in &mut watches {
            // Whoever looks later finds out by itself.
            let _ = watch.tell(&self.checkpoints);
        }
        self.lock().has_ended = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, patience: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
    }
}

// === impl Watch ===

impl Watch {
    fn new(kept: Kept) -> Watch {
        let adopt = kept.adopt.clone();
        let adopter = adopt.map(|root| Adopter::new(Arc::clone(&kept.presence), root));
        Watch { kept, adopter, told: None, tidied: None, not_before: None, said: None }
    }

    fn look(&mut self, checkpoints: &Arc<Checkpoints>) {
        let now = Instant::now();
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return;
        }
        let gone_after = self.kept.presence.gone_after();
        if let Err(error) = self.do_what_is_due(checkpoints, gone_after) {
            self.not_before = Some(Instant::now() + TOLD_EVERY.min(gone_after / 12));
            self.say(&error);
        }
    }

    fn do_what_is_due(
        &mut self,
        checkpoints: &Arc<Checkpoints>,
        gone_after: Duration,
    ) -> Result<(), ObjectError> {
        let is_due = match &self.told {
            None => true,
            Some((told, _)) if told.elapsed() >= gone_after / 3 => true,
            Some((told, _)) if told.elapsed() < TOLD_EVERY.min(gone_after / 6) => false,
            Some((_, content)) => *content != self.content(checkpoints),
        };
        if is_due {
            self.tell(checkpoints)?;
        }
        let heir = Estate { kept: &self.kept, checkpoints };
        if let Some(adopter) = &mut self.adopter {
            adopter.work(&heir)?;
        }
        if self.tidied.is_none_or(|tidied| tidied.elapsed() >= TIDIED_EVERY) && self.kept.presence.is_sure() {
            let named = heir.named();
            self.kept.presence.tidy(&named)?;
            self.kept.presence.tidy_adoptions(&heir, &named)?;
            self.tidied = Some(Instant::now());
        }
        Ok(())
    }

    fn content(&self, checkpoints: &Checkpoints) -> Content {
        checkpoints.content(self.kept.buffers.iter().map(|(sink, buffer)| (sink.as_str(), buffer)))
    }

    fn tell(&mut self, checkpoints: &Arc<Checkpoints>) -> Result<(), ObjectError> {
        let (began, content) = (Instant::now(), self.content(checkpoints));
        let beaten = self.kept.presence.beat(&content);
        let disks = self.kept.buffers.values().filter_map(|buffer| buffer.disk());
        disks.filter_map(|disk| disk.store().objects()).for_each(|objects| objects.note_beat(beaten.is_ok()));
        beaten?;
        self.told = Some((began, content));
        Ok(())
    }

    fn say(&mut self, error: &ObjectError) {
        if self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            return;
        }
        self.said = Some(Instant::now());
        let folder = self.kept.presence.folder();
        tracing::warn!(%folder, %error, "the object store does not hear that this agent lives; it is tried again");
    }
}

/// This agent, as it takes over from others.
struct Estate<'a> {
    kept: &'a Kept,
    checkpoints: &'a Arc<Checkpoints>,
}

impl Estate<'_> {
    /// What its buffers name.
    fn named(&self) -> BTreeSet<Held> {
        let disks = self.kept.buffers.values().filter_map(|buffer| buffer.disk());
        disks.flat_map(|disk| disk.store().held()).collect()
    }
}

impl Heir for Estate<'_> {
    fn buffer(&self, sink: &str) -> Option<Arc<MemoryTier>> {
        self.kept.buffers.get(sink).cloned()
    }

    fn adoptions(&self) -> Vec<Adoption> {
        self.checkpoints.adoptions()
    }

    fn checkpoints(&self) -> Arc<dyn Acknowledge> {
        Arc::clone(self.checkpoints) as Arc<dyn Acknowledge>
    }

    fn save(&self) -> bool {
        self.checkpoints.save().is_ok()
    }

    fn beat(&self) -> Result<(), ObjectError> {
        let buffers = self.kept.buffers.iter().map(|(sink, buffer)| (sink.as_str(), buffer));
        self.kept.presence.beat(&self.checkpoints.content(buffers))
    }
}
