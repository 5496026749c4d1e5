//! msgpack, read where it lies: heads of values, where values end, and values as JSON.
//!
//! The format is that of "MessagePack specification" (github.com/msgpack/msgpack/blob/master/spec.md).

mod json;
mod scan;

use rmp::Marker;

pub use json::{Written, write_record};
pub use scan::{Frame, Scan, Scanner};

/// How deep arrays and maps may lie in each other. A record at the bound makes JSON of less than 128 levels, which common
/// readers of JSON take.
pub const MAX_DEPTH: usize = 100;

/// What the first bytes of a value say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Head {
    /// `nil`.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// An integer that is not negative.
    Unsigned(u64),
    /// An integer of a signed format; most are negative.
    Signed(i64),
    /// A float of 32 bits.
    Single(f32),
    /// A float of 64 bits.
    Double(f64),
    /// Text of so many bytes.
    Str(u32),
    /// So many bytes.
    Bin(u32),
    /// So many values.
    Array(u32),
    /// So many pairs of a key and a value.
    Map(u32),
    /// An extension's type, and how many bytes it has.
    Ext(i8, u32),
}

/// Why bytes are no value of msgpack that can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end within a value.
    #[error("a value of msgpack ends too early")]
    Incomplete,
    /// A byte that begins no value.
    #[error("byte 0xc1 begins no value of msgpack")]
    Reserved,
    /// Arrays and maps lie too deep in each other.
    #[error("values are nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// A value is larger than may be, or says that it is.
    #[error("a message has more than {limit} bytes; raise max_message, or send smaller chunks")]
    TooLarge {
        /// How many there may be.
        limit: usize,
    },
}

/// Reads values that lie one behind another.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

// === impl Head ===

impl Head {
    /// The head at the beginning of some bytes, and what lies behind it.
    #[inline]
    pub fn read(bytes: &[u8]) -> Result<(Head, &[u8]), Fault> {
        let Some((first, rest)) = bytes.split_first() else { return Err(Fault::Incomplete) };
        Ok(match Marker::from_u8(*first) {
            Marker::FixPos(number) => (Head::Unsigned(u64::from(number)), rest),
            Marker::FixNeg(number) => (Head::Signed(i64::from(number)), rest),
            Marker::FixStr(len) => (Head::Str(u32::from(len)), rest),
            Marker::FixMap(len) => (Head::Map(u32::from(len)), rest),
            Marker::FixArray(len) => (Head::Array(u32::from(len)), rest),
            Marker::Null => (Head::Nil, rest),
            Marker::True => (Head::Bool(true), rest),
            Marker::False => (Head::Bool(false), rest),
            marker => return Head::read_long(marker, rest),
        })
    }

    fn read_long(marker: Marker, rest: &[u8]) -> Result<(Head, &[u8]), Fault> {
        Ok(match marker {
            Marker::U8 => map(number(rest, u8::from_be_bytes)?, |number| Head::Unsigned(number.into())),
            Marker::U16 => map(number(rest, u16::from_be_bytes)?, |number| Head::Unsigned(number.into())),
            Marker::U32 => map(number(rest, u32::from_be_bytes)?, |number| Head::Unsigned(number.into())),
            Marker::U64 => map(number(rest, u64::from_be_bytes)?, Head::Unsigned),
            Marker::I8 => map(number(rest, i8::from_be_bytes)?, |number| Head::Signed(number.into())),
            Marker::I16 => map(number(rest, i16::from_be_bytes)?, |number| Head::Signed(number.into())),
            Marker::I32 => map(number(rest, i32::from_be_bytes)?, |number| Head::Signed(number.into())),
            Marker::I64 => map(number(rest, i64::from_be_bytes)?, Head::Signed),
            Marker::F32 => map(number(rest, f32::from_be_bytes)?, Head::Single),
            Marker::F64 => map(number(rest, f64::from_be_bytes)?, Head::Double),
            Marker::Str8 => map(number(rest, u8::from_be_bytes)?, |len| Head::Str(len.into())),
            Marker::Str16 => map(number(rest, u16::from_be_bytes)?, |len| Head::Str(len.into())),
            Marker::Str32 => map(number(rest, u32::from_be_bytes)?, Head::Str),
            Marker::Bin8 => map(number(rest, u8::from_be_bytes)?, |len| Head::Bin(len.into())),
            Marker::Bin16 => map(number(rest, u16::from_be_bytes)?, |len| Head::Bin(len.into())),
            Marker::Bin32 => map(number(rest, u32::from_be_bytes)?, Head::Bin),
            Marker::Array16 => map(number(rest, u16::from_be_bytes)?, |len| Head::Array(len.into())),
            Marker::Array32 => map(number(rest, u32::from_be_bytes)?, Head::Array),
            Marker::Map16 => map(number(rest, u16::from_be_bytes)?, |len| Head::Map(len.into())),
            Marker::Map32 => map(number(rest, u32::from_be_bytes)?, Head::Map),
            other => return Head::read_ext(other, rest),
        })
    }

    fn read_ext(marker: Marker, rest: &[u8]) -> Result<(Head, &[u8]), Fault> {
        let (len, rest) = match marker {
            Marker::FixExt1 => (1, rest),
            Marker::FixExt2 => (2, rest),
            Marker::FixExt4 => (4, rest),
            Marker::FixExt8 => (8, rest),
            Marker::FixExt16 => (16, rest),
            Marker::Ext8 => map(number(rest, u8::from_be_bytes)?, u32::from),
            Marker::Ext16 => map(number(rest, u16::from_be_bytes)?, u32::from),
            Marker::Ext32 => number(rest, u32::from_be_bytes)?,
            _ => return Err(Fault::Reserved),
        };
        Ok(map(number(rest, i8::from_be_bytes)?, |kind| Head::Ext(kind, len)))
    }

    /// How many bytes lie behind the head, that are no values.
    #[inline]
    pub fn bytes(self) -> u32 {
        match self {
            Head::Str(len) | Head::Bin(len) | Head::Ext(_, len) => len,
            _ => 0,
        }
    }

    /// How many values lie behind the head, that belong to this one.
    #[inline]
    pub fn values(self) -> u64 {
        match self {
            Head::Array(len) => u64::from(len),
            Head::Map(pairs) => 2 * u64::from(pairs),
            _ => 0,
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Reads from the first of these bytes on.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What was not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next head.
    #[inline]
    pub fn head(&mut self) -> Result<Head, Fault> {
        let (head, rest) = Head::read(self.rest)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next bytes, so many of them.
    #[inline]
    pub fn bytes(&mut self, len: u32) -> Result<&'a [u8], Fault> {
        let (bytes, rest) = self.rest.split_at_checked(len as usize).ok_or(Fault::Incomplete)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Passes over so many values. Takes no stack for their depth.
    pub fn skip(&mut self, values: u64) -> Result<(), Fault> {
        let mut left = values;
        while left > 0 {
            let head = self.head()?;
            self.bytes(head.bytes())?;
            left = left - 1 + head.values();
        }
        Ok(())
    }

    /// The bytes of the next value, its head with them.
    pub fn raw(&mut self) -> Result<&'a [u8], Fault> {
        let before = self.rest;
        self.skip(1)?;
        Ok(before.get(..before.len() - self.rest.len()).unwrap_or_default())
    }

    /// The content of the next value if it is text or bytes; else it is not read.
    pub fn text(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        match Head::read(self.rest)? {
            (Head::Str(len) | Head::Bin(len), behind) => {
                self.rest = behind;
                self.bytes(len).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// The seconds and nanoseconds of an `EventTime`: an extension of type 0 and 8 bytes ("Ext" in the specification of
/// Forward).
pub(crate) fn event_time(kind: i8, data: &[u8]) -> Option<(u32, u32)> {
    let [a, b, c, d, e, f, g, h] = *data else { return None };
    (kind == 0).then(|| (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])))
}

#[inline]
fn number<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Result<(T, &[u8]), Fault> {
    let (number, rest) = bytes.split_first_chunk::<N>().ok_or(Fault::Incomplete)?;
    Ok((convert(*number), rest))
}

#[inline]
fn map<T, U>((value, rest): (T, &[u8]), convert: impl Fn(T) -> U) -> (U, &[u8]) {
    (convert(value), rest)
}
