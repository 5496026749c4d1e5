//! Object stores, behind buffers and of archives: whose objects they are, and how a store is spoken to.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use weir_buffer::disk::Objects;
use weir_buffer::object::{Listing, Object, ObjectError, ObjectErrorKind, ObjectStore, Put};
use weir_buffer::presence::{Presence, Settings as PresenceSettings};
use weir_config::{Bucket as ConfiguredBucket, Config, ObjectStore as Configured, Secret};
use weir_object::{Keys, S3, Settings};

use crate::artifacts::read_file;

/// Where an agent's name for itself lies: the same over all its runs, and no other agent's.
const IDENTITY: &str = "identity";

/// How long a read waits to hear that this agent is known to live.
const PRESENCE_PATIENCE: Duration = Duration::from_secs(5);

/// Stores that were configured, each spoken to by one client, and what the agent is called there.
pub struct Stores {
    identity: String,
    runtime: Handle,
    known: Vec<(ConfiguredBucket, Arc<Bucket>)>,
    /// One for each folder of a bucket, however many buffers lie there.
    presences: Vec<Known>,
    /// Whether the checkpoints name all that is safe.
    knows_all: bool,
    /// Whether an earlier run had the same identity.
    has_run: bool,
}

/// This agent in one folder.
struct Known {
    endpoint: String,
    bucket: String,
    prefix: String,
    presence: Arc<Presence>,
}

/// A bucket that is spoken to when somebody wants something of it: a store that is away keeps no agent from starting.
pub struct Bucket {
    configured: ConfiguredBucket,
    runtime: Handle,
    /// Made of keys as they were read; dropped when the store refuses something, since they may have been replaced.
    client: Mutex<Option<Arc<S3>>>,
}

// === impl Stores ===

impl Stores {
    /// None yet. Makes the agent's identity where it has none.
    pub fn new(data_dir: &Path, knows_all: bool) -> io::Result<Stores> {
        let (known, presences) = Default::default();
        let has_run = std::fs::exists(data_dir.join(IDENTITY))?;
        Ok(Stores {
            identity: identity(data_dir)?,
            runtime: runtime()?,
            known,
            presences,
            knows_all,
            has_run,
        })
    }

    /// Whether an earlier run had the same identity.
    pub fn has_run(&self) -> bool {
        self.has_run
    }

    /// This agent, as other agents see it in the store of a buffer.
    pub fn presence(&mut self, wanted: &WantedStore) -> Arc<Presence> {
        let ConfiguredBucket { endpoint, name: bucket, .. } = &wanted.configured.bucket;
        let is_known = |known: &&Known| {
            known.endpoint == *endpoint && known.bucket == *bucket && known.prefix == wanted.prefix
        };
        if let Some(known) = self.presences.iter().find(is_known) {
            return Arc::clone(&known.presence);
        }
        let began = Instant::now();
        let settings = PresenceSettings {
            folder: format!("{}/{}/", wanted.prefix, self.identity),
            identity: self.identity.clone(),
            cluster: wanted.cluster.clone(),
            node: wanted.node.clone(),
            gone_after: wanted.configured.gone_after,
            knows_all: self.knows_all,
            patience: PRESENCE_PATIENCE,
            clock: Arc::new(move || began.elapsed()),
        };
        let presence = Presence::new(self.bucket(&wanted.configured.bucket), settings);
        let (endpoint, bucket, prefix) = (endpoint.clone(), bucket.clone(), wanted.prefix.clone());
        self.presences.push(Known { endpoint, bucket, prefix, presence: Arc::clone(&presence) });
        presence
    }

    /// The store of a buffer.
    pub fn bucket(&mut self, configured: &ConfiguredBucket) -> Arc<Bucket> {
        if let Some((_, bucket)) = self.known.iter().find(|(known, _)| known == configured) {
            return Arc::clone(bucket);
        }
        let bucket = Arc::new(Bucket::new(configured, &self.runtime));
        self.known.push((configured.clone(), Arc::clone(&bucket)));
        bucket
    }

    /// Where a sink's objects lie.
    pub fn objects(&mut self, sink: &str, wanted: &WantedStore) -> Objects {
        let folder = format!("{}/{}/segments/{sink}/", wanted.prefix, self.identity);
        let most = wanted.configured.max_size.map(|size| size.bytes());
        let presence = self.presence(wanted);
        Objects::new(self.bucket(&wanted.configured.bucket), folder, most).shared(presence)
    }
}

/// The object store of a buffer, as it is configured for this agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedStore {
    /// As it was written.
    pub configured: Configured,
    /// What all keys begin with.
    pub prefix: String,
    /// What the keys of those begin with from whom it takes over.
    pub adopt: Option<String>,
    /// This agent's cluster.
    pub cluster: String,
    /// This agent's node.
    pub node: String,
}

// === impl WantedStore ===

impl WantedStore {
    /// Fills in what the configuration leaves to each agent.
    pub fn new(config: &Config, configured: &Configured) -> WantedStore {
        let (cluster, node) = (config.cluster.clone(), config.node.clone());
        let fill = |text: &str| text.replace("{cluster}", &cluster).replace("{node}", &node);
        let prefix = fill(&configured.prefix);
        let adopt = match &configured.adopt {
            Some(root) => Some(format!("{}/", fill(root))),
            // All nodes that share the prefix but for its node.
            None => configured.prefix.split_once("{node}").map(|(before, _)| fill(before)),
        };
        WantedStore { configured: configured.clone(), prefix, adopt, cluster, node }
    }
}

/// Requests go on while the agent's own runtime ends: what waits for one must not fail for that. There is one, which ends
/// with the process.
pub fn runtime() -> io::Result<Handle> {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.clone());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("objects")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| Box::leak(Box::new(runtime)).handle().clone()).clone())
}

fn identity(data_dir: &Path) -> io::Result<String> {
    let path = data_dir.join(IDENTITY);
    match std::fs::read_to_string(&path) {
        Ok(text) if is_identity(text.trim_end()) => return Ok(text.trim_end().to_owned()),
        Ok(_) => tracing::warn!(path = %path.display(), "this is no identity; making another"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let made = format!("{:032x}", rand::random::<u128>());
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(format!("{made}\n").as_bytes())?;
    file.sync_all()?;
    File::open(data_dir)?.sync_all()?;
    Ok(made)
}

fn is_identity(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

// === impl Bucket ===

impl Bucket {
    /// Nothing is sent yet.
    pub fn new(configured: &ConfiguredBucket, runtime: &Handle) -> Bucket {
        Bucket { configured: configured.clone(), runtime: runtime.clone(), client: Mutex::default() }
    }

    fn client(&self) -> Result<Arc<S3>, ObjectError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let store = &self.configured;
        let refused = |message: String| ObjectError { kind: ObjectErrorKind::Refused, message };
        let place = format!("cannot use the bucket {} at {}", store.name, store.endpoint);
        let secret = |key: &str, of: &Secret| {
            of.read().map_err(|error| refused(format!("{place}: its {key}: {error}")))
        };
        let ca = store.ca.as_deref().map(read_file).transpose();
        let settings = Settings {
            endpoint: store.endpoint.clone(),
            bucket: store.name.clone(),
            region: store.region.clone(),
            path_style: store.path_style,
            ca: ca.map_err(|reason| refused(format!("{place}: its ca: {reason}")))?,
            keys: match &store.keys {
                Some(keys) => Some(Keys {
                    access_key: secret("access_key", &keys.access_key)?,
                    secret_key: secret("secret_key", &keys.secret_key)?,
                }),
                None => None,
            },
        };
        let made = Arc::new(S3::new(settings, self.runtime.clone())?);
        made.check(store.create)?;
        *client = Some(Arc::clone(&made));
        Ok(made)
    }

    fn ask<T>(&self, ask: impl FnOnce(&S3) -> Result<T, ObjectError>) -> Result<T, ObjectError> {
        let client = self.client()?;
        let answer = ask(&client);
        if answer.as_ref().is_err_and(|error| error.kind == ObjectErrorKind::Refused) {
            let mut known = self.client.lock().unwrap_or_else(PoisonError::into_inner);
            if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, &client)) {
                *known = None;
            }
        }
        answer
    }
}

impl ObjectStore for Bucket {
    fn put_if_absent(&self, key: &str, bytes: Vec<u8>) -> Result<Put, ObjectError> {
        self.ask(|client| client.put_if_absent(key, bytes))
    }

    fn put_if_match(&self, key: &str, bytes: Vec<u8>, etag: &str) -> Result<Put, ObjectError> {
        self.ask(|client| client.put_if_match(key, bytes, etag))
    }

    fn get(&self, key: &str, limit: u64) -> Result<Object, ObjectError> {
        self.ask(|client| client.get(key, limit))
    }

    fn get_range(&self, key: &str, offset: u64, length: usize) -> Result<Vec<u8>, ObjectError> {
        self.ask(|client| client.get_range(key, offset, length))
    }

    fn delete(&self, key: &str) -> Result<(), ObjectError> {
        self.ask(|client| client.delete(key))
    }

    fn list(&self, prefix: &str, after: Option<&str>, fold: bool) -> Result<Listing, ObjectError> {
        self.ask(|client| client.list(prefix, after, fold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let made = identity(folder.path()).unwrap();
        assert!(is_identity(&made));
        assert_eq!(identity(folder.path()).unwrap(), made);
        std::fs::write(folder.path().join(IDENTITY), "../elsewhere").unwrap();
        assert!(is_identity(&identity(folder.path()).unwrap()));
    }
}
