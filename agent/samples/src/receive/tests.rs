//! The decoder as a whole: what requests become, what is refused, and that no bytes do harm.

mod cases;
mod properties;
mod support;
