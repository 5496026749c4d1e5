//! The source `scrape`: its short form, jobs as Prometheus spells them, classes and profiles.

mod client;
mod pace;
mod targets;

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use client::check_secrets;

use super::{Context, relabel};
use crate::config::{ScrapeJob, ScrapeLimits, ScrapeProtocol, ScrapeScheme, ScrapeSource, StaticTargets};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::text::quoted;
use crate::types::{LabelName, Name, PlainText, PrometheusSize, ScrapeTarget, Size};

/// Of the short form.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
/// Prometheus' own (`global.scrape_interval`).
const PROMETHEUS_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_PATH: &str = "/metrics";
/// A decoder's memory has a bound.
const MAX_BODY: Size = Size::of_mib(64);

pub(super) fn source(
    raw: raw::ScrapeSource,
    name: &Name,
    path: &KeyPath,
    context: &mut Context<'_>,
) -> ScrapeSource {
    check_given(&raw, path, context);
    let mut jobs = Vec::new();
    let is_short = raw.targets.is_some();
    if let Some(targets) = raw.targets {
        let own = Own {
            targets: targets.into_iter().map(|target| target.0).collect(),
            interval: pace::own(raw.interval, &path.key("interval"), context),
            timeout: pace::own(raw.timeout, &path.key("timeout"), context),
            path: raw.path.map_or_else(|| DEFAULT_PATH.to_owned(), |path| path.0.0),
            labels: labels(raw.labels),
            class: raw.class.map(|class| class.0),
        };
        jobs.push(own.job(name));
    }
    let configs = path.key("scrape_configs");
    for (index, config) in raw.scrape_configs.into_iter().flatten().enumerate() {
        let at = configs.index(index);
        let job = job(config, &at, context);
        if jobs.iter().any(|other| other.name == job.name) {
            let complaint = Complaint::new(format!("a second job is called {}", quoted(&job.name)));
            let complaint = match is_short && *job.name == **name {
                true => complaint.help("targets of the short form are the job with the source's name"),
                false => complaint.help("give each job of a source a name of its own"),
            };
            context.error(&at.key("job_name"), complaint);
        }
        jobs.push(job);
    }
    let source = ScrapeSource {
        jobs,
        classes: pace::classes(raw.classes, &path.key("classes"), context),
        profiles: pace::profiles(raw.profiles, &path.key("profiles"), context),
    };
    pace::check(&source, is_short, path, context);
    source
}

/// Something is to be scraped; keys of the short form are for its targets.
fn check_given(raw: &raw::ScrapeSource, path: &KeyPath, context: &mut Context<'_>) {
    let is_written = |key| context.is_written(&path.key(key));
    if is_written("targets") {
        return;
    }
    if !is_written("scrape_configs") {
        let complaint = Complaint::new("nothing says what is scraped");
        context.error(
            path,
            complaint.help("give targets: [\"HOST:PORT\"], or scrape_configs as Prometheus has them"),
        );
        return;
    }
    let given = [
        ("interval", raw.interval.is_some()),
        ("timeout", raw.timeout.is_some()),
        ("path", raw.path.is_some()),
        ("labels", !raw.labels.is_empty()),
        ("class", raw.class.is_some()),
    ];
    for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
        let complaint = Complaint::new(format!("{key} is for targets, and there are none"));
        context.error(&path.key(key), complaint.help("write it into each of scrape_configs"));
    }
}

/// The short form.
struct Own {
    targets: Vec<ScrapeTarget>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    path: String,
    labels: BTreeMap<String, String>,
    class: Option<Name>,
}

impl Own {
    fn job(self, name: &Name) -> ScrapeJob {
        let mut job = ScrapeJob::named(name.to_string());
        (job.interval, job.timeout, job.class) = (self.interval, self.timeout, self.class);
        job.path = self.path;
        job.default_interval = DEFAULT_INTERVAL;
        for target in self.targets {
            let own = [("__scheme__", target.scheme.map(str::to_owned)), ("__metrics_path__", target.path)];
            let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            let labels: BTreeMap<String, String> = self.labels.clone().into_iter().chain(own).collect();
            match job.static_targets.last_mut().filter(|group| group.labels == labels) {
                Some(group) => group.targets.push(target.address),
                None => job.static_targets.push(StaticTargets { targets: vec![target.address], labels }),
            }
        }
        job
    }
}

impl ScrapeJob {
    /// A job with Prometheus' defaults and without targets.
    fn named(name: String) -> ScrapeJob {
        ScrapeJob {
            name,
            interval: None,
            default_interval: PROMETHEUS_INTERVAL,
            timeout: None,
            path: DEFAULT_PATH.to_owned(),
            scheme: ScrapeScheme::Http,
            params: BTreeMap::new(),
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            protocols: default_protocols(false),
            fallback_protocol: None,
            native_histograms: false,
            always_classic_histograms: false,
            client: client::DEFAULT,
            compression: true,
            limits: ScrapeLimits {
                body: MAX_BODY,
                samples: None,
                labels: None,
                label_name_bytes: None,
                label_value_bytes: None,
                targets: None,
            },
            static_targets: Vec::new(),
            file_discoveries: Vec::new(),
            http_discoveries: Vec::new(),
            relabel: Vec::new(),
            metric_relabel: Vec::new(),
            class: None,
        }
    }
}

/// A job as Prometheus spells it.
fn job(raw: raw::ScrapeConfig, at: &KeyPath, context: &mut Context<'_>) -> ScrapeJob {
    let default = ScrapeJob::named(raw.job_name.0.0);
    if default.name.is_empty() {
        context.error(&at.key("job_name"), Complaint::new("the name of a job cannot be empty"));
    }
    if raw.static_configs.is_empty() && raw.file_sd_configs.is_empty() && raw.http_sd_configs.is_empty() {
        let complaint = Complaint::new("the job has no targets");
        context.warn(at, complaint.help("give static_configs, file_sd_configs or http_sd_configs"));
    }
    let native_histograms = raw.scrape_native_histograms.unwrap_or(false);
    let keys = client::Keys {
        basic_auth: raw.basic_auth,
        authorization: raw.authorization,
        bearer_token: raw.bearer_token,
        bearer_token_file: raw.bearer_token_file,
        tls_config: raw.tls_config,
        follow_redirects: raw.follow_redirects,
    };
    let limit = |given: Option<u32>| given.filter(|limit| *limit > 0);
    // Prometheus keeps what relabelling dropped for its pages; there are none here.
    let _ = raw.keep_dropped_targets;
    ScrapeJob {
        // As in Prometheus, zero is what was not given.
        interval: raw.scrape_interval.map(|interval| interval.0.0).filter(|interval| !interval.is_zero()),
        timeout: raw.scrape_timeout.map(|timeout| timeout.0.0).filter(|timeout| !timeout.is_zero()),
        path: raw.metrics_path.map_or_else(|| DEFAULT_PATH.to_owned(), |path| path.0.0),
        scheme: match raw.scheme {
            Some(raw::ScrapeScheme::Http) | None => ScrapeScheme::Http,
            Some(raw::ScrapeScheme::Https) => ScrapeScheme::Https,
        },
        params: raw.params.into_iter().map(|(name, values)| (name.0.0, texts(values))).collect(),
        honor_labels: raw.honor_labels.unwrap_or(default.honor_labels),
        honor_timestamps: raw.honor_timestamps.unwrap_or(default.honor_timestamps),
        track_timestamps_staleness: raw.track_timestamps_staleness.unwrap_or(false),
        protocols: protocols(raw.scrape_protocols, native_histograms, &at.key("scrape_protocols"), context),
        fallback_protocol: raw.fallback_scrape_protocol.map(protocol),
        native_histograms,
        always_classic_histograms: raw.always_scrape_classic_histograms.unwrap_or(false),
        client: client::client(keys, at, context),
        compression: raw.enable_compression.unwrap_or(default.compression),
        limits: ScrapeLimits {
            body: body(raw.body_size_limit, &at.key("body_size_limit"), context),
            samples: limit(raw.sample_limit),
            labels: limit(raw.label_limit),
            label_name_bytes: limit(raw.label_name_length_limit),
            label_value_bytes: limit(raw.label_value_length_limit),
            targets: limit(raw.target_limit),
        },
        static_targets: targets::static_targets(
            raw.static_configs,
            raw.relabel_configs.is_empty(),
            &at.key("static_configs"),
            context,
        ),
        file_discoveries: targets::file_discoveries(raw.file_sd_configs, &at.key("file_sd_configs"), context),
        http_discoveries: targets::http_discoveries(raw.http_sd_configs, &at.key("http_sd_configs"), context),
        relabel: relabel::rules(raw.relabel_configs, &at.key("relabel_configs"), context),
        metric_relabel: relabel::rules(
            raw.metric_relabel_configs,
            &at.key("metric_relabel_configs"),
            context,
        ),
        class: raw.class.map(|class| class.0),
        ..default
    }
}

fn body(given: Option<raw::Text<PrometheusSize>>, at: &KeyPath, context: &mut Context<'_>) -> Size {
    match given.map_or(0, |size| size.0.0) {
        0 => MAX_BODY,
        bytes if bytes > MAX_BODY.bytes() => {
            context.error(at, Complaint::new(format!("must be at most {MAX_BODY}")));
            MAX_BODY
        }
        bytes => Size::of_bytes(bytes),
    }
}

fn default_protocols(native_histograms: bool) -> Vec<ScrapeProtocol> {
    let proto = native_histograms.then_some(ScrapeProtocol::PrometheusProto);
    let texts = [
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::PrometheusText1_0_0,
        ScrapeProtocol::PrometheusText0_0_4,
    ];
    proto.into_iter().chain(texts).collect()
}

fn protocols(
    given: Option<Vec<raw::ScrapeProtocol>>,
    native_histograms: bool,
    at: &KeyPath,
    context: &mut Context<'_>,
) -> Vec<ScrapeProtocol> {
    let Some(given) = given else { return default_protocols(native_histograms) };
    for (index, one) in given.iter().enumerate() {
        if given.iter().take(index).any(|other| other == one) {
            context.error(&at.index(index), Complaint::new("the protocol is there twice"));
        }
    }
    if native_histograms && !given.contains(&raw::ScrapeProtocol::PrometheusProto) {
        let complaint = Complaint::new("native histograms come by PrometheusProto only");
        context.warn(at, complaint.help("put PrometheusProto in front"));
    }
    given.into_iter().map(protocol).collect()
}

fn protocol(raw: raw::ScrapeProtocol) -> ScrapeProtocol {
    match raw {
        raw::ScrapeProtocol::PrometheusProto => ScrapeProtocol::PrometheusProto,
        raw::ScrapeProtocol::OpenMetricsText1 => ScrapeProtocol::OpenMetricsText1_0_0,
        raw::ScrapeProtocol::OpenMetricsText0 => ScrapeProtocol::OpenMetricsText0_0_1,
        raw::ScrapeProtocol::PrometheusText1 => ScrapeProtocol::PrometheusText1_0_0,
        raw::ScrapeProtocol::PrometheusText0 => ScrapeProtocol::PrometheusText0_0_4,
    }
}

fn labels(raw: BTreeMap<raw::Text<LabelName>, raw::Text<PlainText>>) -> BTreeMap<String, String> {
    raw.into_iter().map(|(name, value)| (name.0.0, value.0.0)).collect()
}

fn texts(raw: Vec<raw::Text<PlainText>>) -> Vec<String> {
    raw.into_iter().map(|text| text.0.0).collect()
}
