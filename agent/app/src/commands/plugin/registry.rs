//! What the commands that speak to registries share.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use weir_oci::{Reference, Settings};

use crate::artifacts;
use crate::cli::Output;
use crate::output::{self, Format};

/// How a registry is spoken to.
#[derive(Debug, Args)]
pub struct Registry {
    /// A docker config.json with the credentials. Default: that in $DOCKER_CONFIG, else in ~/.docker, if there is one
    #[arg(long, value_name = "FILE")]
    registry_config: Option<PathBuf>,
    /// Certificates that are trusted beside the system's, as PEM
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Speak plain HTTP. To a registry on this machine that is done anyway, unless --ca is given
    #[arg(long)]
    insecure: bool,
    /// How long an answer may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

// === impl Registry ===

impl Registry {
    /// The same for the client.
    pub fn settings(&self, reference: &Reference) -> Result<Settings, String> {
        let ca = self.ca.as_deref().map(artifacts::read_file).transpose()?;
        let credential = match self.registry_config.clone().or_else(artifacts::docker_config) {
            None => None,
            Some(path) => {
                let wrong = |error: String| format!("{}: {error}", path.display());
                let text = String::from_utf8(artifacts::read_file(&path)?);
                let text = text.map_err(|_| wrong("it is not UTF-8 text".to_owned()))?;
                weir_oci::find_credential(&text, reference).map_err(|error| wrong(error.to_string()))?
            }
        };
        Ok(Settings { credential, ca, insecure: self.insecure, timeout: Duration::from_secs(self.timeout) })
    }
}

/// Prints the result, as JSON or as text; or the complaint.
pub fn tell(
    result: Result<serde_json::Value, String>,
    output: &Output,
    text: impl Fn(&serde_json::Value) -> String,
) -> ExitCode {
    match result {
        Err(message) => {
            output::complain(&message);
            ExitCode::FAILURE
        }
        Ok(value) => {
            let printed = match output.output {
                Format::Json => output::json(&value),
                Format::Text => text(&value),
            };
            output::print(&printed, ExitCode::SUCCESS)
        }
    }
}

/// A member that is text.
pub fn member<'a>(value: &'a serde_json::Value, key: &str) -> &'a str {
    value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default()
}
