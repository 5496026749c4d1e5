//! What a signature of cosign says, in both of its forms: the simple-signing payload and the Sigstore bundle.
//!
//! Invariant: what is signed names the manifest's digest and says that it is a signature. An attestation (a list of
//! parts, a scan's result) by the same key is none.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::digest::Digest;

/// No payload and no bundle is longer; those of cosign have one to three KiB.
pub const MAX_STATEMENT_BYTES: usize = 64 << 10;
/// Of one envelope; cosign makes one.
const MAX_SIGNATURES: usize = 8;

const SIMPLE_SIGNING: &str = "cosign container image signature";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const IN_TOTO: &str = "application/vnd.in-toto+json";
const STATEMENTS: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
const SIGNATURE_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// Why something is no signature of a manifest.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// It is longer than one.
    #[error("it is longer than {} KiB", MAX_STATEMENT_BYTES / 1024)]
    TooLong,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A part of it is not base64.
    #[error("its {0} is not base64")]
    Base64(&'static str),
    /// It says something else.
    #[error("it is of the type {found:.80?}, not {wanted:?}")]
    Type {
        /// What it is.
        found: String,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// It is about something else.
    #[error("it is of another artefact: {found:.80}")]
    OtherArtefact {
        /// The digest that it is about.
        found: String,
    },
    /// It holds no signature.
    #[error("it holds no signature, or more than {MAX_SIGNATURES}")]
    NoSignature,
}

#[derive(Deserialize)]
struct SimpleSigning {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Whether a simple-signing payload is a signature of this manifest. The name of the repository in it is not looked
/// at: a copy of an artefact is as good as the artefact.
pub fn check_simple_signing(payload: &[u8], manifest: Digest) -> Result<(), StatementError> {
    check_length(payload)?;
    let payload: SimpleSigning = serde_json::from_slice(payload)?;
    check_type(payload.critical.kind, SIMPLE_SIGNING)?;
    check_digest(payload.critical.image.digest, manifest)
}

/// A Sigstore bundle, as far as it matters for a signature by a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bundle {
    /// A statement in an envelope.
    Envelope {
        /// The type of the payload.
        payload_type: String,
        /// The statement.
        payload: Vec<u8>,
        /// Over [`Bundle::signed`].
        signatures: Vec<Vec<u8>>,
    },
    /// A signature over the manifest's own bytes.
    Message {
        /// The signature.
        signature: Vec<u8>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBundle {
    media_type: String,
    #[serde(default)]
    dsse_envelope: Option<RawEnvelope>,
    #[serde(default)]
    message_signature: Option<RawMessage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<RawSignature>,
}

#[derive(Deserialize)]
struct RawSignature {
    sig: String,
}

#[derive(Deserialize)]
struct RawMessage {
    signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: std::collections::BTreeMap<String, String>,
}

// === impl Bundle ===

impl Bundle {
    /// Reads a bundle.
    pub fn parse(bytes: &[u8]) -> Result<Bundle, StatementError> {
        check_length(bytes)?;
        let raw: RawBundle = serde_json::from_slice(bytes)?;
        if !raw.media_type.starts_with(BUNDLE) {
            return Err(StatementError::Type { found: raw.media_type, wanted: BUNDLE });
        }
        match (raw.dsse_envelope, raw.message_signature) {
            (Some(envelope), None) => {
                if envelope.signatures.is_empty() || envelope.signatures.len() > MAX_SIGNATURES {
                    return Err(StatementError::NoSignature);
                }
                let signatures = envelope.signatures.iter().map(|one| decode(&one.sig, "signature"));
                Ok(Bundle::Envelope {
                    payload: decode(&envelope.payload, "payload")?,
                    signatures: signatures.collect::<Result<_, _>>()?,
                    payload_type: envelope.payload_type,
                })
            }
            (None, Some(message)) => {
                Ok(Bundle::Message { signature: decode(&message.signature, "signature")? })
            }
            _ => Err(StatementError::NoSignature),
        }
    }

    /// Whether it is a signature of this manifest. Of a message the signature itself says that.
    pub fn check(&self, manifest: Digest) -> Result<(), StatementError> {
        let Bundle::Envelope { payload_type, payload, .. } = self else { return Ok(()) };
        check_type(payload_type.clone(), IN_TOTO)?;
        let statement: Statement = serde_json::from_slice(payload)?;
        if !STATEMENTS.contains(&statement.kind.as_str()) {
            return Err(StatementError::Type {
                found: statement.kind,
                wanted: "https://in-toto.io/Statement/v1",
            });
        }
        check_type(statement.predicate_type, SIGNATURE_PREDICATE)?;
        let digests: Vec<&String> =
            statement.subject.iter().filter_map(|subject| subject.digest.get("sha256")).collect();
        if digests.iter().any(|digest| **digest == manifest.hex()) {
            return Ok(());
        }
        let found = digests.first().map_or_else(|| "none".to_owned(), |digest| format!("sha256:{digest}"));
        Err(StatementError::OtherArtefact { found })
    }

    /// The bytes that each signature is over.
    pub fn signed(&self, manifest: &[u8]) -> Vec<u8> {
        match self {
            Bundle::Envelope { payload_type, payload, .. } => {
                let (kind, length) = (payload_type.len(), payload.len());
                let mut signed = format!("DSSEv1 {kind} {payload_type} {length} ").into_bytes();
                signed.extend_from_slice(payload);
                signed
            }
            Bundle::Message { .. } => manifest.to_vec(),
        }
    }

    /// The signatures; one good one is enough.
    pub fn signatures(&self) -> &[Vec<u8>] {
        match self {
            Bundle::Envelope { signatures, .. } => signatures,
            Bundle::Message { signature } => std::slice::from_ref(signature),
        }
    }
}

fn check_length(bytes: &[u8]) -> Result<(), StatementError> {
    if bytes.len() > MAX_STATEMENT_BYTES { Err(StatementError::TooLong) } else { Ok(()) }
}

fn check_type(found: String, wanted: &'static str) -> Result<(), StatementError> {
    if found == wanted { Ok(()) } else { Err(StatementError::Type { found, wanted }) }
}

fn check_digest(found: String, manifest: Digest) -> Result<(), StatementError> {
    if found == manifest.to_string() { Ok(()) } else { Err(StatementError::OtherArtefact { found }) }
}

fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, StatementError> {
    STANDARD.decode(text).map_err(|_| StatementError::Base64(what))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn payload(digest: &str, kind: &str) -> Vec<u8> {
        let critical = json!({
            "identity": {"docker-reference": "registry.example/a"},
            "image": {"docker-manifest-digest": digest},
            "type": kind,
        });
        json!({"critical": critical, "optional": null}).to_string().into_bytes()
    }

    fn bundle(statement: &Value) -> Vec<u8> {
        let envelope = json!({
            "payload": STANDARD.encode(statement.to_string()),
            "payloadType": IN_TOTO,
            "signatures": [{"sig": STANDARD.encode("s")}],
        });
        json!({"mediaType": format!("{BUNDLE}.v0.3+json"), "dsseEnvelope": envelope}).to_string().into_bytes()
    }

    fn statement(hex: &str, predicate: &str) -> Value {
        json!({
            "_type": STATEMENTS[0],
            "predicateType": predicate,
            "subject": [{"digest": {"sha256": hex}}],
        })
    }

    #[test]
    fn a_payload_is_of_one_manifest() {
        let digest = Digest::of(b"manifest");
        assert!(check_simple_signing(&payload(&digest.to_string(), SIMPLE_SIGNING), digest).is_ok());
        let other = payload(&Digest::of(b"").to_string(), SIMPLE_SIGNING);
        assert!(matches!(check_simple_signing(&other, digest), Err(StatementError::OtherArtefact { .. })));
        let kind = payload(&digest.to_string(), "atomic container signature");
        assert!(matches!(check_simple_signing(&kind, digest), Err(StatementError::Type { .. })));
        let long = vec![b' '; MAX_STATEMENT_BYTES + 1];
        assert!(matches!(check_simple_signing(&long, digest), Err(StatementError::TooLong)));
    }

    #[test]
    fn a_bundle_is_a_signature_of_one_manifest_and_no_attestation() {
        let digest = Digest::of(b"manifest");
        let check = |statement: &Value| Bundle::parse(&bundle(statement)).unwrap().check(digest);
        assert!(check(&statement(&digest.hex(), SIGNATURE_PREDICATE)).is_ok());
        let attestation = statement(&digest.hex(), "https://spdx.dev/Document");
        assert!(matches!(check(&attestation), Err(StatementError::Type { .. })));
        let other = statement(&Digest::of(b"").hex(), SIGNATURE_PREDICATE);
        assert!(matches!(check(&other), Err(StatementError::OtherArtefact { .. })));
        let mut nobody = statement(&digest.hex(), SIGNATURE_PREDICATE);
        nobody["subject"] = json!([]);
        assert!(matches!(check(&nobody), Err(StatementError::OtherArtefact { .. })));
    }

    #[test]
    fn an_envelope_is_signed_with_its_type_and_lengths() {
        let bundle = Bundle::Envelope {
            payload_type: "http://example.com/HelloWorld".to_owned(),
            payload: b"hello world".to_vec(),
            signatures: vec![Vec::new()],
        };
        // The example of the DSSE specification.
        let expected = "DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(bundle.signed(b"manifest"), expected.as_bytes());
    }

    #[test]
    fn half_a_bundle_is_none() {
        let kind = format!("{BUNDLE}.v0.3+json");
        let envelope = json!({"payload": "", "payloadType": "", "signatures": []});
        for wrong in [
            json!({"mediaType": kind}),
            json!({"mediaType": kind, "dsseEnvelope": envelope}),
            json!({"mediaType": "text/plain", "messageSignature": {"signature": ""}}),
            json!({"mediaType": kind, "messageSignature": {"signature": "?"}}),
            json!({"mediaType": kind, "messageSignature": {"signature": ""}, "dsseEnvelope": envelope}),
        ] {
            assert!(Bundle::parse(wrong.to_string().as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>, text in "\\{.{0,80}\\}") {
            let digest = Digest::of(b"");
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let _ = check_simple_signing(bytes, digest);
                let _ = Bundle::parse(bytes).map(|bundle| bundle.check(digest));
            }
        }
    }
}
