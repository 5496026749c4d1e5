//! Unpacks bodies, to a bounded number of bytes.

use std::io::Read;

use flate2::read::MultiGzDecoder;

/// Bytes that an encoder's window may have. Larger ones than zstd's strongest usual level has are not needed, and each
/// costs its size in memory.
const MAX_ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    /// It is not.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// A body cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnpackError {
    #[error("the body is not packed as its headers say, or its end is missing")]
    Malformed,
    #[error("the body unpacks to more than {limit} bytes; send fewer records at once")]
    TooLarge { limit: usize },
}

// === impl Compression ===

impl Compression {
    /// By its name in `content-encoding` or `grpc-encoding`; `None` for one that is not known.
    pub(super) fn named(name: &[u8]) -> Option<Compression> {
        let name = name.trim_ascii();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if name.is_empty() || is("identity") {
            return Some(Compression::Identity);
        }
        if is("gzip") || is("x-gzip") {
            return Some(Compression::Gzip);
        }
        is("zstd").then_some(Compression::Zstd)
    }

    /// Bytes that a body of so many bytes is expected to unpack to: logs shrink to an eighth or less often.
    pub(super) fn expected(self, bytes: usize, limit: usize) -> usize {
        match self {
            Compression::Identity => bytes,
            Compression::Gzip | Compression::Zstd => bytes.saturating_mul(8).min(limit.max(bytes)),
        }
    }

    /// The body as it was before it was packed, if it has at most `limit` bytes.
    pub(super) fn unpack(self, body: Vec<u8>, limit: usize) -> Result<Vec<u8>, UnpackError> {
        match self {
            Compression::Identity if body.len() > limit => Err(UnpackError::TooLarge { limit }),
            Compression::Identity => Ok(body),
            Compression::Gzip => read(MultiGzDecoder::new(body.as_slice()), body.len(), limit),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(body.as_slice())
                    .map_err(|_| UnpackError::Malformed)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(|_| UnpackError::Malformed)?;
                read(decoder, body.len(), limit)
            }
        }
    }
}

fn read(packed: impl Read, packed_bytes: usize, limit: usize) -> Result<Vec<u8>, UnpackError> {
    let mut body = Vec::with_capacity(packed_bytes.saturating_mul(4).min(limit));
    // One byte more than may be tells whether there are more.
    let mut packed = packed.take(limit as u64 + 1);
    packed.read_to_end(&mut body).map_err(|_| UnpackError::Malformed)?;
    if body.len() > limit { Err(UnpackError::TooLarge { limit }) } else { Ok(body) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_packed_is_unpacked_up_to_the_limit() {
        let plain = b"some text, ".repeat(1_000);
        for (compression, packed) in [
            (Compression::Identity, plain.clone()),
            (Compression::Gzip, gzip(&plain)),
            (Compression::Zstd, zstd::encode_all(plain.as_slice(), 3).unwrap()),
        ] {
            let unpack = |limit| compression.unpack(packed.clone(), limit);
            assert_eq!(unpack(plain.len()).as_ref(), Ok(&plain));
            assert_eq!(unpack(plain.len() - 1), Err(UnpackError::TooLarge { limit: plain.len() - 1 }));
            if compression != Compression::Identity {
                let cut = packed[..packed.len() - 5].to_vec();
                assert_eq!(compression.unpack(cut, plain.len()), Err(UnpackError::Malformed));
            }
        }
    }

    #[test]
    fn bombs_are_bounded() {
        let zeros = vec![0; 64 << 20];
        for (compression, packed) in [
            (Compression::Gzip, gzip(&zeros)),
            (Compression::Zstd, zstd::encode_all(zeros.as_slice(), 3).unwrap()),
        ] {
            assert!(packed.len() < 1 << 20);
            assert_eq!(compression.unpack(packed, 1 << 20), Err(UnpackError::TooLarge { limit: 1 << 20 }));
        }
    }

    #[test]
    fn a_window_that_is_larger_than_needed_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&[7; 1_000]).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(Compression::Zstd.unpack(packed, 1 << 20), Err(UnpackError::Malformed));
    }

    #[test]
    fn names_are_known_in_any_case() {
        for (name, compression) in [
            ("", Some(Compression::Identity)),
            ("identity", Some(Compression::Identity)),
            (" GZip ", Some(Compression::Gzip)),
            ("zstd", Some(Compression::Zstd)),
            ("deflate", None),
            ("gzip, zstd", None),
        ] {
            assert_eq!(Compression::named(name.as_bytes()), compression, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..40) {
            let mut packed = gzip(&bytes);
            if let Some(byte) = packed.get_mut(at) {
                *byte ^= 0x55;
            }
            for compression in [Compression::Gzip, Compression::Zstd] {
                let _ = compression.unpack(bytes.clone(), 1_000);
                let _ = compression.unpack(packed.clone(), 1_000);
            }
        }
    }
}
