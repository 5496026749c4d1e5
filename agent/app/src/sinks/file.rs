//! Appends documents to a file, one JSON document a line.
//!
//! 1. A segment is one write, unless the file rotates within it; files rotate between documents.
//! 2. A write that fails (a full disk) is cut off again, so that a repeat does not double documents and the file never
//!    holds a part of one. What a crash left unfinished is cut off when the file is opened.
//! 3. A file that somebody moved or removed is opened anew within a second.
//! 4. Documents are handed to the kernel, not to the disk: they survive the agent, not the machine. At the end the
//!    file is synced.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use weir_buffer::segment::{Documents, SinkError};
use weir_config::{FileSink, Rotation};

use super::background::Append;

mod open;
mod rotate;

/// How often to look whether the path still leads to the open file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A path that no documents can be appended to.
#[derive(Debug, thiserror::Error)]
#[error("cannot append to {}: it is {what}; give the path of a file", path.display())]
pub struct PathError {
    path: PathBuf,
    what: &'static str,
}

/// Appends to one path.
pub struct File {
    path: PathBuf,
    rotation: Option<Rotation>,
    target: Option<Target>,
    /// How much of which documents is in its place.
    written: (Weak<Documents>, usize),
    /// A file that could not be cut back after a failed write, and the length that it is to have.
    to_be_cut: Option<(FileId, u64)>,
}

/// The open file.
struct Target {
    file: fs::File,
    id: FileId,
    is_regular: bool,
    looked: Instant,
}

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId(u64, u64);

/// What could not be done.
struct Trouble {
    action: &'static str,
    error: io::Error,
}

// === impl File ===

impl File {
    /// Refuses paths that lead to something other than a file.
    pub fn new(settings: &FileSink) -> Result<File, PathError> {
        let path = settings.path.clone();
        if let Some(what) = fs::metadata(&path).ok().and_then(|metadata| unfit(metadata.file_type())) {
            return Err(PathError { path, what });
        }
        Ok(File { path, rotation: settings.rotate, target: None, written: (Weak::new(), 0), to_be_cut: None })
    }

    fn write(&mut self, documents: &Arc<Documents>) -> Result<(), Trouble> {
        if self.written.0.as_ptr() != Arc::as_ptr(documents) {
            self.written = (Arc::downgrade(documents), 0);
        }
        while self.written.1 < documents.ndjson.len() {
            self.write_piece(documents)?;
        }
        Ok(())
    }

    /// As much as fits into the file as it is; or else makes room.
    fn write_piece(&mut self, documents: &Documents) -> Result<(), Trouble> {
        let (target, length) = self.take_target()?;
        let from = self.written.1;
        let to = match self.rotation.filter(|_| target.is_regular) {
            None => documents.ndjson.len(),
            Some(Rotation { size, .. }) => {
                match rotate::piece_end(documents, from, size.bytes().saturating_sub(length)) {
                    Some(to) => to,
                    None if length == 0 => rotate::document_end(documents, from),
                    None => return self.rotate(),
                }
            }
        };
        let piece = documents.ndjson.get(from..to).unwrap_or_default();
        if let Err(error) = (&target.file).write_all(piece) {
            self.cut_back(&target, length);
            return Err(Trouble { action: "write to", error });
        }
        self.written.1 = to;
        self.target = Some(target);
        Ok(())
    }

    /// The open file and its length, to be put back after success: what failed is opened anew for the next try, since
    /// its disk may have gone away.
    fn take_target(&mut self) -> Result<(Target, u64), Trouble> {
        if let Some(mut target) = self.target.take()
            && let Some(length) = target.length_if_current(&self.path)
        {
            return Ok((target, length));
        }
        let target = self.open().map_err(|error| Trouble { action: "open", error })?;
        let metadata = target.file.metadata().map_err(|error| Trouble { action: "look at", error })?;
        Ok((target, metadata.len()))
    }

    fn open(&mut self) -> io::Result<Target> {
        let target = open::open(&self.path)?;
        if target.is_regular {
            if let Some((id, length)) = self.to_be_cut
                && id == target.id
            {
                target.file.set_len(length)?;
            }
            open::finish_last_line(&target.file, &self.path)?;
        }
        self.to_be_cut = None;
        Ok(target)
    }

    /// Removes what a failed write left.
    fn cut_back(&mut self, target: &Target, length: u64) {
        if target.is_regular && target.file.set_len(length).is_err() {
            self.to_be_cut = Some((target.id, length));
        }
    }

    fn rotate(&self) -> Result<(), Trouble> {
        let keep = self.rotation.map_or(1, |rotation| rotation.keep);
        rotate::rotate(&self.path, keep).map_err(|error| Trouble { action: "rotate", error })
    }
}

impl Append for File {
    fn append(&mut self, documents: &Arc<Documents>) -> Result<(), SinkError> {
        self.write(documents).map_err(|trouble| trouble.describe(&self.path))
    }

    fn finish(&mut self) {
        let Some(target) = self.target.take().filter(|target| target.is_regular) else { return };
        if let Err(error) = target.file.sync_data() {
            tracing::error!(path = %self.path.display(), %error, "cannot sync the file; a power failure may lose what was written last");
        }
    }
}

// === impl Target ===

impl Target {
    /// `None` when the path leads elsewhere by now.
    fn length_if_current(&mut self, path: &Path) -> Option<u64> {
        let metadata = self.file.metadata().ok().filter(|metadata| metadata.nlink() > 0)?;
        if self.looked.elapsed() >= LOOK_EVERY {
            fs::metadata(path).ok().filter(|there| FileId::of(there) == self.id)?;
            self.looked = Instant::now();
        }
        Some(metadata.len())
    }
}

// === impl FileId ===

impl FileId {
    fn of(metadata: &fs::Metadata) -> FileId {
        FileId(metadata.dev(), metadata.ino())
    }
}

// === impl Trouble ===

impl Trouble {
    fn describe(self, path: &Path) -> SinkError {
        let Trouble { action, error } = self;
        let help = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "; free some space, or give the sink another path"
            }
            io::ErrorKind::FileTooLarge => "; let the sink rotate, or raise the limit of file sizes",
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "; let the agent's user write there, or give the sink another path"
            }
            _ => "",
        };
        SinkError { message: format!("cannot {action} {}: {error}{help}", path.display()) }
    }
}

/// What a path leads to where nothing can be appended. Devices can: `/dev/null` and the like.
fn unfit(file_type: fs::FileType) -> Option<&'static str> {
    if file_type.is_file() || file_type.is_char_device() {
        return None;
    }
    Some(match () {
        () if file_type.is_dir() => "a folder",
        () if file_type.is_fifo() => "a named pipe",
        () if file_type.is_socket() => "a socket",
        () => "no file",
    })
}

#[cfg(test)]
mod tests;
