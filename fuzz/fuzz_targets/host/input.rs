//! Choices out of bytes. Where they end, every choice is the first.

/// What is left of an input.
#[derive(Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn number(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// A number below `end`, which is at most 256.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// Whether one of so many cases is at hand. The usual one is not.
    pub fn one_in(&mut self, cases: usize) -> bool {
        self.below(cases) == cases - 1
    }

    /// One of these, now and then another text.
    pub fn text_of(&mut self, texts: &[&str]) -> String {
        if self.one_in(16) {
            let bytes = self.some(12, Input::byte);
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        texts[self.below(texts.len())].to_owned()
    }

    /// Up to `most` of them.
    pub fn some<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.below(most + 1);
        (0..count).map(|_| one(self)).collect()
    }
}
