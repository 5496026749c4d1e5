//! The `s3` sink: from its configuration to what [`weir_archive`] takes.

use std::sync::Arc;

use weir_archive::{Archive, Metrics, Reader, Settings};
use weir_buffer::object::ObjectStore;
use weir_config::{Config, S3Sink as Configured, SinkKind};

use super::{BuildError, Built, Counts};
use crate::objects::{self, Bucket};

/// Whose events an archive has, and who writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The cluster.
    pub cluster: String,
    /// The node.
    pub node: String,
}

pub(super) fn build(sink: &Configured, names: &Names) -> Result<Built, BuildError> {
    let metrics = Arc::<Metrics>::default();
    let archive = Archive::new(settings(sink, names), store(sink)?, Arc::clone(&metrics))?;
    Ok(Built { driver: Box::new(archive), route: None, counts: Counts::Archive(metrics) })
}

/// What the sink is told. Its buffer's memory alone bounds what gathers.
fn settings(sink: &Configured, names: &Names) -> Settings {
    Settings {
        prefix: sink.prefix_in(&names.cluster),
        index_fields: sink.index_fields.clone(),
        level: i32::from(sink.level),
        max_object_bytes: sink.max_object_bytes.bytes(),
        max_object_age: sink.max_object_age,
        max_open_bytes: u64::MAX,
        ..Settings::new(&names.cluster, &names.node)
    }
}

/// Nothing is sent yet.
fn store(sink: &Configured) -> Result<Arc<dyn ObjectStore>, BuildError> {
    let runtime = objects::runtime().map_err(BuildError::Runtime)?;
    Ok(Arc::new(Bucket::new(&sink.bucket, &runtime)))
}

/// Reads what the sink of a configuration writes, on all nodes of its cluster. Nothing is sent yet.
pub fn reader(sink: &Configured, config: &Config) -> Result<Reader, BuildError> {
    // Who looks makes nothing.
    let mut sink = sink.clone();
    sink.bucket.create = false;
    Ok(Reader::new(store(&sink)?, &sink.prefix_in(&config.cluster), &config.cluster))
}

// === impl Names ===

impl Names {
    /// Those that a sink of this kind is told; none for a kind that does not ask.
    pub fn of(kind: &SinkKind, config: &Config) -> Names {
        match kind {
            SinkKind::S3(_) => Names { cluster: config.cluster.clone(), node: config.node.clone() },
            _ => Names::default(),
        }
    }
}
