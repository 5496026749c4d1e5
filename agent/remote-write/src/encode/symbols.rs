//! The symbols of one request of 2.0: every text once, known by its index.

use hashbrown::HashTable;
use twox_hash::XxHash3_64;
use weir_samples::wire;

/// Field 4 of `Request`, with a length.
const SYMBOL_TAG: u8 = 0x22;

/// Texts, and labels as they lie in documents, with their indices.
pub(super) struct Symbols<'a> {
    texts: HashTable<(&'a [u8], u32)>,
    labels: HashTable<(&'a [u8], Refs)>,
    count: u32,
}

/// A label's name and value, as indices of the symbols.
pub(super) type Refs = (u32, u32);

// === impl Symbols ===

impl<'a> Symbols<'a> {
    /// The empty text alone, which is the first one always; it is written to `out`, as all that follow are.
    pub fn new(out: &mut Vec<u8>) -> Symbols<'a> {
        out.extend_from_slice(&[SYMBOL_TAG, 0]);
        Symbols { texts: HashTable::with_capacity(1024), labels: HashTable::with_capacity(1024), count: 1 }
    }

    /// The index of a text.
    pub fn text(&mut self, out: &mut Vec<u8>, text: &'a [u8]) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let hash = XxHash3_64::oneshot(text);
        if let Some((_, index)) = self.texts.find(hash, |(known, _)| *known == text) {
            return *index;
        }
        let index = self.count;
        self.count += 1;
        out.push(SYMBOL_TAG);
        wire::write_varint(out, text.len() as u64);
        out.extend_from_slice(text);
        self.texts.insert_unique(hash, (text, index), |(known, _)| XxHash3_64::oneshot(known));
        index
    }

    /// The indices of a label, `label` being all of its field `labels`.
    pub fn label(&mut self, out: &mut Vec<u8>, label: &'a [u8]) -> Option<Refs> {
        let hash = XxHash3_64::oneshot(label);
        if let Some((_, refs)) = self.labels.find(hash, |(known, _)| *known == label) {
            return Some(*refs);
        }
        let (name, value) = weir_samples::labels::LabelSet::new(label).iter().next()?;
        let refs = (self.text(out, name.as_bytes()), self.text(out, value.as_bytes()));
        self.labels.insert_unique(hash, (label, refs), |(known, _)| XxHash3_64::oneshot(known));
        Some(refs)
    }
}
