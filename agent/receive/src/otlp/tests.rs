//! The source as a whole: what requests become, and what clients hear.

mod cases;
mod properties;
mod refusals;
mod service;
mod support;
