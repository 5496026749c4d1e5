//! Where an event falls among 2^64 places: the same for all events of a trace, in every process and at every re-read.
//! A share s of the events is kept by keeping the places below s × 2^64.

use weir_sdk::{Attribute, Batch, Column, Kind, Plan, Read};
use xxhash_rust::xxh64::xxh64;

use crate::config::{Config, Method};

/// The hex digits of a trace id that are random: W3C Trace Context Level 2, "random trace id flag".
const RANDOM_DIGITS: usize = 14;

/// What of an event decides on its place.
pub(crate) struct Placing {
    key: Option<Read>,
    method: Method,
    origin: [Attribute; 4],
}

impl Placing {
    pub(crate) fn new(config: &Config, plan: &mut Plan) -> Placing {
        Placing {
            key: config.key.as_deref().map(|path| plan.read(path)),
            method: config.method,
            origin: ["namespace", "pod", "container", "path"].map(|name| plan.attribute(name)),
        }
    }

    pub(crate) fn of_batch<'a>(&'a self, batch: &Batch<'a>) -> Places<'a> {
        Places {
            placing: self,
            batch: *batch,
            key: self.key.map(|key| batch.column(key)),
            streams: Vec::new(),
        }
    }
}

/// The places of one batch's rows.
pub(crate) struct Places<'a> {
    placing: &'a Placing,
    batch: Batch<'a>,
    key: Option<Column<'a>>,
    /// Each stream, once one is needed.
    streams: Vec<Stream>,
}

/// A stream by the hash of where it comes from, and how many of its rows in a row had the same time.
#[derive(Clone, Copy, Default)]
struct Stream {
    hash: u64,
    time: i64,
    repeats: u64,
}

impl Places<'_> {
    /// The row's place: by its key, else by its time and stream.
    #[inline]
    pub(crate) fn of(&mut self, row: usize) -> u64 {
        let key = self.key.filter(|key| !matches!(key.kind(row), Kind::Absent | Kind::Null));
        match key.map(|key| key.bytes(row)) {
            None | Some([]) => self.of_time(row),
            Some(key) if self.placing.method == Method::Otel => of_trace_id(key).unwrap_or_else(|| hash(key)),
            Some(key) => hash(key),
        }
    }

    fn of_time(&mut self, row: usize) -> u64 {
        if self.streams.is_empty() {
            self.streams = self.hash_streams();
        }
        let time = self.batch.times().get(row).copied().unwrap_or(0);
        let index = self.batch.streams().get(row).copied().unwrap_or(u32::MAX);
        let Some(stream) = self.streams.get_mut(index as usize) else { return xxh64(&time.to_le_bytes(), 0) };
        if stream.repeats == 0 || stream.time != time {
            (stream.time, stream.repeats) = (time, 1);
            return xxh64(&time.to_le_bytes(), stream.hash);
        }
        // Lines of a file that bears no dates have one time for all: without their number one draw would decide for
        // the whole file.
        let number = stream.repeats;
        stream.repeats += 1;
        let mut bytes = [0; 16];
        let (low, high) = bytes.split_at_mut(8);
        low.copy_from_slice(&time.to_le_bytes());
        high.copy_from_slice(&number.to_le_bytes());
        xxh64(&bytes, stream.hash)
    }

    fn hash_streams(&self) -> Vec<Stream> {
        let columns = self.placing.origin.map(|attribute| self.batch.attribute(attribute).by_stream());
        let mut text = Vec::new();
        let origin = |stream| {
            text.clear();
            for column in columns {
                text.extend_from_slice(column.bytes(stream));
                text.push(0);
            }
            Stream { hash: xxh64(&text, 0), ..Stream::default() }
        };
        (0..columns[0].len()).map(origin).collect()
    }
}

/// XXH64 with seed 0. Most keys are trace ids, of 32 digits: for those without a loop.
#[inline]
fn hash(key: &[u8]) -> u64 {
    match <&[u8; 32]>::try_from(key) {
        Ok(key) => hash_32(key),
        Err(_) => xxh64(key, 0),
    }
}

#[inline]
fn hash_32(key: &[u8; 32]) -> u64 {
    const P1: u64 = 0x9e37_79b1_85eb_ca87;
    const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
    const P3: u64 = 0x1656_67b1_9e37_79f9;
    const P4: u64 = 0x85eb_ca77_c2b2_ae63;
    let round =
        |lane: u64, word: u64| lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1);
    let word = |at: usize| match key.get(at * 8..).and_then(<[u8]>::first_chunk) {
        Some(word) => u64::from_le_bytes(*word),
        None => 0,
    };
    let lanes = [
        round(P1.wrapping_add(P2), word(0)),
        round(P2, word(1)),
        round(0, word(2)),
        round(0_u64.wrapping_sub(P1), word(3)),
    ];
    let [one, two, three, four] = lanes;
    let turned = [one.rotate_left(1), two.rotate_left(7), three.rotate_left(12), four.rotate_left(18)];
    let mut hash = turned.into_iter().fold(0, u64::wrapping_add);
    for lane in lanes {
        hash = (hash ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4);
    }
    hash = hash.wrapping_add(key.len() as u64);
    hash = (hash ^ hash >> 33).wrapping_mul(P2);
    hash = (hash ^ hash >> 29).wrapping_mul(P3);
    hash ^ hash >> 32
}

/// OpenTelemetry keeps a trace when R ≥ 2^56 × (1 − share), R being the number that the random digits write. Turned
/// round, so that here as everywhere the lowest places are kept first, it is the same decision.
fn of_trace_id(trace_id: &[u8]) -> Option<u64> {
    let digits = trace_id.last_chunk::<RANDOM_DIGITS>()?;
    let mut random = 0;
    let mut all_hex = true;
    // No branch for a digit: they are random, and the processor would guess wrong at every other.
    for &digit in digits {
        all_hex &= digit.is_ascii_hexdigit();
        random = random << 4 | u64::from((digit & 0xf) + 9 * (digit >> 6));
    }
    all_hex.then_some(!random << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_has_the_place_that_opentelemetry_gives_it() {
        let cases = [
            ("ffffffffffffff", Some(0)),
            ("00000000000000", Some(0xffff_ffff_ffff_ff00)),
            ("0123456789abcdef80000000000000", Some(0x7fff_ffff_ffff_ff00)),
            ("4bf92f3577b34da6a3ce929d0e0e4736", Some(!0x00ce_929d_0e0e_4736 << 8)),
            ("4BF92F3577B34DA6A3CE929D0E0E4736", Some(!0x00ce_929d_0e0e_4736 << 8)),
            ("1234", None),
            ("+fffffffffffff", None),
            ("not a trace id!", None),
        ];
        for (trace_id, expected) in cases {
            assert_eq!(of_trace_id(trace_id.as_bytes()), expected, "{trace_id}");
        }
    }

    #[test]
    fn the_hash_is_xxh64_with_seed_0() {
        // From the specification's reference implementation.
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
        for number in 0..10_000_u64 {
            let key =
                format!("{:016x}{:016x}", xxh64(&number.to_le_bytes(), 1), xxh64(&number.to_le_bytes(), 2));
            assert_eq!(hash(key.as_bytes()), xxh64(key.as_bytes(), 0), "{key}");
        }
        assert_eq!(hash(b"abc"), 0x44bc_2cf5_ad77_0999);
    }
}
