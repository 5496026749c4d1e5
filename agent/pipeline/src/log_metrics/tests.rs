//! What the source sends.
