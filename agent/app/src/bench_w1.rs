//! The logic of the benchmark's plugin, built in: what a plugin costs is measured against this. Not in the agent that
//! is shipped.

use weir_event::column::Column;
use weir_event::transform::{Call, Context, Edit, Handled, Plan, Reason, ReasonClass, Transform};

/// `info` is kept when the last two hex digits of its trace id are below this.
const KEPT_OF_256: u32 = 26;

/// Drops `debug`, keeps a tenth of `info`, removes two members and adds one.
pub struct BenchW1 {
    plan: Plan,
}

impl BenchW1 {
    /// The stage.
    pub fn new() -> BenchW1 {
        let reason = |name: &str, class| Reason { name: name.to_owned(), class };
        BenchW1 {
            plan: Plan {
                reads: vec!["level".to_owned(), "trace_id".to_owned()],
                reasons: vec![reason("debug", ReasonClass::Dropped), reason("info", ReasonClass::Sampled)],
                edits: vec![
                    Edit::Remove("user.email".to_owned()),
                    Edit::Remove("labels".to_owned()),
                    Edit::Set("cluster".to_owned(), "\"dev-1\"".to_owned()),
                ],
                ..Plan::default()
            },
        }
    }
}

impl Transform for BenchW1 {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn transform(&mut self, call: &Call, _: &Context) -> Handled {
        let mut handled = Handled::default();
        let [level, trace_id] = call.columns.as_slice() else { return handled };
        handled.outcome.verdicts = (0..call.rows as usize).map(|row| verdict(level, trace_id, row)).collect();
        handled
    }
}

fn verdict(level: &Column, trace_id: &Column, row: usize) -> u8 {
    match level.get(row) {
        Some((_, b"debug")) => 1,
        Some((_, b"info")) if !trace_id.get(row).is_some_and(|(_, id)| is_kept(id)) => 2,
        _ => 0,
    }
}

/// A trace id that does not end in two hex digits is dropped, as one of 26 and more.
fn is_kept(trace_id: &[u8]) -> bool {
    let Some(&[high, low]) = trace_id.last_chunk() else { return false };
    let digit = |byte: u8| (byte as char).to_digit(16);
    matches!((digit(high), digit(low)), (Some(high), Some(low)) if high * 16 + low < KEPT_OF_256)
}
