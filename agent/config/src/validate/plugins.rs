//! Plugins.

use std::time::Duration;

use super::Context;
use crate::config::{Grants, Isolation, Limits, OnError, Plugin};
use crate::error::Complaint;
use crate::key_path::KeyPath;
use crate::raw;
use crate::secret;
use crate::types::{FieldPath, Name, Size};

/// One page of WebAssembly is 64 KiB; less than a few of them runs nothing.
const MIN_MEMORY: Size = Size::of_mib(1);
/// What a 32-bit memory can have.
const MAX_MEMORY: Size = Size::of_mib(4096);
const MAX_DEADLINE: Duration = Duration::from_secs(60);

pub(super) fn plugin(raw: raw::Plugin, _: &Name, path: &KeyPath, context: &mut Context<'_>) -> Plugin {
    let config = raw.config.filter(|config| !config.is_null()).unwrap_or_else(|| serde_json::json!({}));
    let grants = raw.grants.unwrap_or_default();
    Plugin {
        artifact: context.absolute(&raw.artifact.0.0),
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
    }
}

/// Complains about secrets that cannot be had, whatever else may be wrong with their plugins.
pub(super) fn check_secrets(context: &mut Context<'_>) {
    let section = KeyPath::of(&["plugins"]);
    let tree = context.tree;
    for plugin in tree.entry("plugins").into_iter().flat_map(|entry| entry.value.entries()) {
        let Some(config) = plugin.value.entry("config") else { continue };
        let at = section.key(&plugin.key).key("config");
        for (at, error) in secret::find_missing(&config.value.to_json(), context.base_dir, context.host, &at)
        {
            context.error(&at, Complaint::new(error.reason()));
        }
    }
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
