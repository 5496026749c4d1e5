//! Times against another implementation, jiff.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn written(ns: i64) -> String {
    let mut out = Vec::new();
    write_rfc3339(&mut out, ns);
    String::from_utf8(out).unwrap()
}

/// Reads with a fresh reader, and with one that has just seen another minute and this very minute.
fn check(text: &str, expected: Option<&str>) {
    let expected = expected.map(|canonical| canonical.parse::<Timestamp>().unwrap().as_nanosecond() as i64);
    assert_eq!(parse_rfc3339(text.as_bytes()), expected, "{text:?}");
    let mut reader = Rfc3339Reader::default();
    reader.read(b"1999-12-31T23:59:59Z").unwrap();
    assert_eq!(reader.read(text.as_bytes()), expected, "{text:?} after another minute");
    assert_eq!(reader.read(text.as_bytes()), expected, "{text:?} again");
}

#[test]
fn what_is_written_differently_is_the_same_time() {
    for (text, canonical) in [
        ("2026-11-22T10:00:00.037000123Z", "2026-11-22T10:00:00.037000123Z"),
        ("2026-11-22T10:00:00.037Z", "2026-11-22T10:00:00.037Z"),
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
        ("2026-11-22 10:00:00z", "2026-11-22T10:00:00Z"),
        ("2026-11-22t10:00:00.5z", "2026-11-22T10:00:00.5Z"),
        ("2026-11-22T10:00:00.1234567899Z", "2026-11-22T10:00:00.123456789Z"),
        ("2026-11-22T10:00:00.00000000000000000001Z", "2026-11-22T10:00:00Z"),
        ("2026-11-22T10:00:00.037000123+00:00", "2026-11-22T10:00:00.037000123Z"),
        ("2026-11-22T10:00:00.037000123-00:00", "2026-11-22T10:00:00.037000123Z"),
        ("2026-11-22T10:00:00.037000123+05:30", "2026-11-22T04:30:00.037000123Z"),
        ("2026-11-22T10:00:00-23:59", "2026-11-23T09:59:00Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999999Z"),
        ("2016-12-31T23:59:60.5Z", "2016-12-31T23:59:59.999999999Z"),
        ("2017-01-01T00:59:60.000000000+01:00", "2016-12-31T23:59:59.999999999Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
        ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z"),
        ("1678-01-01T00:00:00+23:59", "1677-12-31T00:01:00Z"),
        ("2261-12-31T23:59:59.999999999-23:59", "2262-01-01T23:58:59.999999999Z"),
    ] {
        check(text, Some(canonical));
    }
}

#[test]
fn what_is_no_time_stamp_is_refused() {
    for text in [
        "",
        "Z",
        "2026-11-22",
        "2026-11-22T10:00",
        "2026-11-22T10:00Z",
        "2026-11-22T10:00:00",
        "2026-11-22T10:00:00.Z",
        "2026-11-22T10:00:00.5",
        "2026-11-22T10:00:00,5Z",
        "2026-11-22T10:00:00.037000123",
        "2026-11-22T10:00:00.037000123Z ",
        " 2026-11-22T10:00:00.037000123Z",
        "2026-11-22T10:00:00.037000123ZZ",
        "2026-11-22T10:00:00.03700012xZ",
        "2026-11-22T10:00:00.0370-0123Z",
        "2026-11-22T10:00:61.037000123Z",
        "2026-11-22T10:00:6:.037000123Z",
        "2026-11-22T10:60:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-31T10:00:00Z",
        "2026-02-29T10:00:00Z",
        "1900-02-29T10:00:00Z",
        "2026-00-22T10:00:00Z",
        "2026-13-22T10:00:00Z",
        "2026-11-00T10:00:00Z",
        "2026-11-22_10:00:00Z",
        "2026/11/22T10:00:00Z",
        "2026-11-22T10:00:00+24:00",
        "2026-11-22T10:00:00+00:60",
        "2026-11-22T10:00:00+0000",
        "2026-11-22T10:00:00 00:00",
        "2026-11-22T10:00:00+00:00:00",
        "1677-12-31T23:59:59Z",
        "2262-01-01T00:00:00Z",
        "+026-11-22T10:00:00Z",
        "２０２６-11-22T10:00:00Z",
    ] {
        check(text, None);
    }
}

#[test]
fn every_time_can_be_written() {
    for (ns, text) in [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
        (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
        (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
    ] {
        assert_eq!(written(ns), text);
    }
}

#[test]
fn eight_digits_are_written_and_read() {
    // The halves are worked on apart from each other, so that this is all there is.
    for half in 0..10_000 {
        for number in [half * 10_000 + half, half, half * 10_000 + 9_999 - half] {
            assert_eq!(eight(number), *format!("{number:08}").as_bytes());
            assert_eq!(eight_digits(eight(number)), Some(i64::from(number)));
        }
    }
    for at in 0..8 {
        for byte in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
            let mut digits = *b"90909090";
            digits[at] = byte;
            assert_eq!(eight_digits(digits), None, "{}", digits.escape_ascii());
        }
    }
}

#[test]
fn a_refused_minute_does_not_spoil_the_reader() {
    let mut reader = Rfc3339Reader::default();
    let good = b"2026-11-22T10:00:00.037000123Z";
    let time = reader.read(good);
    assert!(time.is_some());
    assert_eq!(reader.read(b"2026-11-99T10:00:00.037000123Z"), None);
    assert_eq!(reader.read(b"2026-11-99T10:00:00.037000123Z"), None);
    assert_eq!(reader.read(good), time);
}

prop_compose! {
    /// A stamp in one of the spellings that are taken, and the same time as jiff reads it.
    fn stamp()(
        second in -9_214_560_000i64..9_214_646_399,
        ns in 0i64..1_000_000_000,
        digits in 0usize..=12,
        offset in -(24 * 60 - 1)..24 * 60i32,
        zulu: bool,
        separator in prop::sample::select(vec!['T', 't', ' ']),
    ) -> (String, i64) {
        let offset = if zulu { 0 } else { offset };
        let kept = if digits >= 9 { ns } else { ns - ns % 10i64.pow(9 - digits as u32) };
        let local = Timestamp::new(second + i64::from(offset) * 60, 0).unwrap().to_string();
        let mut text = local.trim_end_matches('Z').replace('T', &separator.to_string());
        if digits > 0 {
            text += &format!(".{:.digits$}", format!("{ns:09}777"));
        }
        text += &if zulu {
            "Z".to_owned()
        } else {
            let sign = if offset < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", offset.abs() / 60, offset.abs() % 60)
        };
        (text, second * NS_PER_SECOND + kept)
    }
}

proptest! {
    #[test]
    fn reading_agrees_with_another_implementation((text, ns) in stamp(), (before, _) in stamp()) {
        prop_assert_eq!(parse_rfc3339(text.as_bytes()), Some(ns), "{}", text);
        let mut reader = Rfc3339Reader::default();
        prop_assert!(reader.read(before.as_bytes()).is_some());
        prop_assert_eq!(reader.read(text.as_bytes()), Some(ns), "{} after {}", text, before);
    }

    #[test]
    fn writing_agrees_with_another_implementation(ns: i64, before: i64, after in 0i64..200 * NS_PER_SECOND) {
        let expected = |ns| format!("{:.9}", Timestamp::from_nanosecond(i128::from(ns)).unwrap());
        prop_assert_eq!(written(ns), expected(ns));
        let mut writer = Rfc3339Writer::default();
        let mut out = Vec::new();
        let times = [before, ns, ns.saturating_add(after)];
        for ns in times {
            writer.write(&mut out, ns);
        }
        prop_assert_eq!(String::from_utf8(out).unwrap(), times.map(expected).concat());
    }

    #[test]
    fn what_was_written_is_read_back(ns in -9_214_560_000_000_000_000i64..9_214_646_399_000_000_000) {
        prop_assert_eq!(parse_rfc3339(written(ns).as_bytes()), Some(ns));
    }

    /// Whatever is done to a stamp, a reader that remembers answers as one that does not, and what is taken is
    /// what the other implementation reads.
    #[test]
    fn a_changed_stamp_is_read_alike((text, _) in stamp(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.remove(at); } else { bytes[at] = byte; }
        let fresh = parse_rfc3339(&bytes);
        let mut reader = Rfc3339Reader::default();
        reader.read(text.as_bytes());
        prop_assert_eq!(reader.read(&bytes), fresh);
        let changed = String::from_utf8_lossy(&bytes);
        if let (Some(ns), Ok(other)) = (fresh, changed.parse::<Timestamp>())
            && !changed.contains(":60")
        {
            prop_assert_eq!(i128::from(ns), other.as_nanosecond(), "{}", changed);
        }
    }
}

#[test]
fn the_time_of_a_field() {
    let record = parse_rfc3339(b"2026-11-22T10:00:00Z").unwrap();
    let hour = 60 * NS_PER_MINUTE;
    let day = 24 * hour;
    let cases = [
        ("2026-11-22T10:00:00.5Z", Some(NS_PER_SECOND / 2)),
        ("2026-11-22 11:00:00+02:00", Some(-hour)),
        ("1795341600", Some(0)),
        ("1795341600.25", Some(NS_PER_SECOND / 4)),
        ("1795341600123", Some(123_000_000)),
        ("1795341600123.5", Some(123_500_000)),
        ("1795341600123456", Some(123_456_000)),
        ("1795341600123456789", Some(123_456_789)),
        ("1795341600.1234567891", Some(123_456_789)),
        ("2026-11-15T10:00:00Z", Some(-7 * day)),
        ("2026-11-15T09:59:59.999999999Z", None),
        ("2026-11-22T11:00:00Z", Some(hour)),
        ("2026-11-22T11:00:00.000000001Z", None),
        ("", None),
        (".5", None),
        ("-1", None),
        ("1.795341600e9", None),
        ("99999999999999999999", None),
        ("yesterday", None),
        ("true", None),
        ("{}", None),
    ];
    for (text, expected) in cases {
        assert_eq!(of_field(text.as_bytes(), record), expected.map(|after| record + after), "{text}");
    }
}
