//! Which requests are taken, and as what (remote write 2.0, "Content-Type", "Content-Encoding", "Unsupported Request
//! Content").

use super::support::*;
use crate::intake::Refusal;

#[tokio::test(start_paused = true)]
async fn the_content_type_says_which_message_it_is() {
    let quoted = "application/x-protobuf; proto=\"io.prometheus.write.v2.Request\"";
    for (content_type, version) in [
        ("application/x-protobuf", Some(1)),
        ("application/x-protobuf;proto=prometheus.WriteRequest", Some(1)),
        ("application/x-protobuf;", Some(1)),
        ("Application/X-Protobuf ; charset=utf-8", Some(1)),
        ("application/x-protobuf;proto=io.prometheus.write.v2.Request", Some(2)),
        ("application/x-protobuf; Proto=io.prometheus.write.v2.Request", Some(2)),
        (quoted, Some(2)),
        ("application/x-protobuf;proto=io.prometheus.write.v3.Request", None),
        ("application/x-protobuf;proto=", None),
        ("application/x-protobuf;proto", None),
        ("application/x-protobuf;proto=prometheus.WriteRequest;proto=io.prometheus.write.v2.Request", None),
        ("application/json", None),
        ("text/plain", None),
        ("", None),
    ] {
        let body = if version == Some(2) { v2_body(&["up"], 1) } else { v1_body(&["up"], 1) };
        for protocol in PROTOCOLS {
            let (answered, intake) = send(protocol, settings(), post(content_type, pack(&body))).await;
            let Some(version) = version else {
                assert_eq!(answered.status, 415, "{content_type}");
                assert_eq!((written(&answered), intake.refused()), (None, vec![(Refusal::Malformed, 1)]));
                assert!(!answered.body.is_empty());
                continue;
            };
            assert!(is_success(&answered), "{content_type}: {answered:?}");
            assert_eq!(written(&answered).is_some(), version == 2, "{content_type}");
            assert_eq!(intake.series(), [["up{cluster=\"c1\",job=\"a\",node=\"n1\"}"]]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn snappy_is_the_only_content_encoding() {
    for (encoding, is_taken) in [
        ("snappy", true),
        (" Snappy ", true),
        ("gzip", false),
        ("zstd", false),
        ("identity", false),
        ("snappy, gzip", false),
    ] {
        for mut request in [v1(&["up"]), v2(&["up"])] {
            request.headers_mut().insert("content-encoding", encoding.parse().unwrap());
            let (answered, intake) = send(Protocol::Http1, settings(), request).await;
            assert_eq!(is_success(&answered), is_taken, "{encoding}");
            if !is_taken {
                assert_eq!((answered.status.as_u16(), intake.messages()), (415, 0));
                assert_eq!((written(&answered), intake.refused()), (None, vec![(Refusal::Malformed, 1)]));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_framed_format_of_snappy_is_refused() {
    use std::io::Write as _;
    for (content_type, body) in [(V1, v1_body(&["up"], 1)), (V2, v2_body(&["up"], 1))] {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(&body).unwrap();
        let framed = encoder.into_inner().unwrap();
        let (answered, intake) = send(Protocol::Http1, settings(), post(content_type, framed)).await;
        assert_eq!((answered.status.as_u16(), intake.messages()), (400, 0));
        assert!(String::from_utf8_lossy(&answered.body).contains("block format"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_says_nothing_of_itself_is_1_0_as_for_prometheus() {
    let mut request = v1(&["up"]);
    request.headers_mut().clear();
    let (answered, intake) = send(Protocol::Http1, settings(), request).await;
    assert!(is_success(&answered) && intake.messages() == 1);
}

#[tokio::test(start_paused = true)]
async fn headers_that_are_there_twice_are_refused() {
    for (name, value) in [("content-type", V1), ("content-encoding", "snappy")] {
        let mut request = v1(&["up"]);
        request.headers_mut().append(name, value.parse().unwrap());
        let (answered, _) = send(Protocol::Http1, settings(), request).await;
        assert_eq!(answered.status, 415, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn samples_are_taken_at_the_usual_paths_and_at_the_configured_one() {
    let own = || crate::remote_write::Settings { path: "/push".into(), ..settings() };
    for (path, status) in [
        ("/api/v1/write", 204),
        ("/api/v1/receive", 204),
        ("/push", 204),
        ("/push?tenant=a", 204),
        ("/push/", 404),
        ("/api/v1/read", 404),
        ("/", 404),
    ] {
        let mut request = v2(&["up"]);
        *request.uri_mut() = format!("http://weir{path}").parse().unwrap();
        let (answered, _) = send(Protocol::Http2, own(), request).await;
        assert_eq!(answered.status, status, "{path}");
    }
    let mut request = v2(&["up"]);
    *request.method_mut() = hyper::Method::PUT;
    let (answered, intake) = send(Protocol::Http2, own(), request).await;
    assert_eq!((answered.status.as_u16(), answered.header("allow")), (405, "POST"));
    assert_eq!(intake.refused(), [(Refusal::Malformed, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_request_of_the_other_version_is_refused_rather_than_read_as_empty() {
    for (content_type, body) in [(V1, v2_body(&["up"], 1)), (V2, v1_body(&["up"], 1))] {
        let (answered, intake) = send(Protocol::Http1, settings(), post(content_type, pack(&body))).await;
        assert_eq!((answered.status.as_u16(), intake.messages()), (400, 0));
        assert!(String::from_utf8_lossy(&answered.body).contains("content type"));
    }
}
