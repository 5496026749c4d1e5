//! The source `remote_write`: samples by Prometheus remote write 1.0 and 2.0, told apart by the content type.
//!
//! [`serve`] answers one connection, whoever accepted it and whether or not TLS lies below, over HTTP/1.1 and HTTP/2.
//!
//! 1. A client hears of success when all its samples are safe, and not before.
//! 2. What is wrong with some series does not hold up the others: they are made safe, and the client hears 400 with the
//!    reasons, after which it does not send again. Whatever it shall send again it hears 503 of.
//! 3. The requests of a connection are handed on in the order in which they came.
//! 4. What a request may take of memory is known before it is taken: its bytes, what they unpack to, and the rows of that.

mod body;
mod http;
mod service;
mod settings;
#[cfg(test)]
mod tests;
mod writer;

pub use service::serve;
pub use settings::{DEFAULT_PATH, Settings, THANOS_PATH};
pub use weir_samples::receive::{DecodeError, Decoded, Decoder, Version};

pub use crate::http::{Auth, ConnectionError};
