//! A bucket in memory, behind a bad line: requests fail before and after they were carried out, are repeated, or arrive when
//! nobody waits for them any more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use weir_buffer::disk::format::Header;
use weir_buffer::object::{Listing, Object, ObjectError, ObjectErrorKind, ObjectStore, Put};
use weir_buffer::segment::Documents;

use crate::{Event, LATEST, identity};

pub struct FakeStore {
    pub state: Mutex<Bucket>,
    pub clock: Arc<AtomicU64>,
}

pub struct Bucket {
    pub objects: BTreeMap<String, (Vec<u8>, String)>,
    pub random: StdRng,
    /// Out of a hundred requests, so many fail.
    pub bad: u32,
    pub tags: u64,
    /// Writes that their senders gave up, and until when they arrive.
    pub late: Vec<(u64, Write)>,
}

pub enum Write {
    Put { key: String, bytes: Vec<u8>, tag: Option<String> },
    Delete(String),
}

impl Bucket {
    fn write(&mut self, write: &Write) -> Put {
        match write {
            Write::Put { key, bytes, tag } => {
                let known = self.objects.get(key).map(|(_, tag)| tag.clone());
                if known != *tag {
                    return Put::Refused;
                }
                self.tags += 1;
                let new = format!("tag-{}", self.tags);
                self.objects.insert(key.clone(), (bytes.clone(), new.clone()));
                Put::Stored(new)
            }
            Write::Delete(key) => {
                self.objects.remove(key);
                Put::Refused
            }
        }
    }
}

impl FakeStore {
    pub fn new(seed: u64, clock: &Arc<AtomicU64>) -> Arc<FakeStore> {
        let bucket = Bucket {
            objects: BTreeMap::new(),
            random: StdRng::seed_from_u64(seed),
            bad: 0,
            tags: 0,
            late: Vec::new(),
        };
        Arc::new(FakeStore { state: Mutex::new(bucket), clock: Arc::clone(clock) })
    }

    pub fn set_bad(&self, share: u32) {
        self.state.lock().unwrap().bad = share;
    }

    /// Lets what is late arrive: all of it that must by now, some of the rest.
    pub fn arrive(&self, bucket: &mut Bucket, all: bool) {
        let now = self.clock.load(Ordering::Relaxed);
        for (until, write) in std::mem::take(&mut bucket.late) {
            if all || now >= until || bucket.random.random_bool(0.2) {
                bucket.write(&write);
            } else {
                bucket.late.push((until, write));
            }
        }
    }

    /// Whether another agent has taken this one's manifest.
    pub fn is_taken(&self, agent: usize) -> bool {
        let key = format!("dev/node-{agent}/{}/agent.json", identity(agent));
        let found = self.state.lock().unwrap().objects.get(&key).map(|(bytes, _)| bytes.clone());
        found.is_some_and(|bytes| !String::from_utf8_lossy(&bytes).contains("\"is\":\"alive\""))
    }

    pub fn fails(&self) -> bool {
        let mut bucket = self.state.lock().unwrap();
        let bad = bucket.bad;
        bucket.random.random_range(0..100) < bad
    }

    /// On a bad line everything takes its time.
    fn wait(&self, bucket: &mut Bucket) {
        if bucket.bad > 0 {
            let longest = if bucket.random.random_bool(0.05) { 40_000 } else { 3_000 };
            self.clock.fetch_add(bucket.random.random_range(0..longest), Ordering::Relaxed);
        }
        self.arrive(bucket, false);
    }

    fn failed() -> ObjectError {
        ObjectError { kind: ObjectErrorKind::Retry, message: "so the seed wants it".into() }
    }

    fn write(&self, write: Write) -> Result<Put, ObjectError> {
        let mut bucket = self.state.lock().unwrap();
        self.wait(&mut bucket);
        let bad = bucket.bad;
        if bucket.random.random_range(0..100) >= bad {
            return Ok(bucket.write(&write));
        }
        match bucket.random.random_range(0..4) {
            // It never arrived.
            0 => Err(FakeStore::failed()),
            // It did, and the answer got lost.
            1 => {
                bucket.write(&write);
                Err(FakeStore::failed())
            }
            // It did, and so did its repeat, which is what is answered.
            2 => {
                bucket.write(&write);
                Ok(bucket.write(&write))
            }
            // It arrives when nobody waits for it any more.
            _ => {
                let until = self.clock.load(Ordering::Relaxed) + LATEST;
                bucket.late.push((until, write));
                Err(FakeStore::failed())
            }
        }
    }

    fn ask<T>(&self, act: impl FnOnce(&Bucket) -> T) -> Result<T, ObjectError> {
        let mut bucket = self.state.lock().unwrap();
        self.wait(&mut bucket);
        let bad = bucket.bad;
        if bucket.random.random_range(0..100) < bad {
            return Err(FakeStore::failed());
        }
        Ok(act(&bucket))
    }

    /// The events in these objects, as far as they are there.
    pub fn events(&self, keys: impl Iterator<Item = String>) -> Vec<Event> {
        let bucket = self.state.lock().unwrap();
        keys.filter_map(|key| bucket.objects.get(&key)).flat_map(|(bytes, _)| events_in(bytes)).collect()
    }
}

pub fn events_in(bytes: &[u8]) -> Vec<Event> {
    let read = |offset: u64, length: usize| {
        let start = (offset as usize).min(bytes.len());
        Ok(bytes[start..(start + length).min(bytes.len())].to_vec())
    };
    let header = Header::read(read).unwrap();
    let number = header.number.unwrap();
    let parts = 0..header.parts.len() as u8;
    parts.flat_map(|part| events_of(&header.part(number, part, None, read).unwrap().documents)).collect()
}

pub fn events_of(documents: &Documents) -> Vec<Event> {
    let parse = |document: &[u8]| {
        let text = std::str::from_utf8(document).unwrap();
        let mut words = text.split(' ').map(|word| word.parse::<u64>());
        (words.next().unwrap().unwrap() as usize, words.next().unwrap().unwrap())
    };
    documents.iter().map(|(_, document)| parse(document)).collect()
}

impl ObjectStore for FakeStore {
    fn put_if_absent(&self, key: &str, bytes: Vec<u8>) -> Result<Put, ObjectError> {
        self.write(Write::Put { key: key.to_owned(), bytes, tag: None })
    }

    fn put_if_match(&self, key: &str, bytes: Vec<u8>, etag: &str) -> Result<Put, ObjectError> {
        self.write(Write::Put { key: key.to_owned(), bytes, tag: Some(etag.to_owned()) })
    }

    fn get(&self, key: &str, limit: u64) -> Result<Object, ObjectError> {
        let found = self.ask(|bucket| bucket.objects.get(key).cloned())?;
        let found = found.filter(|(bytes, _)| bytes.len() as u64 <= limit);
        let missing = || ObjectError { kind: ObjectErrorKind::Missing, message: "there is none".into() };
        found.map(|(bytes, etag)| Object { bytes, etag }).ok_or_else(missing)
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Vec<u8>, ObjectError> {
        let whole = self.get(key, u64::MAX)?.bytes;
        let start = (offset as usize).min(whole.len());
        Ok(whole[start..(start + length).min(whole.len())].to_vec())
    }

    fn delete(&self, key: &str) -> Result<(), ObjectError> {
        self.write(Write::Delete(key.to_owned())).map(|_| ())
    }

    fn list(&self, prefix: &str, _: Option<&str>, fold: bool) -> Result<Listing, ObjectError> {
        self.ask(|bucket| {
            let mut listing = Listing::default();
            for (key, (bytes, _)) in bucket.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
                match key[prefix.len()..].split_once('/').filter(|_| fold) {
                    Some((folder, _)) => listing.folders.push(format!("{prefix}{folder}/")),
                    None => listing.objects.push((key.clone(), bytes.len() as u64)),
                }
            }
            listing.folders.dedup();
            listing
        })
    }
}
