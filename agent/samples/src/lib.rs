//! Samples without IO: label sets, documents of samples, the formats in which metrics are exposed and sent, relabelling.
//!
//! A sample goes through the agent as an event does: as a row of a batch, then as a document of a segment. Its document
//! is a [`document`]; its stream is the family of metrics that it belongs to ([`weir_event::stream::Family`]).

pub mod cardinality;
pub mod document;
pub mod exposition;
pub mod json;
pub mod labels;
pub mod proto;
pub mod receive;
pub mod relabel;
pub mod row;
pub mod stage;
pub mod varint;
pub mod wire;
