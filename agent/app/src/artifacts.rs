//! The plugins' artefacts: from what the configuration says to bytes that may be run.
//!
//! A file is left to who loads it. What is in a registry is resolved, verified and fetched, through the cache below
//! the data directory; several at the same time, so that a registry that is down costs its time limit once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use weir_config::{Config, Error, Name, Signing as Wanted};
use weir_host::{Artifact, Plugin, Provenance};
use weir_manifest::MAX_ARTEFACT_BYTES;
use weir_oci::{Cache, FetchError, Fetched, Origin, PublicKey, Reference, Settings, Signing};

use crate::plugins::Plugins;

/// Of a key, of certificates: no such file is longer.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Registries that are asked at the same time.
const AT_ONCE: usize = 8;

/// The artefacts of a configuration's plugins.
#[derive(Default)]
pub struct Artifacts {
    /// Those that run, as far as they can be had.
    pub live: BTreeMap<Name, Artifact>,
    /// Candidates, or why they cannot be had.
    pub shadows: BTreeMap<Name, Result<Artifact, String>>,
    /// What is wrong with those that should run.
    pub errors: Vec<Error>,
}

/// What is wrong with an artefact, and which of the plugin's keys says it.
struct Problem {
    key: &'static str,
    message: String,
}

/// What an artefact is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Live,
    Shadow,
}

/// One that is in a registry.
struct Remote<'a> {
    name: &'a Name,
    plugin: &'a weir_config::Plugin,
    role: Role,
    reference: &'a Reference,
}

/// The artefacts of all plugins that can be had, and what is wrong with the others. `cache_dir` is the plugins' folder.
/// Blocks, for as long as the time limits of the registries allow.
pub fn resolve(config: &Config, cache_dir: Option<&Path>) -> Artifacts {
    let mut artifacts = Artifacts::default();
    let mut remote = Vec::new();
    for (name, plugin) in &config.plugins {
        let shadow = plugin.shadow.as_ref().map(|shadow| (Role::Shadow, &shadow.artifact));
        for (role, artifact) in [(Role::Live, &plugin.artifact)].into_iter().chain(shadow) {
            match artifact {
                weir_config::Artifact::File(path) => {
                    artifacts.insert(name, role, Artifact::File(path.clone()));
                }
                weir_config::Artifact::Oci(reference) => {
                    remote.push(Remote { name, plugin, role, reference });
                }
            }
        }
    }
    if remote.is_empty() {
        return artifacts;
    }
    let cache = open_cache(cache_dir);
    let mut in_use = BTreeSet::new();
    for some in remote.chunks(AT_ONCE) {
        let fetched: Vec<_> = std::thread::scope(|scope| {
            let cache = cache.as_ref();
            let each = some.iter().map(|one| (one.plugin, one.reference));
            let begin = |(plugin, reference)| scope.spawn(move || fetch(config, plugin, reference, cache));
            let begun: Vec<_> = each.map(begin).collect();
            begun.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        for (&Remote { name, role, reference, .. }, fetched) in some.iter().zip(fetched) {
            let gone =
                || Problem { key: "artifact", message: "fetching it failed, which is a bug".to_owned() };
            match fetched.unwrap_or_else(|_| Err(gone())) {
                Ok(fetched) => {
                    in_use.extend([fetched.digest, fetched.layer]);
                    artifacts.insert(name, role, told(name, role, reference, fetched));
                }
                Err(Problem { key, message }) if role == Role::Live => {
                    artifacts.errors.push(config.error_at(&["plugins", name, key], message, None));
                }
                Err(Problem { message, .. }) => drop(artifacts.shadows.insert(name.clone(), Err(message))),
            }
        }
    }
    let is_whole = artifacts.errors.is_empty() && artifacts.shadows.values().all(Result::is_ok);
    if let Some(cache) = cache.filter(|_| is_whole) {
        cache.evict(&in_use);
    }
    artifacts
}

// === impl Artifacts ===

impl Artifacts {
    fn insert(&mut self, name: &Name, role: Role, artifact: Artifact) {
        match role {
            Role::Live => drop(self.live.insert(name.clone(), artifact)),
            Role::Shadow => drop(self.shadows.insert(name.clone(), Ok(artifact))),
        }
    }
}

/// A plugin whose tag stands for something else than what runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moved {
    /// The plugin.
    pub plugin: Name,
    /// The digest that the tag has now.
    pub digest: String,
}

/// Looks at the tags of all plugins with `poll`, each as often as it says, and returns when one has moved. Never
/// returns where there is none. A registry that does not answer is asked again the next time. What was `refused` is not
/// told again: the reload is tried again by itself.
pub async fn moved_tag(config: &Config, plugins: &Plugins, refused: &BTreeSet<Moved>) -> Moved {
    let mut polls = tokio::task::JoinSet::new();
    let shared = Arc::new(config.clone());
    for (name, plugin) in &config.plugins {
        let (weir_config::Artifact::Oci(reference), Some(every)) = (&plugin.artifact, plugin.poll) else {
            continue;
        };
        let Some(plugin) = plugins.get(name).map(|loaded| Arc::clone(&loaded.plugin)) else { continue };
        let refused = refused.clone();
        polls.spawn(poll(Arc::clone(&shared), name.clone(), reference.clone(), every, plugin, refused));
    }
    match polls.join_next().await {
        Some(Ok(moved)) => moved,
        Some(Err(_)) | None => std::future::pending().await,
    }
}

async fn poll(
    config: Arc<Config>,
    plugin: Name,
    reference: Reference,
    every: Duration,
    running: Arc<Plugin>,
    refused: BTreeSet<Moved>,
) -> Moved {
    let mut failing = false;
    loop {
        // Not all nodes at once.
        let jitter = rand::rng().random_range(0.9..1.1);
        tokio::time::sleep(every.mul_f64(jitter)).await;
        let looked = look(&config, &reference).await;
        let Some(known) = running.provenance() else { return std::future::pending().await };
        // Whether the tag could be looked up is known better now than at the last reload.
        let stale = match &looked {
            Ok(digest) if *digest == known.digest => Some(None),
            Ok(_) => None,
            Err(error) => Some(Some(error.clone())),
        };
        if let Some(stale) = stale.filter(|stale| *stale != known.stale) {
            running.renew_provenance(Some(Arc::new(Provenance { stale, ..(*known).clone() })));
        }
        match looked {
            Ok(digest) if digest != known.digest => {
                let moved = Moved { plugin: plugin.clone(), digest };
                if !refused.contains(&moved) {
                    return moved;
                }
            }
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%plugin, %reference, error, "cannot look at a plugin's tag");
            }
            Ok(_) if failing => {
                failing = false;
                tracing::info!(%plugin, %reference, "a plugin's tag can be looked at again");
            }
            _ => {}
        }
    }
}

/// The digest that a tag has now. Credentials are read anew: tokens expire, and who renews them writes the file.
async fn look(config: &Config, reference: &Reference) -> Result<String, String> {
    let settings = settings(config, reference)?;
    let digest = weir_oci::resolve(reference, &settings).await;
    digest.map(|digest| digest.to_string()).map_err(|error| error.to_string())
}

fn open_cache(cache_dir: Option<&Path>) -> Option<Cache> {
    match Cache::open(&cache_dir?.join("artifacts")) {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::warn!(%error, "artefacts are not kept: each start needs their registries");
            None
        }
    }
}

/// Says what was fetched, as it is for the log.
fn told(name: &Name, role: Role, reference: &Reference, fetched: Fetched) -> Artifact {
    let Fetched { component, digest, key, origin, stale, .. } = fetched;
    let from = match origin {
        Origin::Registry => "registry",
        Origin::Cache => "cache",
    };
    let signed_by = key.as_deref().unwrap_or("nobody");
    let shadow = role == Role::Shadow;
    match &stale {
        None => {
            tracing::info!(plugin = %name, shadow, %reference, %digest, signed_by, from, "plugin resolved")
        }
        Some(why) => {
            tracing::warn!(
                plugin = %name, shadow, %reference, %digest, signed_by, why,
                "the tag of a plugin cannot be looked up; taking what it stood for last, from the cache"
            );
        }
    }
    let (reference, digest) = (reference.to_string(), digest.to_string());
    Artifact::Fetched { component, provenance: Arc::new(Provenance { reference, digest, key, from, stale }) }
}

fn fetch(
    config: &Config,
    plugin: &weir_config::Plugin,
    reference: &Reference,
    cache: Option<&Cache>,
) -> Result<Fetched, Problem> {
    let at = |key: &'static str| move |message: String| Problem { key, message };
    let keys = match config.signing(plugin, reference) {
        Wanted::By(file) => Some(read_keys(&file).map_err(at("verify"))?),
        Wanted::Unsigned => None,
        Wanted::Refused => return Err(at("artifact")("nobody says who has to have signed it".to_owned())),
    };
    let settings = settings(config, reference).map_err(at("artifact"))?;
    let signing = keys.as_deref().map_or(Signing::Unsigned, Signing::By);
    let wanted = weir_oci::Wanted { reference, settings: &settings, signing, max_bytes: MAX_ARTEFACT_BYTES };
    block_on(weir_oci::fetch(cache, wanted)).map_err(at("artifact"))?.map_err(|error| {
        let key = match error {
            FetchError::Signature(_) if plugin.verify.is_some() => "verify",
            _ => "artifact",
        };
        at(key)(error.to_string())
    })
}

/// How the registry of a reference is spoken to.
fn settings(config: &Config, reference: &Reference) -> Result<Settings, String> {
    let Some(registry) = config.registry(reference) else { return Ok(Settings::default()) };
    let ca = registry.ca.as_deref().map(read_file).transpose()?;
    let credential = match &registry.auth {
        None => None,
        Some(place) => {
            let text = place.read().map_err(|error| error.to_string())?;
            weir_oci::find_credential(&text, reference)
                .map_err(|error| format!("the auth of its registry: {error}"))?
        }
    };
    Ok(Settings { credential, ca, insecure: registry.insecure, timeout: registry.timeout })
}

/// All public keys of a file.
pub fn read_keys(path: &Path) -> Result<Vec<PublicKey>, String> {
    let text =
        String::from_utf8(read_file(path)?).map_err(|_| format!("{} is no PEM file", path.display()))?;
    PublicKey::all_from_pem(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// A file of a bounded length.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        Ok(count) if count as u64 > MAX_FILE_BYTES => Err(format!("{} is longer than 1 MiB", path.display())),
        Ok(_) => Ok(bytes),
    }
}

/// Runs it to its end on a runtime of its own.
pub fn block_on<F: Future>(future: F) -> Result<F::Output, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
    let result = runtime.block_on(future);
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    Ok(result)
}

/// Where docker keeps its configuration, if that is there.
pub fn docker_config() -> Option<PathBuf> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = given("DOCKER_CONFIG").or_else(|| Some(given("HOME")?.join(".docker")))?;
    Some(folder.join("config.json")).filter(|file| file.is_file())
}
