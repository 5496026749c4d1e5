//! The way to WebAssembly where rustup cannot add the target: Debian's own compiler builds the standard library
//! from Debian's copy of its source.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt;
use crate::error::Error;
use crate::progress::Progress;

/// What is needed: the compiler of Debian's browsers, which follows upstream closely, its cargo, the source of
/// its standard library, its LLVM, and a linker.
const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld"];

/// Debian's compiler.
pub(crate) const RUSTC: &str = "/usr/bin/rustc";

/// Whether every package is installed.
pub(crate) fn is_complete() -> bool {
    apt::has(&PACKAGES)
}

/// Installs what is missing and says how the compiler was come by.
pub(crate) fn ensure(progress: &dyn Progress) -> Result<String, Error> {
    if is_complete() {
        return Ok("Debian's compiler is installed".to_owned());
    }
    let why = "build WebAssembly where rustup cannot add the target";
    apt::install(&PACKAGES, why, progress)
        .map_err(|problem| Error::NoCompiler { problem, packages: PACKAGES.join(" ") })?;
    Ok("Debian's compiler, installed now".to_owned())
}

/// Turns a cargo command of another toolchain into one of Debian's.
pub(crate) fn command(other: Command) -> Command {
    let mut command = Command::new("/usr/bin/cargo");
    command.args(other.get_args());
    if let Some(folder) = other.get_current_dir() {
        command.current_dir(folder);
    }
    for (name, value) in other.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut path = OsString::from("/usr/bin:");
    path.push(env::var_os("PATH").unwrap_or_default());
    command
        .args(["-Zbuild-std=std,panic_abort"])
        .env("PATH", path)
        .env("RUSTC", RUSTC)
        // Building the standard library is an unstable flag; Debian's compiler is a stable one.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO");
    command
}

/// Debian's wasm-component-ld, which must be of the compiler's own version. `tools` is a toolchain's folder of
/// programs and ends in `lib/rustlib/HOST/bin`, as Debian's does.
pub(crate) fn linker(tools: &Path) -> PathBuf {
    let host = tools.parent().and_then(Path::file_name).unwrap_or_default();
    Path::new("/usr/lib/rustlib").join(host).join("bin/wasm-component-ld")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_linker_lies_under_the_same_host() {
        let tools = Path::new("/home/u/.rustup/toolchains/t/lib/rustlib/aarch64-unknown-linux-gnu/bin");
        assert_eq!(
            linker(tools),
            Path::new("/usr/lib/rustlib/aarch64-unknown-linux-gnu/bin/wasm-component-ld")
        );
    }

    #[test]
    fn the_command_keeps_its_arguments_and_environment() {
        let mut pinned = Command::new("cargo");
        pinned.args(["build", "--release"]).env("CARGO_TARGET_DIR", "/t").current_dir("/checkout");

        let command = command(pinned);

        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(arguments, ["build", "--release", "-Zbuild-std=std,panic_abort"]);
        assert_eq!(command.get_current_dir(), Some(Path::new("/checkout")));
        let target = command.get_envs().find(|(name, _)| *name == "CARGO_TARGET_DIR");
        assert_eq!(target.and_then(|(_, value)| value), Some("/t".as_ref()));
    }
}
