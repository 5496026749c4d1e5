//! Opening the file, and what an earlier run may have left at its end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{OFlags, fcntl_setfl};

use super::{FileId, Target, unfit};

/// For the agent's user alone: logs hold what not everybody on the node may know.
const MODE: u32 = 0o600;

/// A last line is looked at if it is no longer than this, which is more than any document.
const MAX_LINE_BYTES: u64 = 16 * 1024 * 1024;
const CHUNK_BYTES: u64 = 64 * 1024;

/// Opens a path to append to it; makes the file, and folders on the way to it, where there are none.
pub(super) fn open(path: &Path) -> io::Result<Target> {
    let file = match open_or_create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path.parent().unwrap_or(path))?;
            open_or_create(path)?
        }
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if let Some(what) = unfit(metadata.file_type()) {
        return Err(io::Error::other(format!("it is {what}, not a file")));
    }
    fcntl_setfl(&file, OFlags::APPEND)?;
    let is_regular = metadata.file_type().is_file();
    Ok(Target { file, id: FileId::of(&metadata), is_regular, looked: Instant::now() })
}

/// Without `O_NONBLOCK`, opening a named pipe that nobody reads would never end.
fn open_or_create(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).append(true).create(true).mode(MODE).custom_flags(flags).open(path)
}

/// Sees to it that the file is empty or ends with a newline. A last line that is a part of a document was never acked,
/// so the document comes again: it is cut off. Any other last line is not ours; it gets its newline.
pub(super) fn finish_last_line(mut file: &File, path: &Path) -> io::Result<()> {
    let length = file.metadata()?.len();
    let Some(start) = unfinished_line(file, length)? else { return Ok(()) };
    let mut line = vec![0; (length - start) as usize];
    file.read_exact_at(&mut line, start)?;
    let is_part = line.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_err();
    if !is_part {
        return file.write_all(b"\n");
    }
    tracing::warn!(path = %path.display(), bytes = line.len(), "cut off the part of a document that an earlier run left at the file's end");
    file.set_len(start)
}

/// Where the last line begins, if it has no newline.
fn unfinished_line(file: &File, length: u64) -> io::Result<Option<u64>> {
    let mut end = length;
    let least = length.saturating_sub(MAX_LINE_BYTES);
    while end > least {
        let start = end.saturating_sub(CHUNK_BYTES).max(least);
        let mut chunk = vec![0; (end - start) as usize];
        file.read_exact_at(&mut chunk, start)?;
        if let Some(newline) = chunk.iter().rposition(|byte| *byte == b'\n') {
            let line = start + newline as u64 + 1;
            return Ok((line < length).then_some(line));
        }
        end = start;
    }
    Ok((length > 0).then_some(end))
}
