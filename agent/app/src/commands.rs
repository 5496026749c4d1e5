//! The commands, one module each.

pub mod archive;
pub mod buffer;
pub mod check;
pub mod explain;
pub mod ledger;
pub mod opensearch;
pub mod plugin;
pub mod run;
pub mod schema;
pub mod tap;
pub mod top;
