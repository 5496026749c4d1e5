//! A store of objects in memory, which fails, hesitates and refuses as a seed wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use weir_buffer::object::{Listing, Object, ObjectError, ObjectErrorKind, ObjectStore, Put};

/// Keys in a page of a listing: few, so that there are several.
const PAGE: usize = 7;

pub struct FakeStore {
    pub objects: Mutex<BTreeMap<String, (Vec<u8>, u64)>>,
    random: Mutex<StdRng>,
    /// How many of 100 requests go wrong.
    pub wrong: AtomicU64,
    /// Nothing is answered.
    pub is_away: AtomicBool,
    /// Indices are not written.
    pub refuses_indices: AtomicBool,
    pub puts: AtomicU64,
    pub ranges: AtomicU64,
    pub failed: AtomicU64,
    etag: AtomicU64,
}

/// What a request meets.
#[derive(PartialEq)]
enum Luck {
    Good,
    /// It is not done, and fails.
    Fails,
    /// It is done, and fails.
    FailsLate,
    /// Somebody else was first.
    Late,
}

// === impl FakeStore ===

impl FakeStore {
    pub fn new(seed: u64) -> FakeStore {
        FakeStore {
            objects: Mutex::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            wrong: AtomicU64::new(0),
            is_away: AtomicBool::new(false),
            refuses_indices: AtomicBool::new(false),
            puts: AtomicU64::new(0),
            ranges: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            etag: AtomicU64::new(1),
        }
    }

    pub fn keys(&self, with: &str) -> Vec<String> {
        self.objects.lock().unwrap().keys().filter(|key| key.contains(with)).cloned().collect()
    }

    pub fn content(&self, key: &str) -> Vec<u8> {
        self.objects.lock().unwrap()[key].0.clone()
    }

    /// Changes an object behind everybody's back.
    pub fn change(&self, key: &str, how: impl FnOnce(&mut Vec<u8>)) {
        let mut objects = self.objects.lock().unwrap();
        how(&mut objects.get_mut(key).unwrap().0);
    }

    pub fn remove(&self, key: &str) {
        assert!(self.objects.lock().unwrap().remove(key).is_some(), "{key}");
    }

    fn luck(&self) -> Luck {
        let mut random = self.random.lock().unwrap();
        (0..random.random_range(0..20)).for_each(|_| std::thread::yield_now());
        if self.is_away.load(Ordering::SeqCst) {
            return Luck::Fails;
        }
        match random.random_ratio(self.wrong.load(Ordering::SeqCst) as u32, 100) {
            false => Luck::Good,
            true => match random.random_range(0..3) {
                0 => Luck::Fails,
                1 => Luck::FailsLate,
                _ => Luck::Late,
            },
        }
    }

    fn failed<T>(&self) -> Result<T, ObjectError> {
        self.failed.fetch_add(1, Ordering::SeqCst);
        Err(ObjectError { kind: ObjectErrorKind::Retry, message: "so the seed wants it".into() })
    }

    fn put(&self, key: &str, bytes: Vec<u8>, etag: Option<&str>) -> Result<Put, ObjectError> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        let luck = self.luck();
        if luck == Luck::Fails || key.ends_with(".json") && self.refuses_indices.load(Ordering::SeqCst) {
            return self.failed();
        }
        let mut objects = self.objects.lock().unwrap();
        let next = self.etag.fetch_add(1, Ordering::SeqCst);
        // Another writer of this name has just written the same.
        if luck == Luck::Late
            && let Some((_, etag)) = objects.get_mut(key)
        {
            *etag = next;
        }
        let known = objects.get(key);
        let put = match (known, etag) {
            (None, None) => Put::Stored(next.to_string()),
            (Some((_, tag)), Some(etag)) if tag.to_string() == etag => Put::Stored(next.to_string()),
            (Some((known, _)), None) => {
                assert!(key.ends_with(".json") || *known == bytes, "{key} says what is in it");
                Put::Refused
            }
            _ => Put::Refused,
        };
        if matches!(put, Put::Stored(_)) {
            objects.insert(key.to_owned(), (bytes, next));
        }
        if luck == Luck::FailsLate {
            return self.failed();
        }
        Ok(put)
    }
}

impl ObjectStore for FakeStore {
    fn put_if_absent(&self, key: &str, bytes: Vec<u8>) -> Result<Put, ObjectError> {
        self.put(key, bytes, None)
    }

    fn put_if_match(&self, key: &str, bytes: Vec<u8>, etag: &str) -> Result<Put, ObjectError> {
        self.put(key, bytes, Some(etag))
    }

    fn get(&self, key: &str, limit: u64) -> Result<Object, ObjectError> {
        if self.luck() != Luck::Good {
            return self.failed();
        }
        let found = self.objects.lock().unwrap().get(key).cloned();
        let Some((bytes, etag)) = found else {
            return Err(ObjectError { kind: ObjectErrorKind::Missing, message: "there is none".into() });
        };
        if bytes.len() as u64 > limit {
            return self.failed();
        }
        Ok(Object { bytes, etag: etag.to_string() })
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Vec<u8>, ObjectError> {
        self.ranges.fetch_add(1, Ordering::SeqCst);
        let whole = self.get(key, u64::MAX)?.bytes;
        let start = (offset as usize).min(whole.len());
        Ok(whole[start..(start + length).min(whole.len())].to_vec())
    }

    fn delete(&self, _: &str) -> Result<(), ObjectError> {
        panic!("an archive removes nothing")
    }

    fn list(&self, prefix: &str, after: Option<&str>, fold: bool) -> Result<Listing, ObjectError> {
        if self.luck() != Luck::Good {
            return self.failed();
        }
        let objects = self.objects.lock().unwrap();
        let mut found: BTreeSet<(String, Option<u64>)> = BTreeSet::new();
        for (key, (bytes, _)) in objects.iter() {
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            found.insert(match rest.split_once('/').filter(|_| fold) {
                Some((folder, _)) => (format!("{prefix}{folder}/"), None),
                None => (key.clone(), Some(bytes.len() as u64)),
            });
        }
        // A token, not a key, as stores have it.
        let from: usize = after.map_or(0, |token| token.strip_prefix("token-").unwrap().parse().unwrap());
        let mut listing = Listing::default();
        for (key, bytes) in found.iter().skip(from).take(PAGE) {
            match bytes {
                Some(bytes) => listing.objects.push((key.clone(), *bytes)),
                None => listing.folders.push(key.clone()),
            }
        }
        listing.next = (from + PAGE < found.len()).then(|| format!("token-{}", from + PAGE));
        Ok(listing)
    }
}
