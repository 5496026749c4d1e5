//! What a plugin may use: the operator's word, else its manifest's, else the default.

use std::time::Duration;

use weir_manifest::Manifest;

use super::LoadError;
use crate::engine::Engine;
use crate::spec::{DEFAULT_DEADLINE, DEFAULT_MEMORY_BYTES, DEFAULT_OUTPUT_BYTES, PluginSpec};

pub(super) fn memory(engine: &Engine, manifest: &Manifest, spec: &PluginSpec) -> Result<usize, LoadError> {
    let limit = |problem| LoadError::Limit { limit: "memory", problem };
    let (wanted, default) = (manifest.limits.memory, DEFAULT_MEMORY_BYTES);
    let memory = resolve(spec.limits.memory, wanted, default).map_err(|wanted| {
        limit(format!(
            "its manifest asks for {wanted} bytes, more than the {default} of the default; allow them here"
        ))
    })?;
    if memory > engine.memory() {
        return Err(limit(format!(
            "{memory} bytes are more than the {} that the engine has room for",
            engine.memory()
        )));
    }
    usize::try_from(memory)
        .map_err(|_| limit(format!("{memory} bytes are more than this machine has addresses for")))
}

pub(super) fn deadline(manifest: &Manifest, spec: &PluginSpec) -> Result<Duration, LoadError> {
    let limit = |problem| LoadError::Limit { limit: "deadline", problem };
    let (wanted, default) = (manifest.limits.deadline, DEFAULT_DEADLINE);
    let deadline = resolve(spec.limits.deadline, wanted, default).map_err(|wanted| {
        limit(format!(
            "its manifest asks for {wanted:?}, more than the {default:?} of the default; allow it here"
        ))
    })?;
    if deadline.is_zero() {
        return Err(limit("must not be zero".to_owned()));
    }
    Ok(deadline)
}

pub(super) fn output(spec: &PluginSpec) -> Result<usize, LoadError> {
    let output = spec.limits.output.unwrap_or(DEFAULT_OUTPUT_BYTES);
    let problem =
        || LoadError::Limit { limit: "output", problem: format!("{output} bytes are not possible") };
    usize::try_from(output).ok().filter(|bytes| *bytes > 0).ok_or_else(problem)
}

/// The operator's word, else the manifest's up to the default. A manifest that asks for more is an error,
/// since running it with less than it needs would only show as faults later.
fn resolve<T: PartialOrd + Copy>(allowed: Option<T>, wanted: Option<T>, default: T) -> Result<T, T> {
    match (allowed, wanted) {
        (Some(allowed), _) => Ok(allowed),
        (None, Some(wanted)) if wanted > default => Err(wanted),
        (None, wanted) => Ok(wanted.unwrap_or(default)),
    }
}
