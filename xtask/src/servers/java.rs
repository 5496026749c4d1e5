//! A Java that the servers run on, and the Maven that fetches them: found, or installed from Debian.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use weir_toolchain::apt;

use crate::{
    error::{Error, Result},
    ui,
};

/// OpenSearch 2 asks for 11 or newer and for the security manager, which is gone from 24 on. The lowest that suits
/// is taken: it is the one that most people run.
const SUITABLE: std::ops::RangeInclusive<u32> = 17..=23;
const JAVA_PACKAGE: &str = "openjdk-17-jre-headless";
const MAVEN_PACKAGE: &str = "maven";
/// Where Debian and most others put theirs.
const INSTALLED: &str = "/usr/lib/jvm";

/// Finds a suitable Java, installing one if there is none, and returns what JAVA_HOME is to be.
pub fn java_home() -> Result<PathBuf> {
    if let Some(found) = find() {
        return Ok(found);
    }
    let why =
        format!("runs OpenSearch, and no Java of version {} to {} is here", SUITABLE.start(), SUITABLE.end());
    apt::install(&[JAVA_PACKAGE], &why, &ui::Steps).map_err(|cause| missing("Java", JAVA_PACKAGE, &cause))?;
    find().ok_or_else(|| missing("Java", JAVA_PACKAGE, "it was installed and is not found"))
}

/// Makes sure that `mvn` can be run.
pub fn ensure_maven() -> Result<()> {
    if has_maven() {
        return Ok(());
    }
    apt::install(&[MAVEN_PACKAGE], "fetches the parts of OpenSearch, and no mvn is here", &ui::Steps)
        .map_err(|cause| missing("Maven", MAVEN_PACKAGE, &cause))?;
    if has_maven() {
        return Ok(());
    }
    Err(missing("Maven", MAVEN_PACKAGE, "it was installed and is not found"))
}

fn has_maven() -> bool {
    let mut command = Command::new("mvn");
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn missing(what: &str, package: &str, cause: &str) -> Error {
    Error::failed(format!(
        "no {what}: {cause}.\nOn Debian and as root: apt-get install --no-install-recommends {package}. Elsewhere \
         install {what} by hand; Java is taken from JAVA_HOME, {INSTALLED} or PATH, Maven from PATH"
    ))
}

fn find() -> Option<PathBuf> {
    let given = env::var_os("JAVA_HOME").map(PathBuf::from);
    let mut homes: Vec<PathBuf> = fs::read_dir(INSTALLED)
        .into_iter()
        .flat_map(|entries| entries.flatten())
        .filter_map(|entry| fs::canonicalize(entry.path()).ok())
        .collect();
    homes.extend(in_path());
    let mut suitable: Vec<(u32, PathBuf)> = homes.into_iter().filter_map(with_version).collect();
    suitable.sort();
    given.and_then(with_version).into_iter().chain(suitable).map(|(_, home)| home).next()
}

fn in_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let java = env::split_paths(&path).map(|folder| folder.join("java")).find(|file| file.is_file())?;
    Some(fs::canonicalize(java).ok()?.parent()?.parent()?.to_owned())
}

/// The version and the home, if both the program and a version that suits are there.
fn with_version(home: PathBuf) -> Option<(u32, PathBuf)> {
    let version = version(&home)?;
    (SUITABLE.contains(&version) && home.join("bin/java").is_file()).then_some((version, home))
}

/// Every Java since 7 says its version in a file, so that nothing has to be run.
fn version(home: &Path) -> Option<u32> {
    major(&fs::read_to_string(home.join("release")).ok()?)
}

/// `JAVA_VERSION="17.0.17"` is 17.
fn major(release: &str) -> Option<u32> {
    let version = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
    let digits: String = version.trim_matches('"').chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_release_file() {
        for (text, expected) in [
            ("IMPLEMENTOR=\"Debian\"\nJAVA_VERSION=\"17.0.17\"\n", Some(17)),
            ("JAVA_VERSION=\"21\"\n", Some(21)),
            ("JAVA_VERSION=\"1.8.0_402\"\n", Some(1)),
            ("IMPLEMENTOR=\"Debian\"\n", None),
        ] {
            assert_eq!(major(text), expected, "{text}");
        }
    }

    #[test]
    fn a_java_that_is_too_new_or_has_no_program_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let home = |name: &str, version: &str, with_program: bool| {
            let home = folder.path().join(name);
            fs::create_dir_all(home.join("bin")).unwrap();
            fs::write(home.join("release"), format!("JAVA_VERSION=\"{version}\"\n")).unwrap();
            if with_program {
                fs::write(home.join("bin/java"), "").unwrap();
            }
            home
        };
        assert_eq!(with_version(home("good", "21.0.1", true)).unwrap().0, 21);
        assert!(with_version(home("new", "25", true)).is_none());
        assert!(with_version(home("old", "11.0.2", true)).is_none());
        assert!(with_version(home("broken", "17.0.1", false)).is_none());
    }
}
