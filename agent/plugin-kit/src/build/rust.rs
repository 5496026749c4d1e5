//! A plugin in Rust: cargo, with the target and the linker that components need.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use weir_toolchain::{Progress, Toolchain};

use super::{BuildError, io_error};
use crate::project::Project;

/// One line of what cargo reports.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

pub(super) fn build(project: &Project, progress: &dyn Progress) -> Result<Vec<u8>, BuildError> {
    let toolchain = Toolchain::choose(&project.folder, progress)?;
    let mut built = Vec::new();
    let mut work = || {
        built = cargo(project, &toolchain)?;
        Ok("built".to_owned())
    };
    let why = format!("{} to WebAssembly; {}", project.name, toolchain.why);
    progress
        .step("cargo build", &why, &mut work)
        .map_err(|problem| BuildError::Failed { what: "cargo build".to_owned(), problem })?;
    let [component] = built.as_slice() else {
        return Err(BuildError::Result(format!(
            "the crate made {} .wasm files, not one; does its Cargo.toml say crate-type = [\"cdylib\"]?",
            built.len()
        )));
    };
    fs::read(component).map_err(io_error("read", component))
}

/// The `.wasm` files of the plugin's own crate.
fn cargo(project: &Project, toolchain: &Toolchain) -> Result<Vec<PathBuf>, String> {
    let manifest = project.folder.join("Cargo.toml");
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo.current_dir(&project.folder).args(["build", "--release"]);
    let mut command = toolchain.prepare(cargo);
    command
        .args(["--message-format=json-render-diagnostics", "--manifest-path"])
        .arg(&manifest)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|error| format!("failed to start {program}: {error}"))?;
    let mut files = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            files.extend(components(&line, &manifest));
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(files) } else { Err(format!("{program} ended with {status}")) }
}

fn components(line: &str, manifest: &Path) -> Vec<PathBuf> {
    let Ok(message) = serde_json::from_str::<Message>(line) else { return Vec::new() };
    if message.reason != "compiler-artifact" || message.manifest_path != manifest {
        return Vec::new();
    }
    let is_wasm = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wasm");
    message.filenames.into_iter().filter(is_wasm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plugins_own_component_counts() {
        let line = |reason: &str, path: &str| {
            format!(
                r#"{{"reason":"{reason}","manifest_path":"{path}","filenames":["/t/a.wasm","/t/a.rlib"]}}"#
            )
        };
        let manifest = Path::new("/p/Cargo.toml");
        let found = |line: &str| components(line, manifest).len();
        assert_eq!(found(&line("compiler-artifact", "/p/Cargo.toml")), 1);
        assert_eq!(found(&line("compiler-artifact", "/other/Cargo.toml")), 0);
        assert_eq!(found(&line("build-finished", "/p/Cargo.toml")), 0);
        assert_eq!(found("warning: something"), 0);
    }
}
