//! What is built or fetched once and kept outside the checkout: known by what it is made of, finished or not there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::instance;
use crate::{
    error::{Error, IoContext, Result},
    files::empty,
    ui::Step,
};

/// What there is to have.
pub struct Build<'a> {
    /// Begins the folder's name.
    pub name: &'a str,
    /// Files that it is made of: with others it is another build.
    pub made_of: &'a [PathBuf],
    /// What makes it, such as `go build`.
    pub step: &'a str,
    /// Completes the announcement.
    pub why: &'a str,
}

/// The build's folder, filled by `make` unless that was done before. Two commands make it once.
pub fn once(build: &Build<'_>, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let name = format!("{}-{:016x}", build.name, fingerprint(build.made_of)?);
    let finished = instance::servers_folder()?.join("builds").join(name);
    once_in(&finished, build, make)
}

fn once_in(finished: &Path, build: &Build<'_>, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let _one_at_a_time = instance::lock(finished)?;
    if finished.is_dir() {
        return Ok(finished.to_owned());
    }
    let step = Step::start(build.step, format!("{}, once", build.why));
    let unfinished = instance::beside(finished, "unfinished");
    empty(&unfinished)?;
    if let Err(error) = make(&unfinished) {
        step.failed(format!("no {}", build.name));
        return Err(error);
    }
    fs::rename(&unfinished, finished).while_doing("name", finished)?;
    step.done(finished.display());
    Ok(finished.to_owned())
}

/// The files of a folder, without those of folders in it, in the order of their names.
pub fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).while_doing("read", folder)?;
    let paths = entries.map(|entry| Ok(entry.while_doing("read", folder)?.path()));
    let mut files: Vec<PathBuf> = paths.collect::<Result<_>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    if files.is_empty() {
        return Err(Error::failed(format!("{} holds no file", folder.display())));
    }
    Ok(files)
}

/// Changes with everything that a build is made of.
fn fingerprint(files: &[PathBuf]) -> Result<u64> {
    let mut content = Vec::new();
    for path in files {
        content.extend(fs::read(path).while_doing("read", path)?);
        content.push(0);
    }
    Ok(xxhash_rust::xxh3::xxh3_64(&content))
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    const BUILD: Build<'static> = Build { name: "thing", made_of: &[], step: "make", why: "a thing" };

    #[test]
    fn a_build_is_known_by_what_it_is_made_of() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("go.mod"), "module a").unwrap();
        let now = || fingerprint(&files_of(folder.path()).unwrap()).unwrap();
        let first = now();
        assert_eq!(now(), first);
        fs::write(folder.path().join("main.go"), "package main").unwrap();
        assert_ne!(now(), first);
    }

    #[test]
    fn what_failed_is_made_again_and_what_is_finished_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let finished = folder.path().join("builds/thing-1");
        let half = |at: &Path| {
            fs::write(at.join("half"), "").unwrap();
            Err(Error::failed("no network"))
        };
        let whole = |at: &Path| fs::write(at.join("whole"), "").while_doing("write", at);
        assert!(once_in(&finished, &BUILD, half).is_err());
        assert!(!finished.is_dir());
        let made = once_in(&finished, &BUILD, whole).unwrap();
        assert!(made.join("whole").is_file() && !made.join("half").is_file());
        assert_eq!(once_in(&finished, &BUILD, |_| Err(Error::failed("made twice"))).unwrap(), made);
    }

    #[test]
    fn commands_at_the_same_time_make_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let finished = folder.path().join("builds/thing-1");
        let made: Vec<bool> = thread::scope(|scope| {
            let make = || {
                let mut made = false;
                once_in(&finished, &BUILD, |_| {
                    made = true;
                    thread::sleep(Duration::from_millis(20));
                    Ok(())
                })
                .map(|_| made)
                .unwrap()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| **made).count(), 1);
    }
}
