//! Looking for agents that are gone, and taking over what they left.
//!
//! 1. What is to be done stands in this agent's own checkpoints before anything is claimed, and in its manifest: whoever
//!    ends it in between, it or who takes it over in turn finds what was claimed and not taken.
//! 2. All that one adoption brings, and what it reports as lost, becomes durable in one write. It happens once.
//! 3. Nothing of it is delivered before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::manifest::{Adoption, ClaimText, Left, Manifest, SinkContent, Tenure};
use super::{Claim, Presence, SEGMENTS, Use, claim_on, claimed_by, sink_of};
use crate::ack::Acknowledge;
use crate::disk::{Held, StoredParts, TakenFrom, number_in_key};
use crate::memory::{Inheritance, MemoryTier};
use crate::object::{ObjectError, Put};

/// Folders below the one to adopt from are looked through so deep.
const MAX_DEPTH: usize = 6;
/// A look ends after so many failures.
const MAX_TROUBLES: usize = 2;
/// So many agents share a folder at the most.
const MAX_AGENTS: usize = 10_000;

/// The agent for which another's events are taken over.
pub trait Heir {
    /// Its buffer of a sink, if that has the same bucket.
    fn buffer(&self, sink: &str) -> Option<Arc<MemoryTier>>;

    /// The adoptions that its checkpoints know.
    fn adoptions(&self) -> Vec<Adoption>;

    /// Who writes its checkpoints.
    fn checkpoints(&self) -> Arc<dyn Acknowledge>;

    /// Writes its checkpoints now. False where they cannot be written.
    fn save(&self) -> bool;

    /// Gives a sign of life with what the checkpoints say now.
    fn beat(&self) -> Result<(), ObjectError>;
}

/// Looks after agents that share a bucket.
pub struct Adopter {
    presence: Arc<Presence>,
    /// What the keys of those begin with from whom it takes over.
    root: String,
    /// By folder: the manifest's entity tag, and since when it is the same.
    seen: HashMap<String, (String, Duration)>,
    next_look: Duration,
}

/// The right to claim what an agent left, until somebody replaces its manifest.
pub(super) struct Lease {
    pub folder: String,
    pub manifest: Manifest,
    pub etag: String,
    until: Duration,
    pub is_lost: bool,
}

// === impl Adopter ===

impl Adopter {
    /// Takes over from those whose keys begin with `root`, which ends with a slash.
    pub fn new(presence: Arc<Presence>, root: String) -> Adopter {
        Adopter { presence, root, seen: HashMap::new(), next_look: Duration::ZERO }
    }

    /// Brings to its end what was begun, and looks for agents that are gone, where it is time. Blocks.
    pub fn work(&mut self, heir: &dyn Heir) -> Result<(), ObjectError> {
        if !self.presence.is_sure() {
            return Ok(());
        }
        for adoption in heir.adoptions() {
            if adoption.is_in {
                continue;
            }
            let found = self.presence.read(&adoption.folder)?;
            match found.filter(|(found, _)| self.presence.is_heir_by(found, adoption.epoch)) {
                Some((manifest, etag)) => self.adopt(heir, adoption.folder, manifest, &etag, true)?,
                None => self.presence.take_in(heir, &adoption, None)?,
            }
        }
        let now = self.presence.now();
        if now < self.next_look {
            return Ok(());
        }
        let pause = self.presence.gone_after() / 3;
        self.next_look = now + pause.mul_f64(0.75 + 0.25 * rand::random::<f64>());
        let folders = self.folders()?;
        self.seen.retain(|folder, _| folders.contains(folder));
        let mut troubles = 0;
        for folder in folders {
            // One that cannot be read keeps nobody from the others; a store that is away does.
            if let Err(error) = self.look_at(heir, folder) {
                troubles += 1;
                if troubles > MAX_TROUBLES {
                    return Err(error);
                }
                tracing::debug!(%error, "cannot look after an agent");
            }
        }
        Ok(())
    }

    /// The folders of all agents but this one.
    fn folders(&self) -> Result<Vec<String>, ObjectError> {
        let (mut found, mut open) = (Vec::new(), vec![(self.root.clone(), 0)]);
        while let Some((folder, depth)) = open.pop() {
            let mut after = None;
            loop {
                let listing = self.presence.store.list(&folder, after.as_deref(), true)?;
                for below in listing.folders {
                    let last = below.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                    let is_agent = last.len() == 32 && last.bytes().all(|b| b.is_ascii_hexdigit());
                    if is_agent && below != self.presence.folder() && found.len() < MAX_AGENTS {
                        found.push(below);
                    } else if !is_agent && depth < MAX_DEPTH && open.len() < MAX_AGENTS {
                        open.push((below, depth + 1));
                    }
                }
                after = listing.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(found)
    }

    fn look_at(&mut self, heir: &dyn Heir, folder: String) -> Result<(), ObjectError> {
        // Before the answer: what it shows was there by then, or came later.
        let asked = self.presence.now();
        let Some((manifest, etag)) = self.presence.read(&folder)? else { return Ok(()) };
        if manifest.version == 0 {
            return Ok(());
        }
        let is_mine = match &manifest.state {
            Tenure::Adopted { .. } => {
                self.seen.remove(&folder);
                return Ok(());
            }
            Tenure::Adopting { by } => by == self.presence.identity(),
            Tenure::Alive => false,
        };
        let now = self.presence.now();
        let seen = self.seen.entry(folder.clone()).or_insert_with(|| (etag.clone(), now));
        if seen.0 != etag {
            *seen = (etag.clone(), now);
        }
        let gone_after = self.presence.gone_after().max(Duration::from_millis(manifest.gone_after));
        if !is_mine && asked.saturating_sub(seen.1) < gone_after {
            return Ok(());
        }
        self.adopt(heir, folder, manifest, &etag, is_mine)
    }

    fn adopt(
        &mut self,
        heir: &dyn Heir,
        folder: String,
        mut manifest: Manifest,
        etag: &str,
        is_mine: bool,
    ) -> Result<(), ObjectError> {
        let presence = Arc::clone(&self.presence);
        let mut all = presence.left_by(&folder, &manifest)?;
        all.retain(|held, _| sink_of(&held.key).is_some_and(|sink| heir.buffer(sink).is_some()));
        let is_heir = manifest.content.sinks.keys().any(|sink| heir.buffer(sink).is_some());
        let has_nothing = manifest.content.sinks.values().all(SinkContent::is_empty);
        let epoch = if is_mine { manifest.epoch } else { manifest.epoch + 1 };
        let known = heir.adoptions();
        let is_done = known.iter().any(|one| one.folder == folder && one.epoch == epoch && one.is_in);
        if !is_heir && !has_nothing && (is_done || all.is_empty()) {
            // Somebody else has the sinks for that.
            return Ok(());
        }
        if is_done {
            // All that is missing is to say so.
            return presence.close(heir, &folder, manifest, etag);
        }
        manifest.epoch = epoch;
        let gone_after = presence.gone_after().max(Duration::from_millis(manifest.gone_after));
        manifest.gone_after = u64::try_from(gone_after.as_millis()).unwrap_or(u64::MAX);
        let until = Duration::ZERO;
        let mut lease = Lease { folder, manifest, etag: etag.to_owned(), until, is_lost: false };
        presence.renew(&mut lease)?;
        if lease.is_lost {
            return Ok(());
        }
        let Lease { folder, manifest, .. } = &lease;
        tracing::warn!(%folder, node = manifest.node, objects = all.len(), "an agent gave no sign of life for too long; taking over what it left in the object store");
        let adoption = Adoption { folder: folder.clone(), epoch, is_in: false };
        Inheritance::begin(&heir.checkpoints(), adoption.clone());
        if !heir.save() {
            return Ok(());
        }
        heir.beat()?;
        let mut claimed = Vec::new();
        for (held, left) in all {
            if presence.now() >= lease.until {
                heir.beat()?;
                presence.renew(&mut lease)?;
            }
            if lease.is_lost {
                break;
            }
            if !presence.is_sure() {
                // It goes on from here when this agent is known to live again.
                return Ok(());
            }
            if let Claim::Mine(under, left) = presence.claim(&claim_on(&lease.folder, &held), epoch, left)? {
                let is_done = known
                    .iter()
                    .any(|known| known.folder == lease.folder && known.epoch == under && known.is_in);
                if !is_done {
                    claimed.push((held.key, left));
                }
            }
        }
        presence.take_in(heir, &adoption, Some((lease, claimed)))
    }
}

// === impl Presence ===

impl Presence {
    fn is_heir_by(&self, found: &Manifest, epoch: u64) -> bool {
        matches!(&found.state, Tenure::Adopting { by } if *by == self.settings.identity)
            && found.epoch == epoch
    }

    /// Writes an agent's manifest as one that is being taken over by this agent.
    pub(super) fn renew(&self, lease: &mut Lease) -> Result<(), ObjectError> {
        let began = self.now();
        lease.manifest.state = Tenure::Adopting { by: self.settings.identity.clone() };
        lease.manifest.run.clone_from(&self.run);
        lease.manifest.sequence += 1;
        for _ in 0..2 {
            match self.write(&lease.folder, &lease.manifest, Some(&lease.etag))? {
                Put::Stored(etag) => {
                    lease.etag = etag;
                    // Short of what the one that comes back waits for.
                    lease.until = began + self.settings.gone_after / 6;
                    return Ok(());
                }
                // Somebody else has it, or the answer to this write got lost.
                Put::Refused => match self.read(&lease.folder)? {
                    Some((found, etag)) if found == lease.manifest => {
                        lease.etag = etag;
                        lease.manifest.sequence += 1;
                    }
                    _ => break,
                },
            }
        }
        lease.is_lost = true;
        Ok(())
    }

    /// Says that all of an agent's is taken over, as far as this agent has the sinks for it.
    pub(super) fn close(
        &self,
        heir: &dyn Heir,
        folder: &str,
        mut manifest: Manifest,
        etag: &str,
    ) -> Result<(), ObjectError> {
        manifest.content.sinks.retain(|sink, content| !content.is_empty() && heir.buffer(sink).is_none());
        manifest.content.adoptions.clear();
        manifest.run.clone_from(&self.run);
        manifest.sequence += 1;
        let by = self.settings.identity.clone();
        manifest.state = match manifest.content.sinks.is_empty() {
            true => Tenure::Adopted { by },
            // Who has the sinks for the rest takes it over in the same way.
            false => Tenure::Adopting { by },
        };
        self.write(folder, &manifest, Some(etag)).map(|_| ())
    }

    /// All that an agent left, by key: what lies in its folder, what its manifest names elsewhere, and what it had claimed
    /// and not taken. What holds nothing is left out.
    fn left_by(&self, folder: &str, manifest: &Manifest) -> Result<BTreeMap<Held, Left>, ObjectError> {
        let mut left = BTreeMap::new();
        let (mut by_key, mut settled) = (HashMap::new(), BTreeSet::new());
        for content in manifest.content.sinks.values() {
            settled.extend(content.settled.iter().map(String::as_str));
            for stored in content.files.values() {
                let Some(place) = &stored.object else { continue };
                if place.taken_from.is_some() {
                    let stored = Some(stored.clone());
                    left.insert(place.held(), Left { bytes: place.bytes, stored });
                } else {
                    by_key.insert(place.key.as_str(), stored);
                }
            }
        }
        // It was brought there after the manifest was written.
        let by_number = |key: &str| -> Option<&StoredParts> {
            let number = format!("{:016x}", number_in_key(key)?);
            manifest.content.sinks.get(sink_of(key)?)?.files.get(&number)
        };
        for (key, bytes) in self.list(&format!("{folder}{SEGMENTS}"))? {
            let stored = by_key.get(key.as_str()).copied().or_else(|| by_number(&key)).cloned();
            left.insert(Held::own(&key), Left { bytes, stored });
        }
        for adoption in manifest.content.adoptions.iter().filter(|adoption| !adoption.is_in) {
            let taken_from = adoption.taken_from();
            for (key, found) in self.claimed_under(&taken_from, &manifest.identity)? {
                let held = Held { key, taken_from: Some(taken_from.clone()) };
                left.entry(held).or_insert(found);
            }
        }
        let is_settled = |held: &Held| {
            let number = number_in_key(&held.key).filter(|_| held.taken_from.is_none());
            settled.contains(held.key.as_str())
                || number.is_some_and(|number| settled.contains(format!("{number:016x}").as_str()))
        };
        left.retain(|held, _| !is_settled(held));
        Ok(left)
    }

    /// What an agent claimed in a folder under an epoch, by key.
    pub(super) fn claimed_under(
        &self,
        from: &TakenFrom,
        by: &str,
    ) -> Result<Vec<(String, Left)>, ObjectError> {
        let mut found = Vec::new();
        for at in self.claims(&from.folder)? {
            let Some(key) = claimed_by(&from.folder, &at) else { continue };
            let claim = self.read_claim(&at)?.filter(|claim| claim.by == by && claim.epoch == from.epoch);
            found.extend(claim.map(|ClaimText { left, .. }| (key, left)));
        }
        Ok(found)
    }

    /// Removes what is left of adoptions: objects that were delivered. `named` is what this agent's buffers name. Blocks.
    pub fn tidy_adoptions(&self, heir: &dyn Heir, named: &BTreeSet<Held>) -> Result<(), ObjectError> {
        for adoption in heir.adoptions().into_iter().filter(|adoption| adoption.is_in) {
            let taken_from = adoption.taken_from();
            let claimed = self.claimed_under(&taken_from, self.identity())?;
            let claimed =
                claimed.into_iter().map(|(key, _)| Held { key, taken_from: Some(taken_from.clone()) });
            let (live, rest): (Vec<Held>, Vec<Held>) = claimed.partition(|held| named.contains(held));
            for held in rest {
                if self.is_sure() && self.may_use(&held)? != Use::HandedOver {
                    self.store.delete(&held.key)?;
                }
            }
            if live.is_empty() && self.is_sure() {
                Inheritance::end(&heir.checkpoints(), adoption);
            }
        }
        Ok(())
    }
}
