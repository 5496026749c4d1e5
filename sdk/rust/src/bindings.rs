//! The transform world of `wit/transform.wit` as Rust types, generated. Plugins use the types around it; what a
//! plugin should not do can be done with these, which is what tests of the agent want.

#![allow(unsafe_code, missing_docs, rust_2018_idioms)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "transform",
    additional_derives: [PartialEq],
    pub_export_macro: true,
    default_bindings_module: "weir_sdk::bindings",
});

pub use exports::weir::plugin::transformer::Guest;
pub use weir::plugin::types::{
    Batch, Column, Context, Edit, NewEvent, Outcome, Patch, Plan, Reason, ReasonClass, WrittenColumn,
};
