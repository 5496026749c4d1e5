//! Rates: which share of events is kept for which value, and what pressure leaves of it.

use weir_sdk::{Plan, Reason};

use crate::config::{Config, Pressure};

/// With more rates than these all that is sampled is counted under one reason.
const MAX_REASONS: usize = 32;
/// A reason is a label of metrics; the agent takes no longer one.
const MAX_REASON_BYTES: usize = 64;
/// Where the hash of an event falls is one of this many places.
const PLACES: f64 = 18_446_744_073_709_551_616.0;

/// Index into the shares: what is never sampled, what `default` is for, and then the rates.
pub(crate) type RateIndex = usize;
pub(crate) const PROTECTED: RateIndex = 0;
pub(crate) const DEFAULT: RateIndex = 1;

/// The configured rates, and what they come to under the pressure of the last batch.
pub(crate) struct Rates {
    rates: Vec<(f64, Reason)>,
    pressure: Option<(Pressure, Reason)>,
    factor: f64,
    shares: Vec<Share>,
}

/// The share of events that is kept.
pub(crate) struct Share {
    /// Events whose place is below are kept.
    kept_below: u64,
    /// Those were kept without pressure.
    kept_below_without_pressure: u64,
    reason: Reason,
    pressure_reason: Reason,
    /// How many events a kept one stands for, as a JSON number.
    pub weight: String,
}

impl Rates {
    pub(crate) fn new(config: &Config, plan: &mut Plan) -> Rates {
        let by = config.attribute.as_deref().unwrap_or(config.field());
        let one_reason = config.rates.len() > MAX_REASONS;
        let mut reason = |name: String| plan.sampled(if one_reason { "sampled" } else { &name });
        let default = reason("default".into());
        let mut rates = vec![(1.0, default), (config.default, default)];
        for (value, &rate) in &config.rates {
            rates.push((rate, reason(label(by, value))));
        }
        let pressure = config.pressure.map(|pressure| (pressure, plan.sampled("pressure")));
        let mut rates = Rates { rates, pressure, factor: 1.0, shares: Vec::new() };
        rates.share_out(1.0);
        rates
    }

    /// What is kept under this pressure, by [`RateIndex`].
    pub(crate) fn under(&mut self, pressure: f32) -> &[Share] {
        let factor = self.pressure.map_or(1.0, |(configured, _)| factor(configured, pressure));
        if factor != self.factor {
            self.share_out(factor);
        }
        &self.shares
    }

    fn share_out(&mut self, factor: f64) {
        self.factor = factor;
        let share = |(index, &(rate, reason)): (RateIndex, &(f64, Reason))| {
            let kept = if index == PROTECTED { 1.0 } else { rate * factor };
            let pressure_reason = self.pressure.map_or(reason, |(_, reason)| reason);
            let (kept_below, kept_below_without_pressure) = (place(kept), place(rate));
            let weight = (1.0 / kept).to_string();
            Share { kept_below, kept_below_without_pressure, reason, pressure_reason, weight }
        };
        self.shares = self.rates.iter().enumerate().map(share).collect();
    }
}

impl Share {
    #[inline]
    pub(crate) fn keeps_all(&self) -> bool {
        self.kept_below == u64::MAX
    }

    /// Why the event at this place is dropped; `None` keeps it.
    #[inline]
    pub(crate) fn dropped(&self, place: impl FnOnce() -> u64) -> Option<Reason> {
        if self.kept_below_without_pressure == 0 {
            return Some(self.reason);
        }
        let place = place();
        if place < self.kept_below {
            return None;
        }
        Some(if place < self.kept_below_without_pressure { self.pressure_reason } else { self.reason })
    }
}

/// What a rate's events are counted under, such as `level=debug`.
fn label(by: &str, value: &str) -> String {
    let label = format!("{by}={}", value.to_ascii_lowercase()).replace(char::is_control, " ");
    let fits = |&(start, char): &(usize, char)| start + char.len_utf8() <= MAX_REASON_BYTES;
    label.char_indices().take_while(fits).map(|(_, char)| char).collect()
}

/// From 1 at the configured pressure falling evenly to the least factor at pressure 1.
fn factor(configured: Pressure, pressure: f32) -> f64 {
    let (from, least) = (f64::from(configured.from), f64::from(configured.min_factor));
    // Of a pressure that is not a number this leaves `from`.
    let pressure = f64::from(pressure.max(configured.from));
    let over = ((pressure - from) / (1.0 - from)).min(1.0);
    1.0 - (1.0 - least) * over
}

/// The first place that a share leaves out. The conversion saturates: a share of 1 comes to `u64::MAX`, which no
/// smaller share does.
fn place(share: f64) -> u64 {
    (share * PLACES) as u64
}
