//! The logic of the bench's workload W1 as one plugin: drops `debug`, keeps a tenth of `info` by the end of its trace
//! id, removes two members and adds one.

use weir_sdk::{Batch, ConfigError, NoConfig, Outcome, Plan, Read, Reason, Transform, export_transform};

/// `info` is kept when the last two hex digits of its trace id are below this.
const KEPT_OF_256: u8 = 26;

struct W1 {
    level: Read,
    trace_id: Read,
    debug: Reason,
    info: Reason,
}

impl Transform for W1 {
    type Config = NoConfig;

    fn configure(_: NoConfig, plan: &mut Plan) -> Result<W1, ConfigError> {
        plan.remove("user.email");
        plan.remove("labels");
        plan.set("cluster", "dev-1");
        Ok(W1 {
            level: plan.read("level"),
            trace_id: plan.read("trace_id"),
            debug: plan.dropped("debug"),
            info: plan.sampled("info"),
        })
    }

    fn transform(&mut self, batch: &Batch<'_>, outcome: &mut Outcome) {
        let levels = batch.column(self.level).iter();
        let trace_ids = batch.column(self.trace_id).iter();
        for (row, ((_, level), (_, trace_id))) in levels.zip(trace_ids).enumerate() {
            match level {
                b"debug" => outcome.drop(row, self.debug),
                b"info" if !is_kept(trace_id) => outcome.drop(row, self.info),
                _ => {}
            }
        }
    }
}

/// A trace id that does not end in two hex digits is dropped, as one of 26 and more.
fn is_kept(trace_id: &[u8]) -> bool {
    let Some(&[high, low]) = trace_id.last_chunk() else { return false };
    let digit = |byte: u8| (byte as char).to_digit(16);
    matches!((digit(high), digit(low)), (Some(high), Some(low)) if high * 16 + low < u32::from(KEPT_OF_256))
}

export_transform!(W1, manifest = "manifest.json");

#[cfg(test)]
mod tests {
    use weir_sdk::testing::{Error, check_fixtures};

    #[test]
    fn fixtures_come_out_as_expected() -> Result<(), Error> {
        check_fixtures::<super::W1>(env!("CARGO_MANIFEST_DIR"))
    }
}
