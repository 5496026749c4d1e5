//! What clients may say in the handshake, and what they hear.

use std::collections::BTreeMap;

use super::*;

/// What a client sends as PING, with these secrets.
pub(crate) fn ping(hello: &[u8], shared_key: &str, user: Option<(&str, &str)>) -> Vec<u8> {
    let (nonce, auth_salt) = read_hello(hello);
    let (name, password) = user.unwrap_or_default();
    let password = match user {
        Some(_) => hex_digest(&[auth_salt.as_bytes(), name.as_bytes(), password.as_bytes()]),
        None => String::new(),
    };
    let shared_key = hex_digest(&[b"salt", b"client", nonce.as_bytes(), shared_key.as_bytes()]);
    let mut out = Vec::new();
    rmp_encode::write_array_len(&mut out, 6).unwrap();
    for text in ["PING", "client", "salt", &shared_key, name, &password] {
        rmp_encode::write_str(&mut out, text).unwrap();
    }
    out
}

fn text<'a>(reader: &mut Reader<'a>) -> &'a str {
    std::str::from_utf8(reader.text().unwrap().unwrap()).unwrap()
}

/// The nonce, and the salt for passwords.
fn read_hello(bytes: &[u8]) -> (String, String) {
    let mut reader = Reader::new(bytes);
    assert_eq!(reader.head(), Ok(Head::Array(2)));
    assert_eq!(text(&mut reader), "HELO");
    assert_eq!(reader.head(), Ok(Head::Map(3)));
    assert_eq!(text(&mut reader), "nonce");
    let nonce = text(&mut reader).to_owned();
    assert_eq!(text(&mut reader), "auth");
    let salt = text(&mut reader).to_owned();
    assert_eq!(text(&mut reader), "keepalive");
    assert_eq!(reader.head(), Ok(Head::Bool(true)));
    assert!(reader.rest().is_empty());
    (nonce, salt)
}

/// Whether the PONG accepts, its reason, and whether it proves the key.
pub(crate) fn read_pong(bytes: &[u8], hello: &[u8], shared_key: &str) -> (bool, String, bool) {
    let mut reader = Reader::new(bytes);
    assert_eq!(reader.head(), Ok(Head::Array(5)));
    assert_eq!(text(&mut reader), "PONG");
    let Ok(Head::Bool(accepted)) = reader.head() else { panic!("no truth value") };
    let reason = text(&mut reader).to_owned();
    let (hostname, digest) = (text(&mut reader), text(&mut reader));
    assert!(reader.rest().is_empty());
    let nonce = read_hello(hello).0;
    let expected = hex_digest(&[b"salt", hostname.as_bytes(), nonce.as_bytes(), shared_key.as_bytes()]);
    (accepted, reason, digest == expected)
}

pub(crate) fn settings(shared_key: Option<&str>, users: &[(&str, &str)]) -> Settings {
    let users = users.iter().map(|(name, password)| ((*name).to_owned(), Secret::new(*password)));
    Settings {
        shared_key: shared_key.map(Secret::new),
        users: BTreeMap::from_iter(users),
        hostname: String::from("server"),
        ..Settings::default()
    }
}

#[test]
fn who_knows_the_secrets_is_accepted() {
    let one_user = &[("me", "word")][..];
    let with_empty = &[("me", "")][..];
    for (key, users, sent_key, sent_user, expected) in [
        (Some("key"), &[][..], "key", None, Ok(())),
        (Some("key"), &[], "key", Some(("me", "any")), Ok(())),
        (Some("key"), &[], "kez", None, Err(Denied::SharedKey)),
        (Some("key"), &[], "", None, Err(Denied::SharedKey)),
        (Some("key"), one_user, "key", Some(("me", "word")), Ok(())),
        (None, one_user, "", Some(("me", "word")), Ok(())),
        (None, one_user, "key", Some(("me", "word")), Err(Denied::SharedKey)),
        (Some("key"), one_user, "key", Some(("me", "worse")), Err(Denied::User)),
        (Some("key"), one_user, "key", Some(("you", "word")), Err(Denied::User)),
        (Some("key"), one_user, "key", Some(("you", "")), Err(Denied::User)),
        (Some("key"), one_user, "key", None, Err(Denied::User)),
        (Some("key"), with_empty, "key", Some(("me", "")), Ok(())),
    ] {
        let settings = settings(key, users);
        let challenge = Challenge::new(&settings).unwrap();
        let hello = challenge.hello();
        assert_eq!(read_hello(&hello).1.is_empty(), users.is_empty());
        let verdict = challenge.judge(&ping(&hello, sent_key, sent_user)).unwrap();
        let pong = read_pong(&verdict.pong, &hello, key.unwrap_or_default());
        let reason = expected.err().map_or_else(String::new, |denied: Denied| denied.to_string());
        assert_eq!(pong, (expected.is_ok(), reason, expected.is_ok()));
        assert_eq!(verdict.client, expected.map(|()| String::from("client")));
    }
}

#[test]
fn an_answer_to_another_challenge_is_refused() {
    let settings = settings(Some("key"), &[("me", "word")]);
    let [first, second] = [(); 2].map(|()| Challenge::new(&settings).unwrap());
    let answer = ping(&first.hello(), "key", Some(("me", "word")));
    assert_eq!(second.judge(&answer).unwrap().client, Err(Denied::SharedKey));
    let mixed = Challenge { nonce: first.nonce.clone(), ..second };
    assert_eq!(mixed.judge(&answer).unwrap().client, Err(Denied::User));
}

#[test]
fn what_is_no_ping_is_refused() {
    let settings = settings(Some("key"), &[]);
    let challenge = Challenge::new(&settings).unwrap();
    let good = ping(&challenge.hello(), "key", None);
    for end in 0..good.len() {
        assert!(challenge.judge(&good[..end]).is_err());
    }
    for bytes in [
        &b"\xc0"[..],
        b"\x96\xa4PONG\xa0\xa0\xa0\xa0\xa0",
        b"\x93\xa1t\x01\x80",
        b"\x96\xa4PING\x01\x01\x01\x01\x01",
    ] {
        assert!(challenge.judge(bytes).is_err(), "{bytes:x?}");
    }
}

#[test]
fn digests_are_those_of_sha512() {
    assert!(hex_digest(&[b"a", b"bc"]).starts_with("ddaf35a193617abacc417349ae204131"));
    assert_eq!(hex_digest(&[]).len(), 128);
}

/// What `@fluent-org/logger` 1.0 for Node answered to this nonce and this salt.
#[test]
fn a_recorded_ping_is_accepted() {
    let settings = settings(Some("key"), &[("me", "word")]);
    let (nonce, auth_salt) = (String::from("0123456789abcdef"), String::from("fedcba9876543210"));
    let challenge = Challenge { settings: &settings, nonce, auth_salt };
    let verdict = challenge.judge(include_bytes!("../fixtures/node-ping.msgpack")).unwrap();
    assert_eq!(verdict.client, Ok(String::from("client")));
}
