//! The driver against a fake receiver, and the client against sockets.

mod fake;
mod negotiation;
mod random;
mod retries;
mod rig;
mod sending;
