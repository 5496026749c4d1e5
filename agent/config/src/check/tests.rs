//! Tests of the check: what it leaves is what serde takes.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::raw;
use crate::schema;
use crate::yaml::{self, Budget};

/// A configuration with every key there is.
fn full() -> Json {
    json!({
        "version": 1, "cluster": "dev", "node": "n", "data_dir": "/d", "memory": "1GiB", "workers": 2,
        "sources": {
            "k": {"type": "kubernetes_logs", "path": "/p", "exclude_namespaces": ["a"], "exclude_pods": ["b*"],
                  "read_from": "end", "linger": "1s", "time_field": "ts", "parse": "auto", "max_held_bytes": "1MiB", "max_held_age": "1m",
                  "multiline": {"preset": ["java", "go"], "timeout": "1s", "max_lines": 9, "max_bytes": "1KiB"}},
            "f": {"type": "file", "include": ["*.log"], "exclude": ["x"], "format": "cri", "read_from": "beginning",
                  "linger": "1ms", "parse": {"regex": "(?P<a>x)"}, "max_held_bytes": "1MiB", "max_held_age": "1m",
                  "multiline": {"start": "^a"}},
            "w": {"type": "forward", "listen": "0.0.0.0:24224", "shared_key": {"env": "E"}, "users": [{"username": "u", "password": {"file": "p"}}],
                  "tls": {"cert": {"file": "a"}, "key": {"file": "b"}, "client_ca": {"file": "c"}},
                  "max_message": "1MiB", "max_connections": 9, "max_rate": "1MiB", "idle_timeout": "1m",
                  "time_field": "ts"},
            "j": {"type": "journald", "units": ["kubelet"], "identifiers": ["sshd"], "kernel": true, "priority": "info",
                  "directory": "/j", "namespace": "n", "fields": "all", "extra_fields": ["_UID"], "read_from": "end",
                  "linger": "1s"},
            "t": {"type": "otlp", "listen": "[::1]:4318", "tls": {"cert": {"file": "a"}, "key": {"file": "b"}},
                  "bearer": {"file": "t"}, "trust_kubernetes": true, "max_message": "1MiB", "max_connections": 9,
                  "max_rate": "1MiB", "idle_timeout": "1m", "time_field": "ts"},
            "m": {"type": "scrape", "targets": ["127.0.0.1:9600", "https://h/m"], "interval": "30s", "timeout": "1s",
                  "path": "/metrics", "labels": {"team": "a"}, "class": "core",
                  "classes": {"core": {"interval": "15s", "timeout": "10s"}},
                  "profiles": [{"name": "night", "from": "0 22 * * *", "to": "0 6 * * *", "time_zone": "Asia/Seoul",
                                "intervals": {"core": "1m", "*": "5m"}}],
                  "scrape_configs": [scrape_config()]},
            "r": {"type": "remote_write", "listen": "[::1]:9201", "path": "/w", "basic": {"username": "u", "password": {"env": "E"}},
                  "tls": {"cert": {"file": "a"}, "key": {"file": "b"}}, "bearer": {"file": "t"}, "max_message": "1MiB",
                  "max_connections": 9, "max_rate": "1MiB", "idle_timeout": "1m"},
        },
        "plugins": {"p": {"artifact": "file:x", "config": {"a": [1]}, "on_error": "hold", "isolation": "fresh",
            "shadow": "file:y", "shadow_share": "7.5%",
                          "limits": {"memory": "1MiB", "deadline": "1s", "output": "1MiB"},
                          "grants": {"fields": ["a"], "write": []}},
                    "q": {"artifact": "oci://r.example/a:1", "verify": {"key": {"file": "k"}}, "poll": "1m",
                          "allow_unsigned": false}},
        "registries": {"r": {"auth": {"env": "E"}, "ca": {"file": "a"}, "insecure": true,
                                     "verify": {"key": {"file": "k"}}, "timeout": "1s"}},
        "pipelines": {"l": {"from": ["k", "f"], "stages": [{"parse": "klog"}, "p"], "to": ["o"], "weight": 7,
            "durability": "always"},
            "s": {"from": ["l.metrics", "m"], "to": ["z"], "stages": [
                {"relabel": [{"source_labels": ["a"], "separator": "-", "regex": "x", "modulus": 7, "target_label": "b",
                              "replacement": "$1", "action": "HashMod"}]},
                {"drop_metrics": ["go_a"]}, {"keep_metrics": ["a"]}, {"drop_labels": ["b"]},
                {"cardinality": {"name": "g", "by": ["job"], "limit": 9, "on_limit": "cut", "window": "1h"}}]},
            "e": {"from": ["k"], "to": ["b"], "stages": [{"log_to_metric": {"interval": "15s", "max_series": 5, "metrics": [
                {"type": "counter", "name": "a_total", "help": "h", "labels": {"level": "level"}, "attributes": ["pod"]},
                {"type": "histogram", "name": "b", "help": "h", "field": "d", "buckets": [0.5, 1], "labels": {"x": "y"},
                 "attributes": ["namespace", "stream"]}]}}]}},
        "sinks": {"o": {"type": "file", "path": "/o", "best_effort": true, "buffer": "d",
                        "rotate": {"size": "1MiB", "keep": 2}},
                  "c": {"type": "console", "best_effort": false, "buffer": "d"},
                  "b": {"type": "blackhole", "best_effort": true, "buffer": "d"},
                  "s": {"type": "opensearch", "endpoints": ["https://a:1"], "index": "a-%Y", "max_indices_per_hour": 5,
                        "max_wait": "2s", "max_bytes": "1MiB", "max_events": 7, "concurrency": 2, "compression": "none",
                        "timeout": "9s", "auth": {"basic": {"username": "u", "password": {"env": "E"}}},
                        "tls": {"ca": {"file": "a"}, "cert": {"file": "b"}, "key": {"file": "c"},
                                "insecure_skip_verify": true},
                        "fields": {"max_depth": 5, "max_fields": 50, "dedot": true},
                        "dead_letters": {"index": "d"}, "best_effort": true, "buffer": "d"},
                  "t": {"type": "opensearch", "endpoints": ["http://b"], "index": "a",
                        "auth": {"bearer": {"file": "t"}}, "dead_letters": {"file": "d"}},
                  "a": {"type": "s3", "endpoint": "https://m:9000", "bucket": "archive", "create_bucket": true,
                        "region": "eu-1", "prefix": "logs/{cluster}", "access_key": {"env": "E"},
                        "secret_key": {"file": "s"}, "ca": {"file": "a"}, "path_style": false,
                        "index_fields": ["trace_id", "user.id"], "level": 9, "max_object_bytes": "8MiB",
                        "max_object_age": "1m", "best_effort": false, "buffer": "d"},
                  "z": {"type": "remote_write", "url": "https://t/api/v1/receive?x=1", "protocol": "2.0", "tenant": "a",
                        "tenant_header": "X-T", "headers": {"X-A": "b"}, "auth": {"bearer": {"file": "t"}},
                        "tls": {"ca": {"file": "a"}, "cert": {"file": "b"}, "key": {"file": "c"},
                                "insecure_skip_verify": true},
                        "timeout": "9s", "max_samples": 7, "max_bytes": "1MiB", "max_wait": "2s", "shards": 2,
                        "metadata": false, "exemplars": false, "native_histograms": false, "best_effort": true,
                        "buffer": "d"},
                  "y": {"type": "remote_write", "url": "http://t",
                        "auth": {"basic": {"username": "u", "password": {"env": "E"}}}}},
        "buffers": {"d": {"memory": "8MiB", "disk": "1GiB", "when_full": "block", "max_age": "1h",
                          "order": "newest_first", "replay_rate": "1MiB",
                          "object_store": {"endpoint": "https://m:9000", "bucket": "weir", "create_bucket": true,
                                           "region": "eu-1", "prefix": "{cluster}/{node}", "access_key": {"env": "E"},
                                           "secret_key": {"file": "s"}, "ca": {"file": "a"}, "path_style": false,
                                           "max_size": "1TiB", "drain_on_stop": true, "gone_after": "1h",
                                           "adopt": "{cluster}"}}},
        "admin": {"listen": "127.0.0.1:0"},
    })
}

/// A job as Prometheus spells it, with every key there is.
fn scrape_config() -> Json {
    json!({
        "job_name": "j", "scrape_interval": "1m30s", "scrape_timeout": "10s", "metrics_path": "/m", "scheme": "https",
        "params": {"a": ["b", "c"]}, "honor_labels": true, "honor_timestamps": false,
        "track_timestamps_staleness": true, "scrape_protocols": ["PrometheusProto", "OpenMetricsText1.0.0"],
        "fallback_scrape_protocol": "PrometheusText0.0.4", "scrape_native_histograms": true,
        "always_scrape_classic_histograms": true,
        "basic_auth": {"username": "u", "password": {"env": "E"}, "password_file": "p"},
        "authorization": {"type": "Bearer", "credentials": {"file": "t"}, "credentials_file": "t"},
        "bearer_token": {"env": "E"}, "bearer_token_file": "t",
        "tls_config": {"ca_file": "a", "cert_file": "b", "key_file": "c", "server_name": "s", "insecure_skip_verify": true},
        "follow_redirects": false, "enable_compression": false, "body_size_limit": "10MB", "sample_limit": 1,
        "label_limit": 2, "label_name_length_limit": 3, "label_value_length_limit": 4, "target_limit": 5,
        "keep_dropped_targets": 6, "static_configs": [{"targets": ["a:1"], "labels": {"b": "c"}}],
        "file_sd_configs": [{"files": ["t/*.yml"], "refresh_interval": "1m"}],
        "http_sd_configs": [{"url": "http://d/t", "refresh_interval": "1m", "basic_auth": {"username": "u"},
            "authorization": {"credentials_file": "t"}, "bearer_token": {"env": "E"}, "bearer_token_file": "t",
            "tls_config": {"ca_file": "a"}, "follow_redirects": false}],
        "relabel_configs": [{"action": "labeldrop", "regex": "x"}], "metric_relabel_configs": [{"target_label": "a"}],
        "class": "core",
    })
}

/// What is valid of a configuration, and whether there was an error.
fn checked(config: &Json) -> (Json, bool) {
    let mut report = Report::default();
    let file = report.add_file(String::new());
    let tree = yaml::parse(&config.to_string(), file, &mut Budget::default(), &mut report).unwrap();
    let valid = check(&tree, schema::shared(), &mut report);
    (valid, report.finish(Some(())).is_err())
}

/// All places of a value, by their JSON pointers.
fn places(value: &Json, at: &str, all: &mut Vec<String>) {
    all.push(at.to_string());
    match value {
        Json::Object(members) => {
            members.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), all))
        }
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), all));
        }
        _ => {}
    }
}

#[test]
fn a_full_configuration_is_valid_and_kept_as_it_is() {
    assert_eq!(checked(&full()), (full(), false));
    assert!(raw::Config::deserialize(&full()).is_ok());
}

/// `full` has every key of the schema, or the test below would miss some.
#[test]
fn the_full_configuration_is_full() {
    let mut keys = Vec::new();
    collect_keys(schema::shared(), &mut keys);
    let text = full().to_string();
    for key in keys {
        assert!(text.contains(&format!("{key:?}:")), "{key} is missing");
    }
}

fn collect_keys(schema: &Json, keys: &mut Vec<String>) {
    match schema {
        Json::Object(members) => {
            if let Some(properties) = members.get("properties").and_then(Json::as_object) {
                keys.extend(properties.keys().cloned());
            }
            members.values().for_each(|inner| collect_keys(inner, keys));
        }
        Json::Array(items) => items.iter().for_each(|inner| collect_keys(inner, keys)),
        _ => {}
    }
}

fn numbers_as_texts(value: &Json) -> Json {
    match value {
        Json::Number(number) => Json::from(number.to_string()),
        Json::Array(items) => items.iter().map(numbers_as_texts).collect(),
        Json::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), numbers_as_texts(value))).collect()
        }
        other => other.clone(),
    }
}

/// Values to put where they may not belong.
fn odd_values() -> Vec<Json> {
    let texts = ["", "x", "auto", "file", "1MiB", "1s", "a.b", "[", "file:x", "127.0.0.1:1", "0B"];
    let mut values: Vec<Json> = texts.into_iter().map(Json::from).collect();
    values.extend([
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(300),
        json!(1.5),
        json!(1e300),
    ]);
    values.extend([
        json!([]),
        json!({}),
        json!(["x"]),
        json!({"x": 1}),
        json!({"type": "file"}),
        json!([null]),
    ]);
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// The schema and the structs agree: what is left after the check can always be converted, and a configuration
    /// that is converted as it was had no error. Only the top level's required keys may be missing afterwards.
    #[test]
    fn what_the_check_leaves_can_be_converted(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(odd_values())), 1..4),
        removed in any::<Option<prop::sample::Index>>(),
    ) {
        let mut config = full();
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&config, "", &mut all);
            all.remove(0);
            *config.pointer_mut(place.get::<String>(&all)).unwrap() = value;
        }
        let mut all = Vec::new();
        places(&config, "", &mut all);
        if let Some(place) = removed {
            let (parent, key) = place.get::<String>(&all[1..]).rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap().as_object_mut().map(|members| members.remove(key));
        }
        let (valid, is_wrong) = checked(&config);
        prop_assert!(raw::Config::deserialize(&valid).is_ok(), "{valid}");
        let is_incomplete = config.get("version").is_none() || config.get("cluster").is_none();
        // Some texts may be written as numbers, and are texts afterwards.
        let is_less = numbers_as_texts(&valid) != numbers_as_texts(&config);
        prop_assert_eq!(is_wrong, is_incomplete || is_less, "{} {}", valid, config);
    }
}
