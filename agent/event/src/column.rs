//! Columns: the values of one declared field over many rows, laid out as `wit/transform.wit` has them.

use crate::scan::Value;

/// The kind of a JSON value in a column. The numbers are those of the `column` record in `wit/transform.wit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The event has no such member.
    #[default]
    Absent = 0,
    /// `null`
    Null = 1,
    /// A string; its bytes in the column are unescaped UTF-8 without quotes.
    String = 2,
    /// A number as it was written.
    Number = 3,
    /// `true` or `false`
    Bool = 4,
    /// An object as raw JSON text.
    Object = 5,
    /// An array as raw JSON text.
    Array = 6,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            0 => Kind::Absent,
            1 => Kind::Null,
            2 => Kind::String,
            3 => Kind::Number,
            4 => Kind::Bool,
            5 => Kind::Object,
            6 => Kind::Array,
            _ => return None,
        })
    }
}

/// One field over the rows of a call. Value `i` is `data[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// A [`Kind`] number per row.
    pub kinds: Vec<u8>,
    /// Where each value begins in `data`, and one more entry for the end of the last.
    pub offsets: Vec<u32>,
    /// The values, one behind the other.
    pub data: Vec<u8>,
}

impl Column {
    /// Empties the column and keeps its memory.
    pub fn clear(&mut self) {
        self.kinds.clear();
        self.offsets.clear();
        self.offsets.push(0);
        self.data.clear();
    }

    /// Appends a value.
    #[inline]
    pub fn push(&mut self, kind: Kind, value: &[u8]) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        self.data.extend_from_slice(value);
        self.kinds.push(kind as u8);
        self.offsets.push(self.data.len() as u32);
    }

    /// Appends a value of a text; `escaped` where there may be escapes in it. A short value that more bytes follow, as
    /// they do in padded texts, is copied by a copy of a fixed size, which needs no call.
    #[inline]
    pub(crate) fn push_value(&mut self, value: Value, padded: &[u8], escaped: bool) {
        let Value { start, end, kind } = value;
        let (len, behind) = ((end - start) as usize, padded.get(start as usize..).unwrap_or_default());
        match behind.first_chunk::<32>() {
            _ if kind == Kind::Absent => {}
            _ if escaped && kind == Kind::String => {
                crate::json::unescape(behind.get(..len).unwrap_or_default(), &mut self.data);
            }
            Some(chunk) if len <= 32 => {
                let end = self.data.len() + len;
                self.data.extend_from_slice(chunk);
                self.data.truncate(end);
            }
            _ => self.data.extend_from_slice(behind.get(..len).unwrap_or_default()),
        }
        self.kinds.push(kind as u8);
        self.offsets.push(self.data.len() as u32);
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Value `row`, or `None` where the column is shorter or malformed (a plugin may return anything).
    pub fn get(&self, row: usize) -> Option<(Kind, &[u8])> {
        let kind = Kind::from_number(*self.kinds.get(row)?)?;
        let start = *self.offsets.get(row)? as usize;
        let end = *self.offsets.get(row + 1)? as usize;
        Some((kind, self.data.get(start..end)?))
    }
}
