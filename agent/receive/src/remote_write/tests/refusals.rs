//! What clients hear of requests that are not taken.

use bytes::Bytes;
use hyper::Request;

use super::support::*;
use crate::intake::Refusal;
use crate::remote_write::{Auth, Settings};
use crate::secret::Secret;

#[tokio::test(start_paused = true)]
async fn what_is_malformed_or_too_large_is_refused_for_good() {
    let (one, two) = (v1_body(&["up"], 1), v2_body(&["up"], 1));
    // Announces 900 KiB, and has nine bytes.
    let lie = [&[0x80, 0xa0, 0x38][..], b"\x00a\x00b\x00c"].concat();
    let cases = [
        ("no snappy", one.clone(), 400),
        ("empty body", Vec::new(), 400),
        ("cut", pack(&one)[..10].to_vec(), 400),
        ("a lie", lie, 400),
        ("no protobuf", pack(b"\x0a\xff"), 400),
        ("cut protobuf", pack(&two[..two.len() - 1]), 400),
        ("too large", vec![0; LIMIT + 1], 413),
        ("a bomb", pack(&vec![0; LIMIT + 1]), 413),
    ];
    for protocol in PROTOCOLS {
        for content_type in [V1, V2] {
            for (name, body, status) in &cases {
                let (answered, intake) = send(protocol, settings(), post(content_type, body.clone())).await;
                assert_eq!(answered.status, *status, "{name}: {answered:?}");
                assert!(!answered.body.is_empty());
                assert_eq!(written(&answered), (content_type == V2).then_some([0; 3]), "{name}");
                let counted = if *status == 413 { Refusal::TooLarge } else { Refusal::Malformed };
                assert_eq!((intake.messages(), intake.refused()), (0, vec![(counted, 1)]), "{name}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rows_that_take_too_much_memory_are_refused() {
    // Two bytes for a sample, of which a row takes fourteen times as many.
    let mut message = v1_body(&["up"], 1)[2..].to_vec();
    message.extend([0x12, 0].repeat(200_000));
    let mut body = vec![0x0a, 0, 0, 0];
    let length = message.len() as u32;
    body[1..].copy_from_slice(&[length as u8 | 0x80, (length >> 7) as u8 | 0x80, (length >> 14) as u8]);
    body.extend(message);
    let (answered, intake) = send(Protocol::Http1, settings(), post(V1, pack(&body))).await;
    assert_eq!((answered.status.as_u16(), intake.messages()), (413, 0));
    assert_eq!(intake.refused(), [(Refusal::TooLarge, 1)]);
    let larger = Settings { max_message: 8 * LIMIT, ..settings() };
    let (answered, intake) = send(Protocol::Http1, larger, post(V1, pack(&body))).await;
    assert!(is_success(&answered), "{answered:?}");
    assert_eq!(intake.series()[0].len(), 200_001);
}

#[tokio::test(start_paused = true)]
async fn only_who_has_the_token_or_the_password_is_served() {
    let bearer = Auth::Bearer(Secret::new("open sesame"));
    let basic = Auth::basic("weir", "open sesame");
    // weir:open sesame, weir:open sesam, open sesame.
    for (auth, given, is_served) in [
        (&bearer, "Bearer open sesame", true),
        (&bearer, "bearer  open sesame ", true),
        (&bearer, "Bearer open sesam", false),
        (&bearer, "Basic d2VpcjpvcGVuIHNlc2FtZQ==", false),
        (&bearer, "", false),
        (&basic, "Basic d2VpcjpvcGVuIHNlc2FtZQ==", true),
        (&basic, "basic d2VpcjpvcGVuIHNlc2FtZQ== ", true),
        (&basic, "Basic d2VpcjpvcGVuIHNlc2Ft", false),
        (&basic, "Basic b3BlbiBzZXNhbWU=", false),
        (&basic, "Basic weir:open sesame", false),
        (&basic, "Bearer weir:open sesame", false),
        (&basic, "Basic", false),
    ] {
        for (protocol, mut request) in ways() {
            request.headers_mut().insert("authorization", given.parse().unwrap());
            let own = Settings { auth: Some(auth.clone()), ..settings() };
            let (answered, intake) = send(protocol, own, request).await;
            assert_eq!(
                (is_success(&answered), intake.messages()),
                (is_served, usize::from(is_served)),
                "{given}"
            );
            if !is_served {
                assert_eq!(answered.status, 401);
                let asked =
                    if *auth == bearer { "Bearer" } else { "Basic realm=\"weir\", charset=\"UTF-8\"" };
                assert_eq!(answered.header("www-authenticate"), asked);
                assert_eq!(intake.refused(), [(Refusal::Unauthorized, 1)]);
            }
        }
    }
    assert_eq!(format!("{basic:?} {bearer:?}"), "Basic(Secret(..)) Bearer(Secret(..))");
}

#[tokio::test(start_paused = true)]
async fn who_is_too_slow_is_told_to_try_again() {
    for protocol in PROTOCOLS {
        let connection = connect(settings());
        let mut client = Client::new(protocol, connection.stream).await;
        let (parts, body) = streamed();
        parts.send(Bytes::from_static(b"abc")).await.unwrap();
        let request: Request<()> = post(V2, ());
        let answered = answered(client.try_send(request.map(|()| body)).await.unwrap()).await;
        // It is the network that is slow: 4xx would lose the samples.
        assert!(is_unavailable(&answered));
        assert_eq!(written(&answered), Some([0; 3]));
        assert_eq!(connection.intake.refused(), [(Refusal::TimedOut, 1)]);
    }
}
