//! Valid configurations of metrics: what Prometheus' spelling means, defaults, memory, warnings.

use std::time::Duration;

use serde_json::{Value, json};
use weir_config::{
    Carries, Config, HttpAuth, LogMetricKind, OnLimit, RelabelAction, RemoteWriteAuth, ScrapeProtocol,
    ScrapeScheme, ScrapeSource, Secret, Size, SourceKind, Stage, StaticTargets, StreamAttribute,
    WriteVersion,
};

use crate::common;

fn load(text: &str) -> (Config, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    std::fs::write(&file, text).unwrap();
    for name in ["password", "token"] {
        std::fs::write(folder.path().join(name), "secret").unwrap();
    }
    let (config, warnings) =
        weir_config::load_on(&file, &common::host()).unwrap_or_else(|errors| panic!("{errors}"));
    let warnings = warnings.iter().map(|warning| format!("{}: {}", warning.path, warning.message));
    (config, warnings.collect())
}

/// A configuration whose only source is of the kind `scrape`, with these keys.
fn scrape(keys: &str) -> (ScrapeSource, Vec<String>) {
    let text = format!(
        "{{version: 1, cluster: dev, sources: {{node: {{type: scrape, {keys}}}}}, sinks: {{out: {{type: blackhole}}}}, \
         pipelines: {{all: {{from: [node], to: [out]}}}}}}"
    );
    let (config, warnings) = load(&text);
    match &config.sources["node"].kind {
        SourceKind::Scrape(source) => (source.clone(), warnings),
        other => panic!("{other:?}"),
    }
}

fn group(targets: &[&str], labels: &[(&str, &str)]) -> StaticTargets {
    StaticTargets {
        targets: targets.iter().map(ToString::to_string).collect(),
        labels: labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    }
}

#[test]
fn the_short_form_is_a_job_with_the_sources_name() {
    let (source, warnings) =
        scrape("targets: ['127.0.0.1:9600', 'h:1', 'https://h:2/x', 'http://h'], labels: {team: a}");
    assert_eq!(warnings, [] as [String; 0]);
    let [job] = &source.jobs[..] else { panic!("{source:?}") };
    assert_eq!((&*job.name, &*job.path, job.scheme), ("node", "/metrics", ScrapeScheme::Http));
    assert_eq!(
        job.static_targets,
        [
            group(&["127.0.0.1:9600", "h:1"], &[("team", "a")]),
            group(&["h:2"], &[("__metrics_path__", "/x"), ("__scheme__", "https"), ("team", "a")]),
            group(&["h:80"], &[("__scheme__", "http"), ("team", "a")]),
        ]
    );
    assert_eq!(source.pace(job, None), (Duration::from_secs(30), Duration::from_secs(10)));
}

/// The defaults of Prometheus 3.9 (`config.DefaultScrapeConfig`, `config.DefaultHTTPClientConfig`).
#[test]
fn a_job_has_the_defaults_of_prometheus() {
    let (source, warnings) = scrape("scrape_configs: [{job_name: a}]");
    assert_eq!(
        warnings,
        ["sources.node.scrape_configs[0]: the job has no targets"],
        "what Prometheus takes is taken"
    );
    let job = &source.jobs[0];
    assert_eq!((&*job.name, &*job.path, job.scheme), ("a", "/metrics", ScrapeScheme::Http));
    assert_eq!(source.pace(job, None), (Duration::from_secs(60), Duration::from_secs(10)));
    assert!(!job.honor_labels && job.honor_timestamps && !job.track_timestamps_staleness);
    assert!(job.compression && job.client.follow_redirects && job.client.auth == HttpAuth::None);
    assert_eq!(job.limits.body, Size::of_mib(64));
    assert_eq!((job.limits.samples, job.limits.labels, job.limits.targets), (None, None, None));
    let texts = [
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::PrometheusText1_0_0,
        ScrapeProtocol::PrometheusText0_0_4,
    ];
    assert_eq!(job.protocols, texts);
    let (source, _) = scrape("scrape_configs: [{job_name: a, scrape_native_histograms: true}]");
    assert_eq!(source.jobs[0].protocols[0], ScrapeProtocol::PrometheusProto);
    assert_eq!(source.jobs[0].protocols[1..], texts);
}

/// As it stands in configurations of Prometheus.
const PASTED: &str = r#"
version: 1
cluster: dev
sources:
  prometheus:
    type: scrape
    scrape_configs:
      - job_name: blackbox
        scrape_interval: 1m30s
        scrape_timeout: 0s
        metrics_path: /probe
        params:
          module: [http_2xx]
          retries: [3]
        honor_timestamps: false
        basic_auth:
          username: admin
          password_file: password
        tls_config:
          server_name: example.org
          insecure_skip_verify: false
        body_size_limit: 10MB
        sample_limit: 5000
        keep_dropped_targets: 10
        static_configs:
          - targets:
              - https://example.org/a
            labels:
              env: prod
              version: 1.10
              foo.bar: 0x10
        file_sd_configs:
          - files:
              - targets/*.yml
        http_sd_configs:
          - url: http://sd/targets?kind=a
            refresh_interval: 2m
            bearer_token_file: token
        relabel_configs:
          - source_labels: [__address__]
            target_label: __param_target
          - source_labels: [__param_target]
            target_label: instance
          - target_label: __address__
            replacement: 127.0.0.1:9115
          - source_labels: [status]
            regex: 200
            action: Keep
        metric_relabel_configs:
          - {action: labeldrop, regex: "pod_.+"}
pipelines:
  all: {from: [prometheus], to: [out]}
sinks:
  out: {type: blackhole}
"#;

#[test]
fn what_prometheus_takes_can_be_pasted() {
    let (config, warnings) = load(PASTED);
    assert_eq!(warnings, [] as [String; 0]);
    let SourceKind::Scrape(source) = &config.sources["prometheus"].kind else { panic!() };
    let [job] = &source.jobs[..] else { panic!() };
    assert_eq!((job.interval, job.timeout), (Some(Duration::from_secs(90)), None));
    assert_eq!(job.params["retries"], ["3"]);
    let password = Some(Secret::File(config.base_dir.join("password")));
    assert_eq!(job.client.auth, HttpAuth::Basic { username: "admin".into(), password });
    assert_eq!(job.client.tls.server_name.as_deref(), Some("example.org"));
    assert_eq!((job.limits.body, job.limits.samples), (Size::of_mib(10), Some(5000)));
    assert_eq!(
        job.static_targets,
        [group(&["https://example.org/a"], &[("env", "prod"), ("foo.bar", "0x10"), ("version", "1.10")])]
    );
    assert_eq!(job.file_discoveries[0].files, [config.base_dir.join("targets/*.yml")]);
    assert_eq!(job.file_discoveries[0].refresh, Duration::from_secs(300));
    let discovery = &job.http_discoveries[0];
    assert_eq!((&*discovery.url, discovery.refresh), ("http://sd/targets?kind=a", Duration::from_secs(120)));
    let token =
        HttpAuth::Token { scheme: "Bearer".into(), token: Secret::File(config.base_dir.join("token")) };
    assert_eq!(discovery.client.auth, token);
    let rules: Vec<_> =
        job.relabel.iter().map(|rule| (rule.action, &*rule.regex, &*rule.replacement)).collect();
    assert_eq!(rules[0], (RelabelAction::Replace, "(.*)", "$1"));
    assert_eq!(rules[2], (RelabelAction::Replace, "(.*)", "127.0.0.1:9115"));
    assert_eq!(rules[3], (RelabelAction::Keep, "200", "$1"));
    assert_eq!((&*job.relabel[0].separator, job.relabel[0].modulus), (";", 0));
    assert_eq!(job.metric_relabel[0].action, RelabelAction::LabelDrop);
}

#[test]
fn a_class_says_the_interval_where_its_job_does_not() {
    let (source, _) = scrape(
        "classes: {core: {interval: 15s, timeout: 5s}, slow: {interval: 5s}}, scrape_configs: [{job_name: a}, \
         {job_name: b, scrape_interval: 2s}, {job_name: c, scrape_timeout: 3s}]",
    );
    let pace = |job: usize, class| {
        let (interval, timeout) = source.pace(&source.jobs[job], class);
        (interval.as_secs(), timeout.as_secs())
    };
    let cases = [
        (0, None, (60, 10)),
        (0, Some("core"), (15, 5)),
        (0, Some("slow"), (5, 5)),
        (0, Some("unknown"), (60, 10)),
        (1, Some("core"), (2, 2)),
        (2, Some("core"), (15, 3)),
    ];
    for (job, class, expected) in cases {
        assert_eq!(pace(job, class), expected, "{job} {class:?}");
    }
}

#[test]
fn a_profile_is_what_cron_takes() {
    let (source, warnings) = scrape(
        "targets: ['h:1'], classes: {standard: {interval: 1m}}, profiles: [{name: night, from: '0  22 * * *', to: '0 6 \
         * * 1-5', time_zone: asia/seoul, intervals: {'*': 5m, standrad: 1h}}]",
    );
    let night = &source.profiles[0];
    assert_eq!((&*night.from, &*night.to, &*night.time_zone), ("0 22 * * *", "0 6 * * 1-5", "Asia/Seoul"));
    assert_eq!(night.intervals["*"], Duration::from_secs(300));
    assert_eq!(warnings, [r#"sources.node.profiles[0].intervals.standrad: no class is called "standrad""#]);
}

const WHOLE: &str = r#"
version: 1
cluster: dev
memory: 1GiB
sources:
  pods: {type: kubernetes_logs}
  node: {type: scrape, targets: ["127.0.0.1:9100"]}
  pushed: {type: remote_write, listen: "127.0.0.1:9201"}
pipelines:
  logs:
    from: [pods]
    stages:
      - log_to_metric:
          metrics:
            - {type: counter, name: events_total, labels: {level: level}, attributes: [pod]}
            - {type: histogram, name: seconds, field: http.duration, buckets: [0.1, 1, 10]}
    to: [out]
  metrics:
    from: [node, logs.metrics, pushed]
    stages:
      - relabel: [{source_labels: [a, b], target_label: c}]
      - drop_metrics: [go_.*]
      - cardinality: {}
    to: [thanos]
    durability: always
sinks:
  out: {type: file, path: out.ndjson}
  thanos: {type: remote_write, url: "https://thanos:19291/api/v1/receive", buffer: metrics, protocol: 1.0}
buffers:
  metrics: {disk: 1GiB}
"#;

#[test]
fn a_pipeline_carries_events_or_samples() {
    let (config, warnings) = load(WHOLE);
    assert_eq!(warnings, [] as [String; 0]);
    let (logs, metrics) = (&config.pipelines["logs"], &config.pipelines["metrics"]);
    assert_eq!((config.carries(logs), config.carries(metrics)), (Carries::Events, Carries::Samples));
    assert_eq!((&metrics.from.len(), &*metrics.from_metrics[0]), (&2, "logs"));
    assert!(logs.makes_metrics() && !metrics.makes_metrics());
    let Stage::LogToMetric(stage) = &logs.stages[0] else { panic!() };
    assert_eq!((stage.interval, stage.max_series), (Duration::from_secs(15), 2000));
    assert_eq!(stage.metrics[0].labels, [("level".to_owned(), "level".to_owned())]);
    assert_eq!(stage.metrics[0].attributes, [StreamAttribute::Pod]);
    let LogMetricKind::Histogram { field, buckets } = &stage.metrics[1].kind else { panic!() };
    assert_eq!((&**field, &buckets[..]), ("http.duration", &[0.1, 1.0, 10.0][..]));
    let Stage::Cardinality(guard) = &metrics.stages[2] else { panic!() };
    assert_eq!((&*guard.name, guard.limit, guard.on_limit), ("job,instance", 10_000, OnLimit::Report));
    assert_eq!(
        (&guard.by[..], guard.window.as_secs()),
        (&["job".to_owned(), "instance".to_owned()][..], 3600)
    );
    let SourceKind::RemoteWrite(pushed) = &config.sources["pushed"].kind else { panic!() };
    assert_eq!((&*pushed.path, pushed.listening.max_message), ("/api/v1/write", Size::of_mib(32)));
    assert_eq!(pushed.auth, RemoteWriteAuth::None);
    let weir_config::SinkKind::RemoteWrite(sink) = &config.sinks["thanos"].kind else { panic!() };
    assert_eq!((sink.version, sink.shards, sink.max_samples), (WriteVersion::V1, 4, 5_000));
    assert_eq!(
        (&*sink.tenant_header, &sink.tenant, sink.max_bytes),
        ("THANOS-TENANT", &None, Size::of_mib(4))
    );
}

/// Arenas of four sources, one of which is made of events; bodies of targets, series of 1 KiB, messages four times;
/// the sinks' buffers, requests of four shards, and dead letters of two pipelines.
#[test]
fn metrics_take_memory() {
    let mib = load(WHOLE).0.planned_memory.bytes() - 2000 * 1024;
    assert_eq!(mib >> 20, 4 * 4 + 16 + 4 * 32 + 2 * 16 + 4 * 4 + 2 * 4);
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let text = "
version: 1
cluster: dev
sources:
  pods: {type: kubernetes_logs}
  node:
    type: scrape
    scrape_configs:
      - job_name: a
        scrape_native_histograms: true
        scrape_protocols: [PrometheusText0.0.4]
        authorization: {credentials_file: token}
        tls_config: {insecure_skip_verify: true}
        static_configs: [{targets: ['h:1']}]
pipelines:
  logs: {from: [pods], stages: [{log_to_metric: {metrics: [{type: counter, name: events}]}}], to: [out]}
  metrics: {from: [node], to: [thanos]}
sinks:
  out: {type: console}
  thanos: {type: remote_write, url: 'http://t', tenant_header: A, auth: {bearer: {file: token}}, tls: {insecure_skip_verify: true}}
";
    assert_eq!(
        load(text).1,
        [
            "sources.node.scrape_configs[0].scrape_protocols: native histograms come by PrometheusProto only",
            "sources.node.scrape_configs[0].tls_config.insecure_skip_verify: any certificate is taken, so anybody may ask \
             for the secret",
            "pipelines.logs: no pipeline takes the metrics that its stage log_to_metric makes",
            "pipelines.logs.stages[0].log_to_metric.metrics[0].name: the name of a counter should end in _total",
            "sinks.thanos.url: the agent's secret goes over the network in clear",
            "sinks.thanos.tenant_header: there is no tenant that the header could name",
            "sinks.thanos.tls.insecure_skip_verify: any certificate is taken, so anybody may answer as the receiver",
        ]
    );
}

/// The example that is kept beside the others.
#[test]
fn the_example_is_valid() {
    let file = common::folder().join("../../../configs/metrics.yaml");
    let (_, warnings) =
        weir_config::load_on(&file, &common::host()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings, []);
}

/// The defaults that the schema names are those that are applied: to write one out changes nothing.
#[test]
fn a_default_that_is_written_out_changes_nothing() {
    let schema = weir_config::schema();
    let of = |name: &str| schema["$defs"][name].clone();
    let variant = |definition: &str, kind: &str| {
        let all = schema["$defs"][definition]["oneOf"].as_array().unwrap();
        all.iter().find(|variant| variant["properties"]["type"]["const"] == kind).unwrap().clone()
    };
    let job = "/sources/node/scrape_configs/0";
    let places = [
        ("/sources/node".to_owned(), variant("Source", "scrape")),
        (job.to_owned(), of("ScrapeConfig")),
        (format!("{job}/static_configs/0"), of("StaticConfig")),
        (format!("{job}/file_sd_configs/0"), of("FileSdConfig")),
        (format!("{job}/http_sd_configs/0"), of("HttpSdConfig")),
        (format!("{job}/tls_config"), of("ScrapeTlsConfig")),
        (format!("{job}/authorization"), of("ScrapeAuthorization")),
        (format!("{job}/relabel_configs/0"), of("RelabelRule")),
        ("/sources/pushed".to_owned(), variant("Source", "remote_write")),
        ("/sinks/thanos".to_owned(), variant("Sink", "remote_write")),
        ("/sinks/thanos/tls".to_owned(), of("RemoteWriteTls")),
        ("/pipelines/metrics/stages/0/cardinality".to_owned(), of("Cardinality")),
        ("/pipelines/logs/stages/0/log_to_metric".to_owned(), of("LogToMetric")),
        ("/pipelines/logs/stages/0/log_to_metric/metrics/0".to_owned(), variant("LogMetric", "counter")),
        ("/pipelines/logs/stages/0/log_to_metric/metrics/1".to_owned(), variant("LogMetric", "histogram")),
    ];
    let shown = |json: &Value| {
        let config = load(&json.to_string()).0;
        let shown = format!("{config:?}").replace(&config.base_dir.display().to_string(), "BASE");
        shown.replace(&config.hash, "HASH")
    };
    let plain = shown(&small());
    let mut tried = 0;
    for (place, schema) in places {
        for (key, property) in schema["properties"].as_object().unwrap() {
            let Some(default) = property.get("default") else { continue };
            let mut written = small();
            let object = written.pointer_mut(&place).unwrap().as_object_mut().unwrap();
            if object.contains_key(key) {
                continue;
            }
            object.insert(key.clone(), default.clone());
            assert_eq!(shown(&written), plain, "{place}/{key}");
            tried += 1;
        }
    }
    assert_eq!(tried, 62);
}

fn small() -> Value {
    json!({
        "version": 1, "cluster": "dev", "memory": "1GiB",
        "sources": {
            "pods": {"type": "kubernetes_logs"},
            "node": {"type": "scrape", "targets": ["h:1"], "scrape_configs": [{
                "job_name": "a", "static_configs": [{"targets": ["h:1"]}], "file_sd_configs": [{"files": ["a.yml"]}],
                "http_sd_configs": [{"url": "http://h"}], "tls_config": {},
                "authorization": {"credentials_file": "token"}, "relabel_configs": [{"target_label": "a"}],
            }]},
            "pushed": {"type": "remote_write", "listen": "127.0.0.1:9201"},
        },
        "pipelines": {
            "logs": {"from": ["pods"], "to": ["out"], "stages": [{"log_to_metric": {"metrics": [
                {"type": "counter", "name": "a_total"},
                {"type": "histogram", "name": "b", "field": "c", "buckets": [1]},
            ]}}]},
            "metrics": {"from": ["node", "pushed", "logs.metrics"], "to": ["thanos"], "durability": "always",
                        "stages": [{"cardinality": {}}]},
        },
        "sinks": {
            "out": {"type": "console"},
            "thanos": {"type": "remote_write", "url": "https://t", "tls": {}, "tenant": "t", "buffer": "d"},
        },
        "buffers": {"d": {"disk": "1GiB"}},
    })
}
