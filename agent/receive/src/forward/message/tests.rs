//! Messages of all modes, whole, changed and cut off.

use std::io::Write as _;

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use weir_event::batch::{Flags, MAX_EVENT_BYTES};

use super::*;
use crate::forward::msgpack::{MAX_DEPTH, Scan, Scanner};

const LIMIT: usize = 1 << 20;
const TIME: i64 = 1_800_000_000_000_000_000;

/// Builds msgpack from JSON; `Raw` pieces stand for what JSON cannot say.
pub(crate) fn pack(value: &serde_json::Value) -> Vec<u8> {
    use rmp::encode as rmp_encode;
    use serde_json::Value::{Array, Bool, Null, Number, Object, String};
    let mut out = Vec::new();
    match value {
        Null => rmp_encode::write_nil(&mut out).unwrap(),
        Bool(truth) => rmp_encode::write_bool(&mut out, *truth).unwrap(),
        Number(number) if number.is_f64() => {
            rmp_encode::write_f64(&mut out, number.as_f64().unwrap()).unwrap();
        }
        Number(number) => drop(rmp_encode::write_sint(&mut out, number.as_i64().unwrap()).unwrap()),
        String(text) => rmp_encode::write_str(&mut out, text).unwrap(),
        Array(values) => {
            rmp_encode::write_array_len(&mut out, values.len() as u32).unwrap();
            values.iter().for_each(|value| out.extend(pack(value)));
        }
        Object(members) => {
            rmp_encode::write_map_len(&mut out, members.len() as u32).unwrap();
            for (name, value) in members {
                rmp_encode::write_str(&mut out, name).unwrap();
                out.extend(pack(value));
            }
        }
    }
    out
}

macro_rules! packed {
    ($($json:tt)+) => { pack(&serde_json::json!($($json)+)) };
}
pub(crate) fn array(parts: &[&[u8]]) -> Vec<u8> {
    [&[0x90 | parts.len() as u8][..], &parts.concat()].concat()
}

pub(crate) fn bin(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    rmp::encode::write_bin(&mut out, bytes).unwrap();
    out
}

fn str_of(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    rmp::encode::write_str_len(&mut out, bytes.len() as u32).unwrap();
    out.extend_from_slice(bytes);
    out
}

fn event_time(seconds: u32, nanoseconds: u32) -> Vec<u8> {
    [&[0xd7, 0][..], &seconds.to_be_bytes(), &nanoseconds.to_be_bytes()].concat()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn decode(bytes: &[u8], limit: usize) -> Result<Message, Error> {
    let mut scanner = Scanner::new(usize::MAX);
    let Scan::Whole(frame) = scanner.scan(bytes)? else { return Err(Fault::Incomplete.into()) };
    assert_eq!(frame.bytes(), bytes.len());
    Envelope::read(bytes, &frame)?.expect("a message").decode(limit)
}

const PYTHON_FIRST: &str = "{\"from\":\"userA\",\"n\":3,\"ok\":true,\"none\":null,\"f\":1.5,\"raw\":\"\u{fffd}\\u0000\",\
                            \"list\":[1,{\"a\":\"b\"}]}";

type Event = (Option<i64>, u8, String);

fn events(message: &Message) -> Vec<Event> {
    let documents = message.documents.iter();
    documents
        .map(|(entry, text)| (entry.time, entry.flags.0, String::from_utf8(text.to_vec()).unwrap()))
        .collect()
}

/// The only event of a message whose time is this.
fn time_of(time: &[u8]) -> Result<(Option<i64>, Flags), Error> {
    let message = decode(&array(&[&packed!("t"), time, &packed!({})]), LIMIT)?;
    let [(time, flags, _)] = events(&message).try_into().unwrap();
    Ok((time, Flags(flags)))
}

#[test]
fn all_modes_say_the_same() {
    let entry = array(&[&event_time(1_800_000_000, 5), &packed!({"a": 1})]);
    let second = array(&[&packed!(1_800_000_001), &packed!({"b": "x"})]);
    let stream = [entry.clone(), second.clone()].concat();
    let zstd = zstd::encode_all(&stream[..], 1).unwrap();
    let frames =
        [zstd::encode_all(&entry[..], 1).unwrap(), zstd::encode_all(&second[..], 1).unwrap()].concat();
    let tag = packed!("app.log");
    let gzipped = packed!({"compressed": "gzip", "chunk": "abc", "size": 2, "other": [1]});
    for message in [
        array(&[&tag, &array(&[&entry, &second])]),
        array(&[&tag, &array(&[&entry, &second]), &packed!({"size": 2})]),
        array(&[&bin(b"app.log"), &array(&[&entry, &second]), &packed!(null)]),
        array(&[&tag, &bin(&stream)]),
        array(&[&tag, &str_of(&stream), &packed!({"compressed": "text"})]),
        array(&[&tag, &bin(&gzip(&stream)), &gzipped]),
        array(&[&tag, &bin(&[gzip(&entry), gzip(&second)].concat()), &gzipped]),
        array(&[&tag, &bin(&zstd), &packed!({"compressed": "zstd"})]),
        array(&[&tag, &bin(&frames), &packed!({"compressed": "zstd"})]),
    ] {
        let message = decode(&message, LIMIT).unwrap();
        assert_eq!(message.tag, "app.log");
        assert_eq!(
            events(&message),
            [
                (Some(TIME + 5), 0, String::from("{\"a\":1}")),
                (Some(TIME + 1_000_000_000), 0, String::from("{\"b\":\"x\"}")),
            ]
        );
    }
    for options in [&[][..], &[&packed!({})[..]], &[&packed!(null)[..]]] {
        let message = array(&[&[&tag[..], &packed!(1_800_000_000), &packed!({"a": 1})], options].concat());
        assert_eq!(events(&decode(&message, LIMIT).unwrap()), [(Some(TIME), 0, String::from("{\"a\":1}"))]);
    }
}

/// What real clients sent: `fluent-logger` 0.11 for Python, `@fluent-org/logger` 1.0 for Node in all four modes.
#[test]
fn recorded_clients_are_understood() {
    let python = [
        (Some(TIME + 500_000_000), Flags::INVALID_UTF8.0, String::from(PYTHON_FIRST)),
        (Some(TIME + 1_000_000_000), 0, String::from("{\"text\":\"grüße\\n\"}")),
    ];
    let node = [
        (Some(TIME + 7), 0, String::from("{\"i\":1,\"text\":\"x\"}")),
        (Some(TIME + 1_000_000_000), 0, String::from("{\"i\":2,\"big\":4294967296,\"neg\":-1.5}")),
    ];
    for (mut bytes, tags, chunks, expected) in [
        (&include_bytes!("../fixtures/python.msgpack")[..], "app.follow app", 0, &python),
        (&include_bytes!("../fixtures/node-message.msgpack")[..], "app.a app.a", 2, &node),
        (&include_bytes!("../fixtures/node-forward.msgpack")[..], "app.a", 1, &node),
        (&include_bytes!("../fixtures/node-packed.msgpack")[..], "app.a", 1, &node),
        (&include_bytes!("../fixtures/node-compressed.msgpack")[..], "app.a", 1, &node),
    ] {
        let (mut scanner, mut found, mut of_tags, mut of_chunks) = (Scanner::new(LIMIT), vec![], vec![], 0);
        while !bytes.is_empty() {
            let Ok(Scan::Whole(frame)) = scanner.scan(bytes) else { panic!("not whole") };
            let (message, rest) = bytes.split_at(frame.bytes());
            let envelope = Envelope::read(message, &frame).unwrap().unwrap();
            let message = envelope.decode(LIMIT).unwrap();
            found.extend(events(&message));
            of_chunks += usize::from(envelope.ack().is_some() && message.key.is_some());
            of_tags.push(message.tag);
            bytes = rest;
        }
        assert_eq!((of_tags.join(" ").as_str(), of_chunks), (tags, chunks));
        assert_eq!(found, expected);
    }
}

#[test]
fn empty_messages_have_no_documents() {
    for entries in [packed!([]), bin(b""), str_of(b"")] {
        let message = array(&[&packed!("t"), &entries, &packed!({"compressed": "gzip"})]);
        assert!(decode(&message, LIMIT).unwrap().documents.is_empty());
    }
    let gzipped = array(&[&packed!("t"), &bin(&gzip(b"")), &packed!({"compressed": "gzip"})]);
    assert!(decode(&gzipped, LIMIT).unwrap().documents.is_empty());
}

#[test]
fn times_are_read_in_every_form() {
    let ext8 = [&[0xc7, 8, 0][..], &event_time(1_800_000_000, 1)[2..]].concat();
    for (time, expected) in [
        (event_time(1_800_000_000, 999_999_999), Some(TIME + 999_999_999)),
        (ext8, Some(TIME + 1)),
        (packed!(1_800_000_000), Some(TIME)),
        (packed!(-1), Some(-1_000_000_000)),
        (packed!(1_800_000_000.25), Some(TIME + 250_000_000)),
        (packed!(-0.5), Some(-500_000_000)),
        (packed!(0), None),
        (packed!(0.0), None),
        (packed!(null), None),
        (event_time(0, 0), None),
    ] {
        assert_eq!(time_of(&time), Ok((expected, Flags::default())), "{time:x?}");
    }
    for time in
        [packed!(i64::MAX), packed!(1e300), vec![0xcf; 9], [&[0xcb][..], &f64::NAN.to_be_bytes()].concat()]
    {
        assert_eq!(time_of(&time), Ok((None, Flags::TIME_IGNORED)), "{time:x?}");
    }
    for time in [packed!(true), packed!({}), vec![0xd6, 0, 0, 0, 0, 0], vec![0xd7, 1, 0, 0, 0, 0, 0, 0, 0, 0]]
    {
        assert!(matches!(time_of(&time), Err(Error::Unexpected(_))), "{time:x?}");
    }
}

#[test]
fn metadata_of_fluent_bit_goes_with_the_record() {
    let time = event_time(1_800_000_000, 0);
    let head = |metadata: &[u8]| array(&[&time, metadata]);
    let mark = array(&[&event_time(u32::MAX, 0), &packed!({})]);
    let stream = [
        array(&[&mark, &packed!({"resource": {}})]),
        array(&[&head(&packed!({"m": {"x": 1}})), &packed!({"a": 1})]),
        array(&[&head(&packed!({})), &packed!({"a": 2})]),
        array(&[&head(&packed!(null)), &packed!({"a": 3})]),
        array(&[&array(&[&time]), &packed!({"a": 4}), &packed!("more")]),
        array(&[&array(&[&event_time(u32::MAX - 1, 0), &packed!({})]), &packed!({})]),
    ]
    .concat();
    let texts = |message: Vec<u8>| -> Vec<String> {
        let message = decode(&message, LIMIT).unwrap();
        events(&message)
            .into_iter()
            .map(|(time, _, text)| (time == Some(TIME)).then_some(text).unwrap())
            .collect()
    };
    let expected = [r#"{"a":1,"metadata":{"m":{"x":1}}}"#, r#"{"a":2}"#, r#"{"a":3}"#, r#"{"a":4}"#];
    assert_eq!(texts(array(&[&packed!("t"), &bin(&stream)])), expected);
    let options = packed!({"metadata": {"m": 1}});
    let message = array(&[&packed!("t"), &time, &packed!({"a": 1}), &options]);
    assert_eq!(texts(message), [r#"{"a":1,"metadata":{"m":1}}"#]);
}

#[test]
fn what_was_replaced_is_flagged() {
    let record = [&[0x81][..], &str_of(b"a"), &str_of(b"\xff")].concat();
    let stream = [array(&[&[1], &record]), array(&[&[1], &packed!({"a": 1})])].concat();
    let message = decode(&array(&[&packed!("t"), &bin(&stream)]), LIMIT).unwrap();
    let flags: Vec<u8> = events(&message).iter().map(|(_, flags, _)| *flags).collect();
    assert_eq!(flags, [Flags::INVALID_UTF8.0, 0]);
    let long = packed!({"a": "x".repeat(MAX_EVENT_BYTES)});
    let message = decode(&array(&[&packed!("t"), &[1], &long]), LIMIT).unwrap();
    assert_eq!(events(&message)[0].1, Flags::TRUNCATED.0);
}

#[test]
fn chunks_are_answered_as_they_came() {
    let message = |tag: &str, chunk: &[u8]| {
        let options = [&[0x81][..], &packed!("chunk"), chunk].concat();
        array(&[&packed!(tag), &packed!([]), &options])
    };
    let read = |bytes: Vec<u8>| {
        let Ok(Scan::Whole(frame)) = Scanner::new(LIMIT).scan(&bytes) else { panic!("not whole") };
        let envelope = Envelope::read(&bytes, &frame).unwrap().unwrap();
        (envelope.ack(), envelope.key())
    };
    let (ack, key) = read(message("t", &packed!("abc")));
    assert_eq!(ack, Some(packed!({"ack": "abc"})));
    let (as_bytes, same) = read(message("t", &bin(b"abc")));
    assert_eq!(as_bytes, Some([&[0x81][..], &packed!("ack"), &bin(b"abc")].concat()));
    assert_eq!(key, Some(XxHash3_64::oneshot(b"chunk\x01\0\0\0\x03\0\0\0tabc")));
    assert_eq!(same, key);
    assert_ne!(read(message("u", &packed!("abc"))).1, key);
    assert_ne!(read(message("ta", &packed!("bc"))).1, key);
    assert_eq!(read(message("t", &packed!(null))), (None, None));
    let long = decode(&message("t", &packed!("x".repeat(MAX_CHUNK_BYTES + 1))), LIMIT);
    assert!(matches!(long, Err(Error::Unexpected(_))));
}

#[test]
fn what_is_no_message_is_refused() {
    let tag = packed!("t");
    let bad_entry = [array(&[&[1], &packed!({})]), vec![7]].concat();
    let cut_entry = [array(&[&[1], &packed!({})]), vec![0x92, 1]].concat();
    let gzip_cut = gzip(&bad_entry)[..10].to_vec();
    let with = |options: serde_json::Value| array(&[&tag, &bin(&[]), &pack(&options)]);
    for message in [
        array(&[]),
        array(&[&tag]),
        array(&[&[1], &packed!([])]),
        array(&[&packed!("t".repeat(MAX_TAG_BYTES + 1)), &packed!([])]),
        array(&[&tag, &[1]]),
        array(&[&tag, &packed!({}), &packed!({})]),
        array(&[&tag, &packed!([[1]])]),
        array(&[&tag, &packed!([[[], {}]])]),
        array(&[&tag, &packed!([["1", {}]])]),
        array(&[&tag, &packed!([{}])]),
        array(&[&tag, &packed!([]), &[1]]),
        array(&[&tag, &bin(&bad_entry)]),
        array(&[&tag, &bin(&cut_entry)]),
        array(&[&tag, &bin(&gzip(&bad_entry)), &packed!({"compressed": "gzip"})]),
        array(&[&tag, &bin(&gzip(&cut_entry)), &packed!({"compressed": "gzip"})]),
        array(&[&tag, &bin(&gzip_cut), &packed!({"compressed": "gzip"})]),
        array(&[&tag, &bin(b"\x28\xb5\x2f"), &packed!({"compressed": "zstd"})]),
        array(&[&tag, &bin(b"none"), &packed!({"compressed": "zstd"})]),
        with(serde_json::json!({"chunk": 1})),
        with(serde_json::json!({"compressed": "lz4"})),
        with(serde_json::json!({"fluent_signal": 1})),
        with(serde_json::json!({"fluent_signal": 2})),
        packed!({}),
        packed!("text"),
        vec![0x16],
    ] {
        let refused = decode(&message, LIMIT).unwrap_err();
        assert!(!refused.to_string().is_empty(), "{message:x?}");
    }
    let metrics = decode(&with(serde_json::json!({"fluent_signal": 1})), LIMIT);
    assert_eq!(metrics.unwrap_err(), Error::Unsupported("metrics"));
    assert!(decode(&with(serde_json::json!({"fluent_signal": 0})), LIMIT).is_ok());
}

#[test]
fn a_bare_nil_is_no_message() {
    let Ok(Scan::Whole(frame)) = Scanner::new(LIMIT).scan(&[0xc0]) else { panic!("not whole") };
    assert!(Envelope::read(&[0xc0], &frame).unwrap().is_none());
}

#[test]
fn bombs_end_at_the_limit() {
    let entry = array(&[&[1], &packed!({})]);
    let many = entry.repeat(LIMIT);
    let large = array(&[&[1], &packed!({"a": "x".repeat(3 * LIMIT)})]);
    let declared = [0x92, 1, 0x81, 0xa1, b'a', 0xc6, 0xff, 0xff, 0xff, 0xff].to_vec();
    let endless = [declared, vec![0; 4 * LIMIT]].concat();
    for bytes in [&many, &large, &endless] {
        let zstd = zstd::encode_all(&bytes[..], 1).unwrap();
        for (compressed, name) in [(gzip(bytes), "gzip"), (zstd, "zstd")] {
            let message = array(&[&packed!("t"), &bin(&compressed), &packed!({"compressed": name})]);
            let refused = decode(&message, LIMIT).unwrap_err();
            assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
        }
    }
    // What is small as msgpack and large as documents.
    let refused = decode(&array(&[&packed!("t"), &bin(&entry.repeat(LIMIT / 3))]), LIMIT / 3).unwrap_err();
    assert_eq!(refused, Error::TooLarge { limit: LIMIT / 3 * MAX_GROWTH });
}

#[test]
fn a_zstd_window_has_a_bound() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(27)).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(&array(&[&[1], &packed!({})])).unwrap();
    let message = array(&[&packed!("t"), &bin(&encoder.finish().unwrap()), &packed!({"compressed": "zstd"})]);
    assert_eq!(decode(&message, LIMIT).unwrap_err(), Error::Compression("zstd"));
}

#[test]
fn entries_larger_than_the_window_are_read() {
    let large = array(&[&[1], &packed!({"a": "x".repeat(300_000)})]);
    let small = array(&[&[1], &packed!({})]);
    let stream = [small.clone(), large.clone(), small, large].concat();
    let message = array(&[&packed!("t"), &bin(&gzip(&stream)), &packed!({"compressed": "gzip"})]);
    let lengths: Vec<usize> =
        events(&decode(&message, LIMIT).unwrap()).iter().map(|(_, _, text)| text.len()).collect();
    assert_eq!(lengths, [2, 300_008, 2, 300_008]);
}

#[test]
fn packed_entries_may_be_as_deep_as_others() {
    let nested = [vec![0x91; MAX_DEPTH - 1], vec![1]].concat();
    let entry = array(&[&[1], &[&[0x81, 1][..], &nested].concat()]);
    assert!(decode(&array(&[&packed!("t"), &bin(&entry)]), LIMIT).is_ok());
    assert_eq!(
        decode(&array(&[&packed!("t"), &array(&[&entry])]), LIMIT).unwrap_err(),
        Fault::TooDeep.into()
    );
}

proptest! {
    #[test]
    fn changed_messages_are_read_or_refused(
        kind in 0usize..5,
        cut in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let entry = array(&[&event_time(9, 9), &packed!({"a": [1, {"b": null}], "c": "text", "d": 1.5})]);
        let stream = entry.repeat(3);
        let tag = packed!("tag");
        let options = |name: &str| packed!({"chunk": "c", "compressed": name, "size": 3});
        let mut bytes = match kind {
            0 => array(&[&tag, &[9], &packed!({"a": 1}), &packed!({"chunk": "c"})]),
            1 => array(&[&tag, &array(&[&entry, &entry]), &packed!({"chunk": "c"})]),
            2 => array(&[&tag, &bin(&stream), &options("text")]),
            3 => array(&[&tag, &bin(&gzip(&stream)), &options("gzip")]),
            _ => array(&[&tag, &bin(&zstd::encode_all(&stream[..], 1).unwrap()), &options("zstd")]),
        };
        let end = cut.index(bytes.len());
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        for bytes in [&bytes[..], &bytes[..end]] {
            let mut scanner = Scanner::new(LIMIT);
            let Ok(Scan::Whole(frame)) = scanner.scan(bytes) else { continue };
            let Ok(Some(envelope)) = Envelope::read(&bytes[..frame.bytes()], &frame) else { continue };
            let Ok(message) = envelope.decode(LIMIT) else { continue };
            for (_, text) in message.documents.iter() {
                serde_json::from_slice::<serde_json::Value>(text).unwrap();
                prop_assert_eq!((text.first(), text.contains(&b'\n')), (Some(&b'{'), false));
            }
        }
    }
}
