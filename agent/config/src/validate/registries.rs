//! Registries.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_oci::ReferencePrefix;

use super::Context;
use super::plugins::check_file_at;
use crate::config::Registry;
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::types::RegistryPrefix;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUT: [(Duration, &str); 2] = [(Duration::from_secs(1), "1s"), (Duration::from_secs(600), "10m")];

pub(super) fn registries(
    raw: BTreeMap<raw::Text<RegistryPrefix>, raw::Registry>,
    context: &mut Context<'_>,
) -> BTreeMap<ReferencePrefix, Registry> {
    let section = KeyPath::of(&["registries"]);
    let convert = |(prefix, raw): (raw::Text<RegistryPrefix>, raw::Registry)| {
        let path = section.key(&prefix.0.0.to_string());
        (prefix.0.0, registry(raw, &path, context))
    };
    raw.into_iter().map(convert).collect()
}

fn registry(raw: raw::Registry, path: &KeyPath, context: &mut Context<'_>) -> Registry {
    let timeout = raw.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.0);
    context.within(timeout, TIMEOUT, &path.key("timeout"));
    let insecure = raw.insecure.unwrap_or(false);
    if insecure && raw.ca.is_some() {
        let complaint = Complaint::new("plain HTTP has no certificates");
        context.error(&path.key("insecure"), complaint.help("remove insecure or ca"));
    }
    if insecure && raw.auth.is_some() {
        let complaint = Complaint::new("the password goes over the network in the clear");
        context
            .warn(&path.key("insecure"), complaint.help("use TLS, with ca where the authority is your own"));
    }
    Registry {
        auth: raw.auth.map(|auth| context.secret(auth)),
        ca: raw.ca.map(|ca| context.absolute(&ca.file.0.0)),
        insecure,
        verify: raw.verify.map(|verify| context.absolute(&verify.key.file.0.0)),
        timeout,
    }
}

/// Complains about files and variables that cannot be had.
pub(super) fn check_secrets(context: &mut Context<'_>) {
    let tree = context.tree;
    for registry in tree.entry("registries").into_iter().flat_map(|entry| entry.value.entries()) {
        for key in ["auth", "ca", "verify"] {
            check_file_at(&registry.value, key, &KeyPath::of(&["registries", &registry.key]), context);
        }
    }
}
