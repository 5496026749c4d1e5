//! Why there is no compiler.

use std::path::PathBuf;

/// Why there is no compiler.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable that forces a route says something else.
    #[error("{variable} is `rustup` or `debian`, not `{value}`")]
    Route {
        /// Its name.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// A program is not there or cannot be run.
    #[error("failed to start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The compiler does not say where it is.
    #[error("{program} {arguments} failed: {problem}")]
    Ask {
        /// The compiler.
        program: String,
        /// What it was asked.
        arguments: String,
        /// What went wrong.
        problem: String,
    },
    /// rustup could not add the target.
    #[error("rustup cannot add {target}: {problem}")]
    TargetAdd {
        /// The target.
        target: &'static str,
        /// What went wrong.
        problem: String,
    },
    /// No way led to a compiler.
    #[error(
        "no compiler for WebAssembly: {problem}.\n\
         Install Rust with rustup and give it the target (`rustup target add wasm32-unknown-unknown`), or, on Debian \
         and as root, run: apt-get install --no-install-recommends {packages}"
    )]
    NoCompiler {
        /// What was tried last.
        problem: String,
        /// Debian's packages.
        packages: String,
    },
    /// No linker for WebAssembly lies beside the compiler, nor anywhere in PATH.
    #[error("no wasm-ld at {} and none in PATH: install lld, or Rust with rustup", beside.display())]
    NoLinker {
        /// Where it was looked for first.
        beside: PathBuf,
    },
}

// === impl Error ===

impl Error {
    /// Whether the caller's own words are wrong, not the machine.
    pub fn is_usage(&self) -> bool {
        matches!(self, Error::Route { .. })
    }
}
