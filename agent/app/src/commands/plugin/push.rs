//! `weir plugin push`: a component into a registry.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use weir_manifest::{MAX_ARTEFACT_BYTES, read_interfaces, read_manifest};
use weir_oci::{Digest, Reference, wasm_config};

use super::registry::{self, Registry, member};
use crate::artifacts;
use crate::cli::Output;

const EXAMPLES: &str = "\
Examples:
  weir plugin push geo-tags.wasm oci://registry.example/team-a/geo-tags:1.0.0
  weir plugin push geo-tags.wasm oci://127.0.0.1:5000/geo-tags:dev --output json | jq -r .pinned

Sign it by the digest that is printed, and give that reference to the agent:
  cosign sign --key cosign.key registry.example/team-a/geo-tags@sha256:…

Exit codes:
  0  it is in the registry
  1  it is no plugin, or the registry does not take it
  2  wrong usage";

/// Push a plugin to a registry, and print the reference that pins it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to: oci://host[:port]/repository:tag
    #[arg(value_name = "REF")]
    reference: Reference,
    #[command(flatten)]
    registry: Registry,
    #[command(flatten)]
    output: Output,
}

/// Pushes it.
pub fn run(arguments: &Arguments) -> ExitCode {
    registry::tell(push(arguments), &arguments.output, |pushed| {
        format!("digest  {}\npinned  {}\n", member(pushed, "digest"), member(pushed, "pinned"))
    })
}

fn push(arguments: &Arguments) -> Result<Value, String> {
    let Arguments { file, reference, .. } = arguments;
    let component = read(file)?;
    let about = |error: weir_manifest::ManifestError| format!("{} is no plugin: {error}", file.display());
    let manifest = read_manifest(&component).map_err(about)?;
    let interfaces = read_interfaces(&component).map_err(about)?;
    let annotations = BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), manifest.name),
        ("org.opencontainers.image.version".to_owned(), manifest.version),
    ]);
    let config = wasm_config(&component, &interfaces.imports, &interfaces.exports);
    let settings = arguments.registry.settings(reference)?;
    let pushed = weir_oci::push(reference, &settings, &component, &config, annotations);
    let digest = artifacts::block_on(pushed)?.map_err(|error| error.to_string())?;
    Ok(json!({
        "reference": reference.to_string(),
        "pinned": reference.pinned(digest).to_string(),
        "digest": digest.to_string(),
        "layer": Digest::of(&component).to_string(),
        "size": component.len(),
    }))
}

/// One byte more than allowed is enough for the manifest's reader to refuse it.
fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read =
        File::open(file).and_then(|file| file.take(MAX_ARTEFACT_BYTES as u64 + 1).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| format!("cannot read {}: {error}", file.display()))
}
