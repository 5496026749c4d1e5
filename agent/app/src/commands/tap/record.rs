//! A recording: a file of events that only its owner may read.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use weir_event::time::parse_rfc3339;
use weir_plugin_kit::redact::Redactor;
use weir_plugin_kit::traffic;

use crate::admin::tap::Event;

/// The file while it is written.
pub struct Recording {
    path: PathBuf,
    file: BufWriter<File>,
}

// === impl Recording ===

impl Recording {
    /// A new file, mode 0600. One that is there is not touched.
    pub fn create(path: &Path) -> Result<Recording, String> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{} is there already; name another file or remove it", path.display())
            }
            _ => format!("cannot create {}: {error}", path.display()),
        })?;
        Ok(Recording { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes an event as it was read; how many were written. What a stage made was never read.
    pub fn write(&mut self, event: &Event, redactor: Option<&Redactor>) -> Result<u64, String> {
        let Some(text) = &event.text else { return Ok(0) };
        let recorded = traffic::Event {
            text: text.clone(),
            attributes: event.attributes.clone(),
            time: parse_rfc3339(event.time.as_bytes()),
        };
        let recorded = redactor.map_or(recorded.clone(), |redactor| redactor.event(&recorded));
        let mut line = Vec::new();
        recorded.record(&mut line);
        // Line by line: whatever ends this, what is there is whole.
        let written = self.file.write_all(&line).and_then(|()| self.file.flush());
        written.map(|()| 1).map_err(|error| self.cannot_write(&error))
    }

    /// Brings it to disk.
    pub fn finish(&mut self) -> Result<(), String> {
        let finished = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        finished.map_err(|error| self.cannot_write(&error))
    }

    /// Takes back a file into which nothing was written.
    pub fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }

    fn cannot_write(&self, error: &io::Error) -> String {
        format!("cannot write {}: {error}", self.path.display())
    }
}
