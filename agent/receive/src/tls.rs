//! TLS: how a source is known to its clients, and they to it.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// What PEM files hold.
pub struct Pem {
    /// The source's certificate, with those between it and its authority.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// The authorities of clients; `None` where these need no certificate.
    pub client_ca: Option<Vec<u8>>,
}

/// Why certificates and keys are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is nothing of that kind in the file, or it is damaged.
    #[error("tls.{key} holds no {what} in PEM")]
    Pem {
        /// The key of the configuration.
        key: &'static str,
        /// What should be there.
        what: &'static str,
    },
    /// They do not fit together, or cannot be used.
    #[error("tls: {0}")]
    Refused(String),
}

/// TLS 1.2 and 1.3 by these certificates; `protocols` is what clients may ask for by ALPN, the best first.
pub fn server_config(pem: &Pem, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let refused = |error: &dyn std::fmt::Display| TlsError::Refused(error.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?;
    let builder = match &pem.client_ca {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(authorities, "client_ca")? {
                roots.add(authority).map_err(|error| refused(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| refused(&error))?)
        }
    };
    let chain = certificates(&pem.certificate, "cert")?;
    let key = PrivateKeyDer::from_pem_slice(&pem.key);
    let key = key.map_err(|_| TlsError::Pem { key: "key", what: "private key" })?;
    let mut config = builder.with_single_cert(chain, key).map_err(|error| refused(&error))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8], key: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.unwrap_or_default();
    if certificates.is_empty() {
        return Err(TlsError::Pem { key, what: "certificate" });
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem() -> Pem {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Pem {
            certificate: made.cert.pem().into_bytes(),
            key: made.signing_key.serialize_pem().into_bytes(),
            client_ca: None,
        }
    }

    #[test]
    fn a_certificate_and_its_key_are_taken() {
        let with_clients = Pem { client_ca: Some(pem().certificate), ..pem() };
        for pem in [pem(), with_clients] {
            let config = server_config(&pem, &[b"h2", b"http/1.1"]).unwrap();
            assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (Pem { certificate: b"x".to_vec(), ..pem() }, "tls.cert holds no certificate in PEM"),
            (Pem { key: Vec::new(), ..pem() }, "tls.key holds no private key in PEM"),
            (Pem { client_ca: Some(Vec::new()), ..pem() }, "tls.client_ca holds no certificate in PEM"),
            (Pem { key: pem().key, ..pem() }, "tls: keys may not be consistent: KeyMismatch"),
        ];
        for (pem, message) in cases {
            assert_eq!(server_config(&pem, &[]).unwrap_err().to_string(), message);
        }
    }
}
