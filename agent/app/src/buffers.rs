//! The buffers in front of the sinks: each is made when its sink is first configured, with what lies on its disk, and
//! kept safe while the agent runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use weir_buffer::disk::filesystem::OperatingSystem;
use weir_buffer::disk::{StoreError, Unnamed};
use weir_buffer::ledger::Ledger;
use weir_buffer::memory::{DEFAULT_BOUND, Disk, DiskSettings, MemoryTier, Order, Policy, WhenFull};
use weir_config::{Buffer, Config, Sink};
use weir_pipeline::checkpoint::Checkpoints;

use crate::keeper::{Keeper, Kept};
use crate::mover::{Drain, Mover};
use crate::objects::{Stores, WantedStore};

/// How often to look for what waited too long.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long the end waits for the disk: an agent that is told to end has 20 s for everything.
const LAST_PATIENCE: Duration = Duration::from_secs(8);

/// How long files may go to object stores when the agent is stopped: within the 20 s that it has for all.
const DRAIN_PATIENCE: Duration = Duration::from_secs(6);

/// What a sink's buffer may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes on disk; `None` without one.
    pub disk: Option<u64>,
    /// Where goes what the disk has no room for.
    pub object_store: Option<WantedStore>,
    /// What it does beside that.
    pub policy: Policy,
}

/// What the buffer of a sink may hold by the configuration.
pub fn wanted(config: &Config, sink: &Sink) -> Wanted {
    let configured = sink.buffer.as_ref().and_then(|buffer| config.buffers.get(buffer));
    Wanted {
        memory: configured.map_or(DEFAULT_BOUND, |buffer| buffer.memory.bytes()),
        disk: configured.map(|buffer| buffer.disk.bytes()),
        object_store: configured
            .and_then(|buffer| buffer.object_store.as_ref())
            .map(|store| WantedStore::new(config, store)),
        policy: configured.map(policy).unwrap_or_default(),
    }
}

fn policy(buffer: &Buffer) -> Policy {
    Policy {
        when_full: match buffer.when_full {
            weir_config::WhenFull::Block => WhenFull::Block,
            weir_config::WhenFull::DropOldest => WhenFull::DropOldest,
        },
        max_age: buffer.max_age,
        order: match buffer.order {
            weir_config::Order::OldestFirst => Order::OldestFirst,
            weir_config::Order::NewestFirst => Order::NewestFirst,
        },
        replay_rate: buffer.replay_rate.map(|rate| rate.bytes()),
    }
}

/// All buffers, by the names of their sinks.
pub struct Buffers {
    checkpoints: Arc<Checkpoints>,
    ledger: Arc<Ledger>,
    open: BTreeMap<String, Arc<MemoryTier>>,
    /// Sinks without a buffer here for which events lie on disk all the same; they are in the accounts.
    orphans: BTreeSet<String>,
    /// Whether the disk was looked through for them.
    has_looked: bool,
    storer: Option<Storer>,
    mover: Option<Mover>,
    keeper: Option<Keeper>,
    /// Made with the first buffer that has an object store.
    stores: Option<Stores>,
    /// By sink, as they are now.
    object_stores: BTreeMap<String, WantedStore>,
}

// === impl Buffers ===

impl Buffers {
    /// Starts to keep buffers safe; there is none yet.
    pub fn start(checkpoints: Arc<Checkpoints>, ledger: Arc<Ledger>) -> io::Result<Buffers> {
        let storer = Some(Storer::start()?);
        let mover = Some(Mover::start(Arc::clone(&checkpoints))?);
        let keeper = Some(Keeper::start(Arc::clone(&checkpoints))?);
        let (open, orphans, stores, object_stores) = Default::default();
        Ok(Buffers {
            checkpoints,
            ledger,
            open,
            orphans,
            has_looked: false,
            storer,
            mover,
            keeper,
            stores,
            object_stores,
        })
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The buffer of this name. Once made it is kept: a disk that was opened has an owner.
    pub fn get(
        &mut self,
        config: &Config,
        name: &str,
        wanted: &Wanted,
    ) -> Result<Arc<MemoryTier>, StoreError> {
        if wanted.object_store.is_some() && self.stores.is_none() {
            let path = config.data_dir.clone();
            let io = |error| StoreError::Io { action: "make the identity in", path, error };
            self.stores = Some(Stores::new(&config.data_dir, self.checkpoints.is_complete()).map_err(io)?);
        }
        let tier = match self.open.get(name) {
            Some(tier) => Arc::clone(tier),
            None => MemoryTier::new(wanted.memory, Arc::clone(&self.ledger)),
        };
        if tier.disk().is_none() {
            // One that is configured without a disk has one all the same while events of it lie there.
            let stored = self.checkpoints.stored(name);
            if wanted.disk.is_some() || !stored.is_empty() {
                tier.put_disk(self.open_disk(config, name, wanted.disk.unwrap_or(0))?);
                // What lies there may come back at once.
                self.set_objects(name, &tier, wanted);
            }
        }
        self.storer.iter().for_each(|storer| storer.is_told_by(&tier));
        self.open.insert(name.to_owned(), Arc::clone(&tier));
        self.look_after_open();
        Ok(tier)
    }

    /// The number that the next file has at least. Objects of earlier runs are known by theirs.
    fn next_file(&self, sink: &str) -> u64 {
        let next = self.checkpoints.next_file(sink);
        let has_run = self.stores.as_ref().is_some_and(Stores::has_run);
        if self.checkpoints.is_complete() || !has_run {
            return next;
        }
        // How far they came is not known, but it was less than a file each second since 1970.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        next.max(now.as_secs())
    }

    fn open_disk(&mut self, config: &Config, name: &str, bound: u64) -> Result<Disk, StoreError> {
        let settings = DiskSettings {
            sink: name.to_owned(),
            folder: folder(config, name),
            bound,
            unnamed: if self.checkpoints.is_complete() { Unnamed::Remove } else { Unnamed::PutAside },
            next_file: self.next_file(name),
        };
        let stored = self.checkpoints.stored(name);
        let direct = Arc::clone(&self.checkpoints) as Arc<dyn weir_buffer::ack::Acknowledge>;
        let disk = Disk::open(&settings, stored.clone(), &self.ledger, direct, Arc::new(OperatingSystem))?;
        // What lies there is in the accounts for the second time now.
        if self.orphans.remove(name) {
            for (pipeline, amount) in stored.values().flat_map(|stored| &stored.accounts) {
                self.ledger.account(pipeline, name).leave_disk(*amount);
            }
        }
        Ok(disk)
    }

    fn look_after_open(&mut self) {
        self.storer.iter().for_each(|storer| storer.look_after(&self.open));
        if let Some(mover) = &self.mover {
            mover.look_after(self.open.values().filter(|tier| tier.disk().is_some()).cloned().collect());
        }
        self.keep();
    }

    /// Says in which buckets this agent is to be known, and what of it lies there.
    fn keep(&mut self) {
        let (Some(keeper), Some(stores)) = (&self.keeper, &mut self.stores) else { return };
        let mut all: Vec<Kept> = Vec::new();
        for (sink, wanted) in &self.object_stores {
            let Some(tier) = self.open.get(sink).filter(|tier| tier.disk().is_some()) else { continue };
            let presence = stores.presence(wanted);
            let at = all.iter().position(|kept| Arc::ptr_eq(&kept.presence, &presence));
            let at = at.unwrap_or_else(|| {
                all.push(Kept { presence, adopt: wanted.adopt.clone(), buffers: BTreeMap::new() });
                all.len() - 1
            });
            if let Some(kept) = all.get_mut(at) {
                kept.buffers.insert(sink.clone(), Arc::clone(tier));
            }
        }
        keeper.look_after(all);
    }

    /// Gives a buffer the object store that it is to have from now on.
    fn set_objects(&mut self, name: &str, tier: &MemoryTier, wanted: &Wanted) {
        let Some(disk) = tier.disk() else { return };
        if self.object_stores.get(name) == wanted.object_store.as_ref() {
            return;
        }
        let objects = match (&wanted.object_store, &mut self.stores) {
            (Some(store), Some(stores)) => {
                self.object_stores.insert(name.to_owned(), store.clone());
                Some(stores.objects(name, store))
            }
            _ => {
                self.object_stores.remove(name);
                None
            }
        };
        disk.store().set_objects(objects);
        self.keep();
    }

    /// What asks for everything to go to the object stores.
    pub fn drain(&self) -> Option<Drain> {
        self.mover.as_ref().map(Mover::drain)
    }

    /// Gives a buffer the bounds that it is to have from now on.
    pub fn set_bounds(&mut self, name: &str, wanted: &Wanted) {
        let Some(tier) = self.open.get(name).cloned() else { return };
        self.set_objects(name, &tier, wanted);
        if tier.bound() != wanted.memory {
            tier.set_bound(wanted.memory);
        }
        if let Some(disk) = tier.disk() {
            disk.store().set_bound(wanted.disk.unwrap_or(0));
        }
        if tier.policy() != wanted.policy {
            tier.set_policy(wanted.policy);
        }
    }

    /// Lets go of a buffer that is empty and without a sink.
    pub fn forget(&mut self, name: &str) {
        // One with a disk goes on with it should its sink come back: a folder has one owner.
        if self.open.get(name).is_some_and(|tier| tier.disk().is_none()) {
            self.open.remove(name);
            self.look_after_open();
        }
    }

    /// Keeps the accounts right of what lies on disk for sinks that there were none of at the start.
    pub fn note_orphans(&mut self, config: &Config) {
        if std::mem::replace(&mut self.has_looked, true) {
            return;
        }
        for sink in self.checkpoints.sinks_with_stored() {
            if config.sinks.contains_key(sink.as_str()) {
                continue;
            }
            let mut events = 0;
            for stored in self.checkpoints.stored(&sink).values() {
                for (pipeline, amount) in &stored.accounts {
                    self.ledger.account(pipeline, &sink).enter_disk(*amount);
                    events += amount.events;
                }
            }
            let folder = folder(config, &sink);
            tracing::warn!(%sink, events, folder = %folder.display(), "events lie on disk for a sink that is not configured any more; they are delivered when there is a sink of this name again");
            self.orphans.insert(sink);
        }
    }

    /// Whether the disks are to be emptied when the agent is stopped.
    pub fn drains_on_stop(&self) -> bool {
        self.object_stores.values().any(|store| store.configured.drain_on_stop)
    }

    /// Stores what is left when nobody works on it any more. Blocks.
    pub fn finish(&mut self) {
        if let Some(storer) = self.storer.take() {
            storer.finish();
        }
        if let Some(mover) = self.mover.take() {
            let drains = self.drains_on_stop();
            mover.finish(if drains { DRAIN_PATIENCE } else { Duration::ZERO });
        }
        if let Some(keeper) = self.keeper.take() {
            keeper.finish();
        }
    }
}

fn folder(config: &Config, sink: &str) -> std::path::PathBuf {
    Path::new(&config.data_dir).join("buffer").join(sink)
}

/// Stores what waits for too long, on a thread of its own, since disks block.
struct Storer {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    buffers: Mutex<Vec<Arc<MemoryTier>>>,
    is_over: AtomicBool,
    /// Whether all is stored that was to be stored at the end.
    has_ended: Mutex<bool>,
    ended: Condvar,
}

// === impl Storer ===

impl Storer {
    fn start() -> io::Result<Storer> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("storer".to_owned()).spawn(move || of_thread.store_until_over())?;
        Ok(Storer { shared, thread })
    }

    /// From now on it looks after these, as far as they have a disk.
    fn look_after(&self, open: &BTreeMap<String, Arc<MemoryTier>>) {
        *self.shared.buffers() = open.values().filter(|tier| tier.disk().is_some()).cloned().collect();
        self.thread.thread().unpark();
    }

    /// Lets a buffer say when something of it is to be stored now.
    fn is_told_by(&self, tier: &MemoryTier) {
        let thread = self.thread.thread().clone();
        tier.on_pressed(Arc::new(move || thread.unpark()));
    }

    /// Stores what is left. A disk that does not answer keeps no agent from ending.
    fn finish(self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let ended = self.shared.has_ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.ended.wait_timeout_while(ended, LAST_PATIENCE, |ended| !*ended);
        if !*waited.unwrap_or_else(PoisonError::into_inner).0 {
            let seconds = LAST_PATIENCE.as_secs();
            tracing::error!(
                "the disk of the buffers has not answered for {seconds} s; what is not on it is read again at the next start"
            );
        }
    }
}

// === impl Shared ===

impl Shared {
    fn store_until_over(&self) {
        while !self.is_over.load(Ordering::Acquire) {
            let buffers = self.buffers().clone();
            if buffers.is_empty() {
                thread::park();
                continue;
            }
            buffers.iter().for_each(|buffer| buffer.store_old());
            drop(buffers);
            thread::park_timeout(LOOK_EVERY);
        }
        let buffers = self.buffers().clone();
        buffers.iter().for_each(|buffer| buffer.store_all());
        *self.has_ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.notify_all();
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Arc<MemoryTier>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
