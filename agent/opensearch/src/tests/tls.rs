//! TLS: who is believed, and who the agent says that it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::rig::Rig;
use crate::client::Client;
use crate::exchange::Exchange as _;
use crate::outcome::Failure;
use crate::settings::{Identity, Settings, Tls};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for this machine and its key.
fn signed(by: &Authority, is_expired: bool) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    if is_expired {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

/// Answers everybody who comes with a certificate of this authority, and with one that is expired or not.
async fn serve(authority: &Authority, is_expired: bool) -> String {
    let (certificate, key) = signed(authority, is_expired);
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"documents\n") {
                    if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                    .await;
                let _ = stream.shutdown().await;
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

async fn ask(url: &str, tls: Tls) -> Result<Bytes, Failure> {
    let settings = Settings {
        endpoints: vec![url.to_owned()],
        timeout: Duration::from_secs(10),
        tls,
        ..Rig::new(1).settings()
    };
    Client::new(&settings).unwrap().bulk(Bytes::from_static(b"documents\n"), false).await
}

#[tokio::test]
async fn only_who_is_signed_by_the_authority_is_believed_and_so_is_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (authority(), authority());
    let url = serve(&ours, false).await;
    let ca = Some(written(folder.path(), "ca.pem", &ours.pem()));
    let identity_of = |authority: &Authority, name: &str| {
        let (certificate, key) = signed(authority, false);
        Some(Identity {
            certificate: written(folder.path(), &format!("{name}.pem"), &certificate.pem()),
            key: written(folder.path(), &format!("{name}.key"), &key.serialize_pem()),
        })
    };
    let identity = identity_of(&ours, "agent");
    let good = Tls { ca: ca.clone(), identity: identity.clone(), insecure_skip_verify: false };
    assert_eq!(ask(&url, good.clone()).await.unwrap(), "{}");
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
        assert!(matches!(answer, Err(Failure::Unknown(_))), "{tls:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_expired_is_not_believed_and_the_error_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let url = serve(&authority, true).await;
    let ca = Some(written(folder.path(), "ca.pem", &authority.pem()));
    let error = ask(&url, Tls { ca, ..Tls::default() }).await.unwrap_err();
    assert!(matches!(&error, Failure::Unknown(text) if text.contains("xpired")), "{error:?}");
}
