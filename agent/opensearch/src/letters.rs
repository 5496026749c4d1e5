//! Dead letters: documents that OpenSearch will never take, kept with the reason.
//!
//! 1. In the file a letter is one line, written whole or not at all; after an error the file is cut back.
//! 2. The file is for the agent's user alone: a document may hold what nobody else is to see.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use weir_buffer::memory::Lease;
use weir_buffer::segment::{Documents, Record};
use weir_event::json::write_string;
use weir_event::time::write_rfc3339;

use crate::outcome::Refusal;

/// Why a document is a dead letter.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub reason: &'static str,
    pub refusal: Refusal,
}

/// The letters for a file: each document as it is, with what was said about it. The verdicts are one for each.
pub(crate) fn lines(lease: &Lease, verdicts: &[Verdict]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lease.documents().ndjson.len() * 2);
    for (index, ((record, document), verdict)) in lease.documents().iter().zip(verdicts).enumerate() {
        out.push(b'{');
        write_head(&mut out, record, target(lease, index), verdict);
        out.extend_from_slice(b",\"document\":");
        out.extend_from_slice(document);
        out.extend_from_slice(b"}\n");
    }
    out
}

/// The letters for an index: the document is text there, so that no mapping can refuse it.
pub(crate) fn documents(lease: &Lease, verdicts: &[Verdict]) -> Documents {
    let source = lease.documents();
    let mut letters = Documents { streams: source.streams.clone(), ..Documents::default() };
    for (index, ((record, document), verdict)) in source.iter().zip(verdicts).enumerate() {
        let out = &mut letters.ndjson;
        out.extend_from_slice(b"{\"@timestamp\":\"");
        write_rfc3339(out, record.time);
        out.extend_from_slice(b"\",");
        write_head(out, record, target(lease, index), verdict);
        out.extend_from_slice(b",\"document\":");
        // Finished documents are valid UTF-8.
        write_string(out, &String::from_utf8_lossy(document));
        out.push(b'}');
        let end = u32::try_from(out.len()).unwrap_or(u32::MAX);
        out.push(b'\n');
        letters.records.push(Record { end, ..*record });
    }
    letters
}

fn target(lease: &Lease, index: usize) -> &str {
    lease.targets().name(index).map_or("", |name| name)
}

fn write_head(out: &mut Vec<u8>, record: &Record, index: &str, verdict: &Verdict) {
    let Verdict { reason, refusal } = verdict;
    let mut member = |name: &str, value: &str| {
        out.extend_from_slice(name.as_bytes());
        write_string(out, value);
    };
    member("\"reason\":", reason);
    let error = match refusal.kind.as_str() {
        "" => refusal.reason.clone(),
        kind => format!("{kind}: {}", refusal.reason),
    };
    member(&format!(",\"status\":{},\"error\":", refusal.status), &error);
    member(",\"index\":", index);
    member(",\"id\":", &record.id.text());
}

/// The file of dead letters. It is opened when there is something to write.
#[derive(Debug)]
pub(crate) struct LetterFile {
    path: PathBuf,
    open: Mutex<Option<File>>,
}

// === impl LetterFile ===

impl LetterFile {
    /// The file at this path.
    pub fn new(path: PathBuf) -> LetterFile {
        LetterFile { path, open: Mutex::new(None) }
    }

    /// Appends lines and syncs them: their documents are nowhere else. Blocks.
    pub fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = match open.take() {
            Some(file) => file,
            None => self.open_file()?,
        };
        let length = file.metadata()?.len();
        if let Err(error) = file.write_all(lines).and_then(|()| file.sync_data()) {
            // A repeat writes the same lines; what is left of this try would make them double.
            file.set_len(length)?;
            return Err(error);
        }
        // One that was moved away is not written to for long.
        *open = is_at(&file, &self.path).then_some(file);
        Ok(())
    }

    /// What failed, with the path.
    pub fn describe(&self, error: &io::Error) -> String {
        format!("cannot write dead letters to {}: {error}", self.path.display())
    }

    fn open_file(&self) -> io::Result<File> {
        if let Some(folder) = self.path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)
    }
}

fn is_at(file: &File, path: &PathBuf) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let (Ok(open), Ok(there)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}
