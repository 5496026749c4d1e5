//! The client against sockets: what goes over the wire, and what becomes of answers that are none.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::rig::Rig;
use crate::client::Client;
use crate::exchange::Exchange as _;
use crate::outcome::Failure;
use crate::settings::{Auth, Password, Secret, Settings};
use crate::template::{State, TemplateSettings, apply, changes};

/// A request as it came over the wire: its head in small letters, and its body.
type Request = (String, Vec<u8>);

/// What is answered, byte for byte; the connection ends behind it.
type Script = Arc<dyn Fn(usize, &Request) -> String + Send + Sync>;

struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

async fn serve(script: impl Fn(usize, &Request) -> String + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (kept, number) = (Arc::clone(&requests), Arc::new(AtomicUsize::new(0)));
    let script: Script = Arc::new(script);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let (kept, number, script) = (Arc::clone(&kept), Arc::clone(&number), Arc::clone(&script));
            tokio::spawn(answer(stream, kept, number, script));
        }
    });
    Server { url, requests }
}

async fn answer(
    mut stream: TcpStream,
    kept: Arc<Mutex<Vec<Request>>>,
    number: Arc<AtomicUsize>,
    script: Script,
) {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    // Names only: values of headers keep their letters.
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let request = (head, bytes[head_end..].to_vec());
    let text = script(number.fetch_add(1, Ordering::SeqCst), &request);
    kept.lock().unwrap().push(request);
    if text.is_empty() {
        // Taken, and never answered.
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    let _ = stream.write_all(text.as_bytes()).await;
}

fn http(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn settings(endpoints: &[&str]) -> Settings {
    let rig = Rig::new(1);
    let endpoints = endpoints.iter().map(|url| (*url).to_owned()).collect();
    Settings { endpoints, timeout: Duration::from_millis(1000), ..rig.settings() }
}

async fn bulk(client: &Client) -> Result<Bytes, Failure> {
    client.bulk(Bytes::from_static(b"{}\n{}\n"), false).await
}

#[tokio::test]
async fn a_request_is_what_opensearch_expects() {
    let server = serve(|_, _| http(200, "{}")).await;
    let mut settings = settings(&[&format!("{}/base", server.url)]);
    let mut token = tempfile::NamedTempFile::new().unwrap();
    token.write_all(b"first\n").unwrap();
    settings.auth = Auth::Bearer(Secret::File(token.path().to_owned()));
    let client = Client::new(&settings).unwrap();
    assert_eq!(bulk(&client).await.unwrap(), "{}");
    assert!(client.bulk(Bytes::from_static(b"packed"), true).await.is_ok());
    let requests = server.requests.lock().unwrap();
    let (head, body) = &requests[0];
    let path = "POST /base/_bulk?filter_path=took%2Cerrors%2Citems.*.status%2Citems.*.error.type%2Citems.*.error.reason HTTP/1.1";
    assert!(head.starts_with(path), "{head}");
    assert_eq!(body, b"{}\n{}\n");
    let has = |head: &str, wanted: &str| head.lines().any(|line| line.eq_ignore_ascii_case(wanted));
    assert!(has(head, "content-type: application/x-ndjson"), "{head}");
    assert!(has(head, "accept-encoding: identity"), "{head}");
    assert!(head.contains("authorization: Bearer first\r\n"), "{head}");
    assert!(!head.contains("content-encoding"));
    assert!(has(&requests[1].0, "content-encoding: gzip"));
}

#[tokio::test]
async fn a_password_that_is_not_accepted_is_read_again() {
    let server = serve(|_, (head, _)| match head.contains("Basic YWdlbnQ6bmV3") {
        true => http(200, "{}"),
        false => http(401, "Unauthorized"),
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let password = Password { username: "agent".into(), password: Secret::File(file.path().to_owned()) };
    let client = Client::new(&Settings { auth: Auth::Basic(password), ..settings(&[&server.url]) }).unwrap();
    assert!(matches!(bulk(&client).await, Err(Failure::Unauthorized(text)) if text.contains("401")));
    std::fs::write(file.path(), "new\n").unwrap();
    // Not yet looked at again.
    assert!(matches!(bulk(&client).await, Err(Failure::Unauthorized(_))));
    client.renew();
    assert!(bulk(&client).await.is_ok());
    std::fs::remove_file(file.path()).unwrap();
    client.renew();
    let error = bulk(&client).await.unwrap_err();
    assert!(matches!(&error, Failure::Unknown(text) if text.contains("cannot read the secret")), "{error:?}");
}

#[tokio::test]
async fn answers_that_are_none_say_nothing_about_the_documents() {
    let cases: [(&str, &str); 6] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"took\":1", ""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{}", "bytes"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "Content-Length"),
        ("nonsense\r\n\r\n", ""),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno", "502"),
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nplain", "400"),
    ];
    for (text, says) in cases {
        let server = serve(move |_, _| text.to_owned()).await;
        let client = Client::new(&settings(&[&server.url])).unwrap();
        match bulk(&client).await {
            Err(Failure::Unknown(said)) => assert!(said.contains(says), "{text}: {said}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_a_status_says_about_all_of_a_request_is_told_apart() {
    let error = r#"{"error":{"type":"x_content_parse_exception"},"status":400}"#;
    for (answer, expected) in [
        (http(413, "too large"), "Split"),
        (http(400, error), "Split"),
        (http(403, "no"), "Unauthorized"),
        (http(429, "busy"), "Busy"),
        (
            "HTTP/1.1 503 X\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "Busy(\"HTTP 503: \", Some(7s))",
        ),
    ] {
        let server = serve(move |_, _| answer.clone()).await;
        let client = Client::new(&settings(&[&server.url])).unwrap();
        let got = format!("{:?}", bulk(&client).await.unwrap_err());
        assert!(got.starts_with(expected), "{got}");
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_ends_in_time() {
    let server = serve(|_, _| String::new()).await;
    let client = Client::new(&settings(&[&server.url])).unwrap();
    let began = Instant::now();
    assert!(matches!(bulk(&client).await, Err(Failure::Unknown(_))));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_passed_over() {
    let good = serve(|_, _| http(200, "{}")).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let client = Client::new(&settings(&[&url, &good.url])).unwrap();
    for _ in 0..6 {
        assert!(bulk(&client).await.is_ok());
    }
    assert_eq!(good.requests.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn no_endpoint_is_an_error_with_its_cause() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let client = Client::new(&settings(&[&url])).unwrap();
    let error = format!("{:?}", bulk(&client).await.unwrap_err());
    assert!(error.contains("refused") && error.contains(&url), "{error}");
    assert!(Client::new(&settings(&["not a url"])).is_err());
}

#[tokio::test]
async fn templates_are_compared_and_those_that_differ_are_written() {
    let server = serve(|_, (head, body)| match head.split(' ').next() {
        Some("GET") if head.contains("_component_template") => http(
            200,
            &format!(
                r#"{{"component_templates":[{{"name":"weir-document","component_template":{}}}]}}"#,
                include_str!("../../../../configs/opensearch/document.json")
            ),
        ),
        Some("GET") => http(404, "{}"),
        _ if head.contains("_index_template/weir-search") => {
            assert!(String::from_utf8_lossy(body).contains(r#""index_patterns":["logs-*"]"#));
            http(200, r#"{"acknowledged":true}"#)
        }
        _ => http(400, "unexpected"),
    })
    .await;
    let client = Client::new(&settings(&[&server.url])).unwrap();
    let of = TemplateSettings { sink: "search".into(), patterns: vec!["logs-*".into()], dead_letters: None };
    let found = changes(&client, &of).await.unwrap();
    let states: Vec<State> = found.iter().map(|change| change.state).collect();
    assert_eq!(states, [State::Same, State::Missing]);
    apply(&client, &found).await.unwrap();
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.iter().filter(|(head, _)| head.starts_with("PUT")).count(), 1);
}
