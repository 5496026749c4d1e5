//! Taking into the buffers what was claimed of an agent that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::adopter::{Heir, Lease};
use super::manifest::{Adoption, Left, Manifest, SinkContent};
use super::{Presence, sink_of};
use crate::disk::format::{Header, HeaderError};
use crate::disk::{Held, ObjectPlace, StoredParts, all_parts, number_in_key};
use crate::ledger::Amount;
use crate::memory::{Inheritance, MemoryTier};
use crate::object::{ObjectError, ObjectErrorKind};

/// An object that is to be taken in.
struct Taken {
    tier: Arc<MemoryTier>,
    stored: StoredParts,
    place: ObjectPlace,
}

impl Presence {
    /// Takes in what was claimed; with the lease also what is told of the disk that is gone. Without one the agent is back,
    /// or a third one goes on: what was claimed until then is this agent's all the same.
    pub(super) fn take_in(
        &self,
        heir: &dyn Heir,
        adoption: &Adoption,
        fresh: Option<(Lease, Vec<(String, Left)>)>,
    ) -> Result<(), ObjectError> {
        let (folder, taken_from) = (&adoption.folder, adoption.taken_from());
        let (mut lease, claimed) = match fresh {
            Some((lease, claimed)) if !lease.is_lost => (Some(lease), claimed),
            _ => (None, self.claimed_under(&taken_from, self.identity())?),
        };
        let manifest = lease.as_ref().map(|lease| lease.manifest.clone());
        let sinks = manifest.map(|Manifest { content, .. }| content.sinks).unwrap_or_default();
        let listed: BTreeMap<String, u64> = self.list(&format!("{folder}segments/"))?.into_iter().collect();
        let mut taken = Vec::new();
        for (key, left) in claimed {
            let Some(sink) = sink_of(&key) else { continue };
            let Some(tier) = heir.buffer(sink) else {
                tracing::error!(
                    sink,
                    key,
                    "an object was taken over for a sink that is not configured any more; it stays in the store"
                );
                continue;
            };
            let held = Held { key: key.clone(), taken_from: Some(taken_from.clone()) };
            if tier.disk().is_none_or(|disk| disk.store().held().contains(&held)) {
                continue;
            }
            // What is gone was delivered: claims were written after the question what is there, or before.
            let is_there = match key.starts_with(folder.as_str()) {
                true => listed.contains_key(&key),
                false => self.exists(&key)?,
            };
            if !is_there {
                continue;
            }
            if let Some((stored, place)) = self.content(held, left)? {
                taken.push(Taken { tier, stored, place });
            }
        }
        if let Some(lease) = &mut lease {
            // What is told of its disk is true while nobody has taken its place.
            self.renew(lease)?;
        }
        let lease = lease.filter(|lease| !lease.is_lost);
        let lost = match &lease {
            Some(_) => lost(heir, folder, &sinks, &listed),
            None => Vec::new(),
        };
        let mut inheritance = Inheritance::new(heir.checkpoints());
        let mut sum = Amount::default();
        for Taken { tier, stored, place } in taken {
            stored.accounts.values().for_each(|amount| sum += *amount);
            inheritance.take(&tier, place, stored);
        }
        for (sink, tier, pipeline, amount) in &lost {
            tracing::error!(%folder, sink, pipeline, events = amount.events, bytes = amount.bytes, "events are lost that lay on the disk of an agent that is gone");
            inheritance.lose(tier, pipeline, *amount);
        }
        let ready = inheritance.commit(Adoption { is_in: true, ..adoption.clone() });
        if !heir.save() {
            tracing::warn!(%folder, "what was taken over does not stand in the checkpoints yet");
        }
        tracing::warn!(%folder, events = sum.events, bytes = sum.bytes, "took over what an agent that is gone left in the object store");
        ready.deliver();
        heir.beat()?;
        if lease.is_some() {
            let settled = sinks.values().flat_map(|content| &content.settled);
            for key in settled.filter(|name| name.contains('/')) {
                self.store.delete(key)?;
            }
        }
        match lease {
            Some(lease) => self.close(heir, folder, lease.manifest, &lease.etag),
            None => Ok(()),
        }
    }

    /// What lies in an object, and where it is; `None` where nothing of it can be used.
    fn content(&self, held: Held, left: Left) -> Result<Option<(StoredParts, ObjectPlace)>, ObjectError> {
        let Held { key, taken_from } = held;
        let known = left.stored.as_ref().and_then(|stored| stored.object.as_ref());
        let written = known.map_or_else(now, |place| place.written);
        let place = ObjectPlace { key, bytes: left.bytes, written, taken_from };
        let key = place.key.as_str();
        if let Some(stored) = left.stored {
            return Ok(Some((stored, place)));
        }
        // Nothing was said of it: all that lies in it.
        let read = Header::read(|offset, length| {
            self.store.get_range(key, offset, length).map_err(io::Error::other)
        });
        match read {
            Ok(header) => {
                let mut accounts: BTreeMap<String, Amount> = BTreeMap::new();
                for part in &header.parts {
                    *accounts.entry(part.pipeline.clone()).or_default() += part.amount;
                }
                let parts = all_parts(header.parts.len());
                Ok(Some((StoredParts { parts, accounts, object: None }, place)))
            }
            Err(HeaderError::Io(error)) => match error.downcast::<ObjectError>() {
                Ok(error) if error.kind == ObjectErrorKind::Missing => Ok(None),
                Ok(error) => Err(error),
                Err(error) => Err(ObjectError { kind: ObjectErrorKind::Retry, message: error.to_string() }),
            },
            Err(HeaderError::Damaged(reason)) => {
                tracing::error!(
                    key,
                    reason,
                    "an object of an agent that is gone is damaged, and how much lies in it is not known; it stays in the store"
                );
                Ok(None)
            }
        }
    }
}

/// What lay on the disk and nowhere else, by sink and pipeline.
fn lost(
    heir: &dyn Heir,
    folder: &str,
    sinks: &BTreeMap<String, SinkContent>,
    listed: &BTreeMap<String, u64>,
) -> Vec<(String, Arc<MemoryTier>, String, Amount)> {
    let mut lost = Vec::new();
    for (sink, content) in sinks {
        let Some(tier) = heir.buffer(sink) else { continue };
        let below = format!("{folder}segments/{sink}/");
        let uploaded: BTreeSet<u64> = listed
            .keys()
            .filter(|key| key.starts_with(&below))
            .filter_map(|key| number_in_key(key))
            .collect();
        let mut sum: BTreeMap<&str, Amount> = BTreeMap::new();
        for (number, stored) in &content.files {
            let number = u64::from_str_radix(number, 16).ok();
            if stored.object.is_none() && number.is_none_or(|number| !uploaded.contains(&number)) {
                for (pipeline, amount) in &stored.accounts {
                    *sum.entry(pipeline).or_default() += *amount;
                }
            }
        }
        for (pipeline, amount) in sum {
            lost.push((sink.clone(), Arc::clone(&tier), pipeline.to_owned(), amount));
        }
    }
    lost
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
