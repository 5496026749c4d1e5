//! Keeps a share of the events: by the level, any other field or a stream attribute, and always whole traces.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod config;
mod place;
mod rates;
#[cfg(test)]
mod tests;
mod values;

use weir_sdk::{
    Attribute, Batch, ColumnBuilder, ConfigError, Kind, Outcome, Plan, Read, Transform, Write,
    export_transform,
};

use config::Config;
use place::{Places, Placing};
use rates::{DEFAULT, RateIndex, Rates, Share};
use values::Values;

struct LogSampler {
    by: By,
    values: Values,
    /// Looked at where the rates go by something else than the field that protects.
    protect: Option<(Read, Values)>,
    rates: Rates,
    placing: Placing,
    rate_field: Option<Write>,
}

/// What the rates go by.
enum By {
    Field(Read),
    Attribute(Attribute),
}

impl Transform for LogSampler {
    type Config = Config;

    fn configure(config: Config, plan: &mut Plan) -> Result<LogSampler, ConfigError> {
        config.check()?;
        let by = match &config.attribute {
            Some(name) => By::Attribute(plan.attribute(name)),
            None => By::Field(plan.read(config.field())),
        };
        let (values, protected) = Values::new(&config);
        Ok(LogSampler {
            by,
            values,
            protect: protected.map(|protected| (plan.read(&config.protect.field), protected)),
            rates: Rates::new(&config, plan),
            placing: Placing::new(&config, plan),
            rate_field: config.rate_field.map(|path| plan.write(&path)),
        })
    }

    fn transform(&mut self, batch: &Batch<'_>, outcome: &mut Outcome) {
        // One walk through the column for what most configurations are; the rates of all rows before that for others.
        match (&self.by, &self.protect) {
            (By::Field(field), None) => {
                let shares = self.rates.under(batch.pressure());
                let chosen = batch.column(*field).iter().map(|value| self.values.rate(value));
                sample(chosen, shares, self.placing.of_batch(batch), self.rate_field, batch, outcome);
            }
            (by, protect) => {
                let mut chosen = rates_by(by, batch, &self.values);
                if let Some((field, protected)) = protect {
                    for (rate, value) in chosen.iter_mut().zip(batch.column(*field).iter()) {
                        *rate = protected.find(value).unwrap_or(*rate);
                    }
                }
                let shares = self.rates.under(batch.pressure());
                let places = self.placing.of_batch(batch);
                sample(chosen.into_iter(), shares, places, self.rate_field, batch, outcome);
            }
        }
    }
}

fn rates_by(by: &By, batch: &Batch<'_>, values: &Values) -> Vec<RateIndex> {
    let rate = |value| values.rate(value);
    match by {
        By::Field(field) => batch.column(*field).iter().map(rate).collect(),
        By::Attribute(attribute) => {
            let by_stream: Vec<RateIndex> =
                batch.attribute(*attribute).by_stream().iter().map(rate).collect();
            let of_stream = |&stream| by_stream.get(stream as usize).copied().unwrap_or(DEFAULT);
            batch.streams().iter().map(of_stream).collect()
        }
    }
}

/// Drops what the rates of the rows leave out.
#[inline]
fn sample(
    chosen: impl Iterator<Item = RateIndex>,
    shares: &[Share],
    mut places: Places<'_>,
    rate_field: Option<Write>,
    batch: &Batch<'_>,
    outcome: &mut Outcome,
) {
    let mut weights = ColumnBuilder::new(batch.rows());
    for (row, rate) in chosen.enumerate() {
        let share = &shares[rate];
        if share.keeps_all() {
            continue;
        }
        match share.dropped(|| places.of(row)) {
            Some(reason) => outcome.drop(row, reason),
            None if rate_field.is_some() => weights.raw(row, Kind::Number, share.weight.as_bytes()),
            None => {}
        }
    }
    if let Some(field) = rate_field {
        outcome.write(field, weights);
    }
}

export_transform!(LogSampler, manifest = "manifest.json");
