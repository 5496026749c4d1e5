//! Public keys as `cosign generate-key-pair` writes them: PEM of ECDSA P-256 or Ed25519, one or several in a file.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha512};

use crate::digest::Digest;

const BEGIN: &str = "-----BEGIN ";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
/// Old keys are kept beside the new one while artefacts are signed anew.
const MAX_KEYS: usize = 16;

/// The DER of a SubjectPublicKeyInfo before the key itself: what it is and for which curve is all in there.
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P256_KEY_BYTES: usize = 65;
const ED25519_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key that signatures are held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    key: Key,
    fingerprint: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// A point that is not compressed.
    P256([u8; P256_KEY_BYTES]),
    Ed25519(VerifyingKey),
}

/// Why a file gives no keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It holds none.
    #[error("it holds no public key in PEM; cosign.pub of cosign generate-key-pair is one")]
    NoKey,
    /// It holds a private one.
    #[error("it holds a private key, which is not needed here and belongs elsewhere; give the public one")]
    Private,
    /// It is cut or damaged.
    #[error("a key in it is cut or not base64")]
    Damaged,
    /// It is of another kind.
    #[error("a key in it is neither ECDSA P-256 nor Ed25519")]
    Kind,
    /// It holds too many.
    #[error("it holds more than {MAX_KEYS} keys")]
    Many,
}

// === impl PublicKey ===

impl PublicKey {
    /// All keys of a PEM file; at least one.
    pub fn all_from_pem(pem: &str) -> Result<Vec<PublicKey>, KeyError> {
        let mut keys = Vec::new();
        let mut rest = pem;
        while let Some(at) = rest.find(BEGIN) {
            let block = rest.get(at..).unwrap_or_default();
            let Some(inner) = block.strip_prefix(PUBLIC) else {
                let title = block.lines().next().unwrap_or_default();
                return Err(if title.contains("PRIVATE KEY") { KeyError::Private } else { KeyError::Kind });
            };
            let (base64, behind) = inner.split_once(END).ok_or(KeyError::Damaged)?;
            let base64: String = base64.split_ascii_whitespace().collect();
            keys.push(PublicKey::from_der(&STANDARD.decode(base64).map_err(|_| KeyError::Damaged)?)?);
            if keys.len() > MAX_KEYS {
                return Err(KeyError::Many);
            }
            rest = behind;
        }
        if keys.is_empty() { Err(KeyError::NoKey) } else { Ok(keys) }
    }

    fn from_der(der: &[u8]) -> Result<PublicKey, KeyError> {
        let p256 = der.strip_prefix(&P256_HEAD).and_then(|key| key.try_into().ok()).map(Key::P256);
        let ed25519 = || {
            let key = der.strip_prefix(&ED25519_HEAD)?.try_into().ok()?;
            VerifyingKey::from_bytes(key).ok().map(Key::Ed25519)
        };
        let key = p256.or_else(ed25519).ok_or(KeyError::Kind)?;
        Ok(PublicKey { key, fingerprint: Digest::of(der) })
    }

    /// The SHA-256 of the key's DER, by which people tell keys apart.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.to_string()
    }

    /// Whether this key made the signature over these bytes. With Ed25519, cosign signs the bytes or their SHA-512,
    /// which no signature can be mistaken for the other of.
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Key::P256(key) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(signed, signature).is_ok()
            }
            Key::Ed25519(key) => {
                let Ok(signature) = Signature::from_slice(signature) else { return false };
                let hashed = Sha512::new().chain_update(signed);
                key.verify_strict(signed, &signature).is_ok()
                    || key.verify_prehashed_strict(hashed, None, &signature).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    fn pem(head: &[u8], key: &[u8]) -> String {
        format!("{PUBLIC}\n{}\n{END}\n", STANDARD.encode([head, key].concat()))
    }

    #[test]
    fn both_kinds_verify_their_own_signatures_alone() {
        let random = SystemRandom::new();
        let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let ed25519 = SigningKey::from_bytes(&[7; 32]);
        let file = pem(&P256_HEAD, ecdsa.public_key().as_ref())
            + &pem(&ED25519_HEAD, ed25519.verifying_key().as_bytes());
        let keys = PublicKey::all_from_pem(&file).unwrap();
        let by_ecdsa = ecdsa.sign(&random, b"signed").unwrap();
        let by_ed25519 = ed25519.sign(b"signed").to_bytes();
        let hashed = Sha512::new().chain_update(b"signed");
        let over_hash = ed25519.sign_prehashed(hashed, None).unwrap().to_bytes();
        for (signature, expected) in [
            (by_ecdsa.as_ref(), [true, false]),
            (&by_ed25519[..], [false, true]),
            (&over_hash[..], [false, true]),
        ] {
            let verified: Vec<bool> = keys.iter().map(|key| key.verifies(b"signed", signature)).collect();
            assert_eq!(verified, expected);
            assert!(keys.iter().all(|key| !key.verifies(b"signee", signature)));
            let cut = &signature[..signature.len() - 1];
            assert!(keys.iter().all(|key| !key.verifies(b"signed", cut) && !key.verifies(b"signed", b"")));
        }
        assert_ne!(keys[0].fingerprint(), keys[1].fingerprint());
    }

    #[test]
    fn other_files_are_refused_with_a_reason() {
        let key = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        for (text, expected) in [
            ("", KeyError::NoKey),
            ("ssh-ed25519 AAAA", KeyError::NoKey),
            (&key("ENCRYPTED SIGSTORE PRIVATE KEY"), KeyError::Private),
            (&key("EC PRIVATE KEY"), KeyError::Private),
            (&key("CERTIFICATE"), KeyError::Kind),
            (&key("PUBLIC KEY"), KeyError::Kind),
            (&key("PUBLIC KEY").replace("AAAA", "?"), KeyError::Damaged),
            (PUBLIC, KeyError::Damaged),
            (&pem(&P256_HEAD, &[4; 64]), KeyError::Kind),
            (
                &pem(&ED25519_HEAD, SigningKey::from_bytes(&[7; 32]).verifying_key().as_bytes()).repeat(17),
                KeyError::Many,
            ),
        ] {
            assert_eq!(PublicKey::all_from_pem(text), Err(expected), "{text}");
        }
    }
}
