//! What lies between the stages and a sink: segments, the tiers that hold them, the acks that say when a batch is
//! safe, and the ledger that says what became of it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod ack;
pub mod disk;
pub mod ledger;
pub mod line;
pub mod memory;
pub mod object;
pub mod segment;
