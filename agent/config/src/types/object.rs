//! Object stores: names of buckets and regions, and what keys begin with.

use super::Format;
use crate::error::Complaint;
use crate::text::quoted;

/// The name of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketName(pub String);

/// The name of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegionName(pub String);

/// What keys begin with, with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPrefix(pub String);

/// The rest of a key has its room too: 1,024 bytes are the most.
const MAX_PREFIX_BYTES: usize = 256;

impl Format for BucketName {
    const NAME: &'static str = "BucketName";
    const DESCRIPTION: &'static str = "The name of a bucket: 3 to 63 small letters, digits, `-` and `.`.";
    const PATTERN: Option<&'static str> = Some("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$");
    const EXPECTED: &'static str = "the name of a bucket such as weir-buffer";

    fn parse(text: &str) -> Result<BucketName, Complaint> {
        let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_good = (3..=63).contains(&text.len())
            && text.chars().all(|c| is_end(c) || matches!(c, '.' | '-'))
            && text.starts_with(is_end)
            && text.ends_with(is_end);
        match is_good {
            true => Ok(BucketName(text.to_owned())),
            false => Err(wrong(BucketName::EXPECTED, text)),
        }
    }
}

impl Format for RegionName {
    const NAME: &'static str = "RegionName";
    const DESCRIPTION: &'static str = "The name of a region: letters, digits, `-` and `_`.";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9_-]{1,64}$");
    const EXPECTED: &'static str = "the name of a region such as us-east-1";

    fn parse(text: &str) -> Result<RegionName, Complaint> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        match (1..=64).contains(&text.len()) && text.chars().all(is_plain) {
            true => Ok(RegionName(text.to_owned())),
            false => Err(wrong(RegionName::EXPECTED, text)),
        }
    }
}

impl Format for KeyPrefix {
    const NAME: &'static str = "KeyPrefix";
    const DESCRIPTION: &'static str = "What keys of objects begin with: parts of letters, digits, `.`, `_` and `-` with \
                                       slashes between them, and the placeholders `{cluster}` and `{node}`.";
    const EXPECTED: &'static str = "what keys begin with, such as {cluster}/{node}";

    fn parse(text: &str) -> Result<KeyPrefix, Complaint> {
        let plain = text.replace("{cluster}", "c").replace("{node}", "n");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(is_plain);
        match text.len() <= MAX_PREFIX_BYTES && plain.split('/').all(is_part) {
            true => Ok(KeyPrefix(text.to_owned())),
            false => Err(wrong(KeyPrefix::EXPECTED, text)),
        }
    }
}

fn wrong(expected: &str, text: &str) -> Complaint {
    Complaint::new(format!("expected {expected}, found {}", quoted(text)))
}
