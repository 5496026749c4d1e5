//! The source `scrape`: from its configuration to what [`weir_scrape`] takes.

use std::sync::Arc;

use weir_config::{
    ClientTls, HttpAuth, HttpClient, Name, ScrapeJob, ScrapeProtocol, ScrapeScheme, ScrapeSource,
};
use weir_scrape::{
    Auth, Class, FileDiscovery, HttpDiscovery, HttpSettings, Identity, Job, Profile, Protocol, Scrape,
    ScrapeMetrics, ScrapeSettings, Secret, TargetGroup, Tls,
};

/// The source, and what it counts.
pub fn scrape(source: &ScrapeSource) -> Result<(Scrape, Arc<ScrapeMetrics>), String> {
    let class = |(name, class): (&Name, &weir_config::ScrapeClass)| {
        (name.to_string(), Class { interval: class.interval, timeout: class.timeout })
    };
    let scrape = Scrape::new(ScrapeSettings {
        jobs: source.jobs.iter().map(job).collect(),
        classes: source.classes.iter().map(class).collect(),
        profiles: source.profiles.iter().map(profile).collect(),
    });
    let scrape = scrape.map_err(|error| error.to_string())?;
    let metrics = scrape.metrics();
    Ok((scrape, metrics))
}

fn profile(profile: &weir_config::ScrapeProfile) -> Profile {
    Profile {
        name: profile.name.clone(),
        from: profile.from.clone(),
        to: profile.to.clone(),
        time_zone: profile.time_zone.clone(),
        intervals: profile.intervals.clone(),
    }
}

fn job(job: &ScrapeJob) -> Job {
    let limits = &job.limits;
    let many = |limit: Option<u32>| limit.map_or(0, |limit| limit as usize);
    let group = |targets: &weir_config::StaticTargets| TargetGroup {
        targets: targets.targets.clone(),
        labels: targets.labels.clone(),
    };
    let files = |files: &weir_config::FileDiscovery| FileDiscovery {
        files: files.files.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
        refresh_interval: files.refresh,
    };
    let server = |server: &weir_config::HttpDiscovery| HttpDiscovery {
        url: server.url.clone(),
        refresh_interval: server.refresh,
        http: http(&server.client),
    };
    Job {
        name: job.name.clone(),
        interval: job.interval,
        default_interval: job.default_interval,
        timeout: job.timeout,
        class: job.class.as_ref().map(Name::to_string),
        metrics_path: job.path.clone(),
        scheme: match job.scheme {
            ScrapeScheme::Http => "http".to_owned(),
            ScrapeScheme::Https => "https".to_owned(),
        },
        params: job.params.clone(),
        honor_labels: job.honor_labels,
        honor_timestamps: job.honor_timestamps,
        track_timestamps_staleness: job.track_timestamps_staleness,
        protocols: job.protocols.iter().copied().map(protocol).collect(),
        fallback: job.fallback_protocol.map(protocol),
        native_histograms: job.native_histograms,
        always_scrape_classic_histograms: job.always_classic_histograms,
        enable_compression: job.compression,
        http: http(&job.client),
        body_size_limit: limits.body.bytes(),
        sample_limit: u64::from(limits.samples.unwrap_or_default()),
        label_limit: many(limits.labels),
        label_name_length_limit: many(limits.label_name_bytes),
        label_value_length_limit: many(limits.label_value_bytes),
        target_limit: many(limits.targets),
        groups: job.static_targets.iter().map(group).collect(),
        files: job.file_discoveries.iter().map(files).collect(),
        servers: job.http_discoveries.iter().map(server).collect(),
        relabel: job.relabel.clone(),
        metric_relabel: job.metric_relabel.clone(),
    }
}

fn protocol(protocol: ScrapeProtocol) -> Protocol {
    match protocol {
        ScrapeProtocol::PrometheusProto => Protocol::PrometheusProto,
        ScrapeProtocol::OpenMetricsText1_0_0 => Protocol::OpenMetricsText1_0_0,
        ScrapeProtocol::OpenMetricsText0_0_1 => Protocol::OpenMetricsText0_0_1,
        ScrapeProtocol::PrometheusText1_0_0 => Protocol::PrometheusText1_0_0,
        ScrapeProtocol::PrometheusText0_0_4 => Protocol::PrometheusText0_0_4,
    }
}

fn http(client: &HttpClient) -> HttpSettings {
    HttpSettings {
        auth: match &client.auth {
            HttpAuth::None => Auth::None,
            HttpAuth::Basic { username, password } => {
                Auth::Basic { username: username.clone(), password: password.as_ref().map(secret) }
            }
            HttpAuth::Token { scheme, token } => {
                Auth::Authorization { scheme: scheme.clone(), credentials: secret(token) }
            }
        },
        tls: tls(&client.tls),
        follow_redirects: client.follow_redirects,
    }
}

fn tls(tls: &ClientTls) -> Tls {
    Tls {
        ca: tls.ca.clone(),
        identity: tls.identity.as_ref().map(|identity| Identity {
            certificate: identity.certificate.clone(),
            key: identity.key.clone(),
        }),
        server_name: tls.server_name.clone(),
        insecure_skip_verify: tls.insecure_skip_verify,
    }
}

fn secret(place: &weir_config::Secret) -> Secret {
    match place {
        weir_config::Secret::File(path) => Secret::File(path.clone()),
        weir_config::Secret::Variable(name) => Secret::Variable(name.clone()),
    }
}
