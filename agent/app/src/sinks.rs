//! The sinks that this agent knows: the one list of them.

mod background;
mod blackhole;
mod console;
mod file;
mod lines;
mod opensearch;
mod remote_write;
mod s3;

use std::path::Path;
use std::sync::Arc;

use weir_buffer::segment::Route;
use weir_config::SinkKind;
use weir_pipeline::sink::{Drive, OneByOne, Sink};

use background::Background;
use blackhole::Blackhole;
use console::Console;
use file::File;
pub use file::PathError;
pub use opensearch::{OpenSearchView, settings as opensearch_settings};
pub use s3::{Names, reader as archive_reader};

/// A sink that is ready to be driven.
pub struct Built {
    /// Brings documents to it.
    pub driver: Box<dyn Drive>,
    /// Says where in it each document goes, if it has several places.
    pub route: Option<Arc<dyn Route>>,
    /// What it counts beside what every sink does.
    pub counts: Counts,
}

/// What sinks of some kinds count beside what every sink does.
#[derive(Clone)]
pub enum Counts {
    /// Nothing.
    None,
    /// Requests, items and indices.
    OpenSearch(OpenSearchView),
    /// Objects.
    Archive(Arc<weir_archive::Metrics>),
    /// Requests and samples.
    RemoteWrite(Arc<weir_remote_write::Metrics>),
}

/// Why a sink cannot work as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A path that leads to something else than a file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A client that cannot be made.
    #[error(transparent)]
    OpenSearch(#[from] weir_opensearch::ClientError),
    /// Settings that no archive can be written with.
    #[error(transparent)]
    Archive(#[from] weir_archive::SettingsError),
    /// Settings that nothing can be sent with.
    #[error(transparent)]
    RemoteWrite(#[from] weir_remote_write::SettingsError),
    /// No thread can be made that speaks to object stores.
    #[error("cannot start what speaks to object stores: {0}")]
    Runtime(#[source] std::io::Error),
}

/// Makes the sink that a configuration describes. Nothing is opened before the first documents come: what is missing
/// now may be there by then, and a sink that fails is tried again. What can never work is an error now.
pub fn build(name: &str, kind: &SinkKind, names: &Names, data_dir: &Path) -> Result<Built, BuildError> {
    Ok(match kind {
        SinkKind::File(settings) => simple(Background::new(File::new(settings)?)),
        SinkKind::Console => simple(Background::new(Console::default())),
        SinkKind::Blackhole => simple(Blackhole::new(name)),
        SinkKind::OpenSearch(settings) => opensearch::build(name, settings, data_dir)?,
        SinkKind::S3(settings) => s3::build(settings, names)?,
        SinkKind::RemoteWrite(settings) => remote_write::build(settings)?,
    })
}

/// A sink with one place, which takes one segment after the other.
fn simple(sink: impl Sink + 'static) -> Built {
    Built { driver: Box::new(OneByOne(Box::new(sink))), route: None, counts: Counts::None }
}

#[cfg(test)]
mod tests;
