//! Lines of data objects: one event each, as people can read them and as they can be put back byte for byte.

use weir_event::identity::{EventId, ID_TEXT_LEN};

const ID: &[u8] = b"{\"_id\":\"";
const TIME: &[u8] = b"\",\"_time\":";
const SOURCE: &[u8] = b",\"_source\":";

/// An event of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its id.
    pub id: EventId,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// The document, byte for byte.
    pub document: &'a [u8],
}

// === impl Line ===

impl<'a> Line<'a> {
    /// Appends it, with its newline.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(ID);
        self.id.write(out);
        out.extend_from_slice(TIME);
        out.extend_from_slice(self.time.to_string().as_bytes());
        out.extend_from_slice(SOURCE);
        out.extend_from_slice(self.document);
        out.extend_from_slice(b"}\n");
    }

    /// Bytes that [`Line::write`] appends for a document of so many, at the most.
    pub const fn most_bytes(document: usize) -> usize {
        ID.len() + ID_TEXT_LEN + TIME.len() + 20 + SOURCE.len() + document + 2
    }

    /// The event in a line without its newline. Members in another order or with white space between are no line.
    pub fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let (id, rest) = line.strip_prefix(ID)?.split_at_checked(ID_TEXT_LEN)?;
        let id = EventId::parse(std::str::from_utf8(id).ok()?)?;
        let rest = rest.strip_prefix(TIME)?;
        let digits = memchr::memchr(b',', rest)?;
        let (time, rest) = rest.split_at_checked(digits)?;
        let time = std::str::from_utf8(time).ok()?.parse().ok()?;
        let document = rest.strip_prefix(SOURCE)?.strip_suffix(b"}")?;
        Some(Line { id, time, document })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_json_for_people() {
        let mut out = Vec::new();
        Line { id: EventId([7; 20]), time: -5, document: b"{\"a\": 1}" }.write(&mut out);
        let text = "{\"_id\":\"BwcHBwcHBwcHBwcHBwcHBwcHBwc\",\"_time\":-5,\"_source\":{\"a\": 1}}\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn what_is_no_line_is_refused() {
        let good = "{\"_id\":\"BwcHBwcHBwcHBwcHBwcHBwcHBwc\",\"_time\":5,\"_source\":{}}";
        assert!(Line::parse(good.as_bytes()).is_some());
        // What is cut within the document is told by the frame's length and checksum.
        for end in 0..good.len() - 1 {
            assert_eq!(Line::parse(&good.as_bytes()[..end]), None, "{end}");
        }
        assert_eq!(Line::parse(good.replace("5,", "5x,").as_bytes()), None);
        assert_eq!(Line::parse(good.replace("BwcH", "B+cH").as_bytes()), None);
    }

    proptest! {
        #[test]
        fn lines_come_back(id: [u8; 20], time: i64, document in proptest::collection::vec(any::<u8>(), 0..200)) {
            let line = Line { id: EventId(id), time, document: &document };
            let mut out = Vec::new();
            line.write(&mut out);
            prop_assert!(out.len() <= Line::most_bytes(document.len()));
            prop_assert_eq!(Line::parse(out.strip_suffix(b"\n").unwrap()), Some(line));
        }

        #[test]
        fn any_bytes_are_parsed(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Line::parse(&bytes);
        }
    }
}
