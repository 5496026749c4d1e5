//! What clients hear, over HTTP/1.1 and HTTP/2.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::sync::oneshot;
use tokio::time::timeout;
use weir_samples::document::Document;

use super::support::*;
use crate::intake::Parcel;
use crate::remote_write::Settings;

#[tokio::test(start_paused = true)]
async fn success_is_204_without_a_body_and_2_0_hears_what_was_written() {
    for (protocol, request) in ways() {
        let is_v2 = request.headers()["content-type"] == V2;
        let (answered, intake) = send(protocol, settings(), request).await;
        assert!(is_success(&answered), "{answered:?}");
        assert_eq!(written(&answered), is_v2.then_some([2, 0, 0]));
        assert_eq!((intake.messages(), intake.refused()), (1, vec![]));
        let state = intake.state.lock().unwrap();
        let Parcel::Samples(message) = &state.parcels[0] else { panic!("events") };
        for row in message.samples.rows() {
            let mut document = Vec::new();
            row.write(&mut document);
            let document = Document::read(&document).unwrap();
            assert_eq!((document.labels.get("cluster"), row.time), (Some("c1"), 1_000_000_000));
            assert_eq!(document.labels.hash(), row.series);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn success_is_said_when_the_samples_are_safe_and_not_before() {
    for (protocol, request) in ways() {
        let connection = connect(settings());
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
        let connection = connect(settings());
        let (_tell, told) = oneshot::channel();
        connection.intake.will(Verdict::NotSafe);
        connection.intake.will(Verdict::Later(told));
        let mut client = Client::new(protocol, connection.stream).await;
        // Refused; not safe in time; then safe, over the same connection.
        for _ in 0..2 {
            let answered = client.send(request.clone()).await;
            assert!(is_unavailable(&answered), "{answered:?}");
            assert!(matches!(written(&answered), None | Some([0, 0, 0])));
        }
        assert!(is_success(&client.send(request).await));
        assert_eq!(connection.intake.refused(), []);
        let keys = connection.intake.keys();
        assert!(keys.iter().all(|key| *key == keys[0] && key.is_some()));
    }
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_memory_is_told_to_try_again() {
    for (protocol, request) in ways() {
        let connection = connect(settings());
        connection.intake.state.lock().unwrap().largest_room = Some(10);
        let answered = Client::new(protocol, connection.stream).await.send(request).await;
        assert!(is_unavailable(&answered), "{answered:?}");
        assert_eq!(connection.intake.messages(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_a_request_before_it_is_read_or_unpacked() {
    let metrics: Vec<String> = (0..2_000).map(|index| format!("metric_{index:08}")).collect();
    let metrics: Vec<&str> = metrics.iter().map(String::as_str).collect();
    let plain = v1_body(&metrics, 1);
    let packed = pack(&plain);
    let (answered, intake) = send(Protocol::Http1, settings(), post(V1, packed.clone())).await;
    assert!(is_success(&answered));
    let rooms = intake.state.lock().unwrap().rooms.clone();
    assert_eq!(rooms[..2], [packed.len(), plain.len()]);
    // A fake of the intake checks that the rows are at most four times as large.
    let connection = connect(settings());
    let mut client = Client::new(Protocol::Http2, connection.stream).await;
    let (parts, body) = streamed();
    tokio::spawn(async move {
        for part in packed.chunks(1_000) {
            parts.send(Bytes::copy_from_slice(part)).await.unwrap();
        }
    });
    assert!(is_success(&answered_of(&mut client, body).await));
    let rooms = connection.intake.state.lock().unwrap().rooms.clone();
    assert_eq!(rooms[..2], [65_536, plain.len()]);
}

async fn answered_of(client: &mut Client, body: crate::http::testing::ClientBody) -> Answered {
    answered(client.try_send(post(V1, ()).map(|()| body)).await.unwrap()).await
}

#[tokio::test(start_paused = true)]
async fn the_requests_of_a_connection_are_handed_on_in_order() {
    // Large ones are decoded elsewhere, and small ones at once; nobody waits for an answer.
    let connection = connect(Settings { max_message: 16 << 20, ..settings() });
    let Client::Http2(sender) = Client::new(Protocol::Http2, connection.stream).await else { panic!() };
    let mut sending = Vec::new();
    for index in 0..40 {
        let name = format!("metric_{index:03}");
        let metrics = vec![name.as_str(); if index % 3 == 0 { 5_000 } else { 1 }];
        let body = if index % 2 == 0 { v1_body(&metrics, index) } else { v2_body(&metrics, index) };
        let request = post(if index % 2 == 0 { V1 } else { V2 }, pack(&body));
        let request = request.map(|body| Full::new(Bytes::from(body)).boxed_unsync());
        let mut sender = sender.clone();
        sending.push(tokio::spawn(async move { sender.send_request(request).await.unwrap().status() }));
        // Until it is on its way.
        tokio::task::yield_now().await;
    }
    for answer in sending {
        assert_eq!(answer.await.unwrap(), 204);
    }
    let first: Vec<String> = connection.intake.series().iter().map(|series| series[0].clone()).collect();
    assert_eq!(first.len(), 40);
    assert!(first.is_sorted(), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_bytes_are_the_same_message_and_another_version_is_another() {
    let connection = connect(settings());
    let mut client = Client::new(Protocol::Http1, connection.stream).await;
    for request in [v1(&["up"]), v1(&["up"]), v1(&["down"]), v2(&["up"])] {
        assert!(is_success(&client.send(request).await));
    }
    let keys = connection.intake.keys();
    assert!(keys[0] == keys[1] && keys[0] != keys[2] && keys[0] != keys[3] && keys[2] != keys[3]);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_samples_is_a_success_and_no_message() {
    for (content_type, body) in [(V1, v1_body(&[], 1)), (V2, v2_body(&[], 1))] {
        let (answered, intake) = send(Protocol::Http1, settings(), post(content_type, pack(&body))).await;
        assert!(is_success(&answered) && intake.messages() == 0);
        assert_eq!(written(&answered), (content_type == V2).then_some([0; 3]));
    }
}

#[tokio::test(start_paused = true)]
async fn connections_without_requests_end() {
    for (protocol, asks, seconds) in [
        (Protocol::Http1, false, 30),
        (Protocol::Http2, false, 30),
        (Protocol::Http1, true, 300),
        (Protocol::Http2, true, 300),
    ] {
        let connection = connect(settings());
        let begun = tokio::time::Instant::now();
        let mut client = Client::new(protocol, connection.stream).await;
        if asks {
            assert!(is_success(&client.send(v2(&["up"])).await));
        }
        // However it ends.
        let _ = connection.server.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), seconds, "{protocol:?} {asks}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_shall_end_answers_what_it_has() {
    for (protocol, request) in ways() {
        let connection = connect(settings());
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
