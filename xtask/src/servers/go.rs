//! Servers, clients and tools that are written in Go: built once from a pinned module of this repository, outside the
//! checkout.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::builds::{self, Build};
use crate::{
    error::{Error, Result},
    process,
    repository::Repository,
};

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
    /// Build tags, separated by commas. Programs of one module that have the same share what is compiled.
    pub tags: &'static str,
}

/// The folder with these programs of the module, which lies in this folder of the checkout, built unless that was done
/// before. `what` completes the announcement.
pub fn build(repository: &Repository, module: &str, programs: &[Program], what: &str) -> Result<PathBuf> {
    let source = repository.root().join(module);
    let name = module.rsplit('/').next().unwrap_or(module);
    let made_of = builds::files_of(&source)?;
    let build = Build { name, made_of: &made_of, step: "go build", why: what };
    builds::once(&build, |folder| programs.iter().try_for_each(|program| compile(&source, program, folder)))
}

fn compile(source: &Path, program: &Program, into: &Path) -> Result<()> {
    let Program { name, package, tags } = program;
    let mut command = Command::new(find()?);
    command.current_dir(source).args(["build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o"]);
    command.arg(into.join(name));
    if !tags.is_empty() {
        command.args(["-tags", tags]);
    }
    command.arg(package).stdout(Stdio::null());
    process::run_within(&mut command, BUILD_LIMIT)
        .map_err(|cause| Error::failed(format!("cannot build {name} in {}: {cause}", source.display())))
}

/// Debian's Go is too old to fetch the one that the modules ask for, so it is not installed from there.
fn find() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|folder| folder.join("go"));
    in_path.chain([PathBuf::from(USUAL)]).find(|program| program.is_file()).ok_or_else(|| {
        Error::failed(format!(
            "no Go, which builds this. Install Go 1.26 or newer as https://go.dev/doc/install says; it is \
             taken from PATH or {USUAL}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modules_are_pinned() {
        let root = Repository::find().unwrap().root().join("integration-tests");
        let servers = ["servers/registry", "servers/cosign", "servers/minio", "servers/observability"];
        for module in servers.into_iter().chain(["clients/fluent-go"]) {
            for file in ["go.mod", "go.sum"] {
                assert!(root.join(module).join(file).is_file(), "{module}/{file}");
            }
        }
    }
}
