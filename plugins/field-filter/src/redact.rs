//! Redaction of one field, by patterns or by a keyed hash.

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use regex::{Regex, RegexBuilder};
use sha2::Sha256;
use weir_sdk::{ColumnBuilder, ConfigError, Kind};

use crate::config::{Hash, Redact};

/// What replaces a match, and an object or array where text was expected.
const MASK: &str = "***";
/// A compiled pattern takes at most this much of the plugin's memory; compiling that much takes some 25 ms.
const MAX_PATTERN_BYTES: usize = 2 * 1024 * 1024;
/// What searching may remember of one pattern.
const MAX_CACHE_BYTES: usize = 1024 * 1024;
/// A shorter key can be guessed.
const MIN_KEY_BYTES: usize = 16;
/// Hex digits of a hash: below the first other values look the same, the second is all there are.
const HASH_DIGITS: std::ops::RangeInclusive<usize> = 16..=64;

pub(crate) enum Redaction {
    /// Each pattern with what replaces it, in this order.
    Patterns(Vec<(Regex, String)>),
    Hash {
        keyed: Hmac<Sha256>,
        digits: usize,
    },
}

/// The redactions, all patterns of one field together.
pub(crate) fn by_field(redacts: &[Redact]) -> Result<Vec<(&str, Redaction)>, ConfigError> {
    let mut fields: Vec<(&str, Redaction)> = Vec::new();
    for (index, redact) in redacts.iter().enumerate() {
        let redaction = Redaction::new(index, redact)?;
        let known = fields.iter_mut().find(|(field, _)| *field == redact.field);
        match (known, redaction) {
            (None, redaction) => fields.push((&redact.field, redaction)),
            (Some((_, Redaction::Patterns(known))), Redaction::Patterns(more)) => known.extend(more),
            _ => {
                let message = "is redacted twice, a hash must be the field's only redaction";
                return Err(ConfigError::at(format!("redact[{index}].field"), message));
            }
        }
    }
    Ok(fields)
}

impl Redaction {
    fn new(index: usize, redact: &Redact) -> Result<Redaction, ConfigError> {
        let at = |key: &str, message: String| ConfigError::at(format!("redact[{index}]{key}"), message);
        match (&redact.pattern, &redact.hash) {
            (Some(pattern), None) => {
                let pattern = RegexBuilder::new(pattern)
                    .size_limit(MAX_PATTERN_BYTES)
                    .dfa_size_limit(MAX_CACHE_BYTES)
                    .build();
                let pattern = pattern.map_err(|error| at(".pattern", error.to_string()))?;
                Ok(Redaction::Patterns(vec![(pattern, redact.replace.clone().unwrap_or(MASK.into()))]))
            }
            (None, Some(_)) if redact.replace.is_some() => {
                Err(at(".replace", "belongs to a pattern, a hash replaces the whole value".into()))
            }
            (None, Some(hash)) => hashing(hash).map_err(|(key, message)| at(key, message)),
            _ => Err(at("", "give either pattern or hash".into())),
        }
    }

    /// Writes the redacted value. Every value that is there is written, even where nothing in it was replaced: a
    /// written value takes the place of all duplicates of the member, and only the last of them was read.
    pub(crate) fn write(&self, column: &mut ColumnBuilder, row: usize, kind: Kind, value: &[u8]) {
        match (kind, self) {
            (Kind::Absent, _) => {}
            (Kind::Null | Kind::Bool, _) => column.raw(row, kind, value),
            (_, Redaction::Hash { keyed, digits }) => {
                column.raw(row, Kind::String, &hex_hash(keyed, value)[..*digits])
            }
            (Kind::Object | Kind::Array, Redaction::Patterns(_)) => column.string(row, MASK),
            (_, Redaction::Patterns(patterns)) => match std::str::from_utf8(value) {
                Ok(text) => write_replaced(column, row, kind, text, patterns),
                Err(_) => column.string(row, MASK),
            },
        }
    }
}

fn hashing(hash: &Hash) -> Result<Redaction, (&'static str, String)> {
    if hash.key.len() < MIN_KEY_BYTES {
        return Err((".hash.key", format!("has {} bytes, give at least {MIN_KEY_BYTES}", hash.key.len())));
    }
    if !HASH_DIGITS.contains(&hash.length) {
        let (least, most) = (HASH_DIGITS.start(), HASH_DIGITS.end());
        return Err((".hash.length", format!("must be from {least} to {most} hex digits")));
    }
    let keyed =
        Hmac::new_from_slice(hash.key.as_bytes()).map_err(|error| (".hash.key", error.to_string()))?;
    Ok(Redaction::Hash { keyed, digits: hash.length })
}

fn write_replaced(
    column: &mut ColumnBuilder,
    row: usize,
    kind: Kind,
    text: &str,
    patterns: &[(Regex, String)],
) {
    let mut current = Cow::Borrowed(text);
    for (pattern, replace) in patterns {
        if let Cow::Owned(replaced) = pattern.replace_all(&current, replace) {
            current = Cow::Owned(replaced);
        }
    }
    match current {
        Cow::Borrowed(unchanged) => column.raw(row, kind, unchanged.as_bytes()),
        // A number of which a part is replaced is no number any more.
        Cow::Owned(replaced) => column.string(row, &replaced),
    }
}

/// HMAC-SHA256 as lower-case hex digits.
fn hex_hash(keyed: &Hmac<Sha256>, value: &[u8]) -> [u8; 64] {
    let hash = keyed.clone().chain_update(value).finalize().into_bytes();
    let mut digits = [0; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(hash) {
        pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
    digits
}

fn hex_digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble)]
}
