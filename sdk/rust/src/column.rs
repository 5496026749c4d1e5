//! Columns: the values of one field over the rows of a batch, read in place.

use crate::bindings;

/// The kind of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The event has no such field.
    Absent = 0,
    /// `null`
    Null = 1,
    /// A string.
    String = 2,
    /// A number.
    Number = 3,
    /// `true` or `false`
    Bool = 4,
    /// An object.
    Object = 5,
    /// An array.
    Array = 6,
}

impl Kind {
    #[inline]
    fn from_number(number: u8) -> Kind {
        match number {
            1 => Kind::Null,
            2 => Kind::String,
            3 => Kind::Number,
            4 => Kind::Bool,
            5 => Kind::Object,
            6 => Kind::Array,
            _ => Kind::Absent,
        }
    }
}

/// One field over the rows of a batch (or one stream attribute over its streams). Reading a value copies nothing.
///
/// A row that is not there reads as absent.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    kinds: &'a [u8],
    offsets: &'a [u32],
    data: &'a [u8],
}

impl<'a> Column<'a> {
    pub(crate) const EMPTY: Column<'static> = Column { kinds: &[], offsets: &[], data: &[] };

    #[inline]
    pub(crate) fn new(column: &'a bindings::Column) -> Column<'a> {
        Column { kinds: &column.kinds, offsets: &column.offsets, data: &column.data }
    }

    /// The number of values.
    #[inline]
    pub fn len(self) -> usize {
        self.kinds.len()
    }

    /// Whether there are no values.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.kinds.is_empty()
    }

    /// What kind of value the row has.
    #[inline]
    pub fn kind(self, row: usize) -> Kind {
        Kind::from_number(self.kinds.get(row).copied().unwrap_or(0))
    }

    /// The value's bytes: a string's content without quotes and escapes, for the other kinds the JSON text as it
    /// was written. Empty where the field is absent.
    #[inline]
    pub fn bytes(self, row: usize) -> &'a [u8] {
        let Some(&[start, end]) = self.offsets.get(row..row + 2) else { return &[] };
        self.data.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// The string in this row; `None` where it is absent or of another kind.
    #[inline]
    pub fn str(self, row: usize) -> Option<&'a str> {
        if self.kind(row) != Kind::String {
            return None;
        }
        std::str::from_utf8(self.bytes(row)).ok()
    }

    /// The text of a string, number or bool; `None` for every other kind. It costs less than [`Column::str`] and is
    /// what comparing and hashing want.
    #[inline]
    pub fn scalar(self, row: usize) -> Option<&'a [u8]> {
        matches!(self.kind(row), Kind::String | Kind::Number | Kind::Bool).then(|| self.bytes(row))
    }

    /// The number in this row, as near as an `f64` comes to it.
    pub fn number(self, row: usize) -> Option<f64> {
        if self.kind(row) != Kind::Number {
            return None;
        }
        std::str::from_utf8(self.bytes(row)).ok()?.parse().ok()
    }

    /// The bool in this row.
    #[inline]
    pub fn bool(self, row: usize) -> Option<bool> {
        (self.kind(row) == Kind::Bool).then(|| self.bytes(row) == b"true")
    }

    /// The values in the order of the rows, each as [`Column::kind`] and [`Column::bytes`] give it: the fastest way
    /// through a whole column.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = (Kind, &'a [u8])> {
        let ends = self.offsets.iter().skip(1);
        self.kinds.iter().zip(self.offsets).zip(ends).map(move |((&kind, &start), &end)| {
            (Kind::from_number(kind), self.data.get(start as usize..end as usize).unwrap_or(&[]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column() -> bindings::Column {
        bindings::Column {
            kinds: vec![2, 0, 3, 4, 1, 5, 2],
            offsets: vec![0, 5, 5, 9, 13, 17, 19, 21],
            data: b"error0.25truenull{}\xff\xfe".to_vec(),
        }
    }

    #[test]
    fn values_are_read_by_kind() {
        let raw = column();
        let column = Column::new(&raw);
        assert_eq!(column.str(0), Some("error"));
        assert_eq!(column.scalar(0), Some(&b"error"[..]));
        assert_eq!((column.kind(1), column.bytes(1), column.scalar(1)), (Kind::Absent, &b""[..], None));
        assert_eq!((column.number(2), column.str(2)), (Some(0.25), None));
        assert_eq!((column.bool(3), column.bool(2)), (Some(true), None));
        assert_eq!((column.kind(4), column.scalar(4)), (Kind::Null, None));
        assert_eq!((column.kind(5), column.bytes(5)), (Kind::Object, &b"{}"[..]));
        assert_eq!((column.str(6), column.bytes(6)), (None, &b"\xff\xfe"[..]));
    }

    #[test]
    fn iteration_gives_what_access_by_row_gives() {
        let raw = column();
        let column = Column::new(&raw);
        let walked: Vec<_> = column.iter().collect();
        let looked_up: Vec<_> = (0..column.len()).map(|row| (column.kind(row), column.bytes(row))).collect();
        assert_eq!(walked, looked_up);
        assert_eq!(walked.len(), 7);
    }

    #[test]
    fn a_row_that_is_not_there_is_absent() {
        let mut raw = column();
        assert_eq!((Column::new(&raw).kind(7), Column::new(&raw).bytes(7)), (Kind::Absent, &b""[..]));
        assert_eq!(Column::new(&raw).bytes(usize::MAX - 2), b"");
        raw.data.clear();
        assert_eq!(Column::new(&raw).bytes(0), b"");
        assert!(Column::EMPTY.is_empty());
    }
}
