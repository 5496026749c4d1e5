//! A new plugin's folder. It builds where there is no checkout of Weir: the SDK and the WIT are in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::carried::{JAVASCRIPT, PYTHON, REPOSITORY, RUST, SHARED, repository_file};
use crate::project::Language;

/// What stands for the plugin's name in the files that a plugin begins with.
const NAME: &str = "NAME";
/// What stands for the limits in the manifest.
const LIMITS: &str = "LIMITS";
const MAX_NAME_BYTES: usize = 64;
const SDK_LOCK: &str = "sdk/rust/Cargo.lock";

/// Why there is no new folder.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name is none.
    #[error("`{name}` cannot be a plugin's name: {problem}")]
    Name {
        /// What was wanted.
        name: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// There is something already.
    #[error("{} is there and not empty; choose another name, or remove it", folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// A file or folder.
    #[error("failed to {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Makes the folder of a new plugin; returns the files that are its author's, in the order in which to look at them.
pub fn create(folder: &Path, name: &str, language: Language) -> Result<Vec<&'static str>, NewError> {
    check_name(name)?;
    check_empty(folder)?;
    let own: &[(&'static str, &'static str)] = match language {
        Language::Rust => &RUST,
        Language::JavaScript => &JAVASCRIPT,
        Language::Python => &PYTHON,
    };
    let fill = |text: &str| text.replace(NAME, name).replace(LIMITS, limits(language));
    for (path, text) in own.iter().chain(&SHARED) {
        write(&folder.join(path), &fill(text))?;
    }
    for (path, text) in REPOSITORY.iter().filter(|(path, _)| is_needed(path, language)) {
        write(&folder.join(path), text)?;
    }
    if language == Language::Rust {
        let lock = lock_with(repository_file(SDK_LOCK).unwrap_or_default(), name);
        write(&folder.join("Cargo.lock"), &lock)?;
    }
    Ok(own.iter().chain(&SHARED).map(|(path, _)| *path).collect())
}

/// An engine or an interpreter needs room and time that the agent's defaults do not give.
fn limits(language: Language) -> &'static str {
    match language {
        Language::Rust => r#"{"memory": "32MiB", "deadline": "100ms"}"#,
        Language::JavaScript => r#"{"memory": "96MiB", "deadline": "500ms"}"#,
        Language::Python => r#"{"memory": "64MiB", "deadline": "500ms"}"#,
    }
}

fn is_needed(path: &str, language: Language) -> bool {
    path.starts_with("wit/") || language == Language::Rust
}

/// The name becomes that of the manifest, of a file, and for Rust of a crate.
fn check_name(name: &str) -> Result<(), NewError> {
    let refuse = |problem: String| Err(NewError::Name { name: name.to_owned(), problem });
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !begins || name.ends_with('-') || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_inner) {
        return refuse(format!(
            "use 1 to {MAX_NAME_BYTES} lower case letters, digits and inner dashes, a letter first"
        ));
    }
    let line = format!("name = \"{name}\"");
    let is_dependency = repository_file(SDK_LOCK).unwrap_or_default().lines().any(|other| other == line);
    if is_dependency {
        return refuse("a crate that plugins are built with has this name".to_owned());
    }
    Ok(())
}

fn check_empty(folder: &Path) -> Result<(), NewError> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(NewError::NotEmpty { folder: folder.to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(NewError::Io { action: "read", path: folder.to_owned(), source }),
    }
}

fn write(path: &Path, text: &str) -> Result<(), NewError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|source| NewError::Io {
            action: "create",
            path: folder.to_owned(),
            source,
        })?;
    }
    fs::write(path, text).map_err(|source| NewError::Io { action: "write", path: path.to_owned(), source })
}

/// The SDK's lock file with the plugin in it, so that a plugin is built with what the SDK was tested with. Cargo keeps
/// packages in the order of their names, and takes no other.
fn lock_with(sdk: &str, name: &str) -> String {
    const PACKAGE: &str = "[[package]]\n";
    let own = format!(
        "{PACKAGE}name = \"{name}\"\nversion = \"0.1.0\"\ndependencies = [\n \"serde\",\n \"weir-sdk\",\n]\n"
    );
    let mut blocks: Vec<String> = sdk.split("\n\n").map(|block| block.trim_end().to_owned() + "\n").collect();
    let name_of = |block: &str| {
        let line = block.strip_prefix(PACKAGE)?.lines().next()?;
        Some(line.strip_prefix("name = \"")?.strip_suffix('"')?.to_owned())
    };
    let later = |block: &String| name_of(block).is_some_and(|other| other.as_str() > name);
    let at = blocks.iter().position(later).unwrap_or(blocks.len());
    blocks.insert(at, own);
    blocks.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_what_it_is_built_of() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("geo-tags");
        let files = create(&at, "geo-tags", Language::Rust).unwrap();
        assert_eq!(files[..2], ["Cargo.toml", "src/lib.rs"]);
        for file in ["sdk/rust/src/lib.rs", "sdk/rust/Cargo.toml", "sdk/README.md", "wit/transform.wit"] {
            assert!(at.join(file).is_file(), "{file}");
        }
        assert!(!at.join("wit/released").is_dir());
        for file in files {
            let text = fs::read_to_string(at.join(file)).unwrap();
            assert!(!text.contains(NAME) && !text.contains(LIMITS), "{file}: {text}");
        }
        let manifest = fs::read_to_string(at.join("manifest.json")).unwrap();
        assert!(manifest.contains("\"name\": \"geo-tags\""), "{manifest}");
    }

    #[test]
    fn other_languages_have_no_sdk() {
        for language in [Language::JavaScript, Language::Python] {
            let folder = tempfile::tempdir().unwrap();
            create(folder.path(), "geo", language).unwrap();
            assert!(!folder.path().join("sdk").is_dir());
            assert!(folder.path().join("wit/transform.wit").is_file());
        }
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mine"), "").unwrap();
        let error = create(folder.path(), "geo", Language::Rust).unwrap_err();
        assert!(matches!(error, NewError::NotEmpty { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn bad_names_are_refused() {
        let long = "a".repeat(MAX_NAME_BYTES + 1);
        for name in
            ["", "A", "1a", "-a", "a-", "a_b", "a b", "a/b", "..", "größe", "serde", "weir-sdk", &long]
        {
            let folder = tempfile::tempdir().unwrap();
            let error = create(&folder.path().join("x"), name, Language::Rust).unwrap_err();
            assert!(matches!(error, NewError::Name { .. }), "{name}: {error}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn the_lock_stays_in_order() {
        let sdk = "version = 4\n\n[[package]]\nname = \"a\"\n\n[[package]]\nname = \"c\"\n";
        let names = |name| {
            let lock = lock_with(sdk, name);
            lock.lines()
                .filter_map(|line| line.strip_prefix("name = ").map(str::to_owned))
                .collect::<Vec<_>>()
        };
        assert_eq!(names("b"), ["\"a\"", "\"b\"", "\"c\""]);
        assert_eq!(names("d"), ["\"a\"", "\"c\"", "\"d\""]);
    }
}
