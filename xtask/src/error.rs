//! Why a command could not do its work, and the exit code that follows from it.

use std::{fmt, io, path::Path};

/// The two ways to fail that a caller of `cargo xtask` has to tell apart.
#[derive(Debug)]
pub enum Error {
    /// The command line was wrong: exit code 2.
    Usage(String),
    /// What was built, run or checked is bad: exit code 1.
    Failed(String),
}

/// What every step of a command returns.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure of what was asked for, as opposed to a wrong command line.
    pub fn failed(message: impl Into<String>) -> Self {
        Error::Failed(message.into())
    }

    /// A failed operation on a file or folder.
    pub fn io(action: &str, path: &Path, cause: &io::Error) -> Self {
        Error::Failed(format!("cannot {action} {}: {cause}", path.display()))
    }

    /// 1 for a failure, 2 for wrong usage; 0 is never an error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Failed(_) => 1,
            Error::Usage(_) => 2,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(message) | Error::Failed(message) => formatter.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

impl From<lexopt::Error> for Error {
    fn from(error: lexopt::Error) -> Self {
        Error::Usage(error.to_string())
    }
}

/// Adds what was attempted, and with which path, to an IO error.
pub trait IoContext<T> {
    /// `action` completes the sentence "cannot ACTION PATH".
    fn while_doing(self, action: &str, path: &Path) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn while_doing(self, action: &str, path: &Path) -> Result<T> {
        self.map_err(|cause| Error::io(action, path, &cause))
    }
}
