//! Prints documents to standard output, one JSON document a line.

use std::sync::{Arc, Weak};

use rustix::io::Errno;
use weir_buffer::segment::{Documents, SinkError};

use super::background::Append;

/// Standard output. It is locked while a segment is written, so that nothing is printed in between.
#[derive(Default)]
pub struct Console {
    /// How much of which documents is printed: what a pipe took cannot be taken back, so a repeat goes on there.
    printed: (Weak<Documents>, usize),
}

// === impl Console ===

impl Append for Console {
    fn append(&mut self, documents: &Arc<Documents>) -> Result<(), SinkError> {
        let stdout = std::io::stdout().lock();
        self.append_to(&stdout, documents)
    }

    fn finish(&mut self) {}
}

impl Console {
    fn append_to(
        &mut self,
        out: impl std::os::fd::AsFd,
        documents: &Arc<Documents>,
    ) -> Result<(), SinkError> {
        if self.printed.0.as_ptr() != Arc::as_ptr(documents) {
            self.printed = (Arc::downgrade(documents), 0);
        }
        while let Some(rest) = documents.ndjson.get(self.printed.1..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(&out, rest) {
                Ok(count) => self.printed.1 += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(describe(error)),
            }
        }
        Ok(())
    }
}

fn describe(error: Errno) -> SinkError {
    let help = match error {
        Errno::PIPE => "; whatever read it has ended",
        Errno::AGAIN => "; whatever reads it is slow",
        _ => "",
    };
    let error = std::io::Error::from(error);
    SinkError { message: format!("cannot write to standard output: {error}{help}") }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::sinks::tests::documents;

    #[test]
    fn documents_are_printed_as_they_are() {
        let (mut read, write) = std::io::pipe().unwrap();
        let mut console = Console::default();
        for lines in [&["{}", r#"{"a":"ä"}"#][..], &["3"]] {
            console.append_to(&write, &documents(lines)).unwrap();
        }
        drop(write);
        let mut printed = String::new();
        read.read_to_string(&mut printed).unwrap();
        assert_eq!(printed, "{}\n{\"a\":\"ä\"}\n3\n");
    }

    #[test]
    fn a_reader_that_went_away_is_told() {
        let (read, write) = std::io::pipe().unwrap();
        drop(read);
        let error = Console::default().append_to(&write, &documents(&["1"])).unwrap_err().to_string();
        assert!(error.contains("standard output") && error.contains("has ended"), "{error}");
    }

    #[test]
    fn a_repeat_goes_on_where_the_reader_stopped() {
        let (mut read, write) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&write, true).unwrap();
        // More than a pipe holds.
        let line = "x".repeat(1 << 20);
        let documents = documents(&[&line, "end"]);
        let mut console = Console::default();
        let mut printed = Vec::new();
        let mut buffer = vec![0; 1 << 20];
        while let Err(error) = console.append_to(&write, &documents) {
            assert!(error.to_string().contains("is slow"), "{error}");
            let count = read.read(&mut buffer).unwrap();
            printed.extend_from_slice(&buffer[..count]);
        }
        drop(write);
        read.read_to_end(&mut printed).unwrap();
        assert!(printed == documents.ndjson);
    }
}
