//! A plugin from its reference to its verified bytes: resolve, verify, fetch, keep.
//!
//! 1. A tag is resolved once; everything behind it goes by the digest that it had then.
//! 2. Nothing is kept, and no tag remembered, before the signature was found good.
//! 3. What is in the cache needs no registry. A tag whose registry is down stands for what it stood for last.

use std::sync::Arc;

use crate::cache::Cache;
use crate::client::{Client, Settings};
use crate::digest::Digest;
use crate::error::Error;
use crate::key::PublicKey;
use crate::manifest::Manifest;
use crate::reference::Reference;
use crate::verify::{self, VerifyError};

/// Which artefacts are taken.
#[derive(Clone, Copy, Debug)]
pub enum Signing<'a> {
    /// Those that one of these keys signed.
    By(&'a [PublicKey]),
    /// All.
    Unsigned,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Where it is.
    pub reference: &'a Reference,
    /// How the registry is spoken to.
    pub settings: &'a Settings,
    /// Whether it is taken.
    pub signing: Signing<'a>,
    /// No component is larger, in bytes.
    pub max_bytes: usize,
}

/// Where the bytes came from this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The registry.
    Registry,
    /// The cache.
    Cache,
}

/// A component that may be used.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its bytes.
    pub component: Arc<[u8]>,
    /// The digest of its manifest, by which it is pinned.
    pub digest: Digest,
    /// The digest of its bytes.
    pub layer: Digest,
    /// The fingerprint of the key that signed it, where a signature was asked for.
    pub key: Option<String>,
    /// Where it came from.
    pub origin: Origin,
    /// Why the tag was not resolved anew; it then stands for what it stood for last.
    pub stale: Option<String>,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The registry does not give it.
    #[error("{0}")]
    Registry(#[from] Error),
    /// The registry does not give it, and it was never had before.
    #[error("{0}; and it is not in the cache from an earlier time")]
    NotCached(Error),
    /// It is not signed as it should be.
    #[error("{0}")]
    Signature(#[from] VerifyError),
}

/// The component that is wanted, from the cache or the registry.
pub async fn fetch(cache: Option<&Cache>, wanted: Wanted<'_>) -> Result<Fetched, FetchError> {
    let client = Client::new(wanted.reference, wanted.settings)?;
    let work = Work { cache, client: &client, wanted };
    let Resolved { digest, manifest, stale } = work.resolve().await?;
    let manifest = match manifest {
        Some(manifest) => manifest,
        None => work.blob(digest, || client.manifest(digest)).await?.0,
    };
    let component =
        Manifest::parse(&manifest).and_then(|manifest| manifest.component()).map_err(Error::from)?;
    let verified = work.verify(digest, &manifest).await?;
    let limit = wanted.max_bytes;
    if component.size > limit as u64 {
        let what = format!("the component of {}", wanted.reference);
        return Err(Error::TooLarge { what, limit }.into());
    }
    let (bytes, origin) = work.blob(component.digest, || client.blob(component.digest, limit)).await?;
    if let Some(cache) = cache {
        cache.put(digest, &manifest);
        cache.put(component.digest, &bytes);
        if let Some(evidence) = verified.as_ref().and_then(|verified| verified.new.as_ref()) {
            cache.put_evidence(digest, evidence);
        }
        if stale.is_none() {
            cache.remember(wanted.reference, digest);
        }
    }
    let key = verified.map(|verified| verified.key);
    Ok(Fetched { component: bytes.into(), digest, layer: component.digest, key, origin, stale })
}

/// What a reference stands for now. Only the registry is asked.
pub async fn resolve(reference: &Reference, settings: &Settings) -> Result<Digest, Error> {
    let client = Client::new(reference, settings)?;
    match reference.digest() {
        Some(digest) => Ok(digest),
        None => Ok(tagged(&client, reference).await?.1),
    }
}

async fn tagged(client: &Client, reference: &Reference) -> Result<(Vec<u8>, Digest), Error> {
    let tag = reference.tag().unwrap_or_default();
    let found = client.tagged(tag).await?;
    found.ok_or_else(|| Error::NotFound {
        registry: client.registry().to_owned(),
        what: format!("{}:{tag}", reference.repository()),
    })
}

struct Work<'a> {
    cache: Option<&'a Cache>,
    client: &'a Client,
    wanted: Wanted<'a>,
}

struct Resolved {
    digest: Digest,
    manifest: Option<Vec<u8>>,
    stale: Option<String>,
}

struct Proof {
    key: String,
    /// What is not in the cache yet.
    new: Option<verify::Evidence>,
}

// === impl Work ===

impl Work<'_> {
    async fn resolve(&self) -> Result<Resolved, FetchError> {
        let reference = self.wanted.reference;
        if let Some(digest) = reference.digest() {
            return Ok(Resolved { digest, manifest: None, stale: None });
        }
        match tagged(self.client, reference).await {
            Ok((manifest, digest)) => Ok(Resolved { digest, manifest: Some(manifest), stale: None }),
            Err(error) if error.is_unavailable() => {
                let Some(cache) = self.cache else { return Err(error.into()) };
                match cache.remembered(reference) {
                    Some(digest) => Ok(Resolved { digest, manifest: None, stale: Some(error.to_string()) }),
                    None => Err(FetchError::NotCached(error)),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A blob or manifest from the cache, else from the registry.
    async fn blob<F>(&self, digest: Digest, ask: impl FnOnce() -> F) -> Result<(Vec<u8>, Origin), FetchError>
    where
        F: Future<Output = Result<Vec<u8>, Error>>,
    {
        if let Some(bytes) = self.cache.and_then(|cache| cache.get(digest)) {
            return Ok((bytes, Origin::Cache));
        }
        match ask().await {
            Ok(bytes) => Ok((bytes, Origin::Registry)),
            Err(error) if error.is_unavailable() && self.cache.is_some() => Err(FetchError::NotCached(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// A signature that lies in the cache is verified with the keys of now, as one from the registry is.
    async fn verify(&self, digest: Digest, manifest: &[u8]) -> Result<Option<Proof>, FetchError> {
        let Signing::By(keys) = self.wanted.signing else { return Ok(None) };
        let kept = self.cache.and_then(|cache| cache.evidence(digest));
        if let Some(key) = kept.and_then(|evidence| evidence.verify(manifest, keys)) {
            return Ok(Some(Proof { key, new: None }));
        }
        let verified = verify::verify(self.client, manifest, keys).await?;
        Ok(Some(Proof { key: verified.key, new: Some(verified.evidence) }))
    }
}
