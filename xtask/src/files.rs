//! Folders.

use std::{fs, io, path::Path};

use crate::error::{Error, IoContext, Result};

/// Makes the folder, or makes it empty.
pub fn empty(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("empty", folder, &cause));
        }
        _ => {}
    }
    fs::create_dir_all(folder).while_doing("create", folder)
}

/// Copies what is in a folder into another, which is made where it is not there. Modes are kept: the agent trusts its
/// compiled plugins only where nobody else could have written them.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
