//! Reading the manifest out of an artefact: a walk over its sections, nothing is compiled or run.

use wasmparser::{Encoding, Parser, Payload};

use crate::check::{KNOWN_WORLDS, Problem, problems};
use crate::manifest::Manifest;

/// The custom section that holds the manifest as JSON. rustc's `#[link_section]` puts it into the core module
/// that lies inside the component; other tool chains may put it into the component itself.
pub const SECTION_NAME: &str = "weir:manifest";

/// No plugin needs more; compiling one would cost gigabytes.
pub const MAX_ARTEFACT_BYTES: usize = 64 << 20;

/// Room for a long configuration schema.
pub const MAX_SECTION_BYTES: usize = 256 << 10;

/// Components in components in components: tools make three levels.
const MAX_DEPTH: usize = 16;

/// Why an artefact has no usable manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Larger than [`MAX_ARTEFACT_BYTES`].
    #[error("the artefact has {bytes} bytes, more than the {MAX_ARTEFACT_BYTES} allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It does not begin as WebAssembly does.
    #[error("not WebAssembly: the file does not begin with \\0asm")]
    NotWasm,
    /// A core module.
    #[error(
        "a core WebAssembly module, not a component: build it with `cargo xtask plugins`, \
        or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// Cut off or corrupt.
    #[error("malformed WebAssembly at byte {offset}: {message}")]
    Malformed {
        /// Where.
        offset: usize,
        /// What the parser says.
        message: String,
    },
    /// Components nested beyond what any tool makes.
    #[error("the component nests more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// No section of this name.
    #[error(
        "no `{SECTION_NAME}` section: the artefact is not a weir plugin, \
        or its tool chain dropped the section"
    )]
    Missing,
    /// More than one section of this name: nobody could say which holds.
    #[error("{count} `{SECTION_NAME}` sections where one is wanted: was another plugin linked in?")]
    Several {
        /// How many.
        count: usize,
    },
    /// Larger than [`MAX_SECTION_BYTES`].
    #[error("the manifest has {bytes} bytes, more than the {MAX_SECTION_BYTES} allowed")]
    SectionTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON, or not of the manifest's shape.
    #[error("the manifest is not valid at line {line}, column {column}: {message}")]
    Json {
        /// Line in the section, from 1.
        line: usize,
        /// Column in bytes.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A world that this agent cannot run.
    #[error("the plugin implements the world `{world}`, which this agent does not know \
        (it knows {})", KNOWN_WORLDS.join(", "))]
    UnknownWorld {
        /// Its name.
        world: String,
    },
    /// JSON of the right shape that makes no sense.
    #[error("the manifest is not valid: {}", join(.0))]
    Invalid(Vec<Problem>),
}

// === impl ManifestError ===

impl ManifestError {
    pub(crate) fn malformed(error: wasmparser::BinaryReaderError) -> ManifestError {
        ManifestError::Malformed { offset: error.offset(), message: one_line(error.message()) }
    }
}

/// Reads and checks the manifest of a component, without running anything of it.
pub fn read_manifest(wasm: &[u8]) -> Result<Manifest, ManifestError> {
    if wasm.len() > MAX_ARTEFACT_BYTES {
        return Err(ManifestError::TooLarge { bytes: wasm.len() });
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(ManifestError::NotWasm);
    }
    let manifest = parse(find_section(wasm)?)?;
    check(&manifest)?;
    Ok(manifest)
}

fn find_section(wasm: &[u8]) -> Result<&[u8], ManifestError> {
    let mut sections = Sections::default();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(ManifestError::malformed)?;
        sections.see(payload)?;
    }
    let found = match sections.count {
        0 => return Err(ManifestError::Missing),
        1 => sections.first,
        count => return Err(ManifestError::Several { count }),
    };
    if found.len() > MAX_SECTION_BYTES {
        return Err(ManifestError::SectionTooLarge { bytes: found.len() });
    }
    Ok(found)
}

/// What the walk has met so far.
#[derive(Default)]
struct Sections<'a> {
    depth: usize,
    count: usize,
    first: &'a [u8],
}

// === impl Sections ===

impl<'a> Sections<'a> {
    fn see(&mut self, payload: Payload<'a>) -> Result<(), ManifestError> {
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if self.depth == 0 => {
                return Err(ManifestError::CoreModule);
            }
            // The parser keeps a state for every level, so that depth is memory.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(ManifestError::TooDeep);
                }
            }
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == SECTION_NAME => {
                self.count += 1;
                self.first = section.data();
            }
            _ => (),
        }
        Ok(())
    }
}

fn parse(section: &[u8]) -> Result<Manifest, ManifestError> {
    serde_json::from_slice(section).map_err(|error| ManifestError::Json {
        line: error.line(),
        column: error.column(),
        message: printable(without_position(&error.to_string())),
    })
}

/// What is quoted of an artefact ends up in logs and on terminals.
fn printable(text: &str) -> String {
    let escaped = |character: char| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// The parser shows the bytes that it found as a list of lines.
fn one_line(text: &str) -> String {
    printable(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// serde_json appends ` at line 1 column 2`, which the error says already.
fn without_position(message: &str) -> &str {
    message.rfind(" at line ").and_then(|at| message.get(..at)).unwrap_or(message)
}

fn check(manifest: &Manifest) -> Result<(), ManifestError> {
    if let Some(world) = manifest.worlds.iter().find(|world| !KNOWN_WORLDS.contains(&world.as_str())) {
        return Err(ManifestError::UnknownWorld { world: printable(world) });
    }
    let problems = problems(manifest);
    if !problems.is_empty() {
        return Err(ManifestError::Invalid(problems));
    }
    Ok(())
}

fn join(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests;
