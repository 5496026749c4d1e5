//! Write Weir plugins in Rust.
//!
//! A transform plugin is handed batches of rows, as columns of the fields that it said it reads, and answers with
//! what to drop and what to change. It implements [`Transform`] and is exported by [`export_transform!`]:
//!
//! ```
//! use serde::Deserialize;
//! use weir_sdk::{Batch, ConfigError, Outcome, Plan, Read, Reason, Transform};
//!
//! /// Drops what comes from users on a list.
//! struct Mute {
//!     users: Vec<String>,
//!     user: Read,
//!     muted: Reason,
//! }
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     users: Vec<String>,
//! }
//!
//! impl Transform for Mute {
//!     type Config = Config;
//!
//!     fn configure(config: Config, plan: &mut Plan) -> Result<Mute, ConfigError> {
//!         if config.users.is_empty() {
//!             return Err(ConfigError::at("users", "is empty, name at least one user"));
//!         }
//!         plan.remove("user.email");
//!         Ok(Mute { users: config.users, user: plan.read("user.name"), muted: plan.dropped("muted") })
//!     }
//!
//!     fn transform(&mut self, batch: &Batch<'_>, outcome: &mut Outcome) {
//!         let user = batch.column(self.user);
//!         for row in 0..batch.rows() {
//!             if user.str(row).is_some_and(|name| self.users.iter().any(|muted| muted == name)) {
//!                 outcome.drop(row, self.muted);
//!             }
//!         }
//!     }
//! }
//!
//! // In a plugin, not in a test: weir_sdk::export_transform!(Mute, manifest = "manifest.json");
//!
//! // What it does is tested without WebAssembly:
//! use weir_sdk::json;
//! use weir_sdk::testing::{Agent, Fate};
//!
//! let mut agent = Agent::<Mute>::configure(json!({"users": ["bot"]}))?;
//! let run = agent.run([
//!     r#"{"user": {"name": "bot"}}"#,
//!     r#"{"user": {"name": "ann", "email": "ann@example.com"}}"#,
//! ])?;
//! assert_eq!(run.rows[0], Fate::Dropped("muted".into()));
//! assert_eq!(run.rows[1], Fate::Kept(json!({"user": {"name": "ann"}})));
//! # Ok::<(), weir_sdk::testing::Error>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bindings;
#[doc(hidden)]
pub mod export;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

mod batch;
mod column;
mod outcome;
mod plan;
mod transform;

pub use batch::{AttributeColumn, Batch};
pub use column::{Column, Kind};
pub use outcome::{ColumnBuilder, Outcome};
pub use plan::{Attribute, Plan, Read, Reason, Write};
pub use serde_json::{Value as Json, json};
pub use transform::{ConfigError, NoConfig, Transform};
