//! Does on purpose what a plugin must not do, for tests of the agent. It uses the bindings as they are, since the SDK
//! would not let it.

#![cfg_attr(test, allow(clippy::panic))]

mod faults;

use std::cell::RefCell;

use serde::Deserialize;
use weir_sdk::bindings::{Batch, Context, Edit, Guest, Outcome, Plan, Reason, ReasonClass};

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    None,
    StartError,
    StartTrap,
    StartSpin,
    StartAlloc,
    UndeclaredRead,
    UndeclaredEdit,
    Trap,
    Spin,
    Alloc,
    Recurse,
    Leak,
    Huge,
    Flood,
    UndeclaredWrite,
    UndeclaredColumn,
    BadVerdict,
    ShortVerdicts,
    BadEvent,
    BadParent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    mode: Mode,
    when: Option<When>,
    #[serde(default)]
    after: u64,
    drop: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct When {
    #[serde(default = "level")]
    field: String,
    equals: String,
}

fn level() -> String {
    "level".into()
}

/// A configured instance.
struct Misbehave {
    config: Config,
    calls: u64,
    leaked: Vec<Vec<u8>>,
}

impl Misbehave {
    fn configure(config: &str) -> Result<(Misbehave, Plan), String> {
        let config: Config = serde_json::from_str(config).map_err(|error| error.to_string())?;
        match config.mode {
            Mode::StartError => return Err("mode: refused on purpose".into()),
            Mode::StartTrap => faults::trap(),
            Mode::StartSpin => faults::spin(),
            Mode::StartAlloc => faults::alloc(),
            _ => {}
        }
        let mut reads = vec![level()];
        reads.extend(config.when.iter().map(|when| when.field.clone()).filter(|field| *field != "level"));
        let mut edits = Vec::new();
        match config.mode {
            Mode::UndeclaredRead => reads.push("secret".into()),
            Mode::UndeclaredEdit => edits.push(Edit::Remove("secret".into())),
            _ => {}
        }
        let reasons = vec![Reason { name: "unwanted".into(), class: ReasonClass::Dropped }];
        let plan = Plan { reads, attributes: Vec::new(), writes: Vec::new(), reasons, edits };
        Ok((Misbehave { config, calls: 0, leaked: Vec::new() }, plan))
    }

    fn transform(&mut self, batch: &Batch) -> Outcome {
        let mut outcome = self.good_outcome(batch);
        let Some(row) = self.row_that_matches(batch) else { return outcome };
        self.calls += 1;
        if self.calls > self.config.after {
            faults::misbehave(self.config.mode, row, &mut outcome, &mut self.leaked);
        }
        outcome
    }

    fn good_outcome(&self, batch: &Batch) -> Outcome {
        let drop = self.config.drop.as_deref();
        let verdict = |row| u8::from(drop.is_some_and(|drop| value(batch, 0, row) == drop.as_bytes()));
        let verdicts = (0..batch.rows as usize).map(verdict).collect();
        Outcome { verdicts, columns: Vec::new(), patches: Vec::new(), events: Vec::new() }
    }

    /// The first row that `when` is about; without one the first row there is.
    fn row_that_matches(&self, batch: &Batch) -> Option<usize> {
        let mut rows = 0..batch.rows as usize;
        let Some(when) = &self.config.when else { return rows.next() };
        let column = usize::from(when.field != "level");
        rows.find(|&row| value(batch, column, row) == when.equals.as_bytes())
    }
}

fn value(batch: &Batch, column: usize, row: usize) -> &[u8] {
    let Some(column) = batch.columns.get(column) else { return &[] };
    let Some(&[start, end]) = column.offsets.get(row..row + 2) else { return &[] };
    column.data.get(start as usize..end as usize).unwrap_or_default()
}

thread_local! {
    static INSTANCE: RefCell<Option<Misbehave>> = const { RefCell::new(None) };
}

struct Component;

impl Guest for Component {
    fn configure(config: String) -> Result<Plan, String> {
        let (instance, plan) = Misbehave::configure(&config)?;
        INSTANCE.replace(Some(instance));
        Ok(plan)
    }

    fn transform(batch: Batch, _: Context) -> Outcome {
        INSTANCE.with_borrow_mut(|instance| match instance {
            Some(instance) => instance.transform(&batch),
            None => faults::trap(),
        })
    }
}

weir_sdk::embed_manifest!("manifest.json");

#[cfg(target_family = "wasm")]
#[allow(unsafe_code)]
mod export {
    use super::Component;

    weir_sdk::bindings::export!(Component with_types_in weir_sdk::bindings);
}

/// Elsewhere nothing is exported; the component is only held against the world.
#[cfg(not(target_family = "wasm"))]
const _: fn(String) -> Result<Plan, String> = <Component as Guest>::configure;

#[cfg(test)]
mod tests;
