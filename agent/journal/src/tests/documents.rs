//! The document of an entry.

use proptest::collection::vec;
use proptest::prelude::*;
use weir_event::batch::{Flags, MAX_EVENT_BYTES};

use crate::document::{Documents, time_of};
use crate::export::{Parsed, Parser};
use crate::selection::Selection;
use crate::settings::{Fields, JournalSettings};

fn known() -> JournalSettings {
    JournalSettings::default()
}

fn all() -> JournalSettings {
    JournalSettings { fields: Fields::All, ..JournalSettings::default() }
}

fn with_entry<T>(settings: &JournalSettings, fields: &[(&str, &[u8])], then: impl FnOnce(&Parser) -> T) -> T {
    let mut parser = Parser::new(Selection::new(settings));
    let mut input = Vec::new();
    for (name, value) in fields {
        input.extend([name.as_bytes(), b"\n", &(value.len() as u64).to_le_bytes(), value, b"\n"].concat());
    }
    input.push(b'\n');
    assert_eq!(parser.next(&mut &input[..]), Some(Parsed::Entry));
    then(&parser)
}

fn document(settings: &JournalSettings, fields: &[(&str, &[u8])]) -> (String, Flags) {
    with_entry(settings, fields, |parser| {
        let mut documents = Documents::new(Selection::new(settings));
        let (document, flags) = documents.write(parser.entry());
        (String::from_utf8(document.to_vec()).unwrap(), flags)
    })
}

fn check(settings: &JournalSettings, fields: &[(&str, &[u8])], expected: &str) {
    let found = document(settings, fields);
    assert_eq!(found, (expected.to_owned(), Flags::default()));
}

const KUBELET: [(&str, &[u8]); 17] = [
    ("__CURSOR", b"s=1;i=1"),
    ("__REALTIME_TIMESTAMP", b"1700000000000000"),
    ("__MONOTONIC_TIMESTAMP", b"1000000"),
    ("_BOOT_ID", b"0123"),
    ("_MACHINE_ID", b"4567"),
    ("_HOSTNAME", b"node-1"),
    ("PRIORITY", b"4"),
    ("_UID", b"0"),
    ("_TRANSPORT", b"stdout"),
    ("_SYSTEMD_CGROUP", b"/system.slice/kubelet.service"),
    ("_SYSTEMD_UNIT", b"kubelet.service"),
    ("SYSLOG_IDENTIFIER", b"kubelet"),
    ("_PID", b"812"),
    ("_COMM", b"kubelet"),
    ("_EXE", b"/usr/bin/kubelet"),
    ("MESSAGE", b"{\"msg\":\"pod \\\"web\\\" not ready\"}\n"),
    ("SYSLOG_FACILITY", b"3"),
];

const KUBELET_KNOWN: &str = concat!(
    r#""message":"{\"msg\":\"pod \\\"web\\\" not ready\"}\n","priority":4,"level":"warn","#,
    r#""unit":"kubelet.service","identifier":"kubelet","pid":812,"comm":"kubelet","exe":"/usr/bin/kubelet","#,
    r#""hostname":"node-1","boot_id":"0123","transport":"stdout","machine_id":"4567""#
);

#[test]
fn an_entry_becomes_an_object_of_known_members() {
    check(&known(), &KUBELET, &format!("{{{KUBELET_KNOWN}}}"));
}

#[test]
fn all_fields_come_where_all_are_wanted() {
    let rest =
        r#""journal":{"syslog_facility":"3","_systemd_cgroup":"/system.slice/kubelet.service","_uid":"0"}"#;
    check(&all(), &KUBELET, &format!("{{{KUBELET_KNOWN},{rest}}}"));
}

#[test]
fn extra_fields_come_by_name() {
    let settings = JournalSettings { extra_fields: vec!["_UID".into(), "UNHEARD_OF".into()], ..known() };
    check(&settings, &KUBELET, &format!("{{{KUBELET_KNOWN},\"journal\":{{\"_uid\":\"0\"}}}}"));
}

#[test]
fn each_priority_has_a_level() {
    let levels = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];
    for (number, level) in levels.into_iter().enumerate() {
        let expected = format!(r#"{{"priority":{number},"level":"{level}"}}"#);
        check(&known(), &[("PRIORITY", number.to_string().as_bytes())], &expected);
    }
}

#[test]
fn a_number_that_is_none_has_no_member() {
    for priority in [&b"8"[..], b"", b"-1", b"04", b"info"] {
        check(&known(), &[("PRIORITY", priority)], "{}");
    }
    for pid in [&b""[..], b"-1", b"1x", b"99999999999999999999"] {
        check(&known(), &[("_PID", pid)], "{}");
    }
    check(&all(), &[("PRIORITY", b"8"), ("_PID", b"x")], r#"{"journal":{"priority":"8","_pid":"x"}}"#);
    check(&known(), &[("_PID", b"007")], r#"{"pid":7}"#);
}

#[test]
fn what_the_manager_writes_about_a_unit_belongs_to_the_unit() {
    let own: [(&str, &[u8]); 3] =
        [("_PID", b"1"), ("_SYSTEMD_UNIT", b"init.scope"), ("UNIT", b"kubelet.service")];
    check(&known(), &own, r#"{"unit":"kubelet.service","pid":1}"#);
    let expected = r#"{"unit":"kubelet.service","pid":1,"journal":{"_systemd_unit":"init.scope"}}"#;
    check(&all(), &own, expected);
    // Anybody can say so.
    let pretended: [(&str, &[u8]); 3] =
        [("_PID", b"7"), ("_SYSTEMD_UNIT", b"evil.service"), ("UNIT", b"kubelet.service")];
    check(&known(), &pretended, r#"{"unit":"evil.service","pid":7}"#);
    check(&known(), &[("UNIT", b"a.service")], r#"{"unit":"a.service"}"#);
}

#[test]
fn repeated_fields_are_arrays_in_their_order() {
    let fields: [(&str, &[u8]); 5] =
        [("TAG", b"2"), ("MESSAGE", b"first"), ("TAG", b"1"), ("MESSAGE", b"second"), ("TAG", b"2")];
    check(&all(), &fields, r#"{"message":"first","journal":{"message":"second","tag":["2","1","2"]}}"#);
    check(&known(), &fields, r#"{"message":"first"}"#);
}

#[test]
fn an_entry_without_a_known_field_is_an_empty_object() {
    check(&known(), &[("__CURSOR", b"c"), ("OTHER", b"x")], "{}");
}

#[test]
fn what_is_not_utf_8_is_replaced_and_flagged() {
    let found = document(&known(), &[("MESSAGE", b"a\xffb\xe2\x82c")]);
    assert_eq!(found, ("{\"message\":\"a\u{fffd}b\u{fffd}c\"}".to_owned(), Flags::INVALID_UTF8));
}

#[test]
fn control_characters_are_escaped() {
    check(&known(), &[("MESSAGE", b"\x1b[1m\x00\"\\\t")], r#"{"message":"\u001b[1m\u0000\"\\\t"}"#);
}

#[test]
fn a_document_has_a_bound_and_the_message_comes_first() {
    let long = vec![b'x'; MAX_EVENT_BYTES];
    let (text, flags) = document(&all(), &[("OTHER", &long), ("MESSAGE", b"short"), ("_COMM", b"c")]);
    assert!(text.starts_with(r#"{"message":"short","comm":"c","journal":{"other":"xxx"#));
    assert!(text.len() < MAX_EVENT_BYTES + 100);
    assert_eq!(flags, Flags::TRUNCATED);
    let (text, flags) = document(&known(), &[("MESSAGE", &long), ("_COMM", b"c")]);
    assert!(text.ends_with(r#"xxx","comm":""}"#));
    assert_eq!(flags, Flags::TRUNCATED);
}

#[test]
fn the_time_is_the_senders_where_it_may_be() {
    const WRITTEN: u64 = 1_700_000_000_000_000;
    let ok = Flags::default();
    type Case<'a> = (&'a [(&'a str, &'a [u8])], Option<u64>, (u64, Flags));
    let cases: [Case<'_>; 9] = [
        (&[("__REALTIME_TIMESTAMP", b"1700000000000000")], None, (WRITTEN, ok)),
        (&[("MESSAGE", b"m")], Some(WRITTEN), (WRITTEN, ok)),
        (&[("_SOURCE_REALTIME_TIMESTAMP", b"1699999999999999")], Some(WRITTEN), (WRITTEN - 1, ok)),
        (&[("_SOURCE_REALTIME_TIMESTAMP", b"1700000000000001")], Some(WRITTEN), (WRITTEN + 1, ok)),
        (&[("_SOURCE_REALTIME_TIMESTAMP", b"1")], Some(WRITTEN), (WRITTEN, Flags::TIME_IGNORED)),
        (
            &[("_SOURCE_REALTIME_TIMESTAMP", b"1800000000000000")],
            Some(WRITTEN),
            (WRITTEN, Flags::TIME_IGNORED),
        ),
        (&[("_SOURCE_REALTIME_TIMESTAMP", b"soon")], Some(WRITTEN), (WRITTEN, Flags::TIME_IGNORED)),
        (&[("MESSAGE", b"m")], None, (0, Flags::TIME_IGNORED)),
        (&[("__REALTIME_TIMESTAMP", b"18446744073709551615")], None, (0, Flags::TIME_IGNORED)),
    ];
    for (fields, cursor, (microseconds, flags)) in cases {
        let found = with_entry(&known(), fields, |parser| time_of(parser.entry(), cursor));
        assert_eq!(found, (microseconds as i64 * 1_000, flags), "{fields:?}");
    }
}

proptest! {
    #[test]
    fn every_document_is_a_json_object_with_its_values(
        fields in vec(("(MESSAGE|_PID|PRIORITY|UNIT|_SYSTEMD_UNIT|[A-C]|_[A-C][0-9])", vec(any::<u8>(), 0..12)), 0..12)
    ) {
        let fields: Vec<(&str, &[u8])> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).chain([("Z", &b"z"[..])]).collect();
        let (text, flags) = document(&all(), &fields);
        let found: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        let lossy = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let message = fields.iter().find(|(name, _)| *name == "MESSAGE").map(|(_, value)| lossy(value));
        prop_assert_eq!(found.get("message").and_then(|value| value.as_str()), message.as_deref());
        let is_utf8 = fields.iter().all(|(_, value)| std::str::from_utf8(value).is_ok());
        prop_assert_eq!(flags.has(Flags::INVALID_UTF8), !is_utf8);
        // Nothing is left out: each field has a member, an element of an array, or both a priority and its level.
        let under = |value: &serde_json::Value| value.as_array().map_or(1, Vec::len);
        let listed: usize = found["journal"].as_object().unwrap().values().map(under).sum();
        let known = found.keys().filter(|name| !["journal", "level"].contains(&name.as_str())).count();
        prop_assert_eq!(listed + known, fields.len());
    }
}
