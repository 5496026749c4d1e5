//! Fluent Forward, version 1, as a server: fluentd, Fluent Bit, Docker and the fluent-logger libraries push to it.
//!
//! The protocol is that of "Fluentd Forward Protocol Specification (v1)" and of what version 1.5 and Fluent Bit add to it:
//! zstd, metadata, signals. [`session::serve`] speaks it over any connection. What is under it does no IO: [`msgpack`] finds
//! the ends of values and makes JSON of them, [`message`] knows the four modes, [`handshake`] the shared key.
//!
//! 1. A message is taken whole or not at all: nothing of one with a fault in it goes on.
//! 2. A message that has a chunk's name is acknowledged when it is safe, and not before.
//! 3. Memory beyond a small buffer for each connection is asked for before it is used ([`crate::intake::Intake::room`]).
//! 4. What a client declares is checked before it is waited for: lengths, depths, counts.
//! 5. Every wait for a client ends.

pub mod handshake;
pub mod message;
pub mod msgpack;
pub mod session;
pub mod settings;

pub use session::{SessionError, serve};
pub use settings::Settings;
