//! What clients hear, over HTTP/1.1, HTTP/2 and gRPC.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;
use weir_event::batch::MAX_EVENT_BYTES;

use super::support::*;
use crate::intake::Refusal;
use crate::otlp::Settings;

#[tokio::test(start_paused = true)]
async fn the_same_records_are_the_same_message_however_they_are_sent() {
    let mut keys = Vec::new();
    for (protocol, request) in ways() {
        let (answered, intake) = send(protocol, Settings::new(LIMIT), request).await;
        assert!(is_success(&answered), "{answered:?}");
        let empty: &[u8] = match answered.header("content-type") {
            JSON => b"{}",
            PROTOBUF => b"",
            _ => &[0; 5],
        };
        assert_eq!(answered.body, empty);
        let taken = intake.taken();
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].1, [json!({"message": "one"}), json!({"message": "two"})]);
        keys.push(taken[0].0.unwrap());
        assert_eq!(intake.refused(), []);
    }
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[tokio::test(start_paused = true)]
async fn success_is_said_when_the_records_are_safe_and_not_before() {
    for (protocol, request) in ways() {
        let connection = connect(Settings::new(LIMIT));
        let (tell, told) = oneshot::channel();
        connection.intake.will(Verdict::Later(told));
        let mut client = Client::new(protocol, connection.stream).await;
        let mut sending = std::pin::pin!(client.send(request));
        assert!(timeout(Duration::from_secs(5), &mut sending).await.is_err());
        assert_eq!(connection.intake.messages(), 1);
        tell.send(()).unwrap();
        assert!(is_success(&sending.await));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_safe_is_told_to_try_again() {
    for (protocol, request) in ways() {
        let connection = connect(Settings::new(LIMIT));
        let (_tell, told) = oneshot::channel();
        connection.intake.will(Verdict::NotSafe);
        connection.intake.will(Verdict::Later(told));
        let mut client = Client::new(protocol, connection.stream).await;
        // Refused; not safe in time; then safe, over the same connection.
        for _ in 0..2 {
            let answered = client.send(request.clone()).await;
            assert!(is_unavailable(&answered), "{answered:?}");
        }
        assert!(is_success(&client.send(request).await));
        assert_eq!(connection.intake.refused(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_memory_is_told_to_try_again() {
    for (protocol, request) in ways() {
        let connection = connect(Settings::new(LIMIT));
        connection.intake.state.lock().unwrap().largest_room = Some(10);
        let answered = Client::new(protocol, connection.stream).await.send(request).await;
        assert!(is_unavailable(&answered), "{answered:?}");
        assert_eq!(connection.intake.messages(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_client_waits_as_long_as_it_says() {
    for (value, seconds) in [("2S", 2), ("1M", 60), ("500m", 1), ("soon", 60), ("123456789S", 60)] {
        let settings = Settings { answer_timeout: Duration::from_secs(60), ..Settings::new(LIMIT) };
        let connection = connect(settings);
        let (_tell, told) = oneshot::channel();
        connection.intake.will(Verdict::Later(told));
        let mut request = grpc(GRPC_PATH, "", framed(false, &protobuf_request(&["one"])));
        request.headers_mut().insert("grpc-timeout", value.parse().unwrap());
        let begun = tokio::time::Instant::now();
        let answered = Client::new(Protocol::Http2, connection.stream).await.send(request).await;
        let expected = if seconds < 60 { "4" } else { answered.grpc_status() };
        assert_eq!(answered.grpc_status(), expected, "{value}");
        assert_eq!(begun.elapsed().as_secs_f64().round() as u64, seconds, "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_are_too_large_are_a_partial_success() {
    let large = "x".repeat(MAX_EVENT_BYTES);
    let records = ["one", &large, "three"];
    let protobuf = protobuf_request(&records);
    for (protocol, request) in [
        (Protocol::Http1, post(JSON, "", json_request(&records).into())),
        (Protocol::Http1, post(PROTOBUF, "", protobuf.clone())),
        (Protocol::Http2, grpc(GRPC_PATH, "gzip", framed(true, &pack("gzip", &protobuf)))),
    ] {
        let (answered, intake) = send(protocol, Settings::new(4 << 20), request).await;
        assert!(is_success(&answered));
        assert_eq!(intake.taken()[0].1, [json!({"message": "one"}), json!({"message": "three"})]);
        assert_eq!(intake.refused(), [(Refusal::TooLarge, 1)]);
        if answered.header("content-type") == JSON {
            assert_eq!(answered.json()["partialSuccess"]["rejectedLogRecords"], "1");
            assert!(answered.json()["partialSuccess"]["errorMessage"].is_string());
            continue;
        }
        let skip = if protocol == Protocol::Http2 { 5 } else { 0 };
        let partial =
            ExportLogsServiceResponse::decode(&answered.body[skip..]).unwrap().partial_success.unwrap();
        assert_eq!(partial.rejected_log_records, 1);
        assert!(!partial.error_message.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_records_is_a_success_and_no_message() {
    let (answered, intake) =
        send(Protocol::Http1, Settings::new(LIMIT), post(PROTOBUF, "", Vec::new())).await;
    assert!(is_success(&answered) && intake.messages() == 0);
}

#[tokio::test(start_paused = true)]
async fn room_grows_with_what_comes() {
    let text = "some text ".repeat(50_000);
    let whole = json_request(&[&text]).into_bytes();
    let connection = connect(Settings::new(LIMIT));
    let mut client = Client::new(Protocol::Http1, connection.stream).await;
    let (parts, body) = streamed();
    tokio::spawn(async move {
        for part in whole.chunks(40_000) {
            parts.send(Bytes::copy_from_slice(part)).await.unwrap();
        }
    });
    let answered = answered(client.try_send(post(JSON, "", body)).await.unwrap()).await;
    assert!(is_success(&answered), "{answered:?}");
    assert_eq!(connection.intake.taken()[0].1, [json!({"message": text})]);
    let rooms = connection.intake.state.lock().unwrap().rooms.clone();
    assert_eq!(rooms, [65_536, 131_072, 262_144, 524_288]);

    // Of what is announced, all at once.
    let request = post(PROTOBUF, "", protobuf_request(&[&text]));
    let bytes = request.body().len();
    let (answered, intake) = send(Protocol::Http1, Settings::new(LIMIT), request).await;
    assert!(is_success(&answered));
    assert_eq!(intake.state.lock().unwrap().rooms[0], bytes);
}

#[tokio::test(start_paused = true)]
async fn connections_without_requests_end() {
    for (protocol, asks, seconds) in [
        (Protocol::Http1, false, 30),
        (Protocol::Http2, false, 30),
        (Protocol::Http1, true, 300),
        (Protocol::Http2, true, 300),
    ] {
        let connection = connect(Settings::new(LIMIT));
        let begun = tokio::time::Instant::now();
        let mut client = Client::new(protocol, connection.stream).await;
        if asks {
            assert!(is_success(&client.send(post(JSON, "", json_request(&["one"]).into())).await));
        }
        // However it ends.
        let _ = connection.server.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), seconds, "{protocol:?} {asks}");
    }
    // Not a byte.
    let connection = connect(Settings::new(LIMIT));
    assert!(connection.server.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_shall_end_answers_what_it_has() {
    for (protocol, request) in ways() {
        let connection = connect(Settings::new(LIMIT));
        let (tell, told) = oneshot::channel();
        connection.intake.will(Verdict::Later(told));
        let mut client = Client::new(protocol, connection.stream).await;
        let sending = tokio::spawn(async move { client.send(request).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        connection.stop.send(true).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!connection.server.is_finished());
        tell.send(()).unwrap();
        assert!(is_success(&sending.await.unwrap()));
        assert!(connection.server.await.unwrap().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_shall_end_ends() {
    let connection = connect(Settings::new(LIMIT));
    let (_tell, told) = oneshot::channel();
    connection.intake.will(Verdict::Later(told));
    let mut client = Client::new(Protocol::Http2, connection.stream).await;
    let sending = tokio::spawn(async move {
        let body =
            http_body_util::BodyExt::boxed_unsync(http_body_util::Full::new(Bytes::from(json_request(&[
                "one",
            ]))));
        client.try_send(post(JSON, "", body)).await.is_err()
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = tokio::time::Instant::now();
    connection.stop.send(true).unwrap();
    assert!(connection.server.await.unwrap().is_ok());
    assert_eq!(begun.elapsed().as_secs(), 15);
    assert!(sending.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn many_requests_share_a_connection() {
    let connection = connect(Settings::new(LIMIT));
    let mut client = Client::new(Protocol::Http1, connection.stream).await;
    for index in 0..20 {
        let text = format!("record {index}");
        assert!(is_success(&client.send(post(JSON, "", json_request(&[&text]).into())).await));
    }
    let keys: std::collections::HashSet<_> =
        connection.intake.taken().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 20);
}
