//! The `weir:manifest` custom section of a plugin: what it is, what it wants and what it may touch, read from
//! the artefact without running it, and the check of a configured plan against it and the operator's grants.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod admit;
mod check;
mod interfaces;
mod manifest;
mod path;
mod quantity;
mod read;
mod schema;

pub use admit::{Access, Authority, Grants, Refusal, written_paths};
pub use check::{KNOWN_WORLDS, Problem};
pub use interfaces::{Interfaces, read_interfaces};
pub use manifest::{Limits, Manifest, Paths};
pub use path::{EVERYTHING, MAX_PATH_BYTES, PathError, check_path, covers};
pub use read::{MAX_ARTEFACT_BYTES, MAX_SECTION_BYTES, ManifestError, SECTION_NAME, read_manifest};
pub use schema::{SchemaProblem, check_config};
