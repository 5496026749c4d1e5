//! The fields of protobuf messages (protobuf.dev, "Encoding"), one after the other.

use super::report::Reason;
use crate::varint;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Number(u64),
    Eight([u8; 8]),
    Bytes(&'a [u8]),
    Four,
}

/// Why decoding does not go on.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// The bytes are not the message; nothing of the request can be trusted.
    Broken(&'static str),
    /// This part of it breaks a rule; what follows is readable.
    Refused(Reason),
    /// The request would take more memory than it may.
    TooLarge,
}

/// Reads the fields of a message in their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields(message)
    }

    /// The next field's number and what it holds; `None` at the end. Groups, which no version of the messages has, are
    /// refused.
    #[inline]
    pub(super) fn read(&mut self) -> Result<Option<(u32, Value<'a>)>, Fault> {
        const CUT: Fault = Fault::Broken("a field leads beyond the end");
        if self.0.is_empty() {
            return Ok(None);
        }
        let (tag, rest) = varint::read(self.0).ok_or(CUT)?;
        // Readers of documents look for tags by their bytes.
        if self.0.len() - rest.len() != varint::len(tag) {
            return Err(Fault::Broken("a field's tag is longer than it needs to be"));
        }
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0);
        let number = number.ok_or(Fault::Broken("there is no field of this number"))?;
        let (value, rest) = match tag & 7 {
            0 => varint::read(rest).map(|(number, rest)| (Value::Number(number), rest)).ok_or(CUT)?,
            1 => rest.split_first_chunk().map(|(bytes, rest)| (Value::Eight(*bytes), rest)).ok_or(CUT)?,
            2 => varint::read_bytes(rest).map(|(bytes, rest)| (Value::Bytes(bytes), rest)).ok_or(CUT)?,
            5 => (Value::Four, rest.get(4..).ok_or(CUT)?),
            _ => return Err(Fault::Broken("a field is of a type that is not known")),
        };
        self.0 = rest;
        Ok(Some((number, value)))
    }
}

// === impl Value ===

impl<'a> Value<'a> {
    const OTHER_TYPE: Fault = Fault::Broken("a field is of another type than it should be");

    #[inline]
    pub(super) fn bytes(self) -> Result<&'a [u8], Fault> {
        if let Value::Bytes(bytes) = self { Ok(bytes) } else { Err(Value::OTHER_TYPE) }
    }

    #[inline]
    pub(super) fn number(self) -> Result<u64, Fault> {
        if let Value::Number(number) = self { Ok(number) } else { Err(Value::OTHER_TYPE) }
    }

    /// Of type `sint32` or `sint64`.
    pub(super) fn signed(self) -> Result<i64, Fault> {
        self.number().map(signed)
    }

    #[inline]
    pub(super) fn double(self) -> Result<f64, Fault> {
        if let Value::Eight(bytes) = self { Ok(f64::from_le_bytes(bytes)) } else { Err(Value::OTHER_TYPE) }
    }

    /// The numbers of a repeated field: all of them packed, or one of them.
    #[inline]
    pub(super) fn each_number(self, mut each: impl FnMut(u64) -> Result<(), Fault>) -> Result<(), Fault> {
        let Value::Bytes(mut packed) = self else { return each(self.number()?) };
        while !packed.is_empty() {
            let (number, rest) = match packed {
                // Most numbers are short.
                [first, second, rest @ ..] if *first >= 0x80 && *second < 0x80 => {
                    (u64::from(*first & 0x7f) | u64::from(*second) << 7, rest)
                }
                _ => varint::read(packed).ok_or(Fault::Broken("a list of numbers is cut"))?,
            };
            packed = rest;
            each(number)?;
        }
        Ok(())
    }

    /// As [`Value::each_number`], of doubles.
    pub(super) fn each_double(self, mut each: impl FnMut(f64) -> Result<(), Fault>) -> Result<(), Fault> {
        let Value::Bytes(packed) = self else { return each(self.double()?) };
        let (doubles, rest) = packed.as_chunks();
        if !rest.is_empty() {
            return Err(Fault::Broken("a list of numbers is cut"));
        }
        doubles.iter().try_for_each(|bytes| each(f64::from_le_bytes(*bytes)))
    }
}

/// What a zigzag number means.
pub(super) fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
