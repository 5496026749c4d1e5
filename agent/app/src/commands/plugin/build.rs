//! `weir plugin build`: a plugin's folder to its component.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use weir_plugin_kit::build::{BuildError, build};
use weir_plugin_kit::project::Project;

use super::progress::Steps;
use crate::cli::Output;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  weir plugin build
  weir plugin build plugins/geo-tags --output json

Rust: the target wasm32-unknown-unknown of the toolchain, which rustup adds where it is missing; else
Debian's own compiler, which root can have installed. WEIR_WASM_TOOLCHAIN=rustup|debian takes one.
JavaScript and Python: their tools are fetched once, in fixed versions, into XDG_CACHE_HOME/weir.

Exit codes:
  0  NAME.wasm is in the folder
  1  it did not build; what the compiler said stands above
  2  wrong usage";

/// Build a plugin's folder to its component, NAME.wasm, fetching what is missing for it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The plugin's folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    #[command(flatten)]
    output: Output,
}

/// Builds it.
pub fn run(arguments: &Arguments) -> ExitCode {
    let project = match Project::open(&arguments.folder) {
        Ok(project) => project,
        Err(error) => return failed(&error.to_string(), 1),
    };
    let built = match build(&project, &Steps) {
        Ok(built) => built,
        Err(error) => {
            let is_usage = matches!(&error, BuildError::Toolchain(error) if error.is_usage());
            return failed(&error.to_string(), if is_usage { 2 } else { 1 });
        }
    };
    match arguments.output.output {
        Format::Json => {
            let report = json!({"name": project.name, "path": built.path, "bytes": built.bytes});
            output::print(&output::json(&report), ExitCode::SUCCESS)
        }
        Format::Text => {
            let (path, bytes) = (output::shown(&built.path), output::grouped(built.bytes));
            output::print(&format!("{path}: {bytes} bytes\n"), ExitCode::SUCCESS)
        }
    }
}

fn failed(message: &str, code: u8) -> ExitCode {
    output::complain(message);
    ExitCode::from(code)
}
