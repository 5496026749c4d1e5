//! The fields of a message in the protobuf wire format (protobuf.dev, "Encoding"), one after the other.

use crate::varint;

/// How deep groups may lie in each other; nobody sends groups.
const MAX_GROUP_DEPTH: usize = 100;

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number.
    Varint(u64),
    /// Text, bytes or a message.
    Bytes(&'a [u8]),
    /// Anything else.
    Other,
}

/// The bytes are not fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.field())
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let (tag, rest) = varint::read(self.0).ok_or(Malformed)?;
        let (number, kind) = (tag >> 3, tag & 7);
        if number == 0 {
            return Err(Malformed);
        }
        let value = if kind == 3 {
            self.0 = skip_group(rest)?;
            Value::Other
        } else {
            let (value, rest) = read_value(kind, rest)?;
            self.0 = rest;
            value
        };
        Ok((number, value))
    }
}

fn read_value(kind: u64, bytes: &[u8]) -> Result<(Value<'_>, &[u8]), Malformed> {
    match kind {
        0 => varint::read(bytes).map(|(number, rest)| (Value::Varint(number), rest)),
        1 => bytes.get(8..).map(|rest| (Value::Other, rest)),
        2 => varint::read_bytes(bytes).map(|(bytes, rest)| (Value::Bytes(bytes), rest)),
        5 => bytes.get(4..).map(|rest| (Value::Other, rest)),
        _ => None,
    }
    .ok_or(Malformed)
}

fn skip_group(mut bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut depth = 1;
    while depth > 0 {
        let (tag, rest) = varint::read(bytes).ok_or(Malformed)?;
        bytes = match tag & 7 {
            3 if depth < MAX_GROUP_DEPTH => {
                depth += 1;
                rest
            }
            4 => {
                depth -= 1;
                rest
            }
            kind => read_value(kind, rest)?.1,
        };
    }
    Ok(bytes)
}
