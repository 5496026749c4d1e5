//! Shapes: what the series of a metric have in common, which is the metric's name and a layout.
//!
//! The name is the value of the layout's first label. A metric of one series takes not much more with a shape of its own
//! than without: there are few layouts, and a shape adds a number and a name to one of them.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};
use weir_samples::labels::METRIC_NAME;

use super::bytes::Label;
use super::layouts::{Draft, Layouts, LayoutsMark};

/// The number that stands for no shape.
pub(super) const WHOLE: u16 = 0;

/// More shapes are not kept; label sets beyond are kept whole.
const MAX_SHAPES: usize = if cfg!(test) { 12 } else { u16::MAX as usize };

/// Shapes of one target.
#[derive(Debug)]
pub(super) struct Shapes {
    /// The labels that most sets have, as a label set.
    shared: Vec<u8>,
    layouts: Layouts,
    /// By number, from 1.
    list: Vec<Shape>,
    /// Names behind their lengths.
    names: Vec<u8>,
    numbers: HashTable<u16>,
    hasher: DefaultHashBuilder,
    /// The one that was taken last.
    last: u16,
    draft: Draft,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    /// Where its name lies.
    name: u32,
    layout: u16,
    /// Whether it has one.
    is_named: bool,
}

/// How far the arenas were filled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ShapesMark {
    layouts: LayoutsMark,
    list: usize,
    names: usize,
}

// === impl Shapes ===

impl Shapes {
    /// None, for sets most of which have these labels.
    pub(super) fn new(shared: Vec<u8>) -> Shapes {
        Shapes {
            shared,
            layouts: Layouts::new(),
            list: Vec::new(),
            names: Vec::new(),
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            last: WHOLE,
            draft: Draft::default(),
        }
    }

    /// The labels that sets share.
    pub(super) fn shared(&self) -> &[u8] {
        &self.shared
    }

    /// The shape of a label set, whose values that are not in it are appended to `values`. `None` for a set that has to
    /// be kept whole; then anything may have been appended.
    pub(super) fn take_apart(&mut self, labels: &[u8], values: &mut Vec<u8>) -> Option<u16> {
        self.draft.clear();
        let mut name = None;
        let mut is_first = true;
        let mut shared = Label::split(&self.shared);
        let mut rest = labels;
        while !rest.is_empty() {
            let (label, behind) = Label::split(rest)?;
            rest = behind;
            // Both are in the order of their names.
            while let Some((candidate, behind)) = shared
                && candidate.name < label.name
            {
                shared = Label::split(behind);
            }
            let is_shared = shared.is_some_and(|(candidate, _)| candidate.bytes == label.bytes);
            if is_shared {
                self.draft.push_shared(&label);
                continue;
            }
            self.draft.push_own(&label)?;
            if is_first && label.name == METRIC_NAME.as_bytes() {
                name = Some(label.value);
            } else {
                values.extend_from_slice(label.value);
            }
            is_first = false;
        }
        self.draft.finish()?;
        self.number(name)
    }

    /// Appends a label set of this shape with these values, behind which anything may lie.
    #[inline]
    pub(super) fn write(&self, number: u16, mut values: &[u8], out: &mut Vec<u8>) {
        let Some(shape) = self.list.get(usize::from(number).wrapping_sub(1)) else { return };
        let Some(mut writer) = self.layouts.writer(shape.layout) else { return };
        if shape.is_named {
            let mut name = self.names.get(shape.name as usize..).unwrap_or_default();
            writer.write_next(&mut name, out);
        }
        while writer.write_next(&mut values, out) {}
    }

    /// How far the arenas are filled.
    pub(super) fn mark(&self) -> ShapesMark {
        ShapesMark { layouts: self.layouts.mark(), list: self.list.len(), names: self.names.len() }
    }

    /// Forgets what was added since.
    pub(super) fn roll_back(&mut self, mark: ShapesMark) {
        for index in mark.list..self.list.len() {
            let number = index as u16 + 1;
            if let Ok(found) = self.numbers.find_entry(self.hash(self.key(number)), |known| *known == number)
            {
                found.remove();
            }
        }
        self.list.truncate(mark.list);
        self.names.truncate(mark.names);
        self.layouts.roll_back(mark.layouts);
        self.last = WHOLE;
    }

    /// Gives memory back that was taken ahead.
    pub(super) fn fit(&mut self) {
        self.list.shrink_to_fit();
        self.names.shrink_to_fit();
        self.layouts.fit();
        self.draft = Draft::default();
    }

    /// The number of the shape with the drafted layout and this name, which may be new.
    fn number(&mut self, name: Option<&[u8]>) -> Option<u16> {
        // A layout that no shape could have is not kept.
        let limit = if self.list.len() < MAX_SHAPES { MAX_SHAPES } else { 0 };
        let layout = self.layouts.number(&self.draft, limit)?;
        let key = (layout, name);
        if self.key(self.last) == key {
            return Some(self.last);
        }
        let hash = self.hash(key);
        if let Some(number) = self.numbers.find(hash, |number| self.key(*number) == key) {
            self.last = *number;
            return Some(*number);
        }
        if self.list.len() >= MAX_SHAPES {
            return None;
        }
        let start = u32::try_from(self.names.len()).ok()?;
        self.names.extend_from_slice(name.unwrap_or_default());
        self.list.push(Shape { name: start, layout, is_named: name.is_some() });
        let number = u16::try_from(self.list.len()).ok()?;
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.insert_unique(hash, number, |number| self.hash(self.key(*number)));
        self.numbers = numbers;
        self.last = number;
        Some(number)
    }

    /// What tells a shape from others: its layout, and its name behind its length.
    fn key(&self, number: u16) -> (u16, Option<&[u8]>) {
        let index = usize::from(number).wrapping_sub(1);
        let Some(shape) = self.list.get(index) else { return (u16::MAX, None) };
        let end = self.list.get(index + 1).map_or(self.names.len(), |next| next.name as usize);
        let name = self.names.get(shape.name as usize..end).unwrap_or_default();
        (shape.layout, shape.is_named.then_some(name))
    }

    fn hash(&self, key: (u16, Option<&[u8]>)) -> u64 {
        self.hasher.hash_one(key)
    }
}
