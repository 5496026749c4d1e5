//! Files that only the agent's user may read and write, and that nobody else can have put in place.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use rustix::process::geteuid;

/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Begins the names of files that are not yet complete.
pub(super) const UNFINISHED_PREFIX: &str = ".unfinished-";

/// Why a file is not trusted.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrivateError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
    NotRegular,
    #[error("it belongs to user {owner}, not to the agent's user {own}")]
    Owner { owner: u32, own: u32 },
    #[error("others may access it (mode {mode:o}), wanted is 600")]
    Mode { mode: u32 },
    #[error("it has {bytes} bytes, more than the {limit} allowed")]
    TooLarge { bytes: u64, limit: u64 },
}

/// Makes `directory` if need be; it must be ours, and nobody else's to enter.
pub(super) fn open_directory(directory: &Path) -> Result<(), PrivateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let metadata = fs::symlink_metadata(directory)?;
    if !metadata.is_dir() {
        return Err(PrivateError::NotRegular);
    }
    check_owner(&metadata)?;
    if metadata.mode() & OTHERS != 0 {
        let (path, mode) = (directory.display(), format!("{:o}", metadata.mode() & 0o777));
        tracing::warn!(directory = %path, mode, "closed the plugin cache to others");
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// A private file of at most `limit` bytes, to be read; `None` if there is none. Counts as a use of it.
pub(super) fn open(path: &Path, limit: u64) -> Result<Option<File>, PrivateError> {
    // Without O_NONBLOCK a named pipe in its place would hang the start.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    check_file(&file, limit)?;
    let _ = file.set_modified(SystemTime::now());
    Ok(Some(file))
}

/// The content of such a file.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, PrivateError> {
    let Some(file) = open(path, limit)? else { return Ok(None) };
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Writes a private file whole or not at all, so that it survives a crash.
pub(super) fn write(directory: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED_PREFIX)
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.as_file().sync_all()?;
    file.persist(directory.join(name)).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

fn check_file(file: &File, limit: u64) -> Result<(), PrivateError> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(PrivateError::NotRegular);
    }
    check_owner(&metadata)?;
    if metadata.mode() & OTHERS != 0 {
        return Err(PrivateError::Mode { mode: metadata.mode() & 0o777 });
    }
    if metadata.len() > limit {
        return Err(PrivateError::TooLarge { bytes: metadata.len(), limit });
    }
    Ok(())
}

fn check_owner(metadata: &fs::Metadata) -> Result<(), PrivateError> {
    let own = geteuid().as_raw();
    if metadata.uid() != own {
        return Err(PrivateError::Owner { owner: metadata.uid(), own });
    }
    Ok(())
}
