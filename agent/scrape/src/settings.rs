//! What the source is told. [`crate::Scrape::new`] checks it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use weir_samples::exposition::Format;
use weir_samples::relabel::{Rule, RuleError};

use crate::discovery::TargetGroup;

/// How often a target is scraped where nobody says otherwise.
pub(crate) const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
/// How long a scrape may take where nobody says otherwise; never longer than the interval.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest unpacked body where nobody says otherwise.
pub(crate) const DEFAULT_BODY_BYTES: u64 = 64 << 20;

/// Everything that the source is made of.
#[derive(Clone, Debug, Default)]
pub struct ScrapeSettings {
    /// What is scraped; the short form is one of them.
    pub jobs: Vec<Job>,
    /// Classes of targets by name.
    pub classes: BTreeMap<String, Class>,
    /// Times at which other intervals hold; of those that are active the last that names a class decides.
    pub profiles: Vec<Profile>,
}

/// What a class of targets is scraped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// How often.
    pub interval: Duration,
    /// How long a scrape may take.
    pub timeout: Option<Duration>,
}

/// A time at which other intervals hold: active when `from` has fired later than `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// When it begins: five fields of cron.
    pub from: String,
    /// When it ends: five fields of cron.
    pub to: String,
    /// The time zone of both, by its IANA name.
    pub time_zone: String,
    /// Intervals by class; `*` is every target.
    pub intervals: BTreeMap<String, Duration>,
}

/// One `scrape_config`.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name, the label `job`; no two jobs have the same.
    pub name: String,
    /// How often; `None` leaves it to the class.
    pub interval: Option<Duration>,
    /// How often where its class does not say either.
    pub default_interval: Duration,
    /// How long a scrape may take; `None` leaves it to the class.
    pub timeout: Option<Duration>,
    /// The class of its targets; their label `__class__` says otherwise.
    pub class: Option<String>,
    /// Where metrics are.
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Parameters of the URL.
    pub params: BTreeMap<String, Vec<String>>,
    /// Whether labels that a target exposes win over those of the target.
    pub honor_labels: bool,
    /// Whether timestamps that a target exposes are taken.
    pub honor_timestamps: bool,
    /// Whether series with such timestamps become stale when they vanish.
    pub track_timestamps_staleness: bool,
    /// What is asked for, best first; empty for the default, OpenMetrics first, or protobuf with native histograms.
    pub protocols: Vec<Protocol>,
    /// What a target speaks that does not say.
    pub fallback: Option<Protocol>,
    /// Whether native histograms are read.
    pub native_histograms: bool,
    /// Whether the classic parts of native histograms are read too.
    pub always_scrape_classic_histograms: bool,
    /// Whether answers may be packed.
    pub enable_compression: bool,
    /// How targets are asked.
    pub http: HttpSettings,
    /// Largest unpacked body in bytes; 0 for 64 MiB.
    pub body_size_limit: u64,
    /// Samples after relabelling; 0 for any number.
    pub sample_limit: u64,
    /// Labels of a series; 0 for any number.
    pub label_limit: usize,
    /// Bytes of a label's name; 0 for any number.
    pub label_name_length_limit: usize,
    /// Bytes of a label's value; 0 for any number.
    pub label_value_length_limit: usize,
    /// Targets; with more all scrapes fail. 0 for any number.
    pub target_limit: usize,
    /// Targets that are known.
    pub groups: Vec<TargetGroup>,
    /// Files that name targets.
    pub files: Vec<FileDiscovery>,
    /// Servers that name targets.
    pub servers: Vec<HttpDiscovery>,
    /// What becomes of targets.
    pub relabel: Vec<Rule>,
    /// What becomes of series.
    pub metric_relabel: Vec<Rule>,
}

/// Files that name targets (`file_sd_configs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiscovery {
    /// Paths that end in `.json`, `.yml` or `.yaml`; the last part may hold a `*`.
    pub files: Vec<String>,
    /// How often they are read again, beside watching them.
    pub refresh_interval: Duration,
}

/// A server that names targets (`http_sd_configs`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpDiscovery {
    /// Where it answers.
    pub url: String,
    /// How often it is asked.
    pub refresh_interval: Duration,
    /// How it is asked.
    pub http: HttpSettings,
}

/// How a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Who the agent is.
    pub auth: Auth,
    /// How the other side is known, and this one.
    pub tls: Tls,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
}

/// Who the agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nobody, or who its certificate says.
    #[default]
    None,
    /// By name and password.
    Basic {
        /// The name.
        username: String,
        /// Its password; `None` is an empty one.
        password: Option<Secret>,
    },
    /// By the header `Authorization`.
    Authorization {
        /// The scheme, such as `Bearer`.
        scheme: String,
        /// What follows it.
        credentials: Secret,
    },
}

/// Where a secret is. It is read when it is needed, and again when it may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a file, without white space around it.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

/// How the other side is known, and this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates (PEM) that are trusted in the place of the system's.
    pub ca: Option<PathBuf>,
    /// A certificate and key of the agent's own.
    pub identity: Option<Identity>,
    /// The name that the other side's certificate must have, in the place of the URL's host.
    pub server_name: Option<String>,
    /// Any certificate is taken.
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

/// A format in which metrics are asked for, as `scrape_protocols` spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `PrometheusProto`.
    PrometheusProto,
    /// `OpenMetricsText1.0.0`.
    OpenMetricsText1_0_0,
    /// `OpenMetricsText0.0.1`.
    OpenMetricsText0_0_1,
    /// `PrometheusText1.0.0`.
    PrometheusText1_0_0,
    /// `PrometheusText0.0.4`.
    PrometheusText0_0_4,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two jobs of one name.
    #[error("two jobs have the name {0:?}; give each a name of its own")]
    SameName(String),
    /// A job with something wrong.
    #[error("job {job:?}: {problem}")]
    Job {
        /// Its name.
        job: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A rule that cannot be used.
    #[error("job {job:?}, {list}: {error}")]
    Rule {
        /// The job's name.
        job: String,
        /// `relabel_configs` or `metric_relabel_configs`.
        list: &'static str,
        /// What is wrong.
        error: RuleError,
    },
    /// A class with something wrong.
    #[error("class {class:?}: {problem}")]
    Class {
        /// Its name.
        class: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A profile with something wrong.
    #[error("profile {profile:?}: {problem}")]
    Profile {
        /// Its name.
        profile: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A target of the short form that is none.
    #[error(
        "{target:?} is no target: {problem}; write host:port, or a URL such as https://host:8443/metrics"
    )]
    Target {
        /// As it was given, without a password.
        target: String,
        /// What is wrong.
        problem: &'static str,
    },
}

// === impl Job ===

impl Default for Job {
    fn default() -> Job {
        Job {
            name: String::new(),
            interval: None,
            default_interval: DEFAULT_INTERVAL,
            timeout: None,
            class: None,
            metrics_path: "/metrics".to_owned(),
            scheme: "http".to_owned(),
            params: BTreeMap::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            protocols: Vec::new(),
            fallback: None,
            native_histograms: false,
            always_scrape_classic_histograms: false,
            enable_compression: true,
            http: HttpSettings::default(),
            body_size_limit: 0,
            sample_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            target_limit: 0,
            groups: Vec::new(),
            files: Vec::new(),
            servers: Vec::new(),
            relabel: Vec::new(),
            metric_relabel: Vec::new(),
        }
    }
}

impl Job {
    /// What is wrong with it, as far as it can be seen without its neighbours.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let problem = |problem: String| Err(Error::Job { job: self.name.clone(), problem });
        if self.name.is_empty() {
            return problem("job_name is empty; give it a name".to_owned());
        }
        if !matches!(&*self.scheme, "http" | "https") {
            return problem(format!("the scheme {:?} is neither http nor https", self.scheme));
        }
        if self.interval.is_some_and(|interval| interval.is_zero()) {
            return problem("scrape_interval is zero".to_owned());
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return problem("scrape_timeout is zero".to_owned());
        }
        if let (Some(interval), Some(timeout)) = (self.interval, self.timeout)
            && timeout > interval
        {
            return problem("scrape_timeout is longer than scrape_interval; make it shorter".to_owned());
        }
        for file in self.files.iter().flat_map(|discovery| &discovery.files) {
            if !crate::discovery::is_file_pattern(file) {
                return problem(format!(
                    "{file:?} is no path for file_sd_configs: it must end in .json, .yml or .yaml, and only its last part \
                     may hold a *"
                ));
            }
        }
        for server in &self.servers {
            let is_url = Url::parse(&server.url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if !is_url {
                return problem(
                    "url of http_sd_configs is no URL that begins with http:// or https://".to_owned(),
                );
            }
        }
        let servers = self.servers.iter().map(|server| &server.http);
        let mut names = servers.chain([&self.http]).filter_map(|http| http.tls.server_name.as_deref());
        if names.any(|name| name.is_empty() || name.parse::<std::net::IpAddr>().is_ok()) {
            return problem("server_name must be a name, not an address".to_owned());
        }
        let intervals = self.files.iter().map(|discovery| discovery.refresh_interval);
        if intervals
            .chain(self.servers.iter().map(|server| server.refresh_interval))
            .any(|every| every.is_zero())
        {
            return problem("refresh_interval is zero".to_owned());
        }
        Ok(())
    }

    /// What is asked for, best first.
    pub(crate) fn protocols(&self) -> Vec<Protocol> {
        if !self.protocols.is_empty() {
            return self.protocols.clone();
        }
        let skip = usize::from(!self.native_histograms);
        Protocol::ALL.into_iter().skip(skip).collect()
    }
}

// === impl HttpSettings ===

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings { auth: Auth::None, tls: Tls::default(), follow_redirects: true }
    }
}

// === impl Protocol ===

impl Protocol {
    /// All, in the order of preference where native histograms are read.
    pub const ALL: [Protocol; 5] = [
        Protocol::PrometheusProto,
        Protocol::OpenMetricsText1_0_0,
        Protocol::OpenMetricsText0_0_1,
        Protocol::PrometheusText1_0_0,
        Protocol::PrometheusText0_0_4,
    ];

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::PrometheusProto => "PrometheusProto",
            Protocol::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
            Protocol::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            Protocol::PrometheusText1_0_0 => "PrometheusText1.0.0",
            Protocol::PrometheusText0_0_4 => "PrometheusText0.0.4",
        }
    }

    /// The format that it is.
    pub(crate) fn format(self) -> Format {
        match self {
            Protocol::PrometheusProto => Format::Protobuf,
            Protocol::OpenMetricsText1_0_0 | Protocol::OpenMetricsText0_0_1 => Format::OpenMetrics,
            Protocol::PrometheusText1_0_0 | Protocol::PrometheusText0_0_4 => Format::Text,
        }
    }

    /// As it stands in the header `Accept`.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Protocol::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            Protocol::OpenMetricsText1_0_0 => {
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"
            }
            Protocol::OpenMetricsText0_0_1 => "application/openmetrics-text;version=0.0.1",
            Protocol::PrometheusText1_0_0 => "text/plain;version=1.0.0;escaping=allow-utf-8",
            Protocol::PrometheusText0_0_4 => "text/plain;version=0.0.4",
        }
    }
}

/// A target of the short form, `host:port` or a URL, as a group of its own with these labels.
///
/// # Errors
///
/// What is neither.
pub fn short_target(text: &str, labels: &BTreeMap<String, String>) -> Result<TargetGroup, Error> {
    let mut labels = labels.clone();
    if !text.contains("://") {
        let wrong = |problem| Err(Error::Target { target: text.to_owned(), problem });
        if text.contains('@') {
            return Err(Error::Target {
                target: String::new(),
                problem: "names and passwords stand in basic_auth",
            });
        }
        if text.is_empty() || text.contains(['/', '?', '#', ' ']) {
            return wrong("a path needs a scheme before it");
        }
        return Ok(TargetGroup { targets: vec![text.to_owned()], labels });
    }
    let without_secret = || text.rsplit_once('@').map_or(text, |(_, host)| host).to_owned();
    let wrong = |problem| Error::Target { target: without_secret(), problem };
    let url = Url::parse(text).map_err(|_| wrong("the URL cannot be read"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("the scheme is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("names and passwords stand in basic_auth"));
    }
    let host = url.host_str().ok_or_else(|| wrong("it has no host"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    labels.insert("__scheme__".to_owned(), url.scheme().to_owned());
    if url.path() != "/" {
        labels.insert("__metrics_path__".to_owned(), url.path().to_owned());
    }
    for (name, value) in url.query_pairs() {
        labels.insert(format!("__param_{name}"), value.into_owned());
    }
    Ok(TargetGroup { targets: vec![format!("{host}:{port}")], labels })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_target_is_an_address_or_a_url() {
        let group = |text: &str| short_target(text, &BTreeMap::from([("team".to_owned(), "a".to_owned())]));
        let plain = group("127.0.0.1:9600").unwrap();
        assert_eq!((&*plain.targets[0], plain.labels.len()), ("127.0.0.1:9600", 1));
        let url = group("https://host:8443/path?module=x").unwrap();
        assert_eq!(url.targets, ["host:8443"]);
        assert_eq!(url.labels["__scheme__"], "https");
        assert_eq!(url.labels["__metrics_path__"], "/path");
        assert_eq!(url.labels["__param_module"], "x");
        assert_eq!(group("http://host").unwrap().targets, ["host:80"]);
        for text in ["", "host/path", "ftp://host", "http://u:hush@host/", "u:hush@host:80", "http://"] {
            let error = group(text).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_job_that_cannot_work_is_refused() {
        let good = || Job { name: "a".into(), ..Job::default() };
        assert!(good().check().is_ok());
        let second = Some(Duration::from_secs(1));
        let files = |file: &str| {
            vec![FileDiscovery { files: vec![file.into()], refresh_interval: Duration::from_secs(1) }]
        };
        let server = |url: &str| {
            let refresh_interval = Duration::from_secs(1);
            vec![HttpDiscovery { url: url.into(), refresh_interval, http: HttpSettings::default() }]
        };
        let named = |name: &str| {
            let tls = Tls { server_name: Some(name.into()), ..Tls::default() };
            HttpSettings { tls, ..HttpSettings::default() }
        };
        let bad = [
            Job::default(),
            Job { scheme: "ftp".into(), ..good() },
            Job { interval: Some(Duration::ZERO), ..good() },
            Job { interval: second, timeout: Some(Duration::from_secs(2)), ..good() },
            Job { files: files("/etc/*/a.json"), ..good() },
            Job { files: files("/etc/a.txt"), ..good() },
            Job { servers: server("host"), ..good() },
            Job { http: named("10.0.0.1"), ..good() },
        ];
        for job in bad {
            assert!(job.check().is_err(), "{job:?}");
        }
        assert!(Job { files: files("/etc/a*.yml"), servers: server("http://a/"), ..good() }.check().is_ok());
        assert_eq!(good().protocols().first(), Some(&Protocol::OpenMetricsText1_0_0));
        let native = Job { native_histograms: true, ..good() };
        assert_eq!(native.protocols().first(), Some(&Protocol::PrometheusProto));
    }
}
