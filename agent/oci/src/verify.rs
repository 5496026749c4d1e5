//! Signatures of cosign by a key, in both places where they lie: behind the tag `sha256-….sig`, and as bundles among
//! the referrers, which registries without that interface list behind the tag `sha256-…`.
//!
//! 1. One good signature by one of the keys is enough. Whatever cannot be read, fetched or verified is no signature.
//! 2. What was verified is returned as it came, so that it can be verified again without the registry.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::digest::Digest;
use crate::error::Error;
use crate::key::PublicKey;
use crate::manifest::{Descriptor, Index, Manifest};
use crate::statement::{Bundle, MAX_STATEMENT_BYTES, StatementError, check_simple_signing};

/// In each of the two places. Who may push may sign in vain, but not keep us busy for long.
const MAX_CANDIDATES: usize = 32;
/// Shown of those that were in vain.
const SHOWN_REASONS: usize = 3;

const SIMPLE_SIGNING_LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// A signature as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Evidence {
    /// Behind the tag: the payload as text, the signature in base64.
    SimpleSigning {
        /// What is signed.
        payload: String,
        /// The signature.
        signature: String,
    },
    /// A bundle, as text.
    Bundle(String),
}

/// A signature that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The fingerprint of the key that made it.
    pub key: String,
    /// The signature.
    pub evidence: Evidence,
}

/// Why an artefact is not taken for signed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is nothing to verify.
    #[error("it is not signed: there is neither the tag {tag}.sig nor a bundle among its referrers")]
    NotSigned {
        /// The tag that bundles are listed behind.
        tag: String,
    },
    /// There are signatures, none of them good.
    #[error("none of its {count} signatures is good: {}", reasons.join("; "))]
    NoneGood {
        /// How many were looked at.
        count: usize,
        /// What is wrong with the first of them.
        reasons: Vec<String>,
    },
    /// They could not be fetched.
    #[error("its signatures cannot be had: {0}")]
    Registry(#[from] Error),
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("{0}")]
    Statement(#[from] StatementError),
    #[error("it is not by any of the given keys")]
    Key,
    #[error("{0}")]
    Fetch(#[from] Error),
}

/// Looks for a signature of this manifest by one of the keys.
pub async fn verify(client: &Client, manifest: &[u8], keys: &[PublicKey]) -> Result<Verified, VerifyError> {
    let digest = Digest::of(manifest);
    let mut search = Search { client, manifest, digest, keys, count: 0, reasons: Vec::new(), failed: None };
    if let Some(verified) = search.behind_tag().await {
        return Ok(verified);
    }
    if let Some(verified) = search.among_referrers().await {
        return Ok(verified);
    }
    match (search.failed, search.count) {
        // What could not be asked might have been the answer.
        (Some(error), _) => Err(VerifyError::Registry(error)),
        (None, 0) => Err(VerifyError::NotSigned { tag: fallback_tag(digest) }),
        (None, count) => Err(VerifyError::NoneGood { count, reasons: search.reasons }),
    }
}

struct Search<'a> {
    client: &'a Client,
    manifest: &'a [u8],
    digest: Digest,
    keys: &'a [PublicKey],
    count: usize,
    reasons: Vec<String>,
    failed: Option<Error>,
}

// === impl Search ===

impl Search<'_> {
    async fn behind_tag(&mut self) -> Option<Verified> {
        let tag = format!("{}.sig", fallback_tag(self.digest));
        let (bytes, _) = self.asked(self.client.tagged(&tag).await)??;
        let manifest = match Manifest::parse(&bytes) {
            Ok(manifest) => manifest,
            Err(error) => {
                self.in_vain(Error::from(error).into());
                return None;
            }
        };
        let layers = manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE_SIGNING_LAYER);
        for layer in layers.take(MAX_CANDIDATES) {
            let Some(signature) = layer.annotations.get(SIGNATURE_ANNOTATION) else { continue };
            let payload = match self.blob(layer).await {
                Ok(payload) => payload,
                Err(reason) => {
                    self.in_vain(reason);
                    continue;
                }
            };
            let evidence = Evidence::SimpleSigning { payload, signature: signature.clone() };
            if let Some(verified) = self.hold(evidence) {
                return Some(verified);
            }
        }
        None
    }

    /// A registry that learned to list referrers may still have older ones behind the tag.
    async fn among_referrers(&mut self) -> Option<Verified> {
        if let Some(index) = self.asked(self.client.referrers(self.digest).await).flatten()
            && let Some(verified) = self.listed(&index).await
        {
            return Some(verified);
        }
        let (index, _) = self.asked(self.client.tagged(&fallback_tag(self.digest)).await)??;
        self.listed(&index).await
    }

    async fn listed(&mut self, index: &[u8]) -> Option<Verified> {
        let index = match Index::parse(index) {
            Ok(index) => index,
            Err(error) => {
                self.in_vain(Error::from(error).into());
                return None;
            }
        };
        for entry in index.manifests.iter().filter(|entry| may_be_bundle(entry)).take(MAX_CANDIDATES) {
            match self.bundle(entry).await {
                Ok(Some(bundle)) => {
                    if let Some(verified) = self.hold(Evidence::Bundle(bundle)) {
                        return Some(verified);
                    }
                }
                // Referrers may be anything.
                Ok(None) => {}
                Err(reason) => self.in_vain(reason),
            }
        }
        None
    }

    /// The bundle that an entry of the index leads to, if it leads to one.
    async fn bundle(&mut self, entry: &Descriptor) -> Result<Option<String>, Reason> {
        let Ok(digest) = entry.digest.parse() else { return Ok(None) };
        let bytes = self.client.manifest(digest).await?;
        let Ok(manifest) = Manifest::parse(&bytes) else { return Ok(None) };
        match manifest.layers.as_slice() {
            [layer] if layer.media_type.starts_with(BUNDLE_TYPE) => self.blob(layer).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn blob(&self, layer: &Descriptor) -> Result<String, Reason> {
        let digest = layer.digest.parse().map_err(|_| StatementError::Base64("digest"));
        let bytes = self.client.blob(digest?, MAX_STATEMENT_BYTES).await?;
        String::from_utf8(bytes).map_err(|_| Reason::Statement(StatementError::Base64("text")))
    }

    /// Holds a signature against the keys.
    fn hold(&mut self, evidence: Evidence) -> Option<Verified> {
        match evidence.hold(self.manifest, self.digest, self.keys) {
            Ok(key) => {
                let key = key.fingerprint();
                Some(Verified { key, evidence })
            }
            Err(reason) => {
                self.in_vain(reason);
                None
            }
        }
    }

    /// What is not there is an answer; what cannot be asked is kept for the end.
    fn asked<T>(&mut self, answer: Result<T, Error>) -> Option<T> {
        match answer {
            Ok(found) => Some(found),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }

    fn in_vain(&mut self, reason: Reason) {
        match reason {
            Reason::Fetch(error) if error.is_unavailable() => {
                self.failed.get_or_insert(error);
            }
            reason => {
                self.count += 1;
                if self.reasons.len() < SHOWN_REASONS {
                    self.reasons.push(reason.to_string());
                }
            }
        }
    }
}

// === impl Evidence ===

impl Evidence {
    /// The fingerprint of the key by which this is a signature of this manifest, if it is.
    pub fn verify(&self, manifest: &[u8], keys: &[PublicKey]) -> Option<String> {
        self.hold(manifest, Digest::of(manifest), keys).ok().map(PublicKey::fingerprint)
    }

    fn hold<'k>(
        &self,
        manifest: &[u8],
        digest: Digest,
        keys: &'k [PublicKey],
    ) -> Result<&'k PublicKey, Reason> {
        let found = match self {
            Evidence::SimpleSigning { payload, signature } => {
                check_simple_signing(payload.as_bytes(), digest)?;
                let signature =
                    STANDARD.decode(signature.trim()).map_err(|_| StatementError::Base64("signature"))?;
                keys.iter().find(|key| key.verifies(payload.as_bytes(), &signature))
            }
            Evidence::Bundle(text) => {
                let bundle = Bundle::parse(text.as_bytes())?;
                bundle.check(digest)?;
                let signed = bundle.signed(manifest);
                let by = |key: &&PublicKey| bundle.signatures().iter().any(|one| key.verifies(&signed, one));
                keys.iter().find(by)
            }
        };
        found.ok_or(Reason::Key)
    }
}

/// Some registries list bundles by the type of their empty configuration.
fn may_be_bundle(entry: &Descriptor) -> bool {
    let kind = entry.artifact_type.as_deref();
    kind.is_none_or(|kind| kind.starts_with(BUNDLE_TYPE) || kind == EMPTY_TYPE)
}

/// The tag that stands for a digest: `sha256-…`.
fn fallback_tag(digest: Digest) -> String {
    format!("sha256-{}", digest.hex())
}
