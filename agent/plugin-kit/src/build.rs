//! Building: a plugin's folder to its component, `NAME.wasm` in the folder.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use weir_manifest::{ManifestError, SECTION_NAME, read_manifest};
use weir_toolchain::Progress;

use crate::project::{Language, Project};

mod guest;
mod javascript;
mod python;
mod rust;

/// A component begins so; a core module has a 1 in byte 5 and a 0 in byte 7.
const COMPONENT_HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// A finished component.
#[derive(Clone, Debug)]
pub struct Built {
    /// The component.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The compiler for Rust.
    #[error(transparent)]
    Toolchain(#[from] weir_toolchain::Error),
    /// A program is not there.
    #[error("no {program}: {problem}; {advice}")]
    Missing {
        /// The program.
        program: &'static str,
        /// What was tried.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// A program failed; what it said stands above.
    #[error("{what} failed: {problem}")]
    Failed {
        /// What was done.
        what: String,
        /// How it ended.
        problem: String,
    },
    /// There is no place to keep what is fetched.
    #[error("no cache folder: neither XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    /// Not one component.
    #[error("{0}")]
    Result(String),
    /// The component is not a plugin.
    #[error("what was built is not a plugin: {0}")]
    Manifest(#[from] ManifestError),
    /// A file or folder.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Builds a plugin. What compilers say goes to standard error as they say it.
pub fn build(project: &Project, progress: &dyn Progress) -> Result<Built, BuildError> {
    let wasm = match project.language {
        Language::Rust => rust::build(project, progress)?,
        Language::JavaScript => with_manifest(project, javascript::build(project, progress)?)?,
        Language::Python => with_manifest(project, python::build(project, progress)?)?,
    };
    if !wasm.starts_with(&COMPONENT_HEADER) {
        return Err(BuildError::Result(
            "what was built is a core module, not a component; does it call the SDK's export macro?"
                .to_owned(),
        ));
    }
    read_manifest(&wasm)?;
    let path = project.component();
    replace(&path, &wasm).map_err(io_error("write", &path))?;
    Ok(Built { path, bytes: wasm.len() as u64 })
}

/// Appends the manifest as the section that Rust's linker would have made of it.
fn with_manifest(project: &Project, mut wasm: Vec<u8>) -> Result<Vec<u8>, BuildError> {
    let path = project.manifest();
    let manifest = fs::read(&path).map_err(io_error("read", &path))?;
    wasm.push(0);
    leb128(1 + SECTION_NAME.len() + manifest.len(), &mut wasm);
    leb128(SECTION_NAME.len(), &mut wasm);
    wasm.extend_from_slice(SECTION_NAME.as_bytes());
    wasm.extend_from_slice(&manifest);
    Ok(wasm)
}

fn leb128(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Written beside it and renamed, so that an agent that runs never reads half a component.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    temporary.write_all(bytes)?;
    set_readable(temporary.as_file())?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A temporary file is its owner's alone; a component is for everybody.
fn set_readable(file: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Io { action, path, source }
}
