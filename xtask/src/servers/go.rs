//! Servers and tools that are written in Go: built once from a pinned module of this repository, outside the checkout.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::instance;
use crate::{
    error::{Error, IoContext, Result},
    files::empty,
    process,
    repository::Repository,
    ui::Step,
};

/// Where modules with their pinned dependencies lie.
const MODULES: &str = "integration-tests/servers";
/// Where the archive from go.dev is unpacked to, which not every PATH knows.
const USUAL: &str = "/usr/local/go/bin/go";
/// Minutes on an idle machine of two cores; a busy one, and a slow network, are given their time.
const BUILD_LIMIT: Duration = Duration::from_secs(2400);

/// A program of a module.
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The package that it is built from; `.` is the module itself.
    pub package: &'static str,
}

/// The folder with these programs of the module, built unless that was done before. `what` completes the announcement.
pub fn build(repository: &Repository, module: &str, programs: &[Program], what: &str) -> Result<PathBuf> {
    let source = repository.root().join(MODULES).join(module);
    let finished =
        instance::servers_folder()?.join("builds").join(format!("{module}-{:016x}", fingerprint(&source)?));
    let _one_at_a_time = instance::lock(&finished)?;
    if finished.is_dir() {
        return Ok(finished);
    }
    let go = find()?;
    let step = Step::start("go build", format!("{what}, once"));
    let unfinished = instance::beside(&finished, "unfinished");
    empty(&unfinished)?;
    for Program { name, package } in programs {
        let mut command = Command::new(&go);
        command.current_dir(&source).args(["build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o"]);
        command.arg(unfinished.join(name)).arg(package).stdout(Stdio::null());
        if let Err(cause) = process::run_within(&mut command, BUILD_LIMIT) {
            step.failed(format!("no {name}"));
            return Err(Error::failed(format!("cannot build {name} in {}: {cause}", source.display())));
        }
    }
    fs::rename(&unfinished, &finished).while_doing("name", &finished)?;
    step.done(finished.display());
    Ok(finished)
}

/// Changes with everything that a build is made of.
fn fingerprint(source: &Path) -> Result<u64> {
    let mut names: Vec<PathBuf> = fs::read_dir(source)
        .while_doing("read", source)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    names.sort();
    let mut content = Vec::new();
    for path in names {
        content.extend(fs::read(&path).while_doing("read", &path)?);
        content.push(0);
    }
    Ok(xxhash_rust::xxh3::xxh3_64(&content))
}

/// Debian's Go is too old to fetch the one that the modules ask for, so it is not installed from there.
fn find() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|folder| folder.join("go"));
    in_path.chain([PathBuf::from(USUAL)]).find(|program| program.is_file()).ok_or_else(|| {
        Error::failed(format!(
            "no Go, which builds this server. Install Go 1.26 or newer as https://go.dev/doc/install says; it is \
             taken from PATH or {USUAL}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_known_by_what_it_is_made_of() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("go.mod"), "module a").unwrap();
        let first = fingerprint(folder.path()).unwrap();
        assert_eq!(fingerprint(folder.path()).unwrap(), first);
        fs::write(folder.path().join("main.go"), "package main").unwrap();
        assert_ne!(fingerprint(folder.path()).unwrap(), first);
    }

    #[test]
    fn the_modules_are_pinned() {
        let modules = Repository::find().unwrap().root().join(MODULES);
        for module in ["registry", "cosign", "minio"] {
            for file in ["go.mod", "go.sum"] {
                assert!(modules.join(module).join(file).is_file(), "{module}/{file}");
            }
        }
    }
}
