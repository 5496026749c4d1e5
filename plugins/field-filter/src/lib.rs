//! Removes, renames, sets and redacts fields of events.
//!
//! What holds for every event is planned once and costs nothing per row; only what is redacted is read.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod config;
mod redact;
#[cfg(test)]
mod tests;

use weir_sdk::{Batch, ColumnBuilder, ConfigError, Outcome, Plan, Read, Transform, Write, export_transform};

use config::Config;
use redact::Redaction;

struct FieldFilter {
    redactions: Vec<(Read, Write, Redaction)>,
}

impl Transform for FieldFilter {
    type Config = Config;

    fn configure(config: Config, plan: &mut Plan) -> Result<FieldFilter, ConfigError> {
        config.check()?;
        if let Some(paths) = config.keep {
            plan.keep_only(paths);
        }
        for path in &config.remove {
            plan.remove(path);
        }
        for (from, to) in &config.rename {
            plan.rename(from, to);
        }
        for (path, value) in config.set {
            plan.set(&path, value);
        }
        let redactions = redact::by_field(&config.redact)?;
        let declare =
            |(field, redaction): (&str, Redaction)| (plan.read(field), plan.write(field), redaction);
        Ok(FieldFilter { redactions: redactions.into_iter().map(declare).collect() })
    }

    fn transform(&mut self, batch: &Batch<'_>, outcome: &mut Outcome) {
        for (field, written, redaction) in &mut self.redactions {
            let mut column = ColumnBuilder::new(batch.rows());
            for (row, (kind, value)) in batch.column(*field).iter().enumerate() {
                redaction.write(&mut column, row, kind, value);
            }
            outcome.write(*written, column);
        }
    }
}

export_transform!(FieldFilter, manifest = "manifest.json");
