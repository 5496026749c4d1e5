//! What a message decodes to: finished JSON documents, before they are rows of a batch.
//!
//! A decoder appends the text of a document to [`Documents::text`] and ends it with [`Documents::finish`]. So nothing is
//! allocated for an event.

use weir_event::batch::{Flags, MAX_EVENT_BYTES};
use weir_event::json;

/// The documents of one message.
#[derive(Debug)]
pub struct Documents {
    text: Vec<u8>,
    entries: Vec<Entry>,
    origins: Vec<Origin>,
    limit: usize,
    /// What is known of the document that is being appended.
    flags: Flags,
}

/// One document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it ends in the text; it begins where the one before it ends.
    pub end: u32,
    /// Nanoseconds since the Unix epoch, as the sender says; `None` where it does not.
    pub time: Option<i64>,
    /// What was cut or replaced.
    pub flags: Flags,
    /// Index of its origin.
    pub origin: u32,
}

/// Where events come from, as their sender says. Empty texts are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Pod name.
    pub pod: String,
    /// Container name.
    pub container: String,
    /// Pod uid.
    pub uid: String,
}

/// The documents of a message have more bytes than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message holds more than {limit} bytes of documents")]
pub struct TooMuch {
    /// How many there may be.
    pub limit: usize,
}

/// What becomes of a document of more than [`MAX_EVENT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversized {
    /// The beginning of its text is kept under `message`, and the event flagged.
    Cut,
    /// It is left out; the sender can be told so.
    Reject,
}

/// What became of a document that was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It is there, whole.
    Whole,
    /// It is there, its end is not.
    Cut,
    /// It is not there.
    Rejected,
}

// === impl Documents ===

impl Documents {
    /// None yet; at most `limit` bytes together.
    pub fn new(limit: usize) -> Documents {
        let limit = limit.min(u32::MAX as usize);
        let flags = Flags::default();
        Documents { text: Vec::new(), entries: Vec::new(), origins: Vec::new(), limit, flags }
    }

    /// To append the next document to: one JSON object without a line break. Behind the end of the last document there
    /// is nothing but it.
    pub fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Adds an origin and returns its index.
    pub fn add_origin(&mut self, origin: Origin) -> u32 {
        if self.origins.last() != Some(&origin) {
            self.origins.push(origin);
        }
        self.origins.len() as u32 - 1
    }

    /// Marks the document that is being appended, as [`Documents::finish`] ends it.
    pub fn flag(&mut self, flags: Flags) {
        self.flags = self.flags.with(flags);
    }

    /// Ends the document that was appended.
    pub fn finish(
        &mut self,
        time: Option<i64>,
        origin: u32,
        oversized: Oversized,
    ) -> Result<Finished, TooMuch> {
        let start = self.end();
        let mut flags = std::mem::take(&mut self.flags);
        if self.text.len() - start > MAX_EVENT_BYTES {
            match oversized {
                Oversized::Cut => self.cut(start),
                Oversized::Reject => {
                    self.text.truncate(start);
                    return Ok(Finished::Rejected);
                }
            }
            flags = flags.with(Flags::TRUNCATED);
        }
        if self.text.len() > self.limit {
            self.text.truncate(start);
            return Err(TooMuch { limit: self.limit });
        }
        self.entries.push(Entry { end: self.text.len() as u32, time, flags, origin });
        Ok(if flags.has(Flags::TRUNCATED) { Finished::Cut } else { Finished::Whole })
    }

    /// Removes what was appended behind the last document.
    pub fn abandon(&mut self) {
        self.flags = Flags::default();
        self.text.truncate(self.end());
    }

    /// What was finished: each document with what is known of it.
    pub fn iter(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let text = self.text.get(start..entry.end as usize).unwrap_or_default();
            start = entry.end as usize;
            (entry, text)
        })
    }

    /// Where events come from.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> usize {
        self.end()
    }

    fn end(&self) -> usize {
        self.entries.last().map_or(0, |entry| entry.end as usize)
    }

    /// A document with the beginning of the text in the place of the text.
    fn cut(&mut self, start: usize) {
        let whole = self.text.split_off(start);
        self.text.extend_from_slice(b"{\"message\":\"");
        let room = MAX_EVENT_BYTES - (self.text.len() - start) - 2;
        // Escaping makes quotes longer: what is kept is short enough for the worst mix of them.
        let mut kept = whole.get(..room / 2).unwrap_or(&whole);
        while std::str::from_utf8(kept).is_err() {
            let Some((_, shorter)) = kept.split_last() else { break };
            kept = shorter;
        }
        json::write_escaped(&mut self.text, kept);
        self.text.extend_from_slice(b"\"}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_lie_one_behind_another() {
        let mut documents = Documents::new(100);
        let origin = documents.add_origin(Origin::default());
        for text in ["{\"a\":1}", "{}"] {
            documents.text().extend_from_slice(text.as_bytes());
            assert_eq!(documents.finish(Some(7), origin, Oversized::Cut), Ok(Finished::Whole));
        }
        documents.text().extend_from_slice(b"{\"half");
        documents.flag(Flags::INVALID_UTF8);
        documents.abandon();
        documents.text().extend_from_slice(b"[]");
        documents.flag(Flags::TIME_IGNORED);
        documents.finish(None, origin, Oversized::Cut).unwrap();
        let flags: Vec<Flags> = documents.iter().map(|(entry, _)| entry.flags).collect();
        assert_eq!(flags, [Flags::default(), Flags::default(), Flags::TIME_IGNORED]);
        let texts: Vec<&[u8]> = documents.iter().map(|(_, text)| text).collect();
        assert_eq!(texts, [&b"{\"a\":1}"[..], b"{}", b"[]"]);
        assert_eq!((documents.len(), documents.bytes()), (3, 11));
    }

    #[test]
    fn too_long_a_document_is_cut_to_valid_json_or_left_out() {
        let long = format!("{{\"text\":\"{}\"}}", "\\\"ü".repeat(MAX_EVENT_BYTES / 3));
        let mut documents = Documents::new(usize::MAX);
        let origin = documents.add_origin(Origin::default());
        documents.text().extend_from_slice(long.as_bytes());
        assert_eq!(documents.finish(None, origin, Oversized::Cut), Ok(Finished::Cut));
        documents.text().extend_from_slice(long.as_bytes());
        assert_eq!(documents.finish(None, origin, Oversized::Reject), Ok(Finished::Rejected));
        let (entry, text) = documents.iter().next().unwrap();
        assert!(entry.flags.has(Flags::TRUNCATED) && text.len() <= MAX_EVENT_BYTES);
        let cut: serde_json::Value = serde_json::from_slice(text).unwrap();
        assert!(long.starts_with(cut["message"].as_str().unwrap()));
        assert_eq!(documents.len(), 1);
    }

    #[test]
    fn documents_have_a_bound_together() {
        let mut documents = Documents::new(8);
        documents.text().extend_from_slice(b"{\"a\":1}");
        documents.finish(None, 0, Oversized::Cut).unwrap();
        documents.text().extend_from_slice(b"{}");
        assert_eq!(documents.finish(None, 0, Oversized::Cut), Err(TooMuch { limit: 8 }));
        assert_eq!(documents.bytes(), 7);
    }
}
