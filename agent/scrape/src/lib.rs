//! The source `scrape`: metrics that targets expose, read in turn.
//!
//! What is scraped when and how is that of Prometheus 3, from target labels to staleness; `docs/SCRAPING.md` says where
//! it is not. One thread (`net-NAME`) finds targets, asks them and reads what they answer while it comes in; the source's
//! own thread makes rows of a scrape that succeeded as a whole.

mod body;
mod cache;
mod client;
mod clock;
mod commit;
mod discovery;
mod duration;
mod engine;
mod ingest;
#[doc(hidden)]
pub mod measure;
mod metrics;
mod outgoing;
mod profile;
mod report;
mod schedule;
mod series_rules;
mod settings;
mod source;
mod target;
#[cfg(test)]
mod tests;

pub use discovery::{Discovery, Found, TargetGroup};
pub use duration::{format_duration, parse_duration};
pub use metrics::{Failure, Health, ScrapeMetrics, TargetSnapshot};
pub use settings::{
    Auth, Class, Error, FileDiscovery, HttpDiscovery, HttpSettings, Identity, Job, Profile, Protocol,
    ScrapeSettings, Secret, Tls, short_target,
};
pub use source::Scrape;
