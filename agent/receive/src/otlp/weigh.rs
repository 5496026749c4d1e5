//! How much memory a request takes when it is decoded, told from its protobuf bytes before it is.
//!
//! An empty message is two bytes on the wire and hundreds in memory, so that a bound on bytes bounds nothing. What
//! is found here is never less than what prost allocates, but for what its allocator adds.

use std::mem::size_of;

use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

/// How deep messages may lie in each other below the request: as deep as prost reads them.
pub(super) const MAX_DEPTH: u32 = 100;
/// What an allocation costs beside its bytes.
pub(super) const ALLOCATION_BYTES: usize = 16;

/// The messages of a request.
#[derive(Clone, Copy)]
enum Kind {
    Request,
    ResourceLogs,
    Resource,
    EntityRef,
    ScopeLogs,
    Scope,
    LogRecord,
    KeyValue,
    AnyValue,
    ArrayValue,
    KeyValueList,
}

/// What is left of the limit.
struct Walk {
    left: usize,
}

/// Bytes of memory that the decoded request takes, or `None` if they are more than `limit`. What is no protobuf is
/// weighed up to where it is none.
pub(super) fn weigh(message: &[u8], limit: usize) -> Option<usize> {
    let mut walk = Walk { left: limit };
    walk.message(message, Kind::Request, 0)?;
    Some(limit - walk.left)
}

// === impl Walk ===

impl Walk {
    fn message(&mut self, message: &[u8], kind: Kind, depth: u32) -> Option<()> {
        let mut rest = message;
        // Of the two kinds of messages that one may hold many of.
        let mut counts = [0; 2];
        while let Some(field) = next_field(rest) {
            rest = field.behind;
            let Some(content) = field.content else { continue };
            let Some(child) = kind.child(field.number) else {
                self.take(content.len() + ALLOCATION_BYTES + kind.string_bytes())?;
                continue;
            };
            let [first, second] = &mut counts;
            let count = if matches!(child, Kind::EntityRef) { second } else { first };
            let bytes = kind.element_bytes(child);
            self.take(grown(*count).saturating_mul(bytes))?;
            *count += usize::from(bytes > 0);
            if depth < MAX_DEPTH {
                self.message(content, child, depth + 1)?;
            }
        }
        Some(())
    }

    fn take(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }
}

// === impl Kind ===

impl Kind {
    /// The message in a field of this one.
    fn child(self, field: u64) -> Option<Kind> {
        let child = match (self, field) {
            (Kind::Request, 1) => Kind::ResourceLogs,
            (Kind::ResourceLogs, 1) => Kind::Resource,
            (Kind::ResourceLogs, 2) => Kind::ScopeLogs,
            (Kind::Resource, 1) | (Kind::Scope, 3) | (Kind::LogRecord, 6) | (Kind::KeyValueList, 1) => {
                Kind::KeyValue
            }
            (Kind::Resource, 3) => Kind::EntityRef,
            (Kind::ScopeLogs, 1) => Kind::Scope,
            (Kind::ScopeLogs, 2) => Kind::LogRecord,
            (Kind::LogRecord, 5) | (Kind::KeyValue, 2) | (Kind::ArrayValue, 1) => Kind::AnyValue,
            (Kind::AnyValue, 5) => Kind::ArrayValue,
            (Kind::AnyValue, 6) => Kind::KeyValueList,
            _ => return None,
        };
        Some(child)
    }

    /// What a message in this one takes without what it points to; nothing where it is a part of this one.
    fn element_bytes(self, child: Kind) -> usize {
        match (self, child) {
            (_, Kind::ResourceLogs) => size_of::<ResourceLogs>(),
            (_, Kind::EntityRef) => size_of::<EntityRef>(),
            (_, Kind::ScopeLogs) => size_of::<ScopeLogs>(),
            (_, Kind::LogRecord) => size_of::<LogRecord>(),
            (_, Kind::KeyValue) => size_of::<KeyValue>(),
            (Kind::ArrayValue, Kind::AnyValue) => size_of::<AnyValue>(),
            _ => 0,
        }
    }

    /// What a string takes beside its bytes, where a message has many: at most as much as four, the first time.
    fn string_bytes(self) -> usize {
        if matches!(self, Kind::EntityRef) { 4 * size_of::<String>() } else { 0 }
    }
}

/// For how many elements more a vector gets room when one is added to so many. It grows by doubling, from four.
fn grown(count: usize) -> usize {
    match count {
        0 => 4,
        1..4 => 0,
        _ if count.is_power_of_two() => count,
        _ => 0,
    }
}

/// A field of a message.
struct Field<'a> {
    number: u64,
    /// Where it is delimited by its length.
    content: Option<&'a [u8]>,
    /// The rest of the message.
    behind: &'a [u8],
}

/// The first field of a message; `None` at the end, and where the bytes are no field.
fn next_field(message: &[u8]) -> Option<Field<'_>> {
    let (tag, rest) = varint(message)?;
    let number = tag >> 3;
    let behind = match tag & 7 {
        0 => varint(rest)?.1,
        1 => rest.get(8..)?,
        2 => {
            let (len, rest) = varint(rest)?;
            let (content, behind) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            return Some(Field { number, content: Some(content), behind });
        }
        // Groups: what lies in one is weighed as if it lay here.
        3 | 4 => rest,
        5 => rest.get(4..)?,
        _ => return None,
    };
    Some(Field { number, content: None, behind })
}

#[inline]
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let mut value = u64::from(first & 0x7f);
    let mut last = *first;
    let mut shift = 7;
    while last & 0x80 != 0 {
        let (byte, behind) = rest.split_first()?;
        if shift > 63 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        (last, rest, shift) = (*byte, behind, shift + 7);
    }
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use prost::Message;

    use super::*;

    fn request(records: usize) -> Vec<u8> {
        let scope = ScopeLogs { log_records: vec![LogRecord::default(); records], ..ScopeLogs::default() };
        let resource = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
        ExportLogsServiceRequest { resource_logs: vec![resource] }.encode_to_vec()
    }

    #[test]
    fn small_messages_weigh_what_they_take_in_memory() {
        let bytes = request(10_000);
        assert!(bytes.len() < 21_000);
        let weight = weigh(&bytes, usize::MAX).unwrap();
        assert!(weight >= 10_000 * size_of::<LogRecord>() && weight < 30_000 * size_of::<LogRecord>());
        assert_eq!(weigh(&bytes, weight), Some(weight));
        assert_eq!(weigh(&bytes, weight - 1), None);
    }

    #[test]
    fn what_is_no_protobuf_is_weighed_without_a_panic() {
        let bytes = request(3);
        for end in 0..bytes.len() {
            assert!(weigh(&bytes[..end], usize::MAX).is_some());
        }
        for bytes in
            [&[0xff; 20][..], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], &[0x0f]]
        {
            assert!(weigh(bytes, usize::MAX).is_some());
        }
    }

    #[test]
    fn depth_is_bounded() {
        // Array in array in array, each in the value before it.
        let mut value = Vec::new();
        for _ in 0..5_000 {
            let mut outer = vec![0x0a];
            prost::encoding::encode_varint(value.len() as u64, &mut outer);
            outer.extend_from_slice(&value);
            value = vec![0x2a];
            prost::encoding::encode_varint(outer.len() as u64, &mut value);
            value.extend_from_slice(&outer);
        }
        assert!(weigh(&value, usize::MAX).is_some());
    }
}
