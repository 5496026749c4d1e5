//! Running cargo and what it built: one profile, `--locked`, the shared target directory, and a failure that
//! says what was being done.

use std::{
    collections::BTreeSet,
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    error::{Error, IoContext, Result},
    repository::{LOCK_HELD, Repository},
};

/// The folders whose sub-folders are crates with workspaces of their own, apart from the agent's.
pub const GUEST_FOLDERS: [&str; 3] = ["sdk", "plugins", "integration-tests/plugins"];

/// The cargo that started us, else the one in PATH.
pub fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

/// `cargo SUBCOMMAND --release --locked` in the checkout, building into `target`.
pub fn build_command(repository: &Repository, subcommand: &str, target: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .current_dir(repository.root())
        .args([subcommand, "--release", "--locked"])
        .env("CARGO_TARGET_DIR", target)
        .env(LOCK_HELD, "1");
    command
}

/// The same command once more, as it is now.
pub fn copy(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => copy.env(name, value),
            None => copy.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        copy.current_dir(folder);
    }
    copy
}

/// Runs to the end with stdin closed, and fails unless it ends with 0.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|cause| Error::failed(format!("cannot start {}: {cause}", name(command))))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::failed(format!("{what} failed: {} ended with {status}", name(command))))
}

/// As [`run`], and returns what was written to stdout.
pub fn output(command: &mut Command, what: &str) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|cause| Error::failed(format!("cannot start {}: {cause}", name(command))))?;
    if !output.status.success() {
        return Err(Error::failed(format!("{what} failed: {} ended with {}", name(command), output.status)));
    }
    String::from_utf8(output.stdout).map_err(|_| {
        Error::failed(format!("{what} failed: {} wrote bytes that are not UTF-8", name(command)))
    })
}

/// Runs a cargo command that reports in JSON, and returns the files it built that end in `extension` (for
/// programs: ""), also those that were up to date.
pub fn artefacts(command: &mut Command, extension: &str, what: &str) -> Result<Vec<PathBuf>> {
    command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child =
        command.spawn().map_err(|cause| Error::failed(format!("cannot start {}: {cause}", name(command))))?;
    let mut files = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
            files.extend(built_files(&line, extension));
        }
    }
    let status = child.wait().map_err(|cause| Error::failed(format!("{what} failed: {cause}")))?;
    if status.success() {
        return Ok(files);
    }
    Err(Error::failed(format!("{what} failed: {} ended with {status}", name(command))))
}

/// Builds the agent and returns the path of its binary.
pub fn build_agent(repository: &Repository, features: &[&str]) -> Result<PathBuf> {
    let mut command = build_command(repository, "build", repository.target());
    command.args(["--package", "weir"]);
    if !features.is_empty() {
        command.arg("--features").arg(features.join(","));
    }
    run(&mut command, "building the agent")?;
    Ok(repository.target().join("release/weir"))
}

/// Builds a program of the integration tests and returns its path.
pub fn build_example(repository: &Repository, name: &str) -> Result<PathBuf> {
    let mut command = build_command(repository, "build", repository.target());
    command.args(["--package", "integration-tests", "--example", name]);
    run(&mut command, &format!("building {name}"))?;
    Ok(repository.target().join("release/examples").join(name))
}

/// What `cargo metadata --no-deps` says of the workspace that `manifest` belongs to.
pub fn metadata(repository: &Repository, manifest: &Path) -> Result<Value> {
    let mut command = Command::new(program());
    command
        .current_dir(repository.root())
        .args(["metadata", "--no-deps", "--offline", "--format-version=1", "--manifest-path"])
        .arg(manifest);
    let text = output(&mut command, &format!("reading {}", repository.show(manifest)))?;
    serde_json::from_str(&text).map_err(|cause| Error::failed(format!("cargo metadata: {cause}")))
}

/// The packages of a [`metadata`] answer.
pub fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// One manifest for each workspace of guest code (the SDK, the plugins, the test plugins).
pub fn guest_workspaces(repository: &Repository) -> Result<Vec<PathBuf>> {
    let mut roots = BTreeSet::new();
    for folder in GUEST_FOLDERS {
        for crate_folder in crate_folders(&repository.root().join(folder))? {
            let answer = metadata(repository, &crate_folder.join("Cargo.toml"))?;
            if let Some(root) = answer["workspace_root"].as_str() {
                roots.insert(PathBuf::from(root).join("Cargo.toml"));
            }
        }
    }
    Ok(roots.into_iter().collect())
}

/// The sub-folders of `folder` that hold a manifest, sorted.
pub fn crate_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).while_doing("read", folder)? {
        let path = entry.while_doing("read", folder)?.path();
        if path.join("Cargo.toml").is_file() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The names of all packages in the checkout.
pub fn member_names(repository: &Repository) -> Result<BTreeSet<String>> {
    let mut manifests = guest_workspaces(repository)?;
    manifests.push(repository.root().join("Cargo.toml"));
    let mut names = BTreeSet::new();
    for manifest in manifests {
        let answer = metadata(repository, &manifest)?;
        names.extend(
            packages(&answer).iter().filter_map(|package| package["name"].as_str().map(str::to_owned)),
        );
    }
    Ok(names)
}

fn built_files(line: &str, extension: &str) -> Vec<PathBuf> {
    let Ok(message) = serde_json::from_str::<Value>(line) else { return Vec::new() };
    if message["reason"] != "compiler-artifact" {
        return Vec::new();
    }
    let files = message["filenames"].as_array().map(Vec::as_slice).unwrap_or_default();
    let wanted = |path: &PathBuf| path.extension().unwrap_or_default() == OsStr::new(extension);
    files.iter().filter_map(Value::as_str).map(PathBuf::from).filter(wanted).collect()
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let verb = command.get_args().next().unwrap_or_default().to_string_lossy();
    format!("{program} {verb}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_files_are_read_from_artefact_messages_only() {
        let artefact =
            r#"{"reason":"compiler-artifact","filenames":["/t/a.wasm","/t/liba.rlib"],"fresh":true}"#;
        for (line, expected) in [
            (artefact, vec![PathBuf::from("/t/a.wasm")]),
            (r#"{"reason":"build-finished","success":true}"#, vec![]),
            ("not json", vec![]),
        ] {
            assert_eq!(built_files(line, "wasm"), expected, "{line}");
        }
    }

    #[test]
    fn the_workspace_names_its_packages() {
        let names = member_names(&Repository::find().unwrap()).unwrap();
        assert!(names.contains("weir") && names.contains("xtask"), "{names:?}");
    }
}
