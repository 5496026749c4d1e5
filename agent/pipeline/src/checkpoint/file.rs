//! The file of the checkpoints: how it is written whole and read back.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{CheckpointError, State};

/// First line of the file: this, the version, the CRC32C of the rest and its length.
const MAGIC: &str = "weir-checkpoint";
const VERSION: u32 = 1;
/// A larger file is refused: 64 MiB holds some 200,000 followed files.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

pub(super) fn previous_path(path: &Path) -> PathBuf {
    path.with_extension("previous")
}

pub(super) fn read_file(path: &Path) -> Result<Option<State>, CheckpointError> {
    let io = |action, error| CheckpointError::Io { action, path: path.to_owned(), error };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("open", error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| io("read", error))?;
    decode(&bytes).map(Some).map_err(|reason| CheckpointError::Damaged { path: path.to_owned(), reason })
}

pub(super) fn decode(bytes: &[u8]) -> Result<State, String> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("longer than {MAX_FILE_BYTES} bytes"));
    }
    let end = bytes.iter().position(|b| *b == b'\n').ok_or("no header line")?;
    let (header, rest) = bytes.split_at(end);
    let body = rest.get(1..).unwrap_or_default();
    let header = std::str::from_utf8(header).map_err(|_| "header is not text")?;
    let mut words = header.split(' ');
    if words.next() != Some(MAGIC) {
        return Err("not a checkpoint file".into());
    }
    if words.next() != Some("1") {
        return Err("written by a newer version".into());
    }
    let crc = words.next().and_then(|w| u32::from_str_radix(w, 16).ok()).ok_or("no checksum")?;
    let length = words.next().and_then(|w| w.parse::<usize>().ok()).ok_or("no length")?;
    if body.len() != length {
        return Err(format!("{} bytes where the header says {length}", body.len()));
    }
    if crc32c::crc32c(body) != crc {
        return Err("checksum mismatch".into());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

pub(super) fn encode(state: &State) -> Vec<u8> {
    let body = serde_json::to_vec(state).unwrap_or_default();
    let mut out = format!("{MAGIC} {VERSION} {:08x} {}\n", crc32c::crc32c(&body), body.len()).into_bytes();
    out.extend_from_slice(&body);
    out
}

pub(super) fn write_file(path: &Path, state: &State) -> Result<(), CheckpointError> {
    let temporary = path.with_extension("new");
    let io = |action, error| CheckpointError::Io { action, path: path.to_owned(), error };
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&temporary).map_err(|error| io("create", error))?;
    file.write_all(&encode(state)).map_err(|error| io("write", error))?;
    file.sync_data().map_err(|error| io("sync", error))?;
    drop(file);
    // A hard link keeps the previous one reachable without a moment in which there is none.
    let previous = previous_path(path);
    let _ = std::fs::remove_file(&previous);
    let _ = std::fs::hard_link(path, &previous);
    std::fs::rename(&temporary, path).map_err(|error| io("replace", error))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| io("sync the directory of", error))
}
