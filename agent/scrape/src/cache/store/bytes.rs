//! Bytes of label sets: how they are read apart, and how short runs of them are copied.

use weir_samples::labels::{LABEL_TAG, NAME_TAG, VALUE_TAG};
use weir_samples::varint;

/// Bytes that are copied at once.
pub(super) const CHUNK: usize = 64;
/// As many as most values and names have.
const SHORT: usize = 32;

/// A label as it lies in a set: a tag, the length of what follows, the name's field, and the value's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) name: &'a [u8],
    /// The name's field, and the tag of the value's.
    pub(super) head: &'a [u8],
    /// The value behind its length.
    pub(super) value: &'a [u8],
}

// === impl Label ===

impl<'a> Label<'a> {
    /// The label that a set begins with, and the others; `None` for what no
    /// [`LabelsBuilder`](weir_samples::labels::LabelsBuilder) makes.
    #[inline]
    pub(super) fn split(labels: &'a [u8]) -> Option<(Label<'a>, &'a [u8])> {
        let (body, rest) = split_run(labels.strip_prefix(&[LABEL_TAG])?)?;
        let (name, value) = split_run(body.strip_prefix(&[NAME_TAG])?)?;
        let value = value.strip_prefix(&[VALUE_TAG])?;
        let (_, behind) = split_run(value)?;
        let (bytes, _) = labels.split_at_checked(labels.len() - rest.len())?;
        let (head, _) = body.split_at_checked(body.len() - value.len())?;
        behind.is_empty().then_some((Label { bytes, name, head, value }, rest))
    }
}

/// Appends the first `len` of these bytes.
///
/// A short run costs less with bytes behind it that may be read: then it is copied as one of fixed length, without a call.
#[inline(always)]
pub(super) fn copy(out: &mut Vec<u8>, from: &[u8], len: usize) {
    let end = out.len() + len;
    match (from.first_chunk::<SHORT>(), from.first_chunk::<CHUNK>()) {
        (Some(chunk), _) if len <= SHORT => out.extend_from_slice(chunk),
        (_, Some(chunk)) if len <= CHUNK => out.extend_from_slice(chunk),
        _ => out.extend_from_slice(from.get(..len).unwrap_or(from)),
    }
    out.truncate(end);
}

/// The number that the bytes begin with, and what follows it; `None` too for one that is longer than it need be.
#[inline]
pub(super) fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    varint::read(bytes).filter(|(number, rest)| bytes.len() - rest.len() == varint::len(*number))
}

/// So many bytes as the number before them says, and what follows them.
#[inline]
fn split_run(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = read_varint(bytes)?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}
