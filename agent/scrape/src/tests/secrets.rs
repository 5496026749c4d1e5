//! Who the agent is and whom it trusts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;

use super::rig::{Kept, Reply, Target, once, run_for, serve, settings};
use crate::settings::{Auth, HttpSettings, Job, Secret, Tls};
use crate::{Failure, Health, Scrape};

#[tokio::test(start_paused = true)]
async fn passwords_and_tokens_come_from_files_that_may_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "one\n").unwrap();
    let target = Target::always(Reply::text("a 1\n")).await;
    let with = |auth| Job { http: HttpSettings { auth, ..HttpSettings::default() }, ..target.job() };
    let password = Some(Secret::File(file.clone()));
    once(with(Auth::Basic { username: "u".into(), password })).await;
    assert_eq!(target.header("authorization"), "Basic dTpvbmU=");
    let bearer = || Auth::Authorization { scheme: "Bearer".into(), credentials: Secret::File(file.clone()) };
    once(with(bearer())).await;
    assert_eq!(target.header("authorization"), "Bearer one");
    let scrape = Scrape::new(settings(with(bearer()))).unwrap();
    let other = file.clone();
    let changing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        std::fs::write(other, "two").unwrap();
    });
    run_for(scrape, weir_pipeline::source::Mode::Follow, Duration::from_secs(70), &Kept::default()).await;
    changing.await.unwrap();
    assert_eq!(target.header("authorization"), "Bearer two");
    std::fs::remove_file(&file).unwrap();
    let (_, metrics) = once(with(bearer())).await;
    assert_eq!(metrics.failures(Failure::Secret), 1);
}

/// A target with a certificate of this name, whose authority lies in the folder as `ca.pem`.
async fn with_tls(folder: &Path, name: &str) -> String {
    let certified = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    std::fs::write(folder.join("ca.pem"), certified.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                serve(stream, Arc::new(|_| Reply::text("a 1\n")), Arc::default()).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_have_the_right_name() {
    let folder = tempfile::tempdir().unwrap();
    let address = with_tls(folder.path(), "metrics.internal").await;
    let job = |tls| Job {
        name: "j".into(),
        scheme: "https".into(),
        groups: vec![super::rig::group(&[&address])],
        http: HttpSettings { tls, ..HttpSettings::default() },
        ..Job::default()
    };
    let ca = || Some(folder.path().join("ca.pem"));
    let named = |name: &str| Tls { ca: ca(), server_name: Some(name.into()), ..Tls::default() };
    let cases = [
        (named("metrics.internal"), true),
        (named("other.internal"), false),
        (Tls { ca: ca(), ..Tls::default() }, false),
        (Tls::default(), false),
        (Tls { insecure_skip_verify: true, ..Tls::default() }, true),
    ];
    for (tls, is_up) in cases {
        let (kept, metrics) = once(job(tls.clone())).await;
        assert_eq!(metrics.count(Health::Up) == 1, is_up, "{tls:?}: {:?}", metrics.targets()[0].last_error);
        assert_eq!(kept.values("a").len(), usize::from(is_up));
    }
}
