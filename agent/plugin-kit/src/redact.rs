//! Redaction: events whose values are replaced, and whose shape stays, so that they can be kept as fixtures. What is
//! replaced by what is said in docs/OPERATION.md, under "Looking at events".
//!
//! 1. A placeholder is drawn from HMAC-SHA-256 of the whole value, under a key that is made for one recording and never
//!    written: the same value has the same placeholder there, and nobody can find the value by trying.
//! 2. What is kept is kept because a rule says so; everything else is replaced.
//! 3. What is no JSON is walked word by word, with its punctuation as it is, so that it is parsed as before.

use std::collections::BTreeMap;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::traffic::Event;

mod json;
mod kept;
mod text;

#[cfg(test)]
mod tests;

/// Replaces values under one key.
pub struct Redactor {
    key: [u8; 64],
    /// Dotted paths whose values stay.
    keep: Vec<String>,
}

/// Characters in place of others, as many as are asked for.
struct Placeholder {
    mac: Hmac<Sha256>,
    block: [u8; 32],
    used: usize,
    blocks: u32,
}

// === impl Redactor ===

impl std::fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Redactor").field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl Redactor {
    /// With a key that was just made by chance. Values at the paths of `keep`, and below them, stay;
    /// `attributes.NAME` is an attribute of the stream.
    pub fn new(key: [u8; 64], keep: Vec<String>) -> Redactor {
        Redactor { key, keep }
    }

    /// An event with its values replaced.
    pub fn event(&self, event: &Event) -> Event {
        let attributes = event.attributes.iter();
        Event {
            text: self.text(&event.text),
            attributes: attributes.map(|(name, value)| (name.clone(), self.attribute(name, value))).collect(),
            time: event.time,
        }
    }

    /// Attributes with their values replaced.
    pub fn attributes(&self, attributes: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        attributes.iter().map(|(name, value)| (name.clone(), self.attribute(name, value))).collect()
    }

    /// A text with its values replaced: a JSON object, or any other line.
    pub fn text(&self, text: &str) -> String {
        json::redact(self, text).unwrap_or_else(|| text::redact_line(self, text))
    }

    fn attribute(&self, name: &str, value: &str) -> String {
        // Names of the agent's configuration and of the two output streams: they say nothing of anybody.
        match matches!(name, "source" | "stream") || self.keeps(&format!("attributes.{name}")) {
            true => value.to_owned(),
            false => text::redact_value(self, value),
        }
    }

    /// Whether what lies at a path stays.
    fn keeps(&self, path: &str) -> bool {
        self.keep.iter().any(|kept| {
            path.strip_prefix(kept.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    fn placeholder(&self, value: &str) -> Placeholder {
        let mut mac = Hmac::<Sha256>::new((&self.key).into());
        mac.update(value.as_bytes());
        Placeholder { mac, block: [0; 32], used: 32, blocks: 0 }
    }
}

// === impl Placeholder ===

impl Placeholder {
    fn byte(&mut self) -> u8 {
        if self.used == self.block.len() {
            let mut mac = self.mac.clone();
            // Behind a byte that is in no UTF-8 text.
            mac.update(&[0xff]);
            mac.update(&self.blocks.to_le_bytes());
            self.block = mac.finalize().into_bytes().into();
            self.blocks = self.blocks.wrapping_add(1);
            self.used = 0;
        }
        let byte = self.block.get(self.used).copied().unwrap_or_default();
        self.used += 1;
        byte
    }

    /// One of `count` numbers from `first` on.
    fn of(&mut self, first: u32, count: u32) -> u32 {
        let drawn = u32::from_le_bytes([self.byte(), self.byte(), self.byte(), 0]);
        first + drawn % count.max(1)
    }

    fn of_range(&mut self, first: char, count: u32) -> char {
        char::from_u32(self.of(first as u32, count)).unwrap_or(first)
    }

    /// A character of the same class, as long in UTF-8. Punctuation and space stay.
    fn like(&mut self, character: char) -> char {
        match character {
            'a'..='z' => self.of_range('a', 26),
            'A'..='Z' => self.of_range('A', 26),
            '0'..='9' => self.of_range('0', 10),
            _ if !character.is_alphanumeric() => character,
            // Letters of Latin, Hiragana and the mathematical alphabet: as many bytes as the one before.
            _ => match character.len_utf8() {
                2 => self.of_range('\u{e0}', 22),
                3 => self.of_range('\u{3042}', 64),
                _ => self.of_range('\u{1d400}', 80),
            },
        }
    }

    /// A hexadecimal digit in place of another.
    fn like_hex(&mut self, digit: char) -> char {
        let drawn = char::from_digit(self.of(0, 16), 16).unwrap_or('0');
        if digit.is_ascii_uppercase() { drawn.to_ascii_uppercase() } else { drawn }
    }
}
