//! Whether an agent is there, and whose its objects are: agents share a bucket, and those that live take over what others
//! left.
//!
//! 1. Every agent keeps an object, its manifest, that it replaces again and again. One whose manifest stays as it is for
//!    `gone_after`, by the clock of who looks, is gone. No clock is compared with another's.
//! 2. An agent uses its objects while its last successful write began less than half of that ago. Then nobody can have
//!    taken them.
//! 3. Who takes over replaces the manifest first, and claims each object by an object of its own that only one can write.
//!    What an agent finds claimed when it is back belongs to the one who claimed it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::disk::{Held, StoredParts, TakenFrom, number_in_key};
use crate::object::{ObjectError, ObjectErrorKind, ObjectStore, Put};

mod adopter;
mod inherit;
mod manifest;

pub use adopter::{Adopter, Heir};
pub use manifest::{Adoption, Content, Manifest, SinkContent, Tenure};
use manifest::{ClaimText, Left, MAX_BYTES, NAME, VERSION};

/// What claims lie below in an agent's folder, and what segments do.
const CLAIMS: &str = "claims/";
const SEGMENTS: &str = "segments/";
/// No sink has this name. Behind it stand from whom and when an object was taken over, and its whole key.
const TAKEN: &str = "!of/";
const CLAIM_SUFFIX: &str = ".json";
/// A longer claim is not read.
const MAX_CLAIM_BYTES: u64 = 1024 * 1024;
/// Manifests may change between a look and a write so often.
const TRIES: usize = 4;

/// Time that only goes on, from wherever it began.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Who an agent is, and where.
#[derive(Clone)]
pub struct Settings {
    /// What its keys begin with, its identity and a slash at the end.
    pub folder: String,
    /// Its name for itself.
    pub identity: String,
    /// Its cluster.
    pub cluster: String,
    /// Its node.
    pub node: String,
    /// After so long without a sign of life an agent is gone.
    pub gone_after: Duration,
    /// Whether the checkpoints name all that is safe: then an object that they do not name holds nothing.
    pub knows_all: bool,
    /// How long somebody who wants an object waits for a sign of life.
    pub patience: Duration,
    /// What measures all that.
    pub clock: Clock,
}

/// What may be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is this agent's, and nobody else can have it.
    Own,
    /// It is this agent's by its claim: if it is gone, somebody had it before.
    Claimed,
    /// Another agent has it.
    HandedOver,
}

/// An agent's own presence in a bucket.
pub struct Presence {
    store: Arc<dyn ObjectStore>,
    settings: Settings,
    /// Made at random by each process.
    run: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether the first try is over, however it ended.
    has_tried: bool,
    /// Of the manifest as this agent wrote it last.
    etag: Option<String>,
    epoch: u64,
    sequence: u64,
    /// Until then nobody can have taken anything.
    sure_until: Option<Duration>,
    /// Until then somebody who was taking over may still claim.
    claims_until: Option<Duration>,
    /// The keys of claims on what this agent has.
    claimed: BTreeSet<String>,
    /// Whether the objects of an earlier run were looked through.
    has_looked: bool,
    /// Objects that an earlier run brought there and that are not named; they hold nothing, unless their file is named.
    garbage: BTreeSet<String>,
    /// What asking found, by the key of the claim.
    known: BTreeMap<String, Use>,
}

/// A claim as it was found or made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    /// By this agent, under this epoch.
    Mine(u64, Left),
    Anothers,
}

// === impl Presence ===

impl Presence {
    /// Nobody knows of it yet.
    pub fn new(store: Arc<dyn ObjectStore>, settings: Settings) -> Arc<Presence> {
        let run = format!("{:016x}", rand::random::<u64>());
        Arc::new(Presence { store, settings, run, state: Mutex::default(), changed: Condvar::new() })
    }

    /// What its keys begin with.
    pub fn folder(&self) -> &str {
        &self.settings.folder
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// After so long without a sign of life an agent is gone.
    pub fn gone_after(&self) -> Duration {
        self.settings.gone_after
    }

    /// Its name for itself.
    pub fn identity(&self) -> &str {
        &self.settings.identity
    }

    fn now(&self) -> Duration {
        (self.settings.clock)()
    }

    /// Whether the first sign of life is still to come, however it ends.
    pub fn is_starting(&self) -> bool {
        !self.lock().has_tried
    }

    /// Whether nobody can have taken anything, and nobody can claim.
    pub fn is_sure(&self) -> bool {
        let now = self.now();
        let state = self.lock();
        state.is_sure(now) && state.claims_until.is_none()
    }

    /// Gives a sign of life, with what waits and where. The first one of a process says who has taken what meanwhile.
    /// For one caller at a time. Blocks.
    pub fn beat(&self, content: &Content) -> Result<(), ObjectError> {
        let beaten = self.beat_now(content);
        if let (Ok(()), Err(error)) = (&beaten, self.ask_for_claims()) {
            // Whoever needs one of them asks again.
            tracing::debug!(%error, "cannot read a claim");
        }
        let mut state = self.lock();
        state.has_tried = true;
        drop(state);
        self.changed.notify_all();
        beaten
    }

    fn beat_now(&self, content: &Content) -> Result<(), ObjectError> {
        for _ in 0..TRIES {
            let began = self.now();
            let Some(etag) = self.lock().etag.clone() else {
                self.announce(content)?;
                continue;
            };
            let manifest = self.manifest(content);
            match self.write(&self.settings.folder, &manifest, Some(&etag))? {
                Put::Stored(etag) => {
                    let mut state = self.lock();
                    state.etag = Some(etag);
                    state.sure_until = Some(began + self.settings.gone_after / 2);
                    drop(state);
                    return self.end_of_claims();
                }
                // Another has it, or the answer to a write of this agent got lost.
                Put::Refused => {
                    let found = self.read(&self.settings.folder)?;
                    let mut state = self.lock();
                    state.etag = found.filter(|(found, _)| self.is_mine(found)).map(|(_, etag)| etag);
                    if state.etag.is_none() {
                        state.sure_until = None;
                    }
                }
            }
        }
        Err(busy(&self.settings.folder))
    }

    fn is_mine(&self, found: &Manifest) -> bool {
        found.run == self.run && found.state == Tenure::Alive
    }

    /// Takes its own folder back, and finds out what of it was claimed. Nothing is sure yet behind it.
    fn announce(&self, content: &Content) -> Result<(), ObjectError> {
        if !self.lock().has_looked {
            let garbage = self.garbage(content)?;
            let mut state = self.lock();
            (state.garbage, state.has_looked) = (garbage, true);
        }
        let found = self.read(&self.settings.folder)?;
        let (is_contested, patience) = match &found {
            // Whoever may be taking over goes by the longer of both times.
            Some((manifest, _)) => (
                manifest.is_contested || matches!(manifest.state, Tenure::Adopting { .. }),
                self.settings.gone_after.max(Duration::from_millis(manifest.gone_after)),
            ),
            None => (false, Duration::ZERO),
        };
        {
            let mut state = self.lock();
            let before = found.as_ref().map_or(0, |(manifest, _)| manifest.epoch);
            state.epoch = state.epoch.max(before) + 1;
            let sequence = found.as_ref().map_or(0, |(manifest, _)| manifest.sequence);
            state.sequence = state.sequence.max(sequence);
            // It finds out when it writes the manifest again, which it does before it claims anything later than that.
            state.claims_until = is_contested.then_some(Duration::MAX);
        }
        let manifest = self.manifest(content);
        let etag = found.as_ref().map(|(_, etag)| etag.as_str());
        let Put::Stored(etag) = self.write(&self.settings.folder, &manifest, etag)? else { return Ok(()) };
        let written = self.now();
        if let Some((found, _)) = found.filter(|(found, _)| found.state != Tenure::Alive) {
            let by = match &found.state {
                Tenure::Adopting { by } | Tenure::Adopted { by } => by.as_str(),
                Tenure::Alive => "",
            };
            tracing::warn!(
                folder = self.folder(),
                by,
                "another agent took this one for gone; what it has claimed in the object store is handed over"
            );
        }
        let claims = self.claims(&self.settings.folder)?;
        let mut state = self.lock();
        state.claimed = claims.into_iter().collect();
        let State { garbage, claimed, .. } = &mut *state;
        garbage.retain(|key| !claimed.contains(&claim_on(&self.settings.folder, &Held::own(key))));
        state.known.clear();
        state.claims_until = is_contested.then(|| written + patience);
        // The list of claims is whole: only now the manifest counts as this agent's.
        state.etag = Some(etag);
        Ok(())
    }

    /// Looks through the claims again when nobody can make one any more.
    fn end_of_claims(&self) -> Result<(), ObjectError> {
        let now = self.now();
        if self.lock().claims_until.is_none_or(|until| now < until) {
            return Ok(());
        }
        let claims = self.claims(&self.settings.folder)?;
        let mut state = self.lock();
        state.claimed = claims.into_iter().collect();
        state.claims_until = None;
        Ok(())
    }

    fn manifest(&self, content: &Content) -> Manifest {
        let mut content = content.clone();
        let mut state = self.lock();
        for key in &state.garbage {
            let number = number_in_key(key).map(|number| format!("{number:016x}"));
            let (Some(sink), Some(number)) = (sink_of(key), number) else { continue };
            let sink = content.sinks.entry(sink.to_owned()).or_default();
            // The file may be on the disk all the same.
            if !sink.files.contains_key(&number) {
                sink.settled.push(key.clone());
            }
        }
        state.sequence += 1;
        Manifest {
            version: VERSION,
            identity: self.settings.identity.clone(),
            cluster: self.settings.cluster.clone(),
            node: self.settings.node.clone(),
            run: self.run.clone(),
            epoch: state.epoch,
            sequence: state.sequence,
            gone_after: u64::try_from(self.settings.gone_after.as_millis()).unwrap_or(u64::MAX),
            state: Tenure::Alive,
            is_contested: state.claims_until.is_some(),
            content,
        }
    }

    /// Objects below its folder that an earlier run brought there and nobody names.
    fn garbage(&self, content: &Content) -> Result<BTreeSet<String>, ObjectError> {
        if !self.settings.knows_all {
            return Ok(BTreeSet::new());
        }
        let listed = self.list(&format!("{}{SEGMENTS}", self.settings.folder))?;
        let is_named = |key: &str| {
            let files = sink_of(key).and_then(|sink| content.sinks.get(sink)).map(|sink| &sink.files);
            let place = |stored: &StoredParts| stored.object.as_ref().is_some_and(|place| place.key == key);
            files.is_some_and(|files| files.values().any(place))
        };
        Ok(listed.into_iter().map(|(key, _)| key).filter(|key| !is_named(key)).collect())
    }

    /// Whether an object may be used. Waits for a sign of life where there was none for too long. Blocks.
    pub fn may_use(&self, held: &Held) -> Result<Use, ObjectError> {
        let (key, claim) = (&held.key, claim_on(&self.settings.folder, held));
        // A claim is for ever.
        if let Some(known) = self.lock().known.get(&claim) {
            return Ok(*known);
        }
        let unsure = || ObjectError {
            kind: ObjectErrorKind::Retry,
            message: format!(
                "cannot use {key}: nobody heard of this agent for too long, another may have taken it over"
            ),
        };
        let must_ask = self.wait(|state, now| {
            let is_sure = state.is_sure(now);
            is_sure.then(|| state.claims_until.is_some() || state.claimed.contains(&claim))
        });
        if !must_ask.ok_or_else(unsure)? {
            return Ok(Use::Own);
        }
        let epoch = self.lock().epoch;
        let found = match self.claim(&claim, epoch, Left::default())? {
            Claim::Mine(..) => Use::Claimed,
            Claim::Anothers => Use::HandedOver,
        };
        self.lock().known.insert(claim, found);
        Ok(found)
    }

    /// Whose an object is, as far as that is known without asking. While the store does not answer it is this agent's:
    /// nobody is made to wait for that.
    pub fn known_use(&self, held: &Held) -> Option<Use> {
        let (now, claim) = (self.now(), claim_on(&self.settings.folder, held));
        let state = self.lock();
        let is_contested = state.claims_until.is_some() && state.is_sure(now);
        let is_own = state.has_tried && !is_contested && !state.claimed.contains(&claim);
        state.known.get(&claim).copied().or_else(|| is_own.then_some(Use::Own))
    }

    /// Finds out whose the claims are, so that nobody has to ask who cannot wait.
    fn ask_for_claims(&self) -> Result<(), ObjectError> {
        let unknown: Vec<String> = {
            let state = self.lock();
            state.claimed.iter().filter(|claim| !state.known.contains_key(*claim)).cloned().collect()
        };
        for claim in unknown {
            let is_mine = self.read_claim(&claim)?.is_some_and(|found| found.by == self.settings.identity);
            let found = if is_mine { Use::Claimed } else { Use::HandedOver };
            self.lock().known.insert(claim, found);
        }
        Ok(())
    }

    /// Waits for the first sign of life, but not for long. Blocks.
    pub fn wait_for_start(&self) {
        if self.wait(|state, _| state.has_tried.then_some(())).is_none() {
            // Once is enough.
            self.lock().has_tried = true;
        }
    }

    /// Whether another has claimed an object that this agent does not know of: of the file with this number, whose objects
    /// would lie in this folder. Waits for the first sign of life, but not for long: the file is here. Blocks.
    pub fn is_handed_over(&self, folder: &str, number: u64) -> Result<bool, ObjectError> {
        self.wait_for_start();
        if let Some(key) = self.claimed_as(folder, number) {
            return Ok(self.may_use(&Held::own(&key))? == Use::HandedOver);
        }
        // An earlier run brought it there without anybody knowing. While others may still claim it, this agent does.
        let now = self.now();
        let unnamed = {
            let state = self.lock();
            let behind = behind(number);
            let mut all = state.garbage.iter().filter(|_| state.is_sure(now) && state.claims_until.is_some());
            all.find(|key| key.starts_with(folder) && key.contains(&behind)).cloned()
        };
        match unnamed {
            Some(key) => Ok(self.may_use(&Held::own(&key))? == Use::HandedOver),
            None => Ok(false),
        }
    }

    /// The same, as far as it is known without asking.
    pub fn is_known_as_handed_over(&self, folder: &str, number: u64) -> bool {
        let held = self.claimed_as(folder, number).map(|key| Held::own(&key));
        held.is_some_and(|held| self.known_use(&held) == Some(Use::HandedOver))
    }

    /// The key of the file with this number, if there is a claim on that.
    fn claimed_as(&self, folder: &str, number: u64) -> Option<String> {
        let (own, behind) = (self.settings.folder.as_str(), behind(number));
        let state = self.lock();
        let claims = state.claimed.iter().filter(|claim| claim.contains(&behind) && !is_on_taken(own, claim));
        let mut keys = claims.filter_map(|claim| claimed_by(own, claim));
        keys.find(|key| key.starts_with(folder))
    }

    /// Waits until there is an answer, within its patience.
    fn wait<T>(&self, answer: impl Fn(&State, Duration) -> Option<T>) -> Option<T> {
        let began = self.now();
        let mut state = self.lock();
        loop {
            let now = self.now();
            if let Some(answer) = answer(&state, now) {
                return Some(answer);
            }
            let left = self.settings.patience.saturating_sub(now.saturating_sub(began));
            if left.is_zero() {
                return None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets go of what is known of an object that is gone.
    pub fn forget(&self, held: &Held) {
        let mut state = self.lock();
        state.known.remove(&claim_on(&self.settings.folder, held));
        state.garbage.remove(&held.key);
    }

    /// Removes claims of objects of this agent that are gone and that it does not name any more. Blocks.
    pub fn tidy(&self, named: &BTreeSet<Held>) -> Result<(), ObjectError> {
        if !self.is_sure() {
            return Ok(());
        }
        let named: BTreeSet<&str> = named.iter().map(|held| held.key.as_str()).collect();
        for claim in self.claims(&self.settings.folder)? {
            let Some(key) = claimed_by(&self.settings.folder, &claim) else { continue };
            if named.contains(key.as_str()) || self.exists(&key)? {
                continue;
            }
            self.store.delete(&claim)?;
            let mut state = self.lock();
            state.claimed.remove(&claim);
            state.known.remove(&claim);
        }
        Ok(())
    }

    fn exists(&self, key: &str) -> Result<bool, ObjectError> {
        match self.store.get_range(key, 0, 1) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ObjectErrorKind::Missing => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The manifest in a folder, with its entity tag. One that cannot be understood is as good as one of a stranger who is
    /// taking over: nobody knows who has what.
    fn read(&self, folder: &str) -> Result<Option<(Manifest, String)>, ObjectError> {
        let object = match self.store.get(&format!("{folder}{NAME}"), MAX_BYTES) {
            Ok(object) => object,
            Err(error) if error.kind == ObjectErrorKind::Missing => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = serde_json::from_slice::<Manifest>(&object.bytes).ok();
        let manifest = read.filter(|manifest| manifest.version == VERSION).unwrap_or_else(|| Manifest {
            version: 0,
            identity: String::new(),
            cluster: String::new(),
            node: String::new(),
            run: String::new(),
            epoch: 0,
            sequence: 0,
            gone_after: 0,
            state: Tenure::Adopting { by: String::new() },
            is_contested: true,
            content: Content::default(),
        });
        Ok(Some((manifest, object.etag)))
    }

    fn write(&self, folder: &str, manifest: &Manifest, etag: Option<&str>) -> Result<Put, ObjectError> {
        let key = format!("{folder}{NAME}");
        let bytes = serde_json::to_vec(manifest).unwrap_or_default();
        match etag {
            Some(etag) => self.store.put_if_match(&key, bytes, etag),
            None => self.store.put_if_absent(&key, bytes),
        }
    }

    /// Claims an object by writing the claim on it. Of all who try, one has it.
    fn claim(&self, at: &str, epoch: u64, left: Left) -> Result<Claim, ObjectError> {
        let text = ClaimText { version: VERSION, by: self.settings.identity.clone(), epoch, left };
        let bytes = serde_json::to_vec(&text).unwrap_or_default();
        if let Put::Stored(_) = self.store.put_if_absent(at, bytes)? {
            return Ok(Claim::Mine(epoch, text.left));
        }
        Ok(match self.read_claim(at)? {
            Some(claim) if claim.by == self.settings.identity => Claim::Mine(claim.epoch, claim.left),
            _ => Claim::Anothers,
        })
    }

    /// A claim as it was written, if it can be understood.
    fn read_claim(&self, at: &str) -> Result<Option<ClaimText>, ObjectError> {
        let object = self.store.get(at, MAX_CLAIM_BYTES)?;
        Ok(serde_json::from_slice(&object.bytes).ok())
    }

    /// The claims on what the agent of a folder has.
    fn claims(&self, folder: &str) -> Result<Vec<String>, ObjectError> {
        let listed = self.list(&format!("{folder}{CLAIMS}"))?;
        Ok(listed.into_iter().map(|(key, _)| key).collect())
    }

    /// All objects whose keys begin so, with their lengths.
    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, ObjectError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let listing = self.store.list(prefix, after.as_deref(), false)?;
            all.extend(listing.objects);
            after = listing.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Presence").field("folder", &self.settings.folder).finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn is_sure(&self, now: Duration) -> bool {
        self.sure_until.is_some_and(|until| now < until)
    }
}

/// Where the claim lies on an object that the agent of this folder has: on one and the same object there is another each time
/// that the agent comes to have it.
fn claim_on(folder: &str, held: &Held) -> String {
    let Held { key, taken_from } = held;
    if let Some(TakenFrom { folder: from, epoch }) = taken_from {
        let identity = from.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        return format!("{folder}{CLAIMS}{TAKEN}{identity}-{epoch}/{key}{CLAIM_SUFFIX}");
    }
    let rest = key.strip_prefix(folder).and_then(|rest| rest.strip_prefix(SEGMENTS)).unwrap_or(key);
    format!("{folder}{CLAIMS}{rest}{CLAIM_SUFFIX}")
}

/// Whether a claim is on an object that the agent of this folder took over.
fn is_on_taken(folder: &str, claim: &str) -> bool {
    claim
        .strip_prefix(folder)
        .and_then(|rest| rest.strip_prefix(CLAIMS))
        .is_some_and(|rest| rest.starts_with(TAKEN))
}

/// What stands in the key of the file with this number.
fn behind(number: u64) -> String {
    format!("/{number:016x}-")
}

/// The sink in a segment's key.
fn sink_of(key: &str) -> Option<&str> {
    let behind = key.rsplit_once(&format!("/{SEGMENTS}"))?.1;
    behind.split_once('/').map(|(sink, _)| sink)
}

/// Which object a claim stands for.
fn claimed_by(folder: &str, claim: &str) -> Option<String> {
    let rest = claim.strip_prefix(folder)?.strip_prefix(CLAIMS)?.strip_suffix(CLAIM_SUFFIX)?;
    Some(match rest.strip_prefix(TAKEN) {
        Some(taken) => taken.split_once('/')?.1.to_owned(),
        None => format!("{folder}{SEGMENTS}{rest}"),
    })
}

fn busy(folder: &str) -> ObjectError {
    let message = format!("cannot write {folder}{NAME}: it is changed by others all the time");
    ObjectError { kind: ObjectErrorKind::Retry, message }
}
