//! `weir plugin verify`: whether a plugin in a registry is signed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use weir_manifest::MAX_ARTEFACT_BYTES;
use weir_oci::{FetchError, Reference, Signing, VerifyError, Wanted};

use super::registry::{self, Registry, member};
use crate::artifacts;
use crate::cli::Output;
use crate::output::{self, Format, Painter, Style};

const EXAMPLES: &str = "\
Examples:
  weir plugin verify oci://registry.example/team-a/geo-tags:1.0.0 --key team-a.pub
  weir plugin verify oci://registry.example/team-a/geo-tags@sha256:… --key team-a.pub --output json

Signatures of cosign are found in both of their places: behind the tag sha256-….sig and as bundles among the referrers.
The keys are ECDSA P-256 or Ed25519.

Exit codes:
  0  one of the keys signed it
  1  none of them did, or it cannot be fetched
  2  wrong usage";

/// Look whether a plugin in a registry is signed by a key, as the agent would
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// What: oci://host[:port]/repository with a :tag, a @sha256:… or both
    #[arg(value_name = "REF")]
    reference: Reference,
    /// Public keys as PEM; one that signed it is enough
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    output: Output,
}

/// Verifies it.
pub fn run(arguments: &Arguments) -> ExitCode {
    let result = verify(arguments);
    let failed = matches!(&result, Ok(found) if found["verified"] == false);
    if failed && arguments.output.output == Format::Json {
        return output::print(&output::json(&result.unwrap_or_default()), ExitCode::FAILURE);
    }
    let result = match result {
        Ok(found) if failed => Err(format!("{}: {}", arguments.reference, member(&found, "error"))),
        other => other,
    };
    registry::tell(result, &arguments.output, |found| {
        let verdict = Painter::stdout().paint(Style::Green, "signed");
        format!("{verdict}  {}\nby      {}\n", member(found, "pinned"), member(found, "key"))
    })
}

/// That there is no good signature is a result; that nobody could look is none.
fn verify(arguments: &Arguments) -> Result<Value, String> {
    let Arguments { reference, key, .. } = arguments;
    let keys = artifacts::read_keys(key)?;
    let settings = arguments.registry.settings(reference)?;
    let wanted =
        Wanted { reference, settings: &settings, signing: Signing::By(&keys), max_bytes: MAX_ARTEFACT_BYTES };
    match artifacts::block_on(weir_oci::fetch(None, wanted))? {
        Ok(fetched) => Ok(json!({
            "verified": true,
            "reference": reference.to_string(),
            "pinned": reference.pinned(fetched.digest).to_string(),
            "digest": fetched.digest.to_string(),
            "key": fetched.key,
        })),
        Err(FetchError::Signature(
            error @ (VerifyError::NotSigned { .. } | VerifyError::NoneGood { .. }),
        )) => Ok(json!({"verified": false, "reference": reference.to_string(), "error": error.to_string()})),
        Err(error) => Err(format!("{reference}: {error}")),
    }
}
