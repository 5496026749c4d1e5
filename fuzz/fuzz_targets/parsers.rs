//! Parsers: any text becomes one JSON object on one line that has the text under `message` and no name twice.
#![no_main]

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use weir_event::parse::{MAX_MEMBERS, Parser, RegexParser};

static PARSERS: LazyLock<Vec<Parser>> = LazyLock::new(|| {
    let pattern = r"^(?<time>\S+) +(?<level>[A-Z]+)(?: \[(?<thread>[^\]]*)\])? ?(?<message>.*)$";
    let regex = RegexParser::new(pattern).map(|regex| Parser::Regex(Box::new(regex)));
    [Parser::Json, Parser::Auto, Parser::Logfmt, Parser::Klog, Parser::None]
        .into_iter()
        .chain(regex)
        .collect()
});

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for parser in PARSERS.iter() {
        let mut out = b"before".to_vec();
        parser.render(&text, &mut out);
        let document = out.strip_prefix(b"before").expect("what was there");
        assert!(!document.contains(&b'\n'));
        let Members(members) = serde_json::from_slice(document).expect("an object of strings");
        assert_eq!(members.first(), Some(&("message".to_owned(), text.clone().into_owned())));
        assert!(members.len() <= MAX_MEMBERS);
        let names: HashSet<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), members.len(), "a name twice");
    }
});

/// An object's members in their order, those of one name too.
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Members;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}
