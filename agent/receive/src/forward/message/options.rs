//! What stands behind the entries: the chunk's name, how they are compressed, what they are ("Option" in the
//! specification).

use super::{Error, MAX_CHUNK_BYTES};
use crate::forward::msgpack::{Head, Reader};

/// How entries are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

/// A chunk's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    /// As msgpack: a string for some clients, bytes for others. It goes back as it came.
    pub(super) raw: &'a [u8],
    pub(super) name: &'a [u8],
}

/// The options that are known. `size` is known and not needed: entries are counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options<'a> {
    pub(super) chunk: Option<Chunk<'a>>,
    pub(super) compression: Compression,
    /// A map that Fluent Bit sends with the record of a message of the mode Message.
    pub(super) metadata: Option<&'a [u8]>,
}

// === impl Options ===

impl<'a> Options<'a> {
    /// Nothing, `nil` or a map. Members with other names are passed over.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Options<'a>, Error> {
        let mut options = Options::default();
        let mut reader = Reader::new(bytes);
        let pairs = match bytes {
            [] => 0,
            _ => match reader.head()? {
                Head::Nil => 0,
                Head::Map(pairs) => pairs,
                _ => return Err(Error::Unexpected("options are a map")),
            },
        };
        for _ in 0..pairs {
            match reader.text()? {
                Some(b"chunk") => options.chunk = read_chunk(reader.raw()?)?,
                Some(b"compressed") => options.compression = read_compression(reader.raw()?)?,
                Some(b"metadata") => options.metadata = Some(reader.raw()?).filter(|raw| is_map(raw)),
                Some(b"fluent_signal") => check_signal(reader.head()?)?,
                Some(_) => reader.skip(1)?,
                None => reader.skip(2)?,
            }
        }
        Ok(options)
    }
}

fn is_map(raw: &[u8]) -> bool {
    matches!(Head::read(raw), Ok((Head::Map(_), _)))
}

fn read_chunk(raw: &[u8]) -> Result<Option<Chunk<'_>>, Error> {
    if raw == [0xc0] {
        return Ok(None);
    }
    let name = Reader::new(raw).text()?.ok_or(Error::Unexpected("a chunk's name is a string"))?;
    if name.len() > MAX_CHUNK_BYTES {
        return Err(Error::Unexpected("a chunk's name has at most 1024 bytes"));
    }
    Ok(Some(Chunk { raw, name }))
}

fn read_compression(raw: &[u8]) -> Result<Compression, Error> {
    match Reader::new(raw).text()? {
        None | Some(b"text" | b"") => Ok(Compression::None),
        Some(b"gzip") => Ok(Compression::Gzip),
        Some(b"zstd") => Ok(Compression::Zstd),
        Some(_) => Err(Error::Unsupported("entries of another compression")),
    }
}

/// Fluent Bit says by a number what a message carries. What is no log is in a form of its own.
fn check_signal(head: Head) -> Result<(), Error> {
    match head {
        Head::Unsigned(0) | Head::Nil => Ok(()),
        Head::Unsigned(1) => Err(Error::Unsupported("metrics")),
        Head::Unsigned(2) => Err(Error::Unsupported("traces")),
        _ => Err(Error::Unsupported("an unknown signal")),
    }
}
