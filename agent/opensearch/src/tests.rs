//! The driver against a stand-in that keeps what it takes and fails as it is told, on a clock that is not the world's.

mod fake;
mod faults;
mod http;
mod outcomes;
mod random;
mod rig;
mod tls;
