//! A plugin's folder: which language it is in, its name, and where its parts lie.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A language that plugins are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A crate: `Cargo.toml`.
    Rust,
    /// A module: `package.json`.
    JavaScript,
    /// A module: `plugin.py`.
    Python,
}

/// A plugin's folder.
#[derive(Clone, Debug)]
pub struct Project {
    /// Where it is, absolute.
    pub folder: PathBuf,
    /// What it is written in.
    pub language: Language,
    /// The name in its `manifest.json`.
    pub name: String,
}

/// Why a folder is no plugin's.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A file cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The manifest is not JSON with a name.
    #[error("{} is not a plugin's manifest: {problem}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing says which language it is in.
    #[error(
        "{} has none of Cargo.toml, package.json and plugin.py, so it is not the folder of a plugin; \
        `weir plugin new NAME` makes one",
        folder.display()
    )]
    Language {
        /// The folder.
        folder: PathBuf,
    },
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

// === impl Project ===

impl Project {
    /// Looks at a folder.
    pub fn open(folder: &Path) -> Result<Project, ProjectError> {
        let read = |path: &Path, source| ProjectError::Read { path: path.to_owned(), source };
        let folder = folder.canonicalize().map_err(|source| read(folder, source))?;
        let marks = [
            ("Cargo.toml", Language::Rust),
            ("package.json", Language::JavaScript),
            ("plugin.py", Language::Python),
        ];
        let found = marks.iter().find(|(file, _)| folder.join(file).is_file());
        let Some((_, language)) = found else { return Err(ProjectError::Language { folder }) };
        let path = folder.join("manifest.json");
        let text = fs::read(&path).map_err(|source| read(&path, source))?;
        let Named { name } = serde_json::from_slice(&text)
            .map_err(|error| ProjectError::Manifest { path: path.clone(), problem: error.to_string() })?;
        // It becomes a file's name; the rest of the manifest is checked when the component is read.
        if name.is_empty() || name.contains(['/', '\\', '\0']) || name.starts_with('.') {
            let problem = "its `name` cannot be a file's".to_owned();
            return Err(ProjectError::Manifest { path, problem });
        }
        Ok(Project { language: *language, name, folder })
    }

    /// The finished component.
    pub fn component(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.name))
    }

    /// What it says of itself.
    pub fn manifest(&self) -> PathBuf {
        self.folder.join("manifest.json")
    }

    /// Its behaviour as files.
    pub fn fixtures(&self) -> PathBuf {
        self.folder.join("fixtures")
    }
}
