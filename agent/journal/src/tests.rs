//! Tests of the source as a whole, and of the two formats that it goes between.

mod documents;
mod export;
mod following;
mod real;
mod restarts;
mod rig;
