//! The driver against a fake receiver, and the client against sockets.

mod fake;
mod http;
mod negotiation;
mod random;
mod retries;
mod rig;
mod sending;
mod server;
mod tls;
