//! The sheet as a pipeline drives it: lines in, documents out.

mod envelope;
mod harness;
mod keep_only;
mod lines;
mod model;
mod order;
mod outcomes;
mod pairs;
mod properties;
mod remove;
mod rename;
mod set;
mod tree;
