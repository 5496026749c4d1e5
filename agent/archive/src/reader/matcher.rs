//! Whether a document is what was asked for.

use weir_event::path::PathError;

use super::object::{Asked, Wanted};
use crate::fields::Finder;

/// Compares documents with conditions.
pub(super) struct Matcher {
    finder: Finder,
    /// For each condition, whether it holds for the document at hand.
    holds: Vec<bool>,
}

// === impl Matcher ===

impl Matcher {
    pub fn new(asked: &Asked) -> Result<Matcher, PathError> {
        let finder = Finder::new(asked.wanted.iter().map(|wanted| wanted.field.as_str()))?;
        Ok(Matcher { finder, holds: vec![false; asked.wanted.len()] })
    }

    /// Whether every condition holds.
    pub fn matches(&mut self, document: &[u8], asked: &Asked) -> bool {
        if !asked.wanted.iter().all(|wanted| may_hold(document, wanted)) {
            return false;
        }
        self.holds.fill(false);
        let holds = &mut self.holds;
        self.finder.find(document, |condition, value| {
            let wanted = asked.wanted.get(condition).is_some_and(|wanted| wanted.value.as_bytes() == value);
            if let Some(holds) = holds.get_mut(condition) {
                *holds |= wanted;
            }
        });
        self.holds.iter().all(|holds| *holds)
    }
}

/// A value that stands nowhere in a document without escapes is not in it: most documents are told off here. A number in
/// an array may be spelled in another way than its value.
fn may_hold(document: &[u8], wanted: &Wanted) -> bool {
    memchr::memmem::find(document, wanted.value.as_bytes()).is_some()
        || memchr::memchr(b'\\', document).is_some()
        || wanted.value.parse::<f64>().is_ok()
}
