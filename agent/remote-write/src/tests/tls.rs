//! TLS: who is believed, and who the agent says that it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prost::bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::server::{Server, http};
use crate::client::Client;
use crate::exchange::{Answer, Exchange as _, Failure};
use crate::negotiate::Version;
use crate::settings::{Identity, Settings, Tls};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for this machine and its key.
fn signed(by: &Authority) -> (rcgen::Certificate, KeyPair) {
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

/// Answers everybody who comes with a certificate of this authority.
async fn serve(authority: &Authority) -> String {
    let (certificate, key) = signed(authority);
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/api/v1/write", listener.local_addr().unwrap());
    let (acceptor, server) = (TlsAcceptor::from(Arc::new(config)), Server::new(|_, _| http(204, &[], "")));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    server.serve(stream).await;
                }
            });
        }
    });
    url
}

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

async fn ask(url: &str, tls: Tls) -> Result<Answer, Failure> {
    let settings =
        Settings { url: url.to_owned(), timeout: Duration::from_secs(10), tls, ..Settings::default() };
    Client::new(&settings).unwrap().write(Version::V1, Bytes::from_static(b"packed")).await
}

#[tokio::test]
async fn only_who_is_signed_by_the_authority_is_believed_and_so_is_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (authority(), authority());
    let url = serve(&ours).await;
    let ca = Some(written(folder.path(), "ca.pem", &ours.pem()));
    let identity_of = |authority: &Authority, name: &str| {
        let (certificate, key) = signed(authority);
        Some(Identity {
            certificate: written(folder.path(), &format!("{name}.pem"), &certificate.pem()),
            key: written(folder.path(), &format!("{name}.key"), &key.serialize_pem()),
        })
    };
    let identity = identity_of(&ours, "agent");
    let good = Tls { ca: ca.clone(), identity: identity.clone(), insecure_skip_verify: false };
    assert_eq!(ask(&url, good.clone()).await.unwrap().status, 204);
    let insecure = Tls { ca: None, insecure_skip_verify: true, ..good.clone() };
    assert!(ask(&url, insecure).await.is_ok());
    let stranger = written(folder.path(), "other.pem", &other.pem());
    let refused = [
        Tls { ca: None, ..good.clone() },
        Tls { ca: Some(stranger), ..good.clone() },
        Tls { identity: None, ..good.clone() },
        Tls { identity: identity_of(&other, "stranger"), ..good.clone() },
        Tls { ca: Some(folder.path().join("absent.pem")), ..good.clone() },
        Tls { ca: Some(written(folder.path(), "nonsense.pem", "nonsense")), ..good.clone() },
    ];
    for tls in refused {
        let answer = ask(&url, tls.clone()).await;
        assert!(answer.is_err(), "{tls:?}: {answer:?}");
    }
}
