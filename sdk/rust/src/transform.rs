//! What a plugin implements, and what it says when its configuration is wrong.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::batch::Batch;
use crate::outcome::Outcome;
use crate::plan::Plan;

/// A transform plugin. Hand the type to [`export_transform!`](crate::export_transform).
///
/// What an instance remembers may vanish at any time: the agent replaces instances, and makes several.
pub trait Transform: Sized + 'static {
    /// The plugin's `config:`. An absent one arrives as `{}`. Derive `Deserialize` and put
    /// `#[serde(deny_unknown_fields)]` on it, so that a misspelt key is an error and not silence.
    type Config: DeserializeOwned;

    /// Checks the configuration and plans what to read, write, drop and edit. Called once, before anything else.
    ///
    /// # Errors
    /// What is wrong with the configuration. The agent shows it to the operator and refuses the configuration.
    fn configure(config: Self::Config, plan: &mut Plan) -> Result<Self, ConfigError>;

    /// Decides about a batch of rows. What `outcome` is not told to drop or change stays as it is.
    fn transform(&mut self, batch: &Batch<'_>, outcome: &mut Outcome);
}

/// The configuration of a plugin that has none: nothing but `{}` is accepted.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// What is wrong with a plugin's configuration, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    message: String,
}

impl ConfigError {
    /// An error that belongs to no single key. Lower case, no full stop: what is wrong and what to do.
    pub fn new(message: impl Into<String>) -> ConfigError {
        ConfigError { path: String::new(), message: message.into() }
    }

    /// An error of the key at this path, such as `rates.info` or `redact[0].field`.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> ConfigError {
        ConfigError { path: path.into(), message: message.into() }
    }

    /// The path of the key that is wrong; empty where the error belongs to no single key.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return formatter.write_str(&self.message);
        }
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for ConfigError {}

impl From<String> for ConfigError {
    fn from(message: String) -> ConfigError {
        ConfigError::new(message)
    }
}

impl From<&str> for ConfigError {
    fn from(message: &str) -> ConfigError {
        ConfigError::new(message)
    }
}
