//! `cargo xtask plugins`: builds plugin folders to WebAssembly components in the target directory.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use weir_toolchain::Toolchain;

use crate::{
    arguments::{Arguments, Output},
    cargo,
    error::{Error, IoContext, Result},
    repository::Repository,
    ui::{self, Step},
};

/// Shown by `cargo xtask plugins --help`.
pub const HELP: &str = "\
Build plugins to WebAssembly components.

Usage: cargo xtask plugins [OPTIONS] [NAME]...

Each folder of plugins/ becomes TARGET/plugins/FOLDER.wasm, where TARGET is CARGO_TARGET_DIR or else
weir/target in your cache folder; target/plugins in the checkout is made a link to it. What is up to date is
not built again.

Arguments:
  [NAME]...          Only these folders, of plugins/ or of integration-tests/plugins/

Options:
      --all          Also the test plugins in integration-tests/plugins/
      --output json  Print a JSON array of objects with name, path and bytes
  -h, --help         Print this help

Environment:
  WEIR_WASM_TOOLCHAIN=rustup|debian
                     The compiler to use. Without it: the toolchain's own wasm32-unknown-unknown target if it
                     has one or rustup can add it, else Debian's compiler, which root can have installed.

Exit codes: 0 built, 1 a plugin did not build, 2 wrong usage";

/// First-party plugins, and those that only tests use.
const FOLDER: &str = "plugins";
const TEST_FOLDER: &str = "integration-tests/plugins";
/// A component begins so; a core module has a 1 in byte 5 and a 0 in byte 7.
const COMPONENT_HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// Which plugins to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those of plugins/.
    FirstParty,
    /// These and the test plugins.
    All,
    /// Named ones of either.
    Named(Vec<String>),
}

/// A finished component.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// The folder's name.
    pub name: String,
    /// The component.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// The command.
pub fn main(repository: &Repository, mut arguments: Arguments) -> Result<()> {
    let mut output = Output::Text;
    let mut all = false;
    let mut names = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument.as_str() {
            "--all" => all = true,
            "--output" => output = arguments.output()?,
            _ => names.push(argument.positional()?),
        }
    }
    let selection = match (all, names.is_empty()) {
        (true, true) => Selection::All,
        (false, true) => Selection::FirstParty,
        (false, false) => Selection::Named(names),
        (true, false) => return Err(Error::Usage("--all and names exclude each other".to_owned())),
    };
    let folders = select(repository, &selection)?;
    let _hold = repository.hold()?;
    print(&build_folders(repository, &folders)?, output);
    Ok(())
}

/// Builds what is selected and says so.
pub fn build(repository: &Repository, selection: &Selection) -> Result<Vec<Plugin>> {
    build_folders(repository, &select(repository, selection)?)
}

fn build_folders(repository: &Repository, folders: &[PathBuf]) -> Result<Vec<Plugin>> {
    let toolchain = choose(repository)?;
    let step = Step::start("plugins", format!("{} to WebAssembly; {}", listed(folders), toolchain.why));
    let mut plugins = Vec::new();
    for folder in folders {
        match build_one(repository, &toolchain, folder) {
            Ok(plugin) => plugins.push(plugin),
            Err(error) => {
                step.failed(repository.show(folder));
                return Err(error);
            }
        }
    }
    link_into_checkout(repository)?;
    step.done(format!(
        "{} in {}",
        ui::counted(plugins.len() as u64, "component"),
        repository.plugins().display()
    ));
    Ok(plugins)
}

fn choose(repository: &Repository) -> Result<Toolchain> {
    Toolchain::choose(repository.root(), &ui::Steps).map_err(|error| {
        let message = error.to_string();
        if error.is_usage() { Error::Usage(message) } else { Error::Failed(message) }
    })
}

fn select(repository: &Repository, selection: &Selection) -> Result<Vec<PathBuf>> {
    let mut folders = cargo::crate_folders(&repository.root().join(FOLDER))?;
    if *selection != Selection::FirstParty {
        folders.extend(cargo::crate_folders(&repository.root().join(TEST_FOLDER))?);
    }
    if let Selection::Named(names) = selection {
        if let Some(unknown) = names.iter().find(|name| !folders.iter().any(|folder| is_named(folder, name)))
        {
            return Err(Error::Usage(format!("no plugin `{unknown}`; there are {}", listed(&folders))));
        }
        folders.retain(|folder| names.iter().any(|name| is_named(folder, name)));
    }
    if folders.is_empty() {
        return Err(Error::failed(format!("no folder of {FOLDER}/ holds a Cargo.toml")));
    }
    Ok(folders)
}

fn build_one(repository: &Repository, toolchain: &Toolchain, folder: &Path) -> Result<Plugin> {
    let what = format!("building {}", repository.show(folder));
    let cargo = cargo::build_command(repository, "build", &repository.guest_target());
    let mut command = toolchain.prepare(cargo);
    command.arg("--manifest-path").arg(folder.join("Cargo.toml"));
    let built = cargo::artefacts(&mut command, "wasm", &what)?;
    let [artefact] = built.as_slice() else {
        return Err(Error::failed(format!(
            "{what} made {} .wasm files, not one; does its manifest say crate-type = [\"cdylib\"]?",
            built.len()
        )));
    };
    let bytes = fs::read(artefact).while_doing("read", artefact)?;
    if !bytes.starts_with(&COMPONENT_HEADER) {
        return Err(Error::failed(format!(
            "{what} made a core module, not a component; does it call the SDK's export macro?"
        )));
    }
    let name = folder_name(folder);
    let path = repository.plugins().join(format!("{name}.wasm"));
    replace(&path, &bytes)?;
    Ok(Plugin { name, path, bytes: bytes.len() as u64 })
}

/// Writes beside `path` and renames, so that an agent that runs never reads half a component. What is the
/// same is left alone, so that its time stamp stays.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).while_doing("create", folder)?;
    }
    let temporary = path.with_extension("wasm.tmp");
    fs::write(&temporary, bytes).while_doing("write", &temporary)?;
    fs::rename(&temporary, path).while_doing("replace", path)
}

/// configs/quickstart.yaml names its plugins by a path within the checkout.
fn link_into_checkout(repository: &Repository) -> Result<()> {
    let link = repository.root().join("target/plugins");
    let plugins = repository.plugins();
    if link == plugins || fs::read_link(&link).is_ok_and(|present| present == plugins) {
        return Ok(());
    }
    let parent = repository.root().join("target");
    fs::create_dir_all(&parent).while_doing("create", &parent)?;
    match fs::remove_file(&link) {
        Ok(()) => {}
        Err(cause) if cause.kind() == ErrorKind::NotFound => {}
        // A real folder, from a build with another target directory: its content is ours to replace.
        Err(_) => remove_folder(&link).while_doing("replace", &link)?,
    }
    std::os::unix::fs::symlink(&plugins, &link).while_doing("link", &link)
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn print(plugins: &[Plugin], output: Output) {
    match output {
        Output::Json => {
            let list: Vec<Value> = plugins
                .iter()
                .map(|plugin| json!({"name": plugin.name, "path": plugin.path, "bytes": plugin.bytes}))
                .collect();
            println!("{:#}", Value::from(list));
        }
        Output::Text => {
            for plugin in plugins {
                println!(
                    "{:<24} {:>9} bytes  {}",
                    plugin.name,
                    ui::grouped(plugin.bytes),
                    plugin.path.display()
                );
            }
        }
    }
}

fn is_named(folder: &Path, name: &str) -> bool {
    folder.file_name().is_some_and(|own| own == name)
}

fn folder_name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn listed(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder_name(folder)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_component_keeps_its_time_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugins/a.wasm");
        replace(&path, b"one").unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        replace(&path, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn an_unknown_name_is_wrong_usage() {
        let repository = Repository::find().unwrap();
        let error = select(&repository, &Selection::Named(vec!["no-such-plugin".to_owned()])).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("no-such-plugin"), "{error}");
    }
}
