//! Values as JSON text, appended without allocating.
//!
//! - A key that is a number, `nil` or a truth value becomes its text; one that is an array, a map or an extension becomes
//!   its own msgpack in base64: the text of nested keys would double with each level.
//! - Bytes become text as strings do; what of either is not UTF-8 becomes U+FFFD, and the event is flagged.
//! - A number that JSON has not becomes text: `"NaN"`, `"Infinity"`, `"-Infinity"`.
//! - An `EventTime` becomes a time stamp of RFC 3339, any other extension `{"type":N,"data":"base64"}`.
//! - Members stay in their order, and a name that comes twice comes twice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weir_event::batch::{Flags, MAX_EVENT_BYTES};
use weir_event::json;
use weir_event::time::write_rfc3339;

use super::{Fault, Head, MAX_DEPTH, Reader, event_time};

const NS_PER_SECOND: i64 = 1_000_000_000;
/// How many bytes become base64 at a time, on the stack: a multiple of 3.
const BASE64_BYTES: usize = 48;

/// What was replaced while a record was written.
pub type Written = Flags;

/// Which of the members that metadata may go under the record has itself.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    metadata: bool,
    underscored: bool,
}

/// Appends to a document, up to where it is too long anyway.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Beyond this length of `out` nothing is written: what is longer is cut to less.
    full: usize,
    flags: Flags,
}

/// Reads a record and appends it as one JSON object. One that is no map goes under `message`.
///
/// `metadata` is a map in msgpack that goes with the record. If there is anything in it, it is appended under `metadata`,
/// or under `_metadata` where the record has a member `metadata`; where it has both, the metadata is left out.
///
/// Of an object of more than [`MAX_EVENT_BYTES`], at least so many bytes are written and the rest may be missing.
pub fn write_record(
    out: &mut Vec<u8>,
    reader: &mut Reader<'_>,
    metadata: Option<&[u8]>,
) -> Result<Written, Fault> {
    let full = out.len() + MAX_EVENT_BYTES;
    let mut writer = Writer { out, full, flags: Flags::default() };
    let mut taken = Taken::default();
    let members = match Head::read(reader.rest())? {
        (Head::Map(pairs), _) => {
            reader.head()?;
            writer.out.push(b'{');
            writer.members(reader, pairs, 1, metadata.is_some().then_some(&mut taken))?;
            pairs
        }
        _ => {
            writer.out.extend_from_slice(b"{\"message\":");
            writer.value(reader, 1)?;
            1
        }
    };
    if let Some(metadata) = metadata {
        writer.metadata(metadata, members, taken)?;
    }
    writer.out.push(b'}');
    Ok(writer.flags)
}

// === impl Writer ===

impl Writer<'_> {
    fn is_full(&self) -> bool {
        self.out.len() > self.full
    }

    fn metadata(&mut self, metadata: &[u8], members: u32, taken: Taken) -> Result<(), Fault> {
        let mut reader = Reader::new(metadata);
        if matches!(Head::read(metadata)?, (Head::Map(0), _)) || (taken.metadata && taken.underscored) {
            return Ok(());
        }
        if members > 0 {
            self.out.push(b',');
        }
        self.out.extend_from_slice(if taken.metadata { b"\"_metadata\":" } else { b"\"metadata\":" });
        self.value(&mut reader, 1)
    }

    /// One value that lies in `depth` arrays and maps.
    fn value(&mut self, reader: &mut Reader<'_>, depth: usize) -> Result<(), Fault> {
        match reader.head()? {
            Head::Str(len) | Head::Bin(len) => self.text(reader.bytes(len)?),
            Head::Map(pairs) => {
                self.out.push(b'{');
                self.members(reader, pairs, deeper(depth)?, None)?;
                self.out.push(b'}');
            }
            Head::Array(len) => {
                self.out.push(b'[');
                self.elements(reader, len, deeper(depth)?)?;
                self.out.push(b']');
            }
            Head::Ext(kind, len) => self.extension(kind, reader.bytes(len)?),
            Head::Single(number) if !number.is_finite() => self.quoted(not_finite(f64::from(number))),
            Head::Double(number) if !number.is_finite() => self.quoted(not_finite(number)),
            scalar => self.scalar(scalar),
        }
        Ok(())
    }

    fn elements(&mut self, reader: &mut Reader<'_>, len: u32, depth: usize) -> Result<(), Fault> {
        for index in 0..len {
            if self.is_full() {
                return reader.skip(u64::from(len - index));
            }
            if index > 0 {
                self.out.push(b',');
            }
            self.value(reader, depth)?;
        }
        Ok(())
    }

    fn members(
        &mut self,
        reader: &mut Reader<'_>,
        pairs: u32,
        depth: usize,
        mut taken: Option<&mut Taken>,
    ) -> Result<(), Fault> {
        for index in 0..pairs {
            if self.is_full() {
                return reader.skip(2 * u64::from(pairs - index));
            }
            if index > 0 {
                self.out.push(b',');
            }
            let start = self.out.len();
            self.key(reader)?;
            if let Some(taken) = taken.as_deref_mut() {
                let name = self.out.get(start..).unwrap_or_default();
                taken.metadata |= name == b"\"metadata\"";
                taken.underscored |= name == b"\"_metadata\"";
            }
            self.out.push(b':');
            self.value(reader, depth)?;
        }
        Ok(())
    }

    #[inline]
    fn key(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        match Head::read(reader.rest())? {
            (Head::Str(_) | Head::Bin(_), _) => {
                if let Some(name) = reader.text()? {
                    self.text(name);
                }
            }
            (Head::Array(_) | Head::Map(_) | Head::Ext(..), _) => {
                let raw = reader.raw()?;
                self.base64(raw);
            }
            _ => {
                let scalar = reader.head()?;
                self.out.push(b'"');
                self.scalar(scalar);
                self.out.push(b'"');
            }
        }
        Ok(())
    }

    /// A number, `nil` or truth value, without quotes.
    fn scalar(&mut self, head: Head) {
        // Writing to memory cannot fail.
        let _ = match head {
            Head::Unsigned(number) => serde_json::to_writer(&mut *self.out, &number),
            Head::Signed(number) => serde_json::to_writer(&mut *self.out, &number),
            Head::Single(number) if number.is_finite() => serde_json::to_writer(&mut *self.out, &number),
            Head::Double(number) if number.is_finite() => serde_json::to_writer(&mut *self.out, &number),
            Head::Bool(truth) => serde_json::to_writer(&mut *self.out, &truth),
            Head::Single(number) => return self.plain(not_finite(f64::from(number))),
            Head::Double(number) => return self.plain(not_finite(number)),
            _ => return self.plain("null"),
        };
    }

    fn plain(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        self.plain(text);
        self.out.push(b'"');
    }

    #[inline]
    fn text(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        match std::str::from_utf8(bytes) {
            Ok(text) => json::write_escaped(self.out, enough(text)),
            Err(_) => self.replace_invalid(bytes),
        }
        self.out.push(b'"');
    }

    fn replace_invalid(&mut self, bytes: &[u8]) {
        self.flags = self.flags.with(Flags::INVALID_UTF8);
        for chunk in bytes.utf8_chunks() {
            if self.is_full() {
                return;
            }
            json::write_escaped(self.out, enough(chunk.valid()));
            if !chunk.invalid().is_empty() {
                self.out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }

    fn extension(&mut self, kind: i8, data: &[u8]) {
        if let Some((seconds, nanoseconds)) = event_time(kind, data) {
            self.out.push(b'"');
            write_rfc3339(self.out, i64::from(seconds) * NS_PER_SECOND + i64::from(nanoseconds));
            self.out.push(b'"');
            return;
        }
        self.plain("{\"type\":");
        self.scalar(Head::Signed(i64::from(kind)));
        self.plain(",\"data\":");
        self.base64(data);
        self.out.push(b'}');
    }

    fn base64(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        for chunk in bytes.chunks(BASE64_BYTES) {
            if self.is_full() {
                break;
            }
            let mut text = [0; BASE64_BYTES / 3 * 4];
            let len = STANDARD.encode_slice(chunk, &mut text).unwrap_or(0);
            self.out.extend_from_slice(text.get(..len).unwrap_or_default());
        }
        self.out.push(b'"');
    }
}

/// As much of a text as makes a document too long: its rest need not be escaped.
#[inline]
fn enough(text: &str) -> &[u8] {
    if text.len() <= MAX_EVENT_BYTES {
        return text.as_bytes();
    }
    let end = text.floor_char_boundary(MAX_EVENT_BYTES + 4);
    text.as_bytes().get(..end).unwrap_or_default()
}

fn deeper(depth: usize) -> Result<usize, Fault> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Fault::TooDeep) }
}

fn not_finite(number: f64) -> &'static str {
    match number {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

#[cfg(test)]
pub(super) mod tests;
