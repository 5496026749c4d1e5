//! What the sink is told, and what it checks of it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use crate::headers;

/// Most requests under way at once.
pub const MAX_SHARDS: usize = 64;

/// Everything that a sink is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where requests are sent: a URL of `http` or `https`, with its path.
    pub url: String,
    /// What is spoken.
    pub protocol: Protocol,
    /// Whose samples they are, for receivers with several tenants; `None` sends no such header.
    pub tenant: Option<String>,
    /// The header that says so.
    pub tenant_header: String,
    /// Further headers, names and values. Those of the protocol are refused.
    pub headers: Vec<(String, String)>,
    /// Who the agent is.
    pub auth: Auth,
    /// How the other side is known, and this one.
    pub tls: Tls,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Samples of a request, at the most.
    pub max_samples: usize,
    /// Bytes of a request before it is packed, at the most; a sample that is larger is a request of its own.
    pub max_bytes: usize,
    /// How long samples may wait for others to share a request with.
    pub max_wait: Duration,
    /// Requests under way at once, at the most; the samples of a series are always of one shard. 1 to [`MAX_SHARDS`].
    pub shards: usize,
    /// Whether types, units and help are sent.
    pub metadata: bool,
    /// Whether exemplars are sent.
    pub exemplars: bool,
    /// Whether native histograms are sent; else they are dropped and counted.
    pub native_histograms: bool,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// 2.0 where the receiver stores it, 1.0 elsewhere.
    #[default]
    Auto,
    /// 1.0 only.
    V1,
    /// 2.0; 1.0 only where the receiver says or shows that it does not know 2.0.
    V2,
}

/// How the other side is known, and this one.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// A certificate and key of the agent's own.
    pub identity: Option<Identity>,
    /// Any certificate is taken: for trying things out.
    pub insecure_skip_verify: bool,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where a secret is. It is read when it is needed and again when it may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a file, without newlines at its end.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

/// A name and where its password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// The name.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// Who the agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nobody, or who its certificate says.
    #[default]
    None,
    /// By name and password.
    Basic(Password),
    /// By a token.
    Bearer(Secret),
}

/// What is wrong with settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No URL to send to.
    #[error("url {url:?} cannot be sent to: {reason}")]
    Url {
        /// As it was given, without a password.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A header that cannot be configured.
    #[error("the header {name:?} cannot be configured: {reason}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A number out of its range.
    #[error("{name} must be {range}")]
    Number {
        /// The setting.
        name: &'static str,
        /// What it may be.
        range: &'static str,
    },
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            url: String::new(),
            protocol: Protocol::Auto,
            tenant: None,
            tenant_header: "THANOS-TENANT".to_owned(),
            headers: Vec::new(),
            auth: Auth::None,
            tls: Tls::default(),
            timeout: Duration::from_secs(30),
            max_samples: 5_000,
            max_bytes: 4 * 1024 * 1024,
            max_wait: Duration::from_secs(1),
            shards: 4,
            metadata: true,
            exemplars: true,
            native_histograms: true,
        }
    }
}

impl Settings {
    /// Whether a sink can be made of them; nothing is read or connected.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.parsed_url()?;
        headers::configured(self)?;
        let number = |name, range, is_right: bool| match is_right {
            true => Ok(()),
            false => Err(SettingsError::Number { name, range }),
        };
        number("shards", "1 to 64", (1..=MAX_SHARDS).contains(&self.shards))?;
        number("max_samples", "1 or more", self.max_samples > 0)?;
        number("max_bytes", "1024 to 1073741824", (1024..=1 << 30).contains(&self.max_bytes))?;
        number("timeout", "more than 0", !self.timeout.is_zero())
    }

    pub(crate) fn parsed_url(&self) -> Result<Url, SettingsError> {
        let wrong = |url: &str, reason: &str| SettingsError::Url { url: url.into(), reason: reason.into() };
        // An unreadable URL is not shown: there may be a password somewhere in it.
        let url = Url::parse(&self.url)
            .map_err(|error| SettingsError::Url { url: String::new(), reason: error.to_string() })?;
        if !url.username().is_empty() || url.password().is_some() {
            let shown = url.origin().ascii_serialization();
            return Err(wrong(&shown, "names and passwords belong into auth"));
        }
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(wrong(url.as_str(), "it must begin with http:// or https:// and have a host"));
        }
        Ok(url)
    }
}
