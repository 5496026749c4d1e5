//! Unpacks bodies: snappy's block format (google/snappy, format_description.txt), to a bounded number of bytes.

use snap::raw::{Decoder, decompress_len};

use crate::http::refused::Refused;

/// A copy of three bytes unpacks to at most 64: what announces more than this many times its bytes lies.
const MAX_RATIO: usize = 22;

/// How many bytes a body unpacks to, as it says itself; at most `limit`. Nothing is allocated for it.
pub(super) fn unpacked_bytes(body: &[u8], limit: usize) -> Result<usize, Refused> {
    let announced = decompress_len(body).map_err(|_| malformed())?;
    if announced > limit {
        return Err(Refused::TooLarge(format!(
            "the body unpacks to {announced} bytes, {limit} may be; send fewer samples at once"
        )));
    }
    if announced > body.len().saturating_mul(MAX_RATIO) {
        return Err(malformed());
    }
    Ok(announced)
}

/// The body as it was before it was packed; it announces so many bytes.
pub(super) fn unpack(body: &[u8], announced: usize) -> Result<Vec<u8>, Refused> {
    let mut unpacked = vec![0; announced];
    let bytes = Decoder::new().decompress(body, &mut unpacked).map_err(|_| malformed())?;
    unpacked.truncate(bytes);
    Ok(unpacked)
}

fn malformed() -> Refused {
    Refused::Malformed(
        "the body is not in snappy's block format, or its end is missing; the framed format is not taken"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use snap::raw::Encoder;

    use super::*;

    fn pack(plain: &[u8]) -> Vec<u8> {
        Encoder::new().compress_vec(plain).unwrap()
    }

    #[test]
    fn what_was_packed_is_unpacked_up_to_the_limit() {
        let plain = b"some text, ".repeat(100_000);
        let packed = pack(&plain);
        assert_eq!(unpacked_bytes(&packed, plain.len()), Ok(plain.len()));
        assert_eq!(unpack(&packed, plain.len()).as_ref(), Ok(&plain));
        assert!(matches!(unpacked_bytes(&packed, plain.len() - 1), Err(Refused::TooLarge(_))));
        let cut = &packed[..packed.len() - 1];
        assert_eq!(unpack(cut, plain.len()), Err(malformed()));
        // Nothing packs better.
        let zeros = vec![0; 8 << 20];
        assert!(unpacked_bytes(&pack(&zeros), zeros.len()).is_ok());
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_before_it_is_allocated() {
        let lie = [0xff, 0xff, 0xff, 0x0f, 0, 1];
        assert_eq!(unpacked_bytes(&lie, usize::MAX), Err(malformed()));
        assert!(matches!(unpacked_bytes(&lie, 1 << 20), Err(Refused::TooLarge(_))));
        assert_eq!(unpacked_bytes(&[0xff; 12], usize::MAX), Err(malformed()));
        assert_eq!(unpacked_bytes(&[], usize::MAX), Ok(0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes: Vec<u8>, plain: Vec<u8>, at in 0usize..40) {
            let mut packed = pack(&plain);
            if let Some(byte) = packed.get_mut(at) {
                *byte ^= 0x55;
            }
            for body in [bytes, packed] {
                if let Ok(announced) = unpacked_bytes(&body, 1 << 20) {
                    let _ = unpack(&body, announced);
                }
            }
        }
    }
}
