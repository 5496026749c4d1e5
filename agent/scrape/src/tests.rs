//! Tests of the whole source, and what they stand on.

mod answers;
mod discovering;
mod limits;
mod model;
mod native;
mod rig;
mod secrets;
mod staleness;
mod threads;
mod timing;
