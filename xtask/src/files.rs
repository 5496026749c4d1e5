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
