//! What is scraped, checked: everything as Prometheus 3.9 means it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{RelabelRule, Secret, TlsIdentity};
use crate::types::{Name, Size};

/// The timeout where nothing says one.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Scrapes targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeSource {
    /// What is scraped; at least one, each with a name of its own. Targets of the short form are a job that is called as
    /// the source, the first one.
    pub jobs: Vec<ScrapeJob>,
    /// What targets of a class have in common.
    pub classes: BTreeMap<Name, ScrapeClass>,
    /// Intervals for certain times, in the order in which they were written; of those that are active, the last one that
    /// names a class holds for it. No name is there twice.
    pub profiles: Vec<ScrapeProfile>,
}

/// Targets that are scraped alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeJob {
    /// The default of the label `job`.
    pub name: String,
    /// The interval that is named for this job. `None`: that of the target's class, else `default_interval`.
    pub interval: Option<Duration>,
    /// 30 s for the short form, as the agent has it; 1 m otherwise, as Prometheus has it.
    pub default_interval: Duration,
    /// The timeout that is named for this job. `None`: that of the target's class, else 10 s, and never more than the
    /// interval.
    pub timeout: Option<Duration>,
    /// The default of the label `__metrics_path__`.
    pub path: String,
    /// The default of the label `__scheme__`.
    pub scheme: ScrapeScheme,
    /// Parameters of the query: the defaults of labels `__param_NAME`.
    pub params: BTreeMap<String, Vec<String>>,
    /// Whether labels that a target exposes win over those that it has.
    pub honor_labels: bool,
    /// Whether time stamps that a target exposes hold.
    pub honor_timestamps: bool,
    /// Whether series with time stamps of their own are marked as stale when they are gone.
    pub track_timestamps_staleness: bool,
    /// What is asked for, the most wanted first; at least one, none twice.
    pub protocols: Vec<ScrapeProtocol>,
    /// What a body is whose `Content-Type` says nothing of use. `None`: the scrape fails.
    pub fallback_protocol: Option<ScrapeProtocol>,
    /// Whether native histograms are taken.
    pub native_histograms: bool,
    /// Whether classic histograms are taken where there are native ones of the same name.
    pub always_classic_histograms: bool,
    /// How targets are asked.
    pub client: HttpClient,
    /// Whether compressed bodies are asked for.
    pub compression: bool,
    /// What a target may expose.
    pub limits: ScrapeLimits,
    /// Targets that are known.
    pub static_targets: Vec<StaticTargets>,
    /// Files that name targets.
    pub file_discoveries: Vec<FileDiscovery>,
    /// Addresses that name targets.
    pub http_discoveries: Vec<HttpDiscovery>,
    /// Rules for the labels of targets.
    pub relabel: Vec<RelabelRule>,
    /// Rules for the labels of samples.
    pub metric_relabel: Vec<RelabelRule>,
    /// The class of targets without the label `__class__`.
    pub class: Option<Name>,
}

/// How a target is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrapeScheme {
    /// In clear.
    Http,
    /// By TLS.
    Https,
}

/// A format in which metrics are exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrapeProtocol {
    /// `PrometheusProto`: delimited messages `io.prometheus.client.MetricFamily`.
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

/// How something is asked over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpClient {
    /// Who the agent is.
    pub auth: HttpAuth,
    /// How who answers is known, and the agent.
    pub tls: ClientTls,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
}

/// What stands in the header `Authorization`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HttpAuth {
    /// There is none.
    #[default]
    None,
    /// Name and password (RFC 7617).
    Basic {
        /// The name, which may be empty.
        username: String,
        /// Where its password is; `None` for an empty one.
        password: Option<Secret>,
    },
    /// A token.
    Token {
        /// What stands in front of it: `Bearer` unless told otherwise.
        scheme: String,
        /// Where it is.
        token: Secret,
    },
}

/// How a server is known, and the agent. All files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Certificates that are trusted: in a scrape in the place of the system's, as Prometheus has it; in a sink beside them.
    pub ca: Option<PathBuf>,
    /// The agent's own certificate.
    pub identity: Option<TlsIdentity>,
    /// The name that the server's certificate must have, in the place of the address.
    pub server_name: Option<String>,
    /// Takes any certificate.
    pub insecure_skip_verify: bool,
}

/// What a target may expose; a scrape that goes beyond fails. `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeLimits {
    /// Bytes of a body, unpacked; at most 64 MiB.
    pub body: Size,
    /// Samples, after relabelling.
    pub samples: Option<u32>,
    /// Labels of a sample, after relabelling.
    pub labels: Option<u32>,
    /// Bytes of a label's name.
    pub label_name_bytes: Option<u32>,
    /// Bytes of a label's value.
    pub label_value_bytes: Option<u32>,
    /// Targets of the job, after relabelling. With more of them, all scrapes of the job fail.
    pub targets: Option<u32>,
}

/// Targets with the labels that they have in common: a target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticTargets {
    /// Values of `__address__`.
    pub targets: Vec<String>,
    /// Further labels, also those that begin with `__`.
    pub labels: BTreeMap<String, String>,
}

/// Files that name targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiscovery {
    /// Absolute paths that end in `.json`, `.yml` or `.yaml`; the last part may be a pattern with `*`.
    pub files: Vec<PathBuf>,
    /// How often they are read even if no change was noticed.
    pub refresh: Duration,
}

/// An address that names targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpDiscovery {
    /// Where to ask.
    pub url: String,
    /// How often.
    pub refresh: Duration,
    /// How.
    pub client: HttpClient,
}

/// What targets of a class have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeClass {
    /// The interval of targets whose job names none.
    pub interval: Duration,
    /// The timeout of targets whose job names none.
    pub timeout: Option<Duration>,
}

/// Intervals for certain times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeProfile {
    /// What it is called.
    pub name: String,
    /// When it begins: five fields of cron with one blank between them, without a zone. `FROM ZONE` is what
    /// `cronexpr::parse_crontab` takes.
    pub from: String,
    /// When it ends, in the same way.
    pub to: String,
    /// The name of the time zone in which both are meant, as the IANA database spells it.
    pub time_zone: String,
    /// Intervals by class; `*` is every class that is not named here, and targets without one. Not empty.
    pub intervals: BTreeMap<String, Duration>,
}

// === impl ScrapeSource ===

impl ScrapeSource {
    /// Interval and timeout of a target of this class while no profile is active.
    pub fn pace(&self, job: &ScrapeJob, class: Option<&str>) -> (Duration, Duration) {
        let class = class.and_then(|class| self.classes.get(class));
        let of_class = class.map(|class| class.interval);
        let interval = job.interval.or(of_class).unwrap_or(job.default_interval);
        let timeout = job.timeout.or_else(|| class?.timeout).unwrap_or(DEFAULT_TIMEOUT);
        (interval, timeout.min(interval))
    }
}
