//! Keys that Prometheus has in its `scrape_configs` and Weir has not: who pastes one is told what it means here.

use crate::error::Complaint;
use crate::key_path::{KeyPath, Step};

/// Keys of Prometheus 3.9 and what to say about them.
const REFUSED: [(&str, &str, &str); 25] = [
    ("convert_classic_histograms_to_nhcb", "classic histograms stay what they are", "remove the key"),
    ("scrape_failure_log_file", "failed scrapes stand in the agent's own log", "remove the key"),
    ("native_histogram_bucket_limit", "buckets of native histograms are not merged", REMOVE),
    ("native_histogram_min_bucket_factor", "buckets of native histograms are not merged", REMOVE),
    ("metric_name_validation_scheme", NAMES, "remove the key"),
    ("metric_name_escaping_scheme", NAMES, "remove the key"),
    ("enable_http2", "targets are asked over HTTP/1.1", "remove the key"),
    ("http_headers", "further headers cannot be sent", "use basic_auth or authorization"),
    ("oauth2", "OAuth 2.0 is not spoken", TOKEN),
    ("sigv4", "requests are not signed for AWS", TOKEN),
    ("azuread", "tokens of Azure are not fetched", TOKEN),
    ("google_iam", "tokens of Google are not fetched", TOKEN),
    ("proxy_url", NO_PROXY, REMOVE),
    ("no_proxy", NO_PROXY, REMOVE),
    ("proxy_from_environment", NO_PROXY, REMOVE),
    ("proxy_connect_header", NO_PROXY, REMOVE),
    ("username_file", "the name of a user is not read from a file", "write username: NAME"),
    ("username_ref", NO_MANAGER, "write username: NAME"),
    ("password_ref", NO_MANAGER, "write password_file: PATH"),
    ("credentials_ref", NO_MANAGER, "write credentials_file: PATH"),
    ("ca_ref", NO_MANAGER, "write ca_file: PATH"),
    ("cert_ref", NO_MANAGER, "write cert_file: PATH"),
    ("key_ref", NO_MANAGER, "write key_file: PATH"),
    ("min_version", "TLS 1.2 and 1.3 are spoken", "remove the key"),
    ("max_version", "TLS 1.2 and 1.3 are spoken", "remove the key"),
];
/// Certificates and keys that stand in the configuration itself.
const INLINE: [&str; 3] = ["ca", "cert", "key"];
/// What Prometheus discovers targets by, beside those that Weir has too.
const DISCOVERIES: [&str; 29] = [
    "aws",
    "azure",
    "consul",
    "digitalocean",
    "dns",
    "docker",
    "dockerswarm",
    "ec2",
    "ecs",
    "eureka",
    "gce",
    "hetzner",
    "ionos",
    "kuma",
    "lightsail",
    "linode",
    "marathon",
    "msk",
    "nerve",
    "nomad",
    "openstack",
    "ovhcloud",
    "puppetdb",
    "scaleway",
    "serverset",
    "stackit",
    "triton",
    "uyuni",
    "vultr",
];

const NAMES: &str = "names of metrics and labels are taken as targets expose them";
const NO_PROXY: &str = "targets are asked directly, without a proxy";
const NO_MANAGER: &str = "there is no manager of secrets";
const TOKEN: &str = "use authorization: {credentials_file: PATH} with a token that something else renews";
const REMOVE: &str =
    "remove the key, or let Prometheus scrape these targets and write to a source remote_write";

/// What to say about a key below `scrape_configs` that only Prometheus knows.
pub(super) fn of_prometheus(path: &KeyPath, key: &str) -> Option<Complaint> {
    let is_below = path.steps().iter().any(|step| matches!(step, Step::Key(key) if key == "scrape_configs"));
    if !is_below {
        return None;
    }
    let refuse = |reason: &str, help: &str| Some(Complaint::new(format!("`{key}`: {reason}")).help(help));
    if let Some((_, reason, help)) = REFUSED.iter().find(|(known, _, _)| *known == key) {
        return refuse(reason, help);
    }
    if INLINE.contains(&key) && matches!(path.steps().last(), Some(Step::Key(last)) if last == "tls_config") {
        let help = format!("write {key}_file: PATH");
        return refuse("what targets are known by stands in a file", &help);
    }
    let discovery = key.strip_suffix("_sd_configs")?;
    if discovery == "kubernetes" {
        let help = "until then use file_sd_configs, or http_sd_configs";
        return refuse("discovery in Kubernetes comes with a later version", help);
    }
    if DISCOVERIES.contains(&discovery) {
        let help = "let something write the targets to a file for file_sd_configs, or serve them for http_sd_configs";
        return refuse("targets are not discovered in this way", help);
    }
    None
}
