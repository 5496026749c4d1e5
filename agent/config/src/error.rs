//! What is wrong with a configuration, and where.

use std::fmt;

use serde::Serialize;

use crate::{key_path::KeyPath, yaml::Position};

/// One thing that is wrong with a configuration.
///
/// Printed as `file:line:column: path: message; help`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Error {
    /// The file, as it was named when the configuration was loaded.
    pub file: String,
    /// The line, counted from 1; 0 when the whole file is meant.
    pub line: u32,
    /// The column in characters, counted from 1; 0 when the whole file is meant.
    pub column: u32,
    /// The key, such as `pipelines.app-logs.stages[1]`; empty for the top level.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Something that works and is probably not meant. The same shape as an [`Error`].
pub type Warning = Error;

/// Everything that is wrong with a configuration, in the order of the files. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Errors(pub Vec<Error>);

/// A message about a value, before it is known where the value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub message: String,
    pub help: Option<String>,
}

/// Collects errors and warnings while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    files: Vec<String>,
    errors: Vec<(Position, Error)>,
    warnings: Vec<(Position, Warning)>,
}

// === impl Error ===

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

// === impl Errors ===

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

// === impl Complaint ===

impl Complaint {
    pub fn new(message: impl Into<String>) -> Complaint {
        Complaint { message: message.into(), help: None }
    }

    pub fn help(self, help: impl Into<String>) -> Complaint {
        Complaint { help: Some(help.into()), ..self }
    }
}

// === impl Report ===

impl Report {
    /// A file that positions can then refer to.
    pub fn add_file(&mut self, name: String) -> u32 {
        let known = self.files.iter().position(|file| *file == name);
        known.unwrap_or_else(|| {
            self.files.push(name);
            self.files.len() - 1
        }) as u32
    }

    /// The name of a file.
    pub fn file(&self, file: u32) -> &str {
        self.files.get(file as usize).map_or("", String::as_str)
    }

    pub fn error(&mut self, at: Position, path: &KeyPath, complaint: Complaint) {
        let error = self.locate(at, path, complaint);
        self.errors.push((at, error));
    }

    pub fn warn(&mut self, at: Position, path: &KeyPath, complaint: Complaint) {
        let warning = self.locate(at, path, complaint);
        self.warnings.push((at, warning));
    }

    /// The names of the files.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The value and all warnings, or all errors if there are any, by file and place.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<Warning>), Errors> {
        match value {
            Some(value) if self.errors.is_empty() => Ok((value, in_order(self.warnings))),
            _ => Err(Errors(in_order(self.errors))),
        }
    }

    fn locate(&self, at: Position, path: &KeyPath, complaint: Complaint) -> Error {
        Error {
            file: self.file(at.file).to_string(),
            line: at.line,
            column: at.column,
            path: path.to_string(),
            message: complaint.message,
            help: complaint.help,
        }
    }
}

fn in_order(mut found: Vec<(Position, Error)>) -> Vec<Error> {
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, error)| error).collect()
}
