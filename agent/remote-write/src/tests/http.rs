//! The client against sockets: what goes over the wire, and what becomes of answers that are none.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use prost::bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use weir_pipeline::sink::Drive as _;

use super::fake::{Message, read};
use super::rig::{Rig, text};
use super::server::{Server, http};
use crate::client::Client;
use crate::exchange::{Answer, Exchange as _, Failure, Written};
use crate::negotiate::Version;
use crate::settings::{Auth, Password, Secret, Settings};
use crate::{Metrics, RemoteWrite};

fn settings(url: &str) -> Settings {
    Settings { url: format!("{url}/api/v1/receive"), timeout: Duration::from_secs(5), ..Settings::default() }
}

async fn write(client: &Client) -> Result<Answer, Failure> {
    client.write(Version::V1, Bytes::from_static(b"packed")).await
}

#[tokio::test]
async fn a_request_has_the_headers_of_its_version_and_those_configured() {
    let server = Server::new(|_, _| http(204, &[], ""));
    let settings = Settings {
        tenant: Some("team-a".into()),
        headers: vec![("X-Scope".into(), "metrics".into())],
        ..settings(&server.listen().await)
    };
    let client = Client::new(&settings).unwrap();
    for version in [Version::V1, Version::V2] {
        client.write(version, Bytes::from_static(b"packed")).await.unwrap();
    }
    let versions = [
        ("application/x-protobuf", "0.1.0"),
        ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
    ];
    for (got, (content_type, version)) in server.got().iter().zip(versions) {
        assert_eq!((&*got.method, &*got.path, &got.body[..]), ("POST", "/api/v1/receive", &b"packed"[..]));
        let agent = concat!("Weir/", env!("CARGO_PKG_VERSION"));
        for (name, value) in [
            ("content-type", content_type),
            ("x-prometheus-remote-write-version", version),
            ("content-encoding", "snappy"),
            ("user-agent", agent),
            ("thanos-tenant", "team-a"),
            ("x-scope", "metrics"),
        ] {
            let values: Vec<_> = got.headers.get_all(name).iter().collect();
            assert_eq!(values, [value], "{name}");
        }
        assert!(!got.headers.contains_key("authorization"));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Server::new(|_, _| http(204, &[], ""));
    let to = other.listen().await;
    for status in [301, 302, 303, 307, 308] {
        let to = format!("{to}/elsewhere");
        let server = Server::new(move |_, _| http(status, &[("location", &to)], ""));
        let client = Client::new(&settings(&server.listen().await)).unwrap();
        assert_eq!(write(&client).await.unwrap().status, status);
    }
    assert!(other.got().is_empty());
}

#[tokio::test]
async fn secrets_are_read_again_when_they_were_not_accepted() {
    let server = Server::new(|_, got| match got.headers["authorization"].to_str().unwrap() {
        "Basic YWdlbnQ6bmV3" | "Bearer new" => http(204, &[], ""),
        _ => http(401, &[], "who are you"),
    });
    let url = server.listen().await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let secret = Secret::File(file.path().to_owned());
    let basic = Auth::Basic(Password { username: "agent".into(), password: secret.clone() });
    for auth in [basic, Auth::Bearer(secret)] {
        file.as_file_mut().set_len(0).unwrap();
        std::fs::write(file.path(), "old\n").unwrap();
        let client = Client::new(&Settings { auth, ..settings(&url) }).unwrap();
        assert_eq!(write(&client).await.unwrap().status, 401);
        std::fs::write(file.path(), "new\n").unwrap();
        assert_eq!(write(&client).await.unwrap().status, 401, "not looked at yet");
        client.renew();
        assert_eq!(write(&client).await.unwrap().status, 204);
    }
    file.flush().unwrap();
}

#[tokio::test]
async fn a_missing_or_unusable_secret_sends_nothing_and_is_not_told() {
    let server = Server::new(|_, _| http(204, &[], ""));
    let url = server.listen().await;
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, "hidden\u{1}value").unwrap();
    for secret in [Secret::File(absent), Secret::File(wrong), Secret::Variable("WEIR_TEST_NO_SUCH".into())] {
        let client = Client::new(&Settings { auth: Auth::Bearer(secret), ..settings(&url) }).unwrap();
        let Err(Failure::Setup(error)) = write(&client).await else { panic!("it was sent") };
        assert!(!error.contains("hidden"), "{error}");
    }
    assert!(server.got().is_empty());
}

#[tokio::test]
async fn answers_are_read_with_their_headers_and_a_limit() {
    let server = Server::new(|number, _| match number {
        0 => http(
            200,
            &[("X-Prometheus-Remote-Write-Samples-Written", "7"), ("retry-after", "3")],
            "nobody reads this",
        ),
        1 => http(503, &[("retry-after", "9")], "busy"),
        _ => http(400, &[], &"x".repeat(3 << 20)),
    });
    let client = Client::new(&settings(&server.listen().await)).unwrap();
    let answer = write(&client).await.unwrap();
    assert_eq!(answer.written, Some(Written { samples: 7, ..Written::default() }));
    assert_eq!((answer.status, &*answer.said), (200, ""));
    let answer = write(&client).await.unwrap();
    let after = Some(Duration::from_secs(9));
    assert_eq!(answer, Answer { status: 503, retry_after: after, said: "busy".into(), written: None });
    let answer = write(&client).await.unwrap();
    assert_eq!((answer.status, answer.said.len()), (400, 1 << 20));
}

#[tokio::test]
async fn what_is_no_answer_is_a_failure() {
    let silent = Server::new(|_, _| None);
    let limits = Settings { timeout: Duration::from_millis(200), ..settings(&silent.listen().await) };
    let failure = write(&Client::new(&limits).unwrap()).await.unwrap_err();
    assert!(matches!(failure, Failure::Unknown(_)), "{failure:?}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(&settings(&url)).unwrap();
    let broken = tokio::spawn(async move {
        for answer in ["", "HTTP/1.1 20", "nonsense\r\n\r\n"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    for _ in 0..3 {
        let failure = write(&client).await.unwrap_err();
        assert!(matches!(failure, Failure::Unknown(_)), "{failure:?}");
    }
    broken.await.unwrap();
    let failure = write(&client).await.unwrap_err();
    assert!(matches!(failure, Failure::NoConnection(_)), "{failure:?}");
}

#[tokio::test]
async fn the_whole_sink_sends_snappy_blocks_that_the_receiver_reads() {
    for (is_old, version) in [(false, Version::V2), (true, Version::V1)] {
        let server = Server::new(move |_, got| {
            let is_v2 = got.headers["x-prometheus-remote-write-version"] == "2.0.0";
            if is_old || !is_v2 {
                return http(200, &[], "");
            }
            let Message::V2(message) = read(Version::V2, &got.body).message else { return None };
            let samples = message.timeseries.len().to_string();
            http(204, &[("x-prometheus-remote-write-samples-written", &samples)], "")
        });
        let rig = Rig::new(1 << 20);
        let settings = Settings { shards: 1, ..settings(&server.listen().await) };
        let metrics = Arc::new(Metrics::default());
        let sink = RemoteWrite::new(settings, Arc::clone(&metrics)).unwrap();
        let driver = tokio::spawn(Box::new(sink).drive(rig.driving()));
        rig.push_scrape(3, 1000);
        rig.finish(driver).await;
        assert_eq!(rig.delivered(), 3);
        let got = server.got().pop().unwrap();
        // The framed format begins with a chunk of this type.
        assert_ne!(got.body.first(), Some(&0xff));
        let request = read(version, &got.body);
        assert_eq!(request.samples, [0, 1, 2].map(|n| (text(&format!("s{n}")), 1000)));
    }
}
