//! Unpacks a body while it comes in.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;

use crate::ingest::ScrapeError;
use crate::metrics::Failure;

/// So much is unpacked at once: packed at its best it becomes a thousand times as much.
const STEP_BYTES: usize = 2 * 1_024;

/// A body on its way.
pub(crate) struct Body {
    packed: Option<MultiGzDecoder<Vec<u8>>>,
    limit: u64,
    /// Bytes so far, unpacked.
    pub(crate) bytes: u64,
}

// === impl Body ===

impl Body {
    /// A body, packed by gzip or not, with a largest size.
    pub(crate) fn new(is_packed: bool, limit: u64) -> Body {
        Body { packed: is_packed.then(|| MultiGzDecoder::new(Vec::new())), limit, bytes: 0 }
    }

    /// Takes a piece as it came, and shows it unpacked.
    pub(crate) fn take(
        &mut self,
        piece: &[u8],
        mut show: impl FnMut(&[u8]) -> Result<(), ScrapeError>,
    ) -> Result<(), ScrapeError> {
        let (bytes, limit) = (&mut self.bytes, self.limit);
        let Some(packed) = &mut self.packed else {
            count(bytes, piece.len(), limit)?;
            return show(piece);
        };
        for step in piece.chunks(STEP_BYTES) {
            packed.write_all(step).map_err(|error| broken(&error))?;
            show_unpacked(packed, bytes, limit, &mut show)?;
        }
        Ok(())
    }

    /// The body has ended: what is left.
    pub(crate) fn finish(
        &mut self,
        mut show: impl FnMut(&[u8]) -> Result<(), ScrapeError>,
    ) -> Result<(), ScrapeError> {
        let Some(packed) = &mut self.packed else { return Ok(()) };
        packed.try_finish().map_err(|error| broken(&error))?;
        show_unpacked(packed, &mut self.bytes, self.limit, &mut show)
    }
}

fn show_unpacked(
    packed: &mut MultiGzDecoder<Vec<u8>>,
    bytes: &mut u64,
    limit: u64,
    show: &mut impl FnMut(&[u8]) -> Result<(), ScrapeError>,
) -> Result<(), ScrapeError> {
    let unpacked = packed.get_mut();
    if unpacked.is_empty() {
        return Ok(());
    }
    count(bytes, unpacked.len(), limit)?;
    show(unpacked)?;
    unpacked.clear();
    Ok(())
}

/// As in Prometheus, a body of just as many bytes is too large.
fn count(bytes: &mut u64, more: usize, limit: u64) -> Result<(), ScrapeError> {
    *bytes += more as u64;
    if *bytes < limit {
        return Ok(());
    }
    let message = format!("the body has {limit} bytes or more, the body_size_limit; raise it or expose less");
    Err(ScrapeError { failure: Failure::BodyLimit, message })
}

fn broken(error: &std::io::Error) -> ScrapeError {
    ScrapeError {
        failure: Failure::Encoding,
        message: format!("the body cannot be unpacked as gzip: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn unpack(packed: &[u8], is_packed: bool, step: usize, limit: u64) -> Result<Vec<u8>, Failure> {
        let (mut body, mut out) = (Body::new(is_packed, limit), Vec::new());
        let mut keep = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok(())
        };
        for piece in packed.chunks(step) {
            body.take(piece, &mut keep).map_err(|error| error.failure)?;
        }
        body.finish(&mut keep).map_err(|error| error.failure)?;
        assert_eq!(body.bytes, out.len() as u64);
        Ok(out)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_body_comes_out_as_it_went_in(bytes: Vec<u8>, step in 1_usize..50) {
            prop_assert_eq!(unpack(&pack(&bytes), true, step, 1 << 20).unwrap(), bytes.clone());
            prop_assert_eq!(unpack(&bytes, false, step, 1 << 20).unwrap(), bytes);
        }
    }

    #[test]
    fn a_body_that_is_too_large_or_broken_ends() {
        let zeros = pack(&vec![0; 10 << 20]);
        assert_eq!(unpack(&zeros, true, 1_000, 1 << 20), Err(Failure::BodyLimit));
        assert_eq!(unpack(&[0; 10], false, 3, 10), Err(Failure::BodyLimit));
        assert_eq!(unpack(&[0; 9], false, 3, 10), Ok(vec![0; 9]));
        assert_eq!(unpack(b"no gzip at all", true, 3, 1 << 20), Err(Failure::Encoding));
        let cut = pack(&(0..100_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
        assert_eq!(unpack(&cut[..cut.len() / 2], true, 1_000, 1 << 20), Err(Failure::Encoding));
    }
}
