//! Plugins.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_oci::{Reference, ReferencePrefix};

use super::Context;
use crate::config::{self, Artifact, Grants, Isolation, Limits, OnError, Plugin, Registry, Shadow, Signing};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::secret::SecretError;
use crate::types::{self, FieldPath, Name, Share, Size};
use crate::yaml::Node;

/// One page of WebAssembly is 64 KiB; less than a few of them runs nothing.
const MIN_MEMORY: Size = Size::of_mib(1);
/// What a 32-bit memory can have.
const MAX_MEMORY: Size = Size::of_mib(4096);
const MAX_DEADLINE: Duration = Duration::from_secs(60);
/// Of a plugin's batches, what its shadow sees where nothing is said.
const SHADOW_SHARE: Share = Share::of_percent(5);
/// Oftener than that is a load on the registry and no use; beyond a day nobody waits for it.
const POLL: [(Duration, &str); 2] = [(Duration::from_secs(1), "1s"), (Duration::from_secs(24 * 3600), "24h")];

pub(super) fn plugin(raw: raw::Plugin, _: &Name, path: &KeyPath, context: &mut Context<'_>) -> Plugin {
    let config = raw.config.filter(|config| !config.is_null()).unwrap_or_else(|| serde_json::json!({}));
    let grants = raw.grants.unwrap_or_default();
    if raw.shadow.is_none() && raw.shadow_share.is_some() {
        let complaint = Complaint::new("there is no shadow that could see a share");
        context.warn(&path.key("shadow_share"), complaint.help("give shadow, or remove shadow_share"));
    }
    let shadow = raw.shadow.map(|shadow| Shadow {
        artifact: artifact(shadow.0, context),
        share: raw.shadow_share.map_or(SHADOW_SHARE, |share| share.0),
    });
    Plugin {
        artifact: artifact(raw.artifact.0, context),
        verify: raw.verify.map(|verify| context.absolute(&verify.key.file.0.0)),
        allow_unsigned: raw.allow_unsigned.unwrap_or(false),
        poll: raw.poll.map(|poll| poll.0),
        config,
        limits: limits(raw.limits.unwrap_or_default(), &path.key("limits"), context),
        grants: Grants { fields: grants.fields.map(fields), write: grants.write.map(fields) },
        on_error: raw.on_error.map(|on_error| match on_error {
            raw::OnError::Pass => OnError::Pass,
            raw::OnError::Drop => OnError::Drop,
            raw::OnError::DeadLetter => OnError::DeadLetter,
            raw::OnError::Hold => OnError::Hold,
        }),
        isolation: match raw.isolation {
            Some(raw::Isolation::Shared) | None => Isolation::Shared,
            Some(raw::Isolation::Fresh) => Isolation::Fresh,
        },
        shadow,
    }
}

fn artifact(artifact: types::Artifact, context: &Context<'_>) -> Artifact {
    match artifact {
        types::Artifact::File(path) => Artifact::File(context.absolute(&path)),
        types::Artifact::Oci(reference) => Artifact::Oci(reference),
    }
}

/// What is said about signatures and tags must fit what the artefact is.
pub(super) fn check_artifacts(
    plugins: &BTreeMap<Name, Plugin>,
    registries: &BTreeMap<ReferencePrefix, Registry>,
    context: &mut Context<'_>,
) {
    for (name, plugin) in plugins {
        let path = KeyPath::of(&["plugins", name]);
        match &plugin.artifact {
            Artifact::File(_) => check_file(plugin, &path, context),
            Artifact::Oci(reference) => {
                check_poll(plugin, reference, &path, context);
                let registry = config::registry_of(registries, reference);
                check_reference(plugin, (reference, "artifact"), registry, &path, context);
            }
        }
        let Some(shadow) = &plugin.shadow else { continue };
        if let Artifact::Oci(reference) = &shadow.artifact {
            let registry = config::registry_of(registries, reference);
            check_reference(plugin, (reference, "shadow"), registry, &path, context);
        }
        if shadow.artifact == plugin.artifact {
            let complaint = Complaint::new("the shadow is what runs already");
            context.warn(&path.key("shadow"), complaint.help("remove it, or name a candidate"));
        }
    }
}

/// A file has no signature and no tag. What is said about signatures may be about a shadow from a registry.
fn check_file(plugin: &Plugin, path: &KeyPath, context: &mut Context<'_>) {
    let has_signed = plugin.shadow.as_ref().is_some_and(|shadow| matches!(shadow.artifact, Artifact::Oci(_)));
    let given = [
        ("verify", plugin.verify.is_some() && !has_signed, "a file carries no signature"),
        ("allow_unsigned", plugin.allow_unsigned && !has_signed, "a file is taken unsigned anyway"),
        ("poll", plugin.poll.is_some(), "a file has no tag that could move"),
    ];
    for (key, is_given, why) in given {
        if is_given {
            let complaint = Complaint::new(why);
            context.error(
                &path.key(key),
                complaint.help(format!("remove {key}, or give an artifact of oci://")),
            );
        }
    }
}

fn check_poll(plugin: &Plugin, reference: &Reference, path: &KeyPath, context: &mut Context<'_>) {
    let Some(poll) = plugin.poll else { return };
    if reference.digest().is_some() {
        let complaint = Complaint::new("what is pinned by a digest never changes");
        context.error(&path.key("poll"), complaint.help("remove poll, or the digest from artifact"));
    }
    context.within(poll, POLL, &path.key("poll"));
}

fn check_reference(
    plugin: &Plugin,
    (reference, key): (&Reference, &str),
    registry: Option<&Registry>,
    path: &KeyPath,
    context: &mut Context<'_>,
) {
    match config::signing(plugin, reference, registry) {
        Signing::By(_) if plugin.allow_unsigned => {
            let whose = if plugin.verify.is_some() { "verify" } else { "registries" };
            let complaint =
                Complaint::new(format!("{whose} asks for a signature, so nothing unsigned is taken"));
            context.error(&path.key("allow_unsigned"), complaint.help("remove one of them"));
        }
        Signing::Refused => {
            let complaint = Complaint::new("nobody says who has to have signed this artefact");
            let help = "give verify: {key: {file: …}} here or in registries, or allow_unsigned: true";
            context.error(&path.key(key), complaint.help(help));
        }
        Signing::By(_) | Signing::Unsigned => {}
    }
}

/// Complains about secrets that cannot be had, whatever else may be wrong with their plugins.
pub(super) fn check_secrets(context: &mut Context<'_>) {
    let section = KeyPath::of(&["plugins"]);
    let tree = context.tree;
    for plugin in tree.entry("plugins").into_iter().flat_map(|entry| entry.value.entries()) {
        let Some(config) = plugin.value.entry("config") else { continue };
        let at = section.key(&plugin.key).key("config");
        context.check_found(&config.value, &at, |_| true);
    }
    let plugins = tree.entry("plugins").into_iter().flat_map(|entry| entry.value.entries());
    for plugin in plugins {
        check_file_at(&plugin.value, "verify", &section.key(&plugin.key), context);
    }
}

/// Complains about files below `key` that cannot be read. They may be longer than a secret.
pub(super) fn check_file_at(node: &Node, key: &str, path: &KeyPath, context: &mut Context<'_>) {
    let Some(entry) = node.entry(key) else { return };
    let matters =
        |error: &SecretError| matches!(error, SecretError::Unreadable { .. } | SecretError::NotSet { .. });
    context.check_found(&entry.value, &path.key(key), matters);
}

fn limits(raw: raw::Limits, path: &KeyPath, context: &mut Context<'_>) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        memory: raw.memory.map_or(default.memory, |memory| memory.0),
        deadline: raw.deadline.map_or(default.deadline, |deadline| deadline.0),
        output: raw.output.map_or(default.output, |output| output.0),
    };
    if !(MIN_MEMORY..=MAX_MEMORY).contains(&limits.memory) {
        let message = format!("must be from {MIN_MEMORY} to {MAX_MEMORY}, found {}", limits.memory);
        context.error(&path.key("memory"), Complaint::new(message));
    }
    context.at_most(limits.deadline, MAX_DEADLINE, "60s", &path.key("deadline"));
    limits
}

fn fields(raw: Vec<raw::Text<FieldPath>>) -> Vec<String> {
    raw.into_iter().map(|field| field.0.0).collect()
}
