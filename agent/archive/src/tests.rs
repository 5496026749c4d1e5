//! Tests of the whole: what was written is read.

mod damage;
mod fake;
mod format;
mod index;
mod large;
mod random;
mod resume;
mod rig;
mod writing;
