//! `weir config schema`: the JSON Schema of the configuration.

use std::process::ExitCode;

use crate::output;

/// Prints the schema.
pub fn schema() -> ExitCode {
    output::print(&output::json(&weir_config::schema()), ExitCode::SUCCESS)
}
