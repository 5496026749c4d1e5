//! The source as a whole: what requests become, and what clients hear.

mod negotiation;
mod partial;
mod refusals;
mod service;
mod support;
mod whole;
