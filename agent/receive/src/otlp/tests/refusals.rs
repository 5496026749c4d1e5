//! What clients hear of requests that are not taken.

use bytes::Bytes;
use hyper::{Request, StatusCode};

use super::support::*;
use crate::Secret;
use crate::intake::Refusal;
use crate::otlp::Settings;

#[tokio::test(start_paused = true)]
async fn what_http_refuses() {
    let valid = json_request(&["one"]);
    let large = json_request(&[&"x".repeat(LIMIT)]);
    let tiny = format!("{{\"resourceLogs\":[{}]}}", vec!["{}"; 200_000].join(","));
    let json = |body: &str| post(JSON, "", body.into());
    let with = |change: fn(&mut Request<Vec<u8>>)| {
        let mut request = json(&valid);
        change(&mut request);
        request
    };
    let cases = [
        ("path", with(|request| *request.uri_mut() = "http://weir/v1/traces".parse().unwrap()), 404, 5),
        ("method", with(|request| *request.method_mut() = hyper::Method::GET), 405, 12),
        ("type", post("text/plain", "", valid.clone().into()), 415, 3),
        ("encoding", post(JSON, "deflate", valid.clone().into()), 415, 3),
        ("two encodings", post(JSON, "gzip, zstd", valid.clone().into()), 415, 3),
        ("no JSON", json("{"), 400, 3),
        ("empty", json(""), 400, 3),
        ("no protobuf", post(PROTOBUF, "", b"\x0a\xff".to_vec()), 400, 3),
        ("no gzip", post(JSON, "gzip", valid.clone().into()), 400, 3),
        ("no zstd", post(PROTOBUF, "zstd", valid.clone().into()), 400, 3),
        ("too large", json(&large), 413, 8),
        ("a bomb", post(JSON, "gzip", pack("gzip", large.as_bytes())), 413, 8),
        ("another bomb", post(JSON, "zstd", pack("zstd", large.as_bytes())), 413, 8),
        ("too many messages", json(&tiny), 413, 8),
    ];
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for (name, request, status, code) in &cases {
            let is_protobuf = request.headers()["content-type"] == PROTOBUF;
            let (answered, intake) = send(protocol, Settings::new(LIMIT), request.clone()).await;
            assert_eq!(answered.status, *status, "{name}: {answered:?}");
            let told = if is_protobuf { status_of(&answered.body) } else { json_status(&answered) };
            assert_eq!(told.0, *code, "{name}");
            assert!(!told.1.is_empty());
            let counted = if *code == 8 { Refusal::TooLarge } else { Refusal::Malformed };
            assert_eq!((intake.messages(), intake.refused()), (0, vec![(counted, 1)]), "{name}");
            assert_eq!(answered.header("allow"), if *status == 405 { "POST" } else { "" });
            assert_eq!(answered.header("content-type"), if is_protobuf { PROTOBUF } else { JSON });
        }
    }
}

fn json_status(answered: &Answered) -> (i64, String) {
    let body = answered.json();
    (body["code"].as_i64().unwrap(), body["message"].as_str().unwrap().to_owned())
}

/// google.rpc.Status, read by hand: a number in field 1, a text in field 2.
fn status_of(body: &[u8]) -> (i64, String) {
    let [8, code, 0x12, _, message @ ..] = body else { panic!("{body:?}") };
    (i64::from(*code), String::from_utf8(message.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_grpc_refuses() {
    let valid = protobuf_request(&["one"]);
    let large = protobuf_request(&[&"x".repeat(LIMIT)]);
    let mut cut = framed(false, &valid);
    cut.pop();
    let two = [framed(false, &valid), framed(false, &valid)].concat();
    let traces = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let cases = [
        ("method", grpc(traces, "", framed(false, &valid)), "12", Refusal::Malformed),
        ("encoding", grpc(GRPC_PATH, "deflate", framed(true, &valid)), "12", Refusal::Malformed),
        ("no message", grpc(GRPC_PATH, "", Vec::new()), "3", Refusal::Malformed),
        ("cut", grpc(GRPC_PATH, "", cut), "3", Refusal::Malformed),
        ("two messages", grpc(GRPC_PATH, "", two), "3", Refusal::Malformed),
        ("packed somehow", grpc(GRPC_PATH, "", framed(true, &valid)), "3", Refusal::Malformed),
        ("no protobuf", grpc(GRPC_PATH, "", framed(false, b"\x0a\xff")), "3", Refusal::Malformed),
        ("no gzip", grpc(GRPC_PATH, "gzip", framed(true, &valid)), "3", Refusal::Malformed),
        ("too large", grpc(GRPC_PATH, "", framed(false, &large)), "8", Refusal::TooLarge),
        ("a bomb", grpc(GRPC_PATH, "gzip", framed(true, &pack("gzip", &large))), "8", Refusal::TooLarge),
        (
            "another bomb",
            grpc(GRPC_PATH, "zstd", framed(true, &pack("zstd", &large))),
            "8",
            Refusal::TooLarge,
        ),
        ("it says so", grpc(GRPC_PATH, "", vec![0, 255, 255, 255, 255]), "8", Refusal::TooLarge),
    ];
    for (name, request, status, refusal) in cases {
        let (answered, intake) = send(Protocol::Http2, Settings::new(LIMIT), request).await;
        assert_eq!((answered.status, answered.grpc_status()), (StatusCode::OK, status), "{name}");
        assert_eq!(answered.header("content-type"), "application/grpc");
        assert!(!answered.header("grpc-message").is_empty());
        assert_eq!((intake.messages(), intake.refused()), (0, vec![(refusal, 1)]), "{name}");
        assert_eq!(answered.headers.contains_key("grpc-accept-encoding"), name == "encoding");
    }
}

#[tokio::test(start_paused = true)]
async fn only_who_has_the_token_is_served() {
    let secured = || Settings { bearer: Some(Secret::new("open sesame".to_owned())), ..Settings::new(LIMIT) };
    for (protocol, request) in ways() {
        for (token, served) in [
            ("Bearer open sesame", true),
            ("bearer  open sesame ", true),
            ("Bearer open sesam", false),
            ("Bearer ", false),
            ("Basic open sesame", false),
            ("", false),
        ] {
            let mut request = request.clone();
            request.headers_mut().insert("authorization", token.parse().unwrap());
            let (answered, intake) = send(protocol, secured(), request).await;
            assert_eq!((is_success(&answered), intake.messages()), (served, usize::from(served)), "{token}");
            if served {
                continue;
            }
            assert_eq!(intake.refused(), [(Refusal::Unauthorized, 1)]);
            match answered.header("content-type") {
                "application/grpc" => assert_eq!(answered.grpc_status(), "16"),
                _ => assert_eq!(
                    (answered.status.as_u16(), answered.header("www-authenticate")),
                    (401, "Bearer")
                ),
            }
        }
    }
    assert_eq!(format!("{:?}", secured().bearer.unwrap()), "Secret(..)");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let frame = framed(false, &protobuf_request(&["one"]));
    let json = json_request(&["one"]).into_bytes();
    for (protocol, request, begin) in [
        (Protocol::Http1, post(JSON, "", ()), &json[..10]),
        (Protocol::Http2, post(JSON, "", ()), &json[..10]),
        (Protocol::Http2, grpc(GRPC_PATH, "", ()), &frame[..3]),
        (Protocol::Http2, grpc(GRPC_PATH, "", ()), &frame[..10]),
    ] {
        let connection = connect(Settings::new(LIMIT));
        let mut client = Client::new(protocol, connection.stream).await;
        let (parts, body) = streamed();
        parts.send(Bytes::copy_from_slice(begin)).await.unwrap();
        let answered = answered(client.try_send(request.map(|()| body)).await.unwrap()).await;
        match answered.header("content-type") {
            "application/grpc" => assert_eq!(answered.grpc_status(), "4"),
            _ => assert_eq!(answered.status, StatusCode::REQUEST_TIMEOUT),
        }
        assert_eq!(connection.intake.refused(), [(Refusal::TimedOut, 1)]);
    }
}
