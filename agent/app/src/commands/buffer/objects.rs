//! The objects of buffers, fetched for a person to look into.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_buffer::disk::ObjectPlace;
use weir_buffer::disk::inspect::{InspectError, Inspected};
use weir_buffer::object::{ObjectErrorKind, ObjectStore as _};

use crate::cli::DataPlace;
use crate::objects::Bucket;

/// The buckets of the sinks, where a configuration says which they are.
pub struct Buckets(BTreeMap<String, Arc<Bucket>>);

/// What became of an object.
pub enum Looked {
    /// It is here.
    Found(Inspected),
    /// It is not there: it was delivered meanwhile, or is lost.
    Missing,
    /// What is there is no segment file that can be used.
    Damaged(String),
    /// It could not be fetched.
    Unknown(String),
}

// === impl Buckets ===

impl Buckets {
    /// Nothing is asked for yet.
    pub fn new(place: &DataPlace) -> Result<Buckets, String> {
        let Some(config) = place.config()? else { return Ok(Buckets(BTreeMap::new())) };
        let runtime = crate::objects::runtime().map_err(|error| format!("cannot start: {error}"))?;
        let mut buckets = BTreeMap::new();
        for (sink, configured) in &config.sinks {
            let buffer = configured.buffer.as_ref().and_then(|buffer| config.buffers.get(buffer));
            if let Some(store) = buffer.and_then(|buffer| buffer.object_store.as_ref()) {
                buckets.insert(sink.to_string(), Arc::new(Bucket::new(&store.bucket, &runtime)));
            }
        }
        Ok(Buckets(buckets))
    }

    /// Fetches an object whole. Blocks.
    pub fn look(&self, sink: &str, place: &ObjectPlace) -> Looked {
        let Some(bucket) = self.0.get(sink) else {
            return Looked::Unknown("it lies in the object store; give the configuration with -c".to_owned());
        };
        match bucket.get(&place.key, place.bytes) {
            Ok(object) => match Inspected::object(&place.key, object.bytes) {
                Ok(inspected) => Looked::Found(inspected),
                Err(InspectError::Damaged(reason)) => Looked::Damaged(reason),
                Err(InspectError::Io(error)) => Looked::Unknown(error.to_string()),
            },
            Err(error) if error.kind == ObjectErrorKind::Missing => Looked::Missing,
            Err(error) => Looked::Unknown(error.to_string()),
        }
    }
}
