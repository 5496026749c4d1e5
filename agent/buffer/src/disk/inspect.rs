//! Looking into a segment file, for a person: whatever is in it, and whoever needs it.

use std::io;
use std::path::{Path, PathBuf};

use super::filesystem::{FileSystem as _, OperatingSystem};
use super::format::{Header, HeaderError, PartContent};
use super::{number, number_in_key};

/// A file that is looked into.
#[derive(Debug)]
pub struct Inspected {
    /// What it says of its parts.
    pub header: Header,
    number: u64,
    bytes: Bytes,
}

/// Where its bytes are.
#[derive(Debug)]
enum Bytes {
    OnDisk(PathBuf),
    Fetched(Vec<u8>),
}

/// Why a file cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It could not be read.
    #[error(transparent)]
    Io(io::Error),
    /// It is no segment file, or nothing of it can be used.
    #[error("{0}")]
    Damaged(String),
}

// === impl Inspected ===

impl Inspected {
    /// Reads what the file says of itself. Blocks.
    pub fn open(path: &Path) -> Result<Inspected, InspectError> {
        let named = path.file_name().and_then(|name| name.to_str()).and_then(number);
        Inspected::new(Bytes::OnDisk(path.to_owned()), named)
    }

    /// The same for an object that was fetched, with its key.
    pub fn object(key: &str, bytes: Vec<u8>) -> Result<Inspected, InspectError> {
        Inspected::new(Bytes::Fetched(bytes), number_in_key(key))
    }

    fn new(bytes: Bytes, named: Option<u64>) -> Result<Inspected, InspectError> {
        let header =
            Header::read(|offset, length| bytes.read(offset, length)).map_err(|error| match error {
                HeaderError::Io(error) => InspectError::Io(error),
                HeaderError::Damaged(_) => InspectError::Damaged(error.to_string()),
            })?;
        match (header.number, named) {
            (Some(said), Some(named)) if said != named => {
                Err(InspectError::Damaged(format!("it says that it is the file {said:016x}")))
            }
            (said, named) => match said.or(named) {
                Some(number) => Ok(Inspected { header, number, bytes }),
                None => Err(InspectError::Damaged("its name has no number".to_owned())),
            },
        }
    }

    /// Reads a part. Blocks.
    pub fn part(&self, index: u8) -> io::Result<PartContent> {
        self.header.part(self.number, index, None, |offset, length| self.bytes.read(offset, length))
    }
}

// === impl Bytes ===

impl Bytes {
    fn read(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        match self {
            Bytes::OnDisk(path) => OperatingSystem.read(path, offset, length),
            Bytes::Fetched(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(length).min(bytes.len());
                Ok(bytes.get(start..end).unwrap_or_default().to_vec())
            }
        }
    }
}

/// The number of a segment file, by its name.
pub fn number_of(name: &str) -> Option<u64> {
    number(name).filter(|_| name.ends_with(super::SUFFIX))
}
