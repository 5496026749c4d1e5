//! Keys of the archive: what lies where.
//!
//! ```text
//! PREFIX/CLUSTER/NAMESPACE/YYYY/MM/DD/HH/NODE-FIRSTTIME-SHA256PREFIX.ndjson.zst
//! PREFIX/CLUSTER/NAMESPACE/YYYY/MM/DD/HH/NODE.PART.index.json
//! ```
//!
//! 1. The key of a data object follows from its content and its writer's name: a repeat stores nothing new.
//! 2. Two different names never have the same folder, whatever is in them; see [`folder`].
//! 3. Keys of one node sort by the time of their first event.

use std::fmt::Write as _;

use twox_hash::XxHash3_64;
use weir_event::time::{parse_rfc3339, write_rfc3339};

/// The folder of events without a namespace.
pub const NO_NAME: &str = "_none";
/// What the names of data objects end with.
pub const DATA_SUFFIX: &str = ".ndjson.zst";
/// What the names of index objects end with.
pub const INDEX_SUFFIX: &str = ".index.json";
/// Hex digits of the SHA-256 in a data object's name.
pub const SHA_DIGITS: usize = 16;
/// Digits of a part in an index object's name.
const PART_DIGITS: usize = 3;
/// The last part that an index can have.
pub const LAST_PART: u32 = 999;
/// Length of `20231114T221320.123456789Z`.
const TIME_LEN: usize = 26;
/// A folder's name is never longer: with all the rest, a key stays below the 1,024 bytes that stores take.
const MAX_FOLDER: usize = 128;
/// Characters of a long name that stay readable.
const KEPT: usize = 96;

const NS_PER_HOUR: i64 = 3_600_000_000_000;
/// The hours that a time stamp can name: 1678-01-01T00 and 2261-12-31T23.
const HOURS: (i64, i64) = (-2_559_600, 2_559_623);

/// An hour in UTC, counted from the Unix epoch. Times beyond the years 1678 to 2261 count to the first or last hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(i64);

/// What the name of an object in an hour's folder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// Events.
    Data {
        /// The writer's folder name.
        node: &'a str,
        /// The first hex digits of its SHA-256.
        sha256: &'a str,
    },
    /// A part of an index.
    Index {
        /// The writer's folder name.
        node: &'a str,
        /// From 0.
        part: u32,
    },
    /// Nothing that the archive writes.
    Other,
}

// === impl Hour ===

impl Hour {
    /// The hour in which a time (nanoseconds since the Unix epoch) lies.
    pub fn of(time: i64) -> Hour {
        Hour(time.div_euclid(NS_PER_HOUR).clamp(HOURS.0, HOURS.1))
    }

    /// Its first nanosecond.
    pub fn start(self) -> i64 {
        self.0.saturating_mul(NS_PER_HOUR)
    }

    /// The hour that is so many behind it.
    #[must_use]
    pub fn plus(self, hours: i64) -> Hour {
        Hour(self.0.saturating_add(hours).clamp(HOURS.0, HOURS.1))
    }

    /// Its folder: `2023/11/14/22`.
    pub fn folder(self) -> String {
        let text = stamp(self.start());
        let part = |from, to| text.get(from..to).unwrap_or_default();
        format!("{}/{}/{}/{}", part(0, 4), part(5, 7), part(8, 10), part(11, 13))
    }

    /// The folder of its day: `2023/11/14`.
    pub fn day_folder(self) -> String {
        let mut folder = self.folder();
        folder.truncate(10);
        folder
    }

    /// The hour with this folder.
    pub fn parse(folder: &str) -> Option<Hour> {
        let mut parts = folder.split('/');
        let mut next = |len: usize| {
            let part = parts.next()?;
            (part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit())).then_some(part)
        };
        let (year, month, day, hour) = (next(4)?, next(2)?, next(2)?, next(2)?);
        if parts.next().is_some() {
            return None;
        }
        parse_rfc3339(format!("{year}-{month}-{day}T{hour}:00:00Z").as_bytes()).map(Hour::of)
    }

    /// As people write it: `2023-11-14T22`.
    pub fn text(self) -> String {
        stamp(self.start()).get(..13).unwrap_or_default().to_owned()
    }

    /// The hour that [`Hour::text`] made this of.
    pub fn parse_text(text: &str) -> Option<Hour> {
        let hour = parse_rfc3339(format!("{text}:00:00Z").as_bytes()).map(Hour::of)?;
        (hour.text() == text).then_some(hour)
    }
}

/// A name as a part of a key. Letters, digits, `-`, `.` and `_` stay; a dot or underscore at the beginning and every
/// other byte becomes `%XX`; a long name keeps its beginning and gets a hash; an empty one is [`NO_NAME`].
pub fn folder(name: &str) -> String {
    if name.is_empty() {
        return NO_NAME.to_owned();
    }
    let mut folder = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => folder.push(char::from(byte)),
            b'.' | b'_' if at > 0 => folder.push(char::from(byte)),
            _ => drop(write!(folder, "%{byte:02X}")),
        }
    }
    if folder.len() > MAX_FOLDER {
        folder.truncate(KEPT);
        // No other name has this character.
        let _ = write!(folder, "~{:016x}", XxHash3_64::oneshot(name.as_bytes()));
    }
    folder
}

/// The name that [`folder`] made this of, as far as it is still in it: for people, where nothing else says it.
pub fn name_of(folder: &str) -> String {
    if folder == NO_NAME {
        return String::new();
    }
    let mut bytes = Vec::with_capacity(folder.len());
    let mut rest = folder;
    while let Some((before, behind)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = behind.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(digits.unwrap_or(b'%'));
        rest = if digits.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What all keys of a cluster begin with, slash included.
pub fn root(prefix: &str, cluster: &str) -> String {
    match prefix.is_empty() {
        true => format!("{}/", folder(cluster)),
        false => format!("{prefix}/{}/", folder(cluster)),
    }
}

/// What all keys of an hour begin with, slash included, behind [`root`].
pub fn hour_prefix(root: &str, namespace_folder: &str, hour: Hour) -> String {
    format!("{root}{namespace_folder}/{}/", hour.folder())
}

/// The name of a data object.
pub fn data_name(node: &str, first: i64, sha256: &str) -> String {
    let time: String = stamp(first).chars().filter(|char| !matches!(char, '-' | ':')).collect();
    format!("{}-{time}-{}{DATA_SUFFIX}", folder(node), sha256.get(..SHA_DIGITS).unwrap_or(sha256))
}

/// The name of a part of an index.
pub fn index_name(node: &str, part: u32) -> String {
    format!("{}.{part:0PART_DIGITS$}{INDEX_SUFFIX}", folder(node))
}

/// What a name says.
pub fn parse_name(name: &str) -> Name<'_> {
    parse_data(name).or_else(|| parse_index(name)).unwrap_or(Name::Other)
}

fn parse_data(name: &str) -> Option<Name<'_>> {
    let (rest, sha256) = name.strip_suffix(DATA_SUFFIX)?.rsplit_once('-')?;
    let (node, time) = rest.rsplit_once('-')?;
    let is_hex = sha256.len() == SHA_DIGITS && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && time.len() == TIME_LEN && !node.is_empty()).then_some(Name::Data { node, sha256 })
}

fn parse_index(name: &str) -> Option<Name<'_>> {
    let (node, part) = name.strip_suffix(INDEX_SUFFIX)?.rsplit_once('.')?;
    let is_number = part.len() == PART_DIGITS && part.bytes().all(|byte| byte.is_ascii_digit());
    let part = part.parse().ok().filter(|_| is_number && !node.is_empty())?;
    Some(Name::Index { node, part })
}

/// A time as `2023-11-14T22:13:20.123456789Z`.
pub(crate) fn stamp(time: i64) -> String {
    let mut text = Vec::new();
    write_rfc3339(&mut text, time);
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hours_have_folders() {
        let hour = Hour::of(1_700_000_000_123_456_789);
        assert_eq!(hour.folder(), "2023/11/14/22");
        assert_eq!(hour.day_folder(), "2023/11/14");
        assert_eq!(hour.text(), "2023-11-14T22");
        assert_eq!(Hour::of(-1).folder(), "1969/12/31/23");
        assert_eq!(Hour::of(i64::MIN).folder(), "1678/01/01/00");
        assert_eq!(Hour::of(i64::MAX).folder(), "2261/12/31/23");
        for wrong in ["2023/11/14", "2023/11/14/24", "2023/11/14/22/1", "a/b/c/d", "+023/11/14/22"] {
            assert_eq!(Hour::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_made_safe() {
        let cases = [
            ("shop", "shop"),
            ("", "_none"),
            ("_none", "%5Fnone"),
            ("..", "%2E."),
            ("a/b", "a%2Fb"),
            ("node-1.example", "node-1.example"),
            ("ü", "%C3%BC"),
        ];
        for (name, expected) in cases {
            assert_eq!(folder(name), expected);
            assert_eq!(name_of(expected), name);
        }
        let (one, other) = (folder(&"x".repeat(500)), folder(&"x".repeat(501)));
        assert_ne!(one, other);
        assert!(one.len() <= MAX_FOLDER);
        assert_eq!(name_of("100%"), "100%");
    }

    #[test]
    fn names_of_objects_say_what_they_are() {
        let name = data_name("node-1", 1_700_000_000_123_456_789, &"ab".repeat(32));
        assert_eq!(name, "node-1-20231114T221320.123456789Z-abababababababab.ndjson.zst");
        assert_eq!(parse_name(&name), Name::Data { node: "node-1", sha256: "abababababababab" });
        let name = index_name("node.1", 7);
        assert_eq!(name, "node.1.007.index.json");
        assert_eq!(parse_name(&name), Name::Index { node: "node.1", part: 7 });
        for other in ["", "x", ".ndjson.zst", "a-b.ndjson.zst", ".000.index.json", "a.+01.index.json"] {
            assert_eq!(parse_name(other), Name::Other, "{other}");
        }
    }

    proptest! {
        #[test]
        fn hours_and_folders_are_one_to_one(time: i64) {
            let hour = Hour::of(time);
            prop_assert_eq!(Hour::parse(&hour.folder()), Some(hour));
            prop_assert_eq!(Hour::parse_text(&hour.text()), Some(hour));
        }

        #[test]
        fn folders_differ_where_names_do(one in "\\PC{0,40}", other in "\\PC{0,40}") {
            prop_assert_eq!(folder(&one) == folder(&other), one == other);
            prop_assert!(!folder(&one).contains('/'));
        }

        #[test]
        fn any_name_is_parsed(name in "\\PC{0,80}") {
            let _ = parse_name(&name);
            let _ = name_of(&name);
        }
    }
}
