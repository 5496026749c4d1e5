//! Rotation: `out.ndjson` becomes `out.ndjson.1`, which becomes `out.ndjson.2`, and so on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use weir_buffer::segment::Documents;

/// As many as a configuration may keep.
const MAX_KEPT: u16 = 1000;

/// Renames the file and those before it, and removes what is beyond `keep`.
pub(super) fn rotate(path: &Path, keep: u16) -> io::Result<()> {
    // There are more where an earlier configuration kept more.
    for number in keep..=MAX_KEPT {
        if !found(fs::remove_file(numbered(path, number)))? {
            break;
        }
    }
    for number in (1..keep).rev() {
        found(fs::rename(numbered(path, number), numbered(path, number + 1)))?;
    }
    found(fs::rename(path, numbered(path, 1))).map(|_| ())
}

/// The end of the last document that begins at or behind `from` and ends within `room` bytes of it, newline included.
pub(super) fn piece_end(documents: &Documents, from: usize, room: u64) -> Option<usize> {
    let limit = (from as u64).saturating_add(room);
    let fitting = documents.records.partition_point(|record| u64::from(record.end) < limit);
    let last = documents.records.get(fitting.checked_sub(1)?)?;
    Some(last.end as usize + 1).filter(|end| *end > from)
}

/// The end of the document that begins at `from`, newline included.
pub(super) fn document_end(documents: &Documents, from: usize) -> usize {
    let before = documents.records.partition_point(|record| (record.end as usize) < from);
    documents.records.get(before).map_or(documents.ndjson.len(), |record| record.end as usize + 1)
}

fn numbered(path: &Path, number: u16) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Whether there was such a file.
fn found(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
