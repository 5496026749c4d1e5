//! A batch: the rows of one call, as the columns that the plan asked for.

use crate::bindings;
use crate::column::Column;
use crate::plan::{Attribute, Read};

/// The rows of one call and what holds for all of them. Rows are counted from 0.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    batch: &'a bindings::Batch,
    context: &'a bindings::Context,
}

impl<'a> Batch<'a> {
    #[inline]
    pub(crate) fn new(batch: &'a bindings::Batch, context: &'a bindings::Context) -> Batch<'a> {
        Batch { batch, context }
    }

    /// How many rows there are.
    #[inline]
    pub fn rows(self) -> usize {
        self.batch.rows as usize
    }

    /// The values of a field that the plan reads, one per row.
    #[inline]
    pub fn column(self, field: Read) -> Column<'a> {
        self.batch.columns.get(field.0 as usize).map_or(Column::EMPTY, Column::new)
    }

    /// The values of a stream attribute that the plan asks for.
    #[inline]
    pub fn attribute(self, attribute: Attribute) -> AttributeColumn<'a> {
        let column = self.context.attributes.get(attribute.0 as usize);
        AttributeColumn { values: column.map_or(Column::EMPTY, Column::new), streams: &self.batch.streams }
    }

    /// Per row the index of its stream, to look up what was worked out once for each stream.
    #[inline]
    pub fn streams(self) -> &'a [u32] {
        &self.batch.streams
    }

    /// Per row the time of the event, in nanoseconds since the Unix epoch.
    #[inline]
    pub fn times(self) -> &'a [i64] {
        &self.batch.times
    }

    /// Now, in nanoseconds since the Unix epoch. A plugin has no other clock.
    #[inline]
    pub fn now(self) -> i64 {
        self.context.now
    }

    /// How full the buffers behind the pipeline are: 0 empty, 1 full.
    #[inline]
    pub fn pressure(self) -> f32 {
        self.context.pressure
    }
}

/// One stream attribute: every row has the value of its stream.
#[derive(Clone, Copy, Debug)]
pub struct AttributeColumn<'a> {
    values: Column<'a>,
    streams: &'a [u32],
}

impl<'a> AttributeColumn<'a> {
    /// The attribute's value for the row; `None` where its stream has none.
    #[inline]
    pub fn str(self, row: usize) -> Option<&'a str> {
        self.values.str(*self.streams.get(row)? as usize)
    }

    /// The values by stream, in the order that [`Batch::streams`] refers to.
    #[inline]
    pub fn by_stream(self) -> Column<'a> {
        self.values
    }
}
