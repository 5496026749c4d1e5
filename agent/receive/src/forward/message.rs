//! Messages of the four modes: Message, Forward, PackedForward and CompressedPackedForward ("Carrier modes" in the
//! specification).
//!
//! | mode | form |
//! |---|---|
//! | Message | `[tag, time, record, option?]` |
//! | Forward | `[tag, [[time, record], ...], option?]` |
//! | PackedForward | `[tag, bin or str of entries, option?]` |
//! | CompressedPackedForward | the same, compressed, with the option `compressed`: `gzip` or `zstd` |
//!
//! 1. A fault anywhere in a message is a fault of the whole: none of its documents is handed out.
//! 2. What a message decodes to takes at most [`MAX_GROWTH`] times the limit, whatever it is made of.

mod entries;
mod expand;
mod options;

use twox_hash::XxHash3_64;

use crate::documents::{Documents, Entry, TooMuch};
use crate::forward::msgpack::{Fault, Frame, Head, Reader};
use crate::intake::Message;

use entries::Entries;
use options::{Compression, Options};

/// Longest tag in bytes: names of indices and files are made of them.
pub const MAX_TAG_BYTES: usize = 1024;
/// Longest chunk's name in bytes. Those of fluentd have 24, those of Fluent Bit 32.
pub const MAX_CHUNK_BYTES: usize = 1024;
/// How many times as large as the largest message its documents may be, with what is known of each.
pub const MAX_GROWTH: usize = 4;

/// A message whose records were not yet read.
#[derive(Debug)]
pub struct Envelope<'a> {
    tag: &'a [u8],
    body: Body<'a>,
    options: Options<'a>,
}

/// Where the records are.
#[derive(Debug)]
enum Body<'a> {
    /// A time, and a record behind it.
    One(&'a [u8]),
    /// An array of entries.
    Array(&'a [u8]),
    /// Entries one behind another, perhaps compressed.
    Packed(&'a [u8]),
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not msgpack, or too large or deep.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Something else stands where the protocol wants this.
    #[error("the client does not speak Fluent Forward as it should: {0}")]
    Unexpected(&'static str),
    /// It is none, by its first byte.
    #[error(
        "a message of Fluent Forward begins with an array, not with byte {0:#04x}; 0x16 is a client that speaks TLS to a \
         listener without it, letters are one that speaks HTTP"
    )]
    NoMessage(u8),
    /// The text behind the compression is broken, or not compressed in this way.
    #[error("the entries are not valid {0}")]
    Compression(&'static str),
    /// It is something else than logs, or compressed in an unknown way.
    #[error("this source takes logs, uncompressed or with gzip or zstd; the client sends {0}")]
    Unsupported(&'static str),
    /// Its entries or documents have more bytes than may be.
    #[error(
        "a message has more than {limit} bytes when it is decoded; send smaller chunks, or raise max_message"
    )]
    TooLarge {
        /// How many there may be.
        limit: usize,
    },
}

impl From<TooMuch> for Error {
    fn from(TooMuch { limit }: TooMuch) -> Error {
        Error::TooLarge { limit }
    }
}

/// Whether a message, or a `nil` between messages, may begin with this byte.
pub fn check_first(byte: u8) -> Result<(), Error> {
    match byte {
        0x90..=0x9f | 0xdc | 0xdd | 0xc0 => Ok(()),
        other => Err(Error::NoMessage(other)),
    }
}

// === impl Envelope ===

impl<'a> Envelope<'a> {
    /// Reads what is around the records. `bytes` are one whole value, and `frame` is what the scanner found of it. `None`
    /// for a bare `nil`, which clients may send to keep a connection alive.
    pub fn read(bytes: &'a [u8], frame: &Frame) -> Result<Option<Envelope<'a>>, Error> {
        check_first(bytes.first().copied().unwrap_or_default())?;
        if bytes == [0xc0] {
            return Ok(None);
        }
        let part = |index: usize| {
            frame.parts().get(index).and_then(|start| bytes.get(*start as usize..)).unwrap_or_default()
        };
        let tag = Reader::new(part(0)).text()?.ok_or(Error::Unexpected("a tag is a string"))?;
        if tag.len() > MAX_TAG_BYTES {
            return Err(Error::Unexpected("a tag has at most 1024 bytes"));
        }
        let mut second = Reader::new(part(1));
        if second.rest().is_empty() {
            return Err(Error::Unexpected("a message has at least a tag and entries"));
        }
        let (body, options) = match second.head()? {
            Head::Array(_) => (Body::Array(part(1)), part(2)),
            Head::Str(len) | Head::Bin(len) => (Body::Packed(second.bytes(len)?), part(2)),
            _ if part(2).is_empty() => {
                return Err(Error::Unexpected("behind a tag come entries, or a time and a record"));
            }
            _ => (Body::One(part(1)), part(3)),
        };
        Ok(Some(Envelope { tag, body, options: Options::read(options)? }))
    }

    /// What answers the message once it is safe: `{"ack": chunk}` in msgpack, the chunk's name as it came ("Response" in
    /// the specification). `None` for a message that asks for no answer.
    pub fn ack(&self) -> Option<Vec<u8>> {
        let chunk = self.options.chunk?;
        Some([&[0x81, 0xa3], &b"ack"[..], chunk.raw].concat())
    }

    /// What tells the message from all others, also when it is sent again: the hash of its tag and its chunk's name.
    pub fn key(&self) -> Option<u64> {
        let chunk = self.options.chunk?;
        let len = |bytes: &[u8]| (bytes.len() as u32).to_le_bytes();
        let text = [b"chunk", &len(self.tag)[..], &len(chunk.name), self.tag, chunk.name].concat();
        Some(XxHash3_64::oneshot(&text))
    }

    /// How many bytes its entries have, as far as can be known without reading them: for compressed ones what their
    /// compression says of itself, which may be wrong.
    pub fn entry_bytes(&self) -> usize {
        match (&self.body, self.options.compression) {
            (Body::Packed(bytes), Compression::None) => bytes.len(),
            (Body::Packed(bytes), compression) => expand::declared_bytes(bytes, compression),
            (Body::One(bytes) | Body::Array(bytes), _) => bytes.len(),
        }
    }

    /// Reads the records. Entries may have `limit` bytes when they are decompressed.
    pub fn decode(&self, limit: usize) -> Result<Message, Error> {
        let most = limit.saturating_mul(MAX_GROWTH);
        let mut documents = Documents::new(most);
        // JSON is a little longer than msgpack; what a sender says of compressed bytes may be a lie.
        documents.text().reserve((self.entry_bytes().min(limit) / 4 * 5).min(entries::MAX_RESERVED));
        let mut entries = Entries::new(&mut documents, most);
        match &self.body {
            Body::One(bytes) => entries.read_one(bytes, self.options.metadata)?,
            Body::Array(bytes) => entries.read_array(bytes)?,
            Body::Packed(bytes) => match self.options.compression {
                Compression::None => entries.read_packed(bytes)?,
                compression => expand::read(bytes, compression, limit, &mut entries)?,
            },
        }
        let tag = String::from_utf8_lossy(self.tag).into_owned();
        Ok(Message { documents, tag, key: self.key() })
    }
}

/// What a document takes in memory besides its text.
const ENTRY_BYTES: usize = size_of::<Entry>();

#[cfg(test)]
pub(crate) mod tests;
