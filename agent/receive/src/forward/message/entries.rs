//! Entries: a time and a record, and what Fluent Bit puts beside the time.

use weir_event::batch::Flags;

use super::{ENTRY_BYTES, Error};
use crate::documents::{Documents, Origin, Oversized};
use crate::forward::msgpack::{Fault, Head, Reader, event_time, write_record};

const NS_PER_SECOND: i64 = 1_000_000_000;
/// How much memory is taken for documents before one is there.
pub(super) const MAX_RESERVED: usize = 4 * 1024 * 1024;
/// Seconds of the `EventTime` of what begins a group in Fluent Bit: -1.
const GROUP_START: u32 = u32::MAX;
/// Seconds of the `EventTime` of what ends a group in Fluent Bit: -2.
const GROUP_END: u32 = u32::MAX - 1;

/// Appends the documents of entries.
pub(super) struct Entries<'d> {
    documents: &'d mut Documents,
    origin: u32,
    limit: usize,
}

/// What stands for the time of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    /// Nanoseconds since the Unix epoch.
    At(i64),
    /// The sender does not say: `nil` or 0.
    Unknown,
    /// No time that can be: too large, or a float that is no number.
    Wrong,
    /// Fluent Bit's mark around entries of one resource. It is no event.
    Mark,
}

// === impl Entries ===

impl<'d> Entries<'d> {
    /// Documents may take `limit` bytes, with what is known of each.
    pub(super) fn new(documents: &'d mut Documents, limit: usize) -> Entries<'d> {
        let origin = documents.add_origin(Origin::default());
        Entries { documents, origin, limit }
    }

    /// A time, and a record behind it.
    pub(super) fn read_one(&mut self, bytes: &[u8], metadata: Option<&[u8]>) -> Result<(), Error> {
        let mut reader = Reader::new(bytes);
        let head = reader.head()?;
        let time = read_time(head, &mut reader)?;
        self.read_record(&mut reader, time, metadata)
    }

    /// An array of entries.
    pub(super) fn read_array(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut reader = Reader::new(bytes);
        let Head::Array(entries) = reader.head()? else {
            return Err(Error::Unexpected("entries are an array"));
        };
        (0..entries).try_for_each(|_| self.read_entry(&mut reader))
    }

    /// Entries one behind another.
    pub(super) fn read_packed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut reader = Reader::new(bytes);
        while !reader.rest().is_empty() {
            self.read_entry(&mut reader)?;
        }
        Ok(())
    }

    /// Entries one behind another whose last may not be whole. Returns how many bytes the whole ones have.
    pub(super) fn read_whole(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let mut reader = Reader::new(bytes);
        loop {
            let left = reader.rest().len();
            match self.read_entry(&mut reader) {
                Ok(()) => {}
                Err(Error::Fault(Fault::Incomplete)) => {
                    self.documents.abandon();
                    return Ok(bytes.len() - left);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// `[time, record]`, or `[[time, metadata], record]`. What else is in it is passed over.
    fn read_entry(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        let Head::Array(parts @ 2..) = reader.head()? else {
            return Err(Error::Unexpected("an entry is an array of a time and a record"));
        };
        let (time, metadata) = match reader.head()? {
            Head::Array(parts) => read_time_and_metadata(parts, reader)?,
            head => (read_time(head, reader)?, None),
        };
        self.read_record(reader, time, metadata)?;
        if parts > 2 {
            reader.skip(u64::from(parts) - 2)?;
        }
        Ok(())
    }

    fn read_record(
        &mut self,
        reader: &mut Reader<'_>,
        time: Time,
        metadata: Option<&[u8]>,
    ) -> Result<(), Error> {
        let (time, flags) = match time {
            Time::At(time) => (Some(time), Flags::default()),
            Time::Unknown => (None, Flags::default()),
            Time::Wrong => (None, Flags::TIME_IGNORED),
            Time::Mark => return Ok(reader.skip(1)?),
        };
        let replaced = write_record(self.documents.text(), reader, metadata)?;
        self.documents.flag(flags.with(replaced));
        self.documents.finish(time, self.origin, Oversized::Cut)?;
        if self.documents.bytes() + self.documents.len() * ENTRY_BYTES > self.limit {
            return Err(Error::TooLarge { limit: self.limit });
        }
        Ok(())
    }
}

/// What lies behind the head of `[time, metadata]`, so many parts. Metadata that is no map is none.
fn read_time_and_metadata<'a>(
    parts: u32,
    reader: &mut Reader<'a>,
) -> Result<(Time, Option<&'a [u8]>), Error> {
    if parts == 0 {
        return Err(Error::Unexpected("an entry begins with its time"));
    }
    let head = reader.head()?;
    let time = read_time(head, reader)?;
    let mut metadata = None;
    if parts > 1 {
        metadata = Some(reader.raw()?).filter(|raw| matches!(Head::read(raw), Ok((Head::Map(_), _))));
        reader.skip(u64::from(parts) - 2)?;
    }
    Ok((time, metadata))
}

/// The time that a head begins: seconds, or an `EventTime`.
fn read_time(head: Head, reader: &mut Reader<'_>) -> Result<Time, Error> {
    Ok(match head {
        Head::Nil | Head::Unsigned(0) | Head::Signed(0) => Time::Unknown,
        Head::Unsigned(seconds) => of_seconds(i64::try_from(seconds).ok()),
        Head::Signed(seconds) => of_seconds(Some(seconds)),
        Head::Single(seconds) => of_float(f64::from(seconds)),
        Head::Double(seconds) => of_float(seconds),
        Head::Ext(kind, len) => match event_time(kind, reader.bytes(len)?) {
            Some((GROUP_START | GROUP_END, _)) => Time::Mark,
            Some((0, 0)) => Time::Unknown,
            Some((seconds, nanoseconds)) => {
                Time::At(i64::from(seconds) * NS_PER_SECOND + i64::from(nanoseconds))
            }
            None => return Err(Error::Unexpected("a time that is an extension has type 0 and 8 bytes")),
        },
        _ => return Err(Error::Unexpected("a time is a number or an EventTime")),
    })
}

fn of_seconds(seconds: Option<i64>) -> Time {
    seconds.and_then(|seconds| seconds.checked_mul(NS_PER_SECOND)).map_or(Time::Wrong, Time::At)
}

/// A float of 64 bits tells seconds of this century to a quarter of a microsecond: more digits would be noise.
fn of_float(seconds: f64) -> Time {
    let whole = seconds.floor();
    if whole.abs() > (i64::MAX / NS_PER_SECOND) as f64 || whole.is_nan() {
        return Time::Wrong;
    }
    if seconds == 0.0 {
        return Time::Unknown;
    }
    let microseconds = ((seconds - whole) * 1e6).round() as i64;
    (whole as i64)
        .checked_mul(NS_PER_SECOND)
        .and_then(|time| time.checked_add(microseconds * 1_000))
        .map_or(Time::Wrong, Time::At)
}
