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
use place::Placing;
use rates::{DEFAULT, RateIndex, Rates};
use values::Values;

struct LogSampler {
    by: By,
    values: Values,
    /// Looked at where the rates go by something else than the field that protects.
    protect: Option<(Read, Values)>,
    rates: Rates,
    /// The rate of each row of the batch at hand.
    chosen: Vec<RateIndex>,
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
            chosen: Vec::new(),
            placing: Placing::new(&config, plan),
            rate_field: config.rate_field.map(|path| plan.write(&path)),
        })
    }

    fn transform(&mut self, batch: &Batch<'_>, outcome: &mut Outcome) {
        self.choose(batch);
        let shares = self.rates.under(batch.pressure());
        let mut places = self.placing.of_batch(batch);
        let mut weights = ColumnBuilder::new(batch.rows());
        for (row, &rate) in self.chosen.iter().enumerate() {
            let share = &shares[rate];
            if share.keeps_all() {
                continue;
            }
            match share.dropped(|| places.of(row)) {
                Some(reason) => outcome.drop(row, reason),
                None if self.rate_field.is_some() => weights.raw(row, Kind::Number, share.weight.as_bytes()),
                None => {}
            }
        }
        if let Some(field) = self.rate_field {
            outcome.write(field, weights);
        }
    }
}

impl LogSampler {
    fn choose(&mut self, batch: &Batch<'_>) {
        let rate = |value| self.values.find(value).unwrap_or(DEFAULT);
        self.chosen.clear();
        match self.by {
            By::Field(field) => self.chosen.extend(batch.column(field).iter().map(rate)),
            By::Attribute(attribute) => {
                let by_stream: Vec<RateIndex> =
                    batch.attribute(attribute).by_stream().iter().map(rate).collect();
                let of_stream = |&stream| by_stream.get(stream as usize).copied().unwrap_or(DEFAULT);
                self.chosen.extend(batch.streams().iter().map(of_stream));
            }
        }
        let Some((field, protected)) = &self.protect else { return };
        for (rate, value) in self.chosen.iter_mut().zip(batch.column(*field).iter()) {
            *rate = protected.find(value).unwrap_or(*rate);
        }
    }
}

export_transform!(LogSampler, manifest = "manifest.json");
