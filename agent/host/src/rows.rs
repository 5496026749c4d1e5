//! Parts of a call by rows, and the answers to such parts put together again.

use std::ops::Range;

use weir_event::column::{Column, Kind};
use weir_event::transform::{Call, NewEvent, Outcome, Patch, WrittenColumn};

/// The answer to the rows `rows` of a call, numbered from 0 as the part's own.
pub(crate) struct Part {
    pub(crate) rows: Range<u32>,
    pub(crate) outcome: Outcome,
}

/// These rows of `call` as a call of their own.
pub(crate) fn slice(call: &Call, rows: Range<u32>) -> Call {
    let range = rows.start as usize..rows.end as usize;
    Call {
        rows: rows.end - rows.start,
        streams: call.streams.get(range.clone()).unwrap_or_default().to_vec(),
        times: call.times.get(range.clone()).unwrap_or_default().to_vec(),
        columns: call.columns.iter().map(|column| slice_column(column, range.clone())).collect(),
    }
}

fn slice_column(column: &Column, rows: Range<usize>) -> Column {
    let offsets = column.offsets.get(rows.start..=rows.end).unwrap_or_default();
    let (start, end) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
    Column {
        kinds: column.kinds.get(rows).unwrap_or_default().to_vec(),
        offsets: offsets.iter().map(|offset| offset.saturating_sub(start)).collect(),
        data: column.data.get(start as usize..end as usize).unwrap_or_default().to_vec(),
    }
}

/// One answer for a call of `rows` rows out of checked answers to parts of it, which are in ascending order
/// and do not overlap. Rows in no part are kept and not written.
pub(crate) fn merge(parts: Vec<Part>, rows: u32) -> Outcome {
    let mut merged = Outcome { columns: merge_columns(&parts, rows), ..Outcome::default() };
    for part in parts {
        let first = part.rows.start;
        merge_verdicts(&mut merged.verdicts, &part, rows);
        let patch = |patch: Patch| Patch { row: first + patch.row, ..patch };
        merged.patches.extend(part.outcome.patches.into_iter().map(patch));
        let event = |event: NewEvent| NewEvent { parent: first + event.parent, ..event };
        merged.events.extend(part.outcome.events.into_iter().map(event));
    }
    merged
}

fn merge_verdicts(verdicts: &mut Vec<u8>, part: &Part, rows: u32) {
    if part.outcome.verdicts.is_empty() {
        return;
    }
    verdicts.resize(rows as usize, 0);
    let of_part = part.rows.start as usize..part.rows.end as usize;
    for (merged, verdict) in verdicts[of_part].iter_mut().zip(&part.outcome.verdicts) {
        *merged = *verdict;
    }
}

fn merge_columns(parts: &[Part], rows: u32) -> Vec<WrittenColumn> {
    let of_part = |part: &Part| part.outcome.columns.iter().map(|column| column.field).collect::<Vec<_>>();
    let mut fields: Vec<u32> = parts.iter().flat_map(of_part).collect();
    fields.sort_unstable();
    fields.dedup();
    fields
        .into_iter()
        .map(|field| WrittenColumn { field, values: merge_column(field, parts, rows) })
        .collect()
}

fn merge_column(field: u32, parts: &[Part], rows: u32) -> Column {
    let mut merged = Column::default();
    merged.clear();
    for part in parts {
        let Some(column) = part.outcome.columns.iter().find(|column| column.field == field) else { continue };
        pad(&mut merged, part.rows.start);
        for row in 0..column.values.len() {
            let (kind, value) = column.values.get(row).unwrap_or((Kind::Absent, &[]));
            merged.push(kind, value);
        }
    }
    pad(&mut merged, rows);
    merged
}

/// Appends absent values up to row `row`.
fn pad(column: &mut Column, row: u32) {
    while column.len() < row as usize {
        column.push(Kind::Absent, &[]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_event::transform::Edit;

    use super::*;

    fn column(values: impl Iterator<Item = Option<u32>>) -> Column {
        let mut column = Column::default();
        column.clear();
        for value in values {
            match value {
                Some(number) => column.push(Kind::Number, number.to_string().as_bytes()),
                None => column.push(Kind::Absent, b""),
            }
        }
        column
    }

    fn call(rows: u32) -> Call {
        Call {
            rows,
            streams: (0..rows).map(|row| row % 3).collect(),
            times: (0..rows).map(|row| i64::from(row) * 1000).collect(),
            columns: vec![
                column((0..rows).map(Some)),
                column((0..rows).map(|row| (row % 2 == 0).then_some(row))),
            ],
        }
    }

    /// Echoes the first column, and patches and parents every row.
    fn answer(call: &Call) -> Outcome {
        Outcome {
            verdicts: call.times.iter().map(|time| (time / 1000 % 2) as u8).collect(),
            columns: vec![WrittenColumn { field: 4, values: call.columns[0].clone() }],
            patches: (0..call.rows)
                .map(|row| Patch { row, edit: Edit::Remove(call.times[row as usize].to_string()) })
                .collect(),
            events: (0..call.rows)
                .map(|parent| NewEvent { parent, document: vec![call.streams[parent as usize] as u8] })
                .collect(),
        }
    }

    proptest! {
        #[test]
        fn answers_to_parts_are_the_answer_to_the_whole(
            rows in 0u32..40,
            mut cuts in prop::collection::vec(0u32..40, 0..6),
        ) {
            let whole = call(rows);
            cuts.extend([0, rows]);
            cuts.retain(|cut| *cut <= rows);
            cuts.sort_unstable();
            let part = |pair: &[u32]| {
                let rows = pair[0]..pair[1];
                Part { rows: rows.clone(), outcome: answer(&slice(&whole, rows)) }
            };
            prop_assert_eq!(merge(cuts.windows(2).map(part).collect(), rows), answer(&whole));
        }
    }

    #[test]
    fn rows_without_an_answer_are_kept_and_not_written() {
        let whole = call(6);
        let part = |rows: Range<u32>| Part { rows: rows.clone(), outcome: answer(&slice(&whole, rows)) };
        let merged = merge(vec![part(1..2), Part { rows: 2..3, outcome: Outcome::default() }, part(4..6)], 6);
        assert_eq!(merged.verdicts, [0, 1, 0, 0, 0, 1]);
        assert_eq!(
            merged.columns[0].values,
            column([None, Some(1), None, None, Some(4), Some(5)].into_iter())
        );
        assert_eq!(merged.patches.iter().map(|patch| patch.row).collect::<Vec<_>>(), [1, 4, 5]);
        assert_eq!(merged.events.iter().map(|event| event.parent).collect::<Vec<_>>(), [1, 4, 5]);
    }

    #[test]
    fn a_part_is_numbered_from_its_own_start() {
        let part = slice(&call(6), 3..5);
        assert_eq!(
            (part.rows, part.streams.as_slice(), part.times.as_slice()),
            (2, &[0, 1][..], &[3000, 4000][..])
        );
        assert_eq!(part.columns[1], column([None, Some(4)].into_iter()));
    }
}
