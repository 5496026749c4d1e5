//! The vmagent that Debian packages, to compare with.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    error::{Error, IoContext, Result},
    process::run_within,
    servers::builds::{self, Build},
};

/// The package that it is in. Installing it would start a database, so it is only unpacked.
const PACKAGE: &str = "victoria-metrics";
const PROGRAM: &str = "usr/bin/vmagent";
const LIMIT: Duration = Duration::from_secs(300);

/// The program: from PATH, else out of Debian's package, fetched once.
pub fn find() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(found) =
        env::split_paths(&path).map(|folder| folder.join("vmagent")).find(|path| path.is_file())
    {
        return Ok(found);
    }
    let build =
        Build { name: "vmagent", made_of: &[], step: "apt-get download", why: "vmagent, to compare with" };
    let folder = builds::once(&build, unpack).map_err(|cause| {
        Error::failed(format!(
            "no vmagent: {cause}. It is taken from PATH, or on Debian from the package {PACKAGE}: as root, \
             apt-get install -y --no-install-recommends {PACKAGE}"
        ))
    })?;
    Ok(folder.join(PROGRAM))
}

fn unpack(folder: &Path) -> Result<()> {
    // A list of packages that is there already may do.
    let _updated = run("apt-get", &["update", "-qq"], folder);
    run("apt-get", &["download", "-qq", PACKAGE], folder)?;
    for entry in fs::read_dir(folder).while_doing("read", folder)?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run("dpkg-deb", &["--extract", &path.display().to_string(), "."], folder)?;
            fs::remove_file(&path).while_doing("remove", &path)?;
        }
    }
    if folder.join(PROGRAM).is_file() {
        return Ok(());
    }
    Err(Error::failed(format!("the package has no {PROGRAM}")))
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdout(Stdio::null());
    run_within(&mut command, LIMIT).map_err(Error::failed)
}
