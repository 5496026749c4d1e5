//! What the host lets through of a plugin's answer.

use weir_event::sheet::MAX_NEW_EVENTS;
use weir_event::transform::{Handled, Plan};
use weir_manifest::{EVERYTHING, covers, written_paths};

/// Only what the plan declares, of rows that there are, and nothing for rows that are suspects.
pub fn check_handled(plan: &Plan, rows: u32, handled: &Handled) {
    let Handled { outcome, suspects } = handled;
    assert!(suspects.is_sorted_by(|one, next| one < next));
    assert!(suspects.iter().all(|row| *row < rows));
    let is_suspect = |row: u32| suspects.binary_search(&row).is_ok();

    assert!(outcome.verdicts.is_empty() || outcome.verdicts.len() == rows as usize);
    for (row, verdict) in outcome.verdicts.iter().enumerate() {
        assert!(usize::from(*verdict) <= plan.reasons.len());
        assert!(*verdict == 0 || !is_suspect(row as u32));
    }
    for column in &outcome.columns {
        let path = plan.writes.get(column.field as usize).expect("a path that is declared");
        assert_ne!(path, EVERYTHING);
        assert_eq!(column.values.len(), rows as usize);
        for row in 0..rows {
            let (kind, _) = column.values.get(row as usize).expect("a value");
            assert!(kind == weir_event::column::Kind::Absent || !is_suspect(row));
        }
    }
    for patch in &outcome.patches {
        assert!(patch.row < rows && !is_suspect(patch.row));
        for path in written_paths(&patch.edit) {
            assert!(plan.writes.iter().any(|declared| covers(declared, path)), "{path}");
        }
    }
    assert!(outcome.events.len() <= MAX_NEW_EVENTS);
    assert!(outcome.events.iter().all(|event| event.parent < rows && !is_suspect(event.parent)));
}

/// A message is one line for a log, whatever the artefact holds.
pub fn check_message(message: &str) {
    assert!(!message.is_empty() && message.len() < 64 << 10, "{} bytes", message.len());
    assert!(!message.contains(char::is_control), "{message:?}");
}
