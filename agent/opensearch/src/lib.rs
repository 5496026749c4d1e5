//! The `opensearch` sink: finished documents into OpenSearch, each once, whatever it answers.
//!
//! Split so that what decides does no IO: [`bulk`] makes requests and reads answers, [`outcome`] says what an answer
//! means, [`repair`] and [`limits`] change documents, [`driver`] keeps the state. [`client`] alone speaks HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bulk;
mod client;
mod document;
mod driver;
mod exchange;
mod faults;
mod lanes;
mod letters;
mod limits;
mod metrics;
mod outcome;
mod pace;
mod parcel;
mod repair;
mod route;
mod settings;
mod sink;
mod template;

pub use client::{Client, ClientError};
pub use limits::FieldLimits;
pub use metrics::{ItemOutcome, Metrics};
pub use route::IndexRoute;
pub use settings::{Auth, Compression, DeadLetters, Identity, Password, Secret, Settings, Tls};
pub use sink::OpenSearchSink;
pub use template::{ApplyError, Change, State, TemplateSettings, apply, changes};

#[cfg(test)]
mod tests;
