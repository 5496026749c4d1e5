//! The configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use weir_sdk::ConfigError;

/// The stream attributes that rates can go by.
const ATTRIBUTES: [&str; 10] =
    ["source", "cluster", "node", "namespace", "pod", "container", "uid", "stream", "path", "tag"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The field whose value chooses the rate; `level` where neither it nor `attribute` is given.
    pub field: Option<String>,
    /// The stream attribute whose value chooses the rate.
    pub attribute: Option<String>,
    /// The share that is kept, by value.
    pub rates: BTreeMap<String, f64>,
    /// The share that is kept of all other events.
    pub default: f64,
    /// What is never sampled.
    pub protect: Protect,
    /// The field that decides which events are kept together.
    pub key: Option<String>,
    pub method: Method,
    /// Where kept events carry how many events they stand for.
    pub rate_field: Option<String>,
    pub pressure: Option<Pressure>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Protect {
    pub field: String,
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    /// XXH64 of the key.
    Hash,
    /// The randomness that OpenTelemetry's samplers take from a trace id.
    Otel,
}

/// How the rates fall as the buffers fill up.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pressure {
    /// The pressure at which they begin to fall.
    pub from: f32,
    /// What is left of them at pressure 1.
    pub min_factor: f32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            field: None,
            attribute: None,
            rates: BTreeMap::new(),
            default: 1.0,
            protect: Protect::default(),
            key: None,
            method: Method::Hash,
            rate_field: None,
            pressure: None,
        }
    }
}

impl Default for Protect {
    fn default() -> Protect {
        let values = "warn warning error err severe fatal critical crit alert emerg emergency panic";
        Protect { field: "level".into(), values: values.split(' ').map(Into::into).collect() }
    }
}

impl Config {
    /// The field that chooses the rate, unless an attribute does.
    pub(crate) fn field(&self) -> &str {
        self.field.as_deref().unwrap_or("level")
    }

    /// Whether one look at a value tells both its rate and whether it is protected.
    pub(crate) fn protects_by_rate_field(&self) -> bool {
        self.attribute.is_none() && self.field() == self.protect.field
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.field.is_some() && self.attribute.is_some() {
            return Err(ConfigError::at("attribute", "cannot stand beside field, give one of them"));
        }
        if self.attribute.as_ref().is_some_and(|name| !ATTRIBUTES.contains(&name.as_str())) {
            return Err(ConfigError::at("attribute", format!("is not one of {}", ATTRIBUTES.join(", "))));
        }
        self.rates.iter().try_for_each(|(value, rate)| check_share(&format!("rates.{value}"), *rate))?;
        let mut values = BTreeSet::new();
        if let Some(twice) = self.rates.keys().find(|value| !values.insert(value.to_ascii_lowercase())) {
            return Err(ConfigError::at(
                format!("rates.{twice}"),
                "stands there twice, case does not matter",
            ));
        }
        check_share("default", self.default)?;
        let Some(pressure) = self.pressure else { return Ok(()) };
        check_share("pressure.min_factor", pressure.min_factor.into())?;
        check_share("pressure.from", pressure.from.into())?;
        if pressure.from < 1.0 { Ok(()) } else { Err(ConfigError::at("pressure.from", "must be below 1")) }
    }
}

fn check_share(key: &str, share: f64) -> Result<(), ConfigError> {
    if (0.0..=1.0).contains(&share) {
        return Ok(());
    }
    Err(ConfigError::at(key, format!("is {share}, must be from 0 to 1")))
}
