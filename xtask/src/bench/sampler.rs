//! Which events W2 keeps: the rule of plugins/log-sampler as its README states it, written a second time, with
//! a hash of its own after the specification of XXH64.

use serde_json::{Map, Value};

/// The share of info events that W2's configuration keeps.
const INFO_SHARE: f64 = 0.1;
/// The number of places that a hash can fall on.
const PLACES: f64 = 18_446_744_073_709_551_616.0;

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

/// W2's sampler drops every debug event, keeps a tenth of the info events, whole traces at a time, and all
/// others. Every JSON event of the bench has a trace id, so the rule for events without one is not repeated.
pub fn keeps(event: &Map<String, Value>) -> bool {
    match event.get("level").and_then(Value::as_str) {
        Some("debug") => false,
        Some("info") => {
            let trace_id = event.get("trace_id").and_then(Value::as_str).unwrap_or_default();
            hash(trace_id.as_bytes()) < (INFO_SHARE * PLACES) as u64
        }
        _ => true,
    }
}

/// XXH64 with seed 0.
fn hash(input: &[u8]) -> u64 {
    let (stripes, rest) = input.as_chunks::<32>();
    let mut state = if stripes.is_empty() { PRIME_5 } else { hash_stripes(stripes) };
    state = state.wrapping_add(input.len() as u64);

    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        state ^= round(0, u64::from_le_bytes(*word));
        state = state.rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        state ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIME_1);
        state = state.rotate_left(23).wrapping_mul(PRIME_2).wrapping_add(PRIME_3);
    }
    for &byte in rest {
        state ^= u64::from(byte).wrapping_mul(PRIME_5);
        state = state.rotate_left(11).wrapping_mul(PRIME_1);
    }
    state = (state ^ (state >> 33)).wrapping_mul(PRIME_2);
    state = (state ^ (state >> 29)).wrapping_mul(PRIME_3);
    state ^ (state >> 32)
}

fn hash_stripes(stripes: &[[u8; 32]]) -> u64 {
    let mut lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0u64.wrapping_sub(PRIME_1)];
    for stripe in stripes {
        for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    let [a, b, c, d] = lanes;
    let turned = [a.rotate_left(1), b.rotate_left(7), c.rotate_left(12), d.rotate_left(18)];
    let mut state = turned.iter().fold(0u64, |sum, lane| sum.wrapping_add(*lane));
    for lane in lanes {
        state = (state ^ round(0, lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
    }
    state
}

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_specified_one() {
        // From the specification's reference implementation.
        for (input, expected) in [
            (&b""[..], 0xef46_db37_51d8_e999),
            (b"a", 0xd24e_c4f1_a98c_6e5b),
            (b"abc", 0x44bc_2cf5_ad77_0999),
            (b"Nobody inspects the spammish repetition", 0xfbce_a83c_8a37_8bf1),
        ] {
            assert_eq!(hash(input), expected, "{}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn a_tenth_of_the_info_traces_is_kept() {
        let event = |level: &str, trace: u32| {
            let event = serde_json::json!({"level": level, "trace_id": format!("{trace:032x}")});
            event.as_object().cloned().unwrap()
        };
        let kept = (0..10_000).filter(|&trace| keeps(&event("info", trace))).count();
        assert!((900..1_100).contains(&kept), "{kept}");
        assert!(!keeps(&event("debug", 1)) && keeps(&event("warn", 1)) && keeps(&event("error", 1)));
    }
}
