//! Plugins in registries: references, the standard WebAssembly artefact, signatures of cosign, a cache.
//!
//! 1. Nothing that a registry answers is believed: every manifest and blob is hashed and compared with what was asked
//!    for, and every answer has a bound.
//! 2. A signature counts only if a given key made it over the digest of the very manifest that is used.
//! 3. What lies in the cache is checked like what comes from a registry.
//!
//! Without the feature `client` the crate does no IO: it reads and writes the formats.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod credentials;
mod digest;
mod manifest;
mod reference;
mod statement;

#[cfg(feature = "client")]
mod body;
#[cfg(feature = "client")]
mod cache;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod error;
#[cfg(feature = "client")]
mod fetch;
#[cfg(feature = "client")]
mod key;
#[cfg(feature = "client")]
mod push;
#[cfg(feature = "client")]
mod token;
#[cfg(feature = "client")]
mod verify;

pub use credentials::{Credential, CredentialsError, find_credential};
pub use digest::{Digest, DigestError};
pub use manifest::{Component, Descriptor, Index, MAX_MANIFEST_BYTES, Manifest, ManifestError, wasm_config};
pub use reference::{Reference, ReferenceError, ReferencePrefix};
pub use statement::{Bundle, MAX_STATEMENT_BYTES, StatementError, check_simple_signing};

#[cfg(feature = "client")]
pub use cache::{Cache, CacheError};
#[cfg(feature = "client")]
pub use client::{Client, Settings};
#[cfg(feature = "client")]
pub use error::Error;
#[cfg(feature = "client")]
pub use fetch::{FetchError, Fetched, Origin, Signing, Wanted, fetch, resolve};
#[cfg(feature = "client")]
pub use key::{KeyError, PublicKey};
#[cfg(feature = "client")]
pub use push::push;
#[cfg(feature = "client")]
pub use verify::{Evidence, Verified, VerifyError, verify};
