//! The faults.

use std::hint::black_box;

use weir_sdk::bindings::{Column, Edit, NewEvent, Outcome, Patch, WrittenColumn};

use crate::Mode;

const MEBIBYTE: usize = 1024 * 1024;
/// Beyond what the agent takes as an answer, within what an instance may have.
const HUGE_BYTES: usize = 12 * MEBIBYTE;
const FLOOD_EVENTS: usize = 200_000;

/// Misbehaves because of a row.
pub(crate) fn misbehave(mode: Mode, row: usize, outcome: &mut Outcome, leaked: &mut Vec<Vec<u8>>) {
    let parent = row as u32;
    match mode {
        Mode::Trap => trap(),
        Mode::Spin => spin(),
        Mode::Alloc => alloc(),
        Mode::Recurse => recurse(0),
        Mode::Leak => leaked.push(vec![1; MEBIBYTE]),
        Mode::Huge => outcome.events.push(NewEvent { parent, document: huge_document() }),
        Mode::Flood => outcome.events.resize(FLOOD_EVENTS, NewEvent { parent, document: b"{}".to_vec() }),
        Mode::UndeclaredWrite => {
            let edit = Edit::Set(("forged".into(), "true".into()));
            outcome.patches.push(Patch { row: parent, edit });
        }
        Mode::UndeclaredColumn => {
            let rows = outcome.verdicts.len();
            let values =
                Column { kinds: vec![1; rows], offsets: offsets(rows, 4), data: b"null".repeat(rows) };
            outcome.columns.push(WrittenColumn { field: 0, values });
        }
        Mode::BadVerdict => outcome.verdicts[row] = u8::MAX,
        Mode::ShortVerdicts => drop(outcome.verdicts.pop()),
        Mode::BadEvent => outcome.events.push(NewEvent { parent, document: b"[]".to_vec() }),
        Mode::BadParent => outcome.events.push(NewEvent { parent: u32::MAX, document: b"{}".to_vec() }),
        Mode::None
        | Mode::StartError
        | Mode::StartTrap
        | Mode::StartSpin
        | Mode::StartAlloc
        | Mode::UndeclaredRead
        | Mode::UndeclaredEdit => {}
    }
}

#[allow(clippy::panic)]
pub(crate) fn trap() -> ! {
    panic!("on purpose");
}

pub(crate) fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Touches what it allocates. It ends when there is no more to be had: then the allocator traps.
pub(crate) fn alloc() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; MEBIBYTE]));
    }
}

/// Deeper than any stack.
fn recurse(depth: u64) {
    let frame = black_box([depth; 64]);
    if frame[0] < u64::MAX {
        recurse(frame[0] + 1);
    }
    black_box(frame);
}

fn huge_document() -> Vec<u8> {
    let mut document = vec![b'x'; HUGE_BYTES];
    document[..6].copy_from_slice(b"{\"a\":\"");
    document[HUGE_BYTES - 2..].copy_from_slice(b"\"}");
    document
}

fn offsets(rows: usize, bytes_each: usize) -> Vec<u32> {
    (0..=rows).map(|row| (row * bytes_each) as u32).collect()
}
