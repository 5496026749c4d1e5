//! All groups, and how a sample finds its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::group::Group;
use crate::labels::LabelSet;
use crate::varint;

/// A longer key is counted with the groups that found no place.
const MAX_KEY_BYTES: usize = 1024;
/// Tag of a label's name.
const NAME_TAG: u8 = 0x0a;
/// Tag of a label's value.
const VALUE_TAG: u8 = 0x12;

/// A group with its key: for each label that groups are made by, in the order of these labels' names, the length of its value
/// and the value.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) key: Box<[u8]>,
    group: Mutex<Group>,
}

/// Groups by their keys.
#[derive(Debug)]
pub(super) struct Groups {
    max_groups: usize,
    by_key: HashMap<Box<[u8]>, Arc<Cell>>,
    /// The tick that all groups have gone on to.
    pub(super) swept: u64,
}

// === impl Cell ===

impl Cell {
    pub(super) fn new(key: &[u8]) -> Cell {
        Cell { key: key.into(), group: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values in the key.
    pub(super) fn values(&self) -> Vec<String> {
        let (mut values, mut rest) = (Vec::new(), &*self.key);
        while let Some((value, after)) = varint::read_bytes(rest) {
            values.push(String::from_utf8_lossy(value).into_owned());
            rest = after;
        }
        values
    }
}

// === impl Groups ===

impl Groups {
    pub(super) fn new(max_groups: usize) -> Groups {
        Groups { max_groups, by_key: HashMap::new(), swept: 0 }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Arc<Cell>> {
        self.by_key.get(key)
    }

    /// A new group; `None` where there is no place.
    pub(super) fn add(&mut self, key: &[u8]) -> Option<Arc<Cell>> {
        if self.is_full() {
            return None;
        }
        let cell = Arc::new(Cell::new(key));
        self.by_key.insert(key.into(), cell.clone());
        Some(cell)
    }

    pub(super) fn is_full(&self) -> bool {
        self.by_key.len() >= self.max_groups
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Cell>> {
        self.by_key.values()
    }

    pub(super) fn retain(&mut self, mut stays: impl FnMut(&Arc<Cell>) -> bool) {
        self.by_key.retain(|_, cell| stays(cell));
    }
}

/// Writes a sample's key. `names` are in order, as labels are. False where the key is too long.
#[inline]
pub(super) fn write_key(labels: LabelSet<'_>, names: &[String], key: &mut Vec<u8>) -> bool {
    key.clear();
    let mut rest = labels.bytes();
    let mut label = None;
    for wanted in names {
        // Labels are read as bytes: checking that they are text would take longer than all the rest.
        let value = loop {
            let Some((name, value)) = label else {
                let Some((next, after)) = read_label(rest) else { break &[][..] };
                (label, rest) = (Some(next), after);
                continue;
            };
            match wanted.as_bytes().cmp(name) {
                std::cmp::Ordering::Less => break &[],
                std::cmp::Ordering::Equal => break value,
                std::cmp::Ordering::Greater => label = None,
            }
        };
        varint::write(key, value.len() as u64);
        key.extend_from_slice(value);
        if key.len() > MAX_KEY_BYTES {
            return false;
        }
    }
    true
}

type Label<'a> = (&'a [u8], &'a [u8]);

#[inline]
fn read_label(bytes: &[u8]) -> Option<(Label<'_>, &[u8])> {
    let (label, rest) = varint::read_bytes(bytes.strip_prefix(&[crate::labels::LABEL_TAG])?)?;
    let (name, label) = varint::read_bytes(label.strip_prefix(&[NAME_TAG])?)?;
    let (value, _) = varint::read_bytes(label.strip_prefix(&[VALUE_TAG])?)?;
    Some(((name, value), rest))
}
