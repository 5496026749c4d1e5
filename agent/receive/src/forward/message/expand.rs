//! Entries that come compressed: read through a small window, never all of them at once.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use zstd::zstd_safe::get_frame_content_size;

use super::entries::Entries;
use super::options::Compression;
use super::{Error, Fault};

/// How many bytes are decompressed before entries are read from them.
const WINDOW_BYTES: usize = 64 * 1024;
/// How far zstd may look back, as a power of two: 8 MiB is what its levels take at the most unless they are told otherwise,
/// and what RFC 8878 section 3.1.1.1.2 recommends.
const MAX_WINDOW_LOG: u32 = 23;
/// How many times smaller text of logs becomes, where nothing says it.
const USUAL_RATIO: usize = 8;

/// How many bytes compressed entries say that they have. Several gzip members or zstd frames say it of one of them.
pub(super) fn declared_bytes(bytes: &[u8], compression: Compression) -> usize {
    let usual = bytes.len().saturating_mul(USUAL_RATIO);
    match compression {
        Compression::None => bytes.len(),
        // RFC 1952 section 2.3.1: the last four bytes of a member are its size.
        Compression::Gzip => bytes.last_chunk().map_or(usual, |size| u32::from_le_bytes(*size) as usize),
        Compression::Zstd => match get_frame_content_size(bytes) {
            Ok(Some(size)) => usize::try_from(size).unwrap_or(usize::MAX),
            _ => usual,
        },
    }
}

/// Decompresses and reads entries, at most `limit` bytes of them.
pub(super) fn read(
    bytes: &[u8],
    compression: Compression,
    limit: usize,
    entries: &mut Entries<'_>,
) -> Result<(), Error> {
    if bytes.is_empty() {
        return Ok(());
    }
    match compression {
        Compression::None => entries.read_packed(bytes),
        Compression::Gzip => read_from(&mut MultiGzDecoder::new(bytes), "gzip", limit, entries),
        Compression::Zstd => {
            let decoder = zstd::Decoder::with_buffer(bytes).and_then(|mut decoder| {
                decoder.window_log_max(MAX_WINDOW_LOG)?;
                Ok(decoder)
            });
            let mut decoder = decoder.map_err(|_| Error::Compression("zstd"))?;
            read_from(&mut decoder, "zstd", limit, entries)
        }
    }
}

fn read_from(
    source: &mut dyn Read,
    name: &'static str,
    limit: usize,
    entries: &mut Entries<'_>,
) -> Result<(), Error> {
    let (mut window, mut total) = (Vec::with_capacity(WINDOW_BYTES), 0);
    loop {
        // An entry larger than the window is tried again each time the window has doubled.
        let wanted = window.len().max(WINDOW_BYTES).min((limit - total).saturating_add(1));
        let read = Read::take(&mut *source, wanted as u64).read_to_end(&mut window);
        let read = read.map_err(|_| Error::Compression(name))?;
        total += read;
        if total > limit {
            return Err(Error::TooLarge { limit });
        }
        let whole = entries.read_whole(&window)?;
        window.drain(..whole);
        if read < wanted {
            return if window.is_empty() { Ok(()) } else { Err(Fault::Incomplete.into()) };
        }
    }
}
