//! Storing a group: the object first, then its entry in the index. Blocks; every step may be repeated.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_buffer::object::{ObjectError, ObjectErrorKind, ObjectStore, Put};
use weir_buffer::segment::Documents;

use super::group::GroupKey;
use crate::index::{Entry, Index, MAX_PART_BYTES, MAX_READ_BYTES};
use crate::key;
use crate::metrics::Metrics;
use crate::object::{Encoded, encode};
use crate::settings::Settings;

/// How often one try begins again because somebody else wrote the index.
const MAX_CONFLICTS: u32 = 8;

/// What storing needs.
pub struct Store {
    pub settings: Settings,
    pub store: Arc<dyn ObjectStore>,
    pub metrics: Arc<Metrics>,
}

/// What became of a try.
pub struct Attempt {
    /// The object, if it could be made.
    pub encoded: Option<Arc<Encoded>>,
    pub result: Result<(), ObjectError>,
}

// === impl Store ===

impl Store {
    /// Makes the object unless it was made, stores it, and puts it into the index.
    pub fn run(
        &self,
        key: &GroupKey,
        documents: &[Arc<Documents>],
        encoded: Option<Arc<Encoded>>,
    ) -> Attempt {
        let encoded = match encoded {
            Some(encoded) => encoded,
            None => match encode(documents, &key.namespace, key.hour, &self.settings) {
                Ok(encoded) => Arc::new(encoded),
                Err(error) => {
                    let message = format!("cannot make an object of the archive: {error}");
                    return Attempt { encoded: None, result: Err(retry(message)) };
                }
            },
        };
        let result = self.store(key, &encoded);
        Attempt { encoded: Some(encoded), result }
    }

    fn store(&self, key: &GroupKey, encoded: &Encoded) -> Result<(), ObjectError> {
        let prefix = self.prefix(key);
        // Refused: it is there, since its name says what is in it.
        self.store.put_if_absent(&format!("{prefix}{}", encoded.entry.name), encoded.bytes.clone())?;
        self.enter(key, &prefix, &encoded.entry)
    }

    fn prefix(&self, key: &GroupKey) -> String {
        let root = key::root(&self.settings.prefix, &self.settings.cluster);
        key::hour_prefix(&root, &key::folder(&key.namespace), key.hour)
    }

    /// Puts an entry into the first part of the index that takes it.
    fn enter(&self, key: &GroupKey, prefix: &str, entry: &Entry) -> Result<(), ObjectError> {
        let mut conflicts = 0;
        let mut part = 0;
        while part <= key::LAST_PART {
            let name = format!("{prefix}{}", key::index_name(&self.settings.node, part));
            let (index, etag) = match self.store.get(&name, MAX_READ_BYTES) {
                Ok(object) => match Index::parse(&object.bytes) {
                    Ok(index) => (index, Some(object.etag)),
                    // Readers say that it is damaged; what is in it may still be of use to somebody.
                    Err(_) => {
                        part += 1;
                        continue;
                    }
                },
                Err(error) if error.kind == ObjectErrorKind::Missing => (self.empty(key, part), None),
                Err(error) => return Err(error),
            };
            if index.objects.iter().any(|known| known.name == entry.name) {
                return Ok(());
            }
            let Some(bytes) = with(index, entry)? else {
                part += 1;
                continue;
            };
            let put = match etag {
                Some(etag) => self.store.put_if_match(&name, bytes, &etag)?,
                None => self.store.put_if_absent(&name, bytes)?,
            };
            if matches!(put, Put::Stored(_)) {
                return Ok(());
            }
            self.metrics.conflicts.fetch_add(1, Ordering::Relaxed);
            conflicts += 1;
            if conflicts > MAX_CONFLICTS {
                let message =
                    format!("the index {name} is written by others all the time; is \"node\" unique?");
                return Err(retry(message));
            }
        }
        Err(retry(format!("the index of {prefix} has more than {} parts", key::LAST_PART)))
    }

    fn empty(&self, key: &GroupKey, part: u32) -> Index {
        Index {
            cluster: self.settings.cluster.clone(),
            namespace: key.namespace.to_string(),
            hour: key.hour.text(),
            node: self.settings.node.clone(),
            part,
            objects: Vec::new(),
        }
    }
}

/// The index with one more entry, unless it would be too large with it.
fn with(mut index: Index, entry: &Entry) -> Result<Option<Vec<u8>>, ObjectError> {
    let is_empty = index.objects.is_empty();
    index.objects.push(entry.clone());
    let bytes = index.render().map_err(|error| retry(format!("cannot write an index: {error}")))?;
    Ok((is_empty || bytes.len() <= MAX_PART_BYTES).then_some(bytes))
}

fn retry(message: String) -> ObjectError {
    ObjectError { kind: ObjectErrorKind::Retry, message }
}
