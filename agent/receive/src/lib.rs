//! Sources that are pushed to: Fluent Forward, OTLP and Prometheus remote write.
//!
//! A client hears that its message was taken when all of it is safe, and not before. Listening, decoding and answering
//! are here; what "safe" is, is the pipeline's business ([`weir_pipeline::source::Outlet`]).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod collect;
pub mod documents;
pub mod forward;
pub mod gate;
mod http;
pub mod intake;
mod listen;
pub mod otlp;
mod pace;
mod receiver;
pub mod remote_write;
mod secret;
pub mod tls;
mod window;

pub use http::Auth;
pub use receiver::{Protocol, Receiver, ReceiverSettings};
pub use secret::Secret;
pub use window::{WINDOW, WINDOW_MESSAGES};
