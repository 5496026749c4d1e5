//! What is scraped, on disk: a short form, and Prometheus' own.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::relabel::RelabelRule;
use super::{SecretReference, Text};
use crate::types::{
    ClassKey, CronTime, FilePath, HttpPath, LabelName, Name, ParameterName, PlainText, PrometheusDuration,
    PrometheusSize, ScrapeTarget, Url, UserName, ZoneName,
};

/// Reads the metrics of targets, as Prometheus does. Takes `targets`, `scrape_configs` or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScrapeSource {
    /// The short form: targets whose label `job` is the source's name.
    #[schemars(length(min = 1))]
    pub targets: Option<Vec<Text<ScrapeTarget>>>,
    /// How often `targets` are scraped. Default: as their class says, else `30s`.
    pub interval: Option<Text<PrometheusDuration>>,
    /// How long a scrape of `targets` may take; not longer than the interval. Default: as their class says, else `10s`,
    /// or the interval where that is shorter.
    pub timeout: Option<Text<PrometheusDuration>>,
    /// The path of `targets` that are no URLs with a path.
    #[schemars(extend("default" = "/metrics"))]
    pub path: Option<Text<HttpPath>>,
    /// Labels of `targets`.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub labels: BTreeMap<Text<LabelName>, Text<PlainText>>,
    /// The class of `targets`.
    pub class: Option<Text<Name>>,
    /// Jobs as Prometheus spells them; what stands under this key in its configuration can be pasted. Certificates,
    /// passwords and tokens stand in files.
    #[schemars(length(min = 1))]
    pub scrape_configs: Option<Vec<ScrapeConfig>>,
    /// Classes of targets, by name. A target is of the class that its label `__class__` names after relabelling, else of
    /// that of its job.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub classes: BTreeMap<Text<Name>, ScrapeClass>,
    /// Intervals for certain times, such as nights. Of those that are active, the last one that names a class holds for it.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub profiles: Vec<ScrapeProfile>,
}

/// A job of Prometheus 3.9. Keys, values and defaults are Prometheus' own, but for `class`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScrapeConfig {
    /// The label `job` of its targets; no two jobs of a source have the same.
    pub job_name: Text<PlainText>,
    /// How often its targets are scraped. Default: as their class says, else `1m`.
    pub scrape_interval: Option<Text<PrometheusDuration>>,
    /// How long a scrape may take; not longer than the interval. Default: as their class says, else `10s`, or the
    /// interval where that is shorter.
    pub scrape_timeout: Option<Text<PrometheusDuration>>,
    /// The path that is asked for.
    #[schemars(extend("default" = "/metrics"))]
    pub metrics_path: Option<Text<HttpPath>>,
    /// How targets are asked.
    #[schemars(extend("default" = "http"))]
    pub scheme: Option<ScrapeScheme>,
    /// Parameters of the query.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub params: BTreeMap<Text<ParameterName>, Vec<Text<PlainText>>>,
    /// Whether labels that a target exposes win over those that it has. Otherwise they become `exported_NAME`.
    #[schemars(extend("default" = false))]
    pub honor_labels: Option<bool>,
    /// Whether time stamps that a target exposes hold. Otherwise a sample has the time of the scrape.
    #[schemars(extend("default" = true))]
    pub honor_timestamps: Option<bool>,
    /// Whether series with time stamps of their own are marked as stale when they are gone.
    #[schemars(extend("default" = false))]
    pub track_timestamps_staleness: Option<bool>,
    /// The formats that are asked for, the most wanted first. Default: the text formats, the newest first, and in front
    /// of them `PrometheusProto` where `scrape_native_histograms` is true.
    #[schemars(length(min = 1))]
    pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
    /// The format of an answer whose `Content-Type` is missing or unknown. Absent: such a scrape fails.
    pub fallback_scrape_protocol: Option<ScrapeProtocol>,
    /// Whether native histograms are taken.
    #[schemars(extend("default" = false))]
    pub scrape_native_histograms: Option<bool>,
    /// Whether a classic histogram is taken although there is a native one of the same name.
    #[schemars(extend("default" = false))]
    pub always_scrape_classic_histograms: Option<bool>,
    /// Who the agent is, by name and password.
    pub basic_auth: Option<ScrapeBasicAuth>,
    /// Who the agent is, by a token.
    pub authorization: Option<ScrapeAuthorization>,
    /// As `authorization: {credentials: …}`.
    pub bearer_token: Option<SecretReference>,
    /// As `authorization: {credentials_file: …}`.
    pub bearer_token_file: Option<Text<FilePath>>,
    /// How targets are known, and the agent.
    #[schemars(extend("default" = {}))]
    pub tls_config: Option<ScrapeTlsConfig>,
    /// Whether redirects are followed.
    #[schemars(extend("default" = true))]
    pub follow_redirects: Option<bool>,
    /// Whether compressed answers are asked for.
    #[schemars(extend("default" = true))]
    pub enable_compression: Option<bool>,
    /// A larger answer, unpacked, is a failed scrape; at most 64MiB, which is also what `0` means.
    #[schemars(extend("default" = "0"))]
    pub body_size_limit: Option<Text<PrometheusSize>>,
    /// More samples after relabelling are a failed scrape; 0 is no limit.
    #[schemars(range(min = 0, max = 4_294_967_295_u64), extend("default" = 0))]
    pub sample_limit: Option<u32>,
    /// A sample with more labels after relabelling is a failed scrape; 0 is no limit.
    #[schemars(range(min = 0, max = 4_294_967_295_u64), extend("default" = 0))]
    pub label_limit: Option<u32>,
    /// A longer name of a label after relabelling is a failed scrape; 0 is no limit.
    #[schemars(range(min = 0, max = 4_294_967_295_u64), extend("default" = 0))]
    pub label_name_length_limit: Option<u32>,
    /// A longer value of a label after relabelling is a failed scrape; 0 is no limit.
    #[schemars(range(min = 0, max = 4_294_967_295_u64), extend("default" = 0))]
    pub label_value_length_limit: Option<u32>,
    /// With more targets after relabelling, all scrapes of the job fail; 0 is no limit.
    #[schemars(range(min = 0, max = 4_294_967_295_u64), extend("default" = 0))]
    pub target_limit: Option<u32>,
    /// Is taken and means nothing: dropped targets are not kept.
    #[schemars(range(min = 0, max = 4_294_967_295_u64), extend("default" = 0))]
    pub keep_dropped_targets: Option<u32>,
    /// Targets that are known.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub static_configs: Vec<StaticConfig>,
    /// Files that name targets.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub file_sd_configs: Vec<FileSdConfig>,
    /// Addresses that name targets.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub http_sd_configs: Vec<HttpSdConfig>,
    /// Rules for the labels of targets.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub relabel_configs: Vec<RelabelRule>,
    /// Rules for the labels of samples.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub metric_relabel_configs: Vec<RelabelRule>,
    /// Weir's own: the class of targets without the label `__class__`.
    pub class: Option<Text<Name>>,
}

/// How a target is asked.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScrapeScheme {
    /// In clear.
    Http,
    /// By TLS.
    Https,
}

/// A format in which metrics are exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum ScrapeProtocol {
    /// Protobuf, the only one with native histograms.
    PrometheusProto,
    /// OpenMetrics, version 1.0.0.
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetricsText1,
    /// OpenMetrics, version 0.0.1.
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetricsText0,
    /// Prometheus' text format, version 1.0.0.
    #[serde(rename = "PrometheusText1.0.0")]
    PrometheusText1,
    /// Prometheus' text format, version 0.0.4.
    #[serde(rename = "PrometheusText0.0.4")]
    PrometheusText0,
}

/// A name and a password, as Prometheus spells them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScrapeBasicAuth {
    /// The name. Absent: an empty one.
    pub username: Option<Text<UserName>>,
    /// Its password. Absent, and no `password_file`: an empty one.
    pub password: Option<SecretReference>,
    /// The file of its password.
    pub password_file: Option<Text<FilePath>>,
}

/// A token, as Prometheus spells it. Takes either `credentials` or `credentials_file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScrapeAuthorization {
    /// What stands in front of it; not `Basic`.
    #[serde(rename = "type")]
    #[schemars(extend("default" = "Bearer"))]
    pub kind: Option<Text<PlainText>>,
    /// The token.
    pub credentials: Option<SecretReference>,
    /// The file of the token.
    pub credentials_file: Option<Text<FilePath>>,
}

/// How a server is known, and the agent, as Prometheus spells it. All files are PEM.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScrapeTlsConfig {
    /// Certificates that are trusted, in the place of the system's.
    pub ca_file: Option<Text<FilePath>>,
    /// The agent's own certificate, with those between it and its authority.
    pub cert_file: Option<Text<FilePath>>,
    /// The key of `cert_file`.
    pub key_file: Option<Text<FilePath>>,
    /// The name that the server's certificate must have. Default: the host of the address.
    pub server_name: Option<Text<PlainText>>,
    /// Takes any certificate.
    #[schemars(extend("default" = false))]
    pub insecure_skip_verify: Option<bool>,
}

/// Targets that are known.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StaticConfig {
    /// Their addresses, `host:port`.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub targets: Vec<Text<PlainText>>,
    /// Labels that they have.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    pub labels: BTreeMap<Text<LabelName>, Text<PlainText>>,
}

/// Files that name targets: lists of what `static_configs` takes, in YAML or JSON. They are read again when they change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSdConfig {
    /// Paths that end in `.json`, `.yml` or `.yaml`; the last part may have a `*`.
    #[schemars(length(min = 1))]
    pub files: Vec<Text<FilePath>>,
    /// How often they are read even if no change was noticed.
    #[schemars(extend("default" = "5m"))]
    pub refresh_interval: Option<Text<PrometheusDuration>>,
}

/// An address that names targets: a list of what `static_configs` takes, in JSON.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpSdConfig {
    /// Where to ask.
    pub url: Text<Url>,
    /// How often.
    #[schemars(extend("default" = "1m"))]
    pub refresh_interval: Option<Text<PrometheusDuration>>,
    /// Who the agent is, by name and password.
    pub basic_auth: Option<ScrapeBasicAuth>,
    /// Who the agent is, by a token.
    pub authorization: Option<ScrapeAuthorization>,
    /// As `authorization: {credentials: …}`.
    pub bearer_token: Option<SecretReference>,
    /// As `authorization: {credentials_file: …}`.
    pub bearer_token_file: Option<Text<FilePath>>,
    /// How the server is known, and the agent.
    #[schemars(extend("default" = {}))]
    pub tls_config: Option<ScrapeTlsConfig>,
    /// Whether redirects are followed.
    #[schemars(extend("default" = true))]
    pub follow_redirects: Option<bool>,
}

/// What targets of a class have in common.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScrapeClass {
    /// How often targets are scraped where nothing else says it for them.
    pub interval: Text<PrometheusDuration>,
    /// How long a scrape may take where nothing else says it. Default: `10s`, or the interval where that is shorter.
    pub timeout: Option<Text<PrometheusDuration>>,
}

/// Intervals for certain times. It is active while the last of the times `from` is later than the last of the times `to`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScrapeProfile {
    /// What it is called.
    pub name: Text<Name>,
    /// When it begins.
    pub from: Text<CronTime>,
    /// When it ends.
    pub to: Text<CronTime>,
    /// The time zone of both.
    pub time_zone: Text<ZoneName>,
    /// How often targets are scraped while it is active, by class, also where something else names an interval for them.
    /// `*` is every class that is not named here, and targets without one. At least 100ms.
    pub intervals: BTreeMap<Text<ClassKey>, Text<PrometheusDuration>>,
}
