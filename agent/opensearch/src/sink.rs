//! The sink as the assembly sees it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use weir_pipeline::sink::{Drive, Driving};

use crate::client::{Client, ClientError};
use crate::driver::Driver;
use crate::metrics::Metrics;
use crate::route::IndexRoute;
use crate::settings::Settings;

/// Brings documents into OpenSearch.
pub struct OpenSearchSink {
    settings: Arc<Settings>,
    client: Arc<Client>,
    route: Arc<IndexRoute>,
    metrics: Arc<Metrics>,
}

// === impl OpenSearchSink ===

impl OpenSearchSink {
    /// A sink of these settings. No connection is made; secrets are read when they are needed first.
    pub fn new(settings: Settings) -> Result<OpenSearchSink, ClientError> {
        let client = Arc::new(Client::new(&settings)?);
        let route = Arc::new(IndexRoute::new(settings.index.clone(), settings.max_indices_per_hour));
        Ok(OpenSearchSink { settings: Arc::new(settings), client, route, metrics: Arc::default() })
    }

    /// Says which index documents go to.
    pub fn route(&self) -> Arc<IndexRoute> {
        Arc::clone(&self.route)
    }

    /// What it counts.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }
}

impl Drive for OpenSearchSink {
    fn drive(self: Box<Self>, driving: Driving) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let driver = Driver::new(self.settings, self.client, self.metrics, driving);
        Box::pin(driver.run())
    }
}
