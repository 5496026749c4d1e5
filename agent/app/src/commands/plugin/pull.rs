//! `weir plugin pull`: a component out of a registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use weir_manifest::MAX_ARTEFACT_BYTES;
use weir_oci::{Reference, Signing, Wanted};

use super::registry::{self, Registry, member};
use crate::artifacts;
use crate::cli::Output;

const EXAMPLES: &str = "\
Examples:
  weir plugin pull oci://registry.example/team-a/geo-tags:1.0.0 -o geo-tags.wasm
  weir plugin pull oci://registry.example/team-a/geo-tags@sha256:… -o geo-tags.wasm --key team-a.pub

What is written is what was pushed, byte for byte: every part of it is compared with its digest. Whether somebody
signed it is looked at with --key only.

Exit codes:
  0  the file is written
  1  it is not there, is no plugin, is altered or not signed by the key; nothing is written
  2  wrong usage";

/// Pull a plugin from a registry into a file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// What: oci://host[:port]/repository with a :tag, a @sha256:… or both
    #[arg(value_name = "REF")]
    reference: Reference,
    /// The file to write
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    file: PathBuf,
    /// Public keys as PEM, one of which must have signed it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    output: Output,
}

/// Pulls it.
pub fn run(arguments: &Arguments) -> ExitCode {
    registry::tell(pull(arguments), &arguments.output, |pulled| {
        format!("pinned  {}\nfile    {}\n", member(pulled, "pinned"), member(pulled, "file"))
    })
}

fn pull(arguments: &Arguments) -> Result<Value, String> {
    let Arguments { reference, file, .. } = arguments;
    let keys = arguments.key.as_deref().map(artifacts::read_keys).transpose()?;
    let settings = arguments.registry.settings(reference)?;
    let signing = keys.as_deref().map_or(Signing::Unsigned, Signing::By);
    let wanted = Wanted { reference, settings: &settings, signing, max_bytes: MAX_ARTEFACT_BYTES };
    let fetched = artifacts::block_on(weir_oci::fetch(None, wanted))?
        .map_err(|error| format!("{reference}: {error}"))?;
    write(file, &fetched.component).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    Ok(json!({
        "reference": reference.to_string(),
        "pinned": reference.pinned(fetched.digest).to_string(),
        "digest": fetched.digest.to_string(),
        "layer": fetched.layer.to_string(),
        "size": fetched.component.len(),
        "file": file.display().to_string(),
        "key": fetched.key,
    }))
}

/// Whole or not at all.
fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let written = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, file));
    if written.is_err() {
        let _gone = fs::remove_file(&unfinished);
    }
    written
}
