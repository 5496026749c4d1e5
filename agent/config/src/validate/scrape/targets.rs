//! Where the targets of a job come from.

use std::path::PathBuf;
use std::time::Duration;

use super::super::Context;
use super::{client, labels, pace, texts};
use crate::config::{FileDiscovery, HttpDiscovery, StaticTargets};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::text::quoted;
use crate::types::PrometheusDuration;

const FILE_REFRESH: Duration = Duration::from_secs(300);
const HTTP_REFRESH: Duration = Duration::from_secs(60);
/// What Prometheus reads targets from.
const FILE_ENDINGS: [&str; 6] = [".json", ".yml", ".yaml", ".JSON", ".YML", ".YAML"];

pub(super) fn static_targets(
    raw: Vec<raw::StaticConfig>,
    is_final: bool,
    at: &KeyPath,
    context: &mut Context<'_>,
) -> Vec<StaticTargets> {
    let mut groups = Vec::with_capacity(raw.len());
    for (group, raw) in raw.into_iter().enumerate() {
        let targets = texts(raw.targets);
        // With rules, an address may be anything that they make one of.
        for (index, target) in targets.iter().enumerate().filter(|_| is_final) {
            if target.contains('/') {
                let complaint = Complaint::new(format!("{} is no address", quoted(target)));
                let help = "write HOST:PORT; scheme and metrics_path stand beside static_configs";
                context.error(&at.index(group).key("targets").index(index), complaint.help(help));
            }
        }
        groups.push(StaticTargets { targets, labels: labels(raw.labels) });
    }
    groups
}

pub(super) fn file_discoveries(
    raw: Vec<raw::FileSdConfig>,
    at: &KeyPath,
    context: &mut Context<'_>,
) -> Vec<FileDiscovery> {
    let mut found = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let at = at.index(index);
        let mut files: Vec<PathBuf> = Vec::with_capacity(raw.files.len());
        for (index, file) in raw.files.into_iter().enumerate() {
            let text = file.0.0.to_string_lossy().into_owned();
            let (folder, name) = text.rsplit_once('/').unwrap_or(("", &text));
            if folder.contains('*') || !is_target_file(name) {
                let complaint = Complaint::new(format!("{} is no file of targets", quoted(&text)));
                let help = "it ends in .json, .yml or .yaml, and has a * in its last part at the most";
                context.error(&at.key("files").index(index), complaint.help(help));
            }
            files.push(context.absolute(&file.0.0));
        }
        let refresh = refresh(raw.refresh_interval, FILE_REFRESH, &at, context);
        found.push(FileDiscovery { files, refresh });
    }
    found
}

fn is_target_file(name: &str) -> bool {
    FILE_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

pub(super) fn http_discoveries(
    raw: Vec<raw::HttpSdConfig>,
    at: &KeyPath,
    context: &mut Context<'_>,
) -> Vec<HttpDiscovery> {
    let mut found = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let at = at.index(index);
        let keys = client::Keys {
            basic_auth: raw.basic_auth,
            authorization: raw.authorization,
            bearer_token: raw.bearer_token,
            bearer_token_file: raw.bearer_token_file,
            tls_config: raw.tls_config,
            follow_redirects: raw.follow_redirects,
        };
        found.push(HttpDiscovery {
            url: raw.url.0.0,
            refresh: refresh(raw.refresh_interval, HTTP_REFRESH, &at, context),
            client: client::client(keys, &at, context),
        });
    }
    found
}

fn refresh(
    given: Option<raw::Text<PrometheusDuration>>,
    default: Duration,
    at: &KeyPath,
    context: &mut Context<'_>,
) -> Duration {
    pace::own(given, &at.key("refresh_interval"), context).unwrap_or(default)
}
