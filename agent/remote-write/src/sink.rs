//! The sink as the assembly sees it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use weir_pipeline::sink::{Drive, Driving};

use crate::client::Client;
use crate::driver::Driver;
use crate::metrics::Metrics;
use crate::settings::{Settings, SettingsError};

/// Brings samples to a receiver of remote write.
pub struct RemoteWrite {
    settings: Arc<Settings>,
    client: Arc<Client>,
    metrics: Arc<Metrics>,
}

// === impl RemoteWrite ===

impl RemoteWrite {
    /// A sink of these settings. No connection is made; secrets are read when they are needed first.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings.
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Result<RemoteWrite, SettingsError> {
        settings.check()?;
        let client = Arc::new(Client::new(&settings)?);
        Ok(RemoteWrite { settings: Arc::new(settings), client, metrics })
    }
}

impl Drive for RemoteWrite {
    fn drive(self: Box<Self>, driving: Driving) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Driver::new(self.settings, self.client, self.metrics, driving).run())
    }
}
