//! Where things are: the checkout, the target directory outside it, and what keeps two checkouts that share
//! one target directory from running each other's binaries.
//!
//! 1. The target directory is CARGO_TARGET_DIR, else one in the user's cache, so that a second clone finds
//!    every dependency already compiled.
//! 2. Cargo names a workspace member's output by its path within the workspace and trusts time stamps, so it
//!    would take an older clone's output for its own. A marker names the checkout that built last; when
//!    another one comes, the members' fingerprints (not those of their dependencies) are forgotten.
//! 3. One command at a time works in a target directory; a second one waits and says so.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use crate::{
    cargo,
    error::{Error, IoContext, Result},
    ui,
};

/// Set for everything that is started while the lock is held, so that a nested `cargo xtask` does not wait for
/// its own caller.
pub const LOCK_HELD: &str = "WEIR_XTASK_LOCK_HELD";
/// Names the checkout whose members lie in the target directory.
const MARKER: &str = "weir-checkout";
const LOCK: &str = "weir-checkout.lock";
/// Folders of the target directory that hold a `.fingerprint` folder of ours.
const FINGERPRINTS: [&str; 3] = [
    "release/.fingerprint",
    "guest/release/.fingerprint",
    "guest/wasm32-unknown-unknown/release/.fingerprint",
];

/// The checkout and its target directory.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
    target: PathBuf,
}

/// Holds the target directory for this process until it ends.
#[derive(Debug)]
#[must_use]
pub struct Hold {
    _lock: Option<File>,
}

impl Repository {
    /// Finds the checkout from cargo's variables, else from the current folder upwards.
    pub fn find() -> Result<Self> {
        let root = find_root()?;
        let target = target_directory(&root)?;
        Ok(Repository { root, target })
    }

    /// The top of the checkout.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo builds the agent: `release/weir` lies in it.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where cargo builds plugins and the SDK, which have lock files of their own.
    pub fn guest_target(&self) -> PathBuf {
        self.target.join("guest")
    }

    /// Where finished plugins lie, as `FOLDER.wasm`.
    pub fn plugins(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// `path` as a person in the checkout would write it.
    pub fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    /// Waits for the target directory and makes sure that what lies there is this checkout's.
    pub fn hold(&self) -> Result<Hold> {
        fs::create_dir_all(&self.target).while_doing("create", &self.target)?;
        if env::var_os(LOCK_HELD).is_some() {
            return Ok(Hold { _lock: None });
        }
        let path = self.target.join(LOCK);
        let lock = File::create(&path).while_doing("create", &path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                ui::note(format!("waiting: another cargo xtask works in {}", self.target.display()));
                lock.lock().while_doing("lock", &path)?;
            }
            Err(TryLockError::Error(cause)) => return Err(Error::io("lock", &path, &cause)),
        }
        self.claim()?;
        Ok(Hold { _lock: Some(lock) })
    }

    /// Takes over a target directory in which another checkout built last.
    fn claim(&self) -> Result<()> {
        let marker = self.target.join(MARKER);
        let mine = self.root.as_os_str().as_encoded_bytes();
        if fs::read(&marker).is_ok_and(|last| last == mine) {
            return Ok(());
        }
        let members = cargo::member_names(self)?;
        for folder in FINGERPRINTS {
            forget(&members, &self.target.join(folder))?;
        }
        fs::write(&marker, mine).while_doing("write", &marker)
    }
}

/// Removes the fingerprints of `members`, so that cargo builds them again.
fn forget(members: &BTreeSet<String>, folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        // Cargo names the folder after the package and a hash of 16 digits.
        let package = name.to_str().and_then(|name| name.rsplit_once('-')).map(|(package, _hash)| package);
        if package.is_some_and(|package| members.contains(package)) {
            let path = entry.path();
            fs::remove_dir_all(&path).while_doing("remove", &path)?;
        }
    }
    Ok(())
}

/// `cargo run` tells where this package's manifest lies. The binary may have been built by another checkout,
/// so a path from compile time would be wrong.
fn find_root() -> Result<PathBuf> {
    if let Some(manifest) = env::var_os("CARGO_MANIFEST_DIR")
        && let Some(root) = Path::new(&manifest).parent()
        && is_root(root)
    {
        return Ok(root.to_owned());
    }
    let here = env::current_dir().while_doing("read", Path::new("."))?;
    match here.ancestors().find(|folder| is_root(folder)) {
        Some(root) => Ok(root.to_owned()),
        None => Err(Error::failed(format!("{} is not inside a checkout of weir", here.display()))),
    }
}

fn is_root(folder: &Path) -> bool {
    folder.join("xtask/Cargo.toml").is_file() && folder.join("wit").is_dir()
}

fn target_directory(root: &Path) -> Result<PathBuf> {
    let given = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(target) = given("CARGO_TARGET_DIR") {
        return Ok(root.join(target));
    }
    if let Some(cache) = given("XDG_CACHE_HOME").filter(|cache| cache.is_absolute()) {
        return Ok(cache.join("weir/target"));
    }
    match given("HOME") {
        Some(home) => Ok(home.join(".cache/weir/target")),
        None => Err(Error::failed(
            "no place to build in: none of CARGO_TARGET_DIR, XDG_CACHE_HOME and HOME is set",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["weir-event-0123456789abcdef", "weir-0123456789abcdef", "wasmtime-0123456789abcdef"];
        for name in names {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let members = BTreeSet::from(["weir-event".to_owned(), "weir".to_owned()]);

        forget(&members, folder.path()).unwrap();

        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["wasmtime-0123456789abcdef"]);
    }

    #[test]
    fn a_missing_folder_has_nothing_to_forget() {
        let folder = tempfile::tempdir().unwrap();
        forget(&BTreeSet::new(), &folder.path().join("absent")).unwrap();
    }

    #[test]
    fn the_checkout_is_found() {
        let repository = Repository::find().unwrap();
        assert!(repository.root().join("Cargo.toml").is_file());
        assert_eq!(repository.show(&repository.root().join("wit/transform.wit")), "wit/transform.wit");
    }
}
