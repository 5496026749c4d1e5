//! The identity of an event: a place and a hash, the same at every re-read.
//!
//! `_id` = base64url(64-bit incarnation hash ‖ 48-bit start offset ‖ 48-bit hash of the raw bytes), all big-endian,
//! without padding: 20 bytes, 27 characters. The hash is the low 48 bits of XXH3-64.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use twox_hash::XxHash3_64;

/// Characters of an id as text.
pub const ID_TEXT_LEN: usize = 27;
const LOW_48: u64 = (1 << 48) - 1;

/// An event's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 20]);

impl EventId {
    /// The id of the event at `offset` of the file with this incarnation, made of these raw bytes.
    pub fn new(incarnation: u64, offset: u64, raw: &[u8]) -> EventId {
        EventId::from_parts(incarnation, offset, XxHash3_64::oneshot(raw))
    }

    /// The id of an event that a stage made of the event with this id: `ordinal` counts the events made of one
    /// parent, from 0, by all stages.
    #[must_use]
    pub fn child(&self, ordinal: u32) -> EventId {
        let hash = XxHash3_64::oneshot_with_seed(u64::from(ordinal) + 1, &self.0);
        let incarnation = u64::from_be_bytes(first_eight(&self.0));
        let offset = XxHash3_64::oneshot_with_seed(!u64::from(ordinal), &self.0);
        EventId::from_parts(incarnation, offset, hash)
    }

    /// The id of a sample: its series' hash, then its time in nanoseconds since the Unix epoch. A series has one sample at
    /// a time.
    pub fn of_sample(series: u64, time: i64) -> EventId {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&series.to_be_bytes());
        id[8..16].copy_from_slice(&time.to_be_bytes());
        EventId(id)
    }

    /// Of a sample: its series' hash.
    pub fn series(&self) -> u64 {
        u64::from_be_bytes(first_eight(&self.0))
    }

    fn from_parts(incarnation: u64, offset: u64, hash: u64) -> EventId {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&incarnation.to_be_bytes());
        id[8..14].copy_from_slice(&(offset & LOW_48).to_be_bytes()[2..]);
        id[14..].copy_from_slice(&(hash & LOW_48).to_be_bytes()[2..]);
        EventId(id)
    }

    /// Appends it as text, without allocating.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut text = [0; ID_TEXT_LEN];
        // Twenty bytes are always as many characters.
        let count = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).unwrap_or(0);
        out.extend_from_slice(text.get(..count).unwrap_or_default());
    }

    /// As text.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The id that this is the text of.
    pub fn parse(text: &str) -> Option<EventId> {
        let mut id = [0; 20];
        let count = URL_SAFE_NO_PAD.decode_slice(text, &mut id).ok()?;
        (count == id.len()).then_some(EventId(id))
    }
}

fn first_eight(id: &[u8; 20]) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&id[..8]);
    out
}

/// The incarnation of a container's log file: its pod uid (any string), container and first complete line, so that
/// neither a reused inode nor another agent on the node changes it.
pub fn container_incarnation(cluster: &str, uid: &str, container: &str, first_line: &[u8]) -> u64 {
    hash_parts(&[b"container", cluster.as_bytes(), uid.as_bytes(), container.as_bytes(), first_line])
}

/// The incarnation of a `file` source's file. `first_seen` (nanoseconds since the Unix epoch) is checkpointed before
/// the file's first event leaves.
pub fn file_incarnation(device: u64, inode: u64, first_seen: i64) -> u64 {
    hash_parts(&[b"file", &device.to_be_bytes(), &inode.to_be_bytes(), &first_seen.to_be_bytes()])
}

/// The incarnation of a message that was pushed. `key` tells it from all others, also when it is sent again, to whichever
/// agent; the index of an event in its message is its offset.
pub fn message_incarnation(key: u64) -> u64 {
    hash_parts(&[b"message", &key.to_be_bytes()])
}

/// The incarnation of a message that nobody can send again as the same: `run` tells this run of the agent from all
/// others, `number` the messages of it.
pub fn receipt_incarnation(run: u64, number: u64) -> u64 {
    hash_parts(&[b"receipt", &run.to_be_bytes(), &number.to_be_bytes()])
}

/// Hashes the parts with their lengths, so that no two lists of parts run together.
fn hash_parts(parts: &[&[u8]]) -> u64 {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    XxHash3_64::oneshot(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_is_incarnation_offset_and_hash() {
        let id = EventId::new(0x0102_0304_0506_0708, 0x0a0b_0c0d_0e0f, b"line");
        assert_eq!(id.0[..14], [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15]);
        assert_eq!(id.0[14..], XxHash3_64::oneshot(b"line").to_be_bytes()[2..]);
        assert_eq!(id.text().len(), ID_TEXT_LEN);
        let mut written = b"x".to_vec();
        id.write(&mut written);
        assert_eq!(written[1..], *id.text().as_bytes());
    }

    #[test]
    fn children_differ_from_each_other_and_from_their_parent() {
        let id = EventId::new(1, 2, b"x");
        assert_ne!(id.child(0), id.child(1));
        assert_ne!(id.child(0), id);
        assert_eq!(id.child(0), id.child(0));
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(container_incarnation("a", "bc", "d", b"e"), container_incarnation("ab", "c", "d", b"e"));
    }
}
