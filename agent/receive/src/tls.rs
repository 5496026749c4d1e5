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

    /// A client's certificate and an authority that signed it.
    fn client() -> (String, CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "authority");
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, key);
        let own = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["client".to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&own, &issuer).unwrap().der().clone();
        (authority, certificate, PrivateKeyDer::Pkcs8(own.serialize_der().into()))
    }

    /// Whether a client with this certificate is let in.
    async fn is_let_in(
        pem: &Pem,
        identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    ) -> bool {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem.certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let acceptor = tokio_rustls::TlsAcceptor::from(server_config(pem, &[]).unwrap());
        let server = tokio::spawn(async move {
            let mut stream = acceptor.accept(theirs).await.ok()?;
            stream.write_all(b"hello").await.ok()?;
            stream.shutdown().await.ok()
        });
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut greeting = Vec::new();
        if let Ok(mut stream) = connector.connect("localhost".try_into().unwrap(), ours).await {
            let _ = stream.read_to_end(&mut greeting).await;
        }
        server.await.unwrap().is_some() && greeting == b"hello"
    }

    #[tokio::test]
    async fn who_has_no_certificate_of_the_authority_is_not_let_in() {
        let (authority, certificate, key) = client();
        let (_, strange, strange_key) = client();
        let closed = Pem { client_ca: Some(authority.into_bytes()), ..pem() };
        assert!(is_let_in(&closed, Some((certificate, key))).await);
        assert!(!is_let_in(&closed, Some((strange, strange_key))).await);
        assert!(!is_let_in(&closed, None).await);
        assert!(is_let_in(&pem(), None).await);
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
