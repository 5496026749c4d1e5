//! The sink `remote_write`: samples to whoever speaks the Prometheus remote write protocol, 1.0 and 2.0.
//!
//! Split so that what decides does no IO: [`encode`] makes requests, [`verdict`] says what an answer means,
//! [`negotiate`] which protocol is spoken, [`book`] what the ledger hears, [`driver`] keeps the state. [`client`] alone
//! speaks HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod batch;
mod book;
mod client;
mod driver;
pub mod encode;
mod exchange;
mod headers;
mod metrics;
mod negotiate;
mod pace;
mod reason;
mod settings;
mod shard;
mod sink;
mod verdict;

pub use client::ClientError;
pub use metrics::{AnswerClass, Kind, Metrics};
pub use reason::Reason;
pub use settings::{Auth, Identity, Password, Protocol, Secret, Settings, SettingsError, Tls};
pub use sink::RemoteWrite;

#[cfg(test)]
mod tests;
