//! Tools of other languages, fetched once in pinned versions and kept in the user's cache folder, outside of every
//! project.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use weir_toolchain::{Progress, apt, run_within};

use super::{BuildError, io_error};

/// Such tools are tens of megabytes, with an engine in them.
const FETCH_LIMIT: Duration = Duration::from_secs(900);
/// An engine is started and its memory taken down; on a busy machine that takes minutes.
pub(super) const COMPONENT_LIMIT: Duration = Duration::from_secs(900);
/// Written when a tool's folder is complete.
const COMPLETE: &str = "complete";

/// The folder of a tool in its version, fetched by `fetch` unless it is there.
pub(super) fn tool(
    name: &str,
    why: &str,
    progress: &dyn Progress,
    fetch: impl Fn(&Path) -> Result<(), String>,
) -> Result<PathBuf, BuildError> {
    let cache = cache_folder().ok_or(BuildError::NoCache)?;
    fs::create_dir_all(&cache).map_err(io_error("create", &cache))?;
    let (folder, lock) = (cache.join(name), cache.join(format!("{name}.lock")));
    // Held until this function ends: two builds fetch once.
    let file = File::create(&lock).map_err(io_error("create", &lock))?;
    file.lock().map_err(io_error("lock", &lock))?;
    if folder.join(COMPLETE).is_file() {
        return Ok(folder);
    }
    let mut work = || {
        // What an interrupted run left.
        if folder.is_dir() {
            fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
        }
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        fetch(&folder)?;
        fs::write(folder.join(COMPLETE), "").map_err(|error| error.to_string())?;
        Ok(format!("in {}", folder.display()))
    };
    let outcome = progress.step(&format!("fetch {name}"), why, &mut work);
    outcome.map_err(|problem| BuildError::Failed { what: format!("fetching {name}"), problem })?;
    Ok(folder)
}

/// Runs a fetching program, whose own messages go to standard error.
pub(super) fn fetch(command: &mut Command) -> Result<(), String> {
    run_within(command.stdout(Stdio::null()), FETCH_LIMIT)
}

/// Makes sure that a program can be run, by Debian's packages where that is possible.
pub(super) fn ensure(
    program: &'static str,
    packages: &[&str],
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let runs = || {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if runs() {
        return Ok(());
    }
    let advice = format!("install it, or on Debian and as root run: apt-get install {}", packages.join(" "));
    let missing = |problem| BuildError::Missing { program, problem, advice: advice.clone() };
    apt::install(packages, &format!("to have {program}, which is not in PATH"), progress).map_err(missing)?;
    if runs() { Ok(()) } else { Err(missing("it was installed and is not in PATH".to_owned())) }
}

fn cache_folder() -> Option<PathBuf> {
    let given = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = given("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    Some(cache.or_else(|| Some(given("HOME")?.join(".cache")))?.join("weir"))
}
